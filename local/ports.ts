import { createSocket } from 'node:dgram';
import { createServer } from 'node:net';

/** A port that is held until everybody knows which is whose. */
type Held = { port: number; release: () => Promise<void> };

/**
 * The wanted TCP port of 127.0.0.1, then so many free ones, then a free one for UDP. All are held until all are known, so that none is
 * given twice.
 *
 * @throws the system's error when the wanted one cannot be used
 */
export async function pickPorts(wanted: number, others: number): Promise<{ tcp: number[]; udp: number }> {
  const first = await holdTcp(wanted);
  const rest = await Promise.all(Array.from({ length: others }, () => holdTcp(0)));
  const tcp = [first, ...rest];
  const udp = await holdUdp();
  await Promise.all([...tcp, udp].map((each) => each.release()));
  return { tcp: tcp.map(({ port }) => port), udp: udp.port };
}

function holdTcp(port: number): Promise<Held> {
  return new Promise((done, fail) => {
    const server = createServer();
    server.once('error', fail);
    server.listen(port, '127.0.0.1', () => {
      const address = server.address();
      done({
        port: typeof address === 'object' && address ? address.port : port,
        release: () => new Promise((released) => server.close(() => released())),
      });
    });
  });
}

function holdUdp(): Promise<Held> {
  return new Promise((done, fail) => {
    const socket = createSocket('udp4');
    socket.once('error', fail);
    socket.bind(0, '127.0.0.1', () => {
      done({ port: socket.address().port, release: () => new Promise((released) => socket.close(() => released())) });
    });
  });
}
