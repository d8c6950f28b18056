import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { originalLength } from '../../collector/vxlan.ts';
import { RecordReader } from '../../shared/pcap/records.ts';
import type { CaptureSummary } from '../../shared/pcap/summary.ts';
import {
  ACK,
  concat,
  dnsQuery,
  type Endpoints,
  ethernet,
  ipv4,
  ipv6,
  pcap,
  pcapHeader,
  pcapRecord,
  reply,
  SYN,
  tcp,
  udp,
  vxlan,
} from './build.ts';
import { captureNames, readCapture, summarise } from './captures.ts';
import { hasTool, run } from './oracles.ts';

const client: Endpoints = { from: '10.0.0.1', to: '10.0.0.2', sourcePort: 40_000, targetPort: 443 };
const mirror: Endpoints = { from: '192.0.2.1', to: '192.0.2.2', sourcePort: 50_000, targetPort: 4789 };
const HEADERS = 14 + 20 + 8 + 8;

/** A frame as it is on the wire between a mirror and its target. */
function mirrored(vni: number, frame: Uint8Array): Uint8Array {
  return udp(mirror, vxlan(vni, frame));
}

type Packet = { bytes: Uint8Array; original: number };

function packetsOf(file: Uint8Array): Packet[] {
  const packets: Packet[] = [];
  const reader = new RecordReader({
    packet(view, at, end, _, original) {
      packets.push({ bytes: new Uint8Array(view.buffer, view.byteOffset + at, end - at).slice(), original });
    },
  });
  reader.push(file);
  reader.end();
  return packets;
}

function fileOf(packets: readonly Packet[]): Uint8Array {
  const records = packets.map(({ bytes, original }) => pcapRecord(true, bytes, 0, 0, original));
  return concat(pcapHeader({ little: true }), ...records);
}

/** Ways to send a datagram to a mirror's target. */
const outsides: Record<string, (datagram: Uint8Array) => Uint8Array> = {
  IPv4: (datagram) => udp(mirror, datagram),
  'IPv4 in VLANs': (datagram) => ethernet(0x0800, udp(mirror, datagram).subarray(14), [7, 8]),
  IPv6: (datagram) =>
    ethernet(0x86dd, ipv6('2001:db8:0:0:0:0:0:1', '2001:db8:0:0:0:0:0:2', 17, udp(mirror, datagram).subarray(14 + 20))),
};

describe('real captures, mirrored', () => {
  const longest = 60_000;
  const captures = new Map(
    captureNames
      .map((name) => [name, readCapture(name)] as const)
      .filter(([, bytes]) => {
        const { packets, linkTypes, protocols } = summarise(bytes);
        return packets > 0 && linkTypes.join() === 'ETHERNET' && protocols['vxlan'] === undefined;
      })
      .map(([name, bytes]) => [name, packetsOf(bytes)] as const)
      .filter(([, packets]) => packets.every(({ original }) => original < longest)),
  );

  it('are many', () => expect(captures.size).toBeGreaterThan(900));

  it.each(Object.keys(outsides))('over %s say what the files of a collector would', (outside) => {
    const differing: string[] = [];
    for (const [name, packets] of captures) {
      const raw = packets.map(({ bytes, original }): Packet => {
        // What the capture has not is cut off again, once the headers outside tell of it.
        const frame = concat(bytes, new Uint8Array(Math.max(0, original - bytes.length)));
        const whole = outsides[outside]!(vxlan(4711, frame));
        const cut = whole.length - frame.length + bytes.length;
        return { bytes: whole.subarray(0, cut), original: whole.length };
      });
      const collected = packets.map(({ bytes, original }): Packet => {
        const told = bytes.length < 14 ? 0 : originalLength(Buffer.from(vxlan(4711, bytes)));
        return { bytes, original: Math.max(original, told) };
      });
      const seen = summarise(fileOf(raw));
      const expected = summarise(fileOf(collected));
      const count = packets.length;
      const outer = outside === 'IPv6' ? { ipv6: count } : { ipv4: count };
      const tagged = outside === 'IPv4 in VLANs' ? { vlan: count } : {};
      try {
        expect(inside(seen)).toEqual(inside(expected));
        expect(seen.protocols).toEqual({
          ...expected.protocols,
          ...outer,
          ...tagged,
          ethernet: count,
          udp: count,
          vxlan: count,
        });
        expect(seen.vxlan).toEqual([{ vni: 4711, packets: count }]);
      } catch (error) {
        differing.push(`${name}: ${(error as Error).message}`);
      }
    }
    expect(differing).toEqual([]);
  });

  function inside({ talkers, dns, tcp: connections, flowCount, flowsFolded }: CaptureSummary) {
    return { talkers, dns, connections, flowCount, flowsFolded };
  }
});

