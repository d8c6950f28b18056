import { notFound, ok, resourceNotFound, type Answer } from './answer.ts';
import { watcherNotFound, type Captures } from './captures.ts';
import { etagOf } from './etags.ts';
import type { Extensions } from './extensions.ts';
import type { CallKind } from './faults.ts';
import type { Inventory, Machine, ScaleSet, Watcher } from './inventory.ts';
import { extensionResource, machineResource, watcherResource } from './machines.ts';
import type { Operations, Origin } from './operations.ts';
import { page } from './paging.ts';
import { targetNames } from './parameters.ts';
import { Router, type Params } from './router.ts';
import { instanceResource, scaleSetResource } from './scale-sets.ts';
import type { State } from './state.ts';

export type Call = { path: string; url: URL; params: Params; query: URLSearchParams; body: unknown; origin: Origin };

/** A call of the API: its kind and what it is about, for faults, and what it does. */
export type Route = { kind: CallKind; names: (call: Call) => string[]; act: (call: Call) => Answer };

/** The parts that answer. */
export type Parts = {
  state: State;
  inventory: Inventory;
  captures: Captures;
  extensions: Extensions;
  operations: Operations;
};

const GROUP = '/subscriptions/{subscription}/resourceGroups/{resourceGroup}';
const NETWORK = 'providers/Microsoft.Network';
const COMPUTE = 'providers/Microsoft.Compute';
const SUBSCRIPTION = '/subscriptions/{subscription}';
const WATCHERS = `${NETWORK}/networkWatchers`;
const MACHINES = `${COMPUTE}/virtualMachines`;
const SCALE_SETS = `${COMPUTE}/virtualMachineScaleSets`;
const CAPTURES = `${GROUP}/${WATCHERS}/{watcher}/packetCaptures`;
const CAPTURE = `${CAPTURES}/{capture}`;

/** Real pages are longer; these are short so that whoever reads lists follows links. */
const COMPUTE_PAGE = 2;

/** The part of Azure Resource Manager that is emulated, call by call. */
export function armRoutes(parts: Parts): Router<Route> {
  const router = new Router<Route>();
  const add = (
    kind: CallKind,
    method: string,
    pattern: string,
    act: Route['act'],
    names: Route['names'] = () => [],
  ): void => void router.add(method, pattern, { kind, names, act });
  watcherRoutes(parts, add);
  machineRoutes(parts, add);
  scaleSetRoutes(parts, add);
  captureRoutes(parts, add);
  operationRoutes(parts, add);
  return router;
}

/** GUESS: what a path is answered with that is none of the above. */
export function noRoute(path: string): Answer {
  return notFound(path);
}

type Add = (kind: CallKind, method: string, pattern: string, act: Route['act'], names?: Route['names']) => void;

function watcherRoutes({ state, inventory }: Parts, add: Add): void {
  const shown = (watcher: Watcher) => watcherResource(watcher, etagOf(state, watcher.id.toLowerCase()));
  const list = (call: Call) => {
    const { subscription = '', resourceGroup } = call.params;
    return page(inventory.watchers(subscription, resourceGroup).map(shown), sizeOfPage(state, Infinity), call);
  };
  add('watchers', 'GET', `${SUBSCRIPTION}/${WATCHERS}`, list);
  add('watchers', 'GET', `${GROUP}/${WATCHERS}`, list);
  const get = (watcher: Watcher) => ok(shown(watcher), { etag: etagOf(state, watcher.id.toLowerCase()) });
  add('watchers', 'GET', `${GROUP}/${WATCHERS}/{watcher}`, onWatcher(inventory, get));
}

