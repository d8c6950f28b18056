import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  Emulator,
  STORAGE_ID,
  SUBSCRIPTION,
  WATCHER,
  arrived,
  arrivedBelow,
  blobOf,
  exists,
  machine,
  packetsOf,
  scaleSet,
  startStorage,
  timesOf,
  type Storage,
} from './harness.ts';
import { until } from '../until.ts';

/** What arrives: one file, the several of scale sets and continuous captures, and what faults make of them. */

const ARGS = ['--no-tcpdump', '--pace', '0.01'];

let storage: Storage;
let emulator: Emulator;
beforeAll(async () => {
  storage = await startStorage();
  emulator = await Emulator.start(storage.connectionString, ARGS);
});
afterAll(async () => {
  await emulator[Symbol.asyncDispose]();
  await storage.stop();
});

const lowerCase = (id: string) => id.toLowerCase().replaceAll('/', String.raw`\/`);
const STAMP = String.raw`\d{4}\/\d\d\/\d\d\/packetcapture_\d\d_\d\d_\d\d_\d{3}`;
const below = (capture: any): [string, string] => {
  const [container, blob] = blobOf(capture);
  return [container, blob.replace(/\.cap$/, '')];
};

describe.concurrent('a scale set', () => {
  const set = { target: scaleSet('frontend'), targetType: 'AzureVMSS' };
  const gone = (instance: number) =>
    `${scaleSet('frontend')}/virtualMachines/${instance} does not exist or is in stopped state.`;

  test('gives a file of each instance, in a folder named after the capture', async () => {
    const { body } = await emulator.create('Whole-Set', { ...set, timeLimitInSeconds: 1 });
    expect(body.properties.targetType).toBe('AzureVMSS');
    expect(new URL(body.properties.storageLocation.storagePath).pathname).toMatch(
      new RegExp(`^/network-watcher-logs${lowerCase(scaleSet('frontend'))}/${STAMP}/Whole-Set/$`),
    );
    const files = await arrivedBelow(storage, blobOf(body), 3);
    expect(Object.keys(files)).toEqual(['frontend_0.cap', 'frontend_1.cap', 'frontend_2.cap']);
    for (const file of Object.values(files)) expect(packetsOf(file).length).toBeGreaterThan(3);
    const { packetCaptureStatus, stopReason, packetCaptureError } = await emulator.status('Whole-Set');
    expect({ packetCaptureStatus, stopReason, packetCaptureError }).toEqual({
      packetCaptureStatus: 'Stopped',
      stopReason: '3 VM Instance(s) stopped due to TimeExceeded Reasons. ',
      packetCaptureError: [],
    });
  });

  test('is captured on the instances that are included; one that does not exist is accepted', async () => {
    const scope = { include: ['0', '7'] };
    const { status, body } = await emulator.create('included', { ...set, scope, timeLimitInSeconds: 1 });
    expect(status).toBe(201);
    const ids = ['0', '7'].map((number) => `${scaleSet('frontend')}/virtualMachines/${number}`);
    expect(body.properties.scope).toEqual({ include: ids, exclude: [] });
    expect((await emulator.settled('included')).properties.provisioningState).toBe('Succeeded');
    await emulator.untilStatus('included', 'Stopped');
    expect(Object.keys(await arrivedBelow(storage, blobOf(body), 1))).toEqual(['frontend_0.cap']);
    expect((await emulator.status('included')).packetCaptureError).toEqual([gone(7)]);
  });

  test('is not captured on those that are excluded, by number or id', async () => {
    const scope = { exclude: ['1', `${scaleSet('frontend')}/virtualMachines/2`] };
    const { body } = await emulator.create('excluded', { ...set, scope });
    await emulator.untilStatus('excluded', 'Running');
    await emulator.arm('POST', `${WATCHER}/packetCaptures/excluded/stop`);
    const { stopReason } = await emulator.untilStatus('excluded', 'Stopped');
    expect(stopReason).toBe('Manual');
    expect(Object.keys(await arrivedBelow(storage, blobOf(body), 1))).toEqual(['frontend_0.cap']);
  });

  test('whose instances do not exist ends at once, without a reason', async () => {
    await emulator.create('nobody', { ...set, scope: { include: ['8', '9'] } });
    expect((await emulator.settled('nobody')).properties.provisioningState).toBe('Succeeded');
    const status = await emulator.status('nobody');
    expect(Object.keys(status)).toEqual([
      'name',
      'id',
      'captureStartTime',
      'packetCaptureStatus',
      'packetCaptureError',
    ]);
    expect(status.packetCaptureError).toEqual([gone(8), gone(9)]);
  });

  test('one instance as the target gives one file', async () => {
    const target = `${scaleSet('frontend')}/virtualMachines/1`;
    const { body } = await emulator.create('instance', { target, targetType: 'AzureVMSS', timeLimitInSeconds: 1 });
    expect(body.properties.scope).toEqual({ include: [], exclude: [] });
    const path = new URL(body.properties.storageLocation.storagePath).pathname;
    expect(path).toMatch(new RegExp(`^/network-watcher-logs${lowerCase(target)}/${STAMP}\\.cap$`));
    expect(packetsOf(await arrived(storage, ...blobOf(body))).length).toBeGreaterThan(3);
  });

  test.each(['batch', 'set-noagent', 'missing-set'])('%s cannot be captured', async (name) => {
    await emulator.create(`on-${name}`, { ...set, target: scaleSet(name) });
    expect((await emulator.settled(`on-${name}`)).properties.provisioningState).toBe('Failed');
    const status = await emulator.status(`on-${name}`);
    expect([status.packetCaptureStatus, status.stopReason]).toEqual(['Stopped', undefined]);
  });

  test('may fail on one instance', async () => {
    await emulator.control({ machines: { 'mixed/1': { errors: ['LocalFileFailed', 'StorageFailed'] } } });
    const { body } = await emulator.create('mixed', { ...set, target: scaleSet('mixed'), timeLimitInSeconds: 1 });
    const files = await arrivedBelow(storage, blobOf(body), 2);
    expect(Object.keys(files)).toEqual(['mixed_0.cap', 'mixed_2.cap']);
    const status = await emulator.status('mixed');
    expect(status.stopReason).toContain('2 VM Instance(s) stopped due to TimeExceeded Reasons. ');
    expect(status.stopReason).toContain('1 VM Instance(s) stopped due to Error Reasons. ');
    expect(status.packetCaptureError).toEqual(['LocalFileFailed', 'StorageFailed']);
  });
});

