import { describe, expect, it } from 'vitest';
import { alertKinds } from '../../shared/alert/alert.ts';
import { common, logAlert, names, parse, sample, withEssentials, workspace, type Payload } from './payloads.ts';

const zero = '00000000-0000-0000-0000-000000000000';
const vmType = 'microsoft.compute/virtualmachines';
const setType = 'microsoft.compute/virtualmachinescalesets';
const web01 = `/subscriptions/${zero}/resourceGroups/shop/providers/Microsoft.Compute/virtualMachines/web01`;
const vm = (name: string) => `/subscriptions/0/resourceGroups/g/providers/Microsoft.Compute/virtualMachines/${name}`;
const set = '/subscriptions/0/resourceGroups/g/providers/Microsoft.Compute/virtualMachineScaleSets/web';

const machine = (id: string, resourceType = vmType) => ({ id, resourceType });
const computer = (id: string) => ({ id, resourceType: '', computer: true });

/** What is expected of each payload of the fixtures: kind, and the ids or names of machines; none: what it is about, as sent. */
const expected: Record<string, [kind: string, machines: unknown[]]> = {
  'common-metric-static-vm-RESOLVED': [
    'metric',
    [
      machine(
        '/subscriptions/<subscription ID>/resourcegroups/pipelinealertrg/providers/microsoft.compute/virtualmachines/wcus-r2-gen2',
      ),
    ],
  ],
  'context-activitylog-autoscale-vmss': [
    'activity-log',
    [
      machine(
        '/subscriptions/<GUID>/resourceGroups/voiceassistancedemo/providers/Microsoft.Compute/virtualMachineScaleSets/alexademo',
        setType,
      ),
    ],
  ],
  'context-metric-dynamic': ['metric', []],
  'context-prometheus': ['prometheus', []],
  'legacy-metric-static-ACTIVATED': ['metric', []],
  'test-activitylog-administrative-FIRED': [
    'activity-log',
    [
      machine(
        '/subscriptions/aaaa0a0a-bb1b-cc2c-dd3d-eeeeee4e4e4e/resourcegroups/test-RG/providers/microsoft.compute/virtualmachines/test-VM',
      ),
    ],
  ],
  'test-log-v2-FIRED': ['log', [computer('test-computer')]],
  'test-metric-static-FIRED': ['metric', []],
  'test-resourcehealth-FIRED': [
    'resource-health',
    [
      machine(
        '/subscriptions/aaaa0a0a-bb1b-cc2c-dd3d-eeeeee4e4e4e/resourcegroups/test-RG/providers/microsoft.compute/virtualmachines/test-VM',
      ),
    ],
  ],
  'vm-metric-static-FIRED': [
    'metric',
    [
      machine(
        `/subscriptions/${zero}/resourcegroups/pipelinealertrg/providers/microsoft.compute/virtualmachines/wcus-r2-gen2`,
      ),
    ],
  ],
  'vm-metric-static-RESOLVED': [
    'metric',
    [
      machine(
        `/subscriptions/${zero}/resourcegroups/pipelinealertrg/providers/microsoft.compute/virtualmachines/wcus-r2-gen2`,
      ),
    ],
  ],
  'written-activitylog-extension': ['activity-log', [machine(web01.toLowerCase())]],
  'written-activitylog-policy': ['activity-log', []],
  'written-activitylog-security': ['activity-log', [computer('web01')]],
  'written-budget': ['cost', []],
  'written-future-service': ['other', [machine(web01.toLowerCase())]],
  'written-legacy-activitylog-resourcehealth': ['resource-health', [machine(web01)]],
  'written-legacy-budget': ['cost', []],
  'written-legacy-log-application-insights': ['log', []],
  'written-legacy-log-v1': ['log', [machine(web01.toLowerCase()), computer('onprem7')]],
  'written-legacy-metric-vm-DEACTIVATED': ['metric', [machine(web01)]],
  'written-log-v1-application-insights': ['log', []],
  'written-log-v1-log-analytics': ['log', [computer('WEB01')]],
  'written-log-v2-computer': ['log', [computer('web01.contoso.local')]],
  'written-log-v2-no-machine': ['log', []],
  'written-log-v2-resource': ['log', [machine(web01)]],
  'written-metric-availability-test': ['availability-test', []],
  'written-prometheus-node': ['prometheus', [computer('aks-pool-12345678-vmss000002')]],
  'written-service-health': ['service-health', []],
  'written-smart-detection': ['smart-detection', []],
};

