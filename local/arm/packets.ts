import type { Protocol } from './network.ts';

/** Builds Ethernet frames with IPv4 and TCP or UDP in them (RFC 791, 9293, 768), checksums included. */
export type Peer = { address: string; port: number };

export type Segment = { seq: number; ack: number; flags: number; payload: Buffer };

export const FIN = 0x01;
export const SYN = 0x02;
export const PSH = 0x08;
export const ACK = 0x10;

const IP_HEADER = 20;
const TCP_HEADER = 20;
const UDP_HEADER = 8;
const PROTOCOL = { TCP: 6, UDP: 17 };

export function tcpFrame(from: Peer, to: Peer, segment: Segment): Buffer {
  const header = Buffer.alloc(TCP_HEADER);
  header.writeUInt16BE(from.port, 0);
  header.writeUInt16BE(to.port, 2);
  header.writeUInt32BE(segment.seq >>> 0, 4);
  header.writeUInt32BE(segment.ack >>> 0, 8);
  header[12] = (TCP_HEADER / 4) << 4;
  header[13] = segment.flags;
  header.writeUInt16BE(64_240, 14);
  return frame('TCP', from, to, Buffer.concat([header, segment.payload]), 16);
}

export function udpFrame(from: Peer, to: Peer, payload: Buffer): Buffer {
  const header = Buffer.alloc(UDP_HEADER);
  header.writeUInt16BE(from.port, 0);
  header.writeUInt16BE(to.port, 2);
  header.writeUInt16BE(UDP_HEADER + payload.length, 4);
  return frame('UDP', from, to, Buffer.concat([header, payload]), 6);
}

/** @param checksumAt where in the transport header the checksum goes */
function frame(protocol: Protocol, from: Peer, to: Peer, transport: Buffer, checksumAt: number): Buffer {
  const ip = Buffer.alloc(IP_HEADER);
  ip[0] = 0x45;
  ip.writeUInt16BE(IP_HEADER + transport.length, 2);
  ip.writeUInt16BE(0x4000, 6); // don't fragment
  ip[8] = 64;
  ip[9] = PROTOCOL[protocol];
  addressBytes(from.address).copy(ip, 12);
  addressBytes(to.address).copy(ip, 16);
  ip.writeUInt16BE(checksum(ip), 10);

  const pseudo = Buffer.alloc(4);
  pseudo[1] = PROTOCOL[protocol];
  pseudo.writeUInt16BE(transport.length, 2);
  transport.writeUInt16BE(checksum(Buffer.concat([ip.subarray(12, 20), pseudo, transport])), checksumAt);
  return Buffer.concat([mac(to.address), mac(from.address), Buffer.from([0x08, 0x00]), ip, transport]);
}

/** RFC 1071. A result of 0 is sent as 0xffff, as UDP needs it; the two are the same number there. */
function checksum(bytes: Buffer): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) sum += ((bytes[i] ?? 0) << 8) | (bytes[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff || 0xffff;
}

function addressBytes(address: string): Buffer {
  return Buffer.from(address.split('.').map(Number));
}

/** A locally administered address made from the IP address. */
function mac(address: string): Buffer {
  return Buffer.concat([Buffer.from([0x02, 0x00]), addressBytes(address)]);
}
