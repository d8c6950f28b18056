import { appendFileSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

export type LoggedRequest = {
  time: string;
  method: string;
  version: string;
  action: string;
  /** Without tokens of identity. */
  parameters: Record<string, string>;
  /** Who signed it. */
  accessKeyId?: string;
  /** 0 when there was no answer. */
  status: number;
  /** The code of an error. */
  code?: string;
  requestId: string;
  /** The fault that the answer was due to. */
  fault?: string;
  /** It came before the time that this very call had been told to wait for. */
  violation?: true;
};

/** Every call of the cloud, kept on disk line by line so that a restart forgets none. */
export class RequestLog {
  readonly #path: string;
  readonly entries: LoggedRequest[];

  constructor(directory: string) {
    this.#path = join(directory, 'requests.jsonl');
    this.entries = read(this.#path);
  }

  add(entry: LoggedRequest): void {
    this.entries.push(entry);
    appendFileSync(this.#path, `${JSON.stringify(entry)}\n`);
  }
}

function read(path: string): LoggedRequest[] {
  try {
    const lines = readFileSync(path, 'utf8').split('\n').slice(0, -1);
    return lines.map((line) => JSON.parse(line) as LoggedRequest);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}
