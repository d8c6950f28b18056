import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Emulator, NO_STORAGE, STORAGE_ID, WATCHER, ask, machine, type Answer } from './harness.ts';
import { until } from '../until.ts';

/** Every answer is held against one that the real service gave, recorded in the test suites of public projects. */
type Recorded = { status: number; headers: Record<string, string>; requestBody: any; body: any; bodyText?: string };

const recorded = JSON.parse(readFileSync(`${import.meta.dirname}/fixtures/recorded.json`, 'utf8')) as Record<
  string,
  Recorded
>;

let emulator: Emulator;
beforeAll(async () => {
  emulator = await Emulator.start(NO_STORAGE, ['--no-tcpdump', '--pace', '0.1']);
});
afterAll(() => emulator[Symbol.asyncDispose]());

/** Names and kinds of a body's members, in order; of a list, those of its first item. */
function shape(value: unknown): unknown {
  if (Array.isArray(value)) return value.slice(0, 1).map(shape);
  if (typeof value !== 'object' || value === null) return value === null ? 'null' : typeof value;
  return Object.entries(value).map(([name, member]) => [name, shape(member)]);
}

const HEADERS = ['azure-asyncoperation', 'location', 'etag', 'retry-after'] as const;

/** @param stripped headers that the recorder of that file took out */
function expectLike(answer: Answer, name: string, stripped: (typeof HEADERS)[number][] = []): void {
  const like = recorded[name];
  if (!like) throw new Error(`no recording ${name}`);
  const present = (has: (header: string) => boolean) =>
    HEADERS.filter((header) => !stripped.includes(header) && has(header));
  expect(answer.status).toBe(like.status);
  expect(present((header) => answer.headers.has(header))).toEqual(present((header) => header in like.headers));
  if (like.headers['retry-after']) expect(answer.headers.get('retry-after')).toBe(like.headers['retry-after']);
  if (like.headers['content-type']) expect(answer.headers.get('content-type')).toBe(like.headers['content-type']);
  if (like.bodyText) expect(answer.text).toBe(like.bodyText);
  expect(shape(answer.body)).toEqual(like.body === null && !like.bodyText ? 'undefined' : shape(like.body));
}

/** Follows Azure-AsyncOperation to its end; the answers on the way. */
async function poll(answer: Answer): Promise<{ first: Answer; last: Answer }> {
  const url = answer.headers.get('azure-asyncoperation') ?? '';
  const first = await emulator.arm('GET', url);
  const last = await until('the end of the operation', async () => {
    const next = await emulator.arm('GET', url);
    return next.body.status === 'InProgress' ? undefined : next;
  });
  return { first, last };
}

const capture = (name: string) => `${WATCHER}/packetCaptures/${name}`;

