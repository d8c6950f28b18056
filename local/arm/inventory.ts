import { createHash } from 'node:crypto';

/** The fixed world: one watcher per region, a few named VMs, and any other VM that somebody asks for. */
export type Watcher = { subscription: string; resourceGroup: string; name: string; region: string; id: string };

export type Machine = {
  id: string;
  subscription: string;
  resourceGroup: string;
  name: string;
  region: string;
  os: 'Linux' | 'Windows';
  tags: Record<string, string>;
  extensions: Extension[];
};

export type Extension = {
  name: string;
  publisher: string;
  type: string;
  typeHandlerVersion: string;
  provisioningState: 'Succeeded' | 'Failed';
};

// The watcher of westeurope has neither the usual name nor the usual group: watchers must be found by listing.
const WATCHERS = [
  { region: 'westus2', resourceGroup: 'NetworkWatcherRG', name: 'NetworkWatcher_westus2' },
  { region: 'westeurope', resourceGroup: 'rg-network-ops', name: 'nw-weu-ops' },
  { region: 'eastus', resourceGroup: 'NetworkWatcherRG', name: 'NetworkWatcher_eastus' },
];

const MACHINES = [
  { resourceGroup: 'rg-shop', name: 'web01', region: 'westus2', os: 'Linux', tags: { env: 'prod', role: 'web' } },
  { resourceGroup: 'rg-shop', name: 'web02', region: 'westus2', os: 'Linux', tags: { env: 'prod', role: 'web' } },
  { resourceGroup: 'rg-shop', name: 'db01', region: 'westeurope', os: 'Linux', tags: { env: 'prod', role: 'db' } },
  { resourceGroup: 'rg-office', name: 'win01', region: 'eastus', os: 'Windows', tags: { env: 'test', role: 'desk' } },
] as const;

export class Inventory {
  readonly #subscriptions: string[];

  constructor(subscriptions: string[]) {
    this.#subscriptions = subscriptions;
  }

  hasSubscription(id: string): boolean {
    return this.#subscriptions.some((subscription) => same(subscription, id));
  }

  watchers(subscription: string, resourceGroup?: string): Watcher[] {
    return WATCHERS.filter((watcher) => resourceGroup === undefined || same(watcher.resourceGroup, resourceGroup)).map(
      (watcher) => ({
        ...watcher,
        subscription,
        id: `/subscriptions/${subscription}/resourceGroups/${watcher.resourceGroup}/providers/Microsoft.Network/networkWatchers/${watcher.name}`,
      }),
    );
  }

  watcher(subscription: string, resourceGroup: string, name: string): Watcher | undefined {
    return this.watchers(subscription, resourceGroup).find((watcher) => same(watcher.name, name));
  }

  machines(subscription: string, resourceGroup?: string): Machine[] {
    return MACHINES.filter((vm) => resourceGroup === undefined || same(vm.resourceGroup, resourceGroup)).map((vm) =>
      machine(subscription, vm.resourceGroup, vm.name, vm.region, vm.os, vm.tags),
    );
  }

  /**
   * A VM of the inventory, or one made up from its name: Linux in westus2 with the agent, unless the name contains
   * `missing` (no such VM), `windows`, `noagent` or `agentfailed`.
   */
  machine(subscription: string, resourceGroup: string, name: string): Machine | undefined {
    const known = this.machines(subscription, resourceGroup).find((vm) => same(vm.name, name));
    if (known) return known;
    const word = name.toLowerCase();
    if (!this.hasSubscription(subscription) || word.includes('missing')) return undefined;
    return machine(subscription, resourceGroup, name, 'westus2', word.includes('windows') ? 'Windows' : 'Linux', {});
  }
}

/** The Network Watcher agent is known by publisher and type; its extension may have any name. */
export function agentOf(vm: Machine): Extension | undefined {
  return vm.extensions.find(
    (extension) =>
      extension.publisher === 'Microsoft.Azure.NetworkWatcher' && extension.type.startsWith('NetworkWatcherAgent'),
  );
}

/** The watcher as recorded. @param etag renewed by every change of a child */
export function watcherResource(watcher: Watcher, etag: string): object {
  return {
    name: watcher.name,
    id: watcher.id,
    etag,
    type: 'Microsoft.Network/networkWatchers',
    location: watcher.region,
    properties: { provisioningState: 'Succeeded', runningOperationIds: [] },
  };
}

