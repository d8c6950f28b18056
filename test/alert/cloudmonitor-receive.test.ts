import { describe, expect, it } from 'vitest';
import { toAlertView } from '../../shared/alert/store.ts';
import type { Rule } from '../../shared/rule/rule.ts';
import { gate, minutes, rule, seconds, useAzurite, World, dyingAfter, type Process } from '../run/world.ts';
import { callback, encoded, instance, sample, target, type Fields } from './cloudmonitor.ts';

useAzurite();

const when = { source: 'cloudmonitor', alert: [], severity: [] as string[], resourceType: [] as string[] };

function newWorld(...rules: Rule[]): World {
  const world = new World();
  world.rules = rules.length > 0 ? rules : [rule('r', {}, { when })];
  return world;
}

const later = (minutesLater: number): Fields => ({ timestamp: String(1_795_348_740_000 + minutesLater * minutes) });
const ok = (more: Fields = {}): Uint8Array =>
  callback({ alertState: 'OK', triggerLevel: 'OK', preTriggerLevel: 'WARN', ...later(1), ...more });
const old: Fields = { transId: undefined, ruleId: undefined, triggerLevel: undefined, preTriggerLevel: undefined };
const statesOf = async (app: Process) => (await app.allRuns()).map((run) => [run.state, run.stop?.reason]);

