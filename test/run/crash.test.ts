import { describe, expect, it } from 'vitest';
import { dyingAfter, minutes, notification, rule, seconds, useAzurite, vm, World, type Process } from './world.ts';

useAzurite();

const fired = { id: '/alerts/1' };
const resolved = { ...fired, resolvedAt: '2026-11-22T11:59:30Z' };

function newWorld(): World {
  const world = new World();
  world.rules = [rule('r', { cooldownSeconds: 900, concurrent: 1 })];
  return world;
}

/** Lets a process die at each call of `work` in turn, and looks at what comes after; gives how many calls there were. */
async function atEachCall(
  prepare: (app: Process) => Promise<unknown>,
  work: (app: Process) => Promise<unknown>,
  after: (world: World, app: Process, calls: number) => Promise<void>,
  stride = 1,
): Promise<number> {
  const at = async (n: number): Promise<boolean> => {
    const world = newWorld();
    await prepare(world.process());
    const { tap, died } = dyingAfter(n);
    const ended = await work(world.process(tap)).then(
      () => 'done',
      (error: unknown) => String(error),
    );
    expect(ended).toBe(died() ? 'Error: this process has died' : 'done');
    await after(world, world.process(), n);
    return died();
  };
  let n = 0;
  for (let more = true; more; n += 4 * stride) {
    more = (await Promise.all([0, 1, 2, 3].map((i) => at(n + i * stride)))).every(Boolean);
  }
  return n;
}

const nothing = () => Promise.resolve();
/** Calls after which the notification is recorded: archive and mark. */
const recorded = 2;

describe('a process that dies at any call of dealing with a firing', () => {
  it('leaves its run to the next poll, which starts it once', { timeout: 30_000 }, async () => {
    const calls = await atEachCall(
      nothing,
      (app) => app.receive(notification(fired)),
      async (world, app, n) => {
        // What was recorded a moment ago may be in good hands: it is left alone.
        world.clock.advance(20 * seconds);
        const starts = world.cloud.count('start');
        await app.poll();
        world.clock.advance(11 * seconds);
        await app.poll();
        await app.poll();
        expect(world.cloud.count('start')).toBe(n < recorded ? 0 : 1);
        expect(starts).toBeLessThanOrEqual(1);
        expect(await app.alerts.unsettled(10)).toEqual([]);
        const repeat = await app.receive(notification(fired));
        expect(repeat).toMatchObject({ runs: [{ created: n < recorded }], ignored: [] });
        expect(world.cloud.count('start')).toBe(1);
        await app.lifecycle.step(repeat.runs[0]?.id ?? '');
        const runs = await app.allRuns();
        expect(runs.map((run) => [run.id, run.state])).toEqual([[repeat.runs[0]?.id, 'running']]);
        expect((await app.alerts.get(repeat.alertId))?.fired).toMatchObject({ done: true });
      },
    );
    expect(calls).toBeGreaterThan(20);
  });

  it('and is found only after a quarter of an hour starts nothing', { timeout: 30_000 }, async () => {
    await atEachCall(
      nothing,
      (app) => app.receive(notification(fired)),
      async (world, app, n) => {
        const started = world.cloud.count('start');
        const marked = (await app.alerts.unsettled(10)).length > 0;
        world.clock.advance(15 * minutes);
        await app.poll();
        expect(await app.alerts.unsettled(10)).toEqual([]);
        if (marked) expect(world.logsOf('error').join()).toContain('too old now');
        if (marked) expect(n).toBeGreaterThan(0);
        await app.settle(5 * minutes);
        expect(world.cloud.count('start')).toBe(started);
        expect([...world.cloud.held]).toEqual([]);
      },
      3,
    );
  });

  it(
    'is followed by the end of the alert: the run is listed and stopped, or never started',
    {
      timeout: 30_000,
    },
    async () => {
      await atEachCall(
        nothing,
        (app) => app.receive(notification(fired)),
        async (world, app) => {
          world.clock.advance(5 * seconds);
          const exists = (await app.runs.open()).map(({ id }) => app.runs.get(id));
          const [run] = await Promise.all(exists);
          const end = await app.receive(notification(resolved));
          expect(end.stopped).toEqual(run ? [run.id] : []);
          world.clock.advance(31 * seconds);
          await app.poll();
          await app.poll();
          expect(world.cloud.capturing()).toEqual([]);
          expect(await app.alerts.unsettled(10)).toEqual([]);
          const repeat = await app.receive(notification(fired));
          if (run) {
            expect(repeat).toMatchObject({ runs: [{ id: run.id, created: false }], ignored: [] });
            expect((await app.runs.get(run.id))?.stop?.reason).toBe('alert-resolved');
          } else {
            expect(repeat).toMatchObject({ runs: [], ignored: [{ reason: 'resolved', target: vm('a') }] });
            expect(world.cloud.count('start')).toBe(0);
          }
        },
        2,
      );
    },
  );
});

