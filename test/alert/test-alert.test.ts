import { describe, expect, it } from 'vitest';
import { common, names, parse, sample, withEssentials, type Payload } from './payloads.ts';

const subscriptions = [
  '11111111-1111-1111-1111-111111111111',
  'aaaa0a0a-bb1b-cc2c-dd3d-eeeeee4e4e4e',
  '9d6b2f0e-0b8b-4c39-8f0b-7a8b7a1d2c3e',
];
const inTestGroup = (type: string, name: string, subscription = subscriptions[0]) =>
  `/subscriptions/${subscription}/resourcegroups/test-RG/providers/${type}/${name}`;
const testVm = inTestGroup('microsoft.compute/virtualmachines', 'test-VM');
const constants = { customKey1: 'value1', customKey2: 'value2' };
const healthTitle = 'Test Action Group - Test Service Health Alert';

/** What the button sends beside the samples, as far as it matters here: written from the documented members. */
const button: Record<string, Payload> = {
  'log V1, metric measurement': common({
    alertRule: 'test-logAlertRule-v1-metricMeasurement',
    monitoringService: 'Log Analytics',
    alertTargetIDs: [inTestGroup('microsoft.operationalinsights/workspaces', 'test-logAnalyticsWorkspace')],
  }),
  'log V1, number of results': common({
    alertRule: 'test-logAlertRule-v1-numResults',
    monitoringService: 'Log Analytics',
    alertTargetIDs: [inTestGroup('microsoft.operationalinsights/workspaces', 'test-logAnalyticsWorkspace')],
    configurationItems: ['test-computer'],
  }),
  'service health': common(
    {
      alertRule: 'test-ServiceHealthAlertRule',
      monitoringService: 'ServiceHealth',
      alertTargetIDs: [`/subscriptions/${subscriptions[0]}`],
      description: 'Alert rule description',
    },
    { alertContext: { eventSource: 2, properties: { title: healthTitle, IsSynthetic: 'True' } } },
  ),
  'smart detection': common({
    alertRule: 'Dependency Latency Degradation - test-applicationInsights',
    monitoringService: 'SmartDetector',
    alertTargetIDs: [inTestGroup('microsoft.insights/components', 'test-applicationInsights')],
  }),
  'actual cost': common(
    {
      alertId: `/subscriptions/${subscriptions[0]}/providers/Microsoft.CostManagement/alerts/Test_Alert`,
      alertRule: null,
      monitorCondition: null,
      monitoringService: 'CostAlerts',
      alertTargetIDs: null,
    },
    { alertContext: { AlertCategory: 'budgets', AlertData: { BudgetName: 'Test_actual_cost_budget' } } },
  ),
  'older log V1': {
    AlertRuleName: 'test-logAlertRule-v1-numResults',
    SearchIntervalEndtimeUtc: '2021-11-16T15:15:24Z',
    ResourceId: inTestGroup('Microsoft.OperationalInsights/workspaces', 'test-logAnalyticsWorkspace'),
  },
  'older activity log': {
    schemaId: 'Microsoft.Insights/activityLogs',
    data: {
      status: 'Activated',
      context: { activityLog: { eventDataId: '1', eventTimestamp: '2021-11-16T08:27:36Z', resourceId: testVm } },
      properties: constants,
    },
  },
  'older service health': {
    schemaId: 'Microsoft.Insights/activityLogs',
    data: {
      status: 'Activated',
      context: {
        activityLog: {
          eventDataId: '1',
          eventTimestamp: '2021-11-16T08:27:36Z',
          eventSource: 'ServiceHealth',
          properties: { title: healthTitle },
        },
      },
      properties: constants,
    },
  },
  'older budget': {
    schemaId: 'AIP Budget Notification',
    data: {
      BudgetName: 'test-budgetName',
      SubscriptionName: 'test-subscription',
      BudgetStartDate: '2023-01-20T23:49:40.216Z',
    },
  },
};

const ofButton = [
  ...names
    .filter((name) => name.startsWith('test-') || name.startsWith('legacy-'))
    .map((name): [string, Payload] => [name, sample(name)]),
  ...Object.entries(button),
];

describe('the test of an action group', () => {
  it.each(ofButton)('is recognised: %s', (_, payload) => {
    expect(parse(payload).test).toBe(true);
  });

  it.each(ofButton)('is recognised whatever the ids in it: %s', (_, payload) => {
    for (const subscription of subscriptions) {
      const text = JSON.stringify(payload)
        .replaceAll(/(?<=subscriptions\/)[0-9a-f-]{36}/g, subscription)
        .replaceAll(/alerts\/eeeeeeee-4444-5555-6666-ffffffffffff/g, 'alerts/12345678-1234-1234-1234-1234567890ab');
      expect(parse(JSON.parse(text) as Payload).test).toBe(true);
    }
  });

  it('has its samples among those looked at', () => {
    expect(ofButton.length).toBe(Object.keys(button).length + 5);
  });
});

