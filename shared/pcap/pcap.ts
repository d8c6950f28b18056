import { maxCapturedBytes } from './link-types.ts';
import type { Format, PacketSink } from './records.ts';

const FILE_HEADER_BYTES = 24;

/** Magic numbers as the writer's own byte order shows them: nanoseconds or not, bytes of a record's header. */
const MAGICS = new Map([
  [0xa1b2c3d4, { nanoseconds: false, recordHeaderBytes: 16 }],
  [0xa1b23c4d, { nanoseconds: true, recordHeaderBytes: 16 }],
  // "Modified" files of Linux 2.2 times: interface, protocol and packet type follow the usual record header.
  [0xa1b2cd34, { nanoseconds: false, recordHeaderBytes: 24 }],
]);

/**
 * pcap files, draft-ietf-opsawg-pcap. A file header of 24 bytes (magic, version, snap length, link type), then records:
 * seconds, fraction, captured length, original length (32 bits each, unsigned) and the packet.
 */
export class PcapFormat implements Format {
  readonly name = 'pcap';
  readonly littleEndian: boolean;
  readonly finerThanMicroseconds: boolean;
  readonly linkTypes = new Set<number>();
  headerBytes = FILE_HEADER_BYTES;
  snapLength = 0;
  readonly #sink: PacketSink;
  readonly #recordHeaderBytes: number;
  #linkType = -1;
  #maxCaptured = 0;
  /** Files before version 2.4 may have the two lengths the other way round. */
  #lengths: 'usual' | 'swapped' | 'swapped-when-larger' = 'usual';

  /** @param magic the file's first four bytes, read big-endian */
  static recognise(magic: number, sink: PacketSink): PcapFormat | undefined {
    const swapped = ((magic & 0xff) << 24) | ((magic & 0xff00) << 8) | ((magic >>> 8) & 0xff00) | (magic >>> 24);
    const big = MAGICS.get(magic);
    const kind = big ?? MAGICS.get(swapped >>> 0);
    return kind && new PcapFormat(!big, kind, sink);
  }

  private constructor(
    littleEndian: boolean,
    kind: { nanoseconds: boolean; recordHeaderBytes: number },
    sink: PacketSink,
  ) {
    this.littleEndian = littleEndian;
    this.finerThanMicroseconds = kind.nanoseconds;
    this.#recordHeaderBytes = kind.recordHeaderBytes;
    this.#sink = sink;
  }

  measure(view: DataView, at: number): number | string {
    if (this.#linkType < 0) return FILE_HEADER_BYTES;
    const captured = view.getUint32(at + (this.#swapped(view, at) ? 12 : 8), this.littleEndian);
    if (captured > this.#maxCaptured) {
      return `a record claims ${captured} captured bytes, more than the ${this.#maxCaptured} a packet can have`;
    }
    return this.#recordHeaderBytes + captured;
  }

  read(view: DataView, at: number, end: number): string | undefined {
    if (this.#linkType < 0) return this.#readFileHeader(view, at);
    const swapped = this.#swapped(view, at);
    const captured = view.getUint32(at + (swapped ? 12 : 8), this.littleEndian);
    const original = view.getUint32(at + (swapped ? 8 : 12), this.littleEndian);
    let seconds = view.getUint32(at, this.littleEndian);
    let fraction = view.getUint32(at + 4, this.littleEndian);
    const perSecond = this.finerThanMicroseconds ? 1_000_000_000 : 1_000_000;
    if (fraction >= perSecond) {
      // Not allowed, but some writers do not carry over.
      seconds += Math.floor(fraction / perSecond);
      fraction %= perSecond;
    }
    const nanos = this.finerThanMicroseconds ? fraction : fraction * 1000;
    const packetAt = at + this.#recordHeaderBytes;
    this.#sink.packet(view, packetAt, end, captured, original, this.#linkType, seconds, nanos);
    return undefined;
  }

  #readFileHeader(view: DataView, at: number): string | undefined {
    const major = view.getUint16(at + 4, this.littleEndian);
    const minor = view.getUint16(at + 6, this.littleEndian);
    if (major < 2) return `pcap version ${major}.${minor} is not supported`;
    if (major === 2 && minor < 3) this.#lengths = 'swapped';
    if (major === 2 && minor === 3) this.#lengths = 'swapped-when-larger';
    this.snapLength = view.getUint32(at + 16, this.littleEndian);
    // The upper 16 bits hold the length of the frame check sequence.
    this.#linkType = view.getUint32(at + 20, this.littleEndian) & 0xffff;
    this.#maxCaptured = maxCapturedBytes(this.#linkType);
    this.linkTypes.add(this.#linkType);
    this.headerBytes = this.#recordHeaderBytes;
    return undefined;
  }

  #swapped(view: DataView, at: number): boolean {
    if (this.#lengths === 'usual') return false;
    if (this.#lengths === 'swapped') return true;
    return view.getUint32(at + 8, this.littleEndian) > view.getUint32(at + 12, this.littleEndian);
  }
}
