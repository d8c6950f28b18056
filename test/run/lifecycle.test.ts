import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ProviderError } from '../../shared/provider/provider.ts';
import type { Run } from '../../shared/run/run.ts';
import { until } from '../until.ts';
import {
  account,
  blobUrl,
  container,
  gate,
  hours,
  minutes,
  newRun,
  seconds,
  times,
  upload,
  useAzurite,
  vm,
  World,
  type Process,
} from './world.ts';

useAzurite();

const fixture = (name: string) => readFileSync(join(import.meta.dirname, '../fixtures/pcaps/tcpdump', name));
const durationSeconds = 60;

let count = 0;
/** Starts a run as a runbook does. */
async function launch(app: Process, target = vm('a')): Promise<Run> {
  const launched = await app.launcher.launch({
    idParts: ['test', String(count++)],
    target,
    trigger: { kind: 'runbook' },
    capture: {},
    limits: { durationSeconds, sizeBytes: 1e6 },
  });
  if (launched.ignored) throw new Error(launched.ignored.detail);
  return launched.run;
}

async function start(app: Process, target?: string): Promise<string> {
  const run = await launch(app, target);
  expect(run.state).toBe('starting');
  return run.id;
}

async function startRunning(app: Process, target?: string): Promise<string> {
  const id = await start(app, target);
  expect((await app.lifecycle.step(id))?.state).toBe('running');
  return id;
}

/** Waits for the file of a run whose session is over. */
async function startCollecting(world: World, app: Process, storagePath?: string): Promise<string> {
  world.cloud.fresh = { ...world.cloud.fresh, storagePath };
  const id = await startRunning(app);
  world.cloud.held.forEach((held) => (held.phase = 'ended'));
  expect((await app.lifecycle.step(id))?.state).toBe('collecting');
  return id;
}

const events = (run: Run | undefined, event: string) => run?.timeline.filter((e) => e.event === event) ?? [];
const fail = () => {
  throw new ProviderError('unavailable', 'the cloud does not answer');
};

