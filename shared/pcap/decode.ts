import type { QueryNames } from './dns.ts';
import { type FlowTable, TCP } from './flows.ts';
import { LINK } from './link-types.ts';
import type { Networks } from './networks.ts';

/**
 * Protocols that are counted, and their places in the array of counts. Frozen: an object of the same members with other
 * numbers, as the summary has, would otherwise share its hidden class, and make the decoder several times slower.
 */
const COUNT = Object.freeze({
  ethernet: 0,
  vlan: 1,
  arp: 2,
  ipv4: 3,
  ipv6: 4,
  tcp: 5,
  udp: 6,
  icmp: 7,
  icmpv6: 8,
  sctp: 9,
  igmp: 10,
  gre: 11,
  esp: 12,
  ospf: 13,
  vxlan: 14,
});
const PROTOCOLS = Object.keys(COUNT);

const ETHERTYPE = { ipv4: 0x0800, arp: 0x0806, vlan: 0x8100, ipv6: 0x86dd, vlanService: 0x88a8, vlanOld: 0x9100 };

const UDP = 17;
const SCTP = 132;
/** Extension headers of IPv6 that count their length in another way. */
const FRAGMENT = 44;
const AUTHENTICATION = 51;
/** Where the protocol after an IP header is counted; -1 where it is not. */
const COUNT_BY_IP_PROTOCOL = new Int8Array(256).fill(-1);
COUNT_BY_IP_PROTOCOL[1] = COUNT.icmp;
COUNT_BY_IP_PROTOCOL[2] = COUNT.igmp;
COUNT_BY_IP_PROTOCOL[TCP] = COUNT.tcp;
COUNT_BY_IP_PROTOCOL[UDP] = COUNT.udp;
COUNT_BY_IP_PROTOCOL[47] = COUNT.gre;
COUNT_BY_IP_PROTOCOL[50] = COUNT.esp;
COUNT_BY_IP_PROTOCOL[58] = COUNT.icmpv6;
COUNT_BY_IP_PROTOCOL[89] = COUNT.ospf;
COUNT_BY_IP_PROTOCOL[SCTP] = COUNT.sctp;

const DNS_PORT = 53;
const UDP_HEADER_BYTES = 8;
const VXLAN_PORT = 4789;
const VXLAN_HEADER_BYTES = 8;
/** The flag that a VXLAN header must have (RFC 7348, section 5); the others are to be ignored. */
const VXLAN_HAS_NETWORK = 0x08;
/** A mirror that is mirrored, of machines that have a VXLAN of their own. What lies deeper is UDP. */
const MAX_NETWORK_DEPTH = 3;

const TCP_RST = 0x04;
/** Up to the flags of a TCP header: all that is looked at. */
const TCP_BYTES_USED = 14;

/**
 * Reads the headers of packets, from the link layer to TCP or UDP, and hands what it finds to the flows and the DNS
 * names. Each protocol is counted at most once per packet, as soon as the layer below names it, even when its own header
 * was cut off. What is inside of tunnels or of ICMP errors is not looked at, but for VXLAN, which a traffic mirror sends.
 *
 * Of a packet in VXLAN, the frame inside gives the flow, the talkers with their bytes, DNS and TCP: the addresses outside are
 * those of the mirror. Protocols are counted outside and inside alike, so that each count is what Wireshark's display
 * filter of that name finds. Its protocol hierarchy (`tshark -z io,phs`) has a branch for each nesting in place of that,
 * and lists the ones inside a second time, below `vxlan`.
 */
export class Decoder {
  readonly #counts = new Float64Array(PROTOCOLS.length);
  readonly #flows: FlowTable;
  readonly #names: QueryNames;
  readonly #networks: Networks;
  /**
   * The packet in hand, or the frame inside of it: where it starts in the view, where its captured bytes end, its length on
   * the wire.
   */
  #packetAt = 0;
  #end = 0;
  #original = 0;
  /** The VXLAN network that it lies in, 0 for none, and how many it lies in. */
  #inside = 0;
  #depth = 0;
  /** Protocols that were counted for it: a bit for each. */
  #counted = 0;

  constructor(flows: FlowTable, names: QueryNames, networks: Networks) {
    this.#flows = flows;
    this.#names = names;
    this.#networks = networks;
  }

