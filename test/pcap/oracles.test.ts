import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { CaptureSummary } from '../../shared/pcap/summary.ts';
import { captureNames, readCapture, summarise } from './captures.ts';
import { askCapinfos, askTshark, type Capinfos, hasTool, run, type TsharkPacket } from './oracles.ts';

const INSTALL = '(apt-get install tshark wireshark-common)';

const gzipped = captureNames.filter((name) => name.endsWith('.gz'));
const plain = captureNames.filter((name) => !name.endsWith('.gz'));
const summaries = new Map(captureNames.map((name) => [name, summarise(readCapture(name))]));

const DECODED = new Set(['ETHERNET', 'NULL', 'LOOP', 'RAW', 'IPV4', 'IPV6', 'LINUX_SLL', 'LINUX_SLL2']);

/** Wireshark takes four bytes of pseudo-header off packets of this link type; tcpdump and the summary do not. */
const PSEUDO_HEADER = new Set([
  'tcpdump/atm-heapoverflow.pcap',
  'tcpdump/atm-oam-heapoverflow.pcap',
  'tcpdump/atm-oam-loopback-print-overrun.pcap',
]);

/** Times on which capinfos 4.0 overflows a 32-bit number. */
const OTHER_TIMES = new Set([
  // Packets more than 68 years apart: it takes the earlier for the later.
  'tcpdump/bgp_vpn_rt-oobr.pcap',
  'tcpdump/olsr-oobr-2.pcap',
  'tcpdump/pim_header_asan-2.pcap',
  // More than a second in the fraction: it prints `.1000000`, or a negative fraction.
  'tcpdump/atm-oam-loopback-print-overrun.pcap',
  'tcpdump/rx_serviceid_oobr.pcap',
  'tcpdump/timestamp_invalid_micro.pcap',
  'tcpdump/timestamp_invalid_nano.pcap',
]);

/** Where tshark means something else by a protocol's name. */
const OTHER_PROTOCOLS = new Set([
  // An IPv6 packet of another version is none to tshark (an IPv4 packet of another version is one).
  'tcpdump/LINKTYPE_IPV6_invalid.pcap',
  'tcpdump/beep-oobr.pcap',
  'tcpdump/hoobr_rt6_print.pcap',
  'tcpdump/ipv6-bad-version.pcap',
  'zeek/quic__383379789-decrypt-crash.pcap',
  // RARP counts as ARP.
  'tcpdump/getname_2_read4_asan.pcap',
  'zeek/linux_dlt_sll2.pcap',
  // Frames in Arista's and Cisco's own encapsulations, and a broken extension header.
  'tcpdump/arista_ether.pcap',
  'zeek/cisco-fabric-path.pcap',
  'zeek/ipv6-mobility-dst-opts.pcap',
]);

/** tshark shows a remark in place of the name: it is compressed and points to itself. */
const OTHER_QUERIES = new Set(['zeek/dns__dns-invalid-names.pcap']);

describe.skipIf(!hasTool('capinfos'))(`all captures against capinfos ${INSTALL}`, () => {
  let capinfos: Map<string, Capinfos>;
  beforeAll(async () => {
    capinfos = await askCapinfos(captureNames);
  });

  const differing = (names: string[], differs: (summary: CaptureSummary, info: Capinfos) => boolean): string[] =>
    names.filter((name) => capinfos.has(name) && differs(summaries.get(name)!, capinfos.get(name)!));

  it('reads nearly all of them', () => {
    expect(capinfos.size).toBeGreaterThan(1500);
  });

  it('finds as many packets', () => {
    expect(differing(plain, (summary, info) => summary.packets !== info.packets)).toEqual([]);
  });

  it('finds as many bytes', () => {
    const names = differing(plain, (summary, info) => summary.originalBytes !== info.originalBytes);
    expect(new Set(names)).toEqual(PSEUDO_HEADER);
  });

  it('finds the same first and last time', () => {
    const names = differing(
      plain,
      (summary, info) =>
        epoch(summary.firstPacketAt) !== nine(info.first) || epoch(summary.lastPacketAt) !== nine(info.last),
    );
    expect(new Set(names)).toEqual(OTHER_TIMES);
  });

  it('takes only gzip files for no captures', () => {
    expect(captureNames.filter((name) => summaries.get(name)!.format === 'unknown')).toEqual(gzipped);
    expect(gzipped.length).toBe(8);
  });

  describe.skipIf(!hasTool('tcpdump'))('and tcpdump, for what capinfos refuses (apt-get install tcpdump)', () => {
    it('finds as many packets', async () => {
      const refused = captureNames.filter((name) => !capinfos.has(name));
      expect(refused.length).toBeGreaterThan(0);
      for (const name of refused) {
        const counted = Number.parseInt(await run('tcpdump', '--count', '-n', '-r', name), 10);
        expect([name, summaries.get(name)!.packets]).toEqual([name, counted]);
      }
    });
  });
});