describe('a cloud that never tells how a session is', () => {
  it.each(['fails', 'hangs'])('is asked to stop all the same, by an operator and at the limit: it %s', async (how) => {
    const world = new World();
    const app = world.process();
    const [byOperator, byLimit] = [await startRunning(app, vm('a')), await startRunning(app, vm('b'))];
    const never = gate();
    world.cloud.before.inspect = how === 'fails' ? fail : never.wait;

    const stopping = app.lifecycle.stop(byOperator, 'operator');
    if (how === 'hangs') await never.reached;
    world.clock.advance(11 * seconds);
    expect((await stopping).state).toBe('stopping');
    // The caller is not kept waiting; the stop goes out when the look has timed out.
    await until('the stop', () => world.cloud.count('stop', byOperator) === 1);
    expect(await app.runs.get(byOperator)).toMatchObject({ state: 'stopping', stop: { reason: 'operator' } });

    world.clock.advance(durationSeconds * seconds + times.limitGraceMs);
    const polling = app.lifecycle.stepAll();
    if (how === 'hangs') {
      const looked = world.cloud.count('inspect');
      await until('both looks', () => world.cloud.count('inspect') === looked + 2);
      world.clock.advance(11 * seconds);
    }
    expect(await polling).toEqual({ open: 2, alarms: 0 });
    expect(await app.runs.get(byLimit)).toMatchObject({
      state: 'stopping',
      stop: { reason: 'time-limit', by: 'tripcap' },
    });
    expect(world.cloud.count('stop', byOperator)).toBeGreaterThan(0);
    expect(world.cloud.count('stop', byLimit)).toBe(1);
    expect(world.cloud.capturing()).toEqual([]);
  });

  it('raises an alarm in the end, and has the session removed', async () => {
    const world = new World();
    const app = world.process();
    const id = await startRunning(app);
    world.cloud.before = { inspect: fail, stop: fail };
    const stopped = world.clock.now().getTime();
    await app.lifecycle.stop(id, 'operator');
    for (let i = 0; i < 19; i++) {
      world.clock.advance(31 * seconds);
      expect(await app.lifecycle.stepAll()).toEqual({ open: 1, alarms: 0 });
    }
    expect(world.cloud.count('stop')).toBe(20);
    expect(world.cloud.count('remove')).toBe(0);
    world.clock.advance(stopped + times.stoppingAlarmMs - world.clock.now().getTime());
    expect(await app.lifecycle.stepAll()).toEqual({ open: 1, alarms: 1 });
    const run = await app.runs.get(id);
    expect(run?.alarmedAt).toBe(world.clock.now().toISOString());
    expect(events(run, 'alarm')).toHaveLength(1);
    expect(world.logsOf('error')).toEqual(['a stop is not confirmed; the session may still be capturing']);
    expect(world.cloud.count('remove')).toBe(1);
    expect([...world.cloud.held]).toEqual([]);
    world.clock.advance(31 * seconds);
    expect((await app.lifecycle.stepAll()).alarms).toBe(1);
    expect(world.cloud.count('remove')).toBe(2);
    expect(world.logsOf('error')).toHaveLength(1);
    // The cloud is there again.
    world.cloud.before = {};
    await app.lifecycle.stepAll();
    expect(await app.runs.get(id)).toMatchObject({ state: 'collecting', stop: { reason: 'operator' } });
    expect((await app.lifecycle.stepAll()).alarms).toBe(0);
  });

  it('or answers in a way that nobody foresaw does not keep the other runs from being looked at', async () => {
    const world = new World();
    const app = world.process();
    const bad = await startRunning(app, vm('bad'));
    const others = [await start(app, vm('b')), await start(app, vm('c'))];
    world.cloud.before.inspect = ({ target }) => {
      if (target === vm('bad')) throw new TypeError('undefined is not an object');
    };
    await app.lifecycle.stepAll();
    for (const id of others) expect((await app.runs.get(id))?.state).toBe('running');
    expect((await app.runs.get(bad))?.state).toBe('running');
    expect(world.logsOf('warn')).toContain('running: The state could not be read');
  });

  it('or answers in a way that nobody foresaw is asked to stop at the limit', async () => {
    const world = new World();
    const app = world.process();
    await startRunning(app);
    world.cloud.before.inspect = () => {
      throw new TypeError('undefined is not an object');
    };
    for (let i = 0; i < 10; i++) {
      world.clock.advance(1 * minutes);
      await app.lifecycle.stepAll();
    }
    expect(world.cloud.capturing()).toEqual([]);
  });
});

describe('the time limit', () => {
  const limitMs = durationSeconds * seconds + times.limitGraceMs;

  it.each([
    ['one hour ahead', 1 * hours],
    ['in the year 9999', Date.parse('9999-01-01T00:00:00Z') - Date.parse('2026-11-22T12:00:00Z')],
    ['one hour behind', -1 * hours],
    ['right', 0],
  ])('is kept when the cloud says that it started %s', async (_, offMs) => {
    const world = new World();
    const app = world.process();
    const startedAt = new Date(world.clock.now().getTime() + offMs);
    world.cloud.fresh = { startedAt };
    const id = await start(app);
    const asked = world.clock.now().getTime();
    world.clock.advance(5 * seconds);
    await app.lifecycle.step(id);
    const run = await app.runs.get(id);
    expect(run?.state).toBe('running');
    expect(Date.parse(run?.startedAt ?? '')).toBeGreaterThanOrEqual(asked - 60 * seconds);
    expect(Date.parse(run?.startedAt ?? '')).toBeLessThanOrEqual(asked + 5 * seconds);
    // The message that ends it comes when its time is up, by the same reckoning.
    const deadline = world.queued.at(-1);
    const dueMs = Date.parse(run?.startedAt ?? '') + limitMs - world.clock.now().getTime();
    expect(deadline).toEqual({ message: { run: id }, delayMs: dueMs });
    world.clock.advance(dueMs - 1);
    await app.lifecycle.step(id);
    expect(world.cloud.capturing()).toEqual([id]);
    world.clock.advance(1);
    await app.lifecycle.step(id);
    expect(world.cloud.capturing()).toEqual([]);
    expect(world.clock.now().getTime() - asked).toBeLessThanOrEqual(limitMs + 5 * seconds);
    expect(await app.runs.get(id)).toMatchObject({
      state: 'stopping',
      stop: { reason: 'time-limit', by: 'tripcap' },
    });
  });

  it('is queued once, however many see the run running', async () => {
    const world = new World();
    const id = await start(world.process());
    expect(world.queued).toEqual([{ message: { run: id }, delayMs: times.startDeadlineMs + 1000 }]);
    await Promise.all(Array.from({ length: 5 }, () => world.process().lifecycle.step(id)));
    await world.process().lifecycle.step(id);
    expect(world.queued.slice(1)).toEqual([{ message: { run: id }, delayMs: limitMs }]);
    expect(events(await world.process().runs.get(id), 'running')).toHaveLength(1);
  });
});