function machineRoutes({ state, inventory, extensions }: Parts, add: Add): void {
  const names = ({ params }: Call) => [params['vm'] ?? ''];
  const on =
    (act: (vm: Machine, call: Call) => Answer): Route['act'] =>
    (call) => {
      const { subscription = '', resourceGroup = '', vm: name = '' } = call.params;
      const vm = inventory.machine(subscription, resourceGroup, name);
      return vm ? act(vm, call) : resourceNotFound('Microsoft.Compute/virtualMachines', name, resourceGroup);
    };
  const list = (call: Call) => {
    const { subscription = '', resourceGroup } = call.params;
    // GUESS: that a list shows each VM as the GET of one does.
    const machines = inventory.machines(subscription, resourceGroup).map((vm) => machineResource(vm, false));
    return page(machines, sizeOfPage(state, COMPUTE_PAGE), call);
  };
  const vm = `${GROUP}/${MACHINES}/{vm}`;
  add('machines', 'GET', `${SUBSCRIPTION}/${MACHINES}`, list);
  add('machines', 'GET', `${GROUP}/${MACHINES}`, list);
  const get = on((vm, { query }) => ok(machineResource(vm, wantsInstanceView(query)), { etag: '"2"', ...BUDGET.get }));
  add('machine', 'GET', vm, get, names);
  const listExtensions = on((vm) => ok({ value: vm.extensions.map((each) => extensionResource(vm, each)) }));
  add('extension', 'GET', `${vm}/extensions`, listExtensions, names);
  const getExtension = on((vm, { params }) => {
    const name = params['extension'] ?? '';
    const extension = vm.extensions.find((each) => each.name.toLowerCase() === name.toLowerCase());
    return extension
      ? ok(extensionResource(vm, extension), BUDGET.get)
      : resourceNotFound('Microsoft.Compute/virtualMachines', `${vm.name}/extensions/${name}`, vm.resourceGroup);
  });
  add('extension', 'GET', `${vm}/extensions/{extension}`, getExtension, names);
  const put = on((vm, { params, body, origin }) => {
    const answer = extensions.put(vm, params['extension'] ?? '', body, origin);
    return { ...answer, headers: { ...answer.headers, ...BUDGET.put } };
  });
  add('install', 'PUT', `${vm}/extensions/{extension}`, put, names);
}

function scaleSetRoutes({ state, inventory }: Parts, add: Add): void {
  const names = ({ params }: Call) => {
    const { set = '', instance } = params;
    return instance === undefined ? [set] : [set, `${set}/${instance}`];
  };
  const on =
    (act: (set: ScaleSet, call: Call) => Answer): Route['act'] =>
    (call) => {
      const { subscription = '', resourceGroup = '', set: name = '' } = call.params;
      const set = inventory.scaleSet(subscription, resourceGroup, name);
      return set ? act(set, call) : resourceNotFound('Microsoft.Compute/virtualMachineScaleSets', name, resourceGroup);
    };
  const list = (call: Call) => {
    const { subscription = '', resourceGroup } = call.params;
    const sets = inventory.scaleSets(subscription, resourceGroup).map(scaleSetResource);
    return page(sets, sizeOfPage(state, COMPUTE_PAGE), call);
  };
  const set = `${GROUP}/${SCALE_SETS}/{set}`;
  add('scale-sets', 'GET', `${SUBSCRIPTION}/${SCALE_SETS}`, list);
  add('scale-sets', 'GET', `${GROUP}/${SCALE_SETS}`, list);
  const get = on((set) => ok(scaleSetResource(set), BUDGET.get));
  add('scale-set', 'GET', set, get, names);
  const instances = on((set, call) => {
    const all = set.instances.map((each) => instanceResource(set, each, wantsInstanceView(call.query)));
    return page(all, sizeOfPage(state, COMPUTE_PAGE), call);
  });
  add('instances', 'GET', `${set}/virtualMachines`, instances, names);
  const instance = on((set, { params, query }) => {
    const number = params['instance'] ?? '';
    return set.instances.includes(number)
      ? ok(instanceResource(set, number, wantsInstanceView(query)), BUDGET.get)
      : // GUESS: Microsoft.Compute's own 404, by its documentation.
        notFoundInstance(set, number);
  });
  add('instances', 'GET', `${set}/virtualMachines/{instance}`, instance, names);
}

