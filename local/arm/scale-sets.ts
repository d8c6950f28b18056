import type { Extension, ScaleSet } from './inventory.ts';
import { RUNNING, extensionProperties, imageOf, osConfiguration, uuidOf } from './machines.ts';

/**
 * Virtual machine scale sets and their instances as ARM shows them.
 *
 * GUESS: no recording has one. The members are those that Microsoft.Compute's documentation shows for scale sets in
 * uniform orchestration; where a VM has the same member, it looks as recorded there.
 */
export function scaleSetResource(set: ScaleSet): object {
  return {
    name: set.name,
    id: set.id,
    type: 'Microsoft.Compute/virtualMachineScaleSets',
    location: set.region,
    tags: set.tags,
    sku: { name: 'Standard_D2s_v3', tier: 'Standard', capacity: set.instances.length },
    properties: {
      singlePlacementGroup: true,
      orchestrationMode: 'Uniform',
      upgradePolicy: { mode: 'Manual' },
      virtualMachineProfile: {
        osProfile: {
          computerNamePrefix: set.name,
          adminUsername: 'deploy',
          ...osConfiguration(set.os),
          secrets: [],
          allowExtensionOperations: true,
          requireGuestProvisionSignal: true,
        },
        storageProfile: {
          osDisk: {
            osType: set.os,
            createOption: 'FromImage',
            caching: 'ReadWrite',
            managedDisk: { storageAccountType: 'Premium_LRS' },
            diskSizeGB: 30,
          },
          imageReference: imageOf(set.os),
        },
        networkProfile: { networkInterfaceConfigurations: [] },
        // A model without extensions has no such member.
        ...(set.extensions.length > 0 ? { extensionProfile: { extensions: set.extensions.map(ofModel) } } : {}),
      },
      provisioningState: 'Succeeded',
      overprovision: true,
      uniqueId: uuidOf(set.id),
      timeCreated: '2026-03-17T03:35:56.8946796+00:00',
    },
  };
}

/** @param instanceView whether `$expand=instanceView` was asked for */
export function instanceResource(set: ScaleSet, instance: string, instanceView: boolean): object {
  const id = `${set.id}/virtualMachines/${instance}`;
  return {
    name: `${set.name}_${instance}`,
    id,
    type: 'Microsoft.Compute/virtualMachineScaleSets/virtualMachines',
    location: set.region,
    tags: set.tags,
    instanceId: instance,
    sku: { name: 'Standard_D2s_v3', tier: 'Standard' },
    properties: {
      latestModelApplied: true,
      modelDefinitionApplied: 'VirtualMachineScaleSet',
      vmId: uuidOf(id),
      hardwareProfile: { vmSize: 'Standard_D2s_v3' },
      storageProfile: {
        imageReference: imageOf(set.os),
        osDisk: { osType: set.os, createOption: 'FromImage', caching: 'ReadWrite', diskSizeGB: 30 },
        dataDisks: [],
      },
      osProfile: {
        computerName: computerNameOf(set, instance),
        adminUsername: 'deploy',
        ...osConfiguration(set.os),
        secrets: [],
        allowExtensionOperations: true,
        requireGuestProvisionSignal: true,
      },
      networkProfile: { networkInterfaces: [{ id: `${id}/networkInterfaces/${set.name}Nic` }] },
      provisioningState: 'Succeeded',
      ...(instanceView ? { instanceView: RUNNING } : {}),
      timeCreated: '2026-03-17T03:35:56.8946796+00:00',
    },
    // An instance shows the extensions that were put on it; here it always follows the model.
    ...(set.extensions.length > 0
      ? { resources: set.extensions.map((extension) => ofInstance(set, id, extension)) }
      : {}),
  };
}

/** As Azure names the machines of a scale set: the prefix and the instance's number to base 36, in six digits. */
function computerNameOf(set: ScaleSet, instance: string): string {
  return `${set.name}${Number(instance).toString(36).toUpperCase().padStart(6, '0')}`;
}

function ofModel(extension: Extension): object {
  const { autoUpgradeMinorVersion, publisher, type, typeHandlerVersion, provisioningState } = extension;
  return {
    name: extension.name,
    properties: { autoUpgradeMinorVersion, provisioningState, publisher, type, typeHandlerVersion, settings: {} },
  };
}

function ofInstance(set: ScaleSet, id: string, extension: Extension): object {
  return {
    name: extension.name,
    id: `${id}/extensions/${extension.name}`,
    type: 'Microsoft.Compute/virtualMachineScaleSets/virtualMachines/extensions',
    location: set.region,
    properties: extensionProperties(extension),
  };
}
