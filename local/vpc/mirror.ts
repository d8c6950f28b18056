import { createSocket, type Socket } from 'node:dgram';
import { loopbackOf, macOf, type Inventory } from './inventory.ts';
import { verdictOf } from './matching.ts';
import type { Session, SessionSettings, State } from './state.ts';
import { packetsBetween } from './traffic.ts';
import { cut, encapsulated } from './vxlan.ts';
import { BALANCER_MTU, type WorldInterface } from './world.ts';

/** After a longer pause the packets in between are not made up for. */
const LONGEST_MS = 2000;

export type Sent = { packets: number; bytes: number };

/**
 * Mirrors what the sources say. A packet is mirrored at most once: the sessions on its source are tried by priority, and
 * the first filter with a rule that fits decides. It is sent to the target's address from the loopback address that stands
 * for the source's (127.0.0.4 for 10.0.0.4), which the system picks a port for; the real cloud takes the port from the
 * packet's own addresses and ports.
 */
export class Mirror {
  readonly #state: State;
  readonly #inventory: Inventory;
  /** By id of the source. */
  readonly #sockets = new Map<string, Socket>();
  readonly #sent = new Map<string, Sent>();
  #until: number;

  constructor(state: State, inventory: Inventory, now: number) {
    this.#state = state;
    this.#inventory = inventory;
    this.#until = now;
  }

  /** What a session has sent since this process began. */
  sent(session: string): Sent {
    return this.#sent.get(session) ?? { packets: 0, bytes: 0 };
  }

  /** Sends all that was said since the last time. */
  tick(now: number): void {
    const from = Math.max(this.#until, now - LONGEST_MS);
    this.#until = Math.max(this.#until, now);
    const sources = this.#sources();
    for (const [id, sessions] of sources) {
      const source = this.#inventory.interface(id);
      if (source?.status === 'InUse') this.#play(source, sessions, from, now);
    }
    for (const [id, socket] of this.#sockets) {
      if (sources.has(id)) continue;
      socket.close();
      this.#sockets.delete(id);
    }
  }

  close(): void {
    for (const socket of this.#sockets.values()) socket.close();
    this.#sockets.clear();
  }

  /** The sessions of each source that mirror, the best first. */
  #sources(): Map<string, Active[]> {
    const { sessions, faults } = this.#state.content;
    const sources = new Map<string, Active[]>();
    if (faults.packets === 'none') return sources;
    const active = Object.values(sessions)
      .flatMap(({ id, inForce }) => (inForce?.enabled ? [{ id, settings: inForce }] : []))
      .toSorted((a, b) => a.settings.priority - b.settings.priority);
    for (const session of active) {
      for (const source of session.settings.sources) sources.set(source, [...(sources.get(source) ?? []), session]);
    }
    return sources;
  }

  #play(source: WorldInterface, sessions: Active[], from: number, to: number): void {
    const { filters } = this.#state.content;
    const { address } = source;
    for (const packet of packetsBetween({ address, mac: macOf(address) }, from, to)) {
      for (const session of sessions) {
        const verdict = verdictOf(filters[session.settings.filterId]?.rules ?? [], packet);
        if (verdict === undefined) continue;
        if (verdict === 'accept') this.#send(source, session, packet.frame);
        break;
      }
    }
  }

  #send(source: WorldInterface, { id, settings }: Active, frame: Buffer): void {
    const datagram = encapsulated(settings.vni, cut(frame, settings.packetLength, this.#mtuOf(settings)));
    const { packets, bytes } = this.sent(id);
    this.#sent.set(id, { packets: packets + 1, bytes: bytes + datagram.length });
    const [host, port] = this.#state.content.targets[settings.targetId]?.split(':') ?? [];
    // A target that nobody listens for.
    if (!host) return;
    this.#socketOf(source).send(datagram, Number(port), host, () => undefined);
  }

  #mtuOf({ targetId, targetType }: SessionSettings): number {
    if (targetType === 'SLB') return BALANCER_MTU;
    const instance = this.#inventory.interface(targetId)?.instance;
    return (instance && this.#inventory.instance(instance)?.mtu) || BALANCER_MTU;
  }

  #socketOf({ id, address }: WorldInterface): Socket {
    const known = this.#sockets.get(id);
    if (known) return known;
    const socket = createSocket('udp4');
    // Not every system has all of 127.0.0.0/8: then packets come from 127.0.0.1.
    socket.once('error', () => {
      socket.close();
      const other = createSocket('udp4');
      other.bind(0, '127.0.0.1');
      other.on('error', () => undefined);
      this.#sockets.set(id, other);
    });
    socket.bind(0, loopbackOf(address));
    this.#sockets.set(id, socket);
    return socket;
  }
}

type Active = Pick<Session, 'id'> & { settings: SessionSettings };
