import { maxCapturedBytes } from './link-types.ts';
import type { Format, PacketSink } from './records.ts';
import { TickClock } from './time.ts';

const SECTION_HEADER = 0x0a0d0d0a;
const INTERFACE_DESCRIPTION = 1;
const PACKET_OBSOLETE = 2;
const SIMPLE_PACKET = 3;
const ENHANCED_PACKET = 6;

const BYTE_ORDER_MAGIC = 0x1a2b3c4d;
const OPTION_TIME_RESOLUTION = 9;
const OPTION_TIME_OFFSET = 14;

const MIN_BLOCK_BYTES = 12;
/** The largest packet there is (128 MiB, D-Bus), its block and 128 KiB of options. */
const MAX_BLOCK_BYTES = 128 * 1024 * 1024 + 128 * 1024 + 32;
const MAX_INTERFACES = 65_536;

type Interface = { linkType: number; snapLength: number; maxCaptured: number; clock: TickClock };

/**
 * pcapng files, draft-ietf-opsawg-pcapng. Blocks of type, length, body, length again; a section header block states the
 * byte order of its section and forgets the interfaces of the one before. Blocks that carry no packets are skipped.
 */
export class PcapngFormat implements Format {
  /** The same in both byte orders. */
  static readonly MAGIC = SECTION_HEADER;

  name: 'pcapng' | 'unknown' = 'unknown';
  littleEndian = false;
  finerThanMicroseconds = false;
  snapLength = 0;
  readonly headerBytes = MIN_BLOCK_BYTES;
  readonly linkTypes = new Set<number>();
  readonly #sink: PacketSink;
  /** Byte order of the section in hand; `littleEndian` is that of the first. */
  #little = false;
  #interfaces: Interface[] = [];

  constructor(sink: PacketSink) {
    this.#sink = sink;
  }

