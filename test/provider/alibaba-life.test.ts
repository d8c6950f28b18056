import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { AlibabaProvider } from '../../shared/provider/alibaba/alibaba.ts';
import type { Session } from '../../shared/provider/provider.ts';
import { MemoryDocuments } from '../memory-documents.ts';
import { until } from '../until.ts';
import { errorOf, limits, soon } from './fake-arm.ts';
import { captured, Collector, Mirrored, place, readied, expectPhase, wanted, type StateSession } from './mirror.ts';

let world: Mirrored;
let provider: AlibabaProvider;
beforeAll(async () => {
  world = await Mirrored.start(['--pace', '0']);
  provider = world.provider();
});
afterAll(() => world.cloud[Symbol.asyncDispose]());
afterEach(async () => {
  await world.reset();
  provider = world.provider();
});

const UPDATE = 'UpdateTrafficMirrorSessionAttribute';
const DELETE = 'DeleteTrafficMirrorSession';

const now = async (id: string): Promise<StateSession | undefined> =>
  (await world.state()).sessions.find((one) => one.id === id);
async function started(run: ReturnType<typeof wanted>): Promise<Session> {
  await world.collector.report();
  return provider.start(await provider.prepare(run, soon()), soon());
}
/** A session that somebody has prepared for an instance. */
const prepare = (name: string) =>
  world.cloud.session({ Priority: priority++, TrafficMirrorSourceIds: [`eni-${name}`] });
let priority = 200;
const enabling = (name: string) => wanted(name, { alibaba: { mode: 'enable' } });
const removed = (session: Session) => until('the removal', () => provider.remove(session, soon()));
const expectIt = (id: string, what: string, check: (one: StateSession | undefined) => boolean) =>
  until(`${id} is ${what}`, async () => check(await now(id)));
const entryOf = async (session: Session) => (await world.register()).sessions.find((one) => one.session === session.id);

describe('what is seen', () => {
  it('is a session on its way: asked for, there, taken over, told to capture, capturing, stopped, gone', async () => {
    await world.faults({ settleSeconds: 0.3 });
    const session = await started(wanted('way1'));
    expect(await provider.inspect(session, soon())).toMatchObject({
      phase: 'pending',
      session: { id: session.id, status: 'Creating, disabled', errors: [] },
    });
    expect(await expectPhase(provider, session, 'ready')).toMatchObject({
      waitingFor: 'The collector mirror-1 has not taken the session over yet',
    });
    await world.collector.report();
    const ready = await provider.inspect(session, soon());
    expect(ready).toMatchObject({ phase: 'ready', cause: 'stopped', session: { status: 'Created, disabled' } });
    expect('waitingFor' in ready && ready.waitingFor).toBe(undefined);

    await provider.enable(session, limits, soon());
    expect(await provider.inspect(session, soon())).toMatchObject({ phase: 'pending' });
    const running = await expectPhase(provider, session, 'running');
    expect(running.session).toMatchObject({ status: 'Created, enabled', storagePath: session.storagePath });
    expect(running.full).toBeUndefined();

    await provider.stop(running.session, soon());
    expect(await provider.inspect(session, soon())).toMatchObject({ phase: 'pending' });
    expect(await expectPhase(provider, session, 'ready')).toMatchObject({ cause: 'stopped' });
    expect(await provider.remove(session, soon())).toBe(false);
    expect(await provider.inspect(session, soon())).toMatchObject({ phase: 'pending' });
    await expectPhase(provider, session, 'gone');
  });

  it('is found by its name as long as the id is not known', async () => {
    const run = wanted('named1');
    const { id } = await started(run);
    const { session } = await provider.prepare(run, soon());
    const byName = { ...session, id: `tripcap-main-${run.runId}` };
    const seen = await expectPhase(provider, byName, 'ready');
    expect(seen.session.id).toBe(id);
  });

  it('had better not capture yet while the collector is silent, whatever it said before', async () => {
    const session = await readied(world, wanted('silent1'));
    await world.collector.report(undefined, new Date(Date.now() - 60_000));
    expect(await expectPhase(provider, session, 'ready')).toMatchObject({
      waitingFor: expect.stringMatching(/mirror-1 has not reported since/),
    });
    const cut = world.provider({
      control: { read: () => Promise.reject(new Error('away')), write: () => Promise.resolve(false) },
    });
    expect(await cut.inspect(session, soon())).toMatchObject({
      phase: 'ready',
      waitingFor: expect.stringMatching(/cannot be read/),
    });
    const moved = world.provider({ places: [{ ...place, mirrorTargetId: 'eni-sensor0001' }] });
    expect(await moved.inspect(session, soon())).toMatchObject({
      phase: 'ready',
      waitingFor: expect.stringMatching(/No collector is known behind eni-collector0001/),
    });
    await world.collector.report();
    expect(await expectPhase(provider, session, 'ready')).toMatchObject({ waitingFor: undefined });
  });

  it('is a capture although the collector is silent', async () => {
    const session = await captured(world, wanted('silent2'));
    await world.collector.report(undefined, new Date(Date.now() - 60_000));
    expect(await provider.inspect(session, soon())).toMatchObject({ phase: 'running' });
  });

  it('is full when the collector says so, and keeps capturing until it is stopped', async () => {
    const session = await captured(world, wanted('full1'));
    await world.collector.report(() => ({ capped: true, bytes: 999_990 }));
    expect(await provider.inspect(session, soon())).toMatchObject({
      phase: 'running',
      full: 'The collector has written 999990 bytes, as many as it may',
    });
  });

  it.each([
    [false, 'time-limit'],
    [true, 'size-limit'],
  ])('ended by the collector (full: %s) is %s', async (capped, cause) => {
    const session = await captured(world, wanted('switched1'));
    await world.collector.report(() => ({ capped, disabledAt: new Date().toISOString() }));
    await world.cloud.done(UPDATE, { TrafficMirrorSessionId: session.id, Enabled: false });
    expect(await expectPhase(provider, session, 'ready')).toMatchObject({
      cause,
      reason: 'the collector has disabled it',
      byUs: true,
    });
  });

  it('needs a session of this cloud', async () => {
    const strange: Session = { id: '/subscriptions/s/packetCaptures/c', errors: [] };
    for (const call of [
      provider.inspect(strange, soon()),
      provider.enable(strange, limits, soon()),
      provider.stop(strange, soon()),
      provider.remove(strange, soon()),
    ])
      expect((await errorOf(call)).code).toBe('invalid');
  });
});