describe('an alarm', () => {
  it('starts a run on its instance, once, however often it is sent', async () => {
    const world = newWorld();
    const app = world.process();
    const receipt = await app.receiveCloudMonitor(callback());
    expect(receipt).toEqual({
      alertId: expect.stringMatching(/^[0-9a-z]{26}$/),
      externalId: '1000000000000001|alarmRule_uuid_1|db5f2204-00ae-11ee-a24f-00163e205386',
      runs: [{ id: expect.any(String), rule: 'r', target: target(1), created: true }],
      stopped: [],
      ignored: [],
    });
    const again = { ...receipt, runs: receipt.runs.map((run) => ({ ...run, created: false })) };
    expect(await app.receiveCloudMonitor(callback())).toEqual(again);
    expect(await world.process().receiveCloudMonitor(callback())).toEqual(again);
    // After its silence time, since it is not cleared: the same alert once more.
    world.clock.advance(24 * 60 * minutes);
    expect(await app.receiveCloudMonitor(callback({ ...later(24 * 60), curValue: '99' }))).toEqual(again);
    expect(world.cloud.count('start')).toBe(1);
    expect(toAlertView(await app.alerts.require(receipt.alertId))).toMatchObject({
      source: 'cloudmonitor',
      kind: 'metric',
      rule: 'Egress high',
      severity: 'WARN',
      targets: [target(1)],
      condition: 'fired',
      firedAt: '2026-11-22T11:59:00.000Z',
      description: 'networkout_rate $Average>=95: 97.39%',
    });
    expect((await app.allRuns())[0]?.trigger).toMatchObject({ source: 'cloudmonitor', alertId: receipt.alertId });
    expect(await app.alerts.unsettled(10)).toEqual([]);
  });

  it('ten times at once starts one run', async () => {
    const world = newWorld();
    const receipts = await Promise.all(
      Array.from({ length: 10 }, (_, i) => world.process().receiveCloudMonitor(callback(i % 2 === 0 ? {} : later(i)))),
    );
    expect(new Set(receipts.map((receipt) => receipt.alertId)).size).toBe(1);
    const runs = receipts.flatMap((receipt) => receipt.runs);
    expect(new Set(runs.map((run) => run.id)).size).toBe(1);
    expect(runs.filter((run) => run.created)).toHaveLength(1);
    expect(world.cloud.count('start')).toBe(1);
  });

  it('of another machine, or later under another transId, is another alert', async () => {
    const world = newWorld();
    const app = world.process();
    await app.receiveCloudMonitor(callback());
    await app.receiveCloudMonitor(callback({ dimensions: `{instanceId=${instance(2)}}`, transId: 't2' }));
    await app.receiveCloudMonitor(callback({ transId: 't3', ...later(60) }));
    expect((await app.allRuns()).map((run) => run.target).toSorted()).toEqual([target(1), target(1), target(2)]);
  });

  it('that turns from WARN to CRITICAL is another alert, for rules that ask for that', async () => {
    const critical = rule('critical', {}, { when: { ...when, severity: ['CRITICAL'] } });
    const calm = rule('calm', { cooldownSeconds: 900 }, { when });
    const world = newWorld(critical, calm);
    const app = world.process();
    expect((await app.receiveCloudMonitor(callback())).runs.map((run) => run.rule)).toEqual(['calm']);
    const worse = callback({ triggerLevel: 'CRITICAL', preTriggerLevel: 'WARN', ...later(1) });
    expect(await app.receiveCloudMonitor(worse)).toMatchObject({
      runs: [{ rule: 'critical', created: true }],
      ignored: [{ rule: 'calm', reason: 'cooldown' }],
    });
    // Back to WARN: nothing new.
    const back = await app.receiveCloudMonitor(callback({ preTriggerLevel: 'CRITICAL', ...later(2) }));
    expect(back.runs).toMatchObject([{ rule: 'calm', created: false }]);
    expect(world.cloud.count('start')).toBe(2);
    // The end is the end of both.
    const end = await app.receiveCloudMonitor(ok({ preTriggerLevel: 'WARN', ...later(3) }));
    expect(end.stopped).toHaveLength(2);
    expect(await statesOf(app)).toEqual([
      ['stopping', 'alert-resolved'],
      ['stopping', 'alert-resolved'],
    ]);
    const { items } = await app.alerts.list({ limit: 10 });
    const views = items.map((record) => toAlertView(record));
    expect(views.map((view) => `${String(view['severity'])} ${String(view['condition'])}`).toSorted()).toEqual([
      'CRITICAL resolved',
      'WARN resolved',
    ]);
    expect((await app.receiveCloudMonitor(ok({ preTriggerLevel: 'WARN', ...later(3) }))).stopped.toSorted()).toEqual(
      end.stopped.toSorted(),
    );
    await app.settle();
    expect(world.cloud.capturing()).toEqual([]);
  });

  it('without enough data starts and stops nothing', async () => {
    const world = newWorld();
    const app = world.process();
    const { runs } = await app.receiveCloudMonitor(callback());
    const unclear = callback({ alertState: 'INSUFFICIENT_DATA', triggerLevel: 'null', ...later(1) });
    const receipt = await app.receiveCloudMonitor(unclear);
    expect(receipt).toMatchObject({
      runs: [],
      stopped: [],
      ignored: [{ target: target(1), reason: 'no-data', detail: expect.stringContaining('not enough data') }],
    });
    expect(await app.receiveCloudMonitor(unclear)).toEqual(receipt);
    expect(toAlertView(await app.alerts.require(receipt.alertId))).toMatchObject({
      condition: 'no-data',
      runs: [],
      ignored: receipt.ignored,
    });
    expect(await app.alerts.unsettled(10)).toEqual([]);
    await app.lifecycle.stepAll();
    expect(await statesOf(app)).toEqual([['running', undefined]]);
    // It hides nothing of the alarm itself.
    expect((await app.receiveCloudMonitor(ok(later(2)))).stopped).toEqual(runs.map((run) => run.id));
    const before = newWorld();
    await before.process().receiveCloudMonitor(unclear);
    expect((await before.process().receiveCloudMonitor(callback(later(2)))).runs).toHaveLength(1);
  });
});