describe('what is no test', () => {
  const activity = sample('test-activitylog-administrative-FIRED');
  const metric = sample('test-metric-static-FIRED');
  const health = button['service health'] ?? {};
  const vm =
    '/subscriptions/9d6b2f0e-0b8b-4c39-8f0b-7a8b7a1d2c3e/resourcegroups/shop/providers/microsoft.compute/virtualmachines/web01';

  it.each<[string, Payload]>([
    ...names
      .filter((name) => !name.startsWith('test-') && !name.startsWith('legacy-'))
      .map((name): [string, Payload] => [name, sample(name)]),
    ['a machine called test-VM', common({ alertRule: 'cpu', alertTargetIDs: [testVm.replace('test-RG', 'shop')] })],
    [
      'a machine called test-VM in the group test-RG',
      common({ alertRule: 'cpu', alertTargetIDs: [testVm], description: 'Alert rule description' }),
    ],
    ['the same, with another name of the rule', withEssentials(activity, { alertRule: 'restarts' })],
    ['the same, in the ids of the button', withEssentials(metric, { alertRule: 'cpu', alertTargetIDs: [testVm] })],
    ['a rule whose name begins like theirs', withEssentials(metric, { alertRule: 'test-metricAlertRule2' })],
    ['a rule whose name is theirs in small letters', withEssentials(metric, { alertRule: 'test-metricalertrule' })],
    [
      'a rule called test-cpu on a machine in the group test-RG',
      common({ alertRule: 'test-cpu', alertTargetIDs: [testVm.replace('test-VM', 'web01')] }),
    ],
    ['a rule with their name on another machine', withEssentials(metric, { alertTargetIDs: [vm] })],
    ['a rule with their name on another machine as well', withEssentials(activity, { alertTargetIDs: [testVm, vm] })],
    [
      'a rule with their name in another group',
      withEssentials(activity, { alertTargetIDs: [testVm.replace('test-RG', 'test-RG2')] }),
    ],
    [
      'a rule with their name on another machine of that group',
      withEssentials(activity, { alertTargetIDs: [testVm.replace('test-VM', 'test-VM2')] }),
    ],
    [
      'a rule with their name on a whole subscription',
      common({
        alertRule: 'test-ServiceHealthAlertRule',
        alertTargetIDs: ['/subscriptions/0'],
        description: 'trouble',
      }),
    ],
    ['service health by another rule', withEssentials(health, { alertRule: 'trouble' })],
    [
      'custom properties like theirs',
      {
        ...common({ alertRule: 'cpu', alertTargetIDs: [vm] }),
        data: { ...common({ alertRule: 'cpu', alertTargetIDs: [vm] })['data'], customProperties: constants },
      },
    ],
    [
      'a budget called like theirs',
      common({ alertRule: null }, { alertContext: { AlertData: { BudgetName: 'Test_actual_cost_budget' } } }),
    ],
    [
      'a cost alert with their id',
      common(
        { alertId: '/subscriptions/0/providers/Microsoft.CostManagement/alerts/Test_Alert', alertRule: null },
        { alertContext: { AlertData: { BudgetName: 'monthly' } } },
      ),
    ],
    [
      'an older activity log alert on such a machine',
      { ...button['older activity log'], data: { ...button['older activity log']?.['data'], properties: {} } },
    ],
    [
      'an older activity log alert with such properties',
      {
        schemaId: 'Microsoft.Insights/activityLogs',
        data: {
          context: { activityLog: { eventDataId: '1', eventTimestamp: '2021-11-16T08:27:36Z', resourceId: vm } },
          properties: constants,
        },
      },
    ],
    [
      'an older log alert on another workspace',
      { ...button['older log V1'], ResourceId: inTestGroup('Microsoft.OperationalInsights/workspaces', 'central') },
    ],
    [
      'an older budget of another subscription',
      {
        schemaId: 'AIP Budget Notification',
        data: {
          BudgetName: 'test-budgetName',
          SubscriptionName: 'production',
          BudgetStartDate: '2023-01-20T23:49:40Z',
        },
      },
    ],
  ])('%s', (_, payload) => {
    expect(parse(payload)).not.toHaveProperty('test');
  });
});
