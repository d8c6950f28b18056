import { doubled, KeyTable } from './key-table.ts';

export type Talker = { address: string; packets: number; bytes: number };

/** Packets and bytes per IP address, of which there is room for so many; those that come later are not counted. */
export class AddressTable {
  /** Keys are the length of the address in words, and its words. */
  readonly #table: KeyTable;
  /** Packets and bytes, in turn. */
  #totals = new Float64Array(1024);

  constructor(maxAddresses: number) {
    this.#table = new KeyTable(5, maxAddresses);
  }

  addRoom(addresses: number): void {
    this.#table.maxKeys += addresses;
  }

  /** @param length 32-bit words of the address that starts at `words[at]`: 1 for IPv4, 4 for IPv6 */
  add(words: Int32Array, at: number, length: number, packets: number, bytes: number): void {
    const key = this.#table.key;
    key[0] = length;
    for (let i = 0; i < length; i++) key[1 + i] = words[at + i]!;
    const number = this.#table.find(1 + length);
    if (number < 0) return;
    if (number * 2 === this.#totals.length) this.#totals = doubled(this.#totals);
    this.#totals[number * 2]! += packets;
    this.#totals[number * 2 + 1]! += bytes;
  }

  /** The addresses with the most bytes, the largest first. */
  top(limit: number): Talker[] {
    const totals = this.#totals;
    const numbers = Int32Array.from({ length: this.#table.count }, (_, number) => number);
    numbers.sort((a, b) => totals[b * 2 + 1]! - totals[a * 2 + 1]! || totals[b * 2]! - totals[a * 2]! || a - b);
    return Array.from(numbers.subarray(0, limit), (number) => ({
      address: this.#text(number),
      packets: totals[number * 2]!,
      bytes: totals[number * 2 + 1]!,
    }));
  }

  #text(number: number): string {
    const length = this.#table.word(number, 0);
    const words = Array.from({ length }, (_, i) => this.#table.word(number, 1 + i) >>> 0);
    return length === 1 ? ipv4Text(words[0]!) : ipv6Text(words);
  }
}

function ipv4Text(word: number): string {
  return `${word >>> 24}.${(word >>> 16) & 0xff}.${(word >>> 8) & 0xff}.${word & 0xff}`;
}

/** RFC 5952: lower case, no leading zeros, the first longest run of two or more zero groups as `::`. */
function ipv6Text(words: readonly number[]): string {
  const groups = words.flatMap((word) => [word >>> 16, word & 0xffff]);
  let runAt = -1;
  let runLength = 1;
  for (let at = 0; at < 8; at++) {
    let length = 0;
    while (at + length < 8 && groups[at + length] === 0) length += 1;
    if (length > runLength) {
      runAt = at;
      runLength = length;
    }
  }
  const text = (part: number[]): string => part.map((group) => group.toString(16)).join(':');
  if (runAt < 0) return text(groups);
  return `${text(groups.slice(0, runAt))}::${text(groups.slice(runAt + runLength))}`;
}
