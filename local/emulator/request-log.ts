import { appendFileSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** Every request that an emulator was sent, kept on disk line by line so that a restart forgets none. */
export class RequestLog<T> {
  readonly #path: string;
  readonly entries: T[];

  constructor(directory: string) {
    this.#path = join(directory, 'requests.jsonl');
    this.entries = read<T>(this.#path);
  }

  add(entry: T): void {
    this.entries.push(entry);
    appendFileSync(this.#path, `${JSON.stringify(entry)}\n`);
  }
}

function read<T>(path: string): T[] {
  try {
    const lines = readFileSync(path, 'utf8').split('\n').slice(0, -1);
    return lines.map((line) => JSON.parse(line) as T);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}