describe('every payload', () => {
  it('has something expected of it, and every kind of Azure Monitor has a payload', () => {
    expect(Object.keys(expected).toSorted()).toEqual(names.toSorted());
    expect(new Set(Object.values(expected).map(([kind]) => kind))).toEqual(
      new Set(alertKinds.filter((kind) => kind !== 'event')),
    );
  });

  it.each(names)('is read: %s', (name) => {
    const alert = parse(sample(name));
    const [kind, machines = []] = expected[name] ?? [];
    expect(alert.kind).toBe(kind);
    if (machines.length > 0) expect(alert.targets).toEqual(machines);
    else
      for (const target of alert.targets)
        expect(target).toEqual({ ...target, resourceType: expect.not.stringMatching(/^microsoft.compute/) });
    expect(alert.targets.some((t) => t.computer && machines.length === 0)).toBe(false);
  });
});

describe('the kind', () => {
  it.each([
    ['Platform', {}, 'metric'],
    ['Platform', { conditionType: 'DynamicThresholdCriteria' }, 'metric'],
    ['Platform', { SearchQuery: 'Heartbeat' }, 'log'],
    ['Activity Log - Administrative', {}, 'activity-log'],
    ['Activity Log - Security', {}, 'activity-log'],
    ['Activity Log - Recommendation', {}, 'activity-log'],
    ['Activity Log - Something New', {}, 'activity-log'],
    ['Activity Log - ResourceHealth', {}, 'resource-health'],
    ['ResourceHealth', {}, 'resource-health'],
    ['Service Health', {}, 'service-health'],
    ['Log Analytics', {}, 'log'],
    ['Application Insights', {}, 'log'],
    ['PROMETHEUS', {}, 'prometheus'],
    ['New', { ruleGroup: '/subscriptions/0', expression: 'up' }, 'prometheus'],
    ['New', { eventDataId: '1', eventSource: 'Policy' }, 'activity-log'],
    ['New', { eventDataId: '1', eventSource: 'ServiceHealth' }, 'service-health'],
    ['New', { SmartDetectorId: 'x' }, 'smart-detection'],
    ['New', { AlertData: { BudgetName: 'x' } }, 'cost'],
    ['New', null, 'other'],
    [undefined, undefined, 'other'],
    [7, [], 'other'],
  ])('of service %s and context %j is %s', (monitoringService, alertContext, kind) => {
    expect(parse(common({ monitoringService }, { alertContext })).kind).toBe(kind);
  });

  it.each([
    ['Metric', 'metric'],
    ['Log', 'log'],
    ['ActivityLog', 'activity-log'],
    ['Activity Log', 'activity-log'],
    ['Trace', 'other'],
  ])('of an unknown service is by its signal: %s', (signalType, kind) => {
    expect(parse(common({ monitoringService: 'New', signalType })).kind).toBe(kind);
  });
});

describe('times', () => {
  it.each([
    ['2026-03-04T05:06:07.1234567Z', '2026-03-04T05:06:07.123Z'],
    ['2026-03-04T05:06:07.1234567', '2026-03-04T05:06:07.123Z'],
    ['2026-03-04T05:06:07+00:00', '2026-03-04T05:06:07.000Z'],
    ['2026-03-04T05:06:07+01:00', '2026-03-04T04:06:07.000Z'],
    ['3/4/2026 1:06:07 PM', '2026-03-04T13:06:07.000Z'],
    ['11/17/2021 5:40:29 PM -08:00', '2021-11-18T01:40:29.000Z'],
  ])('%s', (firedDateTime, iso) => {
    expect(parse(common({ firedDateTime })).firedAt.toISOString()).toBe(iso);
  });

  it.each(['yesterday', '0', '2026', '2026-03-04', '13/13/2026 1:00:00 PM', '2026-13-04T05:06:07Z', ''])(
    'not %j',
    (firedDateTime) => {
      expect(() => parse(common({ firedDateTime }))).toThrow('is not a time');
    },
  );
});

describe('machines among the ids of the alert', () => {
  it.each([
    ['a virtual machine', vm('a'), vmType],
    ['a scale set', set, setType],
    ['an instance of one', `${set}/virtualMachines/0`, `${setType}/virtualmachines`],
    ['an instance in small letters', `${set}/virtualMachines/0`.toLowerCase(), `${setType}/virtualmachines`],
  ])('are targets as they are: %s', (_, id, resourceType) => {
    for (const build of [logAlert, (_dimensions: object, essentials: Payload) => common(essentials)])
      expect(parse(build({ Computer: 'other' }, { alertTargetIDs: [id] })).targets).toEqual([{ id, resourceType }]);
  });

  it('stand beside those that are none', () => {
    const ids = [workspace, vm('a')];
    expect(parse(logAlert({ Computer: 'b' }, { alertTargetIDs: ids })).targets.map((t) => t.id)).toEqual(ids);
  });
});

