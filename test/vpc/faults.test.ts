import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { until } from '../until.ts';
import { ALL, COLLECTOR, Emulator, type Value } from './harness.ts';

let cloud: Emulator;
beforeAll(async () => {
  cloud = await Emulator.start();
});
afterAll(() => cloud[Symbol.asyncDispose]());
afterEach(() => cloud.control({ faults: null }));

const LIST = 'ListTrafficMirrorSessions';
const CREATE = 'CreateTrafficMirrorSession';
const asked = (priority: number, more: Record<string, Value> = {}): Record<string, Value> => ({
  Priority: priority,
  TrafficMirrorFilterId: ALL,
  TrafficMirrorTargetId: COLLECTOR,
  TrafficMirrorTargetType: 'NetworkInterface',
  TrafficMirrorSourceIds: [`eni-of${priority}`],
  ...more,
});
const rules = (...calls: object[]) => cloud.control({ faults: { calls } });
const totalOf = async (priority: number) => (await cloud.done(LIST, { Priority: priority })).TotalCount;

describe('calls that go wrong', () => {
  test('a code with its documented text, so many times, after some', async () => {
    await rules({ on: LIST, code: 'IncorrectStatus.TrafficMirrorSession', after: 1, times: 2 });
    const codes = [];
    for (let i = 0; i < 4; i += 1) codes.push((await cloud.call(LIST)).body.Code);
    const code = 'IncorrectStatus.TrafficMirrorSession';
    expect(codes).toEqual([undefined, code, code, undefined]);
    expect((await cloud.own('/_control')).faults.calls).toMatchObject([{ seen: 4, hit: 2 }]);
  });

  test('any code with any status and text', async () => {
    await rules({ on: [LIST], code: 'Strange.Thing', status: 418, message: 'tea' });
    const { status, body } = await cloud.call(LIST);
    expect([status, body.Code, body.Message]).toEqual([418, 'Strange.Thing', 'tea']);
  });

  test('only where a parameter has the text', async () => {
    await rules({ where: 'eni-of310', code: 'OperationConflict' });
    expect((await cloud.call(CREATE, asked(310))).status).toBe(409);
    expect((await cloud.call(CREATE, asked(311))).status).toBe(200);
  });

  test.each<[string, object, number, string | undefined]>([
    ['500', { answer: '500' }, 500, 'InternalError'],
    ['503', { answer: '503' }, 503, 'ServiceUnavailable'],
    ['a page', { answer: 'html' }, 502, undefined],
    ['nothing', { answer: 'empty' }, 503, undefined],
    ['403', { code: 'Forbidden.RAM' }, 403, 'Forbidden.RAM'],
  ])('answered with %s', async (_, fault, status, code) => {
    await rules({ on: LIST, ...fault });
    const answer = await cloud.call(LIST);
    expect([answer.status, answer.body?.Code]).toEqual([status, code]);
    if (status === 403) {
      expect(answer.body.AccessDeniedDetail).toMatchObject({ AuthAction: 'vpc:ListTrafficMirrorSessions' });
    }
  });

  test('told to wait, in milliseconds; who comes too early is counted', async () => {
    await rules({ on: LIST, code: 'Throttling.User', retryAfterMs: 400 });
    const first = await cloud.call(LIST);
    expect([first.status, first.body.Code]).toEqual([400, 'Throttling.User']);
    expect(Number(first.headers['x-acs-retry-after'])).toBeGreaterThan(300);
    const again = await cloud.call(LIST);
    expect(Number(again.headers['x-acs-retry-after'])).toBeLessThanOrEqual(400);
    expect((await cloud.own('/_control')).violations).toBe(1);
    const log = await cloud.own('/_log');
    expect(log.slice(-2)).toMatchObject([{ fault: 'Throttling.User' }, { fault: 'Throttling.User', violation: true }]);
    await until('the end of it', async () => (await cloud.call(LIST)).status === 200);
  });

  test.each<[string, boolean, string]>([
    ['before', false, '0'],
    ['after', true, '1'],
  ])('the connection breaks %s the effect', async (_, carriedOut, total) => {
    const priority = carriedOut ? 322 : 321;
    const given = asked(priority, { ClientToken: crypto.randomUUID() });
    await rules({ on: CREATE, answer: 'reset', carriedOut, times: 1 });
    await expect(cloud.call(CREATE, given)).rejects.toThrow(/ECONNRESET|socket hang up/);
    expect(await totalOf(priority)).toBe(total);
    // The same token makes it one session in either case.
    await cloud.done(CREATE, given);
    expect(await totalOf(priority)).toBe('1');
    expect((await cloud.own('/_log')).filter((each: any) => each.fault === 'reset').at(-1)).toMatchObject({
      status: 0,
    });
  });

  test('no answer at all, although it was done', async () => {
    await rules({ on: CREATE, answer: 'hang', carriedOut: true, times: 1 });
    const pending = cloud.call(CREATE, asked(323)).catch(() => 'broken');
    await until('the session', async () => (await totalOf(323)) === '1');
    expect(await Promise.race([pending, Promise.resolve('still open')])).toBe('still open');
  });

  test('slow', async () => {
    await rules({ on: LIST, delayMs: 300, times: 1 });
    const began = Date.now();
    expect((await cloud.call(LIST)).status).toBe(200);
    expect(Date.now() - began).toBeGreaterThanOrEqual(295);
  });

  test('everything is down', async () => {
    await cloud.control({ faults: { down: true } });
    expect((await cloud.call(LIST)).status).toBe(503);
  });

  test('at random, the same for the same seed, and never for ever', async () => {
    const round = async () => {
      await cloud.control({ faults: { random: { seed: 7, rate: 0.6 } } });
      const statuses: (number | string)[] = [];
      for (let i = 0; i < 12; i += 1)
        statuses.push(
          await cloud.call(LIST).then(
            (each) => each.status,
            () => 'broken',
          ),
        );
      return statuses;
    };
    const first = await round();
    expect(await round()).toEqual(first);
    expect(new Set(first).size).toBeGreaterThan(2);
    const runs = first.map((status) => (status === 200 ? ' ' : 'x')).join('');
    expect(runs).not.toContain('xxx');
  });

  test('a wrong signature is refused all the same', async () => {
    await rules({ on: LIST, code: 'Throttling.User' });
    const keys = { id: 'LTAItest', secret: 'wrong' };
    expect((await cloud.call(LIST, {}, { keys })).body.Code).toBe('SignatureDoesNotMatch');
  });
});