test('the life of a capture', { timeout: 20_000 }, async () => {
  expectLike(await emulator.arm('GET', `${WATCHER}/packetCaptures`), 'listEmpty');
  const body = {
    properties: { ...recorded['create']?.requestBody.properties, target: machine('web01') },
  };
  const created = await emulator.arm('PUT', capture('capture1'), body);
  expectLike(created, 'create', ['retry-after']);
  expect(created.headers.get('retry-after')).toBe('10');
  expect(created.body.properties).toEqual({ ...recorded['create']?.body.properties, target: machine('web01') });

  const creating = await poll(created);
  expectLike(creating.first, 'createPollInProgress');
  expectLike(creating.last, 'createPollSucceeded');

  const got = await emulator.arm('GET', capture('capture1'));
  expectLike(got, 'get');
  expect(got.body.properties.provisioningState).toBe('Succeeded');
  expect(got.headers.get('etag')).toBe(got.body.etag);
  expect(got.body.etag).not.toBe(created.body.etag);
  expect((await emulator.arm('GET', WATCHER)).body.etag).toBe(got.body.etag);
  expectLike(await emulator.arm('GET', `${WATCHER}/packetCaptures`), 'list');

  const running = await emulator.arm('POST', `${capture('capture1')}/queryStatus`);
  expectLike(running, 'statusRunning');
  expect(running.body.packetCaptureStatus).toBe('Running');
  const location = running.headers.get('location') ?? '';
  const early = await emulator.arm('GET', location);
  expectLike(early, 'statusResultEarly');
  const result = await until('the status', async () => {
    const next = await emulator.arm('GET', location);
    return next.status === 200 ? next : undefined;
  });
  expectLike(result, 'statusResult');
  expect(result.body).toEqual(running.body);
  expect(result.headers.get('x-ms-request-id')).toBe(running.headers.get('x-ms-request-id'));
  const operationId = running.headers.get('x-ms-request-id');
  const remembered = (await emulator.arm('GET', capture('capture1'))).body;
  expect(remembered.properties.queryPacketCaptureLastOperationId).toBe(operationId);

  const stop = await emulator.arm('POST', `${capture('capture1')}/stop`);
  expectLike(stop, 'stop');
  const stopping = await poll(stop);
  expectLike(stopping.first, 'stopPollInProgress', ['retry-after']);
  expectLike(stopping.last, 'stopPollSucceeded');
  expectLike(await emulator.arm('GET', stop.headers.get('location') ?? ''), 'stopResult');
  const stopped = await emulator.arm('POST', `${capture('capture1')}/queryStatus`);
  expectLike(stopped, 'statusStopped');
  expect(stopped.body).toMatchObject({ packetCaptureStatus: 'Stopped', stopReason: 'Manual', packetCaptureError: [] });

  const remove = await emulator.arm('DELETE', capture('capture1'));
  expectLike(remove, 'delete');
  const removing = await poll(remove);
  expectLike(removing.last, 'deletePollSucceeded');
  expectLike(await emulator.arm('GET', remove.headers.get('location') ?? ''), 'deleteResult');
  expectLike(await emulator.arm('GET', capture('capture1')), 'getMissing');
  expectLike(await emulator.arm('DELETE', capture('capture1')), 'deleteMissing');
});

test('a storage account gets a path in the recorded form', async () => {
  const filters = [{ protocol: 'TCP' }];
  const properties = { timeLimitInSeconds: 1500, filters, storageLocation: { storageId: STORAGE_ID } };
  const created = await emulator.create('stored', { ...properties, target: machine('Web01') });
  // scope, targetType and type came later than this recording.
  const { scope, targetType, ...older } = created.body.properties;
  expect(scope).toEqual({ include: [], exclude: [] });
  expect(targetType).toBe('AzureVM');
  const { type: _, ...body } = { ...created.body, properties: older };
  expectLike({ ...created, body }, 'createToStorage');
  expect(created.body.properties.filters).toEqual(recorded['createToStorage']?.body.properties.filters);
  expect(created.body.properties.storageLocation.storagePath).toMatch(
    new RegExp(
      `^https://devstoreaccount1\\.blob\\.core\\.windows\\.net/network-watcher-logs${machine('web01').toLowerCase()}/\\d{4}/\\d\\d/\\d\\d/packetcapture_\\d\\d_\\d\\d_\\d\\d_\\d{3}\\.cap$`,
    ),
  );
});

test('a capture ends at its time limit', async () => {
  await emulator.create('timed', { timeLimitInSeconds: 1 });
  await emulator.untilStatus('timed', 'Stopped');
  const status = await emulator.arm('POST', `${capture('timed')}/queryStatus`);
  expectLike(status, 'statusTimeExceeded');
  expect(status.body.stopReason).toBe('TimeExceeded');
});

test('watchers, machines and extensions', async () => {
  const all = `/subscriptions/${WATCHER.split('/')[2]}/providers`;
  const watchers = await emulator.arm('GET', `${all}/Microsoft.Network/networkWatchers`);
  expectLike(watchers, 'watchers');
  expect(watchers.body.value.map((watcher: any) => watcher.location)).toEqual(['westus2', 'westeurope', 'eastus']);
  expectLike(await emulator.arm('GET', machine('any-other'), undefined, '2025-11-01'), 'machine');
  const extension = (await emulator.arm('GET', machine('web01'))).body.resources[0];
  expectLike(await emulator.arm('GET', extension.id as string), 'extension');
  expect((await emulator.arm('GET', `${all}/Microsoft.Compute/virtualMachines`)).body.value.length).toBeGreaterThan(2);
  expect((await emulator.arm('GET', machine('some-noagent'))).body.resources).toBeUndefined();
  expect((await emulator.arm('GET', machine('missing-one'))).body.error.code).toBe('ResourceNotFound');
});

