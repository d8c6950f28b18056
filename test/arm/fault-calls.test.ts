import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { Emulator, NO_STORAGE, WATCHER, ask, machine, type Answer } from './harness.ts';
import { until } from '../until.ts';

/** Calls that go wrong: by rules, and at random. */

let emulator: Emulator;
beforeAll(async () => {
  emulator = await Emulator.start(NO_STORAGE, ['--no-tcpdump', '--pace', '0.002']);
});
afterAll(() => emulator[Symbol.asyncDispose]());
afterEach(() => emulator.control(null));

const list = `${WATCHER}/packetCaptures`;
const get = (path = list) => emulator.arm('GET', path);
const rule = (...calls: object[]) => emulator.control({ calls });
const control = async () => (await ask(`${emulator.url}/_control`, {})).body;
const log = async () => (await ask(`${emulator.url}/_log`, {})).body;

describe('answers', () => {
  test.each([
    ['401', 401, 'InvalidAuthenticationToken'],
    ['403', 403, 'AuthorizationFailed'],
    ['409', 409, 'RetryableErrorDueToAnotherOperation'],
    ['429', 429, 'SubscriptionRequestsThrottled'],
    ['429-busy', 429, 'RetryableErrorDueToAnotherOperation'],
    ['500', 500, 'InternalServerError'],
    ['500-service', 500, 'InternalServerError'],
    ['500-nested', 500, 'MultipleErrorsOccurred'],
    ['503', 503, 'ServiceUnavailable'],
    ['504', 504, 'GatewayTimeout'],
  ])('%s', async (answer, status, code) => {
    await rule({ answer, times: 1 });
    const wrong = await get();
    expect([wrong.status, wrong.body.error.code]).toEqual([status, code]);
    expect((await log()).at(-1)).toMatchObject({ status, fault: answer });
  });

  test('401 has a challenge, and 403 names the action that is missing', async () => {
    await rule({ answer: '401' });
    expect((await get()).headers.get('www-authenticate')).toContain('invalid_token');
    await rule({ on: 'create', answer: '403' });
    const { body } = await emulator.create('forbidden');
    expect(body.error.message).toContain("'Microsoft.Network/networkWatchers/packetCaptures/write'");
    expect((await get()).status).toBe(200);
  });

  test.each([
    ['html', 502, /^<html>/],
    ['empty', 502, /^$/],
    ['200-html', 200, /^<html>/],
    ['200-empty', 200, /^$/],
  ])('%s is no JSON', async (answer, status, text) => {
    await rule({ answer });
    const wrong = await get();
    expect(wrong.status).toBe(status);
    expect(wrong.text).toMatch(text);
  });

  test('a connection is broken, or left open', async () => {
    await rule({ answer: 'reset' });
    await expect(get()).rejects.toThrow('fetch failed');
    expect((await log()).at(-1)).toMatchObject({ status: 0, fault: 'reset' });
    await rule({ answer: 'hang' });
    const headers = { authorization: 'Bearer any' };
    const url = `${emulator.url}${list}?api-version=2026-01-01`;
    await expect(fetch(url, { headers, signal: AbortSignal.timeout(200) })).rejects.toThrow('timeout');
    await rule();
    expect((await get()).status).toBe(200);
  });
});

