import { AddressTable, type Talker } from './addresses.ts';
import { doubled, KeyTable } from './key-table.ts';

export const TCP = 6;

const FIN = 0x01;
const SYN = 0x02;
const RST = 0x04;
const ACK = 0x10;

/** Words of a flow's key: ports, protocol (with a bit for IPv6, and the network), then the two addresses of one or four words each. */
const PORTS = 0;
const PROTOCOL = 1;
const ADDRESSES = 2;
const IPV6_BIT = 0x100;
const NETWORK_SHIFT = 9;
const MAX_KEY_WORDS = ADDRESSES + 8;

/** What is known about a flow, in its flags word. These three are of the flow … */
const HAS_TCP_HEADER = 1;
const HAS_SYN = 2;
/** … and these of one side; shifted left by 1 they are of the other. */
const SENT = 1 << 4;
const NEXT_KNOWN = 1 << 6;
const INITIAL_KNOWN = 1 << 8;
const ACK_KNOWN = 1 << 10;
const GAP_OPEN = 1 << 12;

/** State words of a flow: flags, then per side the sequence numbers that were seen. */
const FLAGS = 0;
const SIDE_0 = 1;
const SIDE_WORDS = 5;
const STATE_WORDS = SIDE_0 + 2 * SIDE_WORDS;
/** Words of a side: the number after the highest seen, that of the SYN, the last one acknowledged to the other side … */
const NEXT = 0;
const INITIAL = 1;
const ACKNOWLEDGED = 2;
/** … and the span in which bytes are missing: from the first missing one to the end of the last missing one. */
const GAP_START = 3;
const GAP_END = 4;

const SMALLEST_FLOWS = 512;

export type TcpStatistics = {
  /** Distinct pairs of TCP endpoints. Ports used again count once, where Wireshark counts each new handshake. */
  connections: number;
  /**
   * Segments that carry data, SYN or FIN and whose sequence numbers were all seen before from that side. Keep-alives
   * are not counted, nor is what fills or lies inside a gap, since it may be late and not repeated.
   */
  retransmissions: number;
  /** Packets with RST. */
  resets: number;
  /** Connections with a SYN to which the other side sent nothing at all. */
  unansweredSyns: number;
};

/**
 * Bidirectional flows: the same two addresses, ports and IP protocol in the same VXLAN network, or in none. Where there are no ports (ICMP, fragments but the
 * first, headers that were cut off) they are 0. At most `maxFlows` are kept; the packets of later ones are counted as
 * folded, and go to the talkers only.
 */
export class FlowTable {
  folded = 0;
  resets = 0;
  #retransmissions = 0;
  readonly #table: KeyTable;
  /** Folded packets are counted here as they come, tracked ones at the end. */
  readonly #addresses: AddressTable;
  #states = new Int32Array(SMALLEST_FLOWS * STATE_WORDS);
  /** Packets and original bytes, in turn. */
  #totals = new Float64Array(SMALLEST_FLOWS * 2);

  constructor(maxFlows: number) {
    this.#table = new KeyTable(MAX_KEY_WORDS, maxFlows);
    this.#addresses = new AddressTable(maxFlows);
  }

  get count(): number {
    return this.#table.count;
  }