describe('the end of an alarm', () => {
  const forms: [string, Fields, Fields][] = [
    ['with a transId', {}, {}],
    ['of a level that the firing did not have', { triggerLevel: 'null' }, {}],
    ['with its dimensions in another form', {}, { dimensions: `{"instanceId":"${instance(1)}"}` }],
    ['of old, without a transId', old, old],
  ];

  it.each(forms)('stops its run: %s', async (_, firing, end) => {
    const world = newWorld();
    const app = world.process();
    const { runs, alertId } = await app.receiveCloudMonitor(callback(firing));
    const answer = await app.receiveCloudMonitor(ok(end));
    expect(answer).toMatchObject({
      alertId,
      runs: [],
      stopped: runs.map((run) => run.id),
      ignored: [{ reason: 'resolved' }],
    });
    expect(await app.receiveCloudMonitor(ok(end))).toEqual(answer);
    expect(toAlertView(await app.alerts.require(alertId))).toMatchObject({
      condition: 'resolved',
      resolvedAt: '2026-11-22T12:00:00.000Z',
      stopped: answer.stopped,
    });
    await app.settle();
    expect(await statesOf(app)).toEqual([['completed', 'alert-resolved']]);
  });

  it.each(forms)('that comes before its firing keeps it from starting: %s', async (_, firing, end) => {
    const world = newWorld();
    const app = world.process();
    expect(await app.receiveCloudMonitor(ok(end))).toMatchObject({ runs: [], stopped: [] });
    const refused = { runs: [], ignored: [{ target: target(1), reason: 'resolved' }] };
    expect(await app.receiveCloudMonitor(callback(firing))).toMatchObject(refused);
    expect(await app.receiveCloudMonitor(callback(firing))).toMatchObject(refused);
    expect(world.cloud.calls).toEqual([]);
    // The next alarm is another one.
    const next = callback({
      ...firing,
      ...(firing['transId'] === undefined && 'transId' in firing ? {} : { transId: 'next' }),
      ...later(5),
    });
    expect((await app.receiveCloudMonitor(next)).runs).toHaveLength(1);
  });

  it('that comes while the firing is being dealt with ends it, of whatever level', { timeout: 60_000 }, async () => {
    // At each call of the firing in turn.
    for (const preTriggerLevel of ['WARN', 'CRITICAL']) {
      let more = true;
      for (let n = 0; more; n += 2) {
        const world = newWorld();
        const halt = gate();
        let calls = 0;
        const firing = world.process(() => (++calls > n ? halt.wait() : undefined)).receiveCloudMonitor(callback());
        more = await Promise.race([halt.reached.then(() => true), firing.then(() => false)]);
        await world.process().receiveCloudMonitor(ok({ preTriggerLevel }));
        halt.open();
        await firing;
        const app = world.process();
        world.clock.advance(31 * seconds);
        await app.poll();
        await app.poll();
        expect(world.cloud.capturing()).toEqual([]);
        expect(await app.alerts.unsettled(10)).toEqual([]);
        for (const [, reason] of await statesOf(app)) expect(reason).toBe('alert-resolved');
      }
    }
  });

  const worse = callback({ triggerLevel: 'CRITICAL', preTriggerLevel: 'WARN', ...later(1) });

  it('is the end of what of its occurrence comes late', async () => {
    const world = newWorld();
    const app = world.process();
    const { runs } = await app.receiveCloudMonitor(worse);
    const end = await app.receiveCloudMonitor(ok({ preTriggerLevel: 'CRITICAL', ...later(2) }));
    expect(end.stopped).toEqual(runs.map((run) => run.id));
    expect(await app.receiveCloudMonitor(callback())).toMatchObject({ runs: [], ignored: [{ reason: 'resolved' }] });
    expect(world.cloud.count('start')).toBe(1);
  });

  it('that is overtaken by another level at any moment ends that, too', { timeout: 60_000 }, async () => {
    let more = true;
    for (let n = 0; more; n++) {
      const world = newWorld();
      await world.process().receiveCloudMonitor(worse);
      const halt = gate();
      let calls = 0;
      const end = ok({ preTriggerLevel: 'CRITICAL', ...later(2) });
      const ending = world.process(() => (++calls > n ? halt.wait() : undefined)).receiveCloudMonitor(end);
      more = await Promise.race([halt.reached.then(() => true), ending.then(() => false)]);
      const app = world.process();
      await app.receiveCloudMonitor(callback());
      halt.open();
      await ending;
      world.clock.advance(31 * seconds);
      await app.poll();
      expect(world.cloud.capturing()).toEqual([]);
      for (const [, reason] of await statesOf(app)) expect(reason).toBe('alert-resolved');
    }
  });

  it('leaves a run alone whose rule does not stop on it, and another occurrence', async () => {
    const world = newWorld(rule('keeps', { stopOnResolve: false }, { when }), rule('stops', {}, { when }));
    const app = world.process();
    const first = await app.receiveCloudMonitor(callback());
    const other = await app.receiveCloudMonitor(callback({ transId: 'other' }));
    const end = await app.receiveCloudMonitor(ok());
    expect(end.stopped).toEqual(first.runs.filter((run) => run.rule === 'stops').map((run) => run.id));
    for (const { id } of other.runs) expect((await app.runs.get(id))?.stop).toBeUndefined();
  });
});

