import { describe, expect, it } from 'vitest';
import {
  block,
  concat,
  enhancedPacket,
  ethernet,
  interfaceDescription,
  pcap,
  pcapHeader,
  pcapRecord,
  sectionHeader,
  simplePacket,
} from './build.ts';
import { summarise } from './captures.ts';

const frame = ethernet(0x0806, new Uint8Array(28));

describe('no capture', () => {
  it.each([
    ['an empty file', new Uint8Array(), 'the file is empty'],
    ['three bytes', new Uint8Array(3), 'the file is too short to be a capture'],
    ['gzip', Uint8Array.of(0x1f, 0x8b, 8, 0, 0), 'gzip-compressed; decompress first'],
    ['text', Buffer.from('GET / HTTP/1.1'), 'neither pcap nor pcapng: the first bytes are 47455420'],
    ['a line like pcapng', Buffer.from('\n\r\r\n and then text'), 'a section header without a byte-order magic'],
  ])('%s', (_, bytes, reason) => {
    const summary = summarise(bytes);
    expect(summary).toMatchObject({ format: 'unknown', linkTypes: [], packets: 0, damage: { at: 0, reason } });
    expect(summary).not.toHaveProperty('byteOrder');
    expect(summary).not.toHaveProperty('firstPacketAt');
  });
});

describe('pcap', () => {
  it('with no packets is fine', () => {
    expect(summarise(pcapHeader({ little: true }))).toEqual({
      format: 'pcap',
      byteOrder: 'little',
      linkTypes: ['ETHERNET'],
      packets: 0,
      capturedBytes: 0,
      originalBytes: 0,
      truncatedPackets: 0,
      snapLength: 65535,
      protocols: {},
      flowCount: 0,
      flowsFolded: 0,
      talkers: [],
      dns: [],
      tcp: { connections: 0, retransmissions: 0, resets: 0, unansweredSyns: 0 },
    });
  });

  it('in nanoseconds, big-endian, packets out of order', () => {
    const file = concat(
      pcapHeader({ little: false, magic: 0xa1b23c4d }),
      pcapRecord(false, frame, 1_700_000_000, 123_456_789),
      pcapRecord(false, frame, 1_700_000_000, 123_456_788, 1500),
      pcapRecord(false, frame, 4_294_967_295, 999_999_999),
      pcapRecord(false, frame, 1_700_000_001, 0),
    );
    expect(summarise(file)).toMatchObject({
      format: 'pcap',
      byteOrder: 'big',
      packets: 4,
      capturedBytes: 4 * 42,
      originalBytes: 3 * 42 + 1500,
      truncatedPackets: 1,
      firstPacketAt: '2023-11-14T22:13:20.123456788Z',
      lastPacketAt: '2106-02-07T06:28:15.999999999Z',
    });
  });

  it('carries a fraction of more than a second over', () => {
    const file = concat(pcapHeader({ little: true }), pcapRecord(true, frame, 10, 2_000_001));
    expect(summarise(file).firstPacketAt).toBe('1970-01-01T00:00:12.000001Z');
  });

  it('with the longer record headers of modified files', () => {
    const record = pcapRecord(true, frame, 5, 6);
    const modified = concat(record.subarray(0, 16), new Uint8Array(8), record.subarray(16));
    const file = concat(pcapHeader({ little: true, magic: 0xa1b2cd34 }), modified, modified);
    expect(summarise(file)).toMatchObject({ packets: 2, capturedBytes: 84, protocols: { ethernet: 2, arp: 2 } });
  });

  it('of version 2.3, with the lengths the other way round where that must be', () => {
    const swapped = pcapRecord(true, frame);
    swapped.set([100, 0, 0, 0, frame.length, 0, 0, 0], 8);
    const file = concat(pcapHeader({ little: true, version: [2, 3] }), swapped, pcapRecord(true, frame, 0, 0, 60));
    expect(summarise(file)).toMatchObject({ packets: 2, capturedBytes: 84, originalBytes: 160, truncatedPackets: 2 });
  });

  it('of version 1 is not read', () => {
    const { damage } = summarise(pcapHeader({ little: true, version: [1, 0] }), pcapRecord(true, frame));
    expect(damage).toEqual({ at: 0, reason: 'pcap version 1.0 is not supported' });
  });

  it('names a link type without its check-sequence bits, or gives its number', () => {
    expect(summarise(pcapHeader({ little: true, linkType: 0x44000071 })).linkTypes).toEqual(['LINUX_SLL']);
    expect(summarise(pcapHeader({ little: true, linkType: 60_000 })).linkTypes).toEqual(['60000']);
  });

  it.each([10, 23])('cut in its header after %i bytes', (bytes) => {
    const damage = { at: 0, reason: 'the file ends in the middle of its header' };
    expect(summarise(pcap([]).subarray(0, bytes))).toMatchObject({ format: 'pcap', packets: 0, damage });
  });

  it.each([1, 15, 16, 57])('cut in its second record after %i bytes', (bytes) => {
    const damage = { at: 24 + 58, reason: 'the file ends in the middle of a record' };
    expect(summarise(pcap([frame, frame]).subarray(0, 24 + 58 + bytes))).toMatchObject({ packets: 1, damage });
  });

  it('takes a packet of 262,144 bytes and no larger one, but on a USB bus', () => {
    const file = (bytes: number, linkType: number): Uint8Array => pcap([frame, new Uint8Array(bytes), frame], linkType);
    expect(summarise(file(262_144, 1))).toMatchObject({ packets: 3, capturedBytes: 262_144 + 84 });
    expect(summarise(file(262_145, 1))).toMatchObject({
      packets: 1,
      damage: { at: 82, reason: 'a record claims 262145 captured bytes, more than the 262144 a packet can have' },
    });
    expect(summarise(file(1_000_000, 249))).toMatchObject({ packets: 3, capturedBytes: 1_000_084 });
  });
});