describe('a start', () => {
  it('that left no session is asked for again after a while, once, however many look', async () => {
    const world = new World();
    const id = await start(world.process());
    world.cloud.held.clear();
    const everybody = () => Promise.all(Array.from({ length: 6 }, () => world.process().lifecycle.step(id)));
    world.clock.advance(times.startRetryMs - 1);
    await everybody();
    expect(world.cloud.count('start')).toBe(1);
    world.clock.advance(1);
    await everybody();
    expect(world.cloud.count('start')).toBe(2);
    expect(events(await world.process().runs.get(id), 'start-asked')).toHaveLength(2);
    expect((await world.process().lifecycle.step(id))?.state).toBe('running');
  });

  it('is not asked for by whoever looked before somebody else asked', async () => {
    const world = new World();
    const id = await start(world.process());
    world.clock.advance(times.startRetryMs);
    const halt = gate();
    let looks = 0;
    world.cloud.before.inspect = () => (looks++ === 0 ? halt.wait() : undefined);
    world.cloud.says = () => ({ phase: 'gone' });
    const late = world.process().lifecycle.step(id);
    await halt.reached;
    await world.process().lifecycle.step(id);
    halt.open();
    await late;
    expect(world.cloud.count('start')).toBe(2);
  });

  it('that is never confirmed is stopped when its time is up, and nothing is asked for after that', async () => {
    const world = new World();
    const app = world.process();
    world.cloud.fresh = { phase: 'pending' };
    const id = await start(app);
    world.clock.advance(times.startingTimeoutMs - 1);
    expect((await app.lifecycle.step(id))?.state).toBe('starting');
    world.clock.advance(1);
    expect(await app.lifecycle.step(id)).toMatchObject({ state: 'stopping', stop: { reason: 'lost' } });
    await app.lifecycle.step(id);
    expect(world.cloud.capturing()).toEqual([]);
    expect((await app.lifecycle.step(id))?.state).toBe('collecting');
    expect(world.cloud.count('start')).toBe(1);
    expect(world.cloud.count('stop')).toBe(1);
  });

  it('that could not be asked for is not tried any more after two minutes', async () => {
    const world = new World();
    const app = world.process();
    world.cloud.before.prepare = fail;
    const run = await launch(app);
    expect(run.state).toBe('accepted');
    world.clock.advance(times.acceptedTimeoutMs - 1);
    expect((await app.lifecycle.step(run.id))?.state).toBe('accepted');
    world.cloud.before = {};
    world.clock.advance(1);
    expect(await app.lifecycle.step(run.id)).toMatchObject({ state: 'failed', verdict: { code: 'not-started' } });
    expect(await app.runs.open()).toEqual([]);
    expect(world.cloud.count('start')).toBe(0);
  });

  it.each(['at once', 'later'])('that is refused %s fails, and what there is of a session is removed', async (when) => {
    const world = new World();
    const app = world.process();
    if (when === 'at once') {
      world.cloud.before.start = (about) => {
        world.cloud.held.set(`/packetCaptures/${about.run}`, { ...about, phase: 'ended' });
        throw new ProviderError('quota', 'too many captures');
      };
    } else
      world.cloud.says = (_, session) => ({ phase: 'refused', session: { ...session, errors: ['X'] }, detail: 'no' });
    const { id } = await launch(app);
    await app.lifecycle.stepAll();
    await app.lifecycle.stepAll();
    expect(await app.runs.get(id)).toMatchObject({
      state: 'failed',
      verdict: { code: when === 'at once' ? 'quota' : 'start-failed' },
      removal: { done: true, attempts: 1 },
    });
    expect([...world.cloud.held]).toEqual([]);
    expect(await app.runs.open()).toEqual([]);
  });
});