  /**
   * Counts a packet.
   * @param sourceAt where the source address lies in `view`, with the destination right behind it
   * @param network number of the VXLAN network, 0 to 2^22; 0 for none
   * @param bytes original length of the packet
   * @returns twice the number of its flow, plus 1 when it goes from the second endpoint to the first; -1 when folded
   */
  add(
    view: DataView,
    sourceAt: number,
    isIpv6: boolean,
    protocol: number,
    sourcePort: number,
    targetPort: number,
    network: number,
    bytes: number,
  ): number {
    const key = this.#table.key;
    const words = isIpv6 ? 4 : 1;
    const side = isReversed(view, sourceAt, words, sourcePort, targetPort) ? 1 : 0;
    const a = sourceAt + side * words * 4;
    const b = sourceAt + (1 - side) * words * 4;
    key[PORTS] = side === 0 ? (sourcePort << 16) | targetPort : (targetPort << 16) | sourcePort;
    key[PROTOCOL] = (isIpv6 ? protocol | IPV6_BIT : protocol) | (network << NETWORK_SHIFT);
    for (let i = 0; i < words; i++) {
      key[ADDRESSES + i] = view.getInt32(a + i * 4);
      key[ADDRESSES + words + i] = view.getInt32(b + i * 4);
    }
    const number = this.#table.find(ADDRESSES + 2 * words);
    if (number < 0) {
      this.folded += 1;
      this.#addTalkers(1, bytes);
      return -1;
    }
    if (number * 2 === this.#totals.length) {
      this.#totals = doubled(this.#totals);
      this.#states = doubled(this.#states);
    }
    this.#totals[number * 2]! += 1;
    this.#totals[number * 2 + 1]! += bytes;
    this.#states[number * STATE_WORDS + FLAGS]! |= SENT << side;
    return number * 2 + side;
  }

  /**
   * Follows the sequence numbers of a TCP packet.
   * @param flow what `add` answered, not -1
   * @param flags the low eight bits of the header's flags
   * @param payloadBytes of the original packet
   */
  addTcp(flow: number, sequence: number, acknowledged: number, flags: number, payloadBytes: number): void {
    const state = (flow >> 1) * STATE_WORDS;
    const side = flow & 1;
    const own = state + SIDE_0 + side * SIDE_WORDS;
    const states = this.#states;
    let known = states[state]! | HAS_TCP_HEADER;
    if ((flags & (SYN | ACK)) === SYN) known |= HAS_SYN;

    if ((flags & SYN) !== 0) {
      const repeats = (known & (INITIAL_KNOWN << side)) !== 0 && states[own + INITIAL] === (sequence | 0);
      if (!repeats) {
        // A new connection, maybe on ports that had one before. Its first packet starts both sides afresh.
        known &= ~((NEXT_KNOWN | GAP_OPEN) << side);
        if ((flags & ACK) === 0) known &= ~((NEXT_KNOWN | INITIAL_KNOWN | ACK_KNOWN | GAP_OPEN) << (1 - side));
        known |= INITIAL_KNOWN << side;
        states[own + INITIAL] = sequence;
      }
    }
    if ((flags & ACK) !== 0) {
      known |= ACK_KNOWN << side;
      states[own + ACKNOWLEDGED] = acknowledged;
    }
    states[state] = known;

    const length = payloadBytes + (flags & SYN ? 1 : 0) + (flags & FIN ? 1 : 0);
    if ((flags & RST) === 0) this.#follow(state, side, sequence | 0, length, (flags & (SYN | FIN)) !== 0);
  }

  /** Flows that were TCP, and what was wrong with them. */
  tcp(): TcpStatistics {
    let connections = 0;
    let unansweredSyns = 0;
    const bothSent = SENT | (SENT << 1);
    for (let number = 0; number < this.count; number++) {
      const flags = this.#states[number * STATE_WORDS + FLAGS]!;
      if ((flags & HAS_TCP_HEADER) === 0) continue;
      connections += 1;
      if ((flags & HAS_SYN) !== 0 && (flags & bothSent) !== bothSent) unansweredSyns += 1;
    }
    return { connections, retransmissions: this.#retransmissions, resets: this.resets, unansweredSyns };
  }

  /** The addresses with the most bytes sent and received. Call it once, after the last packet. */
  takeTalkers(limit: number): Talker[] {
    this.#addresses.addRoom(this.count * 2);
    const key = this.#table.key;
    for (let number = 0; number < this.count; number++) {
      for (let i = 0; i < MAX_KEY_WORDS; i++) key[i] = this.#table.word(number, i);
      this.#addTalkers(this.#totals[number * 2]!, this.#totals[number * 2 + 1]!);
    }
    return this.#addresses.top(limit);
  }

  /** @param length bytes of sequence space, SYN and FIN being one each */
  #follow(state: number, side: number, sequence: number, length: number, isSynOrFin: boolean): void {
    const states = this.#states;
    const known = states[state]!;
    const own = state + SIDE_0 + side * SIDE_WORDS;
    const end = (sequence + length) | 0;
    if ((known & (NEXT_KNOWN << side)) === 0) {
      states[state] = known | (NEXT_KNOWN << side);
      states[own + NEXT] = end;
      return;
    }
    if (length === 0) return;
    const next = states[own + NEXT]!;
    if (isAfter(sequence, next)) {
      this.#openGap(state, side, next, sequence);
      states[own + NEXT] = end;
    } else if (isAfter(end, next)) {
      states[own + NEXT] = end;
    } else if (length === 1 && !isSynOrFin && end === next) {
      // A keep-alive repeats the last byte.
    } else if ((known & (GAP_OPEN << side)) === 0 || !this.#fillGap(state, side, sequence, end)) {
      this.#retransmissions += 1;
    }
  }

