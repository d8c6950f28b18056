import { isLoopback } from '../../config.ts';
import { checkFilterValues } from '../filter-values.ts';
import type { CaptureRequest, Limits } from '../provider.ts';

/**
 * What Network Watcher documents as its limits (packetCaptures, api-version 2026-01-01), checked before any call, so that
 * a fault in a rule is found when the rule is read. One sentence per fault.
 */
export function checkCapture(capture: CaptureRequest, limits: Limits): string[] {
  const faults: string[] = [];
  const { durationSeconds, sizeBytes } = limits;
  const { continuousCapture } = capture.azure ?? {};
  const isRing = continuousCapture === true || continuousCapture === false;
  // 0 is allowed by the service with unknown meaning; here every capture ends.
  const longest = isRing ? 604_800 : 18_000;
  if (!Number.isInteger(durationSeconds) || durationSeconds < 1 || durationSeconds > longest) {
    const most = isRing ? '7 days (604800 s)' : '5 hours (18000 s)';
    faults.push(`the duration must be from 1 second to ${most}; it is ${durationSeconds} s`);
  }
  if (!Number.isInteger(sizeBytes) || sizeBytes < 1 || sizeBytes > 4_294_967_295) {
    faults.push(`the size must be from 1 to 4294967295 bytes; it is ${sizeBytes}`);
  }
  const snap = capture.bytesToCapturePerPacket;
  if (snap !== undefined && (!Number.isInteger(snap) || snap < 0 || snap > 4_294_967_295)) {
    faults.push(`bytesToCapturePerPacket must be from 0 (the whole packet) to 4294967295; it is ${snap}`);
  }
  faults.push(...checkFilterValues(capture.filters));
  const location = capture.azure?.storageLocation;
  for (const name of ['filePath', 'localPath'] as const) {
    const fault = location?.[name] === undefined ? undefined : pathFault(location[name]);
    if (fault) faults.push(`azure.storageLocation.${name} ${fault}`);
  }
  if (location?.filePath !== undefined && isRing)
    faults.push('azure.storageLocation.filePath is for ordinary captures; a continuous one takes localPath');
  if (location?.localPath !== undefined && !isRing)
    faults.push('azure.storageLocation.localPath is for continuous captures; an ordinary one takes filePath');
  faults.push(...ringFaults(capture.azure?.captureSettings, isRing, limits));
  if (location?.storagePath !== undefined && !isBlobUrl(location.storagePath)) {
    faults.push(
      'azure.storageLocation.storagePath must be the URL of a blob: https://<account>/<container>/<path>.cap',
    );
  }
  if (
    location?.storageId !== undefined &&
    !/^\/subscriptions\/[^/]+\/resourceGroups\/[^/]+\/providers\/Microsoft\.Storage\/storageAccounts\/[a-z0-9]{3,24}$/i.test(
      location.storageId,
    )
  ) {
    faults.push('azure.storageLocation.storageId must be the ARM id of a storage account');
  }
  for (const name of ['include', 'exclude'] as const) {
    const wrong = capture.azure?.scope?.[name]?.find((id) => !instancePattern.test(id));
    if (wrong !== undefined)
      faults.push(`azure.scope.${name} must name instances by id, such as "0", or by ARM id; "${wrong}" is neither`);
  }
  return faults;
}

function pathFault(path: string): string | undefined {
  if (!/[^/\\]\.cap$/.test(path)) return 'must end in a file name with .cap';
  if (/(^|[/\\])\.\.([/\\]|$)/.test(path)) return 'must not climb with ..';
  return path.startsWith('/var/captures/') || /^[A-Za-z]:\\/.test(path)
    ? undefined
    : 'must start with /var/captures/ (Linux) or a drive such as C:\\ (Windows)';
}

type RingSettings = NonNullable<CaptureRequest['azure']>['captureSettings'];

/** The service also takes 0 in each, with unknown meaning. */
function ringFaults(settings: RingSettings, isRing: boolean, { durationSeconds, sizeBytes }: Limits): string[] {
  if (settings === undefined) return [];
  if (!isRing) return ['azure.captureSettings are for continuous captures: set azure.continuousCapture as well'];
  const faults: string[] = [];
  const most = { fileCount: 10_000, fileSizeInBytes: 4_294_967_295, sessionTimeLimitInSeconds: 604_800 };
  for (const name of ['fileCount', 'fileSizeInBytes', 'sessionTimeLimitInSeconds'] as const) {
    const value = settings[name];
    if (value !== undefined && (!Number.isInteger(value) || value < 1 || value > most[name]))
      faults.push(`azure.captureSettings.${name} must be from 1 to ${most[name]}; it is ${value}`);
  }
  const { fileCount = 1, fileSizeInBytes = 1, sessionTimeLimitInSeconds = 0 } = settings;
  if (fileCount * fileSizeInBytes > sizeBytes)
    faults.push(
      `azure.captureSettings allow ${fileCount} files of ${fileSizeInBytes} bytes, more than the size limit of ${sizeBytes} bytes`,
    );
  if (sessionTimeLimitInSeconds > durationSeconds)
    faults.push(
      `azure.captureSettings.sessionTimeLimitInSeconds (${sessionTimeLimitInSeconds}) is longer than the duration (${durationSeconds} s), which ends the run`,
    );
  return faults;
}

const instancePattern =
  /^(?:\/subscriptions\/[^/]+\/.+\/virtualMachineScaleSets\/[^/]+\/virtualMachines\/)?([-\w.]{1,80})$/i;

/** Instance ids such as "0", of ids and of ARM ids. */
export function instanceIds(named: readonly string[] = []): string[] {
  return [...new Set(named.map((id) => instancePattern.exec(id)?.[1] ?? id))];
}

/** What is wrong with a scope on that kind of target; empty when nothing is. */
export function checkScope({ azure }: CaptureRequest, kind: 'vm' | 'scale-set' | 'instance'): string[] {
  const { include = [], exclude = [] } = azure?.scope ?? {};
  if (include.length + exclude.length === 0) return [];
  if (kind !== 'scale-set') return ['azure.scope names instances of a scale set, and the target is none'];
  const both = instanceIds(include).filter((id) => instanceIds(exclude).includes(id));
  return both.length === 0 ? [] : [`azure.scope both includes and excludes instance ${both.join(', ')}`];
}

function isBlobUrl(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const { protocol, hostname, pathname, search, hash, username } = new URL(text);
  if (search !== '' || hash !== '' || username !== '' || !/^\/[^/]+\/.+\.cap$/i.test(pathname)) return false;
  return protocol === 'https:' || (protocol === 'http:' && isLoopback(hostname));
}