describe('poll', () => {
  it('is not held up by one run whose cloud hangs', async () => {
    const world = new World();
    const app = world.process();
    const hung = await start(app, vm('hung'));
    const others: string[] = [];
    for (let i = 0; i < 12; i++) others.push(await start(app, vm(`m${i}`)));
    const halt = gate();
    world.cloud.before.inspect = ({ target }) => (target === vm('hung') ? halt.wait() : undefined);
    const polling = app.lifecycle.stepAll();
    await halt.reached;
    await until('the others', async () => {
      const runs = await Promise.all(others.map((id) => app.runs.get(id)));
      return runs.every((run) => run?.state === 'running');
    });
    expect((await app.runs.get(hung))?.state).toBe('starting');
    world.clock.advance(10 * seconds);
    expect(await polling).toEqual({ open: 13, alarms: 0 });
  });

  it('takes the mark off a closed run at once, off a run that was never written after a while', async () => {
    const world = new World();
    const app = world.process();
    const id = await start(app);
    await app.lifecycle.stop(id, 'operator');
    await app.settle(16 * minutes);
    const closed = await app.runs.get(id);
    expect(closed).toMatchObject({ state: 'completed', removal: { done: true } });
    const calls = world.cloud.calls.length;
    const mark = { at: world.clock.now().toISOString() };
    await world.tables.runs.put('open', id, mark);
    expect(await app.lifecycle.step(id)).toEqual(closed);
    expect(await app.runs.open()).toEqual([]);

    const orphan = newRun('orphan', world.clock.now()).id;
    await world.tables.runs.put('open', orphan, mark);
    world.clock.advance(10 * minutes);
    expect(await app.lifecycle.stepAll()).toEqual({ open: 1, alarms: 0 });
    expect((await app.runs.open()).map((open) => open.id)).toEqual([orphan]);
    world.clock.advance(1);
    await app.lifecycle.stepAll();
    expect(await app.runs.open()).toEqual([]);
    expect(world.cloud.calls.length).toBe(calls);
  });

  it('does not overlook a run that is written while its old mark is taken off', async () => {
    const world = new World();
    const app = world.process();
    const run = newRun('late', world.clock.now());
    await world.tables.runs.put('open', run.id, { at: run.createdAt });
    world.clock.advance(11 * minutes);
    const halt = gate();
    const poller = world.process(({ port, method }) =>
      port === 'runs' && method === 'remove' ? halt.wait() : undefined,
    );
    const polling = poller.lifecycle.stepAll();
    await halt.reached;
    await app.runs.create(run);
    halt.open();
    await polling;
    expect((await app.runs.open()).map((open) => open.id)).toEqual([run.id]);
  });

  it('does not overlook a run whose mark is written anew while the old one is taken off', async () => {
    const world = new World();
    const app = world.process();
    const run = newRun('late', world.clock.now());
    await world.tables.runs.put('open', run.id, { at: run.createdAt });
    world.clock.advance(11 * minutes);
    const [removing, inserting] = [gate(), gate()];
    const poller = world.process(({ method }) => (method === 'remove' ? removing.wait() : undefined));
    const creator = world.process(({ method }) => (method === 'insert' ? inserting.wait() : undefined));
    const polling = poller.lifecycle.stepAll();
    await removing.reached;
    const creating = creator.runs.create({ ...run, createdAt: world.clock.now().toISOString() });
    await inserting.reached;
    removing.open();
    await polling;
    inserting.open();
    expect((await creating).created).toBe(true);
    expect((await app.runs.open()).map((open) => open.id)).toEqual([run.id]);
  });

  it('does not overlook a run that is reopened while its mark is looked at', async () => {
    const world = new World();
    const app = world.process();
    const id = await start(app);
    await app.lifecycle.stop(id, 'operator');
    await app.settle(16 * minutes);
    world.cloud.before.remove = fail;
    const halt = gate();
    const remover = world.process(({ port, method }) =>
      port === 'runs' && method === 'replace' ? halt.wait() : undefined,
    );
    const removing = remover.lifecycle.remove(id);
    await halt.reached;
    await app.lifecycle.stepAll();
    halt.open();
    await removing.catch(() => undefined);
    expect((await app.runs.get(id))?.removal?.done).toBe(false);
    expect(await app.runs.open()).toHaveLength(1);
  });
});

