import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Emulator, NO_STORAGE, WATCHER, ask, machine, type Answer } from './harness.ts';
import { ANSWERS, CALL_KINDS, givenRule, noFaults } from '../../local/arm/faults.ts';
import { until } from '../until.ts';

/**
 * Faults of captures and machines; those of calls are in fault-calls.test.ts, those of files in files.test.ts. Each capture has
 * a machine of its own, with its own name.
 */

let emulator: Emulator;
beforeAll(async () => {
  emulator = await Emulator.start(NO_STORAGE, ['--no-tcpdump', '--pace', '0.002']);
});
afterAll(() => emulator[Symbol.asyncDispose]());

const capture = (name: string) => `${WATCHER}/packetCaptures/${name}`;
const on = (name: string, faults: object) => emulator.control({ machines: { [name]: faults } });
const call = (name: string, action: 'stop' | 'queryStatus') => emulator.arm('POST', `${capture(name)}/${action}`);
const link = (answer: { headers: Headers }) => answer.headers.get('azure-asyncoperation') ?? '';
const create = (name: string, properties: object = {}): Promise<Answer> =>
  emulator.create(name, { target: machine(name), ...properties });

async function running(name: string, properties: object = {}): Promise<void> {
  await create(name, properties);
  await emulator.untilStatus(name, 'Running');
}

/** Time in which what is not to happen could happen: the emulator looks every 40 ms. */
async function aWhile(): Promise<void> {
  const past = Date.now() + 300;
  await until('a while', () => Date.now() > past);
}

describe('the control call', () => {
  test('tells all faults, keeps those that are not named, and takes all back', async () => {
    const first = await emulator.control({ delayMs: 1, machines: { Web01: { create: 'fail' } } });
    expect(first.body).toMatchObject({ violations: 0, faults: { delayMs: 1, upload: 'normal', sessionLimit: 10_000 } });
    const second = await emulator.control({ machines: { web02: { hold: true } } });
    expect(second.body.faults.delayMs).toBe(1);
    expect(second.body.faults.machines).toEqual({ web01: { create: 'fail' }, web02: { hold: true } });
    const third = await emulator.control({ machines: { WEB01: null } });
    expect(third.body.faults.machines).toEqual({ web02: { hold: true } });
    expect((await ask(`${emulator.url}/_control`, {})).body).toEqual(third.body);
    expect((await emulator.control(null)).body.faults).toMatchObject({ delayMs: 0, machines: {} });
  });

  test.each([
    ['down', { down: 'perhaps' }],
    ['unheard', { unheard: 1 }],
    ['machines.web01.delayMs', { machines: { web01: { delayMs: 1 } } }],
    ['calls.0.on', { calls: [{ on: 'everything' }] }],
    ['calls.0.anser', { calls: [{ anser: '500' }] }],
    ['random.rate', { random: { seed: 1, rate: 2 } }],
  ])('says what is wrong: %s', async (where, faults) => {
    const { status, body } = await emulator.control(faults);
    expect(status).toBe(400);
    expect(body.error.message).toContain(where);
    expect((await ask(`${emulator.url}/_control`, {})).body.faults.calls).toEqual([]);
  });

  test('is what the document says', () => {
    const document = readFileSync('docs/sandbox.md', 'utf8').split('## Faults on purpose')[1]?.split('\n## ')[0] ?? '';
    const [faults = '', calls = ''] = document.split('A rule of `calls`');
    /** Names in the first column of a table, with the words of the second. */
    const rows = (text: string) =>
      [...text.matchAll(/^\| `(\w+)` \| ([^|]*) \|/gm)].map(([, name, words]) => [name, words]);
    const named = (text: string) => new Set(rows(text).map(([name]) => name));
    expect(named(faults)).toEqual(new Set(Object.keys(noFaults())));
    expect(named(calls)).toEqual(new Set(Object.keys(givenRule.entries)));
    const words = (name: string) =>
      [...(rows(calls).find(([each]) => each === name)?.[1] ?? '').matchAll(/`"?([\w-]+)"?`/g)].map(([, word]) => word);
    expect(words('on')).toEqual(CALL_KINDS);
    expect(words('answer')).toEqual(ANSWERS);
  });

  test('a create is refused when there are too many sessions', async () => {
    await running('first');
    await emulator.control({ sessionLimit: 1 });
    const second = await create('second');
    expect([second.status, second.body.error.code]).toEqual([400, 'PacketCaptureCountLimitReached']);
    await call('first', 'stop');
    await emulator.untilStatus('first', 'Stopped');
    expect((await create('third')).status).toBe(201);
    await emulator.control(null);
  });
});

describe.concurrent('create', () => {
  test('fails in its operation alone, and stays listed', async () => {
    await on('fails', { create: { code: 'AgentTooOld', message: 'Update the agent.' } });
    const created = await create('fails');
    expect(created.status).toBe(201);
    const over = await emulator.over(link(created));
    expect(over.body).toEqual({
      status: 'Failed',
      error: { code: 'AgentTooOld', message: 'Update the agent.', details: [] },
    });
    const listed = (await emulator.arm('GET', `${WATCHER}/packetCaptures`)).text;
    expect(listed).toContain('/packetCaptures/fails');
    expect(listed).not.toContain('AgentTooOld');
    // Others are not concerned.
    await running('fine');
  });

  test('of an agent that never starts stays Updating until it is deleted', async () => {
    await on('stuck', { create: 'stuck' });
    const created = await create('stuck');
    await aWhile();
    expect((await emulator.arm('GET', capture('stuck'))).body.properties.provisioningState).toBe('Updating');
    expect((await emulator.arm('GET', link(created))).body.status).toBe('InProgress');
    expect((await emulator.status('stuck')).packetCaptureStatus).toBe('NotStarted');
    await emulator.arm('DELETE', capture('stuck'));
    await emulator.removed('stuck');
  });
});

