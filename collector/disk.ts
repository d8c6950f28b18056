import { writeSync } from 'node:fs';
import type { Errors } from './errors.ts';

const RETRY_MS = 1000;

/**
 * The folder that files wait in until they are uploaded: how much may lie there, and whether it can be written at present.
 *
 * In it: `sessions.json`, the last good list; `status.json`, as last reported; and for each session `runs/<run>/<session>/` with
 * `ledger.json`, files being written (`<name>.open`) and files waiting for upload (`<name>.<packets>.cap`).
 */
export class Disk {
  readonly directory: string;
  /** Bytes in files that wait or are being written, what is still in memory included. */
  used = 0;
  readonly #budgetBytes: number;
  readonly #errors: Errors;
  #refusedAtMs = -Infinity;
  #failed = false;
  #full = false;

  constructor(directory: string, budgetBytes: number, errors: Errors) {
    this.directory = directory;
    this.#budgetBytes = budgetBytes;
    this.#errors = errors;
  }

  /** Whether so much more may lie here. */
  hasRoom(bytes: number): boolean {
    if (this.used + bytes <= this.#budgetBytes) return true;
    if (this.#full) return false;
    this.#full = true;
    this.#errors.set(
      'disk',
      `Files that wait for upload use up the ${this.#budgetBytes} bytes they may have (--disk-bytes): packets are dropped ` +
        'until storage takes files again',
      'budget',
    );
    return false;
  }

  /** Looks whether there is room again; to be called now and then. */
  review(): void {
    // With some room to spare, or the error would come and go.
    if (!this.#full || this.used > this.#budgetBytes * 0.95) return;
    this.#full = false;
    this.#errors.clear('disk', 'budget');
  }

  /** Does something that the disk may refuse. After a refusal nothing is tried for a second, since there may be many packets in it. */
  attempt<T>(nowMs: number, act: () => T): T | undefined {
    if (Math.abs(nowMs - this.#refusedAtMs) < RETRY_MS) return undefined;
    try {
      const done = act();
      if (this.#failed) this.#errors.clear('disk', 'writing');
      this.#failed = false;
      return done;
    } catch (error) {
      this.#refusedAtMs = nowMs;
      this.#failed = true;
      const { code, syscall } = error as NodeJS.ErrnoException;
      this.#errors.set(
        'disk',
        `The disk refuses (${syscall ?? 'write'}: ${code ?? (error as Error).message}): make room in ${this.directory}, or let ` +
          'the collector write there. Packets are dropped until then',
        'writing',
      );
      return undefined;
    }
  }

  /** Writes bytes at the end of a file. @returns how many went; less than asked for only if the rest must be tried again */
  write(file: number, bytes: Uint8Array, from: number, to: number): number {
    return writeSync(file, bytes, from, to - from);
  }
}
