import { describe, expect, it } from 'vitest';
import type { Receipt } from '../../shared/alert/receive.ts';
import type { Run } from '../../shared/run/run.ts';
import { until } from '../until.ts';
import {
  gate,
  haltingAfter,
  minutes,
  notification,
  rule,
  seconds,
  useAzurite,
  vm,
  World,
  type Process,
} from './world.ts';

useAzurite();

const targets = [vm('a'), vm('b')];
const fired = { id: '/alerts/1', targets, origin: 'condition' };
const resolvedAt = '2026-11-22T11:59:30Z';
/** The ways in which an end names its alert. */
const ends = {
  'the same': { ...fired, resolvedAt },
  'the same id, another time of firing': { ...fired, resolvedAt, firedAt: '2026-11-22T11:59:00Z' },
  'the same condition and target': { ...fired, id: '/alerts/other', resolvedAt, targets: [vm('a')] },
};

function newWorld(): World {
  const world = new World();
  world.rules = [rule('r', { cooldownSeconds: 900, concurrent: 2 })];
  return world;
}

/** Whatever came of the alert, it is over: no session captures, every run that there is ended for the alert's end. */
async function expectOver(world: World, app: Process): Promise<void> {
  const states: unknown[] = [];
  for (const { id } of await app.runs.open()) {
    const run = await app.runs.get(id);
    if (run) states.push([run.state, run.stop?.reason]);
  }
  for (const [state, reason] of states as [string, string][]) {
    expect(['stopping', 'collecting', 'completed']).toContain(state);
    expect(reason).toBe('alert-resolved');
  }
  world.clock.advance(31 * seconds);
  await app.lifecycle.stepAll();
  expect(world.cloud.capturing()).toEqual([]);
}

/** Runs `slow` up to each of its calls in turn, `quick` meanwhile as a whole, and then the rest of `slow`. */
async function interleave(
  slow: (app: Process) => Promise<unknown>,
  quick: (app: Process) => Promise<unknown>,
  after: (world: World, app: Process) => Promise<void>,
  stride = 1,
): Promise<number> {
  let points = 0;
  const at = async (n: number): Promise<boolean> => {
    const world = newWorld();
    const halting = haltingAfter(n);
    const going = slow(world.process(halting.tap));
    const halted = await Promise.race([halting.reached.then(() => true), going.then(() => false)]);
    await quick(world.process());
    halting.open();
    await going;
    await after(world, world.process());
    if (halted) points++;
    return halted;
  };
  // Four at once, since most of the time is Azurite's.
  for (let n = 0, more = true; more; n += 4) {
    more = (await Promise.all([0, 1, 2, 3].map((i) => at((n + i) * stride)))).every(Boolean);
  }
  return points;
}

