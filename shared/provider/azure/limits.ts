import { isIP } from 'node:net';
import { isLoopback } from '../../config.ts';
import type { CaptureRequest, Limits } from '../provider.ts';

/**
 * What Network Watcher documents as its limits (packetCaptures, api-version 2026-01-01), checked before any call, so that
 * a fault in a rule is found when the rule is read. One sentence per fault.
 */
export function checkCapture(capture: CaptureRequest, limits: Limits): string[] {
  const faults: string[] = [];
  const { durationSeconds, sizeBytes } = limits;
  // 0 is allowed by the service with unknown meaning; here every capture ends.
  if (!Number.isInteger(durationSeconds) || durationSeconds < 1 || durationSeconds > 18_000) {
    faults.push(`the duration must be from 1 second to 5 hours (18000 s); it is ${durationSeconds} s`);
  }
  if (!Number.isInteger(sizeBytes) || sizeBytes < 1 || sizeBytes > 4_294_967_295) {
    faults.push(`the size must be from 1 to 4294967295 bytes; it is ${sizeBytes}`);
  }
  const snap = capture.bytesToCapturePerPacket;
  if (snap !== undefined && (!Number.isInteger(snap) || snap < 0 || snap > 4_294_967_295)) {
    faults.push(`bytesToCapturePerPacket must be from 0 (the whole packet) to 4294967295; it is ${snap}`);
  }
  capture.filters?.forEach((filter, i) => {
    for (const name of ['localIPAddress', 'remoteIPAddress'] as const) {
      const fault = filter[name] ? valueFault(filter[name], (part) => isIP(part) === 4, addressOrder) : undefined;
      if (fault)
        faults.push(
          `filters[${i}].${name} ${fault}; write 10.0.0.4, 10.0.0.4-10.0.0.9 or 10.0.0.4;10.0.0.7 (IPv4, no CIDR)`,
        );
    }
    for (const name of ['localPort', 'remotePort'] as const) {
      const fault = filter[name]
        ? valueFault(filter[name], (part) => /^\d{1,5}$/.test(part) && Number(part) <= 65_535, Number)
        : undefined;
      if (fault) faults.push(`filters[${i}].${name} ${fault}; write 443, 8000-8080 or 80;443`);
    }
  });
  const location = capture.azure?.storageLocation;
  if (location?.filePath !== undefined) {
    if (!/[^/\\]\.cap$/.test(location.filePath))
      faults.push('azure.storageLocation.filePath must end in a file name with .cap');
    else if (/(^|[/\\])\.\.([/\\]|$)/.test(location.filePath))
      faults.push('azure.storageLocation.filePath must not climb with ..');
    else if (!location.filePath.startsWith('/var/captures/') && !/^[A-Za-z]:\\/.test(location.filePath)) {
      faults.push(
        'azure.storageLocation.filePath must start with /var/captures/ (Linux) or a drive such as C:\\ (Windows)',
      );
    }
  }
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
  return faults;
}

/** One value, one range `a-b`, or a list `a;b;` (no mixing, one range only): the forms that the service documents. */
function valueFault(
  text: string,
  valid: (part: string) => boolean,
  order: (part: string) => number,
): string | undefined {
  if (text.includes('-')) {
    const parts = text.split('-');
    const [from = '', to = ''] = parts;
    if (parts.length !== 2 || !valid(from) || !valid(to)) return `"${text}" is not a range of two valid values`;
    return order(from) <= order(to) ? undefined : `"${text}" runs backwards`;
  }
  const wrong = text
    .replace(/;$/, '')
    .split(';')
    .find((part) => !valid(part));
  return wrong === undefined ? undefined : `"${text}" holds "${wrong}", which is not valid`;
}

function addressOrder(address: string): number {
  return address.split('.').reduce((sum, part) => sum * 256 + Number(part), 0);
}

function isBlobUrl(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const { protocol, hostname, pathname, search, hash, username } = new URL(text);
  if (search !== '' || hash !== '' || username !== '' || !/^\/[^/]+\/.+\.cap$/i.test(pathname)) return false;
  return protocol === 'https:' || (protocol === 'http:' && isLoopback(hostname));
}