describe('enable', () => {
  it('sends everything that could fall back to a default, and says in the list until when', async () => {
    await world.faults({ omitted: 'reset' });
    const session = await readied(world, wanted('on1'));
    const vni = (await now(session.id))?.vni;
    const before = Date.now();
    await provider.enable(session, { durationSeconds: 100, sizeBytes: 1 }, soon());
    await expectPhase(provider, session, 'running');
    expect(await now(session.id)).toMatchObject({ vni, enabled: true, mirroring: true });
    const until = Date.parse((await entryOf(session))?.until ?? '') - before;
    // Its time, and a little for what is still under way.
    expect(until).toBeGreaterThan(100_000);
    expect(until).toBeLessThan(120_000);
    await provider.stop(session, soon());
    await expectPhase(provider, session, 'ready');
    expect(await now(session.id)).toMatchObject({ vni, enabled: false });
  });

  it('of a session that the list does not name is refused, and nothing is asked of the cloud', async () => {
    const session = await readied(world, wanted('unlisted2'));
    const empty = world.provider({ control: new MemoryDocuments() });
    const { calls } = await world.callsOf(async () => {
      expect(await errorOf(empty.enable(session, limits, soon()))).toMatchObject({ code: 'conflict', retry: true });
    });
    expect(calls).toEqual([]);
  });

  it('without storage is refused, and nothing is enabled', async () => {
    const session = await readied(world, wanted('unstored2'));
    const away = () => Promise.reject(new Error('away'));
    const cut = world.provider({ control: { read: away, write: away } });
    expect(await errorOf(cut.enable(session, limits, soon()))).toMatchObject({ code: 'unavailable', retry: true });
    expect((await now(session.id))?.enabled).toBe(false);
  });

  it('that had no effect may be done again', async () => {
    await world.faults({ update: 'no-effect' });
    const session = await readied(world, wanted('again2'));
    await provider.enable(session, limits, soon());
    await expectPhase(provider, session, 'ready');
    await world.faults(null);
    await provider.enable(session, limits, soon());
    await expectPhase(provider, session, 'running');
  });

  it('of a session that is being changed comes after the change, or is asked for again', async () => {
    const session = await readied(world, wanted('busy2'));
    await world.faults({ settleSeconds: 0.08 });
    await world.cloud.done(UPDATE, { TrafficMirrorSessionId: session.id, PacketLength: 100, Enabled: false });
    await provider.enable(session, limits, soon());
    await expectPhase(provider, session, 'running');
    await world.faults({ hold: true });
    await world.cloud.done(UPDATE, { TrafficMirrorSessionId: session.id, PacketLength: 101, Enabled: true });
    expect(await errorOf(provider.enable(session, limits, soon()))).toMatchObject({
      code: 'conflict',
      retry: true,
      message: expect.stringMatching(/IncorrectStatus\.TrafficMirrorSession/),
    });
  });
});

