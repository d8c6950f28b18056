import { ETHERNET_HEADER } from '../emulator/packets.ts';

/** VXLAN (RFC 7348): eight bytes with the network's number before a whole Ethernet frame, in a UDP datagram. */
const VNI_IS_VALID = 0x08;

/** @param vni 0 to 16777215 */
export function encapsulated(vni: number, frame: Buffer): Buffer {
  const header = Buffer.alloc(8);
  header[0] = VNI_IS_VALID;
  header.writeUIntBE(vni, 4, 3);
  return Buffer.concat([header, frame]);
}

/** Outer Ethernet, IPv4, UDP and VXLAN headers. */
const OVERHEAD = 50;

/**
 * A frame as it is mirrored: cut to the session's packet length, and to what the target can take with the headers around
 * it (of 1500 bytes 1450 are left in the usual network). GUESS: that lengths count IP packets without their Ethernet header.
 */
export function cut(frame: Buffer, packetLength: number, mtu: number): Buffer {
  return frame.subarray(0, ETHERNET_HEADER + Math.min(packetLength, mtu - OVERHEAD));
}
