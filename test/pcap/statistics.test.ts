import { describe, expect, it } from 'vitest';
import { CaptureReader } from '../../shared/pcap/summary.ts';
import {
  ACK,
  concat,
  dnsQuery,
  type Endpoints,
  ethernet,
  FIN,
  ipv4,
  ipv6,
  pcap,
  reply,
  RST,
  SYN,
  tcp,
  udp,
} from './build.ts';
import { summarise } from './captures.ts';

const client: Endpoints = { from: '10.0.0.1', to: '10.0.0.2', sourcePort: 40_000, targetPort: 443 };
const server = reply(client);

describe('TCP', () => {
  const tcpOf = (...packets: Uint8Array[]) => summarise(pcap(packets)).tcp;

  it('a whole connection is one, whoever speaks', () => {
    const summary = tcpOf(
      tcp(client, SYN, 100),
      tcp(server, SYN | ACK, 500, 0, 101),
      tcp(client, ACK, 101, 1000, 501),
      tcp(server, ACK | FIN, 501, 0, 1101),
      tcp(client, ACK | FIN, 1101, 0, 502),
    );
    expect(summary).toEqual({ connections: 1, retransmissions: 0, resets: 0, unansweredSyns: 0 });
  });

  it('a SYN again and again without an answer', () => {
    expect(tcpOf(tcp(client, SYN, 100), tcp(client, SYN, 100), tcp(client, SYN, 100))).toEqual({
      connections: 1,
      retransmissions: 2,
      resets: 0,
      unansweredSyns: 1,
    });
  });

  it('a SYN that is refused was answered', () => {
    const summary = tcpOf(tcp(client, SYN, 100), tcp(server, RST | ACK, 0, 0, 101));
    expect(summary).toEqual({ connections: 1, retransmissions: 0, resets: 1, unansweredSyns: 0 });
  });

  it('data, SYN and FIN sent twice, also across the end of the sequence numbers', () => {
    const start = 0xffffff00;
    const summary = tcpOf(
      tcp(client, SYN, start),
      tcp(client, ACK, start + 1, 200),
      tcp(client, ACK, (start + 201) % 2 ** 32, 200),
      tcp(client, ACK, (start + 401) % 2 ** 32, 200),
      tcp(client, ACK, (start + 201) % 2 ** 32, 200),
      tcp(client, ACK | FIN, (start + 601) % 2 ** 32),
      tcp(client, ACK | FIN, (start + 601) % 2 ** 32),
    );
    expect(summary.retransmissions).toBe(2);
  });

  it('keep-alives and bare acknowledgements are none', () => {
    const summary = tcpOf(
      tcp(client, ACK, 1, 100),
      tcp(client, ACK, 101),
      tcp(client, ACK, 100),
      tcp(client, ACK, 100, 1),
    );
    expect(summary.retransmissions).toBe(0);
  });

  it('what comes late is not counted, until it comes twice', () => {
    const [first, second, third] = [1, 101, 201].map((sequence) => tcp(client, ACK, sequence, 100));
    expect(tcpOf(first!, third!, second!).retransmissions).toBe(0);
    expect(tcpOf(first!, third!, second!, second!, first!).retransmissions).toBe(2);
  });

  it('what the capture missed, but the other side got, is no gap any more', () => {
    const data = (sequence: number) => tcp(client, ACK, sequence, 100);
    // 101–200 was missed; then 401–500 is, and 301–400 comes twice.
    const packets = [data(1), data(201), tcp(server, ACK, 1, 0, 301), data(301), data(501), data(301)];
    expect(tcpOf(...packets).retransmissions).toBe(1);
  });

  it('a new connection on used ports starts afresh', () => {
    const summary = tcpOf(
      tcp(client, SYN, 5000),
      tcp(client, ACK, 5001, 100),
      tcp(client, SYN, 1000),
      tcp(client, ACK, 1001, 100),
    );
    expect(summary).toMatchObject({ connections: 1, retransmissions: 0 });
  });
});