describe('rules', () => {
  test('let some calls pass, then count', async () => {
    await rule({ on: 'list', answer: '504', after: 1, times: 2 });
    const statuses: number[] = [];
    for (let i = 0; i < 5; i += 1) statuses.push((await get()).status);
    expect(statuses).toEqual([200, 504, 504, 200, 200]);
    expect((await control()).faults.calls[0]).toMatchObject({ seen: 5, hit: 2 });
  });

  test('end after their time', async () => {
    await rule({ on: 'list', answer: '409', seconds: 0.3 });
    const before = Date.now();
    expect((await get()).status).toBe(409);
    await until('the end of the rule', async () => (await get()).status === 200);
    expect(Date.now() - before).toBeGreaterThanOrEqual(300);
  });

  test('concern one watcher by its path', async () => {
    const other = WATCHER.replace('NetworkWatcherRG', 'rg-network-ops').replace('NetworkWatcher_westus2', 'nw-weu-ops');
    await rule({ on: 'list', path: 'NW-WEU-ops', answer: '500' });
    expect([(await get()).status, (await get(`${other}/packetCaptures`)).status]).toEqual([200, 500]);
  });

  test('concern one machine: what asks for it, its captures, their operations', async () => {
    await emulator.create('mine', { target: machine('web02') });
    const fine = await emulator.create('fine', { target: machine('web01') });
    await emulator.settled('mine');
    const stop = await emulator.arm('POST', `${list}/mine/stop`);
    await emulator.control({ machines: { web02: { calls: [{ answer: '503' }] } } });
    const calls: [string, string][] = [
      ['GET', machine('web02')],
      ['GET', `${machine('web02')}/extensions`],
      ['GET', `${list}/mine`],
      ['POST', `${list}/mine/queryStatus`],
      ['GET', stop.headers.get('location') ?? ''],
      ['GET', stop.headers.get('azure-asyncoperation') ?? ''],
    ];
    for (const [method, path] of calls) expect((await emulator.arm(method, path)).status).toBe(503);
    expect((await emulator.create('more', { target: machine('web02') })).status).toBe(503);
    expect((await emulator.arm('GET', `${list}/more`)).status).toBe(404);
    expect((await emulator.arm('GET', machine('web01'))).status).toBe(200);
    expect((await emulator.arm('GET', `${list}/fine`)).status).toBe(200);
    expect((await emulator.arm('GET', fine.headers.get('azure-asyncoperation') ?? '')).status).toBe(200);
  });

  test.each(['reset', '504'])('%s loses only the answer when the call is carried out', async (answer) => {
    await rule({ on: ['create', 'delete'], answer, carriedOut: true });
    await emulator.create(`lost-${answer}`).catch(() => undefined);
    expect((await emulator.arm('GET', `${list}/lost-${answer}`)).status).toBe(200);
    await emulator.arm('DELETE', `${list}/lost-${answer}`).catch(() => undefined);
    await emulator.removed(`lost-${answer}`);
  });

  test('may be slow only', async () => {
    await rule({ on: 'list', delayMs: 300 });
    const before = Date.now();
    expect((await get()).status).toBe(200);
    expect(Date.now() - before).toBeGreaterThanOrEqual(295);
  });

  test('are kept over a restart', async () => {
    const first = await Emulator.start(NO_STORAGE, ['--no-tcpdump']);
    await first.control({ calls: [{ on: 'list', answer: '500', times: 2 }], machines: { x: { hold: true } } });
    expect((await first.arm('GET', list)).status).toBe(500);
    await first.stop('SIGKILL');
    await using second = await Emulator.start(NO_STORAGE, ['--no-tcpdump'], first.data);
    const statuses: number[] = [];
    for (let i = 0; i < 2; i += 1) statuses.push((await second.arm('GET', list)).status);
    expect(statuses).toEqual([500, 200]);
  });
});

describe('throttling', () => {
  const retryAfter = (answer: Answer) => Number(answer.headers.get('retry-after'));

  test('a call that waits is answered; one that does not is a violation', async () => {
    await rule({ on: 'list', answer: '429', retryAfterSeconds: 2 });
    const first = await get();
    expect([first.status, retryAfter(first)]).toEqual([429, 2]);
    // Another one cannot know.
    const other = WATCHER.replace('NetworkWatcherRG', 'rg-network-ops').replace('NetworkWatcher_westus2', 'nw-weu-ops');
    expect((await get(`${other}/packetCaptures`)).status).toBe(429);
    expect((await control()).violations).toBe(0);
    expect((await get()).status).toBe(429);
    expect((await control()).violations).toBe(1);
    expect((await log()).filter((each: any) => each.violation)).toHaveLength(1);
    await until('the end of the throttling', async () => (await get()).status === 200);
    expect((await emulator.control(null)).body.violations).toBe(0);
  });

  test('whoever obeys has no violation', async () => {
    await rule({ answer: '429', retryAfterSeconds: 1 });
    const told = Date.now() + retryAfter(await get()) * 1000;
    await until('its time', () => Date.now() >= told);
    expect((await get()).status).toBe(200);
    expect((await control()).violations).toBe(0);
  });

  test('other refusals may say how long to wait', async () => {
    await rule({ on: 'list', answer: '503', retryAfterSeconds: 7, times: 1 });
    expect(retryAfter(await get())).toBe(7);
  });
});

describe('random faults', () => {
  /** What happens to so many calls: a status, 0 for a broken connection. */
  async function fates(count: number): Promise<number[]> {
    const found: number[] = [];
    for (let i = 0; i < count; i += 1) {
      found.push((await get(`${list}/some-${i % 3}`).catch(() => undefined))?.status ?? 0);
    }
    return found;
  }

  test('are the same for the same seed', async () => {
    await emulator.control({ random: { seed: 7, rate: 0.3 } });
    const first = await fates(40);
    await emulator.control({ random: { seed: 7, rate: 0.3 } });
    expect(await fates(40)).toEqual(first);
    await emulator.control({ random: { seed: 8, rate: 0.3 } });
    expect(await fates(40)).not.toEqual(first);
    const wrong = first.filter((status) => status !== 404).length;
    expect(wrong).toBeGreaterThan(5);
    expect(wrong).toBeLessThan(25);
  });

  test('never go on for more than two calls of a kind', async () => {
    await emulator.control({ random: { seed: 1, rate: 1 } });
    const statuses: number[] = [];
    for (let i = 0; i < 9; i += 1) statuses.push((await get(`${list}/same`).catch(() => undefined))?.status ?? 0);
    expect([2, 5, 8].map((i) => statuses[i])).toEqual([404, 404, 404]);
  });
});

test('everything is down', async () => {
  await emulator.control({ down: true });
  expect((await get()).status).toBe(503);
  await emulator.control(null);
  expect((await get()).status).toBe(200);
  const requests = await log();
  expect(requests.at(-1)).toMatchObject({ method: 'GET', path: list, apiVersion: '2026-01-01', status: 200 });
  expect(requests.at(-2).status).toBe(503);
});