describe('a mirrored packet', () => {
  it('counts inside, not for the mirror', () => {
    const query = udp({ ...client, targetPort: 53 }, dnsQuery([Buffer.from('example'), Buffer.from('org')]));
    const packets = [mirrored(1, tcp(client, SYN, 1)), mirrored(1, query), udp(mirror, new Uint8Array(20))];
    const summary = summarise(pcap(packets));
    expect(summary).toMatchObject({
      protocols: { ethernet: 3, ipv4: 3, tcp: 1, udp: 3, vxlan: 2 },
      vxlan: [{ vni: 1, packets: 2 }],
      flowCount: 3,
      dns: [{ name: 'example.org', count: 1 }],
      tcp: { connections: 1, unansweredSyns: 1 },
      originalBytes: packets.reduce((sum, packet) => sum + packet.length, 0),
    });
    const bytes = packets[0]!.length + packets[1]!.length - 2 * HEADERS;
    expect(summary.talkers).toEqual([
      { address: '10.0.0.1', packets: 2, bytes },
      { address: '10.0.0.2', packets: 2, bytes },
      { address: '192.0.2.1', packets: 1, bytes: 62 },
      { address: '192.0.2.2', packets: 1, bytes: 62 },
    ]);
  });

  it('that is not IP has no talkers', () => {
    const summary = summarise(pcap([mirrored(9, ethernet(0x0806, new Uint8Array(28)))]));
    expect(summary.protocols).toEqual({ ethernet: 1, arp: 1, ipv4: 1, udp: 1, vxlan: 1 });
    expect(summary).toMatchObject({ vxlan: [{ vni: 9, packets: 1 }], flowCount: 0, talkers: [] });
  });

  it('may have other flags, and no number but 0', () => {
    const packets = [0x08, 0x88, 0xff].map((flags) => udp(mirror, vxlan(0, tcp(client, ACK, 1), flags)));
    expect(summarise(pcap(packets))).toMatchObject({ vxlan: [{ vni: 0, packets: 3 }], tcp: { connections: 1 } });
  });

  it('of the same endpoints in two networks is of two flows and the same talkers', () => {
    const data = tcp(client, ACK, 1, 10);
    const packets = [mirrored(1, data), mirrored(0xffffff, data), mirrored(1, tcp(reply(client), ACK, 1)), data];
    const summary = summarise(pcap(packets));
    expect(summary).toMatchObject({
      vxlan: [
        { vni: 1, packets: 2 },
        { vni: 0xffffff, packets: 1 },
      ],
      flowCount: 3,
      // In one flow the second would be a repetition of the first.
      tcp: { connections: 3, retransmissions: 0 },
    });
    expect(summary.talkers.map(({ address, packets: count }) => [address, count])).toEqual([
      ['10.0.0.1', 4],
      ['10.0.0.2', 4],
    ]);
  });

  it('that the mirror cut is as long as its IP header says', () => {
    const whole = tcp(client, ACK, 1, 1446);
    const sixes = ipv6('0:0:0:0:0:0:0:1', '0:0:0:0:0:0:0:2', 6, new Uint8Array(1446));
    const cut = [mirrored(1, whole.subarray(0, 96)), mirrored(1, ethernet(0x86dd, sixes).subarray(0, 96))];
    const summary = summarise(pcap([...cut, mirrored(1, tcp(client, ACK, 1447, 10))]));
    expect(summary.talkers).toEqual([
      { address: '10.0.0.1', packets: 2, bytes: 1500 + 64 },
      { address: '10.0.0.2', packets: 2, bytes: 1500 + 64 },
      { address: '::1', packets: 1, bytes: 1500 },
      { address: '::2', packets: 1, bytes: 1500 },
    ]);
    expect(summary.tcp.retransmissions).toBe(0);
  });

  it('alone is as long as its IP header says: others are what the file says', () => {
    const sixes = ethernet(0x86dd, ipv6('0:0:0:0:0:0:0:1', '0:0:0:0:0:0:0:2', 6, new Uint8Array(1446)));
    const cut = [tcp(client, ACK, 1, 1446).subarray(0, 96), sixes.subarray(0, 96)];
    expect(new Set(summarise(pcap(cut)).talkers.map(({ bytes }) => bytes))).toEqual(new Set([96]));
  });

  it('ends where the datagram outside does', () => {
    const query = dnsQuery([Buffer.from('one')], [Buffer.from('two')]);
    const short = mirrored(1, udp({ ...client, targetPort: 53 }, query.subarray(0, query.length - 9)));
    const padded = concat(short, query.subarray(query.length - 9));
    expect(summarise(pcap([padded]))).toMatchObject({ dns: [{ name: 'one', count: 1 }], flowCount: 1 });
  });

  it('in fragments counts as far as the first one has it', () => {
    const payload = mirrored(5, tcp(client, ACK, 1, 1400)).subarray(14 + 20);
    const more = 0x2000;
    const first = ethernet(0x0800, ipv4(mirror.from, mirror.to, 17, payload.subarray(0, 800), more));
    const second = ethernet(0x0800, ipv4(mirror.from, mirror.to, 17, payload.subarray(800), 100));
    const summary = summarise(pcap([first, second]));
    expect(summary).toMatchObject({
      protocols: { ethernet: 2, ipv4: 2, tcp: 1, udp: 1, vxlan: 1 },
      vxlan: [{ vni: 5, packets: 1 }],
      flowCount: 2,
    });
    expect(summary.talkers[0]).toEqual({ address: '10.0.0.1', packets: 1, bytes: 1454 });
  });

  it('cut anywhere is counted as far as it goes', () => {
    const whole = mirrored(3, tcp(client, SYN, 1));
    for (let bytes = 0; bytes <= whole.length; bytes++) {
      // What follows must not be read: it is another packet.
      const file = concat(
        pcapHeader({ little: true }),
        pcapRecord(true, whole.subarray(0, bytes), 0, 0, whole.length),
        pcapRecord(true, new Uint8Array(60).fill(0xff), 0xffffffff),
      );
      const { damage, protocols, vxlan: networks, flowCount, talkers, tcp: connections } = summarise(file);
      expect([bytes, damage]).toEqual([bytes, undefined]);
      const ipAt = HEADERS + 14;
      expect([bytes, protocols]).toEqual([
        bytes,
        {
          ethernet: 2,
          ...(bytes >= 14 && { ipv4: 1 }),
          ...(bytes >= 34 && { udp: 1 }),
          ...(bytes > 42 && { vxlan: 1 }),
          ...(bytes >= ipAt + 20 && { tcp: 1 }),
        },
      ]);
      expect([bytes, networks]).toEqual([bytes, bytes >= HEADERS ? [{ vni: 3, packets: 1 }] : undefined]);
      // Before the flag is there it may be any datagram, and counts for those who sent it.
      const from = bytes < 34 || (bytes > 42 && bytes < ipAt + 20) ? undefined : bytes > 42 ? '10.0.0.1' : '192.0.2.1';
      expect([bytes, flowCount, talkers[0]?.address]).toEqual([bytes, from ? 1 : 0, from]);
      expect([bytes, connections.connections]).toEqual([bytes, bytes >= ipAt + 20 + 14 ? 1 : 0]);
    }
  });
});

