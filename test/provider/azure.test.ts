import { readFileSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { connectArm } from '../../shared/provider/azure/arm.ts';
import type { AzureProvider } from '../../shared/provider/azure/azure.ts';
import type { Observation, Session } from '../../shared/provider/provider.ts';
import { Emulator, NO_STORAGE, STORAGE_ID, SUBSCRIPTION, WATCHER, ask, machine } from '../arm/harness.ts';
import { until } from '../until.ts';
import {
  account,
  agent,
  apiVersion,
  errorOf,
  FakeArm,
  failure,
  nextRun,
  providerAt,
  soon,
  wanted,
  watcherIn,
  type Call,
  type Exchange,
} from './fake-arm.ts';

describe('targets', () => {
  const provider = providerAt('http://127.0.0.1:9');

  it('a machine of a configured subscription, in canonical form', () => {
    expect(provider.target(machine('Web01'))).toEqual({ kind: 'target', id: machine('web01').toLowerCase() });
    expect(provider.target(machine('web01').toUpperCase())).toEqual({
      kind: 'target',
      id: machine('web01').toLowerCase(),
    });
  });

  it.each([
    [machine('x').replace(SUBSCRIPTION, '99999999-2222-3333-4444-555555555555'), 'subscription-not-configured'],
    [`${machine('x')}/extensions/agent`, 'unsupported-target'],
    [STORAGE_ID, 'unsupported-target'],
    [`/subscriptions/${SUBSCRIPTION}`, 'unsupported-target'],
  ])('%s: %s', (id, reason) => {
    expect(provider.target(id)).toMatchObject({ kind: 'refused', reason });
  });

  it.each(['', 'web01', 'acs:ecs:cn-hangzhou:1:instance/i-1'])('"%s" is not of this cloud', (id) => {
    expect(provider.target(id)).toBeUndefined();
  });
});

describe('against the emulator', () => {
  let emulator: Emulator;
  let provider: AzureProvider;
  beforeAll(async () => {
    emulator = await Emulator.start(NO_STORAGE, ['--no-tcpdump', '--pace', '0.01', '--retry-after', '10']);
    provider = providerAt(emulator.url);
  });
  afterAll(async () => {
    await emulator[Symbol.asyncDispose]();
  });
  afterEach(async () => {
    await emulator.control(null);
    // Nothing is left behind.
    for (const session of await provider.list(soon())) await provider.remove({ ...session, errors: [] }, soon());
    await until('an empty list', async () => (await provider.list(soon())).length === 0);
  });

  type Logged = { method: string; path: string; apiVersion: string; status: number };
  const log = async (): Promise<Logged[]> => (await ask(`${emulator.url}/_log`, {})).body as Logged[];
  /** The requests that the work costs. */
  async function costOf<T>(work: () => Promise<T>): Promise<{ value: T; requests: Logged[] }> {
    const before = (await log()).length;
    const value = await work();
    return { value, requests: (await log()).slice(before) };
  }
  async function started(name: string, part: Partial<ReturnType<typeof wanted>> = {}): Promise<Session> {
    const prepared = await provider.prepare({ ...wanted(name), ...part }, soon());
    return provider.start(prepared, soon());
  }
  async function untilPhase(
    session: Session,
    phase: Observation['phase'],
  ): Promise<Observation & { session: Session }> {
    let current = session;
    return until(phase, async () => {
      const seen = await provider.inspect(current, soon());
      if (seen.phase === 'gone') throw new Error('gone');
      current = seen.session;
      return seen.phase === phase ? seen : undefined;
    });
  }

  describe('prepare', () => {
    it("finds the watcher of the machine's region, whatever its name and group", async () => {
      const run = wanted('db01');
      const { session } = await provider.prepare(run, soon());
      expect(session).toEqual({
        account: account.name,
        id: `/subscriptions/${SUBSCRIPTION}/resourceGroups/rg-network-ops/providers/Microsoft.Network/networkWatchers/nw-weu-ops/packetCaptures/tripcap-main-${run.runId}`,
        errors: [],
      });
    });

    it.each([
      ['missing-7', 'target-not-found', /missing-7 was not found in resource group rg-shop/],
      ['noagent1', 'agent-missing', /no Network Watcher agent extension/],
      ['agentfailed1', 'agent-failed', /in state Failed/],
    ])('%s: %s', async (name, code, message) => {
      const error = await errorOf(provider.prepare(wanted(name), soon()));
      expect(error.code).toBe(code);
      expect(error.retry).toBe(false);
      expect(error.message).toMatch(message);
    });

    it('an account is needed for the region, and the error names those there are', async () => {
      const elsewhere = providerAt(emulator.url, {
        captureAccounts: [{ ...account, name: 'east', regions: ['eastus', 'eastus2'] }],
      });
      const error = await errorOf(elsewhere.prepare(wanted('web01'), soon()));
      expect(error.code).toBe('no-account');
      expect(error.message).toContain('region westus2');
      expect(error.message).toContain('east (eastus, eastus2)');
      const none = await errorOf(providerAt(emulator.url, { captureAccounts: [] }).prepare(wanted('web01'), soon()));
      expect(none.message).toContain('configured: none');
      const inEast = { ...wanted('win01'), target: machine('win01').replace('rg-shop', 'rg-office') };
      await expect(elsewhere.prepare(inEast, soon())).resolves.toBeDefined();
    });

    it('an account by name must be one of ours', async () => {
      const storageId = STORAGE_ID.replace('devstoreaccount1', 'foreign');
      const capture = { azure: { storageLocation: { storageId } } };
      expect((await errorOf(provider.prepare({ ...wanted('web01'), capture }, soon()))).code).toBe('no-account');
      const ours = { azure: { storageLocation: { storageId: STORAGE_ID.toUpperCase() } } };
      const { request } = await provider.prepare({ ...wanted('web01'), capture: ours }, soon());
      expect(request).toMatchObject({ storageLocation: { storageId: STORAGE_ID } });
    });

    it('limits are checked before any call', async () => {
      const { requests } = await costOf(async () => {
        const error = await errorOf(
          provider.prepare({ ...wanted('web01'), limits: { durationSeconds: 0, sizeBytes: 0 } }, soon()),
        );
        expect(error).toMatchObject({ code: 'invalid', message: expect.stringMatching(/duration.*; the size/) });
        expect((await errorOf(provider.prepare({ ...wanted('web01'), target: STORAGE_ID }, soon()))).code).toBe(
          'invalid',
        );
      });
      expect(requests).toEqual([]);
    });

    it('asks for the watchers once in five minutes, and for the machine each time', async () => {
      let now = Date.now();
      const patient = providerAt(emulator.url, { now: () => new Date(now) });
      const paths = async () =>
        (await costOf(() => patient.prepare(wanted('web01'), soon()))).requests
          .map((request) => request.path.split('/').at(-1))
          .toSorted((a, b) => String(a).localeCompare(String(b)));
      expect(await paths()).toEqual(['networkWatchers', 'web01']);
      expect(await paths()).toEqual(['web01']);
      now += 5 * 60_000;
      expect(await paths()).toEqual(['networkWatchers', 'web01']);
    });

    it('changes nothing in the cloud', async () => {
      const { requests } = await costOf(() => provider.prepare(wanted('web02'), soon()));
      expect(new Set(requests.map((request) => request.method))).toEqual(new Set(['GET']));
    });
  });

  describe('a capture', () => {
    it('runs from start to stop, and says who stopped it', async () => {
      const run = wanted('web01');
      const session = await provider.start(await provider.prepare(run, soon()), soon());
      expect(session.status).toBe('Updating');
      expect(session.storagePath).toMatch(
        /^https:\/\/devstoreaccount1\.blob\.core\.windows\.net\/network-watcher-logs\/subscriptions\/.*\.cap$/,
      );
      expect((await provider.inspect(session, soon())).phase).toBe('pending');

      const running = await untilPhase(session, 'running');
      expect(running.session).toMatchObject({ status: 'Running', errors: [], storagePath: session.storagePath });
      const startedAt = 'startedAt' in running ? running.startedAt?.getTime() : undefined;
      expect(Math.abs(Date.now() - (startedAt ?? 0))).toBeLessThan(10_000);

      await provider.stop(running.session, soon());
      const ended = await untilPhase(running.session, 'ended');
      expect(ended).toMatchObject({ cause: 'stopped', reason: 'Manual', session: { status: 'Stopped', errors: [] } });
      // Stopping what has ended is fine.
      await provider.stop(ended.session, soon());
      expect((await provider.inspect(ended.session, soon())).phase).toBe('ended');
    });

    it('ends at its time limit, and says so', async () => {
      const session = await started('web02', { limits: { durationSeconds: 1, sizeBytes: 1_000_000 } });
      const ended = await untilPhase(session, 'ended');
      expect(ended).toMatchObject({ cause: 'time-limit', reason: 'TimeExceeded' });
    });

    it('is asked for with all that the request says', async () => {
      const runId = nextRun();
      const capture = {
        filters: [{ protocol: 'TCP' as const, remotePort: '80;443' }, { localIPAddress: '10.0.0.4-10.0.0.9' }],
        bytesToCapturePerPacket: 128,
        azure: { storageLocation: { storageId: STORAGE_ID, filePath: '/var/captures/{run}.cap' } },
      };
      const session = await started('web01', { runId, capture });
      expect(session.filePath).toBe(`/var/captures/${runId}.cap`);
      const { body } = await emulator.arm('GET', session.id);
      expect(body.properties).toMatchObject({
        target: machine('web01').toLowerCase(),
        targetType: 'AzureVM',
        bytesToCapturePerPacket: 128,
        totalBytesPerSession: 1_000_000,
        timeLimitInSeconds: 60,
        storageLocation: { storageId: STORAGE_ID, filePath: `/var/captures/${runId}.cap` },
        filters: [
          { protocol: 'TCP', remotePort: '80;443', localPort: '', localIPAddress: '', remoteIPAddress: '' },
          { protocol: 'Any', localIPAddress: '10.0.0.4-10.0.0.9' },
        ],
      });
    });

    it('that leaves its file on the machine has no place in storage', async () => {
      const capture = { azure: { storageLocation: { filePath: '/var/captures/a.cap' } } };
      const session = await started('web01', { capture });
      expect(session.filePath).toBe('/var/captures/a.cap');
      expect(session.storagePath).toBeUndefined();
      expect((await untilPhase(session, 'running')).session.storagePath).toBeUndefined();
    });

    it('may have its own place in storage', async () => {
      const runId = nextRun();
      const storagePath = 'https://devstoreaccount1.blob.core.windows.net/mine/{run}.cap';
      const session = await started('web01', { runId, capture: { azure: { storageLocation: { storagePath } } } });
      expect(session.storagePath).toBe(`https://devstoreaccount1.blob.core.windows.net/mine/${runId}.cap`);
    });

    it('started twice is one session', async () => {
      const prepared = await provider.prepare(wanted('web01'), soon());
      const { value, requests } = await costOf(async () => {
        const first = await provider.start(prepared, soon());
        const second = await provider.start(prepared, soon());
        const [third, fourth] = await Promise.all([provider.start(prepared, soon()), provider.start(prepared, soon())]);
        return [first, second, third, fourth];
      });
      expect(new Set(value.map((session) => `${session.id} ${session.storagePath}`)).size).toBe(1);
      const puts = requests.filter((request) => request.method === 'PUT');
      expect(puts.map((request) => request.status).toSorted((a, b) => a - b)).toEqual([201, 409, 409, 409]);
      expect(await provider.list(soon())).toHaveLength(1);
    });

    it('is removed once, and again, and what is not there too', async () => {
      const session = await started('web01');
      expect(await provider.remove(session, soon())).toBe(false);
      await until('removal', () => provider.remove(session, soon()));
      expect(await provider.remove(session, soon())).toBe(true);
      expect(await provider.inspect(session, soon())).toEqual({ phase: 'gone' });
      expect(await provider.inspect({ ...session, status: 'Running' }, soon())).toEqual({ phase: 'gone' });
      await provider.stop(session, soon());
    });

    it('that the cloud took and could not start is refused, in its words', async () => {
      // The agent goes missing between look-up and start: asked for directly.
      const prepared = await provider.prepare(wanted('web01'), soon());
      const request = { ...(prepared.request as object), target: machine('noagent9') };
      const session = await provider.start({ ...prepared, request }, soon());
      const refused = await untilPhase(session, 'refused');
      // What the operation says, and what the capture's status says.
      expect(refused).toMatchObject({
        detail: expect.stringMatching(/^\w+: .*; AgentStopped$/),
        session: { status: 'Failed', errors: ['AgentStopped'] },
      });
    });
  });

  describe('what a question costs', () => {
    it('a status question while running: exactly one request, and no waiting', async () => {
      const { session } = await untilPhase(await started('web01'), 'running');
      const before = performance.now();
      const { value, requests } = await costOf(() => provider.inspect(session, soon()));
      expect(performance.now() - before).toBeLessThan(1000);
      expect(value.phase).toBe('running');
      expect(requests.map(({ method, path, status }) => [method, path.split('/').at(-1), status])).toEqual([
        ['POST', 'queryStatus', 202],
      ]);
    });

    it('start, stop and remove: one request each, nothing is polled', async () => {
      const prepared = await provider.prepare(wanted('web01'), soon());
      const start = await costOf(() => provider.start(prepared, soon()));
      const { session } = await untilPhase(start.value, 'running');
      const stop = await costOf(() => provider.stop(session, soon()));
      const remove = await costOf(() => provider.remove(session, soon()));
      // What the SDK would ask later shows up now.
      const { requests: later } = await costOf(() => new Promise((resolve) => setTimeout(resolve, 200)));
      const all = [start, stop, remove].map(({ requests }) => requests.map((r) => `${r.method} ${r.status}`));
      expect(all).toEqual([['PUT 201'], ['POST 202'], ['DELETE 202']]);
      expect(later).toEqual([]);
    });

    it('the api-version of the setting reaches every call of Microsoft.Network, that of compute is its own', async () => {
      const { requests } = await costOf(async () => {
        const { session } = await untilPhase(await started('web01'), 'running');
        await provider.stop(session, soon());
        await providerAt(emulator.url).list(soon());
        await provider.remove(session, soon());
      });
      const versions = (part: RegExp) => new Set(requests.filter((r) => part.test(r.path)).map((r) => r.apiVersion));
      expect(versions(/Microsoft\.Network/i)).toEqual(new Set([apiVersion]));
      expect(versions(/Microsoft\.Compute/i)).toEqual(new Set(['2024-07-01']));
    });
  });

  describe('list', () => {
    it('marks what is ours by its name, in all regions', async () => {
      const run = wanted('db01');
      await provider.start(await provider.prepare(run, soon()), soon());
      await emulator.create('PSAzureFunction');
      await emulator.create(`tripcap-other-${run.runId}`);
      const sessions = await provider.list(soon());
      expect(new Set(sessions.map(({ name, region, runId }) => `${name} ${region} ${runId}`))).toEqual(
        new Set([
          'PSAzureFunction westus2 undefined',
          `tripcap-other-${run.runId} westus2 undefined`,
          `tripcap-main-${run.runId} westeurope ${run.runId}`,
        ]),
      );
      expect(sessions.find((one) => one.runId)).toMatchObject({
        provider: 'azure',
        target: machine('db01').toLowerCase(),
        status: expect.stringMatching(/^(Updating|Succeeded)$/),
      });
      expect((await provider.list(soon(), 'West Europe')).map((one) => one.runId)).toEqual([run.runId]);
      expect(await provider.list(soon(), 'nowhere')).toEqual([]);
    });
  });

  describe('faults', () => {
    it('a cloud that is down is unavailable, for every call', async () => {
      const prepared = await provider.prepare(wanted('web01'), soon());
      const { session } = prepared;
      await emulator.control({ down: true });
      const calls = [
        providerAt(emulator.url).prepare(wanted('web01'), soon()),
        provider.start(prepared, soon()),
        provider.inspect(session, soon()),
        provider.inspect({ ...session, status: 'Running' }, soon()),
        provider.stop(session, soon()),
        provider.remove(session, soon()),
        providerAt(emulator.url).list(soon()),
      ];
      const errors = await Promise.all(calls.map(errorOf));
      expect(errors.map((error) => [error.code, error.retry])).toEqual(calls.map(() => ['unavailable', true]));
      for (const error of errors) expect(error.cause).toBeDefined();
    });

    it('a cloud that is slow is given up on when the caller says so', async () => {
      const prepared = await provider.prepare(wanted('web01'), soon());
      const { session } = prepared;
      await emulator.control({ delayMs: 1000 });
      const before = performance.now();
      const calls = [
        providerAt(emulator.url).prepare(wanted('web01'), soon(100)),
        provider.start(prepared, soon(100)),
        provider.inspect(session, soon(100)),
        provider.inspect({ ...session, status: 'Running' }, soon(100)),
        provider.stop(session, soon(100)),
        provider.remove(session, soon(100)),
        providerAt(emulator.url).list(soon(100)),
      ];
      const errors = await Promise.all(calls.map(errorOf));
      expect(performance.now() - before).toBeLessThan(900);
      expect(errors.map((error) => error.code)).toEqual(calls.map(() => 'unavailable'));
      for (const error of errors) expect(error.message).toMatch(/no answer in time$/);
      await emulator.control(null);
      // The start may have arrived all the same: asking again finds that one.
      await new Promise((resolve) => setTimeout(resolve, 1100));
      await provider.start(prepared, soon());
      expect(await provider.list(soon())).toHaveLength(1);
    });

    it('a signal that was aborted before costs no request', async () => {
      const { requests } = await costOf(() => errorOf(provider.inspect(prepare(), AbortSignal.abort())));
      expect(requests).toEqual([]);
      function prepare(): Session {
        return { id: `${WATCHER}/packetCaptures/x`, errors: [] };
      }
    });

    it('a slow cloud is waited for within the time', async () => {
      await emulator.control({ delayMs: 300 });
      await expect(provider.prepare(wanted('web01'), soon())).resolves.toBeDefined();
    });

    it('nobody at the address: unavailable', async () => {
      expect((await errorOf(providerAt('http://127.0.0.1:9').list(soon()))).code).toBe('unavailable');
    });

    it('a session whose id is none is invalid, without a call', async () => {
      for (const act of ['inspect', 'stop', 'remove'] as const) {
        expect((await errorOf(provider[act]({ id: '/nonsense', errors: [] }, soon()))).code).toBe('invalid');
      }
    });
  });
});

describe('against answers that the emulator never gives', () => {
  const exchanges = JSON.parse(
    readFileSync(new URL('../fixtures/arm/exchanges.json', import.meta.url), 'utf8'),
  ) as Record<string, Exchange>;
  const recorded = (name: string): Exchange => {
    const exchange = exchanges[name];
    if (!exchange) throw new Error(`no exchange ${name}`);
    return exchange;
  };
  let arm: FakeArm;
  let provider: AzureProvider;
  let endpoint: string;
  const session: Session = { id: `${WATCHER}/packetCaptures/tripcap-main-x`, errors: [] };
  const running: Session = { ...session, status: 'Running' };
  const request = { target: machine('x'), storageLocation: { filePath: '/var/captures/x.cap' } };

  beforeAll(async () => {
    arm = await FakeArm.start();
    endpoint = arm.url;
  });
  afterAll(() => arm.stop());
  beforeEach(() => {
    arm.calls = [];
    provider = providerAt(endpoint);
  });

  /** A small world: one machine, its extensions, the watchers. */
  const world =
    (vm: object, watchers: object[], extensions: object[] = []) =>
    ({ url }: Call): Exchange | undefined => {
      if (/\/extensions$/i.test(url.pathname)) return { status: 200, body: { value: extensions } };
      if (/\/virtualMachines\/[^/]+$/i.test(url.pathname)) return { status: 200, body: vm };
      if (/\/networkWatchers$/i.test(url.pathname)) return { status: 200, body: { value: watchers } };
      return undefined;
    };

  describe('errors by status and code', () => {
    const cases: [name: string, exchange: Exchange, code: string][] = [
      ['401', failure(401, 'InvalidAuthenticationToken'), 'unauthenticated'],
      ['403', failure(403, 'AuthorizationFailed'), 'forbidden'],
      ['429', { ...failure(429, 'TooManyRequests'), headers: { 'retry-after': '17' } }, 'throttled'],
      ['429 for a lock', failure(429, 'RetryableErrorDueToAnotherOperation'), 'conflict'],
      ['409', failure(409, 'AnotherOperationInProgress'), 'conflict'],
      ['409 of any name', failure(409, 'Whatever'), 'conflict'],
      ['400 recorded', recorded('invalid-parameter'), 'invalid'],
      ['400 for a quota', failure(400, 'QuotaExceeded'), 'quota'],
      ['500 of the front door', recorded('front-door-500'), 'unavailable'],
      ['500 of the service', recorded('service-500'), 'unavailable'],
      ['500 with details', recorded('nested-500'), 'unavailable'],
      ['504', recorded('polling-504'), 'unavailable'],
      ['408', failure(408, 'RequestTimeout'), 'unavailable'],
      ['502 without JSON', { status: 502, bodyText: '<html>Bad Gateway</html>' }, 'unavailable'],
      ['400 without JSON', { status: 400, bodyText: 'Bad Request' }, 'invalid'],
      ['400 without body', { status: 400, bodyText: '' }, 'invalid'],
    ];
    it.each(cases)('%s', async (_, exchange, code) => {
      arm.answer = () => exchange;
      const prepared = { session, request };
      const errors = [
        // Each by another one, which was not told before to wait.
        await errorOf(providerAt(endpoint).start(prepared, soon())),
        await errorOf(providerAt(endpoint).inspect(session, soon())),
        await errorOf(providerAt(endpoint).inspect(running, soon())),
        await errorOf(providerAt(endpoint).stop(session, soon())),
        await errorOf(providerAt(endpoint).remove(session, soon())),
        await errorOf(providerAt(endpoint).list(soon())),
        await errorOf(providerAt(endpoint).prepare(wanted('x'), soon())),
      ];
      expect(errors.map((error) => error.code)).toEqual(errors.map(() => code));
      for (const error of errors) {
        expect(error.cause).toBeDefined();
        expect(error.message.length).toBeLessThanOrEqual(500);
      }
    });

    it('never tries again by itself: 429 and 503 cost one request', async () => {
      for (const status of [503, 429]) {
        arm.calls = [];
        arm.answer = () => ({ ...failure(status, 'Busy'), headers: { 'retry-after': '1' } });
        await errorOf(provider.inspect(running, soon()));
        // A look-up of the test before may still come in.
        expect(arm.calls.filter((call) => call.method === 'POST')).toHaveLength(1);
      }
    });

    it('whoever is asked to slow down sends nothing of that kind before the time, and other kinds go on', async () => {
      let now = Date.parse('2026-11-22T12:00:00Z');
      const patient = providerAt(endpoint, { now: () => new Date(now) });
      arm.answer = ({ method }) =>
        method === 'POST'
          ? { ...failure(429, 'TooManyRequests'), headers: { 'retry-after': '17' } }
          : { status: 200, body: { properties: { provisioningState: 'Updating' } } };
      expect((await errorOf(patient.stop(session, soon()))).code).toBe('throttled');
      arm.calls = [];
      for (const ms of [0, 16_999]) {
        now += ms;
        const error = await errorOf(patient.stop(session, soon()));
        expect(error.code).toBe('throttled');
        expect(error.message).toContain(ms === 0 ? '17 s' : '1 s');
      }
      expect(arm.calls).toEqual([]);
      expect(await patient.inspect(session, soon())).toMatchObject({ phase: 'pending' });
      now += 1;
      arm.answer = () => ({ status: 202, headers: { location: `${endpoint}/x` } });
      arm.calls = [];
      await patient.stop(session, soon());
      expect(arm.calls.map((call) => call.method)).toEqual(['POST']);
    });

    it('a stop is not kept from being sent by what was said to starts, nor are captures by what was said of machines', async () => {
      const patient = providerAt(endpoint);
      arm.answer = ({ method, url }) =>
        method === 'PUT' || /microsoft\.compute/i.test(url.pathname)
          ? { ...failure(429, 'TooManyRequests'), headers: { 'retry-after': '99999999' } }
          : { status: 202, headers: { location: `${endpoint}/x` }, body: { packetCaptureStatus: 'Running' } };
      expect((await errorOf(patient.start({ session, request }, soon()))).code).toBe('throttled');
      expect((await errorOf(patient.targetExists(machine('x').toLowerCase(), soon()))).code).toBe('throttled');
      arm.calls = [];
      await patient.stop(session, soon());
      expect(await patient.inspect(running, soon())).toMatchObject({ phase: 'running' });
      expect(arm.calls).toHaveLength(2);
    });

    it.each([
      ['a date', 'Sun, 22 Nov 2026 12:00:30 GMT', 30],
      ['nothing', undefined, 10],
      ['a word', 'soon', 10],
      ['a year', '31536000', 300],
    ])('Retry-After that is %s', async (_, header, seconds) => {
      let now = Date.parse('2026-11-22T12:00:00Z');
      const patient = providerAt(endpoint, { now: () => new Date(now) });
      arm.answer = () => ({
        ...failure(429, 'TooManyRequests'),
        ...(header === undefined ? {} : { headers: { 'retry-after': header } }),
      });
      await errorOf(patient.inspect(running, soon()));
      now += seconds * 1000 - 1;
      arm.calls = [];
      await errorOf(patient.inspect(running, soon()));
      expect(arm.calls).toEqual([]);
      now += 1;
      await errorOf(patient.inspect(running, soon()));
      expect(arm.calls).toHaveLength(1);
    });

    it("keeps ARM's code beside its words", async () => {
      arm.answer = () => recorded('invalid-parameter');
      expect((await errorOf(provider.stop(session, soon()))).message).toContain('InvalidParameter');
    });

    it("keeps ARM's words, and sends no real token over plain http", async () => {
      arm.answer = () => recorded('invalid-parameter');
      const error = await errorOf(provider.stop(session, soon()));
      expect(error.message).toContain('The value of parameter type is invalid.');
      expect(error.message).not.toContain('secret');
      expect(arm.calls[0]?.headers.authorization).toBe('Bearer sandbox');
    });

    it('404 for the capture: gone, nothing to stop, removed', async () => {
      arm.answer = () => recorded('missing-capture');
      expect(await provider.inspect(session, soon())).toEqual({ phase: 'gone' });
      expect(await provider.inspect(running, soon())).toEqual({ phase: 'gone' });
      await provider.stop(session, soon());
      expect(await provider.remove(session, soon())).toBe(true);
    });

    it('204 for a delete, as recorded, and for a stop, as nobody declares', async () => {
      arm.answer = () => recorded('delete-missing');
      expect(await provider.remove(session, soon())).toBe(true);
      await provider.stop(session, soon());
      expect(arm.calls).toHaveLength(2);
    });

    it('404 for the subscription is no news of the capture', async () => {
      arm.answer = () => failure(404, 'SubscriptionNotFound');
      expect((await errorOf(provider.inspect(running, soon()))).code).toBe('forbidden');
    });

    it('404 for the subscription is no news of the machine', async () => {
      arm.answer = (call) =>
        /virtualMachines/i.test(call.url.pathname)
          ? failure(404, 'SubscriptionNotFound')
          : { status: 200, body: { value: [watcherIn('westus2')] } };
      expect((await errorOf(provider.prepare(wanted('x'), soon()))).code).toBe('forbidden');
    });

    it('a start that is refused, while the session is there: that session', async () => {
      const body = {
        properties: { provisioningState: 'Succeeded', storageLocation: { storagePath: 'https://a/b/c.cap' } },
      };
      for (const status of [400, 404, 409, 412]) {
        arm.answer = ({ method }) => (method === 'PUT' ? failure(status, 'Guess') : { status: 200, body });
        expect(await provider.start({ session, request }, soon())).toEqual({
          ...session,
          status: 'Succeeded',
          storagePath: 'https://a/b/c.cap',
        });
      }
    });

    it('a start that is forbidden or throttled is not looked up', async () => {
      for (const status of [401, 403, 429, 500]) {
        arm.calls = [];
        arm.answer = () => failure(status, 'No');
        await errorOf(providerAt(endpoint).start({ session, request }, soon()));
        expect(arm.calls.map((call) => call.method)).toEqual(['PUT']);
      }
    });

    it('an identity that is not there is unauthenticated, and stays so said', async () => {
      const problem = Object.assign(new Error('No managed identity'), { name: 'IdentityError' });
      const lost = providerAt('https://127.0.0.1:9', {
        credential: {
          getToken: () => Promise.reject(problem),
        },
      });
      const error = await errorOf(lost.stop(session, soon()));
      expect(error.code).toBe('unauthenticated');
      expect(error.message).toContain('No managed identity');
    });
  });

  describe('queryStatus', () => {
    const inspect = (exchange: Exchange, known: Session = running) => {
      arm.answer = ({ method }) =>
        method === 'POST' ? exchange : { status: 200, body: { properties: { provisioningState: 'Succeeded' } } };
      return provider.inspect(known, soon());
    };

    it('Running, as recorded: one request, the 202 is not followed', async () => {
      expect(await inspect(recorded('status-running-202'))).toMatchObject({
        phase: 'running',
        startedAt: new Date('2020-09-30T05:55:55.765Z'),
      });
      expect(arm.calls.map((call) => call.method)).toEqual(['POST']);
    });

    it('202 with the body null is no news', async () => {
      const nothing = { ...recorded('status-null-202'), bodyText: 'null' };
      expect(await inspect(nothing)).toEqual({ phase: 'running', session: running });
      expect(await inspect(nothing, session)).toMatchObject({ phase: 'pending', session: { status: 'Succeeded' } });
      expect(await inspect({ ...nothing, bodyText: '' })).toMatchObject({ phase: 'running' });
      expect(arm.calls.filter((call) => call.method === 'POST')).toHaveLength(3);
    });

    it.each([200, 202])('%d with the body null and no Location is no news, either', async (status) => {
      expect(await inspect({ status, bodyText: 'null' })).toEqual({ phase: 'running', session: running });
    });

    it.each([
      ['stopped-manual', 'stopped', 'Manual', []],
      ['stopped-time', 'time-limit', 'TimeExceeded', []],
      ['stopped-agent', 'error', 'Error', ['AgentStopped']],
      ['stopped-storage', 'error', 'Error', ['LocalFileFailed', 'StorageFailed']],
    ])('%s, as recorded: %s', async (name, cause, reason, errors) => {
      expect(await inspect(recorded(name))).toMatchObject({
        phase: 'ended',
        cause,
        reason,
        session: { status: 'Stopped', errors },
        startedAt: expect.any(Date),
      });
    });

    const words = (part: object): Exchange => ({
      status: 200,
      body: { packetCaptureStatus: 'Stopped', packetCaptureError: [], ...part },
    });
    it.each([
      [{ stopReason: 'MaxSizeReached' }, 'size-limit', 'MaxSizeReached'],
      [{ stopReason: 'BytesLimitExceeded' }, 'size-limit', 'BytesLimitExceeded'],
      [{ stopReason: 'SomethingElse' }, 'unknown', 'SomethingElse'],
      [{ stopReason: '3 VM Instance(s) stopped due to TimeExceeded Reasons. ' }, 'time-limit', undefined],
      [
        {
          stopReason:
            '2 VM Instance(s) stopped due to TimeExceeded Reasons. 1 VM Instance(s) stopped due to Manual Reasons. ',
        },
        'unknown',
        undefined,
      ],
      [
        {
          stopReason:
            '2 VM Instance(s) stopped due to TimeExceeded Reasons. 1 VM Instance(s) stopped due to Error Reasons. ',
        },
        'error',
        undefined,
      ],
      [
        {
          stopReason: '2 VM Instance(s) stopped due to TimeExceeded Reasons. ',
          packetCaptureError: [`${machine('x')} does not exist or is in stopped state.`],
        },
        'time-limit',
        undefined,
      ],
      [{ stopReason: ' timeexceeded ' }, 'time-limit', 'timeexceeded'],
      [{}, 'unknown', undefined],
      [{ stopReason: null, packetCaptureError: null }, 'unknown', undefined],
      [{ packetCaptureError: ['CaptureFailed'] }, 'error', undefined],
      [{ stopReason: 'NewWord', packetCaptureError: ['NewError'] }, 'error', 'NewWord'],
      [{ packetCaptureStatus: 'Error', stopReason: 'Error' }, 'error', 'Error'],
    ])('Stopped with %j: %s', async (part, cause, reason) => {
      const seen = await inspect(words(part));
      expect(seen).toMatchObject({ phase: 'ended', cause });
      if (reason !== undefined) expect(seen).toMatchObject({ reason });
    });

    it('of thousands of instances tells a few errors, and how many more; and only those that are texts', async () => {
      const sentence = (i: number) => `${machine('x')}/virtualMachines/${i} does not exist or is in stopped state.`;
      const many = { packetCaptureError: Array.from({ length: 1000 }, (_, i) => sentence(i)) };
      const seen = await inspect(words(many));
      const { errors } = (seen as { session: Session }).session;
      expect(errors).toHaveLength(21);
      expect(errors.at(-1)).toBe('and 980 more');
      for (const odd of ['AgentStopped', { 0: 'x' }, [7, null]])
        expect(await inspect(words({ packetCaptureError: odd }))).toMatchObject({ session: { errors: [] } });
    });

    it.each(['constructor', '__proto__'])('Stopped with the word %s: unknown', async (stopReason) => {
      expect(await inspect(words({ stopReason }))).toMatchObject({ phase: 'ended', cause: 'unknown' });
    });

    it.each(['Unknown', 'Paused'])('the status %s is no reason to end anything', async (packetCaptureStatus) => {
      expect(await inspect(words({ packetCaptureStatus }))).toMatchObject({ phase: 'running' });
    });

    it('NotStarted is pending, and asked again by status alone', async () => {
      const seen = await inspect(words({ packetCaptureStatus: 'NotStarted' }), session);
      expect(seen).toMatchObject({ phase: 'pending', session: { status: 'Succeeded' } });
    });

    it.each(['9/7/2016 12:35:24PM', '', 'soon', '2016-99-99T00:00:00Z', null])(
      'a start time such as %j is no time, and no fault',
      async (captureStartTime) => {
        const seen = await inspect(words({ packetCaptureStatus: 'Running', captureStartTime }));
        expect(seen).toMatchObject({ phase: 'running' });
        expect(seen).not.toHaveProperty('startedAt');
      },
    );

    it('a start time has up to seven digits', async () => {
      const seen = await inspect(
        words({ packetCaptureStatus: 'Running', captureStartTime: '2026-03-17T03:37:35.4291019Z' }),
      );
      expect(seen).toMatchObject({ startedAt: new Date('2026-03-17T03:37:35.429Z') });
    });
  });

  describe('provisioning', () => {
    it.each(['Creating', 'Updating', 'Deleting', 'NewWord'])(
      '%s is pending, and not asked for its status',
      async (word) => {
        arm.answer = () => ({ status: 200, body: { properties: { provisioningState: word } } });
        expect(await provider.inspect(session, soon())).toMatchObject({ phase: 'pending', session: { status: word } });
        expect(arm.calls.map((call) => call.method)).toEqual(['GET']);
      },
    );

    it.each(['Failed', 'Canceled'])('%s is refused, also when the status question fails', async (word) => {
      arm.answer = ({ method }) =>
        method === 'GET' ? { status: 200, body: { properties: { provisioningState: word } } } : recorded('service-500');
      expect(await provider.inspect(session, soon())).toMatchObject({
        phase: 'refused',
        detail: expect.stringContaining('without giving a reason'),
      });
    });

    it('a capture without properties is pending', async () => {
      arm.answer = () => ({ status: 200, body: {} });
      expect((await provider.inspect(session, soon())).phase).toBe('pending');
    });
  });

  describe('the machine and its watcher', () => {
    it('a machine without `resources` is asked for its extensions', async () => {
      arm.answer = world({ location: 'westus2' }, [watcherIn('westus2')], [agent]);
      await expect(provider.prepare(wanted('x'), soon())).resolves.toBeDefined();
      expect(arm.calls.map((call) => call.url.pathname.split('/').at(-1))).toContain('extensions');
      arm.answer = world({ location: 'westus2' }, [watcherIn('westus2')]);
      expect((await errorOf(provider.prepare(wanted('x'), soon()))).code).toBe('agent-missing');
    });

    it.each([
      ['West US 2', 'westus2'],
      ['westus2', 'West US 2'],
    ])('a machine in %s has the watcher of %s', async (location, watched) => {
      arm.answer = world({ location, resources: [agent] }, [watcherIn('eastus', 'other'), watcherIn(watched)]);
      const { session: found } = await provider.prepare(wanted('x'), soon());
      expect(found.id).toContain('/resourceGroups/NetworkWatcherRG/');
    });

    it('no watcher in the region: says which', async () => {
      arm.answer = world({ location: 'norwayeast', resources: [agent] }, [watcherIn('westus2')]);
      const error = await errorOf(provider.prepare(wanted('x'), soon()));
      expect(error.code).toBe('no-watcher');
      expect(error.message).toContain('no network watcher in norwayeast');
    });

    it.each([
      [{ publisher: 'microsoft.azure.networkwatcher', type: 'networkwatcheragentwindows' }, undefined],
      [{ publisher: 'Microsoft.Azure.Monitor', type: 'NetworkWatcherAgentLinux' }, 'agent-missing'],
      [{ publisher: 'Microsoft.Azure.NetworkWatcher', type: 'NetworkWatcherAgentLinuxOld' }, 'agent-missing'],
      [{ publisher: 'Microsoft.Azure.NetworkWatcher' }, 'agent-missing'],
      [{ ...agent.properties, provisioningState: 'Failed' }, 'agent-failed'],
      [{ ...agent.properties, provisioningState: 'Updating' }, undefined],
    ])('the agent is known by publisher and type: %j', async (properties, code) => {
      arm.answer = world({ location: 'westus2', resources: [{ name: 'any' }, { properties }] }, [watcherIn('westus2')]);
      const work = provider.prepare(wanted('x'), soon());
      if (code === undefined) expect((await work).session.id).toContain('nw-1');
      else expect((await errorOf(work)).code).toBe(code);
    });

    it('a path in storage belongs to the account of its host or, on loopback, of its first part', async () => {
      arm.answer = world({ location: 'westus2', resources: [agent] }, [watcherIn('westus2')]);
      const prepare = (storagePath: string) =>
        provider.prepare({ ...wanted('x'), capture: { azure: { storageLocation: { storagePath } } } }, soon());
      await expect(prepare('https://devstoreaccount1.blob.core.windows.net/c/x.cap')).resolves.toBeDefined();
      await expect(prepare('http://127.0.0.1:10000/devstoreaccount1/c/x.cap')).resolves.toBeDefined();
      expect((await errorOf(prepare('https://foreign.blob.core.windows.net/c/x.cap'))).code).toBe('no-account');
    });

    it.each(['https://devstoreaccount1.evil.example/c/x.cap', 'https://evil.example/devstoreaccount1/c/x.cap'])(
      '%s is not ours',
      async (storagePath) => {
        arm.answer = world({ location: 'westus2', resources: [agent] }, [watcherIn('westus2')]);
        const capture = { azure: { storageLocation: { storagePath } } };
        expect((await errorOf(provider.prepare({ ...wanted('x'), capture }, soon()))).code).toBe('no-account');
      },
    );

    it('a list of several pages is read to its end', async () => {
      arm.answer = ({ url }) => {
        if (!/networkWatchers$/i.test(url.pathname)) return { status: 200, body: { value: [] } };
        return url.searchParams.has('page')
          ? { status: 200, body: { value: [watcherIn('westus2')] } }
          : {
              status: 200,
              body: { value: [watcherIn('eastus', 'other')], nextLink: `${url.href}&page=2` },
            };
      };
      await provider.list(soon());
      expect(arm.calls).toHaveLength(4);
    });
  });

  describe('the api-version', () => {
    const versions = () => arm.calls.map((call) => call.url.searchParams.get('api-version'));

    it('of URLs to poll is the one that the service put there', async () => {
      const operations = `${endpoint}/subscriptions/${SUBSCRIPTION}/providers/Microsoft.Network/locations/westus2`;
      arm.answer = ({ method, url }) => {
        const poll = { 'azure-asyncoperation': `${operations}/operations/1?api-version=1999-09-09&t=1&c=a%2Bb` };
        if (method === 'PUT') return { status: 201, headers: poll, body: { properties: {} } };
        if (method === 'POST')
          return { status: 202, headers: { location: `${operations}/operationResults/2?api-version=1998-08-08` } };
        return /\/operations\//.test(url.pathname)
          ? { status: 200, body: { status: 'Succeeded' } }
          : { status: 200, body: { properties: {} } };
      };
      const credential = { getToken: async () => ({ token: '', expiresOnTimestamp: 0 }) };
      const real = await connectArm(
        { endpoint, audience: endpoint, apiVersion },
        SUBSCRIPTION,
        credential,
        () => new Date(),
      );
      await real.network.packetCaptures.create('rg', 'nw', 'x', request).pollUntilDone();
      await real.network.packetCaptures.stop('rg', 'nw', 'x').pollUntilDone();
      expect(arm.calls.map((call) => call.method)).toEqual(['PUT', 'GET', 'GET', 'POST', 'GET']);
      expect(versions()).toEqual([apiVersion, '1999-09-09', apiVersion, apiVersion, '1998-08-08']);
      expect(arm.calls[1]?.url.search).toBe('?api-version=1999-09-09&t=1&c=a%2Bb');
    });

    it.each(['operations', 'operationResults'])(
      'of a watcher in the group "%s" is that of the setting',
      async (group) => {
        arm.answer = () => failure(404, 'NotFound');
        await provider.inspect({ ...session, id: session.id.replace('NetworkWatcherRG', group) }, soon());
        expect(versions()).toEqual([apiVersion]);
      },
    );
  });
});
