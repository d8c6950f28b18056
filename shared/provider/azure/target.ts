import { toRegion } from '../../config.ts';
import { ProviderError } from '../provider.ts';
import type { Arm } from './arm.ts';
import type { MachineId } from './arm-id.ts';
import { armCode, isNotFound, toProviderError } from './errors.ts';

/** What a machine's or a scale set's GET tells that matters here. */
type MachineBody = {
  location?: string;
  resources?: Extension[];
  properties?: { virtualMachineProfile?: { extensionProfile?: { extensions?: Extension[] } } };
} | null;
type Extension = { properties?: { publisher?: string; type?: string; provisioningState?: string } };

const kinds = { vm: 'Virtual machine', 'scale-set': 'Scale set', instance: 'Scale set instance' } as const;

/** Looks a target up: its region. Throws `target-not-found`, and `agent-missing` or `agent-failed` when no capture can start on it. */
export async function lookUpMachine(arm: Arm, machine: MachineId, signal: AbortSignal): Promise<{ region: string }> {
  switch (machine.kind) {
    case 'vm': {
      const body = await read(arm, machine, machine.id, signal);
      checkAgent(machine, findAgent(body?.resources ?? []) ?? findAgent(await extensions(arm, machine, signal)));
      return { region: toRegion(body?.location) };
    }
    case 'scale-set': {
      const body = await read(arm, machine, machine.id, signal);
      checkModel(machine, body);
      return { region: toRegion(body?.location) };
    }
    case 'instance': {
      const [body, scaleSet] = await Promise.all([
        read(arm, machine, machine.id, signal),
        read(arm, machine, machine.scaleSet ?? '', signal),
      ]);
      const agent = findAgent(body?.resources ?? []);
      if (agent) checkAgent(machine, agent);
      else checkModel(machine, scaleSet);
      return { region: toRegion(body?.location ?? scaleSet?.location) };
    }
  }
}

/** Whether the machine is there; an answer that is not to be had is an error. */
export async function machineExists(arm: Arm, machine: MachineId, signal: AbortSignal): Promise<boolean> {
  try {
    await read(arm, machine, machine.id, signal);
    return true;
  } catch (error) {
    if (error instanceof ProviderError && error.code === 'target-not-found') return false;
    throw error;
  }
}

/** Which of these instance ids a scale set does not have. */
export async function missingInstances(
  arm: Arm,
  machine: MachineId,
  wanted: readonly string[],
  signal: AbortSignal,
): Promise<string[]> {
  if (wanted.length === 0) return [];
  try {
    const there = (await arm.listCompute(`${machine.id}/virtualMachines`, signal)) as { instanceId?: string }[];
    const ids = new Set(there.map(({ instanceId }) => instanceId?.toLowerCase()));
    return wanted.filter((id) => !ids.has(id.toLowerCase()));
  } catch (error) {
    throw toProviderError(`list the instances of ${machine.name}`, error);
  }
}

async function read(arm: Arm, machine: MachineId, id: string, signal: AbortSignal): Promise<MachineBody> {
  try {
    return (await arm.getCompute(id, signal)) as MachineBody;
  } catch (error) {
    if (isNotFound(error) || armCode(error) === 'ResourceGroupNotFound') {
      const where = `resource group ${machine.resourceGroup}`;
      throw new ProviderError('target-not-found', `${describe(machine)} was not found in ${where}`, error);
    }
    throw toProviderError(`read ${describe(machine)}`, error);
  }
}

function describe({ kind, id, name }: MachineId): string {
  return kind === 'instance' ? `${kinds[kind]} ${id.split('/').at(-1)} of ${name}` : `${kinds[kind]} ${name}`;
}

async function extensions(arm: Arm, machine: MachineId, signal: AbortSignal): Promise<Extension[]> {
  try {
    const list = (await arm.getCompute(`${machine.id}/extensions`, signal)) as { value?: Extension[] } | null;
    return list?.value ?? [];
  } catch (error) {
    throw toProviderError(`list the extensions of ${machine.name}`, error);
  }
}

/** The extension's name is free; only publisher and type tell what it is. */
function findAgent(list: Extension[]): Extension | undefined {
  return list.find(
    ({ properties: p }) =>
      p?.publisher?.toLowerCase() === 'microsoft.azure.networkwatcher' &&
      /^networkwatcheragent(linux|windows)$/i.test(p.type ?? ''),
  );
}

/** A set in flexible orchestration may have no model of its machines; what they have installed is then not known here. */
function checkModel(machine: MachineId, scaleSet: MachineBody): void {
  const profile = scaleSet?.properties?.virtualMachineProfile;
  if (profile) checkAgent(machine, findAgent(profile.extensionProfile?.extensions ?? []));
}

function checkAgent(machine: MachineId, agent: Extension | undefined): void {
  if (!agent) {
    const where = machine.kind === 'vm' ? '' : ' in its model';
    throw new ProviderError(
      'agent-missing',
      `${describe(machine)} has no Network Watcher agent extension${where} (publisher Microsoft.Azure.NetworkWatcher)`,
    );
  }
  if (agent.properties?.provisioningState === 'Failed')
    throw new ProviderError(
      'agent-failed',
      `The Network Watcher agent extension of ${describe(machine)} is in state Failed`,
    );
}