describe.skipIf(!hasTool('tshark') || !hasTool('mergecap'))(`all captures against tshark ${INSTALL}`, () => {
  let folder: string;
  const packets = new Map<string, TsharkPacket[]>();

  // One after another in one file, so that tshark has to start once and not a thousand times.
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'tripcap-pcap-'));
    const readable = [...(await askCapinfos(plain)).keys()];
    const merged = join(folder, 'all.pcapng');
    await run('mergecap', '-a', '-w', merged, ...readable);
    const all = await askTshark(merged);
    for (const name of readable) packets.set(name, all.splice(0, summaries.get(name)!.packets));
    expect(all).toEqual([]);
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  const differing = (differs: (summary: CaptureSummary, packets: TsharkPacket[]) => boolean): Set<string> =>
    new Set([...packets].filter(([name, of]) => differs(summaries.get(name)!, of)).map(([name]) => name));
  /** For what is inside of packets: files with other link types are left out. */
  const differingInside: typeof differing = (differs) =>
    differing((summary, of) => summary.linkTypes.every((type) => DECODED.has(type)) && differs(summary, of));

  it('finds as many captured bytes and packets cut short', () => {
    const names = differing(
      (summary, of) =>
        summary.capturedBytes !== sum(of, (packet) => packet.captured) ||
        summary.truncatedPackets !== sum(of, (packet) => (packet.captured < packet.original ? 1 : 0)),
    );
    expect(names).toEqual(PSEUDO_HEADER);
  });

  it('counts the same protocols', () => {
    const names = differingInside(
      (summary, of) => !sameCounts(summary.protocols, tally(of.flatMap((packet) => [...packet.protocols]))),
    );
    expect(names).toEqual(OTHER_PROTOCOLS);
  });

  it('counts the same VXLAN networks', () => {
    const networks = (of: TsharkPacket[]) => tally(of.flatMap((packet) => [...new Set(packet.networks)]).map(String));
    const counted = new Set<string>();
    const names = differingInside((summary, of) => {
      const ours = Object.fromEntries((summary.vxlan ?? []).map(({ vni, packets }) => [String(vni), packets]));
      for (const vni of Object.keys(ours)) counted.add(vni);
      return !sameCounts(ours, networks(of));
    });
    expect(names).toEqual(new Set());
    expect(counted.size).toBeGreaterThan(5);
  });

  it('counts the same resets', () => {
    const names = differingInside((summary, of) => summary.tcp.resets !== sum(of, (packet) => (packet.reset ? 1 : 0)));
    expect(names).toEqual(new Set());
  });

  it('counts the same DNS names', () => {
    const names = differingInside((summary, of) => {
      const ours = Object.fromEntries(summary.dns.map(({ name, count }) => [name, count]));
      return !sameCounts(ours, tally(of.flatMap((packet) => packet.queries)));
    });
    expect(names).toEqual(OTHER_QUERIES);
  });
});

describe.skipIf(!hasTool('tshark'))(`TCP against tshark ${INSTALL}`, () => {
  it.each([
    'zeek/ftp__ipv4.pcap',
    'zeek/http__zeek-image-1080-80-x.pcapng',
    'zeek/tcp__fin_retransmission.pcap',
    'zeek/tcp__handshake-reorder.pcap',
    'zeek/tcp__option-sack.pcap',
    'zeek/tcp__retransmit-fast009.pcap',
    'zeek/tcp__retransmit-timeout.pcapng',
    'zeek/tcp__ssh-dups.pcap',
    'zeek/tcp__timeout-with-pings.pcap',
    'zeek/wikipedia.pcap',
  ])('%s', async (name) => {
    const fields = ['tcp.stream', 'tcp.analysis.retransmission'].flatMap((field) => ['-e', field]);
    const rows = (await run('tshark', '-n', '-r', name, '-Y', 'tcp', '-T', 'fields', ...fields)).trimEnd().split('\n');
    const streams = new Set(rows.map((row) => row.split('\t')[0]));
    const { connections, retransmissions } = summaries.get(name)!.tcp;
    expect({ connections, retransmissions }).toEqual({
      connections: streams.size,
      retransmissions: rows.filter((row) => row.split('\t')[1]).length,
    });
  });
});

/** Seconds since 1970 with nine digits, as text: a number has not enough digits. */
function epoch(iso: string | undefined): string {
  if (!iso) return 'n/a';
  return nine(`${Date.parse(`${iso.slice(0, 19)}Z`) / 1000}${iso.slice(19, -1)}`);
}

function nine(seconds: string): string {
  const [whole, fraction] = seconds.split('.');
  return fraction === undefined ? seconds : `${whole}.${fraction.padEnd(9, '0')}`;
}

function sum<T>(items: T[], value: (item: T) => number): number {
  return items.reduce((total, item) => total + value(item), 0);
}

function tally(names: string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const name of names) counts[name] = (counts[name] ?? 0) + 1;
  return counts;
}

function sameCounts(a: Record<string, number>, b: Record<string, number>): boolean {
  const names = new Set([...Object.keys(a), ...Object.keys(b)]);
  return [...names].every((name) => a[name] === b[name]);
}
