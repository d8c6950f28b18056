import type { State } from './state.ts';

// GUESS: how long changes take; the documents only say to ask every three seconds, at most ten times.
const CREATE_MS = 3_000;
const MODIFY_MS = 2_000;
const DELETE_MS = 2_000;

/** When what begins now comes to rest. */
export class Delays {
  readonly #state: State;
  readonly #pace: number;

  /** @param pace multiplies the service's delays */
  constructor(state: State, pace: number) {
    this.#state = state;
    this.#pace = pace;
  }

  created(now: number): number {
    return this.#end(now, CREATE_MS);
  }

  modified(now: number): number {
    return this.#end(now, MODIFY_MS);
  }

  deleted(now: number): number {
    return this.#end(now, DELETE_MS);
  }

  #end(now: number, ms: number): number {
    const { settleSeconds } = this.#state.content.faults;
    return now + (settleSeconds === null ? ms * this.#pace : settleSeconds * 1000);
  }
}
