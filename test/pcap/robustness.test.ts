import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type CaptureSummary, CaptureReader } from '../../shared/pcap/summary.ts';
import { pcapHeader } from './build.ts';
import { captureNames, readCapture, seededRandom, summarise } from './captures.ts';

describe('all captures', () => {
  it('are read without an exception and at once', () => {
    for (const name of captureNames) {
      const bytes = readCapture(name);
      const started = performance.now();
      const summary = summarise(bytes);
      // Generous, since a busy machine may pause; a file takes about 0.1 ms.
      expect([name, performance.now() - started < 1000]).toEqual([name, true]);
      expectSane(summary, bytes.length);
    }
  });
});

describe('chunks', () => {
  const small = captureNames.filter((name) => readCapture(name).length < 20_000);

  it('of any sizes give the same summary', () => {
    const sizes = fc.array(fc.oneof(fc.integer({ min: 0, max: 5 }), fc.integer({ min: 0, max: 3000 })), {
      maxLength: 40,
    });
    fc.assert(
      fc.property(fc.constantFrom(...small), sizes, (name, chunkSizes) => {
        const bytes = readCapture(name);
        const chunks: Uint8Array[] = [];
        let at = 0;
        for (const size of chunkSizes) {
          chunks.push(bytes.subarray(at, at + size));
          at += size;
        }
        expect(summarise(...chunks, bytes.subarray(at))).toEqual(summarise(bytes));
      }),
      { numRuns: 500 },
    );
  });

  it('of single bytes, in one buffer that is used again', () => {
    for (const name of captureNames.filter((_, index) => index % 10 === 0)) {
      const bytes = readCapture(name);
      const reader = new CaptureReader();
      const buffer = new Uint8Array(1);
      for (const byte of bytes) {
        buffer[0] = byte;
        reader.push(buffer);
      }
      expect(reader.end()).toEqual(summarise(bytes));
    }
  });

  it('of single bytes take time in proportion to the size of a large record', () => {
    const started = performance.now();
    const reader = new CaptureReader();
    reader.push(pcapHeader({ little: true }));
    reader.push(Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 4, 0));
    const byte = new Uint8Array(1);
    for (let i = 0; i < 262_144; i++) reader.push(byte);
    expect(reader.end()).toMatchObject({ packets: 1, capturedBytes: 262_144 });
    expect(performance.now() - started).toBeLessThan(2000);
  });
});

it('a huge record is passed over and not kept', () => {
  const reader = new CaptureReader();
  reader.push(pcapHeader({ little: true, linkType: 249 }));
  reader.push(Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 8));
  const before = process.memoryUsage().arrayBuffers;
  const chunk = new Uint8Array(1 << 20);
  for (let i = 0; i < 128; i++) reader.push(chunk);
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(8 << 20);
  expect(reader.end()).toMatchObject({ packets: 1, capturedBytes: 128 << 20 });
});

it('after its end a reader stays as it is', () => {
  const bytes = readCapture('tcpdump/02-sunrise-sunset-esp.pcap');
  const reader = new CaptureReader();
  reader.push(bytes);
  const summary = reader.end();
  reader.push(bytes);
  expect(reader.end()).toBe(summary);
});

describe('mutated captures', () => {
  it.each([1, 2, 3, 4])('are read without an exception and at once, seed %i', (seed) => {
    const random = seededRandom(seed * 2_654_435_761);
    for (const name of captureNames) {
      const bytes = mutated(readCapture(name), random);
      const started = performance.now();
      const summary = summarise(bytes);
      expect([name, performance.now() - started < 1000]).toEqual([name, true]);
      expectSane(summary, bytes.length);
      const cut = Math.floor(random() * bytes.length);
      expect(summarise(bytes.subarray(0, cut), bytes.subarray(cut))).toEqual(summary);
    }
  });
});

/** One to eight changes: bits flipped, lengths made extreme, pieces cut out, doubled or moved to the end. */
function mutated(original: Uint8Array, random: () => number): Uint8Array {
  const below = (limit: number): number => Math.floor(random() * limit);
  let bytes = Buffer.from(original);
  for (let changes = 1 + below(8); changes > 0 && bytes.length > 8; changes--) {
    // Half of the changes near the start, where the headers of the file are.
    const at = below(Math.min(bytes.length, random() < 0.5 ? 100 : bytes.length) - 4);
    const length = below(60);
    switch (below(5)) {
      case 0:
        bytes[at]! ^= 1 << below(8);
        break;
      case 1:
        bytes.writeUInt32LE([0, 1, 0x7fffffff, 0xffffffff, bytes.length][below(5)]!, at);
        break;
      case 2:
        bytes.writeUInt32BE([0, 1, 0x7fffffff, 0xffffffff, bytes.length][below(5)]!, at);
        break;
      case 3:
        bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + length)]);
        break;
      default:
        bytes = Buffer.concat([bytes.subarray(0, at + length), bytes.subarray(at)]);
    }
  }
  return bytes;
}

/** What holds for every summary, whatever the bytes. */
function expectSane(summary: CaptureSummary, fileBytes: number): void {
  expect(summary.capturedBytes).toBeLessThanOrEqual(fileBytes);
  expect(summary.truncatedPackets).toBeLessThanOrEqual(summary.packets);
  expect(summary.damage?.at ?? 0).toBeLessThanOrEqual(fileBytes);
  if (summary.format === 'unknown') expect(summary.damage).toBeDefined();
  for (const count of Object.values(summary.protocols)) expect(count).toBeLessThanOrEqual(summary.packets);
  for (const time of [summary.firstPacketAt, summary.lastPacketAt]) {
    if (time !== undefined) expect(time).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.(\d{6}|\d{9})Z$/);
  }
  expect(JSON.parse(JSON.stringify(summary))).toEqual(summary);
}