describe('no VXLAN is', () => {
  const frame = tcp(client, SYN, 1);
  it.each([
    ['what has not the flag', udp(mirror, vxlan(1, frame, 0xf7))],
    ['an answer from the port', udp(reply(mirror), vxlan(1, frame))],
    ['another port', udp({ ...mirror, targetPort: 8472 }, vxlan(1, frame))],
    ['less than a header', udp(mirror, vxlan(1, frame).subarray(0, 7))],
    ['less than a header, padded', concat(udp(mirror, vxlan(1, frame).subarray(0, 7)), new Uint8Array(60))],
    ['an empty datagram', udp(mirror, new Uint8Array())],
  ])('%s', (_, packet) => {
    const summary = summarise(pcap([packet]));
    expect(summary.protocols).toEqual({ ethernet: 1, ipv4: 1, udp: 1 });
    expect(summary).not.toHaveProperty('vxlan');
    expect(summary).toMatchObject({ flowCount: 1, tcp: { connections: 0 } });
    expect(summary.talkers.map(({ address }) => address).toSorted()).toEqual(['192.0.2.1', '192.0.2.2']);
  });

  it('TCP to the same port', () => {
    const summary = summarise(pcap([tcp({ ...client, targetPort: 4789 }, ACK, 1, 100, 0x08000000)]));
    expect(summary.protocols).toEqual({ ethernet: 1, ipv4: 1, tcp: 1 });
  });
});

