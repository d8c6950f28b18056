import { describe, expect, it } from 'vitest';
import { inAllClouds } from '../../shared/alert/computers.ts';
import { toAlertView } from '../../shared/alert/store.ts';
import { ProviderError, type Provider } from '../../shared/provider/provider.ts';
import type { Rule } from '../../shared/rule/rule.ts';
import { gate, minutes, rule, seconds, useAzurite, vm, World } from '../run/world.ts';
import { until } from '../until.ts';
import { bytes, common, logAlert, sample, withEssentials, workspace, type Payload } from './payloads.ts';

useAzurite();

const instance =
  '/subscriptions/s/resourcegroups/g/providers/microsoft.compute/virtualmachinescalesets/x/virtualmachines/0';

/** A log alert on a workspace that names computers. */
function alertOn(...computers: string[]): Payload {
  return logAlert({}, { alertId: '/alerts/1', configurationItems: computers });
}

function newWorld(named: Record<string, string[]>, rules: Rule[] = [rule('r')]): World {
  const world = new World();
  world.rules = rules;
  world.cloud.named = new Map(Object.entries(named));
  return world;
}

/** Lets each look-up of the world's cloud wait or throw, and counts them. */
function lookUps(world: World, before: (name: string, signal: AbortSignal) => unknown = () => undefined): string[] {
  const names: string[] = [];
  world.cloud.machinesNamed = async (name: string, signal?: AbortSignal) => {
    names.push(name);
    await before(name, signal ?? new AbortController().signal);
    return world.cloud.named.get(name.toLowerCase()) ?? [];
  };
  return names;
}

const only = (resourceType: string): Rule =>
  rule('typed', {}, { when: { source: 'azure-monitor', alert: [], severity: [], resourceType: [resourceType] } });

describe('a computer name', () => {
  it('that one machine has is that machine', async () => {
    const world = newWorld({ 'web01.contoso.local': [vm('a')] });
    const app = world.process();
    const receipt = await app.receive(bytes(alertOn('WEB01.contoso.local')));
    expect(receipt).toMatchObject({ runs: [{ rule: 'r', target: vm('a'), created: true }], ignored: [] });
    expect(world.cloud.count('start')).toBe(1);
    expect(await app.receive(bytes(alertOn('WEB01.contoso.local')))).toEqual({
      ...receipt,
      runs: receipt.runs.map((run) => ({ ...run, created: false })),
    });
    const view = toAlertView(await app.alerts.require(receipt.alertId));
    expect(view).toMatchObject({ kind: 'log', targets: ['WEB01.contoso.local'], runs: [{ target: vm('a') }] });
    const end = withEssentials(alertOn('WEB01.contoso.local'), { monitorCondition: 'Resolved' });
    expect((await app.receive(bytes(end))).stopped).toEqual(receipt.runs.map((run) => run.id));
  });

  it('that several machines have starts nothing, and says which', async () => {
    const machines = ['a', 'b', 'c', 'd', 'e'].map(vm);
    const world = newWorld({ web01: machines });
    const { runs, ignored } = await world.process().receive(bytes(alertOn('web01')));
    expect(runs).toEqual([]);
    expect(ignored).toEqual([
      { rule: 'r', target: 'web01', reason: 'ambiguous-target', detail: expect.stringContaining('5 machines') },
    ]);
    expect(ignored[0]?.detail).toContain(`${vm('a')}, ${vm('b')}, ${vm('c')} and 2 more`);
  });

  it('that no machine has is unknown', async () => {
    const app = newWorld({}).process();
    const receipt = await app.receive(bytes(alertOn('web01')));
    expect(receipt).toMatchObject({ runs: [], ignored: [{ rule: 'r', target: 'web01', reason: 'unknown-target' }] });
    expect(await app.alerts.unsettled(10)).toEqual([]);
  });

  it('stands beside others, and two names of one machine are one run', async () => {
    const world = newWorld({ web01: [vm('a')], 'web01.contoso.local': [vm('a')], web02: [vm('b')] });
    const receipt = await world.process().receive(bytes(alertOn('web01', 'web01.contoso.local', 'web02', 'web03')));
    expect(receipt.runs.map((run) => run.target).toSorted()).toEqual([vm('a'), vm('b')]);
    expect(receipt.ignored.map((one) => [one.target, one.reason])).toEqual([['web03', 'unknown-target']]);
  });

  it('of what cannot be captured is refused as that', async () => {
    const world = newWorld({ web01: ['/subscriptions/s/resourcegroups/g/providers/microsoft.compute/disks/d'] });
    const { ignored } = await world.process().receive(bytes(alertOn('web01')));
    expect(ignored).toMatchObject([{ target: 'web01', reason: 'unsupported-target' }]);
  });

  it.each([
    ['virtualMachines', 'web01', vm('a'), true],
    ['Microsoft.Compute/virtualMachines', 'web01', vm('a'), true],
    ['virtualMachineScaleSets/virtualMachines', 'web01', vm('a'), false],
    ['workspaces', 'web01', vm('a'), false],
  ])('meets a rule for %s: %s is %s', async (type, name, id, meets) => {
    const world = newWorld({ [name]: [id] }, [only(type)]);
    const asked = lookUps(world);
    const { runs, ignored } = await world.process().receive(bytes(alertOn(name)));
    expect(runs).toHaveLength(meets ? 1 : 0);
    if (!meets) expect(ignored.map((one) => one.reason)).toEqual(['no-rule']);
    expect(asked).toHaveLength(type === 'workspaces' ? 0 : 1);
  });

  it('of an instance of a scale set is no virtual machine for a rule that is for these', async () => {
    const world = newWorld({ web01: [instance] }, [only('virtualMachines')]);
    world.cloud.target = (id) => ({ kind: 'target', id: id.toLowerCase() });
    const { runs, ignored } = await world.process().receive(bytes(alertOn('web01')));
    expect(runs).toEqual([]);
    expect(ignored).toMatchObject([{ target: instance, reason: 'no-rule' }]);
  });
});

