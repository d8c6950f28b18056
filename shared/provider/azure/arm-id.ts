/**
 * What can be captured: a virtual machine, a scale set (all of its instances, or those that the request's scope names), or one
 * instance of a scale set. All parts in lower case.
 */
export type MachineId = {
  kind: 'vm' | 'scale-set' | 'instance';
  id: string;
  subscription: string;
  resourceGroup: string;
  /** Name of the machine, or of the scale set. */
  name: string;
  /** ARM id of the scale set, for an instance of one. */
  scaleSet?: string;
};

const machinePattern =
  /^(\/subscriptions\/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\/resourcegroups\/([-\w.()]{1,90})\/providers\/microsoft\.compute\/(virtualmachines|virtualmachinescalesets)\/([-\w.]{1,64}))(?:\/virtualmachines\/([-\w.]{1,80}))?$/;

/** Reads the ARM id of a virtual machine, a scale set or an instance of one in any case; undefined for everything else. */
export function parseMachineId(id: string): MachineId | undefined {
  const [canonical, parent, subscription, resourceGroup, type, name, instance] =
    machinePattern.exec(id.toLowerCase()) ?? [];
  if (!canonical || !parent || !subscription || !resourceGroup || !name) return undefined;
  // In a URL these would climb.
  if ([resourceGroup, name, instance ?? 'x'].some((part) => /^\.+$/.test(part))) return undefined;
  const place = { id: canonical, subscription, resourceGroup, name };
  if (type === 'virtualmachines') return instance === undefined ? { kind: 'vm', ...place } : undefined;
  return instance === undefined ? { kind: 'scale-set', ...place } : { kind: 'instance', ...place, scaleSet: parent };
}

export type CaptureId = { subscription: string; resourceGroup: string; watcher: string; name: string };

/** Reads the ARM id of a packet capture; the case of its parts is kept. */
export function parseCaptureId(id: string): CaptureId | undefined {
  const match =
    /^\/subscriptions\/([^/]+)\/resourceGroups\/([^/]+)\/providers\/Microsoft\.Network\/networkWatchers\/([^/]+)\/packetCaptures\/([^/]+)$/i.exec(
      id,
    );
  if (!match) return undefined;
  const [, subscription = '', resourceGroup = '', watcher = '', name = ''] = match;
  return { subscription, resourceGroup, watcher, name };
}

/** The two parts of a network watcher's ARM id that calls need. */
export function parseWatcherId(id: string): { resourceGroup: string; watcher: string } | undefined {
  const match = /\/resourceGroups\/([^/]+)\/providers\/Microsoft\.Network\/networkWatchers\/([^/]+)$/i.exec(id);
  return match ? { resourceGroup: match[1] ?? '', watcher: match[2] ?? '' } : undefined;
}
