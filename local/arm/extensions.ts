import { invalidParameter, type Answer } from './answer.ts';
import { faultsOf } from './faults.ts';
import type { Extension, Inventory, Machine } from './inventory.ts';
import { log } from './log.ts';
import { extensionResource } from './machines.ts';
import type { Operations, Origin } from './operations.ts';
import type { State } from './state.ts';

/** Puts extensions on VMs, as recorded: the agent can be installed where it is missing. */
export class Extensions {
  readonly #state: State;
  readonly #operations: Operations;
  readonly #inventory: Inventory;
  readonly #installMs: number;

  constructor(state: State, operations: Operations, inventory: Inventory, installMs: number) {
    this.#state = state;
    this.#operations = operations;
    this.#inventory = inventory;
    this.#installMs = installMs;
  }

  put(vm: Machine, name: string, body: unknown, origin: Origin): Answer {
    const given = (body as { properties?: Record<string, unknown> } | undefined)?.properties ?? {};
    // GUESS: that the others are refused like the type, for which it is recorded.
    for (const member of ['publisher', 'type', 'typeHandlerVersion'] as const) {
      if (typeof given[member] !== 'string' || given[member] === '') return invalidParameter(member);
    }
    const before = vm.extensions.find((each) => each.name.toLowerCase() === name.toLowerCase());
    const extension: Extension = {
      name,
      publisher: String(given['publisher']),
      type: String(given['type']),
      typeHandlerVersion: String(given['typeHandlerVersion']),
      autoUpgradeMinorVersion: given['autoUpgradeMinorVersion'] === true,
      // GUESS: what an extension that was there is answered with.
      provisioningState: before ? 'Updating' : 'Creating',
    };
    this.#inventory.install(vm, extension);
    const { operationSeconds } = faultsOf(this.#state.content.faults, [vm.name]);
    const operation = this.#operations.add({
      kind: 'install',
      subscription: vm.subscription,
      region: vm.region,
      apiVersion: origin.apiVersion,
      resource: `${vm.id}/extensions/${name}`,
      names: [vm.name],
      dueAt: Date.now() + (operationSeconds === null ? this.#installMs : operationSeconds * 1000),
    });
    this.#state.save();
    return {
      status: before ? 200 : 201,
      headers: this.#operations.computeHeaders(operation, origin),
      body: extensionResource(vm, extension),
    };
  }

  /** Completes what is due. To be called all the time. */
  tick(now: number): void {
    for (const operation of this.#operations.open()) {
      if (operation.kind !== 'install' || operation.dueAt > now) continue;
      if (faultsOf(this.#state.content.faults, operation.names).hold) continue;
      const [, , , , resourceGroup = '', , , , machine = '', , name = ''] = operation.resource.split('/');
      const vm = this.#inventory.machine(operation.subscription, resourceGroup, machine);
      const extension = vm?.extensions.find((each) => each.name === name);
      // GUESS: an agent that failed fails again.
      const failed = machine.toLowerCase().includes('agentfailed');
      if (vm && extension) {
        this.#inventory.install(vm, { ...extension, provisioningState: failed ? 'Failed' : 'Succeeded' });
      }
      operation.status = failed || !extension ? 'Failed' : 'Succeeded';
      if (operation.status === 'Failed') {
        const message = `VM has reported a failure when processing extension '${name}'.`;
        operation.error = { code: 'VMExtensionProvisioningError', message, details: [] };
      }
      operation.endedAt = now;
      this.#state.saveSoon();
      log('arm', `PUT extension ${name} on ${machine} -> ${operation.status}`);
    }
  }
}
