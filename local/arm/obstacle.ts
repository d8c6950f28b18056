import { agentOf, type Inventory, type Watcher } from './inventory.ts';
import type { Parameters, Target } from './parameters.ts';

/** The error of a create that was accepted. */
export type Obstacle = { code: string; message: string };

/**
 * Why a capture cannot start.
 *
 * GUESS: all of it. That such a create is accepted and then fails, leaving the resource as Failed, is how the
 * captures look that did fail; the codes are made up, and so is that the region must be the watcher's.
 */
export function obstacle(parameters: Parameters, watcher: Watcher, inventory: Inventory): Obstacle | undefined {
  const { target } = parameters;
  if (!parameters.filtersUnderstood) return { code: 'InvalidFilter', message: 'A filter value is malformed.' };
  if (!inventory.hasSubscription(target.subscription)) return missing(target);
  const found =
    target.type === 'AzureVM'
      ? inventory.machine(target.subscription, target.resourceGroup, target.name)
      : inventory.scaleSet(target.subscription, target.resourceGroup, target.name);
  if (!found) return missing(target);
  if (target.instance !== undefined && 'instances' in found && !found.instances.includes(target.instance)) {
    return missing(target);
  }
  if (found.region !== watcher.region) {
    return { code: 'TargetNotInRegion', message: `Target ${target.id} is not in region ${watcher.region}.` };
  }
  if (agentOf(found)?.provisioningState !== 'Succeeded') {
    return { code: 'NetworkWatcherAgentNotReady', message: `The agent is not installed or failed on ${target.id}.` };
  }
  return undefined;
}

function missing(target: Target): Obstacle {
  return { code: 'ResourceNotFound', message: `The resource ${target.id} was not found.` };
}