describe('removing a session', () => {
  it('is asked for ever more rarely when the cloud refuses, and calls for somebody after ten times', async () => {
    const world = new World();
    const app = world.process();
    const id = await startCollecting(world, app);
    world.cloud.before.remove = () => {
      throw new ProviderError('forbidden', 'locked');
    };
    world.clock.advance(times.fileTimeoutMs);
    const asked: number[] = [];
    let alarms = 0;
    for (let i = 0; i < 180 && asked.length < 11; i++) {
      alarms = (await app.lifecycle.stepAll()).alarms;
      expect(alarms).toBe(asked.length + 1 >= 10 && world.cloud.count('remove') >= 10 ? 1 : 0);
      if (world.cloud.count('remove') > asked.length) asked.push(world.clock.now().getTime());
      world.clock.advance(10 * seconds);
    }
    const apart = asked.slice(1).map((at, i) => (at - (asked[i] ?? 0)) / seconds);
    expect(apart).toEqual([30, 60, 90, 120, 150, 180, 210, 240, 270, 300]);
    expect(world.logsOf('error')).toHaveLength(1);
    expect((await app.runs.get(id))?.timeline.length).toBeLessThanOrEqual(60);
    // An operator's wish is not made to wait.
    world.cloud.before = {};
    expect(await app.lifecycle.remove(id)).toMatchObject({ state: 'completed', removal: { done: true, attempts: 1 } });
    expect(await app.runs.open()).toEqual([]);
  });

  it('that takes its time is asked about until it is done', async () => {
    const world = new World();
    const app = world.process();
    const id = await startCollecting(world, app);
    world.cloud.removes = false;
    world.clock.advance(times.fileTimeoutMs);
    await app.lifecycle.stepAll();
    expect(await app.lifecycle.step(id)).toMatchObject({ state: 'completed', removal: { done: false } });
    world.cloud.removes = true;
    await app.settle();
    expect(await app.runs.get(id)).toMatchObject({ removal: { done: true, attempts: 2 } });
  });

  it('of a running run stops it first, and leaves its file and history', async () => {
    const world = new World();
    const app = world.process();
    const id = await startRunning(app);
    expect(await app.lifecycle.remove(id)).toMatchObject({ state: 'stopping', stop: { reason: 'operator' } });
    expect(world.cloud.capturing()).toEqual([]);
    expect(world.cloud.count('remove')).toBe(0);
    await app.settle(16 * minutes);
    expect(await app.runs.get(id)).toMatchObject({ state: 'completed', removal: { done: true } });
    expect([...world.cloud.held]).toEqual([]);
  });

  it('of a run whose file is awaited does not lose the file', async () => {
    const world = new World();
    const app = world.process();
    const id = await startCollecting(world, app, blobUrl('awaited.cap'));
    expect((await app.lifecycle.remove(id)).state).toBe('collecting');
    await upload('awaited.cap', fixture('DTP.pcap'));
    const capture = await app.lifecycle.addFile(account, container, 'awaited.cap');
    expect(await app.runs.get(id)).toMatchObject({
      state: 'completed',
      verdict: { code: 'captured' },
      files: [{ id: capture?.id }],
      removal: { done: true },
    });
    expect([...world.cloud.held]).toEqual([]);
  });

  it('of a completed run asks the cloud once more, of one that was never asked for nothing', async () => {
    const world = new World();
    const app = world.process();
    const id = await startCollecting(world, app);
    await app.settle(16 * minutes);
    const before = await app.runs.get(id);
    expect(world.cloud.count('remove')).toBe(1);
    world.clock.advance(1 * hours);
    const after = await app.lifecycle.remove(id);
    expect(world.cloud.count('remove')).toBe(2);
    expect(after).toMatchObject({ state: 'completed', verdict: before?.verdict, removal: { done: true } });
    expect(await app.runs.open()).toEqual([]);

    const never = await app.runs.create(newRun('never asked', world.clock.now()));
    expect(await app.lifecycle.remove(never.run.id)).toMatchObject({
      state: 'completed',
      verdict: { code: 'never-started' },
    });
    expect(await app.lifecycle.remove(never.run.id)).toMatchObject({ state: 'completed' });
    expect(world.cloud.count('remove')).toBe(2);
  });
});

