import { dnsAnswer, dnsQuery } from './dns.ts';
import { passes, type Filter } from './filter.ts';
import { HOST_NAMES, SERVICES, VM_ADDRESS, type Service } from './network.ts';
import { ACK, FIN, PSH, SYN, tcpFrame, udpFrame, type Peer } from '../emulator/packets.ts';
import { fileHeader, record } from './pcap.ts';
import type { Recorder, Recording } from './recorder.ts';

/**
 * The stand-in for tcpdump where that is missing or not allowed: the same kind of traffic as traffic.ts, made up and
 * in the VM's own addresses. Which packet comes when depends on nothing but the time since the capture began, so that
 * a capture can be continued after a restart.
 */
type TimedPacket = { atMs: number; frame: Buffer };

/** One scene is played every two seconds, each time with fresh ports. */
const SCENE_MS = 2000;
const STEP_MS = 3;
const PLAY_EVERY_MS = 100;
const EMPTY = Buffer.alloc(0);

/** The packets that pass the filters, from `fromMs` (inclusive) to `toMs` (exclusive) since the beginning, in order. */
function packetsBetween(fromMs: number, toMs: number, filters: Filter[]): TimedPacket[] {
  const packets: TimedPacket[] = [];
  for (let scene = Math.floor(fromMs / SCENE_MS); scene * SCENE_MS < toMs; scene += 1) {
    const talks = sceneOf(scene)
      .filter((talk) => passes(filters, ends(talk)))
      .flatMap((talk) => talk.frames.map((frame, i) => ({ atMs: scene * SCENE_MS + talk.atMs + i * STEP_MS, frame })))
      .filter(({ atMs }) => fromMs <= atMs && atMs < toMs);
    packets.push(...talks.toSorted((a, b) => a.atMs - b.atMs));
  }
  return packets;
}

/** The scenes played last: captures that run at the same time play the same ones. */
const played = new Map<number, Talk[]>();
const KEPT_SCENES = 50;

function sceneOf(scene: number): Talk[] {
  const talks = played.get(scene) ?? conversations(scene);
  if (!played.has(scene) && played.size >= KEPT_SCENES) played.clear();
  played.set(scene, talks);
  return talks;
}

type Talk = { service: Service; clientPort: number; atMs: number; frames: Buffer[] };

function conversations(scene: number): Talk[] {
  const clientPort = 49_152 + ((scene * 8) % 16_000);
  const name = (turn: number) => HOST_NAMES[(scene + turn) % HOST_NAMES.length] ?? HOST_NAMES[0];
  const page = Buffer.alloc(1200, 'item;price;stock\n');
  const reports = scene % 5 === 4 ? Array.from({ length: 20 }, () => page) : [page];
  return [
    lookup(clientPort, 10, scene & 0xffff, name(0)),
    lookup(clientPort + 1, 700, (scene + 1) & 0xffff, name(1)),
    connection(SERVICES.web, clientPort + 2, 40, [
      { sent: [Buffer.from(`GET /orders/${scene} HTTP/1.1\r\nHost: shop.example.com\r\nConnection: close\r\n\r\n`)] },
      { received: [Buffer.from(`HTTP/1.1 200 OK\r\nContent-Length: ${page.length * reports.length}\r\n\r\n`)] },
      { received: reports },
    ]),
    connection(SERVICES.api, clientPort + 3, 400, [
      { sent: [clientHello(name(0))] },
      { received: [tlsRecord(22, Buffer.alloc(900, scene & 0xff))] },
      { sent: [tlsRecord(23, Buffer.alloc(120, 1))] },
      { received: [tlsRecord(23, Buffer.alloc(1300, 2)), tlsRecord(23, Buffer.alloc(1300, 3))] },
    ]),
    connection(SERVICES.app, clientPort + 4, 1200, [
      { sent: [Buffer.from('GET /healthz HTTP/1.1\r\nHost: app.example.com\r\nConnection: close\r\n\r\n')] },
      { received: [Buffer.from('HTTP/1.1 204 No Content\r\n\r\n')] },
    ]),
    standing(scene),
  ];
}

/** Both ends of a conversation, seen from the VM. */
function ends(talk: Talk): Parameters<typeof passes>[1] {
  const { service, clientPort } = talk;
  const [localPort, remotePort] = service.direction === 'out' ? [clientPort, service.port] : [service.port, clientPort];
  return { protocol: service.protocol, localAddress: VM_ADDRESS, localPort, remoteAddress: service.peer, remotePort };
}

function peers(service: Service, clientPort: number): { client: Peer; server: Peer } {
  const [client, server] = service.direction === 'out' ? [VM_ADDRESS, service.peer] : [service.peer, VM_ADDRESS];
  return { client: { address: client, port: clientPort }, server: { address: server, port: service.port } };
}

