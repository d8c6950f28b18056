import { PcapFormat } from './pcap.ts';
import { PcapngFormat } from './pcapng.ts';

/** Takes the packets of a file, one after another. Plain numbers, so that no object is made per packet. */
export interface PacketSink {
  /**
   * @param view bytes that hold the packet; valid during the call only
   * @param at where the packet starts in `view`
   * @param end where its bytes end in `view`; never beyond `at + captured`, and before it only in records of more than RECORD_BYTES_KEPT
   * @param captured bytes of the packet in the file
   * @param original bytes of the packet on the wire, as the file states them
   * @param linkType LINKTYPE_ number of its interface
   * @param seconds since 1970 UTC, whole; NaN when the record carries no time
   * @param nanos 0–999,999,999
   */
  packet(
    view: DataView,
    at: number,
    end: number,
    captured: number,
    original: number,
    linkType: number,
    seconds: number,
    nanos: number,
  ): void;
}

/** One file format: how long a record is, and what it holds. The file's own header counts as its first record. */
export interface Format {
  readonly name: 'pcap' | 'pcapng' | 'unknown';
  readonly littleEndian: boolean;
  /** Bytes of a record from which its length can be told; may differ for the next record. */
  readonly headerBytes: number;
  readonly linkTypes: ReadonlySet<number>;
  /** Bytes; 0 when the file states no limit. */
  readonly snapLength: number;
  /** Whether the file can hold times finer than a microsecond. */
  readonly finerThanMicroseconds: boolean;
  /** The whole length in bytes of the record at `at`, of which `headerBytes` are there; or why it cannot be one. */
  measure(view: DataView, at: number): number | string;
  /** Takes the record at `at`, at most RECORD_BYTES_KEPT of it, up to `end`; answers why it is not one, or nothing. */
  read(view: DataView, at: number, end: number): string | undefined;
}

export type Damage = { at: number; reason: string };

/**
 * Of a longer record only these first bytes are kept. Ordinary packets have at most 262,144 bytes, so this matters only
 * for D-Bus and USB packets, which are not decoded, and for pcapng blocks without packets.
 */
const RECORD_BYTES_KEPT = 512 * 1024;

/** Cuts a file into records, whatever chunks its bytes come in. Holds one partial record at most. Never throws. */
export class RecordReader {
  format: Format | undefined;
  /** Where and why reading stopped; bytes after it are ignored. */
  damage: Damage | undefined;
  readonly #sink: PacketSink;
  /** Offset in the file of the record in hand. */
  #offset = 0;
  /** The record in hand when it came in pieces: its first bytes, how many of it came, and how many to wait for. */
  #held = new Uint8Array(256);
  #heldView = new DataView(this.#held.buffer);
  #came = 0;
  #wanted = 4;

  constructor(sink: PacketSink) {
    this.#sink = sink;
  }

  push(chunk: Uint8Array): void {
    let at = 0;
    while (at < chunk.length && !this.damage) {
      at = this.format && this.#came === 0 ? this.#walk(this.format, chunk, at) : this.#gather(chunk, at);
    }
  }

  end(): void {
    if (this.damage) return;
    if (!this.format) {
      this.#fail(this.#came === 0 ? 'the file is empty' : 'the file is too short to be a capture');
    } else if (this.#came > 0) {
      this.#fail(`the file ends in the middle of ${this.#offset === 0 ? 'its header' : 'a record'}`);
    }
  }

  /** Reads the records that lie whole in the chunk; answers where it stopped: its end, or the start of a partial one. */
  #walk(format: Format, chunk: Uint8Array, start: number): number {
    const view = new DataView(chunk.buffer, chunk.byteOffset, chunk.length);
    let at = start;
    while (at + format.headerBytes <= chunk.length) {
      const total = format.measure(view, at);
      if (typeof total === 'string') return this.#fail(total, at - start);
      if (at + total > chunk.length) break;
      const reason = format.read(view, at, at + Math.min(total, RECORD_BYTES_KEPT));
      if (reason) return this.#fail(reason, at - start);
      at += total;
    }
    this.#offset += at - start;
    if (at === chunk.length) return at;
    this.#wanted = format.headerBytes;
    return this.#gather(chunk, at);
  }

  /** Adds to the record in hand, and reads it once it is whole. Each byte is copied once, however small the chunks. */
  #gather(chunk: Uint8Array, at: number): number {
    const taken = Math.min(this.#wanted - this.#came, chunk.length - at);
    const room = this.#held.length - this.#came;
    if (room > 0) this.#held.set(chunk.subarray(at, at + Math.min(taken, room)), this.#came);
    this.#came += taken;
    if (this.#came < this.#wanted) return at + taken;

    if (!this.format) {
      const found = recognise(this.#heldView, this.#sink);
      if (typeof found === 'string') return this.#fail(found);
      this.format = found;
      this.#wanted = found.headerBytes;
      return at + taken;
    }
    const total = this.format.measure(this.#heldView, 0);
    if (typeof total === 'string') return this.#fail(total);
    if (total > this.#came) {
      this.#wanted = total;
      this.#reserve(Math.min(total, RECORD_BYTES_KEPT));
      return at + taken;
    }
    const reason = this.format.read(this.#heldView, 0, Math.min(total, RECORD_BYTES_KEPT));
    if (reason) return this.#fail(reason);
    this.#offset += total;
    this.#came = 0;
    return at + taken;
  }

  #reserve(bytes: number): void {
    if (bytes <= this.#held.length) return;
    const larger = new Uint8Array(Math.min(RECORD_BYTES_KEPT, 2 ** Math.ceil(Math.log2(bytes))));
    larger.set(this.#held.subarray(0, this.#came));
    this.#held = larger;
    this.#heldView = new DataView(larger.buffer);
  }

  #fail(reason: string, walked = 0): number {
    this.damage = { at: this.#offset + walked, reason };
    return 0;
  }
}

/** The format by the first four bytes of a file, or why there is none. */
function recognise(view: DataView, sink: PacketSink): Format | string {
  const magic = view.getUint32(0);
  if (magic >>> 16 === 0x1f8b) return 'gzip-compressed; decompress first';
  if (magic === PcapngFormat.MAGIC) return new PcapngFormat(sink);
  return PcapFormat.recognise(magic, sink) ?? `neither pcap nor pcapng: the first bytes are ${hex(magic)}`;
}

function hex(magic: number): string {
  return magic.toString(16).padStart(8, '0');
}
