import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import type { Errors } from './errors.ts';
import { log } from './log.ts';
import type { ClosedFile } from './recording.ts';
import { storageFault, type Storage } from './storage.ts';

const AT_ONCE = 4;

/** Brings closed files to storage. */
export class Uploader {
  readonly #storage: Storage;
  readonly #collector: string;
  readonly #errors: Errors;
  /** Files that cannot go up: their names are taken by something else, or they cannot be read. */
  readonly #refused = new Set<string>();
  #last: Promise<unknown> = Promise.resolve();
  /** What the list in force says: URL of the container with a signature. */
  sas: string | undefined;

  constructor(storage: Storage, collector: string, errors: Errors) {
    this.#storage = storage;
    this.#collector = collector;
    this.#errors = errors;
  }

  /**
   * Uploads files, a few at a time, until all are up or storage fails; after what an earlier call is still about.
   *
   * @param files which there are when it comes to it
   * @returns false when it failed
   */
  async upload(files: () => readonly ClosedFile[]): Promise<boolean> {
    const pass = this.#last.then(() => this.#pass(files()));
    this.#last = pass;
    return pass;
  }

  async #pass(files: readonly ClosedFile[]): Promise<boolean> {
    const waiting = files.filter(({ path }) => !this.#refused.has(path));
    let failed = false;
    const work = async () => {
      for (let file = waiting.shift(); file && !failed; file = waiting.shift()) {
        try {
          await this.#uploadOne(file);
        } catch (error) {
          failed = true;
          this.#errors.set('upload', this.#explain(error));
        }
      }
    };
    const any = waiting.length > 0;
    await Promise.all(Array.from({ length: AT_ONCE }, work));
    if (any && !failed) this.#errors.clear('upload');
    return !failed;
  }

  async #uploadOne(file: ClosedFile): Promise<void> {
    const { run, session } = file.recording;
    const name = `${run}/${file.name}.cap`;
    try {
      await access(file.path, constants.R_OK);
    } catch (error) {
      this.#refused.add(file.path);
      this.#errors.set('disk', `${file.path} cannot be read any more (${(error as NodeJS.ErrnoException).code})`, name);
      return;
    }
    const metadata = { run, session, vni: String(file.vni), source: file.source, collector: this.#collector };
    const result = await this.#storage.upload(this.sas, name, file.path, file.bytes, metadata);
    switch (result) {
      case 'done':
        log(`uploaded ${name}: ${file.packets} packets, ${file.bytes} bytes`);
        file.recording.uploaded(file);
        return;
      case 'conflict':
        this.#refused.add(file.path);
        this.#errors.set(
          'upload',
          `${name} is in storage already, with other content: the file stays at ${file.path}; move one of the two away and start ` +
            'the collector again',
          name,
        );
    }
  }

  #explain(error: unknown): string {
    const fault = storageFault(error);
    const refused = /^40[134]/.test(fault);
    if (!refused) return `Storage takes no files (${fault}); they wait here and are tried again`;
    const how = this.sas ? 'the SAS in the list: the app must write a new one that may create and read' : '--storage';
    return `Storage refuses files (${fault}); they wait here and are tried again. Look at ${how}`;
  }
}