describe('a process that dies at any call of dealing with an end', () => {
  it('leaves the stop to the next poll', { timeout: 30_000 }, async () => {
    const calls = await atEachCall(
      (app) => app.receive(notification(fired)),
      (app) => app.receive(notification(resolved)),
      async (world, app, n) => {
        world.clock.advance(31 * seconds);
        await app.poll();
        if (n >= recorded) expect(world.cloud.capturing()).toEqual([]);
        const repeat = await app.receive(notification(resolved));
        expect(repeat.stopped).toHaveLength(1);
        world.clock.advance(31 * seconds);
        await app.poll();
        expect(world.cloud.capturing()).toEqual([]);
        expect((await app.allRuns()).map((run) => run.stop?.reason)).toEqual(['alert-resolved']);
      },
      2,
    );
    expect(calls).toBeGreaterThan(15);
  });
});

describe('a poll that dies', () => {
  it('at every call of it, one further each time, still brings a run to its end', async () => {
    const world = newWorld();
    const { runs } = await world.process().receive(notification(fired));
    const id = runs[0]?.id ?? '';
    for (let n = 0; n < 200 && (await world.process().runs.open()).length > 0; n++) {
      world.clock.advance(31 * seconds);
      await world
        .process(dyingAfter(n % 24).tap)
        .poll()
        .catch(() => undefined);
    }
    expect(await world.process().runs.get(id)).toMatchObject({
      state: 'completed',
      stop: { reason: 'time-limit' },
      removal: { done: true },
    });
    expect(world.cloud.count('start')).toBe(1);
    expect([...world.cloud.held]).toEqual([]);
  });
});

describe('taking up what was left behind', () => {
  const diesRecording = async (world: World, id: string, target: string): Promise<void> => {
    const app = world.process(({ port, method }) => {
      if (port === 'alerts' && method === 'get') throw new Error('this process has died');
    });
    await expect(app.receive(notification({ id, targets: [target] }))).rejects.toThrow('died');
  };

  it('of one alert that cannot be dealt with does not hold up the others', async () => {
    const world = new World();
    world.rules = [rule('r')];
    const names = Array.from({ length: 6 }, (_, i) => `m${i}`);
    for (const name of names) await diesRecording(world, `/alerts/${name}`, vm(name));
    world.clock.advance(31 * seconds);
    const app = world.process();
    const bad = (await app.alerts.unsettled(10)).at(0)?.value.payload;
    const poisoned = world.process(({ port, method, args }) => {
      if (port === 'archive' && method === 'get' && args[0] === bad) throw new TypeError('cannot be dealt with');
    });
    await poisoned.poll().catch(() => undefined);
    expect(world.cloud.count('start')).toBe(5);
  });

  it('gives up after a quarter of an hour of attempts, and starts nothing that late', async () => {
    const world = newWorld();
    await diesRecording(world, '/alerts/1', vm('a'));
    for (let minute = 0; minute < 20; minute++) {
      world.clock.advance(1 * minutes);
      const failing = world.process(({ port, method }) => {
        if (port === 'alerts' && method === 'get') throw new Error('storage is not to be had');
      });
      await failing.poll().catch(() => undefined);
    }
    world.clock.advance(31 * seconds);
    await world.process().poll();
    expect(world.cloud.count('start')).toBe(0);
    expect(await world.process().alerts.unsettled(10)).toEqual([]);
  });
});