describe('nothing is looked up', () => {
  it.each([
    [
      'for an alert that no rule wants',
      [rule('r', {}, { when: { source: 'azure-monitor', alert: ['other'], severity: [], resourceType: [] } })],
    ],
    ['without rules', []],
    ['for a rule with a list of its own', [rule('r', {}, { target: [vm('z')] })]],
  ])('%s', async (_, rules) => {
    const world = newWorld({ web01: [vm('a')] }, rules);
    const asked = lookUps(world);
    await world.process().receive(bytes(alertOn('web01')));
    expect(asked).toEqual([]);
  });

  it('for the test of an action group, which starts nothing', async () => {
    const world = newWorld({ 'test-computer': [vm('a')] });
    const asked = lookUps(world);
    const app = world.process();
    for (const name of [
      'test-log-v2-FIRED',
      'test-activitylog-administrative-FIRED',
      'legacy-metric-static-ACTIVATED',
    ]) {
      const receipt = await app.receive(bytes(sample(name)));
      expect(receipt).toMatchObject({
        runs: [],
        stopped: [],
        ignored: [{ reason: 'test', detail: expect.any(String) }],
      });
      expect(receipt.ignored).toHaveLength(1);
      expect(toAlertView(await app.alerts.require(receipt.alertId))).toMatchObject({ ignored: receipt.ignored });
    }
    const resolved = withEssentials(sample('test-metric-static-FIRED'), { monitorCondition: 'Resolved' });
    expect(await app.receive(bytes(resolved))).toMatchObject({ ignored: [{ reason: 'test' }] });
    expect(asked).toEqual([]);
    expect(world.cloud.calls).toEqual([]);
    expect(await app.alerts.unsettled(10)).toEqual([]);
  });

  it('by a repeat of what was dealt with', async () => {
    const world = newWorld({ web01: [vm('a')] });
    const asked = lookUps(world);
    const app = world.process();
    await app.receive(bytes(alertOn('web01')));
    await app.receive(bytes(alertOn('web01')));
    expect(asked).toEqual(['web01']);
  });

  it('beyond 25 names of an alert', async () => {
    const names = Array.from({ length: 30 }, (_, i) => `web${i}`);
    const world = newWorld(Object.fromEntries(names.map((name) => [name, [vm(name)]])));
    const asked = lookUps(world);
    const { runs, ignored } = await world.process().receive(bytes(alertOn(...names)));
    expect(asked).toEqual(names.slice(0, 25));
    expect(runs).toHaveLength(25);
    expect(ignored.map((one) => [one.target, one.reason])).toEqual(
      names.slice(25).map((name) => [name, 'max-targets']),
    );
  });
});