describe('stop', () => {
  it('is fine as often as it is asked for, of what captures and of what never did', async () => {
    const session = await captured(world, wanted('off1'));
    await provider.stop(session, soon());
    await provider.stop(session, soon());
    await expectPhase(provider, session, 'ready');
    await provider.stop(session, soon());
    await expectPhase(provider, session, 'ready');
    const never = await started(wanted('off2'));
    await provider.stop(never, soon());
    await expectPhase(provider, never, 'ready');
    expect((await now(never.id))?.enabled).toBe(false);
  });

  it('is fine of what is gone, by id or by name, and asks for no session with a number of its own making', async () => {
    const session = await captured(world, wanted('off3'));
    await world.cloud.remove(session.id);
    const { vni: _, ...noNumber } = session.handle ?? {};
    const { calls } = await world.callsOf(async () => {
      expect(await provider.stop(session, soon())).toMatchObject({ id: session.id });
      await provider.stop({ ...session, handle: noNumber }, soon());
      await provider.stop({ ...session, id: `tripcap-main-${session.handle?.['run']}` }, soon());
    });
    expect(calls.filter((call) => call.parameters['VirtualNetworkId'] === '0')).toEqual([]);
  });

  it('finds out what it has to know', async () => {
    const session = await captured(world, wanted('off4'));
    const { vni: _, ...noNumber } = session.handle ?? {};
    const name = `tripcap-main-${session.handle?.['run']}`;
    const vni = (await now(session.id))?.vni;
    expect(await provider.stop({ ...session, id: name, handle: noNumber }, soon())).toMatchObject({ id: session.id });
    await expectIt(session.id, 'disabled', (one) => one?.mirroring === false);
    expect((await now(session.id))?.vni).toBe(vni);
  });

  it('waits for a change that is under way, as long as there is time', async () => {
    const session = await readied(world, wanted('off5'));
    await world.faults({ settleSeconds: 0.3 });
    await provider.enable(session, limits, soon());
    await provider.stop(session, soon());
    await expectPhase(provider, session, 'ready');
    await world.faults({ hold: true });
    await world.cloud.done(UPDATE, { TrafficMirrorSessionId: session.id, Enabled: true });
    expect(await errorOf(provider.stop(session, soon(300)))).toMatchObject({ code: 'unavailable', retry: true });
    await world.faults(null);
    await provider.stop(session, soon());
    await expectIt(session.id, 'disabled', (one) => one?.enabled === false);
  });

  it('that had no effect shows, and may be done again', async () => {
    const session = await captured(world, wanted('off6'));
    await world.faults({ update: 'no-effect' });
    await provider.stop(session, soon());
    await expectPhase(provider, session, 'running');
    await world.faults(null);
    await provider.stop(session, soon());
    await expectPhase(provider, session, 'ready');
  });

  it('tells the collector, too, so that it ends although the cloud does not answer', async () => {
    const session = await captured(world, wanted('off7'));
    await world.faults({ down: true });
    expect(await errorOf(provider.stop(session, soon(1500)))).toMatchObject({ code: 'unavailable', retry: true });
    const until = Date.parse((await entryOf(session))?.until ?? '');
    expect(until).toBeLessThan(Date.now() + 5000);
  });

  it.each([
    ['fails', () => Promise.reject(new Error('away'))],
    ['hangs', () => new Promise<never>(() => undefined)],
  ])('ends it in the cloud although storage %s', async (_, away) => {
    await prepare('off8');
    const sessions = [await captured(world, wanted('off7b')), await captured(world, enabling('off8'))];
    const cut = world.provider({ control: { read: away, write: away } });
    await Promise.all(sessions.map((session) => cut.stop(session, soon(1000))));
    for (const { id } of sessions) await expectIt(id, 'disabled', (one) => one?.mirroring === false);
  });

  it('makes the end no later than it was', async () => {
    let at = Date.now();
    const clocked = world.provider({ now: () => new Date(at) });
    const session = await captured(world, wanted('off9'));
    const until = (await entryOf(session))?.until;
    at += 3_600_000;
    await clocked.stop(session, soon());
    expect((await entryOf(session))?.until).toBe(until);
  });
});

