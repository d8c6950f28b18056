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

/** What `work` gives if it is done before the signal aborts, else `fallback`; the work goes on either way. */
export async function beforeDeadline<T>(work: Promise<T>, fallback: T, signal: AbortSignal): Promise<T> {
  return Promise.race([
    work,
    new Promise<T>((resolve) => {
      if (signal.aborted) resolve(fallback);
      else signal.addEventListener('abort', () => resolve(fallback), { once: true });
    }),
  ]);
}