  measure(view: DataView, at: number): number | string {
    if (view.getUint32(at) === SECTION_HEADER) {
      const reason = this.#takeByteOrder(view, at + 8);
      if (reason) return reason;
    }
    const length = view.getUint32(at + 4, this.#little);
    if (length < MIN_BLOCK_BYTES) return `a block claims ${length} bytes, less than a block can have`;
    if (length > MAX_BLOCK_BYTES) return `a block claims ${length} bytes, more than a block can have`;
    return roundUp4(length);
  }

  read(view: DataView, at: number, end: number): string | undefined {
    const total = roundUp4(view.getUint32(at + 4, this.#little));
    // The end of a block repeats its length; where only the first part is at hand it cannot be compared.
    if (at + total === end && roundUp4(view.getUint32(end - 4, this.#little)) !== total) {
      return `a block gives two lengths, ${total} and ${view.getUint32(end - 4, this.#little)}`;
    }
    const body = at + 8;
    const bodyBytes = total - MIN_BLOCK_BYTES;
    switch (view.getUint32(at, this.#little)) {
      case SECTION_HEADER:
        return this.#readSection(view, body, bodyBytes);
      case INTERFACE_DESCRIPTION:
        return this.#readInterface(view, body, bodyBytes, Math.min(body + bodyBytes, end));
      case ENHANCED_PACKET:
        return this.#readPacket(view, body, bodyBytes, end, 4);
      case PACKET_OBSOLETE:
        return this.#readPacket(view, body, bodyBytes, end, 2);
      case SIMPLE_PACKET:
        return this.#readSimplePacket(view, body, bodyBytes, end);
      default:
        return undefined;
    }
  }

  #takeByteOrder(view: DataView, at: number): string | undefined {
    const big = view.getUint32(at) === BYTE_ORDER_MAGIC;
    if (!big && view.getUint32(at, true) !== BYTE_ORDER_MAGIC) return 'a section header without a byte-order magic';
    this.#little = !big;
    if (this.name === 'unknown') this.littleEndian = this.#little;
    this.name = 'pcapng';
    return undefined;
  }

  #readSection(view: DataView, body: number, bodyBytes: number): string | undefined {
    if (bodyBytes < 16) return `a section header of only ${bodyBytes} bytes`;
    const major = view.getUint16(body + 4, this.#little);
    const minor = view.getUint16(body + 6, this.#little);
    // 1.2 was written by some tools for what is 1.0.
    if (major !== 1 || (minor !== 0 && minor !== 2)) return `pcapng version ${major}.${minor} is not supported`;
    this.#interfaces = [];
    return undefined;
  }

  #readInterface(view: DataView, body: number, bodyBytes: number, end: number): string | undefined {
    if (bodyBytes < 8) return `an interface description of only ${bodyBytes} bytes`;
    if (this.#interfaces.length === MAX_INTERFACES) return `more than ${MAX_INTERFACES} interfaces`;
    let resolution = 6;
    let offsetSeconds = 0;
    let at = body + 8;
    while (at + 4 <= end) {
      const code = view.getUint16(at, this.#little);
      const bytes = view.getUint16(at + 2, this.#little);
      const value = at + 4;
      if (code === 0 || value + bytes > end) break;
      if (code === OPTION_TIME_RESOLUTION && bytes === 1) resolution = view.getUint8(value);
      if (code === OPTION_TIME_OFFSET && bytes === 8) offsetSeconds = getInt64(view, value, this.#little);
      at = value + roundUp4(bytes);
    }
    const linkType = view.getUint16(body, this.#little);
    const snapLength = view.getUint32(body + 4, this.#little);
    const clock = new TickClock(resolution, offsetSeconds);
    this.#interfaces.push({ linkType, snapLength, maxCaptured: maxCapturedBytes(linkType), clock });
    this.linkTypes.add(linkType);
    this.snapLength = Math.max(this.snapLength, snapLength);
    this.finerThanMicroseconds ||= clock.finerThanMicroseconds;
    return undefined;
  }

  /** Enhanced packet block, or its obsolete forerunner, whose interface id has two bytes and not four. */
  #readPacket(view: DataView, body: number, bodyBytes: number, end: number, idBytes: 2 | 4): string | undefined {
    if (bodyBytes < 20) return `a packet block of only ${bodyBytes} bytes`;
    const id = idBytes === 4 ? view.getUint32(body, this.#little) : view.getUint16(body, this.#little);
    const from = this.#interfaces[id];
    if (!from) return noSuchInterface(id);
    const captured = view.getUint32(body + 12, this.#little);
    const original = view.getUint32(body + 16, this.#little);
    if (captured > from.maxCaptured || captured > bodyBytes - 20) {
      return `a packet block of ${bodyBytes} bytes claims ${captured} captured bytes`;
    }
    const clock = from.clock;
    clock.read(view.getUint32(body + 4, this.#little), view.getUint32(body + 8, this.#little));
    const at = body + 20;
    const { linkType } = from;
    this.#sink.packet(view, at, Math.min(at + captured, end), captured, original, linkType, clock.seconds, clock.nanos);
    return undefined;
  }

  /** Simple packet block: no time, no interface (the first is meant) and no captured length. */
  #readSimplePacket(view: DataView, body: number, bodyBytes: number, end: number): string | undefined {
    const from = this.#interfaces[0];
    if (!from) return noSuchInterface(0);
    if (bodyBytes < 4) return `a packet block of only ${bodyBytes} bytes`;
    const original = view.getUint32(body, this.#little);
    const captured = Math.min(original, from.snapLength || original);
    if (captured > from.maxCaptured || captured > bodyBytes - 4) {
      return `a packet block of ${bodyBytes} bytes claims ${captured} captured bytes`;
    }
    const at = body + 4;
    this.#sink.packet(view, at, Math.min(at + captured, end), captured, original, from.linkType, Number.NaN, 0);
    return undefined;
  }
}

function noSuchInterface(id: number): string {
  return `a packet of interface ${id}, which the file does not describe`;
}

function roundUp4(bytes: number): number {
  return Math.ceil(bytes / 4) * 4;
}

/** Exact up to 2^53, which is far more seconds than a time can have. */
function getInt64(view: DataView, at: number, little: boolean): number {
  return Number(view.getBigInt64(at, little));
}
