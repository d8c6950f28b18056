import fc from 'fast-check';
import { expect, test } from 'vitest';
import { networkOf, originalLength } from '../../collector/vxlan.ts';
import { ipv4Frame, ipv6VlanFrame, vxlan } from './packets.ts';

const ipv4 = (totalLength: number, bytes = 100): Buffer => {
  const frame = ipv4Frame(Buffer.alloc(1000));
  frame.writeUInt16BE(totalLength, 16);
  return vxlan(1, frame.subarray(0, bytes));
};

test('the identifier has 24 bits, and counts only with its flag and with a frame', () => {
  const frame = ipv4Frame(Buffer.alloc(10));
  for (const vni of [0, 1, 0x010203, 0xffffff]) expect(networkOf(vxlan(vni, frame))).toBe(vni);
  // Other flags and reserved bytes are to be ignored (RFC 7348).
  const other = vxlan(77, frame);
  other[0] = 0xff;
  other[7] = 0xff;
  expect(networkOf(other)).toBe(77);
  other[0] = 0xf7;
  expect(networkOf(other)).toBe(-1);
  expect(networkOf(vxlan(1, frame.subarray(0, 14)))).toBe(1);
  expect(networkOf(vxlan(1, frame.subarray(0, 13)))).toBe(-1);
});

test('the original length is what the IP header says, and never less than what came', () => {
  expect(originalLength(ipv4(1486))).toBe(1500);
  // A packet that the network card was still to cut up has none, or one that is too small.
  expect(originalLength(ipv4(0))).toBe(100);
  expect(originalLength(ipv4(40))).toBe(100);
  expect(originalLength(vxlan(1, ipv6VlanFrame(Buffer.alloc(900)).subarray(0, 60)))).toBe(18 + 40 + 8 + 900);
  // Two tags, and then nothing that tells a length.
  const tags = Buffer.from('eeffffffffff00163e0a0b0c88a800018100000286dd60', 'hex');
  expect(originalLength(vxlan(1, tags))).toBe(tags.length);
});

test('whatever comes, there is an answer', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => {
      const datagram = Buffer.from(bytes);
      const vni = networkOf(datagram);
      expect(vni >= -1 && vni <= 0xffffff).toBe(true);
      if (vni < 0) return;
      expect(originalLength(datagram)).toBeGreaterThanOrEqual(datagram.length - 8);
      expect(originalLength(datagram)).toBeLessThan(65_536 + 100);
    }),
    { numRuns: 2000 },
  );
});