/** The VM as recorded 2026-03. @param instanceView whether `$expand=instanceView` was asked for */
export function machineResource(vm: Machine, instanceView: boolean): object {
  const disk = `${vm.name}_OsDisk_1_${digest(vm.id).slice(0, 32)}`;
  const inGroup = `/subscriptions/${vm.subscription}/resourceGroups/${vm.resourceGroup}/providers`;
  const image =
    vm.os === 'Linux'
      ? { publisher: 'Canonical', offer: 'UbuntuServer', sku: '16.04-LTS' }
      : { publisher: 'MicrosoftWindowsServer', offer: 'WindowsServer', sku: '2022-datacenter' };
  const exactVersion = vm.os === 'Linux' ? '16.04.202109281' : '20348.2.1';
  return {
    name: vm.name,
    id: vm.id,
    type: 'Microsoft.Compute/virtualMachines',
    location: vm.region,
    tags: vm.tags,
    properties: {
      hardwareProfile: { vmSize: 'Standard_D2s_v3' },
      provisioningState: 'Succeeded',
      vmId: uuidOf(vm.id),
      storageProfile: {
        imageReference: { ...image, version: 'latest', exactVersion },
        osDisk: {
          osType: vm.os,
          name: disk,
          createOption: 'FromImage',
          caching: 'ReadWrite',
          managedDisk: { storageAccountType: 'Premium_LRS', id: `${inGroup}/Microsoft.Compute/disks/${disk}` },
          deleteOption: 'Detach',
          diskSizeGB: 30,
        },
        dataDisks: [],
      },
      osProfile: {
        computerName: vm.name,
        adminUsername: 'deploy',
        ...(vm.os === 'Linux'
          ? {
              linuxConfiguration: {
                disablePasswordAuthentication: false,
                provisionVMAgent: true,
                patchSettings: { patchMode: 'ImageDefault', assessmentMode: 'ImageDefault' },
              },
            }
          : { windowsConfiguration: { provisionVMAgent: true, enableAutomaticUpdates: true } }),
        secrets: [],
        allowExtensionOperations: true,
        requireGuestProvisionSignal: true,
      },
      networkProfile: {
        networkInterfaces: [{ id: `${inGroup}/Microsoft.Network/networkInterfaces/${vm.name}VMNic` }],
      },
      ...(instanceView
        ? {
            instanceView: {
              statuses: [
                { code: 'ProvisioningState/succeeded', level: 'Info', displayStatus: 'Provisioning succeeded' },
                { code: 'PowerState/running', level: 'Info', displayStatus: 'VM running' },
              ],
            },
          }
        : {}),
      timeCreated: '2026-03-17T03:35:56.8946796+00:00',
    },
    etag: '"2"',
    // A VM without extensions has no such member.
    ...(vm.extensions.length > 0
      ? { resources: vm.extensions.map((extension) => extensionResource(vm, extension)) }
      : {}),
  };
}

export function extensionResource(vm: Machine, extension: Extension): object {
  return {
    name: extension.name,
    id: `${vm.id}/extensions/${extension.name}`,
    type: 'Microsoft.Compute/virtualMachines/extensions',
    location: vm.region,
    properties: {
      autoUpgradeMinorVersion: true,
      provisioningState: extension.provisioningState,
      publisher: extension.publisher,
      type: extension.type,
      typeHandlerVersion: extension.typeHandlerVersion,
    },
  };
}

function machine(
  subscription: string,
  resourceGroup: string,
  name: string,
  region: string,
  os: Machine['os'],
  tags: Record<string, string>,
): Machine {
  const word = name.toLowerCase();
  const agent: Extension = {
    name: 'ops-network-agent',
    publisher: 'Microsoft.Azure.NetworkWatcher',
    type: `NetworkWatcherAgent${os}`,
    typeHandlerVersion: '1.4',
    provisioningState: word.includes('agentfailed') ? 'Failed' : 'Succeeded',
  };
  return {
    id: `/subscriptions/${subscription}/resourceGroups/${resourceGroup}/providers/Microsoft.Compute/virtualMachines/${name}`,
    subscription,
    resourceGroup,
    name,
    region,
    os,
    tags,
    extensions: word.includes('noagent') ? [] : [agent],
  };
}

function same(a: string, b: string): boolean {
  return a.toLowerCase() === b.toLowerCase();
}

function digest(id: string): string {
  return createHash('sha256').update(id.toLowerCase()).digest('hex');
}

function uuidOf(id: string): string {
  return digest(id).replace(/^(.{8})(.{4}).(.{3}).(.{3})(.{12}).*$/, '$1-$2-4$3-8$4-$5');
}
