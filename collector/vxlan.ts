/**
 * VXLAN as a UDP payload (RFC 7348, section 5): flags, 3 reserved bytes, the network identifier (24 bits), a reserved byte; then a
 * whole Ethernet frame without its check sequence.
 */
export const VXLAN_HEADER_BYTES = 8;
const ETHERNET_HEADER_BYTES = 14;
/** The flag that says that the identifier is valid. */
const HAS_NETWORK = 0x08;

const IPV4 = 0x0800;
const IPV6 = 0x86dd;
const VLAN = 0x8100;
const VLAN_SERVICE = 0x88a8;

/** The network identifier (VNI), or -1 for what is not VXLAN with an Ethernet frame in it. */
export function networkOf(datagram: Buffer): number {
  if (datagram.length < VXLAN_HEADER_BYTES + ETHERNET_HEADER_BYTES || (datagram[0]! & HAS_NETWORK) === 0) return -1;
  return (datagram[4]! << 16) | (datagram[5]! << 8) | datagram[6]!;
}

/**
 * How long the frame in a datagram was before the mirror cut it, in bytes. VXLAN does not say, but an IP header in the frame does;
 * where it claims less than there is (padding, or packets that the network card was still to cut up), or where there is none, what came counts.
 */
export function originalLength(datagram: Buffer): number {
  const came = datagram.length - VXLAN_HEADER_BYTES;
  let at = VXLAN_HEADER_BYTES + ETHERNET_HEADER_BYTES;
  let type = uint16(datagram, at - 2);
  while ((type === VLAN || type === VLAN_SERVICE) && datagram.length >= at + 4) {
    type = uint16(datagram, at + 2);
    at += 4;
  }
  if (type === IPV4 && datagram.length >= at + 4) {
    return Math.max(came, at - VXLAN_HEADER_BYTES + uint16(datagram, at + 2));
  }
  if (type === IPV6 && datagram.length >= at + 6) {
    return Math.max(came, at - VXLAN_HEADER_BYTES + 40 + uint16(datagram, at + 4));
  }
  return came;
}

function uint16(bytes: Buffer, at: number): number {
  return (bytes[at]! << 8) | bytes[at + 1]!;
}