describe('pcapng', () => {
  it('with sections of either byte order, interfaces of their own resolution, and all kinds of packet blocks', () => {
    const obsolete = new Uint8Array(20 + frame.length);
    new DataView(obsolete.buffer).setUint16(0, 1);
    new DataView(obsolete.buffer).setUint32(8, 30_000_000);
    new DataView(obsolete.buffer).setUint32(12, frame.length);
    new DataView(obsolete.buffer).setUint32(16, 99);
    obsolete.set(frame, 20);
    const file = concat(
      sectionHeader(true),
      interfaceDescription(true, { snapLength: 20 }),
      interfaceDescription(true, { linkType: 113, resolution: 9 }),
      enhancedPacket(true, 1, 1_700_000_000_123_456_789n, frame),
      enhancedPacket(true, 0, 1_700_000_100_000_001n, frame),
      simplePacket(true, 42, frame.subarray(0, 20)),
      block(true, 0x0bad, new Uint8Array(100)),
      sectionHeader(false),
      interfaceDescription(false, { linkType: 101, resolution: 0x80 | 20, offsetSeconds: 1_600_000_000 }),
      interfaceDescription(false, { resolution: 6 }),
      enhancedPacket(false, 0, 3n << 19n, frame),
      block(false, 2, obsolete),
    );
    expect(summarise(file)).toMatchObject({
      format: 'pcapng',
      byteOrder: 'little',
      linkTypes: ['ETHERNET', 'LINUX_SLL', 'RAW'],
      packets: 5,
      capturedBytes: 4 * 42 + 20,
      originalBytes: 4 * 42 + 99,
      truncatedPackets: 2,
      snapLength: 20,
      firstPacketAt: '1970-01-01T00:00:30.000000000Z',
      lastPacketAt: '2023-11-14T22:15:00.000001000Z',
      protocols: { ethernet: 3, arp: 3 },
    });
    expect(summarise(file)).not.toHaveProperty('damage');
  });

  it.each([
    ['seconds', 0, 0, 1_700_000_000n, '2023-11-14T22:13:20.000000Z'],
    ['milliseconds', 3, 0, 1_700_000_000_001n, '2023-11-14T22:13:20.001000Z'],
    ['nanoseconds', 9, 0, 1_999_999_999_999_999_999n, '2033-05-18T03:33:19.999999999Z'],
    ['nanoseconds and an offset back', 9, -1_000_000_000, 1_999_999_999_999_999_999n, '2001-09-09T01:46:39.999999999Z'],
    ['picoseconds', 12, 0, 1_700_000_123_456_789_123n, '1970-01-20T16:13:20.123456789Z'],
    ['units of 2^-30 s', 0x80 | 30, 1_700_000_000, 1n, '2023-11-14T22:13:20.000000000Z'],
    ['units of 2^-1 s', 0x80 | 1, 0, 3n, '1970-01-01T00:00:01.500000000Z'],
    ['before 1970', 6, -86_400, 1n, '1969-12-31T00:00:00.000001Z'],
  ])('times in %s', (_, resolution, offsetSeconds, ticks, expected) => {
    const description = interfaceDescription(true, { resolution, offsetSeconds });
    const { firstPacketAt } = summarise(sectionHeader(true), description, enhancedPacket(true, 0, ticks, frame));
    expect(firstPacketAt).toBe(expected);
  });

  it.each([
    ['a resolution that is none', { resolution: 0x7f }],
    ['a time beyond the year 9999', { resolution: 0 }],
  ])('counts packets with %s, and no time', (_, options) => {
    const packet = enhancedPacket(true, 0, 0xffff_ffff_ffffn, frame);
    const summary = summarise(sectionHeader(true), interfaceDescription(true, options), packet);
    expect(summary.packets).toBe(1);
    expect(summary).not.toHaveProperty('firstPacketAt');
  });

  const start = concat(sectionHeader(true), interfaceDescription(true), enhancedPacket(true, 0, 1n, frame));
  it.each([
    [
      'a packet of no interface',
      enhancedPacket(true, 1, 1n, frame),
      'a packet of interface 1, which the file does not describe',
    ],
    [
      'a block too short',
      Uint8Array.of(9, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0),
      'a block claims 8 bytes, less than a block can have',
    ],
    [
      'a block too long',
      Uint8Array.of(9, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0),
      'a block claims 150994944 bytes, more than a block can have',
    ],
    ['two lengths', Uint8Array.of(9, 0, 0, 0, 12, 0, 0, 0, 16, 0, 0, 0), 'a block gives two lengths, 12 and 16'],
    [
      'a packet longer than its block',
      simplePacket(true, 100, frame),
      'a packet block of 48 bytes claims 100 captured bytes',
    ],
    [
      'the end in a block',
      enhancedPacket(true, 0, 1n, frame).subarray(0, 30),
      'the file ends in the middle of a record',
    ],
  ])('damaged by %s', (_, bytes, reason) => {
    expect(summarise(start, bytes)).toMatchObject({ packets: 1, damage: { at: start.length, reason } });
  });
});
