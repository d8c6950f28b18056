const QUERY_HEADER_BYTES = 12;
/** Names kept; those that first come later are not counted. */
const MAX_NAMES = 20_000;
const MAX_NAME_CHARACTERS = 253;

export type NameCount = { name: string; count: number };

/** Counts the names that DNS queries ask for. */
export class QueryNames {
  readonly #counts = new Map<string, number>();

  /** Takes a DNS message (RFC 1035, section 4.1); anything but a standard query is left alone. */
  add(view: DataView, at: number, end: number): void {
    if (end - at < QUERY_HEADER_BYTES) return;
    // QR and opcode: 0 is a question, of the standard kind.
    if ((view.getUint8(at + 2) & 0xf8) !== 0) return;
    let questions = view.getUint16(at + 4);
    let next = at + QUERY_HEADER_BYTES;
    for (; questions > 0; questions--) {
      const nameEnd = endOfName(view, next, end);
      if (nameEnd < 0) return;
      const name = nameText(view, next, nameEnd);
      const count = this.#counts.get(name);
      if (count !== undefined || this.#counts.size < MAX_NAMES) this.#counts.set(name, (count ?? 0) + 1);
      next = nameEnd + 4;
    }
  }

  /** The names asked for most, the most frequent first. */
  top(limit: number): NameCount[] {
    return [...this.#counts]
      .map(([name, count]) => ({ name, count }))
      .sort((a, b) => b.count - a.count || (a.name < b.name ? -1 : 1))
      .slice(0, limit);
  }
}

/** Where the name ends that starts at `at`, or -1 when it is cut off, or compressed, which no question needs to be. */
function endOfName(view: DataView, at: number, end: number): number {
  while (at < end) {
    const length = view.getUint8(at);
    if (length === 0) return at + 1;
    if (length > 63) return -1;
    at += 1 + length;
  }
  return -1;
}

/** Lower-cased, without the last dot; `.` for the root. Dots in labels, backslashes and what is not printable escaped. */
function nameText(view: DataView, at: number, end: number): string {
  let name = '';
  let length = view.getUint8(at);
  while (length > 0) {
    if (name !== '') name += '.';
    for (let i = at + 1; i <= at + length; i++) name += characterText(view.getUint8(i));
    // Cut here, so that a hostile name of thousands of labels costs no more than a long one.
    if (name.length >= MAX_NAME_CHARACTERS) return name.slice(0, MAX_NAME_CHARACTERS);
    at += 1 + length;
    if (at >= end) break;
    length = view.getUint8(at);
  }
  return name === '' ? '.' : name;
}

/** One byte of a label as master files write it (RFC 1035, section 5.1). */
function characterText(byte: number): string {
  if (byte >= 0x41 && byte <= 0x5a) return String.fromCharCode(byte + 0x20);
  if (byte === 0x2e || byte === 0x5c) return `\\${String.fromCharCode(byte)}`;
  if (byte > 0x20 && byte < 0x7f) return String.fromCharCode(byte);
  return `\\${byte.toString().padStart(3, '0')}`;
}
