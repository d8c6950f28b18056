const SMALLEST_SLOTS = 1024;

/**
 * Numbers keys of a few 32-bit words: the first one seen is 0, the next 1, and so on up to `maxKeys`.
 * Open addressing in typed arrays that double as they fill, so that millions of look-ups make no objects.
 * The hash is salted: a sender of packets cannot choose addresses that all fall into one place.
 */
export class KeyTable {
  /** The key to look for: set its words, then call `find`. */
  readonly key: Int32Array;
  maxKeys: number;
  count = 0;
  readonly #stride: number;
  readonly #salt: Int32Array;
  #keys: Int32Array;
  /** Pairs of a key's hash and its number + 1; 0 is an empty slot. */
  #slots: Int32Array;
  #mask: number;

  constructor(wordsPerKey: number, maxKeys: number) {
    this.maxKeys = maxKeys;
    this.key = new Int32Array(wordsPerKey);
    this.#stride = wordsPerKey;
    this.#salt = Int32Array.from({ length: wordsPerKey }, () => (Math.random() * 0x1_0000_0000) | 1);
    this.#keys = new Int32Array((SMALLEST_SLOTS / 2) * wordsPerKey);
    this.#slots = new Int32Array(SMALLEST_SLOTS * 2);
    this.#mask = SMALLEST_SLOTS - 1;
  }

  /**
   * The number of `key`, which is added if it is new, or -1 when there is no room for it.
   * @param words how many words of `key` count; keys of different lengths must differ in a word that both have
   */
  find(words: number): number {
    const key = this.key;
    let hash = 0;
    for (let i = 0; i < words; i++) {
      hash = Math.imul(hash ^ key[i]!, this.#salt[i]!);
      hash ^= hash >>> 15;
    }
    hash = Math.imul(hash, 0x2c1b3c6d);
    hash ^= hash >>> 13;

    const slots = this.#slots;
    let slot = hash & this.#mask;
    for (; ; slot = (slot + 1) & this.#mask) {
      const found = slots[slot * 2 + 1]! - 1;
      if (found < 0) break;
      if (slots[slot * 2] === hash && this.#same(found, words)) return found;
    }
    if (this.count === this.maxKeys) return -1;
    slots[slot * 2] = hash;
    slots[slot * 2 + 1] = this.count + 1;
    this.#keys.set(key, this.count * this.#stride);
    this.count += 1;
    if (this.count * 2 > this.#mask) this.#grow();
    return this.count - 1;
  }

  /** One word of a key found before. */
  word(number: number, word: number): number {
    return this.#keys[number * this.#stride + word]!;
  }

  #same(number: number, words: number): boolean {
    const at = number * this.#stride;
    for (let i = 0; i < words; i++) {
      if (this.#keys[at + i] !== this.key[i]) return false;
    }
    return true;
  }

  #grow(): void {
    const old = this.#slots;
    const slots = new Int32Array(old.length * 2);
    const mask = old.length - 1;
    for (let i = 0; i < old.length; i += 2) {
      if (old[i + 1] === 0) continue;
      let slot = old[i]! & mask;
      while (slots[slot * 2 + 1] !== 0) slot = (slot + 1) & mask;
      slots[slot * 2] = old[i]!;
      slots[slot * 2 + 1] = old[i + 1]!;
    }
    this.#slots = slots;
    this.#mask = mask;
    this.#keys = doubled(this.#keys);
  }
}

/** The same numbers in an array of twice the length. */
export function doubled<T extends Int32Array | Float64Array>(array: T): T {
  const larger = new (array.constructor as new (length: number) => T)(array.length * 2);
  larger.set(array);
  return larger;
}
