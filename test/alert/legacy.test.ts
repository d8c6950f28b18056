import { describe, expect, it } from 'vitest';
import { alertId } from '../../shared/alert/store.ts';
import { Problem } from '../../shared/problem.ts';
import { parse, sample, type Payload } from './payloads.ts';

const zero = '00000000-0000-0000-0000-000000000000';
const ruleId = `/subscriptions/${zero}/resourceGroups/ops/providers/microsoft.insights/metricAlerts/egress`;
const web01 = `/subscriptions/${zero}/resourceGroups/shop/providers/Microsoft.Compute/virtualMachines/web01`;

/** A payload with other members somewhere inside. */
function changed(name: string, path: string[], members: Payload): Payload {
  const payload = structuredClone(sample(name));
  Object.assign(
    path.reduce((inner, key) => inner[key], payload),
    members,
  );
  return payload;
}

describe('a metric alert of the older schema', () => {
  const metric = (members: Payload, status = 'Activated') => {
    const payload = changed('written-legacy-metric-vm-DEACTIVATED', ['data', 'context'], members);
    payload['data'].status = status;
    return parse(payload);
  };

  it('is read', () => {
    expect(parse(sample('written-legacy-metric-vm-DEACTIVATED'))).toEqual({
      source: 'azure-monitor',
      kind: 'metric',
      externalId: `${ruleId}|${web01}`,
      rule: 'egress',
      condition: 'resolved',
      severity: 'Sev1',
      firedAt: new Date('2026-03-04T05:16:07.123Z'),
      resolvedAt: new Date('2026-03-04T05:16:07.123Z'),
      targets: [{ id: web01, resourceType: 'microsoft.compute/virtualmachines' }],
    });
    expect(parse(sample('legacy-metric-static-ACTIVATED'))).toMatchObject({
      condition: 'fired',
      severity: 'Sev3',
      rule: 'test-metricAlertRule',
      description: 'Alert rule description',
    });
  });

  it.each([
    ['Activated', 'fired'],
    ['activated', 'fired'],
    ['Deactivated', 'resolved'],
    ['DEACTIVATED', 'resolved'],
    ['Resolved', 'resolved'],
    ['resolved', 'resolved'],
  ])('%s is %s', (status, condition) => {
    expect(metric({}, status).condition).toBe(condition);
  });

  it('has an id for each rule and resource, the same at its end', () => {
    const fired = metric({ timestamp: '2026-03-04T05:06:07Z' });
    expect(metric({}, 'Deactivated').externalId).toBe(fired.externalId);
    expect(metric({ resourceId: web01.replace('01', '02') }).externalId).not.toBe(fired.externalId);
    expect(metric({ id: `${ruleId}2` }).externalId).not.toBe(fired.externalId);
    expect(alertId(metric({ resourceId: web01.toUpperCase() }))).toBe(alertId(metric({})));
    expect(alertId(fired)).not.toBe(alertId(metric({})));
  });

  it.each([
    [3, 'Sev3'],
    ['0', 'Sev0'],
    ['Warning', 'Warning'],
    ['7', '7'],
    [null, undefined],
    [{}, undefined],
  ])('of severity %j is %s', (severity, expected) => {
    expect(metric({ severity }).severity).toBe(expected);
  });

  it('does without everything but its ids and its time', () => {
    const bare = {
      schemaId: 'AzureMonitorMetricAlert',
      data: { status: 'Activated', context: { id: 'r', timestamp: '2026-03-04T05:06:07Z' } },
    };
    expect(parse(bare)).toEqual({
      source: 'azure-monitor',
      kind: 'metric',
      externalId: 'r',
      rule: '',
      condition: 'fired',
      firedAt: new Date('2026-03-04T05:06:07Z'),
      targets: [],
    });
  });

  it.each([
    ['no context', { data: { status: 'Activated' } }, ['data.context']],
    ['no id', { data: { context: { timestamp: '2026-03-04T05:06:07Z' } } }, ['data.context.id']],
    ['no time', { data: { context: { id: 'r', timestamp: 'now' } } }, ['data.context.timestamp']],
    [
      'another status',
      { data: { status: 'Closed', context: { id: 'r', timestamp: '2026-03-04T05:06:07Z' } } },
      ['data.status'],
    ],
  ])('is refused with %s', (_, rest, paths) => {
    expect(faultsOf({ schemaId: 'AzureMonitorMetricAlert', ...rest })).toEqual(paths);
  });
});

