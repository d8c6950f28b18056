import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';

/** Room for a fifth of a second at 150,000 packets a second of 800 bytes. */
const WANTED_BUFFER_BYTES = 32 * 1024 * 1024;

/** Binds the port that packets come to. Nothing is read from it before the caller gives control back. @throws what the system throws */
export async function bind(port: number, host: string): Promise<Socket> {
  const socket = createSocket({ type: 'udp4', recvBufferSize: WANTED_BUFFER_BYTES });
  socket.bind(port, host);
  await once(socket, 'listening');
  return socket;
}

/** What is wrong with the size of its receive buffer, if anything is. */
export function bufferProblem(socket: Socket): string | undefined {
  // Linux answers twice what it was asked for.
  const bytes = socket.getRecvBufferSize() / (process.platform === 'linux' ? 2 : 1);
  if (bytes >= WANTED_BUFFER_BYTES) return undefined;
  return `the receive buffer has ${bytes} bytes; sysctl net.core.rmem_max=${WANTED_BUFFER_BYTES} would help it over bursts`;
}

/** Packets that the kernel has dropped since the socket was bound, for lack of room in its buffer; 0 where it does not say (Linux does). */
export function kernelDrops(socket: Socket): number {
  try {
    const { address, port } = socket.address();
    const bytes = address.split('.').map((part) => Number(part).toString(16).padStart(2, '0'));
    // In the machine's byte order, which is little-endian.
    const local = `${bytes.reverse().join('')}:${port.toString(16).padStart(4, '0')}`.toUpperCase();
    const line = readFileSync('/proc/net/udp', 'utf8')
      .split('\n')
      .find((one) => one.trim().split(/\s+/)[1] === local);
    return Number(line?.trim().split(/\s+/).at(-1) ?? 0);
  } catch {
    return 0;
  }
}
