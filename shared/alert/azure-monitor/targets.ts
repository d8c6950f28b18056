import { resourceTypeOf, type AlertKind, type AlertTarget } from '../alert.ts';
import { at, listOf, memberOf, textOf, textsOf } from '../read.ts';

/** Where in a payload machines may be named. */
export type Naming = {
  kind: AlertKind;
  /** What the alert is about: `alertTargetIDs`, or the resource of an older schema. */
  ids: string[];
  /** `configurationItems`. */
  items: string[];
  context: unknown;
};

const maxTargets = 1000;
const machineTypes = new Set([
  'microsoft.compute/virtualmachines',
  'microsoft.compute/virtualmachinescalesets',
  'microsoft.compute/virtualmachinescalesets/virtualmachines',
]);

/**
 * The machines that an alert names. Where one of its own ids is a machine, these are they. Otherwise it is about something that
 * machines report to (a workspace, a cluster, an event), and they are looked for in what the kind of alert says of them: first
 * ids, then computer names. What names none keeps its own ids, with a hint.
 */
export function targetsOf(naming: Naming): AlertTarget[] {
  const { kind, context } = naming;
  const isEvent = kind === 'activity-log' || kind === 'resource-health';
  const ids = isEvent ? naming.ids.map(machineAbove) : naming.ids;
  if (ids.some(isMachine)) return distinct(ids.map(byId));
  const named = isEvent ? namedByEvent(context) : namedByData(naming);
  if (named.length > 0) return distinct(named);
  const hint = hintFor(kind, ids);
  return distinct(ids.map((id) => (hint === undefined ? byId(id) : { ...byId(id), hint })));
}

function isMachine(id: string): boolean {
  return /^\/subscriptions\//i.test(id) && machineTypes.has(resourceTypeOf(id));
}

function isWorkspace(id: string): boolean {
  return resourceTypeOf(id) === 'microsoft.operationalinsights/workspaces';
}

const belowMachine =
  /^(\/subscriptions\/[^/]+\/resourcegroups\/[^/]+\/providers\/microsoft\.compute\/(?:virtualmachines\/[^/]+|virtualmachinescalesets\/[^/]+(?:\/virtualmachines\/[^/]+)?))\/./i;

/** What happens to an extension or a command of a machine happens to the machine; every other id stays. */
function machineAbove(id: string): string {
  return belowMachine.exec(id)?.[1] ?? id;
}

function byId(id: string): AlertTarget {
  return { id, resourceType: resourceTypeOf(id) };
}

function byName(name: string): AlertTarget {
  return { id: name, resourceType: '', computer: true };
}

/** ARM ids and computer names compare without regard to case; the same target named twice is one target. */
function distinct(targets: AlertTarget[]): AlertTarget[] {
  const seen = new Map<string, AlertTarget>();
  for (const target of targets) {
    const key = target.id.toLowerCase();
    if (!seen.has(key)) seen.set(key, target);
  }
  return [...seen.values()].slice(0, maxTargets);
}

/** An event of the activity log: what autoscale changed, what somebody acted on, what was attacked. */
function namedByEvent(context: unknown): AlertTarget[] {
  const properties = memberOf(context, 'properties');
  const ids = [memberOf(properties, 'resourceName'), at(context, 'authorization', 'scope')]
    .flatMap((value) => textOf(value) ?? [])
    .map(machineAbove);
  const machine = ids.find(isMachine);
  if (machine !== undefined) return [byId(machine)];
  const attacked = textOf(memberOf(properties, 'attackedResourceType')) ?? textOf(memberOf(properties, 'resourceType'));
  const name = textOf(memberOf(properties, 'compromisedEntity'));
  return name !== undefined && isName(name) && /^virtual ?machine$/i.test(attacked ?? '') ? [byName(name)] : [];
}

