import { parseFilter, type FilterInput } from './filter.ts';

/**
 * The body of a packet capture PUT: the declared limits of api-version 2026-01-01, and the answer's echo with its
 * defaults, as recorded.
 *
 * GUESS: that a violation is a 400 on the PUT, and the code `InvalidParameter`, recorded only for a VM extension.
 */
export type Parameters = {
  target: Target;
  filters: FilterInput[];
  /** Whether the agent understands every filter. */
  filtersUnderstood: boolean;
  bytesToCapturePerPacket: number;
  /** Of a session, or of each file of a ring; 0 = unlimited. */
  limitBytes: number;
  limitSeconds: number;
  /** Set for a continuous capture: how many files are kept. */
  ringFiles: number | undefined;
  /** ARM ids of instances of a scale set. */
  scope: { include: string[]; exclude: string[] };
  storageId: string | undefined;
  storagePath: string | undefined;
  /** A path on the VM was given: the file stays there too. */
  onDisk: boolean;
  /** What the service answers below `properties`; its storagePath still has to be filled in. */
  echo: (storagePath: string) => Record<string, unknown>;
};

/** What a capture listens to. `instance` is set for a single scale-set instance. */
export type Target = {
  id: string;
  subscription: string;
  resourceGroup: string;
  type: 'AzureVM' | 'AzureVMSS';
  name: string;
  instance: string | undefined;
};

/** Thrown for a body that the service refuses. */
export class InvalidParameter extends Error {}

const MAX_UINT32 = 4_294_967_295;
const MAX_SECONDS = 18_000;
const MAX_RING_SECONDS = 604_800;
const RING_FILES = 10;

/** Continuous captures came with this one; GUESS: older ones do not see their members. */
const CONTINUOUS_SINCE = '2023-11-01';

export function knowsContinuous(apiVersion: string): boolean {
  return apiVersion.slice(0, CONTINUOUS_SINCE.length) >= CONTINUOUS_SINCE;
}

/** @throws InvalidParameter */
export function readParameters(body: unknown, apiVersion: string): Parameters {
  const given = object(object(body, 'body')['properties'], 'properties');
  const ring = knowsContinuous(apiVersion) ? given : {};
  const target = readTarget(given['target'], given['targetType']);
  const continuous = optional(ring['continuousCapture'], 'boolean', 'continuousCapture');
  const storage = readStorage(object(given['storageLocation'], 'storageLocation'), continuous !== undefined);
  const filters = list(given['filters'], 'filters').map(readFilter);
  const scope = readScope(given['scope'], target);
  const bytesToCapturePerPacket = integer(given['bytesToCapturePerPacket'], 'bytesToCapturePerPacket', 0, MAX_UINT32);
  const totalBytesPerSession = integer(
    given['totalBytesPerSession'],
    'totalBytesPerSession',
    1_073_741_824,
    MAX_UINT32,
  );
  const timeLimitInSeconds = integer(given['timeLimitInSeconds'], 'timeLimitInSeconds', MAX_SECONDS, MAX_SECONDS);
  const settings = readSettings(ring['captureSettings']);

  return {
    target,
    filters,
    filtersUnderstood: filters.every((filter) => parseFilter(filter) !== undefined),
    bytesToCapturePerPacket,
    limitBytes: continuous === undefined ? totalBytesPerSession : settings.fileSizeInBytes,
    // GUESS: 0 seconds stands for the longest time, 0 bytes for no limit, 0 files for the usual number.
    limitSeconds:
      continuous === undefined
        ? timeLimitInSeconds || MAX_SECONDS
        : settings.sessionTimeLimitInSeconds || MAX_RING_SECONDS,
    // GUESS: true and false are the same.
    ringFiles: continuous === undefined ? undefined : settings.fileCount || RING_FILES,
    scope,
    storageId: storage.storageId,
    storagePath: storage.storagePath,
    onDisk: storage.file !== undefined,
    echo: (storagePath) => ({
      target: target.id,
      scope,
      targetType: target.type,
      bytesToCapturePerPacket,
      // As recorded, a continuous capture is answered without these two limits.
      ...(continuous === undefined ? { totalBytesPerSession, timeLimitInSeconds } : {}),
      storageLocation: {
        ...(storage.storageId === undefined ? {} : { storageId: storage.storageId }),
        storagePath,
        ...storage.file,
      },
      filters,
      ...(continuous === undefined ? {} : { continuousCapture: continuous, captureSettings: settings }),
    }),
  };
}

/** By which faults name the target that a body asks for; none if it is not to be understood. */
export function targetNames(body: unknown): string[] {
  const target = (body as { properties?: { target?: unknown } } | undefined)?.properties?.target;
  const parsed = typeof target === 'string' ? parseTarget(target) : undefined;
  return parsed ? namesOf(parsed) : [];
}

/** By which faults name a target, from wide to narrow. */
export function namesOf({ name, instance }: Target): string[] {
  return instance === undefined ? [name] : [name, `${name}/${instance}`];
}

function readTarget(given: unknown, type: unknown): Target {
  const target = parseTarget(text(given, 'target'));
  if (!target) throw invalid('target');
  if (type !== undefined && type !== null && type !== target.type) throw invalid('targetType');
  return target;
}

