import { notFound, ok, resourceNotFound, type Answer } from './answer.ts';
import { watcherNotFound, type Captures } from './captures.ts';
import {
  extensionResource,
  machineResource,
  watcherResource,
  type Inventory,
  type Machine,
  type Watcher,
} from './inventory.ts';
import type { Operations, Origin } from './operations.ts';
import { Router, type Params } from './router.ts';

type Call = { path: string; params: Params; query: URLSearchParams; body: unknown; origin: Origin };
export type Handler = (call: Call) => Answer;

const GROUP = '/subscriptions/{subscription}/resourceGroups/{resourceGroup}';
const WATCHERS = 'providers/Microsoft.Network/networkWatchers';
const MACHINES = 'providers/Microsoft.Compute/virtualMachines';
const CAPTURES = `${GROUP}/${WATCHERS}/{watcher}/packetCaptures`;
const LOCATION = '/subscriptions/{subscription}/providers/Microsoft.Network/locations/{region}';

/** The part of Azure Resource Manager that is emulated, call by call. */
export function armRoutes(inventory: Inventory, captures: Captures, operations: Operations): Router<Handler> {
  const shown = (watcher: Watcher) => watcherResource(watcher, captures.etag(watcher.id.toLowerCase()));

  const onWatcher =
    (act: (watcher: Watcher, call: Call) => Answer): Handler =>
    (call) => {
      const { subscription = '', resourceGroup = '', watcher: name = '' } = call.params;
      const watcher = inventory.watcher(subscription, resourceGroup, name);
      return watcher ? act(watcher, call) : watcherNotFound(resourceGroup, name);
    };
  const onCapture = (act: (watcher: Watcher, name: string, call: Call) => Answer): Handler =>
    onWatcher((watcher, call) => act(watcher, call.params['capture'] ?? '', call));
  const onMachine =
    (act: (vm: Machine, call: Call) => Answer): Handler =>
    (call) => {
      const { subscription = '', resourceGroup = '', vm: name = '' } = call.params;
      const vm = inventory.machine(subscription, resourceGroup, name);
      return vm ? act(vm, call) : resourceNotFound('Microsoft.Compute/virtualMachines', name, resourceGroup);
    };
  const watcherList: Handler = ({ params }) =>
    ok({ value: inventory.watchers(params['subscription'] ?? '', params['resourceGroup']).map(shown) });
  const machineList: Handler = ({ params }) => {
    const machines = inventory.machines(params['subscription'] ?? '', params['resourceGroup']);
    // GUESS: that a list shows each VM as the GET of one does.
    return ok({ value: machines.map((vm) => machineResource(vm, false)) });
  };

  return new Router<Handler>()
    .add('GET', `/subscriptions/{subscription}/${WATCHERS}`, watcherList)
    .add('GET', `${GROUP}/${WATCHERS}`, watcherList)
    .add(
      'GET',
      `${GROUP}/${WATCHERS}/{watcher}`,
      onWatcher((watcher) => ok(shown(watcher))),
    )
    .add('GET', `/subscriptions/{subscription}/${MACHINES}`, machineList)
    .add('GET', `${GROUP}/${MACHINES}`, machineList)
    .add(
      'GET',
      `${GROUP}/${MACHINES}/{vm}`,
      onMachine((vm, { query }) =>
        ok(machineResource(vm, query.get('$expand')?.toLowerCase() === 'instanceview'), { etag: '"2"' }),
      ),
    )
    .add(
      'GET',
      `${GROUP}/${MACHINES}/{vm}/extensions`,
      onMachine((vm) => ok({ value: vm.extensions.map((extension) => extensionResource(vm, extension)) })),
    )
    .add(
      'GET',
      `${GROUP}/${MACHINES}/{vm}/extensions/{extension}`,
      onMachine((vm, { params }) => {
        const name = params['extension'] ?? '';
        const extension = vm.extensions.find((each) => each.name.toLowerCase() === name.toLowerCase());
        return extension
          ? ok(extensionResource(vm, extension))
          : resourceNotFound('Microsoft.Compute/virtualMachines', `${vm.name}/extensions/${name}`, vm.resourceGroup);
      }),
    )
    .add(
      'GET',
      CAPTURES,
      onWatcher((watcher) => captures.list(watcher)),
    )
    .add(
      'GET',
      `${CAPTURES}/{capture}`,
      onCapture((watcher, name) => captures.get(watcher, name)),
    )
    .add(
      'PUT',
      `${CAPTURES}/{capture}`,
      onCapture((watcher, name, { body, origin }) => captures.create(watcher, name, body, origin)),
    )
    .add(
      'DELETE',
      `${CAPTURES}/{capture}`,
      onCapture((watcher, name, { origin }) => captures.delete(watcher, name, origin)),
    )
    .add(
      'POST',
      `${CAPTURES}/{capture}/stop`,
      onCapture((watcher, name, { origin }) => captures.stop(watcher, name, origin)),
    )
    .add(
      'POST',
      `${CAPTURES}/{capture}/queryStatus`,
      onCapture((watcher, name, { origin }) => captures.queryStatus(watcher, name, origin)),
    )
    .add('GET', `${LOCATION}/operations/{id}`, ({ params, path }) => operations.poll(params['id'] ?? '', path))
    .add('GET', `${LOCATION}/operationResults/{id}`, ({ params, path, origin }) =>
      operations.result(params['id'] ?? '', path, origin),
    );
}

/** GUESS: a path that is none of the above. */
export const noRoute: Handler = ({ path }) => notFound(path);