describe('the files of a run that has several', () => {
  const sizes = ['DTP.pcap', 'MSTP_Intra-Region_BPDUs.pcap', 'HSRP_coup.pcap'];
  const stored = async (app: Process, id: string) => (await app.runs.get(id))?.files.length;

  it.each([
    ['below a folder', 'set/packetcapture_03_37_35_429/tripcap-main-x/', ['0.cap', '1.cap', 'deep/2.cap']],
    ['that begin like the path', 'vm/packetcapture_03_37_36_001.cap', ['_00001.cap', '_00002.cap', '3.cap']],
  ])('%s are all its own, and it is over when no more come', async (_, path, ends) => {
    const world = new World();
    const app = world.process();
    world.cloud.fresh = { manyFiles: true };
    const id = await startCollecting(world, app, blobUrl(path));
    const blobs = ends.map((end) => path.replace(/\.cap$/, '') + end);
    for (const [i, blob] of blobs.entries()) await upload(blob, fixture(sizes[i] ?? ''));
    // Of the first an event tells; the others are found where they must be.
    const first = await app.lifecycle.addFile(account, container, blobs[0] ?? '');
    expect(first?.runId).toBe(id);
    expect((await app.lifecycle.step(id))?.state).toBe('collecting');
    const handed = world.queued.flatMap(({ message }) => message['blob'] ?? []);
    expect(new Set(handed)).toEqual(new Set(blobs.slice(1)));
    for (const blob of handed) await app.lifecycle.addFile(account, container, blob);
    expect(await stored(app, id)).toBe(3);
    world.clock.advance(times.filesSettleMs - 1);
    expect((await app.lifecycle.step(id))?.state).toBe('collecting');
    world.clock.advance(1);
    expect(await app.lifecycle.step(id)).toMatchObject({ state: 'completed', verdict: { code: 'captured' } });
  });

  it('may come before anybody knew whose they are', async () => {
    const world = new World();
    const app = world.process();
    world.cloud.fresh = { manyFiles: true };
    await upload('early/a.cap', fixture(sizes[0] ?? ''));
    expect((await app.lifecycle.addFile(account, container, 'early/a.cap'))?.runId).toBeUndefined();
    const id = await startCollecting(world, app, blobUrl('early/'));
    await app.lifecycle.step(id);
    expect(world.queued.at(-1)?.message).toEqual({ account, container, blob: 'early/a.cap' });
    expect((await app.lifecycle.addFile(account, container, 'early/a.cap'))?.runId).toBe(id);
    expect(await stored(app, id)).toBe(1);
  });

  it('that come while it runs are its own, and it goes on', async () => {
    const world = new World();
    const app = world.process();
    world.cloud.fresh = { manyFiles: true, storagePath: blobUrl('live/x.cap') };
    const id = await startRunning(app);
    await upload('live/x_1.cap', fixture(sizes[0] ?? ''));
    expect((await app.lifecycle.addFile(account, container, 'live/x_1.cap'))?.runId).toBe(id);
    expect(await app.runs.get(id)).toMatchObject({ state: 'running', files: [{}] });
  });

  it('are not those of another run whose path begins alike', async () => {
    const world = new World();
    const app = world.process();
    world.cloud.fresh = { manyFiles: true, storagePath: blobUrl('twins/x.cap') };
    const ring = await startRunning(app);
    world.cloud.fresh = { storagePath: blobUrl('twins/x_1.cap') };
    const single = await startRunning(app);
    expect(await app.runs.claimant(container, 'twins/x_1.cap')).toBe(single);
    expect(await app.runs.claimant(container, 'twins/x_2.cap')).toBe(ring);
    expect(await app.runs.claimant(container, 'twins/xy.cap')).toBeUndefined();
  });
});

