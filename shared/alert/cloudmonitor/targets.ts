import { resourceTypeOf, type AlertTarget } from '../alert.ts';

/** Whose resource it is and where; either may be unknown, and is then empty in the ids made of it. */
export type Owner = { region: string | undefined; userId: string | undefined };

/** Names with values: dimensions, labels, or the members of an event. */
export type Named = readonly (readonly [name: string, value: string])[];

const instanceForm = /^i-[0-9a-z*]{8,}$/i;
const interfaceForm = /^eni-[0-9a-z*]{8,}$/i;
// Kubernetes of Alibaba Cloud may name a node after its region and instance.
const nodeForm = /^[0-9a-z-]+\.(i-[0-9a-z]{8,})$/i;
const instanceNames = new Set(['instanceid', 'ecsinstanceid', 'ecsid', 'resourceid']);
const ownerNames = new Set(['userid', 'region', 'regionid']);

/** `instance_id`, `InstanceId` and `instanceId` are one name. */
function plain(name: string): string {
  return name.toLowerCase().replaceAll(/[^a-z0-9]/g, '');
}

/** The first value that has one of these names, spelled in whatever way. */
export function valueOf(named: Named, ...names: string[]): string | undefined {
  return names.map((name) => named.find(([key]) => plain(key) === name)?.[1]).find((value) => value !== undefined);
}

/**
 * The ECS instance or network interface that is named, as `acs:ecs:<region>:<account>:instance/i-…` or `…:eni/eni-…`. An interface comes
 * before the instance that it belongs to: the alert is about the interface then. `ofEcs`: what has the name of an instance's id is one,
 * whatever it looks like.
 */
export function machineAmong(named: Named, owner: Owner, ofEcs: boolean): string | undefined {
  const values = named.map(([, value]) => value);
  const whole = values.flatMap((value) => acsIdOf(value, owner) ?? []).find(isMachine);
  if (whole !== undefined) return whole;
  const eni = values.find((value) => interfaceForm.test(value));
  if (eni !== undefined) return ecsId('eni', eni, owner);
  const byName = valueOf(named, ...instanceNames);
  const byForm = [byName ?? '', ...values].find((value) => instanceForm.test(value));
  const id = byForm ?? values.flatMap((value) => nodeForm.exec(value)?.[1] ?? [])[0] ?? (ofEcs ? byName : undefined);
  return id === undefined ? undefined : ecsId('instance', id, owner);
}

/** What is no machine but something of another product, by its id or all that is said of it: `acs:slb:<region>:<account>:lb-…`. */
export function resourceAmong(product: string, named: Named, owner: Owner): string | undefined {
  const others = named.filter(([name]) => !ownerNames.has(plain(name))).map(([name, value]) => `${name}=${value}`);
  const resource = valueOf(named, ...instanceNames) ?? others.join(',');
  return resource === '' ? undefined : joined(product, owner, resource);
}

/** An id of Alibaba Cloud in lower case, with region and account from elsewhere where it lacks them; undefined for what is none. */
export function acsIdOf(text: string, owner: Owner): string | undefined {
  const [, product, region, userId, resource] = /^acs:([^:/\s]+):([^:/\s]*):([^:/\s]*):(\S+)$/i.exec(text) ?? [];
  if (product === undefined || resource === undefined) return undefined;
  const of = { region: region || owner.region, userId: userId || owner.userId };
  return joined(product, of, resource.replace(/^networkinterface\//i, 'eni/'));
}

export function isMachine(id: string): boolean {
  return /^acs:ecs:[^:]*:[^:]*:(instance|eni)\/[^/]+$/.test(id);
}

/** Where and whose: what could not be a part of an id is none. */
export function ownerOf(region: string | undefined, userId: string | undefined): Owner {
  const part = (text: string | undefined): string | undefined => (/^[\w*.-]+$/.test(text ?? '') ? text : undefined);
  return { region: part(region), userId: part(userId) };
}

/** Each of them once. */
export function distinct(ids: readonly string[], hint?: string): AlertTarget[] {
  return [...new Set(ids)].map((id) => ({
    id,
    resourceType: resourceTypeOf(id),
    ...(hint === undefined ? {} : { hint }),
  }));
}

function ecsId(kind: 'instance' | 'eni', id: string, owner: Owner): string {
  return joined('ecs', owner, `${kind}/${id}`);
}

function joined(product: string, { region = '', userId = '' }: Owner, resource: string): string {
  return `acs:${product}:${region}:${userId}:${resource}`.toLowerCase();
}
