import { describe, expect, it } from 'vitest';
import { ProviderError } from '../../shared/provider/provider.ts';
import { dyingAfter, gate, minutes, seconds, useAzurite, vm, World, type Process } from './world.ts';

useAzurite();

const durationSeconds = 60;

function newWorld(): World {
  const world = new World();
  world.cloud.inTwoSteps();
  return world;
}

async function launch(app: Process): Promise<string> {
  const launched = await app.launcher.launch({
    idParts: ['two steps'],
    target: vm('a'),
    trigger: { kind: 'runbook' },
    capture: {},
    limits: { durationSeconds, sizeBytes: 1e6 },
  });
  if (launched.ignored) throw new Error(launched.ignored.detail);
  return launched.run.id;
}

async function launchRunning(app: Process): Promise<string> {
  const id = await launch(app);
  await app.lifecycle.step(id);
  expect((await app.lifecycle.step(id))?.state).toBe('running');
  return id;
}

describe('a session that is made first and enabled then', () => {
  it('is enabled when it is there, once, and noted before', async () => {
    const world = newWorld();
    const app = world.process();
    const id = await launch(app);
    expect(world.cloud.capturing()).toEqual([]);
    world.cloud.before = {
      enable: async () => expect((await app.runs.require(id)).timeline.at(-1)?.event).toBe('enable-asked'),
    };
    await Promise.all(Array.from({ length: 8 }, () => app.lifecycle.step(id)));
    expect(world.cloud.count('enable')).toBe(1);
    const run = await app.lifecycle.step(id);
    expect(run).toMatchObject({ state: 'running', startedAt: run?.enableAskedAt });
    expect(world.cloud.capturing()).toEqual([id]);
  });

  it('is followed from one message until it captures', async () => {
    const world = newWorld();
    const app = world.process();
    const pending = gate();
    let looks = 0;
    world.cloud.says = (held, session) => {
      if (held?.phase !== 'ready' || ++looks > 3) return undefined;
      if (looks === 3) pending.wait().catch(() => undefined);
      return { phase: 'pending', session };
    };
    const id = await launch(app);
    expect(world.queued.at(-1)).toEqual({ message: { run: id }, delayMs: 1 * seconds });
    const following = app.lifecycle.follow(id);
    for (let over = false; !over;) {
      // Slowly: the process does its work between two moments, however loaded the machine is.
      world.clock.advance(50);
      over = await Promise.race([following.then(() => true), app.runs.get(id).then(() => false)]);
    }
    expect((await app.runs.require(id)).state).toBe('running');
    expect(looks).toBeGreaterThanOrEqual(3);
  });

  it('waits for what it is said to wait for, and says so', async () => {
    const world = newWorld();
    const app = world.process();
    let waitingFor: string | undefined = 'no collector has it';
    world.cloud.says = (held, session) =>
      held?.phase === 'ready' ? { phase: 'ready', session, cause: 'stopped', waitingFor } : undefined;
    const id = await launch(app);
    await app.lifecycle.step(id);
    expect(world.cloud.count('enable')).toBe(0);
    expect((await app.runs.require(id)).timeline.at(-1)).toMatchObject({
      event: 'start-delayed',
      detail: 'no collector has it',
    });
    waitingFor = undefined;
    await app.lifecycle.step(id);
    expect(world.cloud.count('enable')).toBe(1);
  });

  it('is told again after a while when it did not work', async () => {
    const world = newWorld();
    const app = world.process();
    const id = await launch(app);
    world.cloud.before = {
      enable: () => {
        throw new ProviderError('unavailable', 'no answer in time');
      },
    };
    await app.lifecycle.step(id);
    world.cloud.before = {};
    await app.lifecycle.step(id);
    expect(world.cloud.count('enable')).toBe(1);
    world.clock.advance(30 * seconds);
    await app.lifecycle.step(id);
    expect(world.cloud.count('enable')).toBe(2);
    expect(world.cloud.capturing()).toEqual([id]);
  });

  it('ends the run when the cloud says no to it', async () => {
    const world = newWorld();
    const app = world.process();
    const id = await launch(app);
    world.cloud.before = {
      enable: () => {
        throw new ProviderError('quota', 'too many', undefined, 'Delete some.');
      },
    };
    expect(await app.lifecycle.step(id)).toMatchObject({
      state: 'failed',
      verdict: { code: 'quota', summary: 'No capture: too many', next: 'Delete some.' },
    });
    await app.lifecycle.step(id);
    expect(world.cloud.held.size).toBe(0);
  });

  it('is stopped the moment its time is up', async () => {
    const world = newWorld();
    const app = world.process();
    const id = await launchRunning(app);
    world.clock.advance(durationSeconds * seconds - 1);
    expect((await app.lifecycle.step(id))?.state).toBe('running');
    world.clock.advance(1);
    expect(await app.lifecycle.step(id)).toMatchObject({ stop: { reason: 'time-limit', by: 'tripcap' } });
    expect(world.cloud.capturing()).toEqual([]);
    expect(await app.lifecycle.step(id)).toMatchObject({ state: 'collecting', stop: { reason: 'time-limit' } });
  });

  it('is stopped when it has captured as much as it may', async () => {
    const world = newWorld();
    const app = world.process();
    const id = await launchRunning(app);
    world.cloud.says = (held, session) =>
      held?.phase === 'running' ? { phase: 'running', session, full: '1000 bytes' } : undefined;
    await app.lifecycle.step(id);
    expect(await app.lifecycle.step(id)).toMatchObject({
      state: 'collecting',
      stop: { reason: 'size-limit', by: 'tripcap', detail: '1000 bytes' },
    });
  });

  it('that comes on again while files are awaited is stopped again', async () => {
    const world = newWorld();
    const app = world.process();
    const id = await launchRunning(app);
    await app.lifecycle.stop(id, 'operator');
    expect((await app.lifecycle.step(id))?.state).toBe('collecting');
    for (const held of world.cloud.held.values()) held.phase = 'running';
    await app.lifecycle.step(id);
    expect(world.cloud.capturing()).toEqual([]);
  });

  it.each(['running', 'stopping'])(
    'a look from before it was enabled does not end it when it is %s by now',
    async (state) => {
      const world = newWorld();
      const app = world.process();
      const id = await launch(app);
      const late = gate();
      let first = true;
      world.cloud.before = {
        inspect: () => {
          const mine = first;
          first = false;
          return mine ? late.wait() : undefined;
        },
      };
      world.cloud.says = (_, session) => (first ? undefined : { phase: 'ready', session, cause: 'stopped' });
      const looking = app.lifecycle.step(id);
      await late.reached;
      world.cloud.says = undefined;
      await launchRunning(app);
      if (state === 'stopping') await app.runs.update(id, (run) => ({ ...run, state: 'stopping' }));
      world.cloud.says = (_, session) => ({ phase: 'ready', session, cause: 'stopped' });
      late.open();
      expect((await looking)?.state).toBe(state);
    },
  );

  it('enabled by somebody who was overtaken by a stop is disabled again', async () => {
    const world = newWorld();
    const app = world.process();
    const id = await launch(app);
    const halt = gate();
    world.cloud.before = { enable: () => halt.wait() };
    const enabling = app.lifecycle.step(id);
    await halt.reached;
    await app.lifecycle.stop(id, 'operator');
    halt.open();
    await enabling;
    expect(world.cloud.capturing()).toEqual([]);
  });

  it('does not outlive a process that dies at any call, nor capture twice', { timeout: 60_000 }, async () => {
    let calls = 0;
    for (let died = true; died; calls += 3) {
      const world = newWorld();
      const dying = dyingAfter(calls);
      const doomed = world.process(dying.tap);
      await launchRunning(doomed)
        .then((id) => doomed.lifecycle.stop(id, 'operator'))
        .catch(() => undefined);
      died = dying.died();
      const app = world.process();
      const id = await launch(app);
      await app.settle(10 * seconds);
      expect(world.cloud.capturing()).toEqual([]);
      await app.settle(5 * minutes);
      expect(world.cloud.held.size).toBe(0);
      expect((await app.runs.require(id)).state).toBe('completed');
      expect(await app.allRuns()).toHaveLength(1);
    }
    expect(calls).toBeGreaterThan(30);
  });
});