describe('alerts of old, without a transId', () => {
  it('end, however often there was not enough data meanwhile', async () => {
    const world = newWorld();
    const app = world.process();
    const { runs } = await app.receiveCloudMonitor(callback(old));
    for (let i = 1; i <= 6; i++)
      await app.receiveCloudMonitor(callback({ ...old, alertState: 'INSUFFICIENT_DATA', ...later(i) }));
    expect((await app.receiveCloudMonitor(ok({ ...old, ...later(7) }))).stopped).toEqual(runs.map((run) => run.id));
  });

  it('are other alerts at another time', async () => {
    const world = newWorld(rule('r', { cooldownSeconds: 900 }, { when }));
    const app = world.process();
    await app.receiveCloudMonitor(callback(old));
    expect((await app.receiveCloudMonitor(callback(old))).runs).toMatchObject([{ created: false }]);
    expect(await app.receiveCloudMonitor(callback({ ...old, ...later(5) }))).toMatchObject({
      runs: [],
      ignored: [{ reason: 'cooldown' }],
    });
  });
});

describe('rules', () => {
  it.each([
    [{ severity: ['WARN', 'INFO'] }, true],
    [{ severity: ['CRITICAL'] }, false],
    [{ resourceType: ['ecs'] }, true],
    [{ resourceType: ['instance'] }, true],
    [{ resourceType: ['ecs:instance'] }, true],
    [{ resourceType: ['acs:ecs:Instance'] }, true],
    [{ resourceType: ['eni'] }, false],
    [{ resourceType: ['acs:*'] }, true],
    [{ resourceType: ['virtualMachines'] }, false],
    [{ alert: ['egress*'] }, true],
    [{ source: 'azure-monitor' }, false],
  ])('with %j', async (more, matches) => {
    const world = newWorld(rule('r', {}, { when: { ...when, ...more } }));
    const receipt = await world.process().receiveCloudMonitor(callback());
    expect(receipt.runs).toHaveLength(matches ? 1 : 0);
    expect(receipt.ignored.map((one) => one.reason)).toEqual(matches ? [] : ['no-rule']);
  });

  it.each([
    ['a target without a region', callback({ regionId: 'null' }), 'unsupported-target'],
    ['another product', sample('threshold-capture-alert.txt'), 'unsupported-target'],
    ['no target', callback({ dimensions: 'null' }), 'unknown-target'],
  ])('answer for %s', async (_, payload, reason) => {
    const receipt = await newWorld().process().receiveCloudMonitor(payload);
    expect(receipt).toMatchObject({ runs: [], ignored: [{ reason }] });
    expect(receipt.ignored[0]?.detail).toMatch(/give the rule a list of targets|is not the id of a machine/);
  });

  it('start on a list of machines, whatever the alert is about', async () => {
    const world = newWorld(rule('r', {}, { when, target: [target(7)] }));
    const { runs } = await world.process().receiveCloudMonitor(sample('threshold-capture-alert.txt'));
    expect(runs.map((run) => run.target)).toEqual([target(7)]);
  });
});

