import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { LIST_BLOB } from '../../collector/protocol.ts';
import type { AlibabaProvider } from '../../shared/provider/alibaba/alibaba.ts';
import type { Session } from '../../shared/provider/provider.ts';
import type { Documents } from '../../shared/storage/document.ts';
import { ALL, COLLECTOR } from '../vpc/harness.ts';
import { until } from '../until.ts';
import { errorOf, nextRun, soon } from './fake-arm.ts';
import {
  balancer,
  captured,
  Collector,
  Mirrored,
  place,
  readied,
  expectPhase,
  wanted,
  type LoggedCall,
} from './mirror.ts';
import { Mortal } from './mortal.ts';

let world: Mirrored;
beforeAll(async () => {
  world = await Mirrored.start(['--pace', '0']);
});
afterAll(() => world.cloud[Symbol.asyncDispose]());
afterEach(() => world.reset());

type Wanted = ReturnType<typeof wanted>;
const CREATE = 'CreateTrafficMirrorSession';

async function start(run: Wanted, provider = world.provider()): Promise<Session> {
  await world.collector.report();
  return provider.start(await provider.prepare(run, soon()), soon());
}
const sessionsOf = (run: Wanted) => world.sessions(`tripcap-main-${run.runId}`);
const removed = (session: Session, provider = world.provider()) =>
  until('the removal', () => provider.remove(session, soon()));
/** What was really asked for: no dry runs. */
const creates = (calls: LoggedCall[]) =>
  calls.filter(({ action, parameters }) => action === CREATE && parameters['DryRun'] === undefined);