describe('a look-up that fails in a way that passes', () => {
  const busy = () => {
    throw new ProviderError('throttled', 'slow down');
  };
  const pending = {
    rule: 'r',
    target: 'web01',
    reason: 'unknown-target',
    detail: expect.stringContaining('could not be looked up now (slow down); it is tried again'),
  };

  it('is told, and made up for by the next poll', async () => {
    const world = newWorld({ web01: [vm('a')] });
    lookUps(world, busy);
    const app = world.process();
    const receipt = await app.receive(bytes(alertOn('web01')));
    expect(receipt).toMatchObject({ runs: [], ignored: [pending] });
    expect(toAlertView(await app.alerts.require(receipt.alertId))).toMatchObject({ runs: [], ignored: [pending] });
    await app.poll();
    expect(world.cloud.count('start')).toBe(0);
    expect(await app.alerts.unsettled(10)).toHaveLength(1);

    lookUps(world);
    world.clock.advance(20 * seconds);
    await world.process().poll();
    expect(world.cloud.count('start')).toBe(1);
    expect(await app.alerts.unsettled(10)).toEqual([]);
    expect(toAlertView(await app.alerts.require(receipt.alertId))).toMatchObject({
      runs: [{ target: vm('a') }],
      ignored: [],
    });
    expect(await app.receive(bytes(alertOn('web01')))).toMatchObject({
      runs: [{ target: vm('a'), created: false }],
      ignored: [],
    });
  });

  it('is made up for by a repeat', async () => {
    const world = newWorld({ web01: [vm('a')] });
    lookUps(world, busy);
    const app = world.process();
    await app.receive(bytes(alertOn('web01')));
    lookUps(world);
    expect(await app.receive(bytes(alertOn('web01')))).toMatchObject({
      runs: [{ target: vm('a'), created: true }],
      ignored: [],
    });
    expect(await app.alerts.unsettled(10)).toEqual([]);
  });

  it('does not keep the other machines waiting, nor start them twice, nor change what was refused', async () => {
    const world = newWorld({ web01: [vm('a')], web02: [vm('b')], web03: [vm('c')] }, [
      rule('r', { cooldownSeconds: 60 }),
    ]);
    const app = world.process();
    // An earlier alert has captured this one.
    await app.receive(bytes(withEssentials(alertOn('web03'), { alertId: '/alerts/0' })));
    lookUps(world, (name) => name === 'web01' && busy());
    const first = await app.receive(bytes(alertOn('web01', 'web02', 'web03')));
    expect(first.runs.map((run) => run.target)).toEqual([vm('b')]);
    expect(first.ignored.map((one) => [one.target, one.reason])).toEqual([
      ['web01', 'unknown-target'],
      [vm('c'), 'cooldown'],
    ]);
    lookUps(world);
    world.clock.advance(5 * minutes);
    await app.poll();
    const record = await app.alerts.require(first.alertId);
    expect(record.fired).toMatchObject({ done: true, ignored: [{ target: vm('c'), reason: 'cooldown' }] });
    expect(record.fired?.runs.map((run) => run.target)).toEqual([vm('b'), vm('a')]);
    expect(record.fired?.runs.map((run) => run.id)).toContain(first.runs[0]?.id);
    expect(world.cloud.count('start')).toBe(3);
  });

  it('leaves done what another delivery did meanwhile', async () => {
    const world = newWorld({ web01: [vm('a')], web02: [vm('b')] });
    const halt = gate();
    world.cloud.before.prepare = () => halt.wait();
    lookUps(world, (name) => name === 'web01' && busy());
    const app = world.process();
    const slow = app.receive(bytes(alertOn('web01', 'web02')));
    await halt.reached;
    world.cloud.before = {};
    lookUps(world);
    const quick = await world.process().receive(bytes(alertOn('web01', 'web02')));
    expect(quick.runs).toHaveLength(2);
    halt.open();
    expect(await slow).toEqual({ ...quick, runs: quick.runs.map((run) => ({ ...run, created: false })) });
    expect((await app.alerts.require(quick.alertId)).fired).toMatchObject({ done: true, ignored: [] });
    expect(await app.alerts.unsettled(10)).toEqual([]);
  });

  it('is given up after a quarter of an hour', async () => {
    const world = newWorld({ web01: [vm('a')] });
    const asked = lookUps(world, busy);
    const app = world.process();
    await app.receive(bytes(alertOn('web01')));
    for (let minute = 0; minute < 14; minute++) {
      world.clock.advance(1 * minutes);
      await app.poll();
    }
    expect(asked).toHaveLength(15);
    world.clock.advance(1 * minutes);
    lookUps(world);
    await app.poll();
    expect(world.cloud.count('start')).toBe(0);
    expect(await app.alerts.unsettled(10)).toEqual([]);
    expect(world.logsOf('error').join()).toContain('could not be looked up');
  });

  it('starts nothing when the alert is over by then', async () => {
    const world = newWorld({ web01: [vm('a')] });
    lookUps(world, busy);
    const app = world.process();
    await app.receive(bytes(alertOn('web01')));
    await app.receive(bytes(withEssentials(alertOn('web01'), { monitorCondition: 'Resolved' })));
    lookUps(world);
    await app.poll();
    expect(world.cloud.count('start')).toBe(0);
    const [record] = (await app.alerts.list({ limit: 10 })).items;
    expect(record?.fired).toMatchObject({ done: true, runs: [], ignored: [{ target: vm('a'), reason: 'resolved' }] });
  });

  it('by something unforeseen is not lost either', async () => {
    const world = newWorld({ web01: [vm('a')] });
    lookUps(world, () => {
      throw new TypeError('a fault');
    });
    const app = world.process();
    expect(await app.receive(bytes(alertOn('web01')))).toMatchObject({ ignored: [{ reason: 'unknown-target' }] });
    expect(world.logsOf('error').join()).toContain('could not be looked up');
    lookUps(world);
    await app.poll();
    expect(world.cloud.count('start')).toBe(1);
  });
});