describe('flows', () => {
  it('are told apart by ports, protocol and address family; fragments and ICMP have no ports', () => {
    const summary = summarise(
      pcap([
        tcp(client, ACK, 1),
        tcp(server, ACK, 1),
        udp(client, new Uint8Array(4)),
        tcp({ ...client, sourcePort: 40_001 }, ACK, 1),
        ethernet(0x0800, ipv4('10.0.0.1', '10.0.0.2', 1, new Uint8Array(8))),
        ethernet(0x0800, ipv4('10.0.0.2', '10.0.0.1', 1, new Uint8Array(8))),
        ethernet(0x0800, ipv4('10.0.0.1', '10.0.0.2', 6, new Uint8Array(8), 185)),
        ethernet(0x86dd, ipv6('0:0:0:0:0:0:a00:1', '0:0:0:0:0:0:a00:2', 58, new Uint8Array(8)), [7, 8]),
      ]),
    );
    expect(summary).toMatchObject({
      flowCount: 6,
      flowsFolded: 0,
      protocols: { ethernet: 8, vlan: 1, ipv4: 7, ipv6: 1, tcp: 3, udp: 1, icmp: 2, icmpv6: 1 },
      tcp: { connections: 2 },
    });
  });

  it('beyond the limit are folded, and still count for the talkers', () => {
    const reader = new CaptureReader({ maxFlows: 10 });
    const packets = Array.from({ length: 5000 }, (_, i) =>
      tcp({ ...client, from: `10.1.${i >> 8}.${i & 255}` }, SYN, 1),
    );
    reader.push(pcap(packets));
    const summary = reader.end();
    expect(summary).toMatchObject({ packets: 5000, flowCount: 10, flowsFolded: 4990, tcp: { unansweredSyns: 10 } });
    expect(summary.talkers[0]).toEqual({ address: '10.0.0.2', packets: 5000, bytes: 5000 * 54 });
  });

  it('are found again when there are many', () => {
    const packets = Array.from({ length: 20_000 }, (_, i) => tcp({ ...client, sourcePort: 1 + i }, ACK, 1));
    const file = pcap(packets);
    expect(summarise(file, file.subarray(24), file.subarray(24))).toMatchObject({ packets: 60_000, flowCount: 20_000 });
  });
});

describe('talkers', () => {
  it('are the ten with the most bytes; a packet to oneself counts once', () => {
    const to = (i: number, bytes: number): Uint8Array =>
      ethernet(0x0800, ipv4('10.0.0.9', `10.0.1.${i}`, 47, new Uint8Array(bytes)));
    const summary = summarise(
      pcap([
        ...Array.from({ length: 20 }, (_, i) => to(i, 10 * i)),
        ethernet(0x0800, ipv4('127.0.0.1', '127.0.0.1', 47, new Uint8Array(966))),
      ]),
    );
    expect(summary.talkers.map(({ address }) => address)).toEqual([
      '10.0.0.9',
      '127.0.0.1',
      ...[19, 18, 17, 16, 15, 14, 13, 12].map((i) => `10.0.1.${i}`),
    ]);
    expect(summary.talkers[1]).toEqual({ address: '127.0.0.1', packets: 1, bytes: 1000 });
  });

  it.each([
    ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
    ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
    ['0:0:0:0:0:0:0:0', '::'],
    ['fe80:0:0:0:0:0:0:0', 'fe80::'],
    ['0:0:0:0:0:0:0:1', '::1'],
  ])('write %s as %s', (address, expected) => {
    expect(summarise(pcap([ipv6(address, address, 59, new Uint8Array())], 229)).talkers[0]?.address).toBe(expected);
  });
});

describe('DNS', () => {
  const label = (text: string): Uint8Array => Buffer.from(text, 'latin1');
  const query: Endpoints = { from: '10.0.0.1', to: '10.0.0.53', sourcePort: 5353, targetPort: 53 };
  const dnsOf = (...messages: Uint8Array[]) => summarise(pcap(messages.map((message) => udp(query, message)))).dns;

  it('names are counted in lower case, the most frequent first', () => {
    const messages = ['example.org', 'www.example.com', 'WWW.Example.COM'].map((name) =>
      dnsQuery(name.split('.').map(label)),
    );
    expect(dnsOf(...messages, dnsQuery([]))).toEqual([
      { name: 'www.example.com', count: 2 },
      { name: '.', count: 1 },
      { name: 'example.org', count: 1 },
    ]);
  });

  it('names are escaped and cut', () => {
    expect(dnsOf(dnsQuery([label('a.b\\ \0\xff"')])).map(({ name }) => name)).toEqual(['a\\.b\\\\\\032\\000\\255"']);
    const long = dnsOf(dnsQuery(Array.from({ length: 20 }, () => label('\0'.repeat(63)))));
    expect(long[0]?.name.length).toBe(253);
  });

  it('all questions count; answers, updates and what is cut or compressed do not', () => {
    const two = dnsQuery([label('one')], [label('two')]);
    expect(dnsOf(two).map(({ name }) => name)).toEqual(['one', 'two']);
    expect(dnsOf(two.subarray(0, two.length - 8)).map(({ name }) => name)).toEqual(['one']);
    const answer = two.slice();
    answer[2] = 0x81;
    const update = two.slice();
    update[2] = 0x28;
    const compressed = concat(two.subarray(0, 12), Uint8Array.of(0xc0, 12, 0, 1, 0, 1));
    expect(dnsOf(answer, update, compressed)).toEqual([]);
  });
});