describe('one session per run', () => {
  it('made disabled, named after the run, tagged, and announced with all that a collector needs', async () => {
    const run = wanted('one1');
    const { value: session, calls } = await world.callsOf(() => start(run));
    const [made] = await sessionsOf(run);
    expect(made).toMatchObject({ enabled: false, targetId: COLLECTOR, sources: ['eni-one1'], packetLength: 1500 });
    expect(session).toMatchObject({
      id: made?.id,
      storagePath: `https://mirrors.blob.core.windows.net/mirror-captures/${run.runId}/`,
      handle: { run: run.runId, vni: String(made?.vni) },
    });
    expect(creates(calls)).toMatchObject([
      {
        parameters: {
          Enabled: 'false',
          'Tag.1.Key': 'tripcap-installation',
          'Tag.1.Value': 'main',
          'Tag.2.Key': 'tripcap-run',
          'Tag.2.Value': run.runId,
        },
      },
    ]);
    const register = await world.register();
    expect(register).toMatchObject({ version: 1, pollSeconds: 1, reserved: [] });
    expect(register.sessions).toMatchObject([
      {
        run: run.runId,
        session: made?.id,
        region: 'cn-hangzhou',
        vni: made?.vni,
        sources: [{ eni: 'eni-one1', address: expect.stringMatching(/^10\./) }],
        maxBytes: run.limits.sizeBytes,
        mode: 'create',
      },
    ]);
    expect(Date.parse(register.sessions[0]?.until ?? '')).toBeGreaterThan(Date.now());
  });

  it('however often it is asked for, by whom, at once or not', async () => {
    const run = wanted('often1');
    const [a, b] = [world.provider(), world.provider()];
    await world.collector.report();
    const prepared = await Promise.all([a, b].map((one) => one.prepare(run, soon())));
    const sessions = await Promise.all([
      ...prepared.flatMap((one) => [a.start(one, soon()), b.start(one, soon())]),
      start(run),
    ]);
    expect(new Set(sessions.map((one) => one.id)).size).toBe(1);
    expect(await start(run)).toMatchObject({ id: sessions[0]?.id });
    expect(await sessionsOf(run)).toHaveLength(1);
    expect((await world.register()).sessions).toHaveLength(1);
  });

  it('also when somebody else makes it while one is about to', async () => {
    const run = wanted('between1');
    await world.collector.report();
    const reached = Promise.withResolvers<void>();
    const open = Promise.withResolvers<void>();
    let reads = 0;
    // It finds nothing announced, and halts before it writes down what it wants.
    const halting: Documents = {
      read: async (name) => {
        if (name === LIST_BLOB && ++reads === 2) {
          reached.resolve();
          await open.promise;
        }
        return world.documents.read(name);
      },
      write: (name, text, etag) => world.documents.write(name, text, etag),
    };
    const prepared = await world.provider().prepare(run, soon());
    const late = world.provider({ control: halting }).start(prepared, soon());
    await reached.promise;
    const first = await start(run);
    open.resolve();
    expect((await late).id).toBe(first.id);
    expect(await sessionsOf(run)).toHaveLength(1);
  });

  it.each(['reset', 'html', 'empty', '500', '503'])(
    'when the answer is %s although it was carried out',
    async (answer) => {
      await world.faults({ calls: [{ on: CREATE, answer, carriedOut: true, times: 2 }] });
      const run = wanted(`lost${answer}`);
      const { value: session, calls } = await world.callsOf(() => start(run));
      expect(creates(calls)).toHaveLength(3);
      expect(new Set(creates(calls).map(({ parameters }) => parameters['ClientToken'])).size).toBe(1);
      const made = await sessionsOf(run);
      expect(made.map((one) => one.id)).toEqual([session.id]);
    },
  );

  it.each(['reset', 'hang'])('when no answer comes (%s), also by who asks later', async (answer) => {
    await world.faults({ calls: [{ on: CREATE, answer, carriedOut: true }], listDelayMs: 1_000_000 });
    const run = wanted(`none${answer}`);
    await world.collector.report();
    const provider = world.provider();
    const prepared = await provider.prepare(run, soon());
    const { calls } = await world.callsOf(async () => {
      expect(await errorOf(provider.start(prepared, soon(300)))).toMatchObject({ code: 'unavailable', retry: true });
      // Written down, and not known to be there.
      const register = await world.register();
      expect(register).toMatchObject({ sessions: [], reserved: [{ run: run.runId }] });
      await world.faults({ calls: [] });
      // The list does not show it yet.
      await start(run);
      await start(run);
    });
    expect(new Set(creates(calls).map(({ parameters }) => parameters['ClientToken'])).size).toBe(1);
    expect(await sessionsOf(run)).toHaveLength(1);
    expect((await world.register()).sessions).toHaveLength(1);
  });

  it('also while it is not listed', async () => {
    await world.faults({ listDelayMs: 1_000_000 });
    const run = wanted('unlisted1');
    const first = await start(run);
    expect(await world.provider().inspect(first, soon())).toEqual({ phase: 'gone' });
    expect((await start(run)).id).toBe(first.id);
    expect(await sessionsOf(run)).toHaveLength(1);
  });

  it('and none, with nothing left in the list, when the cloud says no for good', async () => {
    await world.faults({ calls: [{ on: CREATE, code: 'QuotaExceeded.SessionNum' }] });
    expect(await errorOf(start(wanted('no1')))).toMatchObject({
      code: 'quota',
      retry: false,
      message: expect.stringMatching(/QuotaExceeded\.SessionNum: The quota of the number/),
    });
    expect(await world.register()).toMatchObject({ sessions: [], reserved: [] });
    expect(await world.sessions()).toEqual([]);
  });
});

/**
 * A process that dies at every one of its steps in turn; another one takes over. Whatever it had done: one session, which the list
 * names whenever it is enabled, and nothing is left at the end.
 */