describe.concurrent('a continuous capture', () => {
  const settings = (fileCount: number, fileSizeInBytes: number, sessionTimeLimitInSeconds = 2) => ({
    continuousCapture: true,
    captureSettings: { fileCount, fileSizeInBytes, sessionTimeLimitInSeconds },
  });

  test('gives the newest files of a ring, named like the path', async () => {
    const { body } = await emulator.create('ring', settings(3, 1200));
    expect(body.properties.storageLocation.storagePath).toMatch(/\.cap$/);
    const { stopReason } = await emulator.untilStatus('ring', 'Stopped');
    expect(stopReason).toBe('TimeExceeded');
    const files = await arrivedBelow(storage, below(body), 3);
    const numbers = Object.keys(files).map((name) => Number(/^_(\d{4})\.cap$/.exec(name)?.[1]));
    expect(numbers).toHaveLength(3);
    expect(numbers[0]).toBeGreaterThan(1);
    expect(numbers).toEqual([0, 1, 2].map((i) => (numbers[0] ?? 0) + i));
    for (const file of Object.values(files)) {
      expect(file.length).toBeLessThanOrEqual(1500);
      expect(packetsOf(file).length).toBeGreaterThan(0);
    }
  });

  test('answers with its settings, and without the limits of others', async () => {
    const localPath = '/var/captures/ring.cap';
    const { body } = await emulator.create('told', {
      ...settings(10, 5000, 60),
      continuousCapture: false,
      storageLocation: { storageId: STORAGE_ID, localPath },
      totalBytesPerSession: 1000,
      timeLimitInSeconds: 1,
    });
    expect(Object.keys(body.properties)).not.toContain('totalBytesPerSession');
    expect(Object.keys(body.properties)).not.toContain('timeLimitInSeconds');
    expect(body.properties).toMatchObject({ ...settings(10, 5000, 60), continuousCapture: false });
    expect(body.properties.storageLocation.localPath).toBe(localPath);
    // An older api-version does not show what came later.
    const old = await emulator.arm('GET', `${WATCHER}/packetCaptures/told`, undefined, '2022-01-01');
    expect(Object.keys(old.body.properties)).not.toContain('captureSettings');
    expect(Object.keys(old.body.properties.storageLocation)).toEqual(['storageId', 'storagePath']);
    await emulator.untilStatus('told', 'Running');
    await emulator.arm('POST', `${WATCHER}/packetCaptures/told/stop`);
    expect((await emulator.untilStatus('told', 'Stopped')).stopReason).toBe('Manual');
  });

  test('a file on the machine alone has an empty path', async () => {
    const { body } = await emulator.create('local-ring', {
      ...settings(2, 2000, 1),
      storageLocation: { localPath: '/var/captures/ring.cap' },
    });
    expect(body.properties.storageLocation).toEqual({ storagePath: '', localPath: '/var/captures/ring.cap' });
  });

  test('of a scale set has a ring of each instance', async () => {
    const { body } = await emulator.create('set-ring', {
      ...settings(2, 2000, 2),
      target: scaleSet('frontend'),
      targetType: 'AzureVMSS',
      scope: { include: ['1', '2'] },
    });
    const names = Object.keys(await arrivedBelow(storage, blobOf(body), 4));
    expect(names.map((name) => name.replace(/\d{4}/, 'N'))).toEqual([
      'frontend_1_N.cap',
      'frontend_1_N.cap',
      'frontend_2_N.cap',
      'frontend_2_N.cap',
    ]);
  });

  test('goes on with its ring in the next process', { timeout: 25_000 }, async () => {
    const first = await Emulator.start(storage.connectionString, ARGS);
    const created = await first.create('survivor', settings(100, 1500, 600));
    await first.untilStatus('survivor', 'Running');
    const local = () => readdirSync(join(first.data, 'captures')).length;
    await until('three files', () => local() > 2);
    await first.stop('SIGKILL');
    const before = local();
    await using second = await Emulator.start(storage.connectionString, ARGS, first.data);
    await until('another file', () => local() > before);
    await second.arm('POST', `${WATCHER}/packetCaptures/survivor/stop`);
    const files = await arrivedBelow(storage, below(created.body), before + 1);
    const times = Object.values(files).flatMap(timesOf);
    expect(times).toEqual(times.toSorted((a, b) => a - b));
    const names = Object.keys(files);
    expect(names).toEqual(names.map((_, i) => `_${String(i + 1).padStart(4, '0')}.cap`));
  });
});

