/** Builds Ethernet frames with IPv4 and TCP, UDP or ICMP in them (RFC 791, 9293, 768, 792), checksums included. */
export type Peer = {
  address: string;
  port: number;
  /** Such as `00:16:3e:00:00:01`; when it is not given, a locally administered one is made from the IP address. */
  mac?: string;
};

export type Segment = { seq: number; ack: number; flags: number; payload: Buffer };

export const FIN = 0x01;
export const SYN = 0x02;
export const PSH = 0x08;
export const ACK = 0x10;

const PROTOCOLS = { ICMP: 1, TCP: 6, UDP: 17 };
export type Protocol = keyof typeof PROTOCOLS;

export const ETHERNET_HEADER = 14;
const IP_HEADER = 20;
const TCP_HEADER = 20;
const UDP_HEADER = 8;
const ICMP_HEADER = 8;

export function tcpFrame(from: Peer, to: Peer, { seq, ack, flags, payload }: Segment): Buffer {
  const header = Buffer.alloc(TCP_HEADER);
  header.writeUInt16BE(from.port, 0);
  header.writeUInt16BE(to.port, 2);
  header.writeUInt32BE(seq >>> 0, 4);
  header.writeUInt32BE(ack >>> 0, 8);
  header[12] = (TCP_HEADER / 4) << 4;
  header[13] = flags;
  header.writeUInt16BE(64_240, 14);
  return frame('TCP', from, to, Buffer.concat([header, payload]), 16);
}

export function udpFrame(from: Peer, to: Peer, payload: Buffer): Buffer {
  const header = Buffer.alloc(UDP_HEADER);
  header.writeUInt16BE(from.port, 0);
  header.writeUInt16BE(to.port, 2);
  header.writeUInt16BE(UDP_HEADER + payload.length, 4);
  return frame('UDP', from, to, Buffer.concat([header, payload]), 6);
}

/** An echo request, or its reply. */
export function echoFrame(from: Peer, to: Peer, { reply, sequence }: { reply: boolean; sequence: number }): Buffer {
  const message = Buffer.alloc(ICMP_HEADER + 56, 0x61);
  message.fill(0, 0, ICMP_HEADER);
  message[0] = reply ? 0 : 8;
  message.writeUInt16BE(0x0757, 4);
  message.writeUInt16BE(sequence & 0xffff, 6);
  message.writeUInt16BE(checksum(message), 2);
  return ipFrame('ICMP', from, to, message);
}

/** @param checksumAt where in the transport header the checksum goes */
function frame(protocol: 'TCP' | 'UDP', from: Peer, to: Peer, transport: Buffer, checksumAt: number): Buffer {
  const pseudo = Buffer.alloc(4);
  pseudo[1] = PROTOCOLS[protocol];
  pseudo.writeUInt16BE(transport.length, 2);
  const sum = checksum(Buffer.concat([addressBytes(from.address), addressBytes(to.address), pseudo, transport]));
  // 0 is sent as 0xffff, as UDP needs it; the two are the same number there.
  transport.writeUInt16BE(sum || 0xffff, checksumAt);
  return ipFrame(protocol, from, to, transport);
}

function ipFrame(protocol: Protocol, from: Peer, to: Peer, content: Buffer): Buffer {
  const ip = Buffer.alloc(IP_HEADER);
  ip[0] = 0x45;
  ip.writeUInt16BE(IP_HEADER + content.length, 2);
  ip.writeUInt16BE(0x4000, 6); // don't fragment
  ip[8] = 64;
  ip[9] = PROTOCOLS[protocol];
  addressBytes(from.address).copy(ip, 12);
  addressBytes(to.address).copy(ip, 16);
  ip.writeUInt16BE(checksum(ip), 10);
  return Buffer.concat([macBytes(to), macBytes(from), Buffer.from([0x08, 0x00]), ip, content]);
}

/** RFC 1071. */
function checksum(bytes: Buffer): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) sum += ((bytes[i] ?? 0) << 8) | (bytes[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

function addressBytes(address: string): Buffer {
  return Buffer.from(address.split('.').map(Number));
}

function macBytes({ address, mac }: Peer): Buffer {
  return mac === undefined
    ? Buffer.concat([Buffer.from([0x02, 0x00]), addressBytes(address)])
    : Buffer.from(mac.replaceAll(':', ''), 'hex');
}