describe('a process that dies', () => {
  const goOn = async (run: Wanted, provider: AlibabaProvider, signal: AbortSignal): Promise<Session> => {
    const session = await provider.start(await provider.prepare(run, signal), signal);
    await world.collector.report();
    return until('a session that captures, or may be told to', async () => {
      const seen = await provider.inspect(session, signal);
      if (seen.phase === 'running') return seen.session;
      return (
        seen.phase === 'ready' && seen.waitingFor === undefined && provider.enable(seen.session, run.limits, signal)
      );
    });
  };
  const isAnnounced = async (id: string): Promise<boolean> =>
    (await world.register()).sessions.some((one) => one.session === id);

  async function dieAt(dieAfter: number, unheard: boolean, run: Wanted): Promise<boolean> {
    await world.collector.report();
    await using mortal = await Mortal.start(world.cloud.url, world.documents, { dieAfter, unheard });
    const first = world.provider({ endpoint: mortal.endpoint, control: mortal.documents });
    const signal = AbortSignal.any([soon(), mortal.signal]);
    await goOn(run, first, signal).catch((error: unknown) => {
      if (!mortal.isDead) throw error;
    });
    const enabled = (await world.sessions()).filter((one) => one.enabled);
    for (const one of enabled) expect(await isAnnounced(one.id)).toBe(true);

    const second = world.provider();
    const session = await goOn(run, second, soon());
    await expectPhase(second, session, 'running');
    expect(await isAnnounced(session.id)).toBe(true);
    const all = await world.sessions();
    expect(all.map((one) => one.id)).toEqual([session.id]);

    await second.stop(session, soon());
    await removed(session, second);
    expect(await world.register()).toMatchObject({ sessions: [], reserved: [] });
    return mortal.isDead;
  }

  it.each([
    ['a session of its own and a filter of its own', false],
    ['the same, and its last call goes out', true],
  ])('%s', async (_, unheard) => {
    let steps = 0;
    const capture = { filters: [{ protocol: 'TCP', localPort: '443' }] };
    while (await dieAt(steps, unheard, wanted(`dead${steps}`, capture))) {
      expect((await world.state()).filters.filter((one) => one.name.startsWith('tripcap-'))).toEqual([]);
      steps++;
    }
    expect(steps).toBeGreaterThan(12);
  });

  it('while it enables one that was prepared', async () => {
    const source = { TrafficMirrorSourceIds: ['eni-prepared3'] };
    let steps = 0;
    for (let died = true; died; steps++) {
      const id = await world.cloud.session({ Priority: 200, ...source });
      const run = wanted('prepared3', { alibaba: { mode: 'enable' } });
      died = await dieAt(steps, true, run);
      expect(await world.sessions()).toMatchObject([{ id, enabled: false }]);
      await world.cloud.remove(id);
    }
    expect(steps).toBeGreaterThan(8);
  });
});

describe('priorities', () => {
  const wish = (priority: number) => ({ alibaba: { priority } });
  const priorityOf = async (run: Wanted) => (await sessionsOf(run))[0]?.priority;

  it('are as wished for; without a wish in the worse half', async () => {
    const [a, b] = [wanted('wish1', wish(77)), wanted('wish2')];
    await start(a);
    await start(b);
    expect(await priorityOf(a)).toBe(77);
    expect(await priorityOf(b)).toBeGreaterThan(16_383);
  });

  it('are the next that is free when somebody else has that one', async () => {
    await world.cloud.session({ Priority: 80, TrafficMirrorSourceIds: ['eni-other80'] });
    await world.cloud.session({ Priority: 81, TrafficMirrorSourceIds: ['eni-other81'] });
    const run = wanted('wish3', wish(80));
    const { calls } = await world.callsOf(() => start(run));
    expect(await priorityOf(run)).toBe(82);
    const asked = creates(calls).map(({ parameters }) => parameters);
    expect(asked.map((one) => one['Priority'])).toEqual(['80', '81', '82']);
    // Another request, so another token.
    expect(new Set(asked.map((one) => one['ClientToken'])).size).toBe(3);
    expect(new Set(asked.map((one) => one['VirtualNetworkId'])).size).toBe(1);
  });

  it('are two for two runs that wish for the same one at once, in two processes', async () => {
    const runs = ['a', 'b', 'c', 'd'].map((name) => wanted(`same${name}`, wish(90)));
    const [one, two] = [world.provider(), world.provider()];
    await Promise.all(runs.map((run, i) => start(run, i % 2 ? one : two)));
    const got = await Promise.all(runs.map(priorityOf));
    expect(new Set(got)).toEqual(new Set([90, 91, 92, 93]));
  });

  it('are given up when ten in a row are taken', async () => {
    await world.faults({ calls: [{ on: CREATE, code: 'IllegalParam.Priority' }] });
    const { calls } = await world.callsOf(async () => {
      expect(await errorOf(start(wanted('taken1')))).toMatchObject({ code: 'conflict', retry: true });
    });
    expect(creates(calls)).toHaveLength(10);
    expect(await world.register()).toMatchObject({ sessions: [], reserved: [] });
  });
});

