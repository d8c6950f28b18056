import { closeSync, fstatSync, ftruncateSync, openSync, readSync, writeSync } from 'node:fs';

/**
 * Classic pcap files (draft-ietf-opsawg-pcap): a 24-byte header, then records of a 16-byte header and the packet.
 * Only the byte order of the machine that captures is needed, and both are read.
 */
const FILE_HEADER = 24;
const RECORD_HEADER = 16;
const ETHERNET = 1;
const WHOLE_PACKET = 262_144;

/** The header of a new little-endian file with microseconds. @param snapLength bytes per packet, 0 = all */
export function fileHeader(snapLength: number): Buffer {
  const header = Buffer.alloc(FILE_HEADER);
  header.writeUInt32LE(0xa1b2c3d4, 0);
  header.writeUInt16LE(2, 4);
  header.writeUInt16LE(4, 6);
  header.writeUInt32LE(snapLength === 0 ? WHOLE_PACKET : snapLength, 16);
  header.writeUInt32LE(ETHERNET, 20);
  return header;
}

/** One little-endian record, cut to `snapLength` bytes (0 = all). @param timeMs Unix time in milliseconds */
export function record(packet: Buffer, timeMs: number, snapLength: number): Buffer {
  const captured = snapLength === 0 ? packet.length : Math.min(snapLength, packet.length);
  const header = Buffer.alloc(RECORD_HEADER);
  header.writeUInt32LE(Math.floor(timeMs / 1000), 0);
  header.writeUInt32LE(Math.floor((timeMs % 1000) * 1000), 4);
  header.writeUInt32LE(captured, 8);
  header.writeUInt32LE(packet.length, 12);
  return Buffer.concat([header, packet.subarray(0, captured)]);
}

/**
 * A capture file being written. It holds whole packets at every moment, never more than its limit, and can be opened
 * again after the process died: what follows goes behind what is there, without a second header.
 */
export class PcapFile {
  readonly #fd: number;
  readonly #limitBytes: number;
  #pending = Buffer.alloc(0);
  #headerRead = false;
  bytes = 0;
  packets = 0;
  /** No further packet fits. */
  full = false;

  /** @param limitBytes size the file must not exceed; 0 = unlimited */
  constructor(path: string, limitBytes: number) {
    this.#limitBytes = limitBytes === 0 ? Number.POSITIVE_INFINITY : limitBytes;
    this.#fd = openSync(path, 'a+');
    this.#recover();
  }

  /** Takes the next bytes of a pcap stream (header first), cut anywhere. */
  write(chunk: Buffer): void {
    this.#pending = Buffer.concat([this.#pending, chunk]);
    if (!this.#headerRead) {
      if (this.#pending.length < FILE_HEADER) return;
      if (this.bytes === 0) this.#append(this.#pending.subarray(0, FILE_HEADER));
      this.#pending = this.#pending.subarray(FILE_HEADER);
      this.#headerRead = true;
    }
    let end = 0;
    while (!this.full && end + RECORD_HEADER <= this.#pending.length) {
      const next = end + RECORD_HEADER + this.#length(this.#pending, end + 8);
      if (next > this.#pending.length) break;
      this.full = this.bytes + next > this.#limitBytes;
      if (this.full) break;
      this.packets += 1;
      end = next;
    }
    this.#append(this.#pending.subarray(0, end));
    this.#pending = this.#pending.subarray(end);
  }

  /** @param snapLength for the header, should nothing have been written at all */
  close(snapLength: number): void {
    if (this.bytes === 0) this.#append(fileHeader(snapLength));
    closeSync(this.#fd);
  }

  #bigEndian = false;

  #length(buffer: Buffer, at: number): number {
    return this.#bigEndian ? buffer.readUInt32BE(at) : buffer.readUInt32LE(at);
  }

  #append(bytes: Buffer): void {
    if (bytes.length === 0) return;
    if (this.bytes === 0) this.#bigEndian = bytes[0] === 0xa1;
    writeSync(this.#fd, bytes);
    this.bytes += bytes.length;
  }

  /** Counts what an earlier process wrote, and cuts off a packet that it left half written. */
  #recover(): void {
    const size = fstatSync(this.#fd).size;
    if (size >= FILE_HEADER) {
      const header = Buffer.alloc(FILE_HEADER);
      readSync(this.#fd, header, 0, FILE_HEADER, 0);
      this.#bigEndian = header[0] === 0xa1;
      this.bytes = FILE_HEADER;
      while (this.bytes + RECORD_HEADER <= size) {
        readSync(this.#fd, header, 0, RECORD_HEADER, this.bytes);
        const next = this.bytes + RECORD_HEADER + this.#length(header, 8);
        if (next > size) break;
        this.bytes = next;
        this.packets += 1;
      }
    }
    if (this.bytes < size) ftruncateSync(this.#fd, this.bytes);
  }
}
