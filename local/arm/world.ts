/** What there is in the emulated cloud, in the first subscription and in every further one. Shown in docs/sandbox.md. */
export type World = {
  watchers: { region: string; resourceGroup: string; name: string }[];
  machines: {
    resourceGroup: string;
    name: string;
    region: string;
    /** Where it is not the name. */
    computerName?: string;
    windows?: true;
    tags: Record<string, string>;
  }[];
  scaleSets: {
    resourceGroup: string;
    name: string;
    region: string;
    instances: string[];
    windows?: true;
    withoutAgent?: true;
    tags: Record<string, string>;
  }[];
};

// Some watchers have neither the usual name nor the usual group: watchers must be found by listing.
const FIRST: World = {
  watchers: [
    { region: 'westus2', resourceGroup: 'NetworkWatcherRG', name: 'NetworkWatcher_westus2' },
    { region: 'westeurope', resourceGroup: 'rg-network-ops', name: 'nw-weu-ops' },
    { region: 'eastus', resourceGroup: 'NetworkWatcherRG', name: 'NetworkWatcher_eastus' },
  ],
  machines: [
    { resourceGroup: 'rg-shop', name: 'web01', region: 'westus2', tags: { env: 'prod', role: 'web' } },
    { resourceGroup: 'rg-shop', name: 'web02', region: 'westus2', tags: { env: 'prod', role: 'web' } },
    { resourceGroup: 'rg-shop', name: 'db01', region: 'westeurope', tags: { env: 'prod', role: 'db' } },
    {
      resourceGroup: 'rg-blue',
      name: 'orders-blue',
      region: 'westus2',
      computerName: 'orders',
      tags: { env: 'prod', role: 'orders' },
    },
    {
      resourceGroup: 'rg-green',
      name: 'orders-green',
      region: 'westus2',
      computerName: 'orders',
      tags: { env: 'prod', role: 'orders' },
    },
    {
      resourceGroup: 'rg-office',
      name: 'win01',
      region: 'eastus',
      computerName: 'DESK-0117',
      windows: true,
      tags: { env: 'test', role: 'desk' },
    },
  ],
  scaleSets: [
    {
      resourceGroup: 'rg-shop',
      name: 'frontend',
      region: 'westus2',
      instances: ['0', '1', '2'],
      tags: { env: 'prod', role: 'web' },
    },
    {
      resourceGroup: 'rg-shop',
      name: 'batch',
      region: 'westus2',
      instances: ['0', '1'],
      withoutAgent: true,
      tags: { env: 'prod', role: 'batch' },
    },
    {
      resourceGroup: 'rg-office',
      name: 'kiosk',
      region: 'eastus',
      instances: ['0', '3'],
      windows: true,
      tags: { env: 'test', role: 'desk' },
    },
  ],
};

const FURTHER: World = {
  watchers: [
    { region: 'westus2', resourceGroup: 'rg-lab-net', name: 'lab-watcher-west' },
    { region: 'northeurope', resourceGroup: 'NetworkWatcherRG', name: 'NetworkWatcher_northeurope' },
  ],
  machines: [
    { resourceGroup: 'rg-lab', name: 'lab01', region: 'northeurope', tags: { env: 'test', role: 'lab' } },
    // No watcher is in its region.
    { resourceGroup: 'rg-lab', name: 'edge01', region: 'uksouth', tags: { env: 'test', role: 'edge' } },
  ],
  scaleSets: [
    {
      resourceGroup: 'rg-lab',
      name: 'probe',
      region: 'northeurope',
      instances: ['0', '1'],
      tags: { env: 'test', role: 'lab' },
    },
  ],
};

/** @param position of the subscription among all of them */
export function worldOf(position: number): World {
  return position === 0 ? FIRST : FURTHER;
}