test.concurrent('a file in storage and one on the machine', async () => {
  const storageLocation = { storageId: STORAGE_ID, filePath: String.raw`C:\Captures\both.cap` };
  const { body } = await emulator.create('both', { target: machine('web01'), storageLocation, timeLimitInSeconds: 1 });
  expect(body.properties.storageLocation).toEqual({
    storageId: STORAGE_ID,
    storagePath: expect.stringContaining(`/network-watcher-logs/subscriptions/${SUBSCRIPTION}/resourcegroups/rg-shop/`),
    filePath: String.raw`C:\Captures\both.cap`,
  });
  const file = await arrived(storage, ...blobOf(body));
  expect(packetsOf(file).length).toBeGreaterThan(3);
  expect(emulator.kept()).toContainEqual(file);
});

describe.concurrent('on purpose', () => {
  const on = (vm: string, faults: object) => emulator.control({ machines: { [vm]: faults } });

  /** A capture on a machine that is stopped at once. */
  async function stopped(vm: string): Promise<any> {
    const { body } = await emulator.create(vm, { target: machine(vm) });
    await emulator.untilStatus(vm, 'Running');
    await emulator.arm('POST', `${WATCHER}/packetCaptures/${vm}/stop`);
    await emulator.untilStatus(vm, 'Stopped');
    return body;
  }

  test('a file arrives never, and late', async () => {
    await on('vm-never', { upload: 'never' });
    await on('vm-late', { uploadDelayMs: 2500 });
    const [never, late, usual] = await Promise.all(['vm-never', 'vm-late', 'vm-usual'].map(stopped));
    await arrived(storage, ...blobOf(usual));
    for (const each of [never, late]) expect(await exists(storage, ...blobOf(each))).toBe(false);
    await arrived(storage, ...blobOf(late));
    expect(await exists(storage, ...blobOf(never))).toBe(false);
    await on('vm-never', {});
    await arrived(storage, ...blobOf(never));
  });

  test.each(['damaged', 'garbage', 'empty'])('a file arrives %s', async (upload) => {
    await on(`vm-${upload}`, { upload });
    const file = await arrived(storage, ...blobOf(await stopped(`vm-${upload}`)));
    expect(() => packetsOf(file)).toThrow(/pcap|cut off|range|bounds/);
    if (upload === 'damaged') expect(file.readUInt32LE(0)).toBe(0xa1b2c3d4);
    if (upload === 'empty') expect(file.length).toBe(0);
  });

  test('no file arrives of a machine that is deleted, or when storage fails', async () => {
    const broken = { 'vm-storage': { errors: ['StorageFailed'] }, 'vm-gone': { machine: 'gone' } };
    const created: any[] = [];
    for (const name of [...Object.keys(broken), 'vm-agent']) {
      created.push((await emulator.create(name, { target: machine(name) })).body);
      await emulator.untilStatus(name, 'Running');
    }
    await emulator.control({ machines: { ...broken, 'vm-agent': { errors: ['AgentStopped'] } } });
    for (const { name } of created) await emulator.untilStatus(name, 'Stopped');
    // What an agent had before it stopped does arrive.
    await arrived(storage, ...blobOf(created[2]));
    for (const each of created.slice(0, 2)) expect(await exists(storage, ...blobOf(each))).toBe(false);
  });
});
