import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Errors } from './errors.ts';
import { parseList } from './list.ts';
import { log } from './log.ts';
import { CONTROL_CONTAINER, LIST_BLOB, type SessionList } from './protocol.ts';
import { writeWhole } from './whole-file.ts';
import { storageFault, type ListAnswer, type Storage } from './storage.ts';

const BLOB = `${CONTROL_CONTAINER}/${LIST_BLOB}`;
const FILE = 'sessions.json';

/** The last good list: in storage if it can be read, else as it was, over restarts too. */
export class CurrentList {
  #list: SessionList | undefined;
  readonly #path: string;
  readonly #errors: Errors;

  constructor(directory: string, errors: Errors) {
    this.#path = join(directory, FILE);
    this.#errors = errors;
  }

  get list(): SessionList | undefined {
    return this.#list;
  }

  /** Takes the one that an earlier process has kept, if there is one. */
  recall(): SessionList | undefined {
    try {
      const kept = parseList(readFileSync(this.#path, 'utf8'));
      if ('problem' in kept) log(`${this.#path} is not used: ${kept.problem}`);
      else this.#list = kept;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') log(`${this.#path}: ${(error as Error).message}`);
    }
    return this.#list;
  }

  /** Looks into storage. @returns the list if it is another one now */
  async refresh(storage: Storage): Promise<SessionList | undefined> {
    let answer: ListAnswer;
    try {
      answer = await storage.readList();
    } catch (error) {
      this.#errors.set(
        'storage',
        `${BLOB} cannot be read (${storageFault(error)}); the last good list stays in force`,
        BLOB,
      );
      return undefined;
    }
    this.#errors.clear('storage', BLOB);
    if (answer.kind === 'unchanged') return undefined;
    if (answer.kind === 'absent') {
      // Before the app has announced anything there is none.
      if (this.#list) this.#errors.set('list', `${BLOB} is gone; the last good list stays in force`);
      return undefined;
    }
    const read = parseList(answer.text);
    if ('problem' in read) {
      this.#errors.set('list', `${BLOB} is refused: ${read.problem}; the last good list stays in force`);
      return undefined;
    }
    this.#errors.clear('list');
    this.#list = read;
    log(`list of ${read.writtenAt}: ${read.sessions.length} sessions`);
    this.#keep(answer.text);
    return read;
  }

  #keep(text: string): void {
    try {
      writeWhole(this.#path, text);
      this.#errors.clear('disk', FILE);
    } catch (error) {
      this.#errors.set(
        'disk',
        `${this.#path} cannot be written (${(error as NodeJS.ErrnoException).code}): a restart would not know this list`,
        FILE,
      );
    }
  }
}
