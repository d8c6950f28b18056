/** How far it may be from the system's clock before it follows. */
const TOLERANCE_MS = 5;

/** Unix time in microseconds. `Date` has milliseconds only, too coarse to tell packets apart by. */
export class PacketClock {
  #originMs = performance.timeOrigin;

  micros(): number {
    return Math.floor((this.#originMs + performance.now()) * 1000);
  }

  /** Follows the system's clock, when that was set or has drifted; to be called now and then. */
  adjust(): void {
    const behindMs = Date.now() - (this.#originMs + performance.now());
    if (Math.abs(behindMs) > TOLERANCE_MS) this.#originMs += behindMs;
  }
}