describe('remove', () => {
  it('deletes a session of the run’s own, also one that captures, and is done when it is gone', async () => {
    const session = await captured(world, wanted('away1'));
    const number = (await now(session.id))?.vni;
    await world.faults({ settleSeconds: 0.1 });
    expect(await provider.remove(session, soon())).toBe(false);
    expect((await entryOf(session))?.session).toBe(session.id);
    await removed(session);
    expect(await now(session.id)).toBeUndefined();
    expect(await world.register()).toMatchObject({ sessions: [], retired: [{ vni: number }] });
    expect(await provider.remove(session, soon())).toBe(true);
    expect(await provider.inspect(session, soon())).toEqual({ phase: 'gone' });
  });

  it('is done of what never was, and takes its numbers out of the list', async () => {
    const run = wanted('away2');
    await world.faults({ calls: [{ on: 'CreateTrafficMirrorSession', answer: '500' }] });
    await world.collector.report();
    const prepared = await provider.prepare(run, soon());
    await errorOf(provider.start(prepared, soon()));
    expect((await world.register()).reserved).toHaveLength(1);
    expect(await provider.remove(prepared.session, soon())).toBe(true);
    expect(await world.register()).toMatchObject({ sessions: [], reserved: [] });
  });

  it('of which nothing came is asked for again', async () => {
    const session = await captured(world, wanted('away3'));
    await world.faults({ delete: 'no-effect' });
    expect(await provider.remove(session, soon())).toBe(false);
    await expectIt(session.id, 'there again', (one) => one?.status === 'Created');
    await world.faults(null);
    await removed(session);
  });

  it('waits for a change that is under way, as long as there is time', async () => {
    const session = await captured(world, wanted('away4'));
    await world.faults({ hold: true });
    await world.cloud.done(UPDATE, { TrafficMirrorSessionId: session.id, PacketLength: 100, Enabled: true });
    expect(await errorOf(provider.remove(session, soon(300)))).toMatchObject({ code: 'unavailable', retry: true });
    await world.faults(null);
    await removed(session);
  });

  it('of a session that was prepared disables it, leaves it there, and lets it be used again', async () => {
    const id = await prepare('kept1');
    const run = enabling('kept1');
    const session = await captured(world, run);
    expect(session.id).toBe(id);
    expect(await provider.remove(session, soon())).toBe(false);
    await removed(session);
    expect(await now(id)).toMatchObject({ enabled: false, mirroring: false, status: 'Created' });
    expect(await world.register()).toMatchObject({ sessions: [], retired: [] });
    expect(await provider.remove(session, soon())).toBe(true);
    const again = await captured(world, enabling('kept1'));
    expect(again.id).toBe(id);
  });

  it('of a session that was prepared and that somebody deleted is done', async () => {
    const id = await prepare('kept2');
    const session = await captured(world, enabling('kept2'));
    await world.cloud.remove(id);
    expect(await provider.remove(session, soon())).toBe(true);
    expect((await world.register()).sessions).toEqual([]);
  });

  it('whose answer is lost was carried out', async () => {
    const session = await captured(world, wanted('away5'));
    await world.faults({ calls: [{ on: DELETE, answer: 'reset', carriedOut: true, times: 1 }] });
    await removed(session);
    expect(await now(session.id)).toBeUndefined();
  });
});

describe('arrears', () => {
  const locked = { phase: 'ended', cause: 'error', session: { errors: ['FinancialLocked'] } };

  it('end a session of the run’s own, with the reason; it is deleted before it comes on again', async () => {
    const session = await captured(world, wanted('owing1'));
    await world.control({ arrears: true });
    expect(await provider.inspect(session, soon())).toMatchObject({
      ...locked,
      reason: expect.stringMatching(/arrears/),
    });
    await removed(session);
    await world.control({ arrears: false });
    expect(await world.sessions()).toEqual([]);
  });

  it('end one that was prepared: not given up before it is disabled in so many words', async () => {
    const id = await prepare('owing2');
    const session = await captured(world, enabling('owing2'));
    await world.control({ arrears: true });
    expect(await provider.inspect(session, soon())).toMatchObject(locked);
    expect(await errorOf(provider.remove(session, soon()))).toMatchObject({
      code: 'account',
      retry: false,
      next: expect.stringMatching(/Settle what/),
    });
    expect((await world.register()).sessions).toHaveLength(1);
    await world.control({ arrears: false });
    // It comes on again by itself.
    expect(await provider.inspect(session, soon())).toMatchObject({ phase: 'running' });
    expect((await provider.list(soon())).find((one) => one.id === id)).toMatchObject({ capturing: true });
    await removed(session);
    expect(await now(id)).toMatchObject({ enabled: false, mirroring: false });
  });

  it('refuse a start by the account, not by the request', async () => {
    await world.control({ arrears: true });
    expect(await errorOf(started(wanted('owing3')))).toMatchObject({
      code: 'account',
      retry: false,
      message: expect.stringMatching(/IncorrectBusinessStatus\.TrafficMirror/),
    });
    expect(await world.sessions()).toEqual([]);
  });

  it('a service that nobody has opened, too', async () => {
    await world.control({ open: false });
    expect(await errorOf(started(wanted('closed1')))).toMatchObject({
      code: 'account',
      message: expect.stringMatching(/OptInRequired\.TrafficMirror/),
      next: expect.stringMatching(/^Open traffic mirroring in this region/),
    });
  });
});