describe('network numbers', () => {
  const wish = { alibaba: { virtualNetworkId: 4711 } };
  const vniOf = async (run: Wanted) => (await sessionsOf(run))[0]?.vni;

  it('are unique and never 0, however many begin at once', async () => {
    const runs = Array.from({ length: 10 }, (_, i) => wanted(`vni${i}`, wish));
    const [one, two] = [world.provider(), world.provider()];
    await Promise.all(runs.map((run, i) => start(run, i % 2 ? one : two)));
    const vnis = await Promise.all(runs.map(vniOf));
    expect(new Set(vnis).size).toBe(10);
    expect(vnis).toContain(4711);
    expect(vnis).not.toContain(0);
  });

  it('are not those of others that go to the same target', async () => {
    const run = wanted('vnix', { alibaba: { virtualNetworkId: 1000 } });
    await start(run);
    // tms-prepared0001 has it.
    expect(await vniOf(run)).not.toBe(1000);
  });

  it('of a run that is over are given out again after ten minutes', async () => {
    let now = Date.now();
    const provider = world.provider({ now: () => new Date(now) });
    const next = async (name: string): Promise<[Session, number | undefined]> => {
      await world.collector.report(undefined, new Date(now));
      const run = wanted(name, wish);
      const session = await provider.start(await provider.prepare(run, soon()), soon());
      return [session, await vniOf(run)];
    };
    const [first, vni] = await next('retired1');
    expect(vni).toBe(4711);
    await removed(first, provider);
    now += 9 * 60_000;
    const [second, other] = await next('retired2');
    expect(other).not.toBe(4711);
    await removed(second, provider);
    now += 2 * 60_000;
    expect((await next('retired3'))[1]).toBe(4711);
  });
});

describe('filters', () => {
  const filtersNamed = async (name: string) => (await world.state()).filters.filter((one) => one.name === name);

  it('of a run’s own are made, waited for, used, and removed with it', async () => {
    await world.faults({ settleSeconds: 0.2 });
    const run = wanted('filter1', { filters: [{ protocol: 'TCP', localPort: '443;8443' }] });
    const session = await start(run);
    const [filter] = await filtersNamed(`tripcap-main-${run.runId}`);
    expect(filter).toMatchObject({ status: 'Created', rules: 4 });
    expect((await sessionsOf(run))[0]?.filterId).toBe(filter?.id);
    await removed(session);
    expect(await filtersNamed(`tripcap-main-${run.runId}`)).toEqual([]);
  });

  it('that all runs share is made once by ten that begin at once, and stays', async () => {
    const runs = Array.from({ length: 10 }, (_, i) => wanted(`all${i}`));
    const provider = world.provider();
    const sessions = await Promise.all(runs.map((run) => start(run, provider)));
    const filters = await filtersNamed('tripcap-main-all');
    expect(filters).toHaveLength(1);
    const used = new Set((await world.sessions()).map((one) => one.filterId));
    expect(used).toEqual(new Set([filters[0]?.id]));
    await Promise.all(sessions.map((session) => removed(session, provider)));
    expect(await filtersNamed('tripcap-main-all')).toHaveLength(1);
  });

  it('that all runs share is made anew when somebody has deleted it', async () => {
    const provider = world.provider();
    const session = await start(wanted('again1'), provider);
    await removed(session, provider);
    const [old] = await filtersNamed('tripcap-main-all');
    await world.cloud.done('DeleteTrafficMirrorFilter', { TrafficMirrorFilterId: old?.id ?? '' });
    await start(wanted('again2'), provider);
    const [anew] = await filtersNamed('tripcap-main-all');
    expect(anew?.id).not.toBe(old?.id);
  });

  it('are made once although the answer is lost', async () => {
    await world.faults({ calls: [{ on: 'CreateTrafficMirrorFilter', answer: 'reset', carriedOut: true, times: 2 }] });
    const run = wanted('filter2', { filters: [{ localIPAddress: '10.0.0.4' }] });
    await start(run);
    expect(await filtersNamed(`tripcap-main-${run.runId}`)).toHaveLength(1);
  });

  it('that is being removed while its session still goes is asked about again', async () => {
    const run = wanted('filter3', { filters: [{ localIPAddress: '10.0.0.4' }] });
    const session = await start(run);
    await world.faults({
      calls: [{ on: 'DeleteTrafficMirrorFilter', code: 'DependencyViolation.TrafficMirrorSession', times: 8 }],
    });
    await removed(session);
    expect(await filtersNamed(`tripcap-main-${run.runId}`)).toEqual([]);
  });

  it('that never settles ends with the caller’s time', async () => {
    await world.faults({ hold: true });
    await world.collector.report();
    const provider = world.provider();
    const prepared = await provider.prepare(wanted('filter4', { filters: [{ localPort: '1' }] }), soon());
    expect(await errorOf(provider.start(prepared, soon(300)))).toMatchObject({ code: 'unavailable', retry: true });
  });
});