describe('machines that a log alert names', () => {
  const targets = (dimensions: Record<string, string>, essentials: Payload = {}) =>
    parse(logAlert(dimensions, essentials)).targets;

  it.each(['_ResourceId', 'ResourceId', 'Resource', 'Computer', '_resourceid'])(
    'by an id in the dimension %s',
    (name) => {
      expect(targets({ [name]: vm('a') })).toEqual([machine(vm('a'))]);
      expect(targets({ [name]: vm('a') }, { configurationItems: [] })).toEqual([machine(vm('a'))]);
    },
  );

  it('by an id in configurationItems alone', () => {
    const ids = [vm('a'), `${set}/virtualMachines/3`, vm('A').toUpperCase()];
    expect(targets({}, { configurationItems: ids })).toEqual([
      machine(vm('a')),
      machine(ids[1] ?? '', `${setType}/virtualmachines`),
    ]);
  });

  it('by id rather than by name', () => {
    expect(targets({ Computer: 'web01', _ResourceId: vm('a') })).toEqual([machine(vm('a'))]);
    expect(targets({ Computer: 'web01' }, { configurationItems: [vm('a')] })).toEqual([machine(vm('a'))]);
  });

  it.each([
    [{ Computer: 'WEB01.contoso.local' }, {}, 'WEB01.contoso.local'],
    [{ Computer: 'web01' }, { configurationItems: [] }, 'web01'],
    [{}, { configurationItems: ['web01'] }, 'web01'],
    [{ Resource: 'WEB01' }, { configurationItems: [] }, 'WEB01'],
    [{ Computer: 'web01', Resource: 'WEB-VM' }, { configurationItems: ['WEB-VM'] }, 'web01'],
    [{ Computer: 'aks-pool-12345678-vmss00000a' }, {}, 'aks-pool-12345678-vmss00000a'],
    [{ Computer: 'rechner_1' }, {}, 'rechner_1'],
    [{ Computer: 'büro' }, {}, 'büro'],
  ])('by name: %j %j', (dimensions, essentials, name) => {
    expect(targets(dimensions, essentials)).toEqual([computer(name)]);
  });

  it.each([
    ['nothing', {}],
    ['a GUID', { ResourceId: 'b1b1b1b1-cccc-dddd-eeee-f2f2f2f2f2f2' }],
    ['an empty name', { Computer: '' }],
    ['a sentence', { Computer: 'no such computer' }],
    ['a name too long', { Computer: 'x'.repeat(254) }],
    ['other dimensions', { IP: '10.0.0.4', Account: 'web01' }],
  ])('not at all, with %s: the workspace stays, with what to do', (_, dimensions: Record<string, string>) => {
    expect(
      targets(dimensions, {
        configurationItems: Object.values(dimensions).filter((v) => v !== 'web01' && v !== '10.0.0.4'),
      }),
    ).toEqual([
      {
        id: workspace,
        resourceType: 'microsoft.operationalinsights/workspaces',
        hint: expect.stringContaining('dimension _ResourceId or Computer'),
      },
    ]);
  });

  it('says rather which other resource it names than the workspace', () => {
    const arc = '/subscriptions/0/resourceGroups/g/providers/Microsoft.HybridCompute/machines/onprem';
    expect(targets({ _ResourceId: arc })).toEqual([{ id: arc, resourceType: 'microsoft.hybridcompute/machines' }]);
  });

  it('does not take the resource that it is about for a computer', () => {
    const component = '/subscriptions/0/resourcegroups/ops/providers/microsoft.insights/components/shop';
    expect(
      targets({}, { alertTargetIDs: [component], configurationItems: ['Shop'] }).map((t) => [t.id, t.computer]),
    ).toEqual([[component, undefined]]);
  });

  it('in several conditions', () => {
    const payload = logAlert({ Computer: 'a' });
    payload['data'].alertContext.condition.allOf.push({
      dimensions: [
        { name: 'Computer', value: 'b' },
        { name: 'Computer', value: 'A' },
      ],
    });
    expect(parse(payload).targets.map((t) => t.id)).toEqual(['a', 'b']);
  });
});

