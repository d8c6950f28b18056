import { closeSync, openSync } from 'node:fs';
import type { Disk } from './disk.ts';
import { FILE_HEADER_BYTES, RECORD_HEADER_BYTES, repair, writeFileHeader, writeRecordHeader } from './pcap.ts';
import { VXLAN_HEADER_BYTES, originalLength } from './vxlan.ts';

/** What is kept in memory before it is written; besides what is lost with a process that is killed, at most. */
const BUFFER_BYTES = 1024 * 1024;
/** The longest that a packet is kept in memory: what a killed process loses is no older (unless the disk refuses). */
export const FLUSH_MS = 1000;

/** Bytes that a datagram takes up in a file. */
export function recordBytes(datagram: Buffer): number {
  return RECORD_HEADER_BYTES + datagram.length - VXLAN_HEADER_BYTES;
}

/** A capture file being written. */
export class OpenFile {
  readonly path: string;
  readonly openedMs: number;
  /** Of the file, what is in memory included. */
  bytes = FILE_HEADER_BYTES;
  packets = 0;
  readonly #disk: Disk;
  readonly #file: number;
  // Pages of it that are never reached cost nothing, so a source with little traffic is cheap.
  readonly #buffer = Buffer.allocUnsafeSlow(BUFFER_BYTES);
  readonly #view = new DataView(this.#buffer.buffer);
  /** What is to be written lies between these. */
  #from = 0;
  #to = FILE_HEADER_BYTES;
  #flushedMs: number;

  /** @throws what the file system throws */
  constructor(disk: Disk, path: string, nowMs: number) {
    this.#disk = disk;
    this.path = path;
    this.openedMs = nowMs;
    this.#flushedMs = nowMs;
    this.#file = openSync(path, 'wx', 0o640);
    writeFileHeader(this.#view);
  }

  /** Takes the frame in a datagram. @returns false when there is no place for it, since the disk refuses what came before */
  append(datagram: Buffer, timeUs: number): boolean {
    const size = recordBytes(datagram);
    if (this.#to + size > BUFFER_BYTES && !this.flush(timeUs / 1000)) return false;
    const captured = datagram.length - VXLAN_HEADER_BYTES;
    writeRecordHeader(this.#view, this.#to, timeUs, captured, originalLength(datagram));
    datagram.copy(this.#buffer, this.#to + RECORD_HEADER_BYTES, VXLAN_HEADER_BYTES);
    this.#to += size;
    this.bytes += size;
    this.packets += 1;
    return true;
  }

  flushIfDue(nowMs: number): void {
    if (this.#to > this.#from && Math.abs(nowMs - this.#flushedMs) >= FLUSH_MS) this.flush(nowMs);
  }

  /** Writes what is in memory. @returns false when the disk refuses; the rest stays in memory */
  flush(nowMs: number): boolean {
    this.#flushedMs = nowMs;
    while (this.#from < this.#to) {
      const written = this.#disk.attempt(nowMs, () => this.#disk.write(this.#file, this.#buffer, this.#from, this.#to));
      if (written === undefined) return false;
      this.#from += written;
    }
    this.#from = 0;
    this.#to = 0;
    return true;
  }

  /**
   * Ends the file as it is. What the disk refused to take is lost: the file is then cut behind its last whole packet.
   *
   * @returns what is in it
   * @throws what the file system throws
   */
  close(): { bytes: number; packets: number } {
    closeSync(this.#file);
    return this.#to > this.#from ? repair(this.path) : { bytes: this.bytes, packets: this.packets };
  }
}
