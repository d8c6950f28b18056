import { createHash } from 'node:crypto';
import type { State } from './state.ts';
import {
  BALANCERS,
  INSTANCES,
  INTERFACES,
  type WorldBalancer,
  type WorldInstance,
  type WorldInterface,
} from './world.ts';

/**
 * The world as calls find it: what is listed in world.ts, and any other instance that somebody asks for. `i-NAME` is made up
 * with the primary interface `eni-NAME`, unless the name contains `missing` (no such instance); `nosupport` (its type cannot
 * be mirrored), `managed`, `attaching`, `free`, `natgw` and `bond` speak of its interface.
 */
export class Inventory {
  readonly #state: State;

  constructor(state: State) {
    this.#state = state;
  }

  /** Those that are listed and were not released. */
  interfaces(): WorldInterface[] {
    return INTERFACES.filter((each) => !this.#isGone(each.instance));
  }

  instance(id: string): WorldInstance | undefined {
    if (this.#isGone(id)) return undefined;
    const known = INSTANCES.find((each) => each.id === id);
    if (known) return known;
    if (!/^i-\w+$/.test(id) || id.includes('missing')) return undefined;
    return { id, name: id.slice(2), type: 'ecs.g7.large', supportsMirroring: !id.includes('nosupport'), mtu: 1500 };
  }

  interface(id: string): WorldInterface | undefined {
    const known = INTERFACES.find((each) => each.id === id);
    if (known) return this.#isGone(known.instance) ? undefined : known;
    const name = /^eni-(\w+)$/.exec(id)?.[1];
    return name === undefined ? undefined : this.#madeUp(`i-${name}`);
  }

  /** Those of an instance; none for an instance that does not exist. */
  interfacesOf(instance: string): WorldInterface[] {
    const known = this.interfaces().filter((each) => each.instance === instance);
    if (known.length > 0) return known;
    const made = this.#madeUp(instance);
    return made?.instance === undefined ? [] : [made];
  }

  balancer(id: string): WorldBalancer | undefined {
    return BALANCERS.find((each) => each.id === id);
  }

  #isGone(instance: string | undefined): boolean {
    return instance !== undefined && this.#state.content.faults.gone.includes(instance);
  }

  #madeUp(instance: string): WorldInterface | undefined {
    if (!this.instance(instance)) return undefined;
    const is = (word: string) => instance.includes(word);
    const [a = 0, b = 0, c = 0] = createHash('sha256').update(instance).digest();
    const kind = is('natgw') ? ('nat' as const) : is('bond') ? ('bond' as const) : undefined;
    return {
      id: `eni-${instance.slice(2)}`,
      // Beside the listed ones.
      address: `10.${64 + (a % 64)}.${b}.${c}`,
      ...(is('free') ? {} : { instance }),
      type: is('free') ? 'Secondary' : 'Primary',
      status: is('attaching') ? 'Attaching' : is('free') ? 'Available' : 'InUse',
      ...(is('managed') ? { managed: true as const } : {}),
      ...(kind ? { kind } : {}),
      tags: {},
    };
  }
}

/** The loopback address that stands for an address of the world: 127.0.0.4 for 10.0.0.4. */
export function loopbackOf(address: string): string {
  return `127${address.slice(address.indexOf('.'))}`;
}

/** An interface's MAC address, in the range of the cloud. */
export function macOf(address: string): string {
  const bytes = address.split('.').slice(1).map(Number);
  return ['00', '16', '3e', ...bytes.map((byte) => byte.toString(16).padStart(2, '0'))].join(':');
}