function captureRoutes({ state, inventory, captures }: Parts, add: Add): void {
  const names = (call: Call) => {
    const { subscription = '', resourceGroup = '', watcher: name = '', capture = '' } = call.params;
    const watcher = inventory.watcher(subscription, resourceGroup, name);
    const known = watcher ? captures.names(watcher, capture) : [];
    return known.length > 0 ? known : targetNames(call.body);
  };
  const on = (act: (watcher: Watcher, name: string, call: Call) => Answer): Route['act'] =>
    onWatcher(inventory, (watcher, call) => act(watcher, call.params['capture'] ?? '', call));
  const list = onWatcher(inventory, (watcher, call) =>
    page(captures.list(watcher, call.origin), sizeOfPage(state, Infinity), call),
  );
  add('list', 'GET', CAPTURES, list);
  const get = on((watcher, name, { origin }) => captures.get(watcher, name, origin));
  add('get', 'GET', CAPTURE, get, names);
  const create = on((watcher, name, { body, origin }) => captures.create(watcher, name, body, origin));
  add('create', 'PUT', CAPTURE, create, names);
  const remove = on((watcher, name, { origin }) => captures.delete(watcher, name, origin));
  add('delete', 'DELETE', CAPTURE, remove, names);
  const stop = on((watcher, name, { origin }) => captures.stop(watcher, name, origin));
  add('stop', 'POST', `${CAPTURE}/stop`, stop, names);
  const status = on((watcher, name, { origin }) => captures.queryStatus(watcher, name, origin));
  add('status', 'POST', `${CAPTURE}/queryStatus`, status, names);
}

function operationRoutes({ operations }: Parts, add: Add): void {
  const names = ({ params }: Call) => operations.find(params['id'] ?? '')?.names ?? [];
  const polled = ({ params, path, query, origin }: Call) => ({ id: params['id'] ?? '', path, query, origin });
  const at = (provider: string) => `${SUBSCRIPTION}/${provider}/locations/{region}`;
  const poll = (call: Call) => operations.poll(polled(call));
  add('operation', 'GET', `${at(NETWORK)}/operations/{id}`, poll, names);
  const result = (call: Call) => operations.result(polled(call));
  add('result', 'GET', `${at(NETWORK)}/operationResults/{id}`, result, names);
  const pollCompute = (call: Call) => {
    const answer = operations.pollCompute(polled(call));
    return { ...answer, headers: { ...answer.headers, ...BUDGET.poll } };
  };
  add('operation', 'GET', `${at(COMPUTE)}/operations/{id}`, pollCompute, names);
}

function onWatcher(inventory: Inventory, act: (watcher: Watcher, call: Call) => Answer): Route['act'] {
  return (call) => {
    const { subscription = '', resourceGroup = '', watcher: name = '' } = call.params;
    const watcher = inventory.watcher(subscription, resourceGroup, name);
    return watcher ? act(watcher, call) : watcherNotFound(resourceGroup, name);
  };
}

function sizeOfPage(state: State, usual: number): number {
  return state.content.faults.pageSize || usual;
}

function wantsInstanceView(query: URLSearchParams): boolean {
  return query.get('$expand')?.toLowerCase() === 'instanceview';
}

function notFoundInstance(set: ScaleSet, instance: string): Answer {
  const message = `The entity ${set.name}_${instance} was not found.`;
  return { status: 404, body: { error: { code: 'NotFound', message } } };
}

/** Microsoft.Compute's own budgets, as recorded. The numbers do not count down. */
const budget = (left: string) => ({ 'x-ms-ratelimit-remaining-resource': left });
const BUDGET = {
  get: budget('Microsoft.Compute/LowCostGetSubscriptionMaximum;23992,Microsoft.Compute/LowCostGetResource;28'),
  put: budget('Microsoft.Compute/UpdateVMSubscriptionMaximum;1499,Microsoft.Compute/UpdateVMResource;11'),
  poll: budget('Microsoft.Compute/GetOperationResource;44,Microsoft.Compute/GetOperationSubscriptionMaximum;14998'),
};
