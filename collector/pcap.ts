import { readFileSync, truncateSync } from 'node:fs';
import { RecordReader, type PacketSink } from '../shared/pcap/records.ts';

/**
 * Classic pcap files (draft-ietf-opsawg-pcap), little-endian, with microseconds (a socket tells no finer times), link type Ethernet:
 * a 24-byte header, then records of a 16-byte header and the frame.
 */
export const FILE_HEADER_BYTES = 24;
export const RECORD_HEADER_BYTES = 16;
/** As libpcap writes it for "whole packets"; readers refuse more. */
const SNAP_LENGTH = 262_144;
const ETHERNET = 1;

export function writeFileHeader(to: DataView): void {
  to.setUint32(0, 0xa1b2c3d4, true);
  to.setUint16(4, 2, true);
  to.setUint16(6, 4, true);
  to.setUint32(8, 0, true);
  to.setUint32(12, 0, true);
  to.setUint32(16, SNAP_LENGTH, true);
  to.setUint32(20, ETHERNET, true);
}

/** @param timeUs Unix time in microseconds */
export function writeRecordHeader(to: DataView, at: number, timeUs: number, captured: number, original: number): void {
  const seconds = Math.floor(timeUs / 1e6);
  to.setUint32(at, seconds, true);
  to.setUint32(at + 4, timeUs - seconds * 1e6, true);
  to.setUint32(at + 8, captured, true);
  to.setUint32(at + 12, original, true);
}

/**
 * Cuts a file that a killed process left behind its last whole packet.
 *
 * @returns what is left; 0 bytes when not even the file's header was whole
 */
export function repair(path: string): { bytes: number; packets: number } {
  const content = readFileSync(path);
  const whole = new WholePackets();
  const reader = new RecordReader(whole);
  reader.push(content);
  reader.end();
  const bytes = reader.format?.name === 'pcap' && content.length >= FILE_HEADER_BYTES ? whole.bytes : 0;
  if (bytes < content.length) truncateSync(path, bytes);
  return { bytes, packets: whole.packets };
}

/** Counts packets up to the first that is none: the zeros, say, that a file may end in after a power failure. */
class WholePackets implements PacketSink {
  bytes = FILE_HEADER_BYTES;
  packets = 0;
  #ended = false;

  packet(_view: DataView, _at: number, _end: number, captured: number): void {
    this.#ended ||= captured === 0;
    if (this.#ended) return;
    this.packets += 1;
    this.bytes += RECORD_HEADER_BYTES + captured;
  }
}