describe('machines in the results of a log V1 alert', () => {
  const v1 = (columns: string[], rows: unknown[][], more: Payload = {}) =>
    parse(
      common(
        { monitoringService: 'Log Analytics', alertTargetIDs: [workspace] },
        {
          alertContext: {
            SearchQuery: 'q',
            SearchResults: { tables: [{ name: 'PrimaryResult', columns: columns.map((name) => ({ name })), rows }] },
            ...more,
          },
        },
      ),
    ).targets;

  it('by id where a row has one, else by name', () => {
    const rows = [
      ['web01', vm('a')],
      ['web02', ''],
      ['web03', null],
      ['', vm('b')],
      [null, 'x'],
      ['web02', ''],
      7 as never,
    ];
    expect(v1(['Computer', '_ResourceId'], rows)).toEqual([
      machine(vm('a')),
      computer('web02'),
      computer('web03'),
      machine(vm('b')),
    ]);
  });

  it('only those that the alert names, when it names some', () => {
    const rows = [
      ['WEB01.contoso.local', vm('a')],
      ['web02', vm('b')],
    ];
    expect(v1(['Computer', 'ResourceId'], rows, { AffectedConfigurationItems: ['web01'] })).toEqual([machine(vm('a'))]);
    expect(v1(['Computer', 'ResourceId'], rows, { Dimensions: [{ name: 'Computer', value: 'web09' }] })).toEqual([
      computer('web09'),
    ]);
  });

  it('by the whole name before its first label', () => {
    const rows = [
      ['web01.a.local', vm('a')],
      ['web01.b.local', vm('b')],
    ];
    const named = (name: string) => v1(['Computer', 'ResourceId'], rows, { AffectedConfigurationItems: [name, name] });
    expect(named('WEB01.b.local')).toEqual([machine(vm('b'))]);
    expect(named('web01')).toEqual([machine(vm('a')), machine(vm('b'))]);
  });

  it('quickly, however many names share a label', () => {
    const rows = Array.from({ length: 1000 }, (_, i) => ['a', vm(`m${i}`)]);
    const items = Array.from({ length: 9000 }, (_, i) => `a.${i}`);
    const started = performance.now();
    expect(v1(['Computer', '_ResourceId'], rows, { AffectedConfigurationItems: items })).toHaveLength(1000);
    expect(performance.now() - started).toBeLessThan(1000);
  });

  it('not in rows without such columns', () => {
    expect(v1(['IP', 'Name'], [['10.0.0.4', 'web01']])).toEqual([
      expect.objectContaining({ id: workspace, hint: expect.any(String) }),
    ]);
  });

  it('at most a thousand, quickly', () => {
    const rows = Array.from({ length: 9000 }, (_, i) => [`web${i}`, i % 2 === 0 ? '' : 'x']);
    const started = performance.now();
    expect(
      v1(['Computer', '_ResourceId'], rows, { AffectedConfigurationItems: rows.map(([name]) => name) }),
    ).toHaveLength(1000);
    expect(performance.now() - started).toBeLessThan(1000);
  });
});