describe('list', () => {
  it('has all sessions, many pages of them, and says which run each is of', async () => {
    const sources = Array.from({ length: 120 }, (_, i) => `eni-page${i}`);
    await world.faults({ quotas: { sourcesPerInterface: 1000 } });
    for (const [i, source] of sources.entries())
      await world.cloud.done('CreateTrafficMirrorSession', {
        TrafficMirrorFilterId: 'tmf-all0001',
        TrafficMirrorTargetId: 'eni-sensor0001',
        TrafficMirrorTargetType: 'NetworkInterface',
        TrafficMirrorSourceIds: [source],
        Priority: 1000 + i,
      });
    const id = await prepare('mine2');
    const [own, used] = [await captured(world, wanted('mine1')), await captured(world, enabling('mine2'))];
    expect(used.id).toBe(id);
    const { value: listed, calls } = await world.callsOf(() => provider.list(soon()));
    expect(calls.filter((call) => call.action === 'ListTrafficMirrorSessions')).toHaveLength(2);
    expect(listed).toHaveLength(124);
    expect(new Set(listed.map((one) => one.id)).size).toBe(124);
    const of = (one: string) => listed.find((each) => each.id === one);
    expect(of(own.id)).toMatchObject({
      provider: 'alibaba',
      name: `tripcap-main-${own.handle?.['run']}`,
      region: 'cn-hangzhou',
      target: 'acs:ecs:cn-hangzhou:1108034196790001:eni/eni-mine1',
      status: 'Created, enabled',
      runId: own.handle?.['run'],
      capturing: true,
    });
    expect(of(used.id)).toMatchObject({ runId: used.handle?.['run'], capturing: true });
    expect(of('tms-foreign0001')).not.toHaveProperty('runId');
    expect(of('tms-prepared0001')).toMatchObject({ capturing: false, name: 'prepared' });
    expect(of('tms-prepared0001')).not.toHaveProperty('runId');
    expect(await provider.list(soon(), 'CN-Hangzhou')).toHaveLength(124);
    expect(await provider.list(soon(), 'eu-central-1')).toEqual([]);
  });

  it('gives what is needed to end a session that nobody else knows', async () => {
    await captured(world, wanted('leak1', { filters: [{ localPort: '443' }] }));
    const id = await prepare('leak2');
    await captured(world, enabling('leak2'));
    const leaks = (await provider.list(soon())).filter((one) => one.runId !== undefined);
    expect(leaks).toHaveLength(2);
    // As another process finds them.
    const other = world.provider();
    for (const { session } of leaks) await until('the removal', () => other.remove(session, soon()));
    expect(await world.sessions()).toMatchObject([{ id, enabled: false }]);
    expect((await world.state()).filters.filter((one) => one.name.startsWith('tripcap-main-'))).toEqual([]);
    expect((await world.register()).sessions).toEqual([]);
  });

  it('leaves out the sessions of other installations', async () => {
    const other = world.provider({ installation: 'other' });
    await world.collector.report();
    const session = await other.start(await other.prepare(wanted('theirs1'), soon()), soon());
    world.documents = new MemoryDocuments();
    world.collector = new Collector(world.documents);
    const seen = (await world.provider().list(soon())).find((one) => one.id === session.id);
    expect(seen).not.toHaveProperty('runId');
    expect(seen?.name).toMatch(/^tripcap-other-/);
  });
});

it('a run whose session somebody else deletes sees that it is gone', async () => {
  const session = await captured(world, wanted('gone1'));
  await world.cloud.remove(session.id);
  expect(await provider.inspect(session, soon())).toEqual({ phase: 'gone' });
});
