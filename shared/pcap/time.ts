const MICROSECOND_TICKS = 1_000_000;
const NANOSECOND_TICKS = 1_000_000_000;
/** Seconds of the first moment of the year 0 and of the year 10,000: ISO 8601 has four digits for a year. */
const FIRST_SECOND = -62_167_219_200;
const LAST_SECOND = 253_402_300_800;

/**
 * Turns the 64-bit ticks of a pcapng interface into seconds and nanoseconds, exactly: a double has 53 bits, and
 * nanoseconds since 1970 need 61. Finer ticks are cut to nanoseconds.
 */
export class TickClock {
  readonly finerThanMicroseconds: boolean;
  /** The time read last; NaN seconds when the resolution is not one. */
  seconds = Number.NaN;
  nanos = 0;
  readonly #ticksPerSecond: number;
  readonly #offsetSeconds: number;
  /** Whether a tick is a whole number of nanoseconds. */
  readonly #common: boolean;

  /**
   * @param resolution option if_tsresol: ticks per second as a power of 10, or of 2 when the highest bit is set
   * @param offsetSeconds option if_tsoffset
   */
  constructor(resolution: number, offsetSeconds: number) {
    const exponent = resolution & 0x7f;
    const binary = (resolution & 0x80) !== 0;
    // Whatever fits in 64 bits; all of these are exact as doubles.
    const known = exponent <= (binary ? 63 : 19);
    this.#ticksPerSecond = known ? (binary ? 2 : 10) ** exponent : Number.NaN;
    this.finerThanMicroseconds = this.#ticksPerSecond > MICROSECOND_TICKS || (binary && exponent > 0);
    this.#offsetSeconds = offsetSeconds;
    this.#common = NANOSECOND_TICKS % this.#ticksPerSecond === 0;
  }

  /** Sets `seconds` and `nanos` from the two halves (unsigned 32 bits each) of a tick count. */
  read(high: number, low: number): void {
    const perSecond = this.#ticksPerSecond;
    if (!this.#common) {
      this.#readUncommon(high, low);
      return;
    }
    let seconds: number;
    let rest: number;
    if (high < 0x20_0000) {
      const ticks = high * 0x1_0000_0000 + low;
      seconds = Math.floor(ticks / perSecond);
      rest = ticks - seconds * perSecond;
    } else {
      // Long division, 16 bits at a time, so that no step leaves the 53 bits.
      seconds = Math.floor(high / perSecond);
      rest = high - seconds * perSecond;
      for (let shift = 16; shift >= 0; shift -= 16) {
        const part = rest * 0x1_0000 + ((low >>> shift) & 0xffff);
        const quotient = Math.floor(part / perSecond);
        rest = part - quotient * perSecond;
        seconds = seconds * 0x1_0000 + quotient;
      }
    }
    this.seconds = seconds + this.#offsetSeconds;
    this.nanos = rest * (NANOSECOND_TICKS / perSecond);
  }

  #readUncommon(high: number, low: number): void {
    if (Number.isNaN(this.#ticksPerSecond)) return;
    const perSecond = BigInt(this.#ticksPerSecond);
    const ticks = (BigInt(high) << 32n) | BigInt(low);
    this.seconds = Number(ticks / perSecond) + this.#offsetSeconds;
    this.nanos = Number(((ticks % perSecond) * BigInt(NANOSECOND_TICKS)) / perSecond);
  }
}

/** The earliest and latest of many times. Times outside the years 0 to 9999 are no times and do not count. */
export class TimeSpan {
  #firstSeconds = Infinity;
  #firstNanos = 0;
  #lastSeconds = -Infinity;
  #lastNanos = 0;

  add(seconds: number, nanos: number): void {
    if (!(seconds >= FIRST_SECOND && seconds < LAST_SECOND)) return;
    if (seconds < this.#firstSeconds || (seconds === this.#firstSeconds && nanos < this.#firstNanos)) {
      this.#firstSeconds = seconds;
      this.#firstNanos = nanos;
    }
    if (seconds > this.#lastSeconds || (seconds === this.#lastSeconds && nanos > this.#lastNanos)) {
      this.#lastSeconds = seconds;
      this.#lastNanos = nanos;
    }
  }

  /** ISO 8601 UTC with that many digits after the point; undefined when there was no time. */
  first(digits: 6 | 9): string | undefined {
    return format(this.#firstSeconds, this.#firstNanos, digits);
  }

  last(digits: 6 | 9): string | undefined {
    return format(this.#lastSeconds, this.#lastNanos, digits);
  }
}

function format(seconds: number, nanos: number, digits: 6 | 9): string | undefined {
  if (!Number.isFinite(seconds)) return undefined;
  const fraction = nanos.toString().padStart(9, '0').slice(0, digits);
  return `${new Date(seconds * 1000).toISOString().slice(0, 19)}.${fraction}Z`;
}
