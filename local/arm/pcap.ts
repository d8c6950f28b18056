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

/** Cuts a pcap stream into its header and whole records. */
export class PcapStream {
  #pending = Buffer.alloc(0);
  #bigEndian: boolean | undefined;

  read(chunk: Buffer): { header: Buffer | undefined; records: Buffer[] } {
    this.#pending = Buffer.concat([this.#pending, chunk]);
    let at = 0;
    let header: Buffer | undefined;
    if (this.#bigEndian === undefined && this.#pending.length >= FILE_HEADER) {
      header = this.#pending.subarray(0, FILE_HEADER);
      this.#bigEndian = isBigEndian(header);
      at = FILE_HEADER;
    }
    const records: Buffer[] = [];
    while (this.#bigEndian !== undefined && at + RECORD_HEADER <= this.#pending.length) {
      const end = at + RECORD_HEADER + lengthAt(this.#pending, at + 8, this.#bigEndian);
      if (end > this.#pending.length) break;
      records.push(this.#pending.subarray(at, end));
      at = end;
    }
    this.#pending = this.#pending.subarray(at);
    return { header, records };
  }
}

/**
 * A capture file being written. It holds whole packets at every moment, never more than its limit, and can be opened
 * again after the process died: what follows goes behind what is there, without a second header.
 */
export class PcapFile {
  readonly #fd: number;
  readonly #limitBytes: number;
  bytes = 0;
  packets = 0;

  /** @param limitBytes size the file must not exceed; 0 = unlimited */
  constructor(path: string, limitBytes: number) {
    this.#limitBytes = limitBytes || Infinity;
    this.#fd = openSync(path, 'a+');
    this.#recover();
  }

  /** Writes the file's header, unless it has one. */
  begin(header: Buffer): void {
    if (this.bytes === 0) this.#append(header);
  }

  /** Adds records as long as they fit. @returns how many did */
  add(records: Buffer[], limitBytes = this.#limitBytes): number {
    let size = this.bytes;
    let count = 0;
    for (const each of records) {
      if (size + each.length > limitBytes) break;
      size += each.length;
      count += 1;
    }
    this.#append(Buffer.concat(records.slice(0, count)));
    this.packets += count;
    return count;
  }

  close(snapLength: number): void {
    if (this.bytes === 0) this.#append(fileHeader(snapLength));
    closeSync(this.#fd);
  }

  #append(bytes: Buffer): void {
    if (bytes.length === 0) return;
    writeSync(this.#fd, bytes);
    this.bytes += bytes.length;
  }

  /** Counts what an earlier process wrote, and cuts off a packet that it left half written. */
  #recover(): void {
    const size = fstatSync(this.#fd).size;
    if (size >= FILE_HEADER) {
      const header = Buffer.alloc(FILE_HEADER);
      readSync(this.#fd, header, 0, FILE_HEADER, 0);
      const bigEndian = isBigEndian(header);
      this.bytes = FILE_HEADER;
      while (this.bytes + RECORD_HEADER <= size) {
        readSync(this.#fd, header, 0, RECORD_HEADER, this.bytes);
        const next = this.bytes + RECORD_HEADER + lengthAt(header, 8, bigEndian);
        if (next > size) break;
        this.bytes = next;
        this.packets += 1;
      }
    }
    if (this.bytes < size) ftruncateSync(this.#fd, this.bytes);
  }
}

function isBigEndian(header: Buffer): boolean {
  return header[0] === 0xa1;
}

function lengthAt(buffer: Buffer, at: number, bigEndian: boolean): number {
  return bigEndian ? buffer.readUInt32BE(at) : buffer.readUInt32LE(at);
}