describe('a cloud that does not answer', () => {
  it('is waited for half of the time that a start has; another delivery may do better meanwhile', async () => {
    const world = newWorld({ web01: [vm('a')] });
    const halt = gate();
    lookUps(world, () => halt.wait());
    const app = world.process();
    const slow = app.receive(bytes(alertOn('web01')));
    await halt.reached;
    world.clock.advance(1499);
    lookUps(world);
    const quick = await world.process().receive(bytes(alertOn('web01')));
    expect(quick.runs.map((run) => run.target)).toEqual([vm('a')]);
    world.clock.advance(1);
    // What the other one found is the answer of both.
    expect(await slow).toEqual({ ...quick, runs: quick.runs.map((run) => ({ ...run, created: false })) });
    expect((await app.alerts.require(quick.alertId)).fired).toMatchObject({ done: true, ignored: [] });
    expect(await app.alerts.unsettled(10)).toEqual([]);
    halt.open();
  });

  it('leaves the alert to the poll, which waits longer, but not for each one in turn', async () => {
    const world = newWorld({ web01: [vm('a')] });
    const halt = gate();
    let waiting = 0;
    lookUps(world, () => (waiting++, halt.wait()));
    const app = world.process();
    const payloads = [1, 2, 3].map((i) => bytes(withEssentials(alertOn('web01'), { alertId: `/alerts/${i}` })));
    const receipts = payloads.map((payload) => app.receive(payload));
    await until('the look-ups', () => waiting === 3);
    world.clock.advance(1500);
    for (const receipt of await Promise.all(receipts))
      expect(receipt.ignored).toMatchObject([
        { reason: 'unknown-target', detail: expect.stringContaining('no answer in time') },
      ]);
    waiting = 0;
    const polling = app.poll();
    await until('the look-ups of the poll', () => waiting === 3);
    world.clock.advance(9 * seconds);
    halt.open();
    await polling;
    expect(world.cloud.count('start')).toBe(3);
    expect(await app.alerts.unsettled(10)).toEqual([]);
  });
});