  /** Packets per protocol, of those that occurred. */
  protocols(): Record<string, number> {
    const found = PROTOCOLS.map((name, index) => [name, this.#counts[index]!] as const);
    return Object.fromEntries(found.filter(([, count]) => count > 0));
  }

  /**
   * Takes a packet as it lies in the file.
   * @param original its length on the wire in bytes
   */
  decode(view: DataView, at: number, end: number, linkType: number, original: number): void {
    this.#packetAt = at;
    this.#end = end;
    this.#original = original;
    this.#counted = 0;
    switch (linkType) {
      case LINK.ethernet:
        this.#ethernet(view, at);
        break;
      case LINK.raw:
      case LINK.rawBsd:
      case LINK.rawOpenBsd:
        this.#raw(view, at);
        break;
      case LINK.ipv4:
        this.#ipv4(view, at);
        break;
      case LINK.ipv6:
        this.#ipv6(view, at);
        break;
      case LINK.null:
      case LINK.loop:
        // The family of IPv6 differs by system, but the IP header tells its version too.
        if (end - at >= 4 && isIpFamily(view, at)) this.#raw(view, at + 4);
        break;
      case LINK.linuxCooked:
        if (end - at >= 16) this.#network(view, at + 16, view.getUint16(at + 14));
        break;
      case LINK.linuxCooked2:
        if (end - at >= 20) this.#network(view, at + 20, view.getUint16(at));
        break;
    }
  }

  #count(protocol: number): void {
    this.#counted |= 1 << protocol;
    this.#counts[protocol]! += 1;
  }

  /** Length on the wire from `at` to the end of the packet, as far as the file knows. */
  #originalFrom(at: number): number {
    return Math.max(0, this.#original - (at - this.#packetAt));
  }

  #ethernet(view: DataView, at: number): void {
    this.#count(COUNT.ethernet);
    if (this.#end - at >= 14) this.#network(view, at + 14, view.getUint16(at + 12));
  }

  #network(view: DataView, at: number, etherType: number): void {
    if (isVlan(etherType)) {
      this.#count(COUNT.vlan);
      while (isVlan(etherType)) {
        if (this.#end - at < 4) return;
        etherType = view.getUint16(at + 2);
        at += 4;
      }
    }
    if (etherType === ETHERTYPE.ipv4) this.#ipv4(view, at);
    else if (etherType === ETHERTYPE.ipv6) this.#ipv6(view, at);
    else if (etherType === ETHERTYPE.arp) this.#count(COUNT.arp);
  }

  #raw(view: DataView, at: number): void {
    if (at >= this.#end) return;
    const version = view.getUint8(at) >>> 4;
    if (version === 4) this.#ipv4(view, at);
    else if (version === 6) this.#ipv6(view, at);
  }

  /** RFC 791. */
  #ipv4(view: DataView, at: number): void {
    this.#count(COUNT.ipv4);
    if (this.#end - at < 20 || view.getUint8(at) >>> 4 !== 4) return;
    const headerBytes = (view.getUint8(at) & 0x0f) * 4;
    if (headerBytes < 20 || headerBytes > this.#end - at) return;
    // A sender sees 0 in its own packets when the network card is to cut them into segments.
    const totalBytes = view.getUint16(at + 2) || this.#originalFrom(at);
    if (totalBytes < headerBytes) return;
    if (this.#depth > 0) this.#lengthen(at + totalBytes);
    const protocol = view.getUint8(at + 9);
    const isLaterFragment = (view.getUint16(at + 6) & 0x1fff) !== 0;
    this.#transport(view, at + headerBytes, protocol, isLaterFragment, at + 12, false, totalBytes - headerBytes);
  }

  /** RFC 8200. */
  #ipv6(view: DataView, at: number): void {
    this.#count(COUNT.ipv6);
    if (this.#end - at < 40 || view.getUint8(at) >>> 4 !== 6) return;
    const sourceAt = at + 8;
    let protocol = view.getUint8(at + 6);
    let isLaterFragment = false;
    // 0 stands for a jumbogram, or for segmentation by the network card.
    const payloadEnd = at + 40 + (view.getUint16(at + 4) || this.#originalFrom(at + 40));
    if (this.#depth > 0) this.#lengthen(payloadEnd);
    at += 40;
    while (isExtension(protocol) && !isLaterFragment && this.#end - at >= 8) {
      const length = view.getUint8(at + 1);
      let bytes = (length + 1) * 8;
      if (protocol === FRAGMENT) {
        bytes = 8;
        isLaterFragment = (view.getUint16(at + 2) & 0xfff8) !== 0;
      } else if (protocol === AUTHENTICATION) {
        bytes = (length + 2) * 4;
      }
      protocol = view.getUint8(at);
      at += bytes;
    }
    this.#transport(view, at, protocol, isLaterFragment, sourceAt, true, payloadEnd - at);
  }

  /** @param bytes what the IP packet has on the wire from `at` on */
  #transport(
    view: DataView,
    at: number,
    protocol: number,
    isLaterFragment: boolean,
    sourceAt: number,
    isIpv6: boolean,
    bytes: number,
  ): void {
    const counted = COUNT_BY_IP_PROTOCOL[protocol]!;
    if (counted >= 0 && !isLaterFragment) this.#count(counted);
    const hasPorts =
      (protocol === TCP || protocol === UDP || protocol === SCTP) && !isLaterFragment && this.#end - at >= 4;
    const sourcePort = hasPorts ? view.getUint16(at) : 0;
    const targetPort = hasPorts ? view.getUint16(at + 2) : 0;
    if (targetPort === VXLAN_PORT && protocol === UDP) {
      if (this.#vxlan(view, at + UDP_HEADER_BYTES, bytes - UDP_HEADER_BYTES)) return;
    }
    const flow = this.#flows.add(
      view,
      sourceAt,
      isIpv6,
      protocol,
      sourcePort,
      targetPort,
      this.#inside,
      this.#original,
    );
    if (!hasPorts) return;
    if (protocol === TCP) this.#tcp(view, at, flow, bytes);
    else if (protocol === UDP && targetPort === DNS_PORT) this.#names.add(view, at + UDP_HEADER_BYTES, this.#end);
  }

  /** RFC 9293. */
  #tcp(view: DataView, at: number, flow: number, segmentBytes: number): void {
    if (this.#end - at < TCP_BYTES_USED) return;
    const flags = view.getUint8(at + 13);
    if ((flags & TCP_RST) !== 0) this.#flows.resets += 1;
    if (flow < 0) return;
    const payloadBytes = Math.max(0, segmentBytes - (view.getUint8(at + 12) >>> 4) * 4);
    this.#flows.addTcp(flow, view.getUint32(at + 4), view.getUint32(at + 8), flags, payloadBytes);
  }

  /**
   * RFC 7348, section 5: flags, 3 reserved bytes, the network's number (VNI, 24 bits), a reserved byte; then an Ethernet frame.
   * @param bytes of the UDP payload on the wire
   * @returns false when it is none, or one too deep inside: then it is a UDP datagram like others
   */
  #vxlan(view: DataView, at: number, bytes: number): boolean {
    if (bytes < VXLAN_HEADER_BYTES || at >= this.#end || (view.getUint8(at) & VXLAN_HAS_NETWORK) === 0) return false;
    this.#count(COUNT.vxlan);
    if (this.#depth === MAX_NETWORK_DEPTH) return false;
    // A header that was cut off does not tell what follows.
    if (this.#end - at < VXLAN_HEADER_BYTES) return true;
    const frameAt = at + VXLAN_HEADER_BYTES;
    this.#original = Math.min(this.#originalFrom(frameAt), bytes - VXLAN_HEADER_BYTES);
    this.#end = Math.min(this.#end, frameAt + this.#original);
    this.#packetAt = frameAt;
    const outer = this.#inside;
    const counted = this.#counted;
    this.#inside = this.#networks.enter(outer, view.getUint32(at + 4) >>> 8);
    this.#depth += 1;
    this.#counted = 0;
    this.#ethernet(view, frameAt);
    this.#takeBack(this.#counted & counted);
    this.#counted |= counted;
    this.#depth -= 1;
    this.#inside = outer;
    return true;
  }

  /** Protocols that occur outside and inside were counted twice. Here and not at each count, which would take longer. */
  #takeBack(protocols: number): void {
    for (let left = protocols; left !== 0; left &= left - 1) this.#counts[31 - Math.clz32(left & -left)]! -= 1;
  }

  /** What a mirror sends may be cut already, or the first fragment of it: the length of a frame inside is what its IP header says. */
  #lengthen(end: number): void {
    this.#original = Math.max(this.#original, end - this.#packetAt);
  }
}

function isVlan(etherType: number): boolean {
  return etherType === ETHERTYPE.vlan || etherType === ETHERTYPE.vlanService || etherType === ETHERTYPE.vlanOld;
}

/** Whether the four bytes of a null or loopback header, in either byte order, stand for IPv4 (2) or IPv6 (the others). */
function isIpFamily(view: DataView, at: number): boolean {
  const big = view.getUint32(at);
  const family = big <= 0xff ? big : view.getUint32(at, true);
  return family === 2 || family === 10 || family === 24 || family === 28 || family === 30;
}

/** Whether another header follows: hop-by-hop, routing, destination options, mobility, HIP, shim6 and the two named. */
function isExtension(protocol: number): boolean {
  switch (protocol) {
    case 0:
    case 43:
    case FRAGMENT:
    case AUTHENTICATION:
    case 60:
    case 135:
    case 139:
    case 140:
      return true;
    default:
      return false;
  }
}