describe('an activity log alert of the older schema', () => {
  const name = 'written-legacy-activitylog-resourcehealth';
  const path = ['data', 'context', 'activityLog'];

  it('is read', () => {
    expect(parse(sample(name))).toEqual({
      source: 'azure-monitor',
      kind: 'resource-health',
      externalId: '30000000-0000-0000-0000-000000000002',
      rule: '',
      condition: 'fired',
      firedAt: new Date('2026-03-04T05:06:00Z'),
      targets: [{ id: web01, resourceType: 'microsoft.compute/virtualmachines' }],
    });
    expect(parse(changed(name, ['data', 'context'], { name: 'health' })).rule).toBe('health');
  });

  it('is another alert for every event, and the same for the same one', () => {
    const first = alertId(parse(sample(name)));
    expect(alertId(parse(sample(name)))).toBe(first);
    expect(alertId(parse(changed(name, path, { eventDataId: 'x' })))).not.toBe(first);
  });

  it.each([
    ['ResourceHealth', 'resource-health'],
    ['ServiceHealth', 'service-health'],
    ['Administrative', 'activity-log'],
    ['Recommendation', 'activity-log'],
    [2, 'activity-log'],
  ])('of source %s is of kind %s', (eventSource, kind) => {
    expect(parse(changed(name, path, { eventSource })).kind).toBe(kind);
  });

  it('names what was acted on, what was scaled or what was attacked', () => {
    const targets = (members: Payload) =>
      parse(changed(name, path, { eventSource: 'Policy', ...members })).targets.map((t) => t.id);
    const set = '/subscriptions/0/resourceGroups/g/providers/Microsoft.Compute/virtualMachineScaleSets/web';
    const other = '/subscriptions/0/resourceGroups/g/providers/Microsoft.Security/locations/x/alerts/1';
    expect(targets({ resourceId: `${web01}/extensions/x` })).toEqual([web01]);
    expect(targets({ resourceId: null, authorization: { scope: `${web01}/extensions/x` } })).toEqual([web01]);
    expect(targets({ resourceId: other, properties: { resourceName: set } })).toEqual([set]);
    const attacked = { compromisedEntity: 'LinuxVM1', attackedResourceType: 'Virtual Machine' };
    expect(targets({ resourceId: other, properties: attacked })).toEqual(['LinuxVM1']);
    expect(targets({ resourceId: other, properties: {} })).toEqual([other]);
    expect(targets({ resourceId: null })).toEqual([]);
  });
});

describe('a log alert of the older schema', () => {
  it('is read', () => {
    expect(parse(sample('written-legacy-log-v1'))).toEqual({
      source: 'azure-monitor',
      kind: 'log',
      externalId: 'heartbeats|40000000-0000-0000-0000-000000000001|2026-03-04T05:06:31.000Z',
      rule: 'heartbeats',
      condition: 'fired',
      severity: 'Sev3',
      firedAt: new Date('2026-03-04T05:06:31Z'),
      description: 'no heartbeat',
      targets: [
        { id: web01.toLowerCase(), resourceType: 'microsoft.compute/virtualmachines' },
        { id: 'onprem7', resourceType: '', computer: true },
      ],
    });
    expect(parse(sample('written-legacy-log-application-insights'))).toMatchObject({
      kind: 'log',
      rule: 'failed requests',
      targets: [],
    });
  });

  it('is another one for another rule, workspace, interval or machine', () => {
    const id = (members: Payload) => alertId(parse(changed('written-legacy-log-v1', [], members)));
    const computer = (value: string) => ({ Dimensions: [{ name: 'Computer', value }] });
    const all = [
      id({}),
      id({ AlertRuleName: 'other' }),
      id({ WorkspaceId: 'other' }),
      id({ SearchIntervalEndtimeUtc: '2026-03-04T05:07:31Z' }),
      id(computer('web01')),
      id(computer('web02')),
    ];
    expect(new Set(all).size).toBe(all.length);
    expect(id({ SearchIntervalEndtimeUtc: '3/4/2026 5:06:31 AM', ResultCount: 7 })).toBe(all[0]);
  });

  it('has an id of bounded length', () => {
    const long = (end: string) =>
      changed('written-legacy-log-v1', [], { Dimensions: [{ name: 'Computer', value: 'x'.repeat(5000) + end }] });
    expect(parse(long('a')).externalId.length).toBeLessThan(1000);
    expect(parse(long('a')).externalId).not.toBe(parse(long('b')).externalId);
  });

  it('without a rule or a time is refused', () => {
    expect(faultsOf({ AlertRuleName: 5 })).toEqual(['AlertRuleName', 'SearchIntervalEndtimeUtc']);
    expect(faultsOf({ schemaId: 'Microsoft.Insights/LogAlert' })).toEqual(['data']);
  });
});

it('a budget of the older schema fires once per period and threshold', () => {
  const budget = (members: Payload) => parse(changed('written-legacy-budget', ['data'], members));
  expect(budget({})).toEqual({
    source: 'azure-monitor',
    kind: 'cost',
    externalId: `monthly|2026-03-01T00:00:00.000Z|${zero}|25.0`,
    rule: '',
    condition: 'fired',
    firedAt: new Date('2026-03-01T00:00:00Z'),
    targets: [],
  });
  expect(budget({ SpendingAmount: '31.00' }).externalId).toBe(budget({}).externalId);
  expect(budget({ NotificationThresholdAmount: '50.0' }).externalId).not.toBe(budget({}).externalId);
});

it.each([
  [{}],
  [{ schemaId: null, AlertRuleName: 'x' }],
  [{ schemaId: 'microsoft.insights/activitylogs' }],
  [{ text: 'My rule fired with 18 records' }],
])('%j is of no known schema', (payload) => {
  expect(problemOf(payload).code).toBe('unsupported-schema');
});

function problemOf(payload: Payload): Problem {
  try {
    parse(payload);
  } catch (error) {
    if (error instanceof Problem) return error;
    throw error;
  }
  throw new Error('no problem was thrown');
}

function faultsOf(payload: Payload): string[] {
  return (problemOf(payload).members['problems'] as { path: string }[]).map((fault) => fault.path);
}