describe('mirror targets', () => {
  const places = [{ ...place, maxSources: 5 }, balancer];
  const two = () => new Collector(world.documents, balancer.collector);

  it('take no more than they may, however many begin at once in two processes', async () => {
    await two().report();
    const runs = Array.from({ length: 8 }, (_, i) => wanted(`fan${i}`));
    const providers = [world.provider({ places }), world.provider({ places })];
    await Promise.all(runs.map((run, i) => start(run, providers[i % 2])));
    const targets = (await world.sessions()).map((one) => one.targetId);
    // Two sources of tms-prepared0001 go to the first.
    expect(targets.filter((id) => id === COLLECTOR)).toHaveLength(3);
    expect(targets.filter((id) => id === balancer.mirrorTargetId)).toHaveLength(5);
  });

  it('that the cloud finds full before we do are passed by', async () => {
    await two().report();
    await world.faults({ quotas: { sourcesPerInterface: 2 } });
    const provider = world.provider({ places: [{ ...place, filterId: ALL }, balancer] });
    const run = wanted('full1');
    const session = await start(run, provider);
    expect(await sessionsOf(run)).toMatchObject([{ targetId: balancer.mirrorTargetId, targetType: 'SLB' }]);
    await two().report();
    await expectPhase(provider, session, 'ready', (seen) => seen.waitingFor === undefined);
    await world.faults({ quotas: { sourcesPerInterface: 2, sourcesPerBalancer: 1 } });
    expect(await errorOf(start(wanted('full2'), provider))).toMatchObject({
      code: 'quota',
      retry: false,
      message: expect.stringMatching(/QuotaExceeded\.SourceNumPerTarget/),
    });
    expect((await world.register()).reserved).toEqual([]);
  });

  it('stay the same for a run that asks again, whatever room there is by then', async () => {
    await two().report();
    const run = wanted('stay1');
    await world.faults({ calls: [{ on: CREATE, answer: '500' }] });
    await errorOf(start(run, world.provider({ places: [{ ...place, maxSources: 3 }, balancer] })));
    await world.faults(null);
    const full = world.provider({ places: [{ ...place, maxSources: 2 }, balancer] });
    const session = await start(run, full);
    expect(await sessionsOf(run)).toMatchObject([{ targetId: COLLECTOR }]);
    // Its collector is the one to hear of it.
    await world.collector.report();
    await expectPhase(full, session, 'ready', (seen) => seen.waitingFor === undefined);
  });
});