it('a look-up that fails for good says so, with what to do, and is not tried again', async () => {
  const world = newWorld({});
  const asked = lookUps(world, () => {
    throw new ProviderError('forbidden', 'list the machines: AuthorizationFailed');
  });
  const app = world.process();
  const receipt = await app.receive(bytes(alertOn('web01')));
  expect(receipt.ignored).toEqual([
    {
      rule: 'r',
      target: 'web01',
      reason: 'unknown-target',
      detail: expect.stringMatching(
        /could not be looked up \(list the machines: AuthorizationFailed\)\. Give the app's managed identity/,
      ),
    },
  ]);
  await app.poll();
  expect(await app.receive(bytes(alertOn('web01')))).toEqual(receipt);
  expect(asked).toHaveLength(1);
  expect(await app.alerts.unsettled(10)).toEqual([]);
});

describe('several clouds', () => {
  const cloud = (answer: () => Promise<string[]>) => ({ machinesNamed: answer }) as unknown as Provider;
  const failing = cloud(() => Promise.reject(new ProviderError('unavailable', 'down')));
  const find = (azure: Provider, alibaba: Provider) =>
    inAllClouds(
      new Map([
        ['azure', azure],
        ['alibaba', alibaba],
      ] as const),
    )('web01', new AbortController().signal);

  it('add up; one that fails does not hide what another has, but an absent one', async () => {
    const [one, two, none] = [['x'], ['x', 'y'], []].map((ids) => cloud(() => Promise.resolve(ids)));
    expect(one && two && (await find(one, two))).toEqual(['x', 'y']);
    expect(one && (await find(failing, one))).toEqual(['x']);
    await expect(none && find(none, failing)).rejects.toThrow('down');
    expect(none && (await find(none, none))).toEqual([]);
  });
});

describe('an alert that names no machine', () => {
  it.each([
    [
      'a log alert',
      sample('written-log-v2-no-machine'),
      workspace.replace('/subscriptions/0/', '/subscriptions/00000000-0000-0000-0000-000000000000/'),
      'dimension _ResourceId or Computer',
    ],
    [
      'a Prometheus alert',
      sample('context-prometheus'),
      '/subscriptions/0/resourcegroups/g/providers/microsoft.containerservice/managedclusters/c',
      'label node',
    ],
    [
      'a service health alert',
      sample('written-service-health'),
      '/subscriptions/00000000-0000-0000-0000-000000000000',
      'list of targets',
    ],
  ])('says what to do: %s', async (_, payload, target, advice) => {
    const { runs, ignored } = await newWorld({}).process().receive(bytes(payload));
    expect(runs).toEqual([]);
    expect(ignored).toEqual([
      { rule: 'r', target, reason: 'unsupported-target', detail: expect.stringContaining(advice) },
    ]);
  });

  it('nor anything else says that', async () => {
    const app = newWorld({}).process();
    expect((await app.receive(bytes(sample('written-budget')))).ignored).toEqual([
      { reason: 'unknown-target', detail: expect.stringContaining('list of targets') },
    ]);
    const world = newWorld({}, [rule('r', {}, { target: [vm('z')] })]);
    expect(await world.process().receive(bytes(sample('written-budget')))).toMatchObject({
      runs: [{ target: vm('z') }],
      ignored: [],
    });
  });
});