describe('sessions that do not do as they are told', () => {
  test('an update or a delete without effect', async () => {
    const id = await cloud.session(asked(331, { Enabled: true }));
    await cloud.control({ faults: { update: 'no-effect', delete: 'no-effect' } });
    await cloud.done('UpdateTrafficMirrorSessionAttribute', { TrafficMirrorSessionId: id, Enabled: false });
    expect(await cloud.settled(id)).toMatchObject({ Enabled: true });
    await cloud.done('DeleteTrafficMirrorSession', { TrafficMirrorSessionId: id });
    expect(await cloud.settled(id)).toMatchObject({ Enabled: true });
  });

  test('a change that never ends', async () => {
    const id = await cloud.session(asked(332));
    await cloud.control({ faults: { hold: true } });
    await cloud.done('UpdateTrafficMirrorSessionAttribute', { TrafficMirrorSessionId: id, Enabled: true });
    // Ten times as long as changes take here.
    const end = Date.now() + 400;
    await until('some time', () => Date.now() > end);
    expect(await cloud.listed(id)).toMatchObject({ TrafficMirrorSessionStatus: 'Modifying' });
    await cloud.control({ faults: { hold: false } });
    expect(await cloud.settled(id)).toMatchObject({ Enabled: true });
  });

  test('a new session that lists show late', async () => {
    await cloud.control({ faults: { listDelayMs: 60_000 } });
    const { TrafficMirrorSessionId: id } = await cloud.done(CREATE, asked(333));
    expect(await cloud.listed(id)).toBeUndefined();
    await cloud.control({ faults: { listDelayMs: 0 } });
    expect(await cloud.listed(id)).toBeDefined();
  });
});

describe('the control call', () => {
  test.each<[string, object | undefined]>([
    ['no JSON', undefined],
    ['an unknown member', { fault: {} }],
    ['an unknown fault', { faults: { upload: 'never' } }],
    ['an unknown answer', { faults: { calls: [{ answer: '404' }] } }],
    ['two answers', { faults: { calls: [{ answer: '500', code: 'X' }] } }],
    ['an unknown quota', { faults: { quotas: { rules: 1 } } }],
    ['an address that is not on this machine', { targets: { [COLLECTOR]: '192.0.2.1:4789' } }],
  ])('%s changes nothing', async (_, given) => {
    const before = await cloud.own('/_control');
    const { status, body } = await cloud.control(given);
    expect([status, typeof body.error]).toEqual([400, 'string']);
    expect(await cloud.own('/_control')).toEqual(before);
  });

  test('what is not named stays as it is', async () => {
    await cloud.control({ faults: { hold: true, delayMs: 1 } });
    await cloud.control({ faults: { delayMs: 0 } });
    expect((await cloud.own('/_control')).faults).toMatchObject({ hold: true, delayMs: 0 });
  });

  test('the log has every call with its parameters, and who signed it', async () => {
    await cloud.call(CREATE, asked(341, { ClientToken: 'token-341' }));
    expect((await cloud.own('/_log')).at(-1)).toEqual({
      time: expect.any(String),
      method: 'POST',
      version: '2016-04-28',
      action: CREATE,
      parameters: expect.objectContaining({ ClientToken: 'token-341', 'TrafficMirrorSourceIds.1': 'eni-of341' }),
      accessKeyId: 'LTAItest',
      status: 200,
      requestId: expect.any(String),
    });
  });
});
