/** Done when one of the signals aborts. */
export function elapsed(...signals: AbortSignal[]): Promise<void> {
  return new Promise((done) => {
    for (const signal of signals) {
      if (signal.aborted) done();
      else signal.addEventListener('abort', () => done(), { once: true });
    }
  });
}
