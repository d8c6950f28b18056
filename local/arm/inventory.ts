import { faultsOf } from './faults.ts';
import type { State } from './state.ts';
import { worldOf, type World } from './world.ts';

/** The world as calls find it: what is listed in world.ts, and any other machine and scale set that somebody asks for. */
type Placed = { subscription: string; resourceGroup: string; name: string; region: string; id: string };

export type Watcher = Placed;

export type Machine = Placed & {
  computerName: string;
  os: Os;
  tags: Record<string, string>;
  extensions: Extension[];
};

/** A scale set, whose instances all follow its model. */
export type ScaleSet = Placed & {
  os: Os;
  tags: Record<string, string>;
  /** Of the model. */
  extensions: Extension[];
  /** Ids of the instances, by number. */
  instances: string[];
};

export type Os = 'Linux' | 'Windows';

export type Extension = {
  name: string;
  publisher: string;
  type: string;
  typeHandlerVersion: string;
  autoUpgradeMinorVersion: boolean;
  provisioningState: 'Creating' | 'Updating' | 'Succeeded' | 'Failed';
};

const REGION_OF_OTHERS = 'westus2';

export class Inventory {
  readonly #subscriptions: string[];
  readonly #state: State;

  constructor(subscriptions: string[], state: State) {
    this.#subscriptions = subscriptions;
    this.#state = state;
  }

  hasSubscription(id: string): boolean {
    return this.#subscriptions.some((subscription) => same(subscription, id));
  }

  watchers(subscription: string, resourceGroup?: string): Watcher[] {
    return inGroup(this.#world(subscription).watchers, resourceGroup).map((watcher) =>
      placed(subscription, 'Microsoft.Network/networkWatchers', watcher),
    );
  }

  watcher(subscription: string, resourceGroup: string, name: string): Watcher | undefined {
    return this.watchers(subscription, resourceGroup).find((watcher) => same(watcher.name, name));
  }

  machines(subscription: string, resourceGroup?: string): Machine[] {
    return inGroup(this.#world(subscription).machines, resourceGroup)
      .filter((vm) => this.#isThere([vm.name]))
      .map((vm) => this.#machine(subscription, vm));
  }

  /**
   * A VM that is listed, or one made up from its name: Linux in westus2 with the agent, unless the name contains
   * `missing` (no such VM), `windows`, `noagent` or `agentfailed`.
   */
  machine(subscription: string, resourceGroup: string, name: string): Machine | undefined {
    if (!this.#isThere([name])) return undefined;
    const known = this.machines(subscription, resourceGroup).find((vm) => same(vm.name, name));
    if (known) return known;
    const word = name.toLowerCase();
    if (!this.hasSubscription(subscription) || word.includes('missing')) return undefined;
    const windows = word.includes('windows') ? { windows: true as const } : {};
    return this.#machine(subscription, { resourceGroup, name, region: REGION_OF_OTHERS, tags: {}, ...windows });
  }

  scaleSets(subscription: string, resourceGroup?: string): ScaleSet[] {
    return inGroup(this.#world(subscription).scaleSets, resourceGroup)
      .filter((set) => this.#isThere([set.name]))
      .map((set) => this.#scaleSet(subscription, set));
  }

  /** A scale set that is listed, or one made up from its name as {@link machine} does, with the instances 0, 1 and 2. */
  scaleSet(subscription: string, resourceGroup: string, name: string): ScaleSet | undefined {
    if (!this.#isThere([name])) return undefined;
    const known = this.scaleSets(subscription, resourceGroup).find((set) => same(set.name, name));
    if (known) return known;
    const word = name.toLowerCase();
    if (!this.hasSubscription(subscription) || word.includes('missing')) return undefined;
    const windows = word.includes('windows') ? { windows: true as const } : {};
    const instances = ['0', '1', '2'];
    const tags = {};
    return this.#scaleSet(subscription, {
      resourceGroup,
      name,
      region: REGION_OF_OTHERS,
      instances,
      tags,
      ...windows,
    });
  }

  /** Extensions that are put on a machine replace those that it had. */
  install(vm: Machine, extension: Extension): void {
    const others = vm.extensions.filter((each) => !same(each.name, extension.name));
    this.#state.content.extensions[vm.id.toLowerCase()] = [...others, extension];
  }

  #world(subscription: string): World {
    return worldOf(this.#subscriptions.findIndex((each) => same(each, subscription)));
  }

  #isThere(names: string[]): boolean {
    return faultsOf(this.#state.content.faults, names).machine === 'present';
  }

  #machine(subscription: string, vm: World['machines'][number]): Machine {
    const place = placed(subscription, 'Microsoft.Compute/virtualMachines', vm);
    const os = vm.windows ? 'Windows' : 'Linux';
    const installed = this.#state.content.extensions[place.id.toLowerCase()];
    return {
      ...place,
      computerName: vm.computerName ?? vm.name,
      os,
      tags: vm.tags,
      extensions: installed ?? agentByName(vm.name, os),
    };
  }

  #scaleSet(subscription: string, set: World['scaleSets'][number]): ScaleSet {
    const os = set.windows ? 'Windows' : 'Linux';
    return {
      ...placed(subscription, 'Microsoft.Compute/virtualMachineScaleSets', set),
      os,
      tags: set.tags,
      extensions: set.withoutAgent ? [] : agentByName(set.name, os),
      instances: set.instances.filter((instance) => this.#isThere([set.name, `${set.name}/${instance}`])),
    };
  }
}

/** The Network Watcher agent is known by publisher and type; its extension may have any name. */
export function agentOf(vm: { extensions: Extension[] }): Extension | undefined {
  return vm.extensions.find(
    (extension) =>
      same(extension.publisher, 'Microsoft.Azure.NetworkWatcher') && /^NetworkWatcherAgent/i.test(extension.type),
  );
}

function agentByName(name: string, os: Os): Extension[] {
  const word = name.toLowerCase();
  if (word.includes('noagent')) return [];
  const agent: Extension = {
    name: 'ops-network-agent',
    publisher: 'Microsoft.Azure.NetworkWatcher',
    type: `NetworkWatcherAgent${os}`,
    typeHandlerVersion: '1.4',
    autoUpgradeMinorVersion: true,
    provisioningState: word.includes('agentfailed') ? 'Failed' : 'Succeeded',
  };
  return [agent];
}

function placed(
  subscription: string,
  type: string,
  { resourceGroup, name, region }: { resourceGroup: string; name: string; region: string },
): Placed {
  const id = `/subscriptions/${subscription}/resourceGroups/${resourceGroup}/providers/${type}/${name}`;
  return { subscription, resourceGroup, name, region, id };
}

function inGroup<T extends { resourceGroup: string }>(all: T[], resourceGroup: string | undefined): T[] {
  return all.filter((each) => resourceGroup === undefined || same(each.resourceGroup, resourceGroup));
}

function same(a: string, b: string): boolean {
  return a.toLowerCase() === b.toLowerCase();
}