describe('the list of sessions', () => {
  it('that cannot be had begins nothing', async () => {
    await world.collector.report();
    const away = () => Promise.reject(new Error('storage is away'));
    const run = wanted('away1');
    const provider = world.provider();
    const prepared = await provider.prepare(run, soon());
    const cut = world.provider({ control: { read: away, write: away } });
    expect(await errorOf(cut.prepare(run, soon()))).toMatchObject({ code: 'unavailable', retry: true });
    expect(await errorOf(cut.start(prepared, soon()))).toMatchObject({ code: 'unavailable', retry: true });
    expect(await world.sessions()).toEqual([]);
  });

  it.each(['', '{', 'null', '[]', '{"version":2,"sessions":[]}', '{"version":1}'])(
    'that reads %j is not taken for an empty one',
    async (text) => {
      await world.collector.report();
      const provider = world.provider();
      const prepared = await provider.prepare(wanted('spoilt1'), soon());
      await world.documents.write(LIST_BLOB, text, undefined);
      expect(await errorOf(provider.start(prepared, soon()))).toMatchObject({
        code: 'unavailable',
        retry: true,
        message: expect.stringMatching(/sessions\.json in container mirror-control cannot be read: restore/),
      });
      expect(await world.sessions()).toEqual([]);
    },
  );

  it('that is written by too many at once is given up, and nothing was asked of the cloud', async () => {
    await world.collector.report();
    const busy = world.provider({ control: { read: (name) => world.documents.read(name), write: async () => false } });
    const prepared = await busy.prepare(wanted('busy1'), soon());
    expect(await errorOf(busy.start(prepared, soon()))).toMatchObject({ code: 'unavailable', retry: true });
    expect(await world.sessions()).toEqual([]);
  });

  it('has a link for uploads that lives a day, and another when half of that is over', async () => {
    let now = Date.now();
    let links = 0;
    const uploadUrl = (seconds: number) => Promise.resolve(`https://mirrors/?sig=${++links}&for=${seconds}`);
    const provider = world.provider({
      now: () => new Date(now),
      storage: { account: 'mirrors', url: 'https://mirrors', uploadUrl },
    });
    const linkAfter = async (hours: number) => {
      now += hours * 3_600_000;
      await world.collector.report(undefined, new Date(now));
      await provider.start(await provider.prepare(wanted(`link${now}`), soon()), soon());
      const { upload, uploadUntil = '' } = await world.register();
      return [upload?.sas, Date.parse(uploadUntil) - now] as const;
    };
    const day = 86_400_000;
    expect(await linkAfter(0)).toEqual(['https://mirrors/?sig=1&for=86400', day]);
    expect(await linkAfter(11)).toEqual(['https://mirrors/?sig=1&for=86400', day - 11 * 3_600_000]);
    expect(await linkAfter(2)).toEqual(['https://mirrors/?sig=2&for=86400', day]);
  });

  it('has none when none is to be had, and the run goes on', async () => {
    const uploadUrl = () => Promise.reject(new Error('no rights'));
    const run = wanted('nolink1');
    await start(run, world.provider({ storage: { account: 'mirrors', url: 'https://mirrors', uploadUrl } }));
    expect((await world.register()).upload).toBeUndefined();
    expect(await sessionsOf(run)).toHaveLength(1);
  });

  it('keeps every run when many processes write it at once', async () => {
    const runs = Array.from({ length: 12 }, (_, i) => wanted(`many${i}`));
    let lost = 0;
    const slow = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
    const contended: Documents = {
      read: (name) => world.documents.read(name),
      write: async (name, text, etag) => {
        await slow(5);
        const written = await world.documents.write(name, text, etag);
        if (!written) lost++;
        return written;
      },
    };
    const providers = Array.from({ length: 4 }, () => world.provider({ control: contended }));
    const sessions = await Promise.all(runs.map((run, i) => start(run, providers[i % 4])));
    expect(lost).toBeGreaterThan(0);
    const register = await world.register();
    expect(new Set(register.sessions.map((one) => one.run))).toEqual(new Set(runs.map((run) => run.runId)));
    await Promise.all(sessions.map((session, i) => removed(session, providers[(i + 1) % 4])));
    expect(await world.register()).toMatchObject({ sessions: [], reserved: [] });
    expect((await world.register()).retired).toHaveLength(12);
  });
});

it('a run whose source has three sessions by now is refused when it begins', async () => {
  await world.collector.report();
  const provider = world.provider();
  const prepared = await provider.prepare(wanted('late1'), soon());
  for (const priority of [201, 202, 203])
    await world.cloud.session({ Priority: priority, TrafficMirrorSourceIds: ['eni-late1'] });
  expect(await errorOf(provider.start(prepared, soon()))).toMatchObject({
    code: 'quota',
    message: expect.stringMatching(/NetworkInterfaceRelatedSession/),
  });
});

it('captures', async () => {
  const run = wanted('whole1', {}, nextRun());
  const session = await captured(world, run);
  expect((await sessionsOf(run))[0]).toMatchObject({ id: session.id, enabled: true, mirroring: true });
  await readied(world, wanted('whole2'));
});