/** Data of many machines: the ids among its dimensions, else the names, else what stands in the rows of the results. */
function namedByData({ kind, ids, items, context }: Naming): AlertTarget[] {
  if (kind !== 'log' && kind !== 'metric' && kind !== 'prometheus' && kind !== 'other') return [];
  const dimensions = dimensionsOf(context);
  const valuesOf = (name: string): string[] => dimensions.flatMap((d) => (d.name === name ? d.value : []));
  const affected = [...items, ...textsOf(memberOf(context, 'AffectedConfigurationItems'))];

  const machines = [...idColumns.flatMap(valuesOf), ...valuesOf('computer'), ...affected].filter(isMachine);
  if (machines.length > 0) return machines.map(byId);

  // The items of a metric are what reports to its workspace; of anything else they are that resource, by another name. And an item
  // that repeats a part of the alert's own ids is no machine either.
  const byItems = kind === 'log' || kind === 'other' || (kind === 'metric' && ids.some(isWorkspace));
  const own = new Set(ids.flatMap((id) => [id.toLowerCase(), ...id.toLowerCase().split('/')]));
  const others = byItems ? affected.filter((item) => !own.has(item.toLowerCase())) : [];
  const inResource = kind === 'log' || kind === 'other' ? valuesOf('resource') : [];
  const names = [valuesOf('computer'), others, inResource]
    .map((values) => values.filter(isName))
    .find((values) => values.length > 0);
  const rows = rowsOf(context);
  if (names !== undefined) return names.flatMap(withIds(rows));
  const inRows = rows.flatMap(({ id, name }) => (id === undefined ? (name ?? []) : id));
  if (inRows.length > 0) return inRows.map((one) => (isMachine(one) ? byId(one) : byName(one)));
  // Something other than a machine, such as a server outside of Azure: it says more than the workspace.
  return others.filter((item) => /^\/subscriptions\//i.test(item)).map(byId);
}

/** The columns and dimensions that hold ids of resources, the surest first, in small letters. */
const idColumns = ['_resourceid', 'resourceid', 'microsoft.resourceid', 'resource'];

/**
 * Those of conditions (metric, log V2) and of a log V1 rule, and the labels of Prometheus, where the node of a cluster goes by
 * the computer name of its machine. Names in small letters.
 */
function dimensionsOf(context: unknown): { name: string; value: string }[] {
  const conditions = listOf(at(context, 'condition', 'allOf'));
  const listed = [...conditions.map((one) => memberOf(one, 'dimensions')), memberOf(context, 'Dimensions')];
  const labels = memberOf(context, 'labels');
  const pairs: [unknown, unknown][] = [
    ...listed.flatMap(listOf).map((one): [unknown, unknown] => [memberOf(one, 'name'), memberOf(one, 'value')]),
    ...(typeof labels === 'object' && labels !== null ? Object.entries(labels) : []).map(
      ([name, value]): [unknown, unknown] => [name === 'node' ? 'Computer' : name, value],
    ),
  ];
  return pairs.flatMap(([name, value]) => {
    const [key, text] = [textOf(name)?.toLowerCase(), textOf(value)];
    return key === undefined || text === undefined ? [] : { name: key, value: text };
  });
}

type Row = { id: string | undefined; name: string | undefined };

/** What the embedded results of a log V1 rule say of machines, row by row. */
function rowsOf(context: unknown): Row[] {
  const tables = [at(context, 'SearchResults', 'tables'), at(context, 'SearchResult', 'tables')].flatMap(listOf);
  return tables.flatMap((table) => {
    const columns = listOf(memberOf(table, 'columns')).map((one) => textOf(memberOf(one, 'name'))?.toLowerCase());
    const idAt = idColumns.map((name) => columns.indexOf(name)).filter((i) => i >= 0);
    const nameAt = columns.indexOf('computer');
    if (idAt.length === 0 && nameAt < 0) return [];
    return listOf(memberOf(table, 'rows')).map((row) => {
      const cells = listOf(row);
      const id = idAt.flatMap((i) => textOf(cells[i]) ?? []).find(isMachine);
      const name = nameAt < 0 ? undefined : textOf(cells[nameAt]);
      return { id, name: name !== undefined && isName(name) ? name : undefined };
    });
  });
}

/**
 * Turns a name into the ids that rows have for it, whole or by its first label, else into itself. The ids of a label are given
 * once: many names may share it.
 */
function withIds(rows: readonly Row[]): (name: string) => AlertTarget[] {
  const identified = rows.filter((row) => row.id !== undefined && row.name !== undefined);
  const whole = Map.groupBy(identified, (row) => row.name?.toLowerCase() ?? '');
  const label = Map.groupBy(identified, (row) => firstLabel(row.name ?? ''));
  const given = new Set<Row[]>();
  return (name) => {
    const found = whole.get(name.toLowerCase()) ?? label.get(firstLabel(name));
    if (found === undefined) return [byName(name)];
    if (given.has(found)) return [];
    given.add(found);
    return found.flatMap((row) => row.id ?? []).map(byId);
  };
}

/** Whether a text can be the name of a computer, whole or fully qualified; a GUID is the id of something else. */
function isName(text: string): boolean {
  return (
    /^[\p{L}\p{N}_][\p{L}\p{N}._-]{0,252}$/u.test(text) && !/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(text)
  );
}

/** `web01` of `WEB01.contoso.local`. */
function firstLabel(name: string): string {
  return name.toLowerCase().split('.', 1)[0] ?? '';
}

const list = 'give the rule a list of targets';

function hintFor(kind: AlertKind, ids: string[]): string | undefined {
  switch (kind) {
    case 'log':
      return `Split the alert rule by the dimension _ResourceId or Computer, so that it names its machines, or ${list}`;
    case 'prometheus':
      return `Keep the label node, Computer or microsoft.resourceid in the result of the rule's expression, so that it names its machines, or ${list}`;
    case 'metric':
      return ids.some(isWorkspace)
        ? `Split the alert rule by the dimension Computer, so that it names its machines, or ${list}`
        : undefined;
    case 'availability-test':
    case 'service-health':
    case 'smart-detection':
    case 'cost':
      return `Alerts of kind ${kind} name no machine: ${list}`;
    case 'activity-log':
    case 'resource-health':
    case 'event':
    case 'other':
      return undefined;
  }
}
