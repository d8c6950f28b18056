import { describe, expect, it } from 'vitest';
import type { Receipt } from '../../shared/alert/receive.ts';
import { Problem } from '../../shared/problem.ts';
import { gate, rule, seconds, useAzurite, World, type Tap } from '../run/world.ts';
import { until } from '../until.ts';
import { callback, sample, target } from './cloudmonitor.ts';

// CloudMonitor gives up after 5 s, whatever it is that takes so long; the answer is on its way after 3.5 s.

useAzurite();

type Call = Parameters<Tap>[0];

function newWorld(): World {
  const world = new World();
  world.rules = [rule('r', {}, { when: { source: 'cloudmonitor', alert: [], severity: [], resourceType: [] } })];
  return world;
}

/** A process whose calls of one kind wait for the test; and the answer when one of them waits for longer than the sender. */
async function answerOf(world: World, isHeld: (call: Call) => boolean, payload = callback()) {
  const halt = gate();
  const app = world.process((call) => (isHeld(call) ? halt.wait() : undefined));
  const dealt: Receipt[] = [];
  const answering = app
    .receiveCloudMonitor(payload, (_, receipt) => void dealt.push(receipt))
    .catch((error: unknown) => error);
  await halt.reached;
  world.clock.advance(3.5 * seconds);
  return { answer: await answering, dealt, open: halt.open };
}

describe('storage that is slow', () => {
  const recording: [string, (call: Call) => boolean][] = [
    ['the payload', ({ port, method }) => port === 'archive' && method === 'put'],
    ['the mark', ({ port, method, args }) => port === 'alerts' && method === 'put' && args[0] === 'unsettled'],
  ];

  it.each(recording)('in recording %s is a 503; what gets through later is dealt with', async (_, isHeld) => {
    const world = newWorld();
    const { answer, dealt, open } = await answerOf(world, isHeld);
    expect(answer).toBeInstanceOf(Problem);
    expect(answer).toMatchObject({ code: 'storage-unavailable', status: 503, retryAfterSeconds: 15 });
    expect(world.cloud.calls).toEqual([]);
    open();
    await until('the alert', () => dealt.length === 1);
    const app = world.process();
    expect((await app.receiveCloudMonitor(callback())).runs).toMatchObject([{ created: false }]);
    expect(world.cloud.count('start')).toBe(1);
    expect(await app.alerts.unsettled(10)).toEqual([]);
  });

  const dealing: [string, (call: Call) => boolean][] = [
    ['the alert', ({ port, method }) => port === 'alerts' && method === 'insert'],
    ['the look for its end', ({ port, method }) => port === 'alerts' && method === 'scan'],
    ['its run', ({ port, method }) => port === 'runs' && method === 'insert'],
    ['what became of it', ({ port, method }) => port === 'alerts' && method === 'replace'],
    ['taking the mark away', ({ port, method }) => port === 'alerts' && method === 'remove'],
  ];

  it.each(dealing)('in recording %s is a 202 with what is known, and the rest follows', async (_, isHeld) => {
    const world = newWorld();
    const { answer, dealt, open } = await answerOf(world, isHeld);
    const app = world.process();
    expect(answer).toMatchObject({ pending: true, alertId: expect.any(String), stopped: [], ignored: [] });
    expect(dealt).toEqual([]);
    open();
    await until('the alert', () => dealt.length === 1);
    expect(await app.alerts.unsettled(10)).toEqual([]);
    const again = await app.receiveCloudMonitor(callback());
    expect(again).toMatchObject({ runs: [{ target: target(1), created: false }] });
    expect(again).not.toHaveProperty('pending');
    expect((answer as Receipt).alertId).toBe(again.alertId);
    const known = (answer as Receipt).runs.map((run) => run.id);
    expect(again.runs.map((run) => run.id)).toEqual(expect.arrayContaining(known));
    expect(world.cloud.count('start')).toBe(1);
  });

  it('tells of the runs that it has started by then', async () => {
    const world = newWorld();
    const { answer, open, dealt } = await answerOf(
      world,
      ({ port, method }) => port === 'alerts' && method === 'replace',
    );
    expect(answer).toMatchObject({ pending: true, runs: [{ rule: 'r', target: target(1), created: true }] });
    open();
    await until('the alert', () => dealt.length === 1);
  });

  it('and a process that dies meanwhile leave it to the next poll', async () => {
    const world = newWorld();
    // What waits is never let go: the process is dead.
    const { answer } = await answerOf(world, ({ port, method }) => port === 'runs' && method === 'insert');
    expect(answer).toMatchObject({ pending: true, runs: [] });
    const app = world.process();
    world.clock.advance(27 * seconds);
    await app.poll();
    const view = await app.alerts.require((answer as Receipt).alertId);
    expect(view.fired?.runs).toMatchObject([{ target: target(1) }]);
    expect(world.cloud.count('start')).toBe(1);
    expect(await app.alerts.unsettled(10)).toEqual([]);
  });

  it('that fails after the answer leaves it to the next poll, and the log says so', async () => {
    const world = newWorld();
    const halt = gate();
    const app = world.process(async ({ port, method }) => {
      if (port !== 'runs' || method !== 'insert') return;
      await halt.wait();
      throw new Problem('storage-unavailable', 'Storage is out of reach');
    });
    const answering = app.receiveCloudMonitor(callback());
    await halt.reached;
    world.clock.advance(3.5 * seconds);
    expect(await answering).toMatchObject({ pending: true, runs: [] });
    halt.open();
    await until('the log', () => world.logsOf('error').length > 0);
    expect(world.logsOf('error')).toEqual(['an alert went wrong after its sender was answered']);
    world.clock.advance(30 * seconds);
    await world.process().poll();
    expect(world.cloud.count('start')).toBe(1);
  });

  it('in a group holds up none of the others', async () => {
    const world = newWorld();
    const group = sample('written-alertmanager-group.json');
    const held = new Set<unknown>();
    const { answer, open, dealt } = await answerOf(
      world,
      ({ port, method, args }) => port === 'runs' && method === 'insert' && held.add(args[0]).size === 1,
      group,
    );
    expect(answer).toMatchObject({ pending: true });
    open();
    await until('all of the group', () => dealt.length === 3);
    expect(world.cloud.count('start')).toBe(2);
  });
});

