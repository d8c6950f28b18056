import { createSocket, type Socket } from 'node:dgram';
import { once } from 'node:events';

const header = (bytes: number, fill: (at: DataView) => void): Buffer => {
  const buffer = Buffer.alloc(bytes);
  fill(new DataView(buffer.buffer, buffer.byteOffset, bytes));
  return buffer;
};

const ethernet = (type: number): Buffer => {
  const head = Buffer.from('eeffffffffff00163e0a0b0c0000', 'hex');
  head.writeUInt16BE(type, 12);
  return head;
};

/** An Ethernet frame of UDP over IPv4, 10.0.0.4 to 10.9.9.9. */
export function ipv4Frame(payload: Buffer): Buffer {
  const udp = header(8, (at) => {
    at.setUint16(0, 40_000);
    at.setUint16(2, 40_001);
    at.setUint16(4, 8 + payload.length);
  });
  const ip = Buffer.from('450000000001000040110000' + '0a000004' + '0a090909', 'hex');
  ip.writeUInt16BE(28 + payload.length, 2);
  return Buffer.concat([ethernet(0x0800), ip, udp, payload]);
}

/** The same over IPv6, in a VLAN. */
export function ipv6VlanFrame(payload: Buffer): Buffer {
  const vlan = Buffer.from('006486dd', 'hex');
  const ip = header(40, (at) => {
    at.setUint32(0, 0x60000000);
    at.setUint16(4, 8 + payload.length);
    at.setUint8(6, 17);
    at.setUint8(7, 64);
    at.setUint8(23, 1);
    at.setUint8(39, 2);
  });
  const udp = header(8, (at) => {
    at.setUint16(0, 40_000);
    at.setUint16(2, 40_001);
    at.setUint16(4, 8 + payload.length);
  });
  return Buffer.concat([ethernet(0x8100), vlan, ip, udp, payload]);
}

/** A payload that can be found again: a number, then filling. */
export function numbered(number: number, bytes = 64): Buffer {
  const payload = Buffer.alloc(bytes, 0x5a);
  payload.writeUInt32BE(number, 0);
  return payload;
}

/** A frame as the mirror sends it: behind a VXLAN header (RFC 7348). */
export function vxlan(vni: number, frame: Buffer): Buffer {
  const head = Buffer.from('0800000000000000', 'hex');
  head.writeUIntBE(vni, 4, 3);
  return Buffer.concat([head, frame]);
}

/** Sends from an address of its own, as a mirrored network interface does. */
export class Source {
  readonly address: string;
  readonly #socket: Socket;
  readonly #port: () => number;

  private constructor(address: string, socket: Socket, port: () => number) {
    this.address = address;
    this.#socket = socket;
    this.#port = port;
  }

  static async open(address: string, port: () => number): Promise<Source> {
    const socket = createSocket('udp4');
    socket.bind(0, address);
    await once(socket, 'listening');
    return new Source(address, socket, port);
  }

  send(datagram: Buffer): Promise<void> {
    return new Promise((sent, fail) => {
      this.#socket.send(datagram, this.#port(), '127.0.0.1', (error) => (error ? fail(error) : sent()));
    });
  }

  /** Numbered packets, one after another. */
  async sendNumbered(vni: number, from: number, count: number, bytes = 64): Promise<void> {
    for (let i = from; i < from + count; i++) await this.send(vxlan(vni, ipv4Frame(numbered(i, bytes))));
  }

  close(): void {
    this.#socket.close();
  }
}
