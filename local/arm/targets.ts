import type { Inventory } from './inventory.ts';
import { namesOf, type Parameters } from './parameters.ts';

/** Where a capture runs: the VM, one instance of a scale set, or all those of the scale set that are in the scope. */
export type TargetMachine = {
  /** ARM id, in the target's letter case. */
  id: string;
  /** By which faults name it; see faults.ts. */
  names: string[];
  exists: boolean;
};

/** An instance that is named in the scope and does not exist is accepted silently, as observed. */
export function machinesOf({ target, scope }: Parameters, inventory: Inventory): TargetMachine[] {
  const { subscription, resourceGroup, name, instance } = target;
  if (target.type === 'AzureVM') {
    const exists = inventory.machine(subscription, resourceGroup, name) !== undefined;
    return [{ id: target.id, names: namesOf(target), exists }];
  }
  const there = inventory.scaleSet(subscription, resourceGroup, name)?.instances ?? [];
  if (instance !== undefined) return [{ id: target.id, names: namesOf(target), exists: there.includes(instance) }];
  const excluded = scope.exclude.map(instanceOf);
  const wanted = scope.include.length > 0 ? scope.include.map(instanceOf) : there;
  return wanted
    .filter((each) => !excluded.includes(each))
    .map((each) => ({
      id: `${target.id}/virtualMachines/${each}`,
      names: [name, `${name}/${each}`],
      exists: there.includes(each),
    }));
}

/** The number of an instance, from its ARM id. */
function instanceOf(id: string): string {
  return id.slice(id.lastIndexOf('/') + 1);
}