describe('networks inside of networks', () => {
  it('are looked into three deep; deeper ones are UDP', () => {
    const frame = tcp(client, SYN, 1);
    const three = mirrored(1, mirrored(2, mirrored(1, frame)));
    expect(summarise(pcap([three]))).toMatchObject({
      protocols: { ethernet: 1, ipv4: 1, udp: 1, vxlan: 1, tcp: 1 },
      vxlan: [
        { vni: 1, packets: 1 },
        { vni: 2, packets: 1 },
      ],
      talkers: [
        { address: '10.0.0.1', packets: 1, bytes: 54 },
        { address: '10.0.0.2', packets: 1, bytes: 54 },
      ],
    });
    const four = summarise(pcap([mirrored(4, three)]));
    expect(four.protocols).toEqual({ ethernet: 1, ipv4: 1, udp: 1, vxlan: 1 });
    expect(four.vxlan).toEqual([1, 2, 4].map((vni) => ({ vni, packets: 1 })));
    expect(four.talkers[0]).toEqual({ address: '192.0.2.1', packets: 1, bytes: 54 + HEADERS });
  });

  it('have flows of their own', () => {
    const data = tcp(client, ACK, 1, 10);
    const packets = [mirrored(2, data), mirrored(1, mirrored(2, data)), mirrored(2, mirrored(1, data)), data];
    expect(summarise(pcap(packets))).toMatchObject({
      protocols: { ethernet: 4, ipv4: 4, udp: 3, vxlan: 3, tcp: 4 },
      vxlan: [
        { vni: 2, packets: 3 },
        { vni: 1, packets: 2 },
      ],
      flowCount: 4,
      tcp: { connections: 4, retransmissions: 0 },
    });
  });

  it('as deep as a packet can be cost no stack', () => {
    const headers = mirrored(1, new Uint8Array()).length;
    const depth = Math.floor(60_000 / headers);
    const deep = new Uint8Array(depth * headers);
    for (let at = 0; at < deep.length; at += headers) {
      deep.set(mirrored(1, new Uint8Array()), at);
      new DataView(deep.buffer).setUint16(at + 16, deep.length - at - 14);
    }
    expect(summarise(pcap([deep]))).toMatchObject({ vxlan: [{ vni: 1, packets: 1 }], flowCount: 1 });
  });
});

it('of many networks the fifty with the most packets are listed, and ten thousand are told apart', () => {
  const frame = tcp(client, ACK, 1);
  const packets = Array.from({ length: 10_010 }, (_, i) => mirrored(i, frame));
  packets.push(mirrored(70, frame), mirrored(70, mirrored(5, frame)), mirrored(10_005, frame));
  const summary = summarise(pcap(packets));
  expect(summary.vxlan).toEqual([
    { vni: 70, packets: 3 },
    ...Array.from({ length: 49 }, (_, vni) => ({ vni, packets: 1 })),
  ]);
  expect(summary).toMatchObject({ packets: 10_013, protocols: { vxlan: 10_013, tcp: 10_013 }, flowCount: 10_001 });
});