test('links are signed anew and are as long as the real ones', async () => {
  await emulator.create('linked', { timeLimitInSeconds: 1 });
  const stop = await emulator.arm('POST', `${capture('linked')}/stop`);
  const [one = '', other = ''] = [stop.headers.get('location'), stop.headers.get('azure-asyncoperation')].map(String);
  for (const link of [one, other]) {
    expect(link.length).toBeGreaterThan(3000);
    expect(link.length).toBeLessThan(4000);
    expect([...new URL(link).searchParams.keys()]).toEqual(['api-version', 't', 'c', 's', 'h']);
  }
  expect(new URL(one).searchParams.get('s')).not.toBe(new URL(other).searchParams.get('s'));
});

describe('what is refused', () => {
  test('paths match in any letter case', async () => {
    expect((await emulator.arm('GET', WATCHER.toUpperCase())).status).toBe(200);
  });

  test('no authorization, no api-version, no such subscription', async () => {
    expect((await ask(`${emulator.url}${WATCHER}?api-version=2026-01-01`, {})).status).toBe(401);
    const headers = { authorization: 'Bearer any' };
    const unversioned = await ask(`${emulator.url}${WATCHER}`, { headers });
    expect(unversioned.body.error.code).toBe('MissingApiVersionParameter');
    expect(unversioned.status).toBe(400);
    const stranger = WATCHER.replace(/subscriptions\/[^/]+/, 'subscriptions/99999999-0000-0000-0000-000000000000');
    expect((await emulator.arm('GET', stranger)).body.error.code).toBe('SubscriptionNotFound');
    expect((await emulator.arm('GET', '/providers/unknown')).status).toBe(404);
  });

  test.each([
    ['timeLimitInSeconds', 18_001],
    ['totalBytesPerSession', 4_294_967_296],
    ['bytesToCapturePerPacket', -1],
    ['target', 'web01'],
    ['storageLocation', {}],
  ])('a %s of %o', async (name, value) => {
    const answer = await emulator.create('refused', { [name]: value });
    expect(answer.status).toBe(400);
    expect(answer.body.error.target).toBe(name);
    expect((await emulator.arm('GET', capture('refused'))).status).toBe(404);
  });

  test('a name that is taken', async () => {
    await emulator.create('twice', { timeLimitInSeconds: 1 });
    expect((await emulator.create('TWICE')).status).toBe(409);
  });

  test.each(['missing', 'noagent', 'agentfailed'])(
    'a machine that is %s: the create fails, and stays',
    async (name) => {
      const created = await emulator.create(`on-${name}`, { target: machine(`vm-${name}`) });
      expect(created.status).toBe(201);
      const { last } = await poll(created);
      expect(last.body.status).toBe('Failed');
      expect(Object.keys(last.body.error)).toEqual(['code', 'message', 'details']);
      const listed = (await emulator.arm('GET', `${WATCHER}/packetCaptures`)).body.value;
      const kept = listed.find((each: any) => each.name === `on-${name}`);
      expect(kept.properties.provisioningState).toBe('Failed');
    },
  );
});

test('faults and the request log', async () => {
  expect((await emulator.control({ down: true })).body.faults.down).toBe(true);
  expect((await emulator.arm('GET', WATCHER)).status).toBe(503);
  expect((await emulator.control({ down: 'perhaps' })).status).toBe(400);
  expect((await emulator.control({ unheard: 1 })).status).toBe(400);
  await emulator.control(null);
  expect((await emulator.arm('GET', WATCHER)).status).toBe(200);
  const requests = (await ask(`${emulator.url}/_log`, {})).body;
  expect(requests.at(-1)).toMatchObject({ method: 'GET', path: WATCHER, apiVersion: '2026-01-01', status: 200 });
  expect(requests.at(-2).status).toBe(503);

  await emulator.control({ limits: 'ignored' });
  await emulator.create('endless', { timeLimitInSeconds: 1 });
  const { captureStartTime } = await emulator.untilStatus('endless', 'Running');
  await until('two seconds', () => Date.now() > Date.parse(captureStartTime as string) + 2000);
  expect((await emulator.status('endless')).packetCaptureStatus).toBe('Running');
  await emulator.control({ limits: 'normal' });
  await emulator.untilStatus('endless', 'Stopped');
});
