import { createHash } from 'node:crypto';
import type { Extension, Machine, Os, Watcher } from './inventory.ts';

/** Resources as ARM shows them: watchers, VMs and their extensions, as recorded. */

/** @param etag renewed by every change of a child */
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
        imageReference: imageOf(vm.os),
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
        computerName: vm.computerName,
        adminUsername: 'deploy',
        ...osConfiguration(vm.os),
        secrets: [],
        allowExtensionOperations: true,
        requireGuestProvisionSignal: true,
      },
      networkProfile: {
        networkInterfaces: [{ id: `${inGroup}/Microsoft.Network/networkInterfaces/${vm.name}VMNic` }],
      },
      ...(instanceView ? { instanceView: RUNNING } : {}),
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
    properties: extensionProperties(extension),
  };
}

export function extensionProperties(extension: Extension): object {
  return {
    autoUpgradeMinorVersion: extension.autoUpgradeMinorVersion,
    provisioningState: extension.provisioningState,
    publisher: extension.publisher,
    type: extension.type,
    typeHandlerVersion: extension.typeHandlerVersion,
  };
}

export function imageOf(os: Os): object {
  return os === 'Linux'
    ? {
        publisher: 'Canonical',
        offer: 'UbuntuServer',
        sku: '16.04-LTS',
        version: 'latest',
        exactVersion: '16.04.202109281',
      }
    : {
        publisher: 'MicrosoftWindowsServer',
        offer: 'WindowsServer',
        sku: '2022-datacenter',
        version: 'latest',
        exactVersion: '20348.2.1',
      };
}

export function osConfiguration(os: Os): object {
  return os === 'Linux'
    ? {
        linuxConfiguration: {
          disablePasswordAuthentication: false,
          provisionVMAgent: true,
          patchSettings: { patchMode: 'ImageDefault', assessmentMode: 'ImageDefault' },
        },
      }
    : { windowsConfiguration: { provisionVMAgent: true, enableAutomaticUpdates: true } };
}

export const RUNNING = {
  statuses: [
    { code: 'ProvisioningState/succeeded', level: 'Info', displayStatus: 'Provisioning succeeded' },
    { code: 'PowerState/running', level: 'Info', displayStatus: 'VM running' },
  ],
};

/** An id that is always the same for the same resource. */
export function uuidOf(id: string): string {
  return digest(id).replace(/^(.{8})(.{4}).(.{3}).(.{3})(.{12}).*$/, '$1-$2-4$3-8$4-$5');
}

function digest(id: string): string {
  return createHash('sha256').update(id.toLowerCase()).digest('hex');
}