describe.skipIf(!hasTool('tshark') || !hasTool('capinfos'))(
  'mirrored packets against tshark (apt-get install tshark wireshark-common)',
  () => {
    let folder: string;
    let path: string;
    let summary: CaptureSummary;
    const names = ['zeek/wikipedia.pcap', 'zeek/ftp__ipv6.pcap', 'zeek/tunnels__vxlan.pcap', 'tcpdump/vxlan.pcap'];

    beforeAll(() => {
      folder = mkdtempSync(join(tmpdir(), 'tripcap-vxlan-'));
      path = join(folder, 'mirrored.pcap');
      const packets = names.flatMap((name, index) =>
        packetsOf(readCapture(name)).map(({ bytes }, at) =>
          // Some cut by the mirror, as PacketLength does.
          mirrored([4711, 4712, 100, 123][index]!, at % 3 === 0 ? bytes.subarray(0, 100) : bytes),
        ),
      );
      const file = pcap([...packets, udp(mirror, new Uint8Array(30)), tcp(client, ACK, 1)]);
      writeFileSync(path, file);
      summary = summarise(file);
    });
    afterAll(() => rmSync(folder, { recursive: true }));

    const tshark = async (...args: string[]): Promise<string[]> => {
      const decode = [
        '-d',
        'udp.port==4789,vxlan',
        '-o',
        'ip.defragment:FALSE',
        '-o',
        'tcp.desegment_tcp_streams:FALSE',
      ];
      return (await run('tshark', '-n', '-r', path, ...decode, ...args)).split('\n').slice(0, -1);
    };
    const fields = async (...wanted: string[]): Promise<string[][][]> => {
      const rows = await tshark('-T', 'fields', ...wanted.flatMap((field) => ['-e', field]));
      return rows.map((row) => row.split('\t').map((values) => values.split(',').filter((value) => value !== '')));
    };

    it('are as many as capinfos finds', async () => {
      const [, found] = (await run('capinfos', '-T', '-r', '-M', '-c', path)).trimEnd().split('\t');
      expect(Number(found)).toBe(summary.packets);
    });

    it('have the protocols that its display filters find', async () => {
      const filters = { ethernet: 'eth', ipv4: 'ip', ipv6: 'ipv6', arp: 'arp', tcp: 'tcp', udp: 'udp', icmp: 'icmp' };
      for (const [name, filter] of Object.entries(filters)) {
        const found = await tshark('-Y', filter, '-T', 'fields', '-e', 'frame.number');
        expect([name, summary.protocols[name] ?? 0]).toEqual([name, found.length]);
      }
      const marked = await tshark('-Y', 'vxlan.flag_i == 1', '-T', 'fields', '-e', 'frame.number');
      expect(summary.protocols['vxlan']).toBe(marked.length);
    });

    it('lie in the same networks and come from the same addresses', async () => {
      const counts = { networks: new Map<string, number>(), talkers: new Map<string, number>() };
      const add = (to: Map<string, number>, names_: Iterable<string>) => {
        for (const name of names_) to.set(name, (to.get(name) ?? 0) + 1);
      };
      const rows = await fields('vxlan.flag_i', 'vxlan.vni', 'ip.src', 'ip.dst', 'ipv6.src', 'ipv6.dst', 'arp');
      for (const [flags, vnis, ...sourcesAndTargets] of rows) {
        const isMirrored = flags!.includes('1') || flags!.includes('True');
        if (isMirrored) add(counts.networks, new Set(vnis));
        const [source4, target4, source6, target6, arp] = sourcesAndTargets as [
          string[],
          string[],
          string[],
          string[],
          string[],
        ];
        // The innermost; an IPv6 packet is inside of an IPv4 one here, and ARP has no addresses of its own.
        if (arp.length > 0) continue;
        add(counts.talkers, new Set([source6.at(-1) ?? source4.at(-1)!, target6.at(-1) ?? target4.at(-1)!]));
      }
      expect(new Map(summary.vxlan!.map(({ vni, packets }) => [String(vni), packets]))).toEqual(counts.networks);
      expect(counts.networks.size).toBe(4);
      for (const { address, packets } of summary.talkers)
        expect([address, packets]).toEqual([address, counts.talkers.get(address)]);
      expect(summary.talkers.length).toBe(10);
    });

    it('have the same TCP connections, per network', async () => {
      const rows = await fields('vxlan.vni', 'tcp.stream');
      const streams = new Set(rows.filter(([, stream]) => stream!.length > 0).map((row) => JSON.stringify(row)));
      expect(summary.tcp.connections).toBe(streams.size);
    });
  },
);
