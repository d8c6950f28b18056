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
  limitBytes: number;
  limitSeconds: number;
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

/** @throws InvalidParameter */
export function readParameters(body: unknown): Parameters {
  const given = object(object(body, 'body')['properties'], 'properties');
  const target = readTarget(given['target'], given['targetType']);
  const continuous = optional(given['continuousCapture'], 'boolean', 'continuousCapture');
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
  const timeLimitInSeconds = integer(given['timeLimitInSeconds'], 'timeLimitInSeconds', 18_000, 18_000);
  const settings = readSettings(given['captureSettings']);

  return {
    target,
    filters,
    filtersUnderstood: filters.every((filter) => parseFilter(filter) !== undefined),
    bytesToCapturePerPacket,
    // GUESS: the ring of a continuous capture is one file of the ring's size here; names of its files are not known.
    limitBytes: continuous === undefined ? totalBytesPerSession : settings.fileCount * settings.fileSizeInBytes,
    // GUESS: 0 seconds stands for the longest time, 0 bytes for no limit.
    limitSeconds: continuous === undefined ? timeLimitInSeconds || 18_000 : settings.sessionTimeLimitInSeconds,
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

function readTarget(given: unknown, type: unknown): Target {
  const id = text(given, 'target');
  const match =
    /^\/subscriptions\/([^/]+)\/resourceGroups\/([^/]+)\/providers\/Microsoft\.Compute\/(virtualMachines|virtualMachineScaleSets)\/([^/]+)(?:\/virtualMachines\/([^/]+))?$/i.exec(
      id,
    );
  const [, subscription, resourceGroup, kind, name, instance] = match ?? [];
  const scaleSet = kind?.toLowerCase() === 'virtualmachinescalesets';
  if (!subscription || !resourceGroup || !name || (instance && !scaleSet)) throw invalid('target');
  // GUESS: without targetType the kind of the id decides; observed for VMs only.
  const expected = scaleSet ? 'AzureVMSS' : 'AzureVM';
  if (type !== undefined && type !== null && type !== expected) throw invalid('targetType');
  return { id, subscription, resourceGroup, type: expected, name, instance };
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
    fileCount: integer(settings['fileCount'], 'fileCount', 10, 10_000),
    fileSizeInBytes: integer(settings['fileSizeInBytes'], 'fileSizeInBytes', 104_857_600, MAX_UINT32),
    sessionTimeLimitInSeconds: integer(
      settings['sessionTimeLimitInSeconds'],
      'sessionTimeLimitInSeconds',
      86_400,
      604_800,
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