describe('the file of a run', () => {
  it('is given up on after its time when the account cannot be looked at', async () => {
    const world = new World();
    world.accounts = ['devstoreaccount1gone'];
    const app = world.process();
    const id = await startCollecting(world, app, blobUrl('never.cap'));
    for (let i = 0; i < 29; i++) {
      world.clock.advance(30 * seconds);
      expect((await app.lifecycle.step(id))?.state).toBe('collecting');
    }
    expect(
      world.logsOf('warn').filter((m) => m === 'could not look for the file in devstoreaccount1gone'),
    ).toHaveLength(29);
    world.clock.advance(30 * seconds);
    expect(await app.lifecycle.step(id)).toMatchObject({ state: 'completed', verdict: { code: 'no-file' } });
  });

  it('is found although another account cannot be looked at', async () => {
    const world = new World();
    world.accounts = ['gone', account];
    const app = world.process();
    await upload('elsewhere.cap', fixture('DTP.pcap'));
    const id = await startCollecting(world, app, `https://files.example/${container}/elsewhere.cap`);
    await app.lifecycle.step(id);
    expect(world.queued.at(-1)?.message).toEqual({ account, container, blob: 'elsewhere.cap' });
  });

  it('is looked for when no event told of it, and handed over again only after a while', async () => {
    const world = new World();
    const app = world.process();
    const id = await startCollecting(world, app, blobUrl('unannounced.cap'));
    const handed = () => world.queued.filter((q) => q.message['blob'] === 'unannounced.cap').length;
    await app.lifecycle.step(id);
    expect(handed()).toBe(0);
    await upload('unannounced.cap', fixture('DTP.pcap'));
    await app.lifecycle.step(id);
    await app.lifecycle.step(id);
    expect(handed()).toBe(1);
    world.clock.advance(2 * minutes);
    await app.lifecycle.step(id);
    expect(handed()).toBe(2);
  });

  it('is found by a path that was learned only after the end', async () => {
    const world = new World();
    const app = world.process();
    const id = await startCollecting(world, app);
    expect(await app.runs.claimant(container, 'late/path.cap')).toBeUndefined();
    world.cloud.held.forEach((held) => (held.storagePath = blobUrl('late/path.cap')));
    await upload('late/path.cap', fixture('DTP.pcap'));
    await app.lifecycle.step(id);
    expect(await app.runs.claimant(container, 'late/path.cap')).toBe(id);
    await app.lifecycle.step(id);
    expect(world.queued.at(-1)?.message).toEqual({ account, container, blob: 'late/path.cap' });
    await app.lifecycle.addFile(account, container, 'late/path.cap');
    expect(await app.runs.get(id)).toMatchObject({ state: 'completed', verdict: { code: 'captured' } });
  });

  it('is claimed by poll when the process died between learning its path and claiming it', async () => {
    const world = new World();
    const app = world.process();
    world.cloud.fresh = { storagePath: blobUrl('unclaimed.cap') };
    const dies = world.process(({ port, method, args }) => {
      if (port === 'runs' && method === 'put' && String(args[0]).startsWith('path-')) throw new Error('died');
    });
    const { id } = await launch(dies);
    world.cloud.held.forEach((held) => (held.phase = 'ended'));
    await app.lifecycle.step(id);
    expect(await app.runs.claimant(container, 'unclaimed.cap')).toBeUndefined();
    await app.lifecycle.step(id);
    expect(await app.runs.claimant(container, 'unclaimed.cap')).toBe(id);
  });

  it('that never came is no wonder when the machine is gone', async () => {
    const world = new World();
    const app = world.process();
    const id = await startCollecting(world, app, blobUrl('gone.cap'));
    world.cloud.vanished.add(vm('a'));
    world.clock.advance(times.fileTimeoutMs - 1);
    expect((await app.lifecycle.step(id))?.state).toBe('collecting');
    world.clock.advance(1);
    expect(await app.lifecycle.step(id)).toMatchObject({ state: 'completed', verdict: { code: 'target-gone' } });
  });

  it('that never came is waited for a while longer when it cannot be told whether the machine is there', async () => {
    const world = new World();
    const app = world.process();
    const id = await startCollecting(world, app, blobUrl('untold.cap'));
    world.cloud.targetExists = () => Promise.reject(new ProviderError('unavailable', 'no answer'));
    world.clock.advance(2 * times.fileTimeoutMs - 1);
    expect((await app.lifecycle.step(id))?.state).toBe('collecting');
    world.clock.advance(1);
    expect(await app.lifecycle.step(id)).toMatchObject({ state: 'completed', verdict: { code: 'no-file' } });
  });

  it('that stays on the machine is not waited for', async () => {
    const world = new World();
    const app = world.process();
    world.cloud.fresh = { filePath: '/var/captures/x.cap' };
    const id = await startRunning(app);
    world.cloud.held.forEach((held) => (held.phase = 'ended'));
    expect(await app.lifecycle.step(id)).toMatchObject({ state: 'completed', verdict: { code: 'on-machine' } });
  });

  it('belongs to the later of two runs that claim one path, and to it alone', async () => {
    const world = new World();
    const app = world.process();
    const first = await startCollecting(world, app, blobUrl('shared.cap'));
    await upload('shared.cap', fixture('DTP.pcap'));
    const early = await app.lifecycle.addFile(account, container, 'shared.cap');
    expect(early?.runId).toBe(first);
    const second = await startCollecting(world, app, blobUrl('Shared.CAP'));
    const third = await startCollecting(world, app, blobUrl('shared.cap'));
    await upload('shared.cap', fixture('LACP.pcap'));
    const capture = await app.lifecycle.addFile(account, container, 'shared.cap');
    expect(capture).toMatchObject({ id: early?.id, runId: third });
    const listed = async (run: string) => (await app.captures.list({ limit: 10 }, { run })).items.map((c) => c.id);
    expect(await listed(first)).toEqual([]);
    expect(await listed(second)).toEqual([]);
    expect(await listed(third)).toEqual([early?.id]);
    expect((await app.captures.list({ limit: 10 }, {})).items).toEqual([capture]);
    expect(await app.runs.get(third)).toMatchObject({
      state: 'completed',
      files: [{ id: early?.id, packets: capture?.packets }],
    });
    await app.settle(16 * minutes);
    expect(await app.runs.get(second)).toMatchObject({ state: 'completed', files: [], verdict: { code: 'no-file' } });
    expect((await app.runs.get(first))?.state).toBe('completed');
  });

  it('that comes when it was given up on renews the verdict, and so does one that is written again', async () => {
    const world = new World();
    const app = world.process();
    const id = await startCollecting(world, app, blobUrl('tardy.cap'));
    await app.settle(16 * minutes);
    expect(await app.runs.get(id)).toMatchObject({ state: 'completed', verdict: { code: 'no-file' } });

    await upload('tardy.cap', fixture('DTP.pcap').subarray(0, 24));
    const empty = await app.lifecycle.addFile(account, container, 'tardy.cap');
    expect(await app.runs.get(id)).toMatchObject({
      state: 'completed',
      verdict: { code: 'empty' },
      files: [{ id: empty?.id, packets: 0 }],
    });
    await upload('tardy.cap', fixture('LACP.pcap'));
    const whole = await app.lifecycle.addFile(account, container, 'tardy.cap');
    const run = await app.runs.get(id);
    expect(run).toMatchObject({ verdict: { code: 'captured' }, files: [{ id: empty?.id, packets: whole?.packets }] });
    expect(run?.files).toHaveLength(1);
    // Told of once more: nothing changes.
    await app.lifecycle.addFile(account, container, 'tardy.cap');
    expect(await app.runs.get(id)).toEqual(run);
    await upload('tardy.cap', fixture('DTP.pcap').subarray(0, 200));
    await app.lifecycle.addFile(account, container, 'tardy.cap');
    expect((await app.runs.get(id))?.verdict?.code).toBe('damaged');
    expect(await app.runs.open()).toEqual([]);
  });
});
