/** Builds capture files and packets byte by byte; `little` is the byte order of the file. */

export function concat(...parts: Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}

/** A file header of pcap. */
export function pcapHeader(options: {
  little: boolean;
  magic?: number;
  linkType?: number;
  version?: [number, number];
}): Uint8Array {
  const [major, minor] = options.version ?? [2, 4];
  return fields(
    options.little,
    [4, options.magic ?? 0xa1b2c3d4],
    [2, major],
    [2, minor],
    [4, 0],
    [4, 0],
    [4, 65535],
    [4, options.linkType ?? 1],
  );
}

/** A record of pcap; `fraction` as the file counts it. */
export function pcapRecord(
  little: boolean,
  packet: Uint8Array,
  seconds = 0,
  fraction = 0,
  original = packet.length,
): Uint8Array {
  return concat(fields(little, [4, seconds], [4, fraction], [4, packet.length], [4, original]), packet);
}

/** A pcap file of these packets, all at the same time. */
export function pcap(packets: Uint8Array[], linkType = 1): Uint8Array {
  return concat(pcapHeader({ little: true, linkType }), ...packets.map((packet) => pcapRecord(true, packet)));
}

/** A block of pcapng around a body, which is padded. */
export function block(little: boolean, type: number, ...body: Uint8Array[]): Uint8Array {
  const padded = pad4(concat(...body));
  const length = fields(little, [4, padded.length + 12]);
  return concat(fields(little, [4, type]), length, padded, length);
}

export function sectionHeader(little: boolean): Uint8Array {
  return block(little, 0x0a0d0d0a, fields(little, [4, 0x1a2b3c4d], [2, 1], [2, 0], [4, 0xffffffff], [4, 0xffffffff]));
}

export function interfaceDescription(
  little: boolean,
  options: { linkType?: number; snapLength?: number; resolution?: number; offsetSeconds?: number } = {},
): Uint8Array {
  const written: Uint8Array[] = [];
  if (options.resolution !== undefined) written.push(fields(little, [2, 9], [2, 1], [1, options.resolution], [3, 0]));
  if (options.offsetSeconds !== undefined) {
    const value = Buffer.alloc(8);
    if (little) value.writeBigInt64LE(BigInt(options.offsetSeconds));
    else value.writeBigInt64BE(BigInt(options.offsetSeconds));
    written.push(fields(little, [2, 14], [2, 8]), value);
  }
  written.push(fields(little, [4, 0]));
  const fixed = fields(little, [2, options.linkType ?? 1], [2, 0], [4, options.snapLength ?? 0]);
  return block(little, 1, fixed, ...written);
}

export function enhancedPacket(little: boolean, id: number, ticks: bigint, packet: Uint8Array): Uint8Array {
  const time: Field[] = [
    [4, Number(ticks >> 32n)],
    [4, Number(ticks & 0xffffffffn)],
  ];
  return block(little, 6, fields(little, [4, id], ...time, [4, packet.length], [4, packet.length]), packet);
}

export function simplePacket(little: boolean, original: number, packet: Uint8Array): Uint8Array {
  return block(little, 3, fields(little, [4, original]), packet);
}

/** An Ethernet frame; tags are VLAN ids. */
export function ethernet(etherType: number, payload: Uint8Array, tags: number[] = []): Uint8Array {
  const tagged = tags.map((tag) => fields(false, [2, 0x8100], [2, tag]));
  return concat(new Uint8Array(12), ...tagged, fields(false, [2, etherType]), payload);
}

export type Endpoints = { from: string; to: string; sourcePort: number; targetPort: number };

/** The same endpoints the other way round. */
export function reply(of: Endpoints): Endpoints {
  return { from: of.to, to: of.from, sourcePort: of.targetPort, targetPort: of.sourcePort };
}

export function ipv4(from: string, to: string, protocol: number, payload: Uint8Array, fragment = 0): Uint8Array {
  const head = fields(
    false,
    [1, 0x45],
    [1, 0],
    [2, 20 + payload.length],
    [2, 0],
    [2, fragment],
    [1, 64],
    [1, protocol],
  );
  return concat(head, new Uint8Array(2), address(from), address(to), payload);
}

/** @param from eight groups, all written out; as is `to` */
export function ipv6(from: string, to: string, protocol: number, payload: Uint8Array): Uint8Array {
  const groups = [...from.split(':'), ...to.split(':')].map((group): Field => [2, Number.parseInt(group, 16)]);
  return concat(fields(false, [4, 0x60000000], [2, payload.length], [1, protocol], [1, 64], ...groups), payload);
}

export const FIN = 1;
export const SYN = 2;
export const RST = 4;
export const ACK = 16;

/** An Ethernet frame with a TCP segment over IPv4. */
export function tcp(of: Endpoints, flags: number, sequence: number, payloadBytes = 0, acknowledged = 0): Uint8Array {
  const ports: Field[] = [
    [2, of.sourcePort],
    [2, of.targetPort],
  ];
  const head = fields(false, ...ports, [4, sequence], [4, acknowledged], [1, 0x50], [1, flags], [2, 0], [4, 0]);
  return ethernet(0x0800, ipv4(of.from, of.to, 6, concat(head, new Uint8Array(payloadBytes))));
}

/** An Ethernet frame with a UDP datagram over IPv4. */
export function udp(of: Endpoints, payload: Uint8Array): Uint8Array {
  const head = fields(false, [2, of.sourcePort], [2, of.targetPort], [2, 8 + payload.length], [2, 0]);
  return ethernet(0x0800, ipv4(of.from, of.to, 17, concat(head, payload)));
}

/** A VXLAN header with the flag that its network is valid, and a frame. */
export function vxlan(vni: number, frame: Uint8Array, flags = 0x08): Uint8Array {
  return concat(fields(false, [1, flags], [3, 0], [3, vni], [1, 0]), frame);
}

/** A DNS query; each name as its labels. */
export function dnsQuery(...names: Uint8Array[][]): Uint8Array {
  const questions = names.map((labels) =>
    concat(
      ...labels.map((label) => concat(fields(false, [1, label.length]), label)),
      fields(false, [1, 0], [2, 1], [2, 1]),
    ),
  );
  return concat(fields(false, [2, 7], [2, 0x0100], [2, names.length], [2, 0], [4, 0]), ...questions);
}

/** Width in bytes and value. */
type Field = [1 | 2 | 3 | 4, number];

function fields(little: boolean, ...list: Field[]): Uint8Array {
  return concat(
    ...list.map(([width, value]) => {
      const bytes = Buffer.alloc(width);
      if (little) bytes.writeUIntLE(value, 0, width);
      else bytes.writeUIntBE(value, 0, width);
      return bytes;
    }),
  );
}

function address(dotted: string): Uint8Array {
  return Uint8Array.from(dotted.split('.'), Number);
}

function pad4(bytes: Uint8Array): Uint8Array {
  return concat(bytes, new Uint8Array((4 - (bytes.length % 4)) % 4));
}