describe('a metric alert of the older schema', () => {
  const at = (minute: number) => `2026-11-22T11:${minute}:00Z`;
  const metric = (status: string, machine: string, minute: number): Uint8Array =>
    bytes({
      schemaId: 'AzureMonitorMetricAlert',
      data: {
        status,
        context: { id: '/rules/egress', name: 'egress', timestamp: at(minute), resourceId: vm(machine) },
      },
    });

  it('is ended by the end that names its rule and machine, and by no other', async () => {
    const world = newWorld({});
    const app = world.process();
    const [a, b] = [await app.receive(metric('Activated', 'a', 10)), await app.receive(metric('Activated', 'b', 10))];
    const ended = await app.receive(metric('Deactivated', 'a', 20));
    expect(ended).toMatchObject({ alertId: a.alertId, stopped: a.runs.map((run) => run.id) });
    expect((await app.alerts.require(b.alertId)).resolved).toBeUndefined();
    expect(toAlertView(await app.alerts.require(a.alertId))).toMatchObject({
      condition: 'resolved',
      resolvedAt: new Date(at(20)).toISOString(),
    });
    const own = (await app.alerts.list({ limit: 10 })).items
      .map(toAlertView)
      .filter((view) => view['endOf'] !== undefined);
    expect(own).toMatchObject([{ condition: 'resolved', endOf: a.alertId, runs: [], stopped: [] }]);
    // It fires anew, and the old end is not that of the new one.
    const again = await app.receive(metric('Activated', 'a', 30));
    expect(again.alertId).not.toBe(a.alertId);
    expect(again.runs).toMatchObject([{ created: true }]);
    expect((await app.receive(metric('Deactivated', 'a', 20))).stopped).toEqual(a.runs.map((run) => run.id));
    expect((await app.alerts.require(again.alertId)).resolved).toBeUndefined();
    expect((await app.receive(metric('resolved', 'a', 40))).stopped).toEqual(again.runs.map((run) => run.id));
  });

  it('whose end comes first starts nothing', async () => {
    const world = newWorld({});
    const app = world.process();
    await app.receive(metric('Deactivated', 'a', 20));
    expect(await app.receive(metric('Activated', 'a', 10))).toMatchObject({
      runs: [],
      ignored: [{ reason: 'resolved' }],
    });
    expect(await app.receive(metric('Activated', 'b', 10))).toMatchObject({ runs: [{ created: true }] });
  });
});

it('events of the activity log are alerts of their own', async () => {
  const world = newWorld({});
  const app = world.process();
  const event = (id: string) =>
    bytes({
      schemaId: 'Microsoft.Insights/activityLogs',
      data: {
        status: 'Activated',
        context: { activityLog: { eventDataId: id, eventTimestamp: '2026-11-22T11:10:00Z', resourceId: vm('a') } },
      },
    });
  const [one, two] = [await app.receive(event('1')), await app.receive(event('2'))];
  expect(two.alertId).not.toBe(one.alertId);
  expect(two.runs[0]?.id).not.toBe(one.runs[0]?.id);
  expect((await app.receive(event('1'))).runs).toMatchObject([{ id: one.runs[0]?.id, created: false }]);
});

describe('with broken rules', () => {
  const problems = [{ line: 1, column: 1, path: 'rules', message: 'must be a list' }];

  it('nothing is looked up, each target is told, and a repeat finds them mended', async () => {
    const world = newWorld({ web01: [vm('a')] });
    const asked = lookUps(world);
    world.problems = problems;
    const app = world.process();
    expect((await app.receive(bytes(alertOn('web01')))).ignored).toMatchObject([
      { target: 'web01', reason: 'no-rule' },
    ]);
    expect(asked).toEqual([]);
    world.problems = [];
    expect(await app.receive(bytes(alertOn('web01')))).toMatchObject({ runs: [{ target: vm('a') }], ignored: [] });
  });

  it('an alert without targets and a test are answered, too', async () => {
    const world = newWorld({});
    world.problems = problems;
    const app = world.process();
    expect((await app.receive(bytes(common({ alertTargetIDs: [] })))).ignored).toMatchObject([{ reason: 'no-rule' }]);
    expect((await app.receive(bytes(sample('test-log-v2-FIRED')))).ignored).toMatchObject([{ reason: 'test' }]);
  });
});
