/** The only source of time. Nothing reads the wall clock or sleeps by itself, so that tests and simulations bring their own. */
export interface Clock {
  now(): Date;
  /** A signal that aborts after `ms` milliseconds. */
  timeout(ms: number): AbortSignal;
}

export const systemClock: Clock = {
  now: () => new Date(),
  timeout: (ms) => AbortSignal.timeout(ms),
};
