import { log, withoutSecrets } from './log.ts';
import type { CollectorError, CollectorErrorCode } from './protocol.ts';

/** What is wrong now, one message for each thing that can be wrong. Logged when it changes, not each time it happens. */
export class Errors {
  readonly #now: () => Date;
  readonly #current = new Map<string, CollectorError>();

  constructor(now: () => Date) {
    this.#now = now;
  }

  /** @param about which of several things of that kind, such as a session */
  set(code: CollectorErrorCode, text: string, about = ''): void {
    const key = `${code} ${about}`;
    const message = withoutSecrets(text);
    const before = this.#current.get(key);
    if (before?.message === message) return;
    this.#current.set(key, { code, message, since: before?.since ?? this.#now().toISOString() });
    log(`error (${code}): ${message}`);
  }

  clear(code: CollectorErrorCode, about = ''): void {
    if (this.#current.delete(`${code} ${about}`)) log(`well again: ${code}${about && ` of ${about}`}`);
  }

  list(): CollectorError[] {
    return [...this.#current.values()];
  }
}
