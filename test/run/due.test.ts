import { describe, expect, it } from 'vitest';
import type { Rule } from '../../shared/rule/rule.ts';
import { dyingAfter, hours, minutes, rule, seconds, useAzurite, vm, World, type Process } from './world.ts';

useAzurite();

function scheduled(name: string, cron: string, targets = [vm('a')], timezone = 'UTC'): Rule {
  const { when: _, ...rest } = rule(name);
  return { ...rest, schedule: { cron, timezone }, target: targets };
}

/** The due times that runs were started for, the oldest first. */
async function started(app: Process): Promise<string[]> {
  return (await app.allRuns())
    .map((run) => `${run.trigger.rule} ${run.trigger.reason?.replace('Due at 2026-11-22T', '').replace('.000Z', '')}`)
    .toSorted();
}

describe('schedules', () => {
  it('begin when they are first seen, and run each due time once, however many look', async () => {
    const world = new World();
    const app = world.process();
    world.rules = [scheduled('r', '0 */5 * * * *', [vm('a'), vm('b')])];
    const look = () => Promise.all(Array.from({ length: 3 }, () => world.process().startDue()));
    await look();
    expect(await app.allRuns()).toEqual([]);
    world.clock.advance(4 * minutes + 59 * seconds);
    await look();
    expect(await app.allRuns()).toEqual([]);
    world.clock.advance(1 * seconds);
    await look();
    await look();
    expect(await started(app)).toEqual(['r 12:05:00', 'r 12:05:00']);
    expect((await app.allRuns()).map((run) => run.target).toSorted()).toEqual([vm('a'), vm('b')]);
    expect(world.cloud.count('start')).toBe(2);
    world.clock.advance(5 * minutes);
    await look();
    expect(world.cloud.count('start')).toBe(4);
    expect((await app.allRuns())[0]).toMatchObject({
      state: 'starting',
      trigger: { kind: 'schedule', source: 'schedule', rule: 'r', rulesVersion: 'v1' },
    });
  });

  it.each([
    ['cron', (r: Rule) => ({ ...r, schedule: { cron: '0 */2 * * * *', timezone: 'UTC' } })],
    ['time zone', (r: Rule) => ({ ...r, schedule: { cron: '0 */5 * * * *', timezone: 'Europe/Berlin' } })],
  ])('begin anew when their %s changes', async (_, change) => {
    const world = new World();
    const app = world.process();
    const original = scheduled('r', '0 */5 * * * *');
    world.rules = [original];
    await app.startDue();
    world.clock.advance(11 * minutes);
    world.rules = [change(original)];
    await app.startDue();
    expect(await app.allRuns()).toEqual([]);
    world.clock.advance(5 * minutes);
    await app.startDue();
    expect(await app.allRuns()).toHaveLength(1);
  });

  it.each([
    ['3 hours', '0 */10 * * * *', 3 * hours, ['r 15:00:00'], 5],
    ['3 hours', '0 30 * * * *', 3 * hours, ['r 14:30:00'], 0],
    ['3 hours, for what was due too long ago', '0 0 13 * * *', 3 * hours, [], undefined],
    ['10 minutes', '0 * * * * *', 10 * minutes + 30 * seconds, ['r 12:10:00'], 9],
    ['10 minutes', '0 */4 * * * *', 10 * minutes + 30 * seconds, ['r 12:08:00'], 1],
  ])('make up for the last due time alone after %s of silence (%s)', async (_, cron, silenceMs, expected, missed) => {
    const world = new World();
    const app = world.process();
    world.rules = [scheduled('r', cron)];
    await app.startDue();
    world.clock.advance(silenceMs);
    await app.startDue();
    await app.startDue();
    expect(await started(app)).toEqual(expected);
    if (missed !== undefined)
      expect(world.logsOf('warn')).toEqual(
        missed === 0 ? [] : [`schedule r: ${missed} due times passed while nothing ran; they are not made up for`],
      );
  });

  it('of every second are all run by a look every five', async () => {
    const world = new World();
    const app = world.process();
    world.rules = [scheduled('r', '* * * * * *')];
    await app.startDue();
    world.clock.advance(5 * seconds);
    await app.startDue();
    const first = [1, 2, 3, 4, 5].map((s) => `r 12:00:0${s}`);
    expect(await started(app)).toEqual(first);
    world.clock.advance(4 * seconds + 500);
    await app.startDue();
    expect(await started(app)).toEqual([...first, ...[6, 7, 8, 9].map((s) => `r 12:00:0${s}`)]);
  });

  it('are not held up by a rule that cannot be started, which is tried again', async () => {
    const world = new World();
    const app = world.process();
    world.rules = [scheduled('bad', '0 * * * * *', [vm('bad'), vm('x')]), scheduled('good', '0 * * * * *', [vm('y')])];
    await app.startDue();
    world.clock.advance(1 * minutes);
    world.cloud.before.prepare = ({ target }) => {
      if (target === vm('bad')) throw new TypeError('nobody foresaw this');
    };
    await app.startDue();
    expect(world.logsOf('error')).toEqual(['schedule bad could not be started']);
    expect(await started(app)).toContain('good 12:01:00');
    world.cloud.before = {};
    world.clock.advance(15 * seconds);
    await app.startDue();
    expect(await started(app)).toEqual(['bad 12:01:00', 'bad 12:01:00', 'good 12:01:00']);
    expect(world.cloud.count('start')).toBe(3);
  });

  it('start nothing twice when the clock is set back, and go on when it has caught up', async () => {
    const world = new World();
    const app = world.process();
    world.rules = [scheduled('r', '0 */5 * * * *')];
    await app.startDue();
    world.clock.advance(10 * minutes);
    await app.startDue();
    const before = await started(app);
    expect(before).toEqual(['r 12:10:00']);
    for (const ms of [-8 * minutes, 3 * minutes, 3 * minutes, 2 * minutes]) {
      world.clock.advance(ms);
      await app.startDue();
      expect(await started(app)).toEqual(before);
    }
    world.clock.advance(5 * minutes);
    await app.startDue();
    expect(await started(app)).toEqual([...before, 'r 12:15:00']);
  });

  it('of a process that dies at any call are started by the next, once', async () => {
    const world = new World();
    const app = world.process();
    world.rules = [scheduled('r', '0 * * * * *', [vm('a'), vm('b')])];
    await app.startDue();
    let due = 0;
    for (let n = 0, died = true; died; n++) {
      world.clock.advance(1 * minutes);
      due++;
      const dying = dyingAfter(n);
      await world
        .process(dying.tap)
        .startDue()
        .catch(() => undefined);
      died = dying.died();
      await app.startDue();
      expect(await world.tables.runs.scan('open', { limit: 1000 })).toHaveLength(2 * due);
    }
    expect(due).toBeGreaterThan(20);
    expect(await app.allRuns()).toHaveLength(2 * due);
    const targets = world.cloud.calls.filter((c) => c.call === 'start').map((c) => c.run);
    expect(new Set(targets).size).toBe(targets.length);
  });
});
