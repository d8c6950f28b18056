import { clientHello, dnsAnswer, dnsQuery, tlsRecord } from './messages.ts';
import { ACK, echoFrame, FIN, PSH, SYN, tcpFrame, udpFrame, type Peer, type Protocol } from '../emulator/packets.ts';
import type { Direction } from './state.ts';

/**
 * What an instance talks about all the time: lookups, web pages, TLS, its own callers, a database connection that stays, a
 * ping; some 40 packets a second. Which packet comes when depends on nothing but the interface and the time, so that
 * traffic goes on where it was after a restart.
 */
export type Packet = {
  /** Unix milliseconds. */
  atMs: number;
  /** Seen from the interface. */
  direction: Direction;
  protocol: Protocol;
  from: Peer;
  to: Peer;
  frame: Buffer;
};

export type Source = { address: string; mac: string };

/** One scene is played every second, each time with fresh ports. */
const SCENE_MS = 1000;
const STEP_MS = 3;
/** What a TCP segment carries in a packet of 1500 bytes. */
const SEGMENT = 1460;
const EMPTY = Buffer.alloc(0);
/** Everything comes and goes by the network's own interface, as in published captures. */
const GATEWAY_MAC = 'ee:ff:ff:ff:ff:ff';
const HOST_NAMES = ['api.example.com', 'login.example.com', 'cdn.example.net', 'nowhere.example.org'] as const;

/** The packets of an interface from `fromMs` (inclusive) to `toMs` (exclusive), in order. */
export function packetsBetween(source: Source, fromMs: number, toMs: number): Packet[] {
  const packets: Packet[] = [];
  for (let scene = Math.floor(fromMs / SCENE_MS); scene * SCENE_MS < toMs; scene += 1) {
    const ofScene = conversations(source, scene)
      .flatMap(({ atMs, packets: said }) => said.map((each, i) => ({ ...each, atMs: atMs + i * STEP_MS })))
      .filter(({ atMs }) => fromMs <= atMs && atMs < toMs);
    packets.push(...ofScene.toSorted((a, b) => a.atMs - b.atMs));
  }
  return packets;
}

type Said = Omit<Packet, 'atMs'>;
type Talk = { atMs: number; packets: Said[] };

function conversations(source: Source, scene: number): Talk[] {
  const at = (ms: number, packets: Said[]): Talk => ({ atMs: scene * SCENE_MS + ms, packets });
  const port = 49_152 + ((scene * 8) % 16_000);
  const name = HOST_NAMES[scene % HOST_NAMES.length] ?? HOST_NAMES[0];
  const own = (ownPort: number): Peer => ({ ...source, port: ownPort });
  const page = Buffer.alloc(2 * SEGMENT, 'item;price;stock\n');
  return [
    at(10, lookup(own(port), far('100.100.2.136', 53), scene, name)),
    at(
      60,
      connection('egress', own(port + 1), far('203.0.113.20', 80), [
        { asked: Buffer.from(`GET /orders/${scene} HTTP/1.1\r\nHost: shop.example.com\r\nConnection: close\r\n\r\n`) },
        { answered: Buffer.from(`HTTP/1.1 200 OK\r\nContent-Length: ${page.length}\r\n\r\n`) },
        { answered: page },
      ]),
    ),
    at(
      300,
      connection('egress', own(port + 2), far('203.0.113.10', 443), [
        { asked: clientHello(name) },
        { answered: tlsRecord(22, Buffer.alloc(900, 5)) },
        { asked: tlsRecord(23, Buffer.alloc(120, 1)) },
      ]),
    ),
    at(
      600,
      connection('ingress', far('198.51.100.7', port + 3), own(8080), [
        { asked: Buffer.from('GET /healthz HTTP/1.1\r\nHost: app.example.com\r\nConnection: close\r\n\r\n') },
        { answered: Buffer.from('HTTP/1.1 204 No Content\r\n\r\n') },
      ]),
    ),
    at(800, standing(own(40_000), far('10.0.1.250', 3306), scene)),
    at(900, ping(own(0), far('10.0.1.250', 0), scene)),
  ];
}

function far(address: string, port: number): Peer {
  return { address, port, mac: GATEWAY_MAC };
}

function lookup(own: Peer, server: Peer, scene: number, name: string): Said[] {
  const query = dnsQuery(scene & 0xffff, name);
  const said = (direction: Direction, from: Peer, to: Peer, payload: Buffer): Said => {
    return { direction, protocol: 'UDP', from, to, frame: udpFrame(from, to, payload) };
  };
  return [said('egress', own, server, query), said('ingress', server, own, dnsAnswer(query))];
}

type Turn = { asked?: Buffer; answered?: Buffer };

/** A whole TCP connection: handshake, turns (each acknowledged), both sides' FIN. @param opened which way the first packet goes */
function connection(opened: Direction, client: Peer, server: Peer, turns: Turn[]): Said[] {
  const next = { client: 1000, server: 9000 };
  const packets: Said[] = [];
  const send = (side: 'client' | 'server', flags: number, payload: Buffer = EMPTY) => {
    const [other, from, to] =
      side === 'client' ? (['server', client, server] as const) : (['client', server, client] as const);
    const ack = flags & ACK ? next[other] : 0;
    const direction = (side === 'client') === (opened === 'egress') ? 'egress' : 'ingress';
    const frame = tcpFrame(from, to, { seq: next[side], ack, flags, payload });
    packets.push({ direction, protocol: 'TCP', from, to, frame });
    next[side] += payload.length + (flags & (SYN | FIN) ? 1 : 0);
  };
  send('client', SYN);
  send('server', SYN | ACK);
  send('client', ACK);
  for (const { asked, answered } of turns) {
    for (const part of segments(asked)) send('client', PSH | ACK, part);
    if (asked) send('server', ACK);
    for (const part of segments(answered)) send('server', PSH | ACK, part);
    if (answered) send('client', ACK);
  }
  send('server', FIN | ACK);
  send('client', FIN | ACK);
  send('server', ACK);
  return packets;
}

function segments(data: Buffer = EMPTY): Buffer[] {
  const count = Math.ceil(data.length / SEGMENT);
  return Array.from({ length: count }, (_, i) => data.subarray(i * SEGMENT, (i + 1) * SEGMENT));
}

/** The database connection: open since ever, one question and answer per scene. */
function standing(client: Peer, server: Peer, scene: number): Said[] {
  const question = Buffer.from('select * from orders where id = 42\n');
  const answer = Buffer.from('1 row: id=42, name=example, state=active\n');
  const seq = 5000 + scene * question.length;
  const ack = 7000 + scene * answer.length;
  const asked = { seq, ack, flags: PSH | ACK, payload: question };
  const answered = { seq: ack, ack: seq + question.length, flags: PSH | ACK, payload: answer };
  const noted = { seq: seq + question.length, ack: ack + answer.length, flags: ACK, payload: EMPTY };
  return [
    { direction: 'egress', protocol: 'TCP', from: client, to: server, frame: tcpFrame(client, server, asked) },
    { direction: 'ingress', protocol: 'TCP', from: server, to: client, frame: tcpFrame(server, client, answered) },
    { direction: 'egress', protocol: 'TCP', from: client, to: server, frame: tcpFrame(client, server, noted) },
  ];
}

function ping(own: Peer, other: Peer, sequence: number): Said[] {
  const said = (direction: Direction, from: Peer, to: Peer): Said => {
    const frame = echoFrame(from, to, { reply: direction === 'ingress', sequence });
    return { direction, protocol: 'ICMP', from, to, frame };
  };
  return [said('egress', own, other), said('ingress', other, own)];
}