  #openGap(state: number, side: number, start: number, end: number): void {
    const states = this.#states;
    const known = states[state]!;
    const own = state + SIDE_0 + side * SIDE_WORDS;
    if ((known & (GAP_OPEN << side)) !== 0) {
      // What the other side has acknowledged is not on its way any more: the capture missed it.
      const other = state + SIDE_0 + (1 - side) * SIDE_WORDS;
      const delivered =
        (known & (ACK_KNOWN << (1 - side))) !== 0 && !isAfter(states[own + GAP_END]!, states[other + ACKNOWLEDGED]!);
      if (!delivered) {
        states[own + GAP_END] = end;
        return;
      }
    }
    states[state] = known | (GAP_OPEN << side);
    states[own + GAP_START] = start;
    states[own + GAP_END] = end;
  }

  /** Whether a segment touches the span with missing bytes, which it then shortens where it lies at an end of it. */
  #fillGap(state: number, side: number, sequence: number, end: number): boolean {
    const states = this.#states;
    const own = state + SIDE_0 + side * SIDE_WORDS;
    const gapStart = states[own + GAP_START]!;
    const gapEnd = states[own + GAP_END]!;
    if (!isAfter(gapEnd, sequence) || !isAfter(end, gapStart)) return false;
    if (!isAfter(sequence, gapStart)) states[own + GAP_START] = end;
    else if (!isAfter(gapEnd, end)) states[own + GAP_END] = sequence;
    if (!isAfter(states[own + GAP_END]!, states[own + GAP_START]!)) states[state]! &= ~(GAP_OPEN << side);
    return true;
  }

  /** Counts packets for both addresses of the table's key, or once when they are the same. */
  #addTalkers(packets: number, bytes: number): void {
    const key = this.#table.key;
    const words = (key[PROTOCOL]! & IPV6_BIT) === 0 ? 1 : 4;
    let same = true;
    for (let i = ADDRESSES; i < ADDRESSES + words; i++) same &&= key[i] === key[i + words];
    this.#addresses.add(key, ADDRESSES, words, packets, bytes);
    if (!same) this.#addresses.add(key, ADDRESSES + words, words, packets, bytes);
  }
}

/** Whether source and destination change places, so that both directions of a flow have one key. */
function isReversed(view: DataView, sourceAt: number, words: number, sourcePort: number, targetPort: number): boolean {
  for (let i = 0; i < words; i++) {
    const source = view.getInt32(sourceAt + i * 4);
    const target = view.getInt32(sourceAt + (words + i) * 4);
    if (source !== target) return source > target;
  }
  return sourcePort > targetPort;
}

/** Whether a sequence number comes after another, modulo 2^32 (RFC 9293, section 3.4). */
function isAfter(sequence: number, other: number): boolean {
  return ((sequence - other) | 0) > 0;
}
