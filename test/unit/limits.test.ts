import { describe, expect, it } from 'vitest';
import { checkCapture } from '../../shared/provider/azure/limits.ts';
import type { CaptureFilter, CaptureRequest, Limits } from '../../shared/provider/provider.ts';

const allowed: Limits = { durationSeconds: 300, sizeBytes: 100 * 1024 * 1024 };

describe('time and size', () => {
  it.each([
    [1, 1, 0],
    [18_000, 4_294_967_295, 0],
    [18_001, 1, 1],
    [1, 4_294_967_296, 1],
    [0, 1, 1],
    [1, 0, 1],
    [-1, -1, 2],
    [1.5, 1.5, 2],
    [Number.NaN, Number.NaN, 2],
    [Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY, 2],
  ])('%d seconds and %d bytes: %d faults', (durationSeconds, sizeBytes, count) => {
    expect(checkCapture({}, { durationSeconds, sizeBytes })).toHaveLength(count);
  });

  it('says which it is, in words that rules are placed by', () => {
    const faults = checkCapture({}, { durationSeconds: 0, sizeBytes: 0 });
    expect(faults[0]).toMatch(/^the duration .*it is 0 s$/);
    expect(faults[1]).toMatch(/^the size .*it is 0$/);
  });
});

describe('bytes per packet', () => {
  it.each([
    [undefined, 0],
    [0, 0],
    [1, 0],
    [123_456, 0],
    [4_294_967_295, 0],
    [4_294_967_296, 1],
    [-1, 1],
    [0.5, 1],
    [Number.NaN, 1],
  ])('%s: %d faults', (bytesToCapturePerPacket, count) => {
    expect(checkCapture({ bytesToCapturePerPacket }, allowed)).toHaveLength(count);
  });
});

describe('filters', () => {
  const good: CaptureFilter[] = [
    {},
    { protocol: 'TCP' },
    { protocol: 'Any', localIPAddress: '', localPort: '', remoteIPAddress: '', remotePort: '' },
    { localIPAddress: '10.0.0.4' },
    { remoteIPAddress: '0.0.0.0-255.255.255.255' },
    { localIPAddress: '127.0.0.1-127.0.0.1' },
    { localIPAddress: '9.255.255.255-10.0.0.0' },
    { remoteIPAddress: '127.0.0.1;127.0.0.5;' },
    { remoteIPAddress: '127.0.0.1;127.0.0.5' },
    { localPort: '80' },
    { localPort: '80-85', remotePort: '1-65535' },
    { remotePort: '80;443;' },
    { remotePort: '20;80;443' },
    { remotePort: '65535' },
    { localPort: '443-443' },
  ];
  it.each(good)('takes %j', (filter) => {
    expect(checkCapture({ filters: [filter] }, allowed)).toEqual([]);
  });

  const bad: [CaptureFilter, RegExp][] = [
    [{ localIPAddress: '10.0.0' }, /localIPAddress .*"10\.0\.0"/],
    [{ localIPAddress: '10.0.0.256' }, /localIPAddress/],
    [{ localIPAddress: '010.0.0.4' }, /localIPAddress/],
    [{ localIPAddress: '10.0.0.0/8' }, /no CIDR/],
    [{ localIPAddress: 'fe80::1' }, /IPv4/],
    [{ localIPAddress: 'web01' }, /localIPAddress/],
    [{ remoteIPAddress: '*' }, /remoteIPAddress/],
    [{ remoteIPAddress: ' 10.0.0.1' }, /remoteIPAddress/],
    [{ remoteIPAddress: '10.0.0.1,10.0.0.2' }, /remoteIPAddress/],
    [{ remoteIPAddress: '10.0.0.1-10.0.0.5;10.0.0.9' }, /not a range/],
    [{ remoteIPAddress: '10.0.0.1;10.0.0.3-10.0.0.5' }, /not a range/],
    [{ remoteIPAddress: '10.0.0.1-10.0.0.5-10.0.0.9' }, /not a range/],
    [{ remoteIPAddress: '1.1.1.1-255.255.255' }, /not a range/],
    [{ remoteIPAddress: '10.0.0.9-10.0.0.4' }, /backwards/],
    [{ remoteIPAddress: '10.0.0.1;;10.0.0.2' }, /holds ""/],
    [{ remoteIPAddress: ';' }, /holds ""/],
    [{ remoteIPAddress: '-' }, /not a range/],
    [{ localPort: '65536' }, /localPort .*8000-8080/],
    [{ localPort: '-1' }, /not a range/],
    [{ localPort: '1e3' }, /localPort/],
    [{ localPort: '0x50' }, /localPort/],
    [{ localPort: '80.0' }, /localPort/],
    [{ localPort: 'http' }, /localPort/],
    [{ localPort: '٨٠' }, /localPort/],
    [{ remotePort: '80, 443' }, /remotePort/],
    [{ remotePort: '80-85;90' }, /not a range/],
    [{ remotePort: '80-85-90' }, /not a range/],
    [{ remotePort: '9000-80' }, /backwards/],
    [{ remotePort: '80;;443' }, /holds ""/],
    [{ remotePort: '80;443;;' }, /holds ""/],
  ];
  it.each(bad)('refuses %j', (filter, message) => {
    const faults = checkCapture({ filters: [{}, filter] }, allowed);
    expect(faults).toHaveLength(1);
    expect(faults[0]).toMatch(/^filters\[1\]\./);
    expect(faults[0]).toMatch(message);
  });

  it('tells every fault of every filter', () => {
    const filter = { localIPAddress: 'a', localPort: 'b', remoteIPAddress: 'c', remotePort: 'd' };
    const faults = checkCapture(
      { filters: [filter, filter], bytesToCapturePerPacket: -1 },
      { ...allowed, sizeBytes: 0 },
    );
    expect(faults).toHaveLength(10);
    expect(new Set(faults).size).toBe(10);
  });
});

