import { createSocket } from 'node:dgram';
import { connect, createServer, type Server, type Socket } from 'node:net';
import type { AddressInfo } from 'node:net';
import { connect as connectTls, createServer as createTlsServer } from 'node:tls';
import { dnsAnswer, dnsQuery } from './dns.ts';
import { HOST_NAMES, SERVICES, VM_ADDRESS, loopbackOf, type BoundService, type Service } from './network.ts';

/**
 * Real conversations on the loopback interface between the emulated VM and its peers, all the time and slowly (some
 * 50 packets a second in all): HTTP, TLS, DNS, a database connection that stays, and callers of the VM's own service.
 */
export type Traffic = { services: BoundService[]; stop: () => void };

type Stop = () => void;

export async function startTraffic(): Promise<Traffic> {
  const stops: Stop[] = [];
  const services: BoundService[] = [];
  const flows = { web, api, database, dns, app };
  for (const service of Object.values(SERVICES)) {
    const flow = await flows[service.name]();
    services.push(flow.service);
    stops.push(...flow.stops);
  }
  return { services, stop: () => stops.forEach((stop) => stop()) };
}

type Flow = { service: BoundService; stops: Stop[] };

async function web(): Promise<Flow> {
  const page = Buffer.alloc(1200, 'item;price;stock\n');
  const report = Buffer.alloc(150_000, 'the quarterly report, one line after another\n');
  const server = createServer((socket) => {
    answerOnce(socket, (request) => {
      const body = request.includes('/report') ? report : page;
      return Buffer.concat([Buffer.from(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\n\r\n`), body]);
    });
  });
  const service = await bindTcp(SERVICES.web, server);
  const timer = every(500, (turn) => {
    const path = turn % 20 === 19 ? '/report' : `/orders/${1000 + turn}`;
    ask(connect(dial(service)), `GET ${path} HTTP/1.1\r\nHost: shop.example.com\r\nConnection: close\r\n\r\n`);
  });
  return { service, stops: [timer, closing(server)] };
}

// TLS with a pre-shared key: a real handshake with a server name in it, and no certificate to keep in the repository.
const TLS = { ciphers: 'PSK-AES128-GCM-SHA256', minVersion: 'TLSv1.2', maxVersion: 'TLSv1.2' } as const;
const PRE_SHARED_KEY = Buffer.alloc(16, 'loopback');

async function api(): Promise<Flow> {
  const server = createTlsServer({ ...TLS, pskCallback: () => PRE_SHARED_KEY }, (socket) => {
    answerOnce(socket, (request) => Buffer.alloc(request.includes('/backup') ? 100_000 : 2_500, '{"ok":true}'));
  });
  server.on('tlsClientError', () => {});
  const service = await bindTcp(SERVICES.api, server);
  const timer = every(1000, (turn) => {
    const socket = connectTls({
      ...TLS,
      ...dial(service),
      servername: HOST_NAMES[turn % 3] ?? HOST_NAMES[0],
      checkServerIdentity: () => undefined,
      pskCallback: () => ({ psk: PRE_SHARED_KEY, identity: 'vm' }),
    });
    ask(socket, turn % 15 === 14 ? 'PUT /backup' : 'GET /v1/status');
  });
  return { service, stops: [timer, closing(server)] };
}

async function database(): Promise<Flow> {
  const server = createServer((socket) => {
    socket.on('error', () => {});
    socket.on('data', () => socket.write('1 row: id=42, name=example, state=active\n'));
  });
  const service = await bindTcp(SERVICES.database, server);
  let connection: Socket | undefined;
  const timer = every(400, (turn) => {
    if (!connection || connection.destroyed) {
      connection = connect(dial(service)).on('error', () => {});
      connection.resume();
    }
    connection.write(`select * from orders where id = ${turn}\n`);
  });
  return { service, stops: [timer, () => connection?.destroy(), closing(server)] };
}

async function dns(): Promise<Flow> {
  const { service, socket } = await bindUdp(SERVICES.dns);
  socket.on('message', (query, peer) => socket.send(dnsAnswer(query), peer.port, peer.address));
  const timer = every(400, (turn) => {
    const client = createSocket('udp4');
    client.on('error', () => client.close());
    client.on('message', () => client.close());
    client.bind(0, service.realVm, () => {
      client.send(dnsQuery(turn & 0xffff, HOST_NAMES[turn % 4] ?? HOST_NAMES[0]), service.realPort, service.realPeer);
    });
    client.unref();
  });
  return { service, stops: [timer, () => socket.close()] };
}

async function app(): Promise<Flow> {
  const server = createServer((socket) => {
    answerOnce(socket, () => Buffer.from('HTTP/1.1 204 No Content\r\n\r\n'));
  });
  const service = await bindTcp(SERVICES.app, server);
  const timer = every(1000, () => {
    const caller = connect({ host: service.realVm, port: service.realPort, localAddress: service.realPeer });
    ask(caller, 'GET /healthz HTTP/1.1\r\nHost: app.example.com\r\nConnection: close\r\n\r\n');
  });
  return { service, stops: [timer, closing(server)] };
}

/** Where the VM connects to, and from which address. */
function dial(service: BoundService): { host: string; port: number; localAddress: string } {
  return { host: service.realPeer, port: service.realPort, localAddress: service.realVm };
}

function ask(socket: Socket, request: string): void {
  socket.on('error', () => {});
  socket.setTimeout(5_000, () => socket.destroy());
  socket.resume();
  socket.write(request);
}

function answerOnce(socket: Socket, answer: (request: string) => Buffer): void {
  socket.on('error', () => {});
  socket.once('data', (request) => socket.end(answer(request.toString('latin1'))));
}

function every(intervalMs: number, act: (turn: number) => void): Stop {
  let turn = 0;
  const timer = setInterval(() => act(turn++), intervalMs);
  return () => clearInterval(timer);
}

function closing(server: Server): Stop {
  return () => server.close();
}

/** Candidates for a service's address and port, best first; see network.ts. */
function candidates(service: Service): { realVm: string; realPeer: string; port: number }[] {
  const mapped = { realVm: loopbackOf(VM_ADDRESS), realPeer: loopbackOf(service.peer) };
  const plain = { realVm: '127.0.0.1', realPeer: '127.0.0.1' };
  return [
    // Other ports stay free for the machine's own servers: one on 0.0.0.0 could not start beside ours.
    ...(service.port < 1024 ? [{ ...mapped, port: service.port }] : []),
    { ...mapped, port: 0 },
    { ...plain, port: 0 },
  ];
}

async function bindTcp(service: Service, server: Server): Promise<BoundService> {
  for (const { port, ...addresses } of candidates(service)) {
    const host = service.direction === 'out' ? addresses.realPeer : addresses.realVm;
    const bound = await settled(server, 'listening', () => server.listen(port, host));
    if (bound) return { ...service, ...addresses, realPort: (server.address() as AddressInfo).port };
  }
  throw new Error(`no loopback port for ${service.name}`);
}

async function bindUdp(service: Service): Promise<{ service: BoundService; socket: ReturnType<typeof createSocket> }> {
  for (const { port, ...addresses } of candidates(service)) {
    const socket = createSocket('udp4');
    const bound = await settled(socket, 'listening', () => socket.bind(port, addresses.realPeer));
    if (bound) return { socket, service: { ...service, ...addresses, realPort: socket.address().port } };
  }
  throw new Error(`no loopback port for ${service.name}`);
}

type Emitter = {
  once: (event: string, listener: () => void) => unknown;
  removeAllListeners: (event: string) => unknown;
  on: (event: string, listener: () => void) => unknown;
};

/** Starts something that either says `event` or `error`. */
async function settled(emitter: Emitter, event: string, start: () => void): Promise<boolean> {
  const done = await new Promise<boolean>((resolve) => {
    emitter.once(event, () => resolve(true));
    emitter.once('error', () => resolve(false));
    start();
  });
  emitter.removeAllListeners(event);
  emitter.removeAllListeners('error');
  emitter.on('error', () => {});
  return done;
}