function parseTarget(id: string): Target | undefined {
  const match =
    /^\/subscriptions\/([^/]+)\/resourceGroups\/([^/]+)\/providers\/Microsoft\.Compute\/(virtualMachines|virtualMachineScaleSets)\/([^/]+)(?:\/virtualMachines\/([^/]+))?$/i.exec(
      id,
    );
  const [, subscription, resourceGroup, kind, name, instance] = match ?? [];
  const scaleSet = kind?.toLowerCase() === 'virtualmachinescalesets';
  if (!subscription || !resourceGroup || !name || (instance && !scaleSet)) return undefined;
  // GUESS: without targetType the kind of the id decides; observed for VMs only.
  return { id, subscription, resourceGroup, type: scaleSet ? 'AzureVMSS' : 'AzureVM', name, instance };
}

function readStorage(
  given: Record<string, unknown>,
  continuous: boolean,
): {
  storageId: string | undefined;
  storagePath: string | undefined;
  file: { filePath: string } | { localPath: string } | undefined;
} {
  const storageId = optional(given['storageId'], 'string', 'storageId') || undefined;
  const storagePath = optional(given['storagePath'], 'string', 'storagePath') || undefined;
  const filePath = optional(given['filePath'], 'string', 'filePath') || undefined;
  const localPath = optional(given['localPath'], 'string', 'localPath') || undefined;
  // filePath belongs to ordinary captures, localPath to continuous ones.
  if (continuous && filePath !== undefined) throw invalid('filePath');
  if (!continuous && localPath !== undefined) throw invalid('localPath');
  const path = filePath ?? localPath;
  if (storageId === undefined && path === undefined) throw invalid('storageLocation');
  if (path !== undefined && !path.toLowerCase().endsWith('.cap')) throw invalid(filePath ? 'filePath' : 'localPath');
  if (
    storageId !== undefined &&
    !/^\/subscriptions\/[^/]+\/resourceGroups\/[^/]+\/providers\/Microsoft\.Storage\/storageAccounts\/[^/]+$/i.test(
      storageId,
    )
  ) {
    throw invalid('storageId');
  }
  if (storagePath !== undefined && !URL.canParse(storagePath)) throw invalid('storagePath');
  let file: { filePath: string } | { localPath: string } | undefined;
  if (filePath !== undefined) file = { filePath };
  if (localPath !== undefined) file = { localPath };
  return { storageId, storagePath, file };
}

function readFilter(given: unknown): FilterInput {
  const filter = object(given, 'filters');
  const part = (name: string) => optional(filter[name], 'string', name) ?? '';
  const protocol = part('protocol') || 'Any';
  if (!['tcp', 'udp', 'any'].includes(protocol.toLowerCase())) throw invalid('protocol');
  return {
    protocol,
    localIPAddress: part('localIPAddress'),
    localPort: part('localPort'),
    remoteIPAddress: part('remoteIPAddress'),
    remotePort: part('remotePort'),
  };
}

/** Instances are given by number and answered with their full ids. */
function readScope(given: unknown, target: Target): { include: string[]; exclude: string[] } {
  const scope = given === undefined || given === null ? {} : object(given, 'scope');
  const expand = (name: string) =>
    list(scope[name], 'scope').map((instance) => {
      const value = text(instance, 'scope');
      return value.includes('/') ? value : `${target.id}/virtualMachines/${value}`;
    });
  return { include: expand('include'), exclude: expand('exclude') };
}

function readSettings(given: unknown): {
  fileCount: number;
  fileSizeInBytes: number;
  sessionTimeLimitInSeconds: number;
} {
  const settings = given === undefined || given === null ? {} : object(given, 'captureSettings');
  return {
    fileCount: integer(settings['fileCount'], 'fileCount', RING_FILES, 10_000),
    fileSizeInBytes: integer(settings['fileSizeInBytes'], 'fileSizeInBytes', 104_857_600, MAX_UINT32),
    sessionTimeLimitInSeconds: integer(
      settings['sessionTimeLimitInSeconds'],
      'sessionTimeLimitInSeconds',
      86_400,
      MAX_RING_SECONDS,
    ),
  };
}

function invalid(name: string): InvalidParameter {
  return new InvalidParameter(name);
}

function object(value: unknown, name: string): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw invalid(name);
  return value as Record<string, unknown>;
}

function list(value: unknown, name: string): unknown[] {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value)) throw invalid(name);
  return value;
}

function text(value: unknown, name: string): string {
  if (typeof value !== 'string' || value === '') throw invalid(name);
  return value;
}

function integer(value: unknown, name: string, byDefault: number, max: number): number {
  if (value === undefined || value === null) return byDefault;
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 0 || value > max) throw invalid(name);
  return value;
}

function optional(value: unknown, type: 'string', name: string): string | undefined;
function optional(value: unknown, type: 'boolean', name: string): boolean | undefined;
function optional(value: unknown, type: string, name: string): unknown {
  if (value === undefined || value === null) return undefined;
  if (typeof value !== type) throw invalid(name);
  return value;
}