describe('a cloud that is slow', () => {
  it.each(['prepare', 'start'] as const)('in %s is waited for less long than that', async (call) => {
    const world = newWorld();
    const halt = gate();
    world.cloud.before[call] = () => halt.wait();
    const app = world.process();
    const answering = app.receiveCloudMonitor(callback());
    await halt.reached;
    world.clock.advance(3 * seconds);
    const answer = await answering;
    expect(answer).toMatchObject({ runs: [{ target: target(1), created: true }], ignored: [] });
    expect(answer).not.toHaveProperty('pending');
    halt.open();
    world.cloud.before = {};
    world.clock.advance(2 * seconds);
    const id = answer.runs[0]?.id ?? '';
    await until('the start', async () => (await app.lifecycle.step(id))?.state === 'running');
    expect(world.cloud.capturing()).toEqual([id]);
  });

  it('in stopping is waited for less long than that', async () => {
    const world = newWorld();
    const app = world.process();
    const { runs } = await app.receiveCloudMonitor(callback());
    await app.lifecycle.stepAll();
    const halt = gate();
    world.cloud.before.stop = () => halt.wait();
    const ending = app.receiveCloudMonitor(callback({ alertState: 'OK', preTriggerLevel: 'WARN' }));
    await halt.reached;
    world.clock.advance(3 * seconds);
    expect((await ending).stopped).toEqual(runs.map((run) => run.id));
    halt.open();
    await app.settle();
    expect(world.cloud.capturing()).toEqual([]);
  });
});