function lookup(clientPort: number, atMs: number, id: number, name: string): Talk {
  const { client, server } = peers(SERVICES.dns, clientPort);
  const query = dnsQuery(id, name);
  const frames = [udpFrame(client, server, query), udpFrame(server, client, dnsAnswer(query))];
  return { service: SERVICES.dns, clientPort, atMs, frames };
}

type Turn = { sent?: Buffer[]; received?: Buffer[] };

/** A whole TCP connection: handshake, turns (each payload one segment, each turn acknowledged), both sides' FIN. */
function connection(service: Service, clientPort: number, atMs: number, turns: Turn[]): Talk {
  const { client, server } = peers(service, clientPort);
  const next = { client: 1000, server: 9000 };
  const frames: Buffer[] = [];
  const send = (side: 'client' | 'server', flags: number, payload: Buffer = EMPTY) => {
    const other = side === 'client' ? 'server' : 'client';
    const [from, to] = side === 'client' ? [client, server] : [server, client];
    const ack = flags & ACK ? next[other] : 0;
    frames.push(tcpFrame(from, to, { seq: next[side], ack, flags, payload }));
    next[side] += payload.length + (flags & (SYN | FIN) ? 1 : 0);
  };
  send('client', SYN);
  send('server', SYN | ACK);
  send('client', ACK);
  for (const turn of turns) {
    for (const payload of turn.sent ?? []) send('client', PSH | ACK, payload);
    if (turn.sent) send('server', ACK);
    for (const payload of turn.received ?? []) send('server', PSH | ACK, payload);
    if (turn.received) send('client', ACK);
  }
  send('server', FIN | ACK);
  send('client', FIN | ACK);
  send('server', ACK);
  return { service, clientPort, atMs, frames };
}

/** The database connection: open since before the capture began, one question and answer per scene. */
function standing(scene: number): Talk {
  const clientPort = 40_000;
  const { client, server } = peers(SERVICES.database, clientPort);
  const question = Buffer.from('select * from orders where id = 42\n');
  const answer = Buffer.from('1 row: id=42, name=example, state=active\n');
  const seq = 5000 + scene * question.length;
  const ack = 7000 + scene * answer.length;
  const asked = seq + question.length;
  const answered = ack + answer.length;
  const frames = [
    tcpFrame(client, server, { seq, ack, flags: PSH | ACK, payload: question }),
    tcpFrame(server, client, { seq: ack, ack: asked, flags: PSH | ACK, payload: answer }),
    tcpFrame(client, server, { seq: asked, ack: answered, flags: ACK, payload: EMPTY }),
  ];
  return { service: SERVICES.database, clientPort, atMs: 1700, frames };
}

/** A TLS 1.2 ClientHello with a server name (RFC 5246, RFC 6066). */
function clientHello(serverName: string): Buffer {
  const name = Buffer.from(serverName);
  const serverNameList = Buffer.concat([uint16(name.length + 3), Buffer.from([0]), uint16(name.length), name]);
  const extension = Buffer.concat([uint16(0), uint16(serverNameList.length), serverNameList]);
  const hello = Buffer.concat([
    uint16(0x0303),
    Buffer.alloc(32, 0x5a), // random
    Buffer.from([0]), // no session
    uint16(4),
    uint16(0xc02f),
    uint16(0x009c),
    Buffer.from([1, 0]), // no compression
    uint16(extension.length),
    extension,
  ]);
  return tlsRecord(22, Buffer.concat([Buffer.from([1, 0]), uint16(hello.length), hello]));
}

function tlsRecord(type: number, content: Buffer): Buffer {
  return Buffer.concat([Buffer.from([type]), uint16(0x0303), uint16(content.length), content]);
}

function uint16(value: number): Buffer {
  return Buffer.from([value >> 8, value & 0xff]);
}

/** Plays the traffic in real time. */
export function startGenerator(recording: Recording): Recorder {
  const beganAt = Date.now() - recording.elapsedMs;
  let doneMs = recording.elapsedMs;
  const play = () => {
    const nowMs = Date.now() - beganAt;
    const packets = packetsBetween(doneMs, nowMs, recording.filters);
    doneMs = Math.max(doneMs, nowMs);
    if (packets.length === 0) return;
    const records = packets.map(({ atMs, frame }) => record(frame, beganAt + atMs, recording.snapLength));
    recording.onData(Buffer.concat(records));
  };
  recording.onData(fileHeader(recording.snapLength));
  const timer = setInterval(play, PLAY_EVERY_MS);
  return {
    stop: () => {
      clearInterval(timer);
      play();
      return Promise.resolve();
    },
  };
}