describe('machines of other alerts', () => {
  it('a metric of a workspace, by its dimension or item', () => {
    const essentials = { monitoringService: 'Platform', alertTargetIDs: [workspace] };
    const context = (dimensions: Payload[]) => ({
      alertContext: { conditionType: 'SingleResourceMultipleMetricCriteria', condition: { allOf: [{ dimensions }] } },
    });
    expect(parse(common(essentials, context([{ name: 'Computer', value: 'web01' }]))).targets).toEqual([
      computer('web01'),
    ]);
    expect(parse(common({ ...essentials, configurationItems: ['web01'] }, context([]))).targets).toEqual([
      computer('web01'),
    ]);
    expect(parse(common(essentials, context([]))).targets[0]?.hint).toContain('dimension Computer');
  });

  it('a metric of anything else: its items are not computers', () => {
    const share =
      '/subscriptions/0/resourcegroups/g/providers/microsoft.storage/storageaccounts/web01/fileservices/default';
    const { targets } = parse(
      common({ monitoringService: 'Platform', alertTargetIDs: [share], configurationItems: ['web02'] }),
    );
    expect(targets).toEqual([{ id: share, resourceType: 'microsoft.storage/storageaccounts/fileservices' }]);
  });

  it.each([
    [{ node: 'aks-vmss000001' }, computer('aks-vmss000001')],
    [{ Computer: 'web01' }, computer('web01')],
    [{ 'microsoft.resourceid': vm('a'), instance: '10.0.0.4:9100' }, machine(vm('a'))],
  ])('a Prometheus alert, by its labels: %j', (labels, target) => {
    const payload = withEssentials(sample('context-prometheus'), {});
    payload['data'].alertContext.labels = labels;
    expect(parse(payload).targets).toEqual([target]);
  });

  it('a Prometheus alert without: the cluster stays, with what to do', () => {
    expect(parse(sample('context-prometheus')).targets).toEqual([
      expect.objectContaining({
        resourceType: 'microsoft.containerservice/managedclusters',
        hint: expect.stringContaining('label'),
      }),
    ]);
  });

  it.each([
    ['the extension of a machine', `${vm('a')}/extensions/x`, vm('a')],
    ['a command on a machine', `${vm('a')}/runCommands/x`, vm('a')],
    ['an extension of an instance', `${set}/virtualMachines/0/extensions/x`, `${set}/virtualMachines/0`],
    ['an extension of a set', `${set}/extensions/x`, set],
    [
      'a disk',
      '/subscriptions/0/resourceGroups/g/providers/Microsoft.Compute/disks/d',
      '/subscriptions/0/resourceGroups/g/providers/Microsoft.Compute/disks/d',
    ],
  ])('an event on %s', (_, id, target) => {
    const essentials = { monitoringService: 'Activity Log - Administrative', alertTargetIDs: [id] };
    expect(parse(common(essentials)).targets.map((t) => t.id)).toEqual([target]);
    const scope = { alertContext: { eventDataId: '1', authorization: { scope: id } } };
    expect(
      parse(common({ ...essentials, alertTargetIDs: ['/subscriptions/0'] }, scope)).targets.map((t) => t.id),
    ).toEqual([target.endsWith('/d') ? '/subscriptions/0' : target]);
  });

  it('but a metric of such a thing is not one of its machine', () => {
    const id = `${vm('a')}/extensions/x`;
    expect(parse(common({ monitoringService: 'Platform', alertTargetIDs: [id] })).targets.map((t) => t.id)).toEqual([
      id,
    ]);
  });

  it('a security event names a machine only where a machine was attacked', () => {
    const payload = sample('written-activitylog-security');
    Object.assign(payload['data'].alertContext.properties, { attackedResourceType: 'Storage Account' });
    expect(parse(payload).targets.some((t) => t.computer)).toBe(false);
  });
});

describe('what is null, missing or of another type', () => {
  const essentials = { alertId: 'a', firedDateTime: '2026-01-02T03:04:05Z' };
  it.each([
    ['no alertContext', undefined],
    ['a null one', null],
    ['a text', 'x'],
    ['a list', [1, { dimensions: [] }]],
    [
      'odd members',
      {
        condition: 5,
        Dimensions: 'x',
        labels: [],
        properties: null,
        SearchResults: { tables: [{ columns: {}, rows: 1 }, null] },
      },
    ],
    [
      'odd conditions',
      { condition: { allOf: [null, 5, { dimensions: [null, { name: 1, value: {} }, { name: 'Computer' }] }] } },
    ],
  ])('in the context does not matter: %s', (_, alertContext) => {
    for (const monitoringService of [
      'Log Alerts V2',
      'Platform',
      'Activity Log - Policy',
      'Prometheus',
      'CostAlerts',
      null,
    ])
      expect(
        parse(common({ ...essentials, monitoringService, alertTargetIDs: [workspace] }, { alertContext })).targets.map(
          (t) => t.id,
        ),
      ).toEqual([workspace]);
  });

  it('in the list of targets is refused: what is captured hangs on them', () => {
    for (const alertTargetIDs of [[vm('a'), 7], [null], {}, 'x', 5])
      expect(() => parse(common({ alertTargetIDs }))).toThrow('alertTargetIDs');
    expect(parse(common({ alertTargetIDs: [vm('a'), ''] })).targets).toEqual([machine(vm('a'))]);
    expect(parse(common({ alertTargetIDs: null })).targets).toEqual([]);
  });

  it('means that it fired where a condition is missing, as budgets do; a word that is neither is refused', () => {
    for (const monitorCondition of [null, undefined, 'fired', 'FIRED', 'Activated'])
      expect(parse(common({ monitorCondition })).condition).toBe('fired');
    for (const monitorCondition of ['resolved', 'RESOLVED', 'Deactivated'])
      expect(parse(common({ monitorCondition })).condition).toBe('resolved');
    for (const monitorCondition of ['Closed', '', 5, {}])
      expect(() => parse(common({ monitorCondition }))).toThrow('monitorCondition');
  });
});
