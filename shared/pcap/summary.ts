import type { Talker } from './addresses.ts';
import { Decoder } from './decode.ts';
import { type NameCount, QueryNames } from './dns.ts';
import { FlowTable, type TcpStatistics } from './flows.ts';
import { linkTypeName } from './link-types.ts';
import { type NetworkCount, Networks } from './networks.ts';
import { type Damage, type PacketSink, RecordReader } from './records.ts';
import { TimeSpan } from './time.ts';

const DEFAULT_MAX_FLOWS = 100_000;
const TALKERS = 10;
const NAMES = 50;
const NETWORKS = 50;
/** A file with more has been made up; the list is cut so that the summary stays small. */
const MAX_LINK_TYPES = 100;

/** What a capture file holds. Members that the file says nothing about are absent. */
export type CaptureSummary = {
  /** By content. `unknown`: not a capture at all; `damage` says why. */
  format: 'pcap' | 'pcapng' | 'unknown';
  /** Of the file, or of its first section. */
  byteOrder?: 'big' | 'little';
  /** Names of draft-ietf-opsawg-pcaplinktype without LINKTYPE_ (`ETHERNET`), or a number as text, as they first occur. */
  linkTypes: string[];
  packets: number;
  /** Bytes of packets in the file, and on the wire. */
  capturedBytes: number;
  originalBytes: number;
  /** Packets of which the file has fewer bytes than were on the wire. */
  truncatedPackets: number;
  /** Bytes kept per packet; the largest of several interfaces. */
  snapLength?: number;
  /** Earliest and latest time, ISO 8601 UTC, with 9 digits if the file can hold finer than microseconds, else 6. */
  firstPacketAt?: string;
  lastPacketAt?: string;
  /** The byte of the file where reading stopped, and why. What was read before it counts. */
  damage?: Damage;
  /** Packets in which a protocol occurs: in the outermost layers and, where those are VXLAN, in the frame inside. */
  protocols: Record<string, number>;
  /** The 50 VXLAN networks with the most packets; those whose header was cut off are not among them. */
  vxlan?: NetworkCount[];
  /** Bidirectional flows that were tracked, and the packets of those for which there was no room. */
  flowCount: number;
  flowsFolded: number;
  /** The 10 IP addresses with the most original bytes, sent or received. Of VXLAN, those inside, and their bytes. */
  talkers: Talker[];
  /** The 50 names that queries to UDP port 53 asked for most. */
  dns: NameCount[];
  tcp: TcpStatistics;
};

/**
 * Reads a capture file as its bytes come in, in chunks of any size, and sums it up. Bad data never throws: it ends the
 * reading and shows as `damage`. Memory is bounded whatever the file holds, by half a mebibyte for a partial record,
 * about 400 bytes per flow, 20,000 DNS names and 10,000 VXLAN networks.
 */
export class CaptureReader implements PacketSink {
  #packets = 0;
  #capturedBytes = 0;
  #originalBytes = 0;
  #truncatedPackets = 0;
  readonly #times = new TimeSpan();
  readonly #names = new QueryNames();
  readonly #networks = new Networks();
  readonly #flows: FlowTable;
  readonly #decoder: Decoder;
  readonly #records = new RecordReader(this);
  #summary: CaptureSummary | undefined;

  /** @param options.maxFlows flows tracked at the same time; 100,000 when not given */
  constructor(options: { maxFlows?: number } = {}) {
    this.#flows = new FlowTable(options.maxFlows ?? DEFAULT_MAX_FLOWS);
    this.#decoder = new Decoder(this.#flows, this.#names, this.#networks);
  }

  /** Takes the next bytes of the file. They may be reused afterwards. */
  push(chunk: Uint8Array): void {
    if (!this.#summary) this.#records.push(chunk);
  }

  /** Says that the file is over; what is pushed later is ignored. */
  end(): CaptureSummary {
    this.#records.end();
    return (this.#summary ??= this.#sumUp());
  }

  packet(
    view: DataView,
    at: number,
    end: number,
    captured: number,
    original: number,
    linkType: number,
    seconds: number,
    nanos: number,
  ): void {
    this.#packets += 1;
    this.#capturedBytes += captured;
    this.#originalBytes += original;
    if (captured < original) this.#truncatedPackets += 1;
    this.#times.add(seconds, nanos);
    this.#decoder.decode(view, at, end, linkType, original);
  }

  #sumUp(): CaptureSummary {
    const { format, damage } = this.#records;
    const known = format && format.name !== 'unknown' ? format : undefined;
    const digits = known?.finerThanMicroseconds ? 9 : 6;
    const firstPacketAt = this.#times.first(digits);
    const lastPacketAt = this.#times.last(digits);
    const vxlan = this.#networks.top(NETWORKS);
    const linkTypes = [...new Set(Array.from(known?.linkTypes ?? [], linkTypeName))];
    return {
      format: known?.name ?? 'unknown',
      ...(known && { byteOrder: known.littleEndian ? 'little' : 'big' }),
      linkTypes: linkTypes.slice(0, MAX_LINK_TYPES),
      packets: this.#packets,
      capturedBytes: this.#capturedBytes,
      originalBytes: this.#originalBytes,
      truncatedPackets: this.#truncatedPackets,
      ...(known && known.snapLength > 0 && { snapLength: known.snapLength }),
      ...(firstPacketAt && { firstPacketAt }),
      ...(lastPacketAt && { lastPacketAt }),
      ...(damage && { damage }),
      protocols: this.#decoder.protocols(),
      ...(vxlan.length > 0 && { vxlan }),
      flowCount: this.#flows.count,
      flowsFolded: this.#flows.folded,
      talkers: this.#flows.takeTalkers(TALKERS),
      dns: this.#names.top(NAMES),
      tcp: this.#flows.tcp(),
    };
  }
}