describe('a group of Alertmanager', () => {
  const text = new TextDecoder().decode(sample('written-alertmanager-group.json'));
  const group = JSON.parse(text) as { alerts: Record<string, unknown>[] };
  const [first, second, third] = group.alerts;

  it('starts what is new in it, stops what is over, and leaves the rest', async () => {
    const world = newWorld();
    const app = world.process();
    const receive = (...alerts: unknown[]) => app.receiveCloudMonitor(encoded({ ...group, alerts }));
    const one = await receive({ ...third, status: 'firing' });
    expect(one.runs).toMatchObject([{ target: target(3), created: true }]);
    const all = await receive(...group.alerts);
    expect(all.runs).toMatchObject([
      { target: target(1), created: true },
      { target: target(2), created: true },
    ]);
    expect(all.stopped).toEqual(one.runs.map((run) => run.id));
    expect(all.ignored).toMatchObject([{ target: target(3), reason: 'resolved' }]);
    expect((await app.runs.get(all.runs[0]?.id ?? ''))?.trigger.alertId).toBe(all.alertId);
    expect((await receive(...group.alerts)).runs).toMatchObject([{ created: false }, { created: false }]);
    const over = { status: 'resolved', endsAt: '2026-03-04T06:00:00Z' };
    const end = await receive({ ...first, ...over }, { ...second, ...over });
    expect(end.stopped.toSorted()).toEqual(all.runs.map((run) => run.id).toSorted());
    expect((await app.alerts.list({ limit: 10 })).items).toHaveLength(3);
    await app.settle();
    expect((await statesOf(app)).flat()).toEqual(Array(3).fill(['completed', 'alert-resolved']).flat());
  });

  it('of more than fifty says how many were not read', async () => {
    const world = newWorld();
    world.rules = [];
    const alerts = Array.from({ length: 53 }, (_, i) => ({ ...first, fingerprint: `f${i}` }));
    const receipt = await world.process().receiveCloudMonitor(encoded({ ...group, alerts }));
    expect(receipt.ignored).toHaveLength(51);
    expect(receipt.ignored[0]).toEqual({
      reason: 'max-targets',
      detail: expect.stringMatching(/^3 more alerts .* 50 are$/),
    });
  });

  it('is taken up by the next poll, alert by alert, when the process dies', async () => {
    for (let n = 0; n < 40; n += 3) {
      const world = newWorld();
      const { tap, died } = dyingAfter(n);
      await world
        .process(tap)
        .receiveCloudMonitor(sample('written-alertmanager-group.json'))
        .catch(() => undefined);
      expect(died()).toBe(true);
      world.clock.advance(31 * seconds);
      const app = world.process();
      await app.poll();
      expect(await app.alerts.unsettled(10)).toEqual([]);
      const again = await app.receiveCloudMonitor(sample('written-alertmanager-group.json'));
      expect(again.runs.map((run) => run.target)).toEqual([target(1), target(2)]);
      expect(world.cloud.count('start')).toBe(2);
    }
  });
});

describe('events', () => {
  it('start a run each, and never end', async () => {
    const world = newWorld();
    const app = world.process();
    const event = (id: string) =>
      encoded({
        id,
        name: 'Instance:StateChange',
        regionId: 'cn-hangzhou',
        resourceId: `acs:ecs:cn-hangzhou:1000000000000001:instance/${instance(1)}`,
        eventTime: '20261122T195900+0800',
        level: 'CRITICAL',
      });
    const receipt = await app.receiveCloudMonitor(event('e1'));
    expect(receipt.runs).toMatchObject([{ target: target(1), created: true }]);
    expect((await app.receiveCloudMonitor(event('e1'))).runs).toMatchObject([{ created: false }]);
    expect((await app.receiveCloudMonitor(event('e2'))).runs).toMatchObject([{ created: true }]);
    expect(toAlertView(await app.alerts.require(receipt.alertId))).toMatchObject({
      kind: 'event',
      severity: 'CRITICAL',
    });
  });
});