describe.concurrent('operations', () => {
  test('are held as long as it is wished', async () => {
    await running('held');
    await on('held', { hold: true });
    const stop = await call('held', 'stop');
    await aWhile();
    expect((await emulator.arm('GET', link(stop))).body).toEqual({ status: 'InProgress' });
    await on('held', {});
    expect((await emulator.over(link(stop))).body.status).toBe('Succeeded');
  });

  test('take as long as it is said', async () => {
    await on('slow', { operationSeconds: 1 });
    const before = Date.now();
    await emulator.over(link(await create('slow')));
    expect(Date.now() - before).toBeGreaterThan(950);
  });

  test.each(['stop', 'delete'] as const)('a %s fails, inside a 200', async (kind) => {
    const name = `${kind}-fails`;
    await running(name);
    await on(name, { [kind]: 'fail' });
    const begun = kind === 'stop' ? await call(name, 'stop') : await emulator.arm('DELETE', capture(name));
    expect(begun.status).toBe(202);
    const over = await emulator.over(link(begun));
    expect([over.status, over.body.status, over.body.error.code]).toEqual([200, 'Failed', 'InternalServerError']);
    expect((await emulator.arm('GET', begun.headers.get('location') ?? '')).status).toBe(500);
    expect((await emulator.status(name)).packetCaptureStatus).toBe('Running');
    expect((await emulator.arm('GET', capture(name))).body.properties.provisioningState).toBe('Succeeded');
  });

  test('a stop has no effect', async () => {
    await running('deaf');
    await on('deaf', { stop: 'no-effect' });
    expect((await emulator.over(link(await call('deaf', 'stop')))).body.status).toBe('Succeeded');
    expect((await emulator.status('deaf')).packetCaptureStatus).toBe('Running');
  });
});

describe.concurrent('the run', () => {
  test.each([[['AgentStopped']], [['LocalFileFailed', 'StorageFailed']], [['StorageFailed']], [['CaptureFailed']]])(
    'ends with %o',
    async (errors) => {
      const name = `ends-${errors.join('-')}`;
      await running(name);
      await on(name, { errors });
      const status = await emulator.untilStatus(name, 'Stopped');
      expect(status).toMatchObject({ stopReason: 'Error', packetCaptureError: errors });
    },
  );

  test('outlives its time limit', async () => {
    await on('endless', { limits: 'ignored' });
    await running('endless', { timeLimitInSeconds: 1 });
    await running('limited', { timeLimitInSeconds: 1 });
    await emulator.untilStatus('limited', 'Stopped');
    await aWhile();
    expect((await emulator.status('endless')).packetCaptureStatus).toBe('Running');
    await on('endless', {});
    expect((await emulator.untilStatus('endless', 'Stopped')).stopReason).toBe('TimeExceeded');
  });

  test.each([['TotalBytesExceeded'], [null]])('ends at its size with the reason %o', async (sizeStopReason) => {
    const name = `size-${sizeStopReason}`;
    await on(name, { sizeStopReason });
    await create(name, { totalBytesPerSession: 500 });
    const status = await emulator.untilStatus(name, 'Stopped');
    expect([status.stopReason ?? null, 'stopReason' in status]).toEqual([sizeStopReason, sizeStopReason !== null]);
  });

  test('ends when its machine is deleted', async () => {
    await running('gone');
    await on('gone', { machine: 'gone' });
    expect((await emulator.arm('GET', machine('gone'))).status).toBe(404);
    const status = await emulator.untilStatus('gone', 'Stopped');
    expect(status).toMatchObject({ stopReason: 'Error', packetCaptureError: ['AgentStopped'] });
    await create('too-late', { target: machine('gone') });
    expect((await emulator.settled('too-late')).properties.provisioningState).toBe('Failed');
    await on('gone', {});
    expect((await emulator.arm('GET', machine('gone'))).status).toBe(200);
    await running('back', { target: machine('gone') });
  });

  test('goes on for ever when its machine is deleted', async () => {
    await running('ghost', { timeLimitInSeconds: 1 });
    await on('ghost', { machine: 'gone-running' });
    expect((await emulator.arm('GET', machine('ghost'))).status).toBe(404);
    await running('alive', { timeLimitInSeconds: 1 });
    await emulator.untilStatus('alive', 'Stopped');
    await emulator.over(link(await call('ghost', 'stop')));
    expect((await emulator.status('ghost')).packetCaptureStatus).toBe('Running');
    await emulator.arm('DELETE', capture('ghost'));
    await emulator.removed('ghost');
  });
});

describe.concurrent('the status', () => {
  test('is null at first', async () => {
    await running('null');
    await on('null', { status: 'null' });
    const asked = await call('null', 'queryStatus');
    expect([asked.status, asked.text]).toEqual([202, 'null']);
    const { body } = await emulator.over(asked.headers.get('location') ?? '');
    expect(body.packetCaptureStatus).toBe('Running');
  });

  test.each([
    ['old', /^\d{1,2}\/\d{1,2}\/\d{4} \d{1,2}:\d\d:\d\d[AP]M$/],
    ['absurd', /^0001-01-01T00:00:00$/],
  ])('has an %s time', async (startTime, form) => {
    await running(`time-${startTime}`);
    await on(`time-${startTime}`, { startTime });
    expect((await emulator.status(`time-${startTime}`)).captureStartTime).toMatch(form);
  });

  test('has no time', async () => {
    await running('timeless');
    await on('timeless', { startTime: 'missing' });
    expect(Object.keys(await emulator.status('timeless'))).not.toContain('captureStartTime');
  });
});