describe('the end of an alert', () => {
  it.each(Object.entries(ends).map(([name, end], i) => [name, end, i === 0 ? 2 : 6] as const))(
    'that comes at any moment of its firing ends its runs: %s',
    { timeout: 30_000 },
    async (_, end, stride) => {
      const points = await interleave(
        (app) => app.receive(notification(fired)),
        (app) => app.receive(notification(end)),
        async (world, app) => {
          await expectOver(world, app);
          const record = await app.alerts.get((await app.receive(notification(fired))).alertId);
          const runs = record?.fired?.runs ?? [];
          const ignored = record?.fired?.ignored ?? [];
          expect(runs.length + ignored.length).toBe(2);
          for (const one of ignored) expect(one.reason).toBe('resolved');
          expect(world.cloud.count('start')).toBeLessThanOrEqual(runs.length);
          expect(await app.alerts.unsettled(10)).toEqual([]);
        },
        stride,
      );
      expect(points).toBeGreaterThan(24 / stride);
    },
  );

  it('that is itself overtaken by the firing at any moment ends its runs', { timeout: 30_000 }, async () => {
    for (const end of Object.values(ends)) {
      const points = await interleave(
        (app) => app.receive(notification(end)),
        (app) => app.receive(notification(fired)),
        expectOver,
        3,
      );
      expect(points).toBeGreaterThan(4);
    }
  });

  it.each([
    ['prepare', 0],
    ['prepare', 1],
    ['start', 0],
    ['start', 1],
  ] as const)('that comes while the cloud is held up in %s of machine %i ends both runs', async (call, held) => {
    const world = newWorld();
    const halt = gate();
    world.cloud.before[call] = ({ target }) => (target === targets[held] ? halt.wait() : undefined);
    const firing = world.process().receive(notification(fired));
    await halt.reached;
    const app = world.process();
    const end = await app.receive(notification(ends['the same']));
    halt.open();
    const { runs } = await firing;
    expect(runs).toHaveLength(2);
    // What was found then was stopped by the end itself, the rest by the firing when it was done.
    expect(runs.map((run) => run.id)).toEqual(expect.arrayContaining(end.stopped));
    await expectOver(world, app);
    await app.settle();
    for (const { id } of runs)
      expect(await app.runs.get(id)).toMatchObject({ state: 'completed', stop: { reason: 'alert-resolved' } });
    const again = await app.receive(notification(ends['the same']));
    expect(again.stopped.toSorted()).toEqual(runs.map((run) => run.id).toSorted());
  });

  it('that comes while a start hangs for longer than the app waits ends the run once the start got through', async () => {
    const world = newWorld();
    const halt = gate();
    world.cloud.before.start = () => halt.wait();
    const firing = world.process().receive(notification({ ...fired, targets: [vm('a')] }));
    await halt.reached;
    world.clock.advance(4 * seconds);
    const { runs } = await firing;
    const id = runs[0]?.id ?? '';
    const app = world.process();
    expect((await app.runs.get(id))?.state).toBe('starting');
    const end = await app.receive(notification(ends['the same']));
    expect(end.stopped).toEqual([id]);
    expect(world.cloud.count('stop', id)).toBe(1);
    halt.open();
    await app.settle();
    expect(await app.runs.get(id)).toMatchObject({ state: 'completed', stop: { reason: 'alert-resolved' } });
    expect([...world.cloud.held]).toEqual([]);
  });

  it('leaves no session when the process that starts it halts meanwhile, and goes on after all was over', async () => {
    const world = newWorld();
    const halt = gate();
    const halting = world.process(({ port, method, args }) =>
      port === 'runs' && method === 'replace' && (args[3] as Run).state === 'starting' ? halt.wait : undefined,
    );
    const firing = halting.receive(notification({ ...fired, targets: [vm('a')] }));
    await halt.reached;
    world.clock.advance(4 * seconds);
    await firing;
    const app = world.process();
    await app.receive(notification(ends['the same']));
    await app.settle();
    expect((await app.allRuns()).map((run) => run.state)).toEqual(['completed']);
    halt.open();
    await until('the late start', () => world.cloud.count('start') === 1);
    for (let i = 0; i < 3; i++) {
      world.clock.advance(minutes);
      await app.lifecycle.stepAll();
    }
    expect(world.cloud.capturing()).toEqual([]);
  });

  it('twice is answered alike and changes nothing', async () => {
    const world = newWorld();
    const app = world.process();
    await app.receive(notification(fired));
    const first = await app.receive(notification(ends['the same']));
    expect(first.stopped).toHaveLength(2);
    const record = await app.alerts.get(first.alertId);
    const runs = await app.allRuns();
    world.clock.advance(5 * seconds);
    const second = await app.receive(notification(ends['the same']));
    expect(second).toEqual({ ...first, stopped: expect.arrayContaining(first.stopped) as unknown });
    expect(await app.alerts.get(first.alertId)).toEqual(record);
    const { stop } = (await app.runs.get(first.stopped[0] ?? '')) ?? {};
    expect(stop).toEqual(runs.find((run) => run.id === first.stopped[0])?.stop);
    await expectOver(world, app);
  });

  it.each(Object.entries(ends))('that comes before its firing keeps it from starting: %s', async (_, end) => {
    const world = newWorld();
    const app = world.process();
    expect(await app.receive(notification(end))).toMatchObject({ runs: [], stopped: [] });
    const refused = async (receipt: Receipt) => {
      expect(receipt.runs).toEqual([]);
      expect(receipt.ignored.map(({ target, reason }) => [target, reason])).toEqual(
        expect.arrayContaining(targets.map((target) => [target, 'resolved'])),
      );
    };
    await refused(await app.receive(notification(fired)));
    await refused(await app.receive(notification(fired)));
    expect(world.cloud.calls).toEqual([]);
    expect(await app.allRuns()).toEqual([]);
    // A firing after that end is another one.
    const later = { ...fired, id: '/alerts/later', firedAt: '2026-11-22T11:59:31Z' };
    expect((await app.receive(notification(later))).runs).toHaveLength(2);
  });

  it('does not end the runs of a rule that does not want it, whenever it comes', async () => {
    const world = newWorld();
    world.rules = [rule('keeps', { stopOnResolve: false }), rule('stops')];
    const app = world.process();
    const { runs } = await app.receive(notification(fired));
    const end = await app.receive(notification(ends['the same']));
    expect(end.stopped.toSorted()).toEqual(
      runs
        .filter((run) => run.rule === 'stops')
        .map((run) => run.id)
        .toSorted(),
    );
    await app.lifecycle.stepAll();
    expect(world.cloud.capturing()).toHaveLength(2);
    const before = new World();
    before.rules = world.rules;
    await before.process().receive(notification(ends['the same']));
    const receipt = await before.process().receive(notification(fired));
    expect(receipt.runs.map((run) => run.rule)).toEqual(['keeps', 'keeps']);
    expect(receipt.ignored.map((one) => one.rule)).toEqual(['stops', 'stops']);
  });
});