describe('places of the file', () => {
  type Place = NonNullable<NonNullable<CaptureRequest['azure']>['storageLocation']>;
  const check = (storageLocation: Place) => checkCapture({ azure: { storageLocation } }, allowed);
  const storageId =
    '/subscriptions/11111111-2222-3333-4444-555555555555/resourceGroups/rg/providers/Microsoft.Storage/storageAccounts/logs';

  const good: Place[] = [
    {},
    { filePath: '/var/captures/x.cap' },
    { filePath: '/var/captures/{run}.cap' },
    { filePath: '/var/captures/a/b.cap' },
    { filePath: 'C:\\Captures\\x.cap' },
    { filePath: 'd:\\x.cap' },
    { storagePath: 'https://logs.blob.core.windows.net/captures/x.cap' },
    { storagePath: 'https://logs.blob.core.windows.net/captures/{run}/a.CAP' },
    { storagePath: 'http://127.0.0.1:10000/devstoreaccount1/captures/x.cap' },
    { storageId },
    { storageId: storageId.toUpperCase() },
    { storageId, filePath: '/var/captures/x.cap', storagePath: 'https://logs.blob.core.windows.net/c/x.cap' },
  ];
  it.each(good)('takes %j', (place) => {
    expect(check(place)).toEqual([]);
  });

  const bad: [Place, RegExp][] = [
    [{ filePath: '' }, /file name with \.cap/],
    [{ filePath: '/var/captures/' }, /file name with \.cap/],
    [{ filePath: '/var/captures/.cap' }, /file name with \.cap/],
    [{ filePath: '/var/captures/x.pcap' }, /file name with \.cap/],
    [{ filePath: '/var/captures/x.CAP' }, /file name with \.cap/],
    [{ filePath: '/tmp/x.cap' }, /must start with/],
    [{ filePath: 'var/captures/x.cap' }, /must start with/],
    [{ filePath: '/var/capturesx/y.cap' }, /must start with/],
    [{ filePath: 'capture\\capture.cap' }, /must start with/],
    [{ filePath: '\\\\server\\share\\x.cap' }, /must start with/],
    [{ storagePath: '' }, /URL of a blob/],
    [{ storagePath: 'captures/x.cap' }, /URL of a blob/],
    [{ storagePath: 'https://logs.blob.core.windows.net/x.cap' }, /URL of a blob/],
    [{ storagePath: 'https://logs.blob.core.windows.net/captures/x' }, /URL of a blob/],
    [{ storagePath: 'https://logs.blob.core.windows.net/captures/.cap' }, /URL of a blob/],
    [{ storagePath: 'https://logs.blob.core.windows.net/captures/x.cap?sig=secret' }, /URL of a blob/],
    [{ storagePath: 'https://user:word@logs.blob.core.windows.net/captures/x.cap' }, /URL of a blob/],
    [{ storagePath: 'ftp://logs.blob.core.windows.net/captures/x.cap' }, /URL of a blob/],
    [{ storagePath: 'file:///captures/x/y.cap' }, /URL of a blob/],
    [{ storageId: 'logs' }, /ARM id of a storage account/],
    [{ storageId: `${storageId}/blobServices/default` }, /ARM id of a storage account/],
    [{ storageId: storageId.replace('logs', 'Logs_1') }, /ARM id of a storage account/],
    [{ storageId: '' }, /ARM id of a storage account/],
  ];
  it.each(bad)('refuses %j', (place, message) => {
    const faults = check(place);
    expect(faults).toHaveLength(1);
    expect(faults[0]).toMatch(message);
  });

  it('refuses a path that leaves /var/captures', () => {
    expect(check({ filePath: '/var/captures/../../etc/cron.d/x.cap' })).toHaveLength(1);
  });

  it('refuses a fragment', () => {
    expect(check({ storagePath: 'https://logs.blob.core.windows.net/captures/x.cap#part' })).toHaveLength(1);
  });

  it('refuses plain http to another host', () => {
    expect(check({ storagePath: 'http://logs.blob.core.windows.net/captures/x.cap' })).toHaveLength(1);
  });
});
