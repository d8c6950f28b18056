import { describe, expect, it } from 'vitest';
import type { Alert, AlertTarget } from '../../shared/alert/alert.ts';
import type { TargetAnswer } from '../../shared/provider/provider.ts';
import { computersWanted, planAlert, planSchedule, testIgnored } from '../../shared/rule/plan.ts';
import type { Rule } from '../../shared/rule/rule.ts';

const vmType = 'microsoft.compute/virtualmachines';
const storageType = 'microsoft.storage/storageaccounts';

describe('which rules an alert meets', () => {
  const runs = (when: Partial<Rule['when']>, alert: Partial<Alert>) =>
    planAlert(alertOf(alert), [ruleOf({ when: whenOf(when) })], resolve).runs.length;

  it.each([
    [[], 'anything', 1],
    [[], '', 1],
    [['Network Out*'], 'network out total', 1],
    [['Network Out*'], 'CPU', 0],
    [['CPU', 'Network*'], 'Network In', 1],
    [['CPU'], 'CPU high', 0],
    [['*'], '', 1],
    [['?*'], '', 0],
  ])('by name: %j and "%s"', (alert, rule, count) => {
    expect(runs({ alert }, { rule })).toBe(count);
  });

  it.each([
    [[], 'Sev4', 1],
    [['Sev0', 'Sev1'], 'Sev1', 1],
    [['Sev0', 'Sev1'], 'sev1', 1],
    [['Sev0', 'Sev1'], 'Sev2', 0],
    [['Sev0'], undefined, 0],
    [[], undefined, 1],
  ])('by severity: %j and %s', (severity, given, count) => {
    const { severity: _, ...rest } = alertOf({});
    const alert: Alert = given === undefined ? rest : { ...rest, severity: given };
    expect(planAlert(alert, [ruleOf({ when: whenOf({ severity }) })], resolve).runs).toHaveLength(count);
  });

  it.each([
    [['virtualMachines'], vmType, 1],
    [['Microsoft.Compute/virtualMachines'], vmType, 1],
    [['microsoft.compute/*'], vmType, 1],
    [['virtual*'], vmType, 1],
    [['virtualMachines'], storageType, 0],
    [['storageAccounts', 'virtualMachines'], vmType, 1],
    [['virtualMachines'], '', 0],
    [[], '', 1],
    [['virtualMachines'], 'microsoft.compute/virtualmachinescalesets/virtualmachines', 0],
    [['ecs'], 'acs:ecs:instance', 1],
    [['Instance'], 'acs:ecs:instance', 1],
    [['ecs:instance'], 'acs:ecs:instance', 1],
    [['acs:ecs:instance'], 'acs:ecs:instance', 1],
    [['ecs:*'], 'acs:ecs:eni', 1],
    [['acs'], 'acs:ecs:instance', 0],
    [['instance'], 'acs:ecs:eni', 0],
    [['slb'], 'acs:slb', 1],
    [['ecs'], 'acs:slb', 0],
  ])('by type: %j and "%s"', (resourceType, given, count) => {
    expect(runs({ resourceType }, { targets: [{ id: '/vm/a', resourceType: given }] })).toBe(count);
  });

  it('by source', () => {
    expect(runs({ source: 'cloudmonitor' }, {})).toBe(0);
  });

  it('a rule with a schedule never', () => {
    const { when: _, ...rule } = ruleOf({});
    const scheduled = { ...rule, schedule: { cron: '0 0 0 * * *', timezone: 'UTC' } };
    expect(planAlert(alertOf({}), [scheduled], resolve).runs).toEqual([]);
  });
});

describe('which targets', () => {
  it('all that the alert names, in canonical form', () => {
    const rule = ruleOf({});
    const plan = planAlert(alertOf({ targets: vms('/VM/A', '/vm/b') }), [rule], resolve);
    expect(plan).toEqual({
      runs: [
        { rule, target: '/vm/a' },
        { rule, target: '/vm/b' },
      ],
      ignored: [],
    });
  });

  it('each once per rule, and once for each rule', () => {
    const rules = [ruleOf({ name: 'one' }), ruleOf({ name: 'two' })];
    const plan = planAlert(alertOf({ targets: vms('/vm/a', '/VM/A') }), rules, resolve);
    expect(plan.runs.map(({ rule, target }) => [rule.name, target])).toEqual([
      ['one', '/vm/a'],
      ['two', '/vm/a'],
    ]);
  });

  it('only those of the type that the rule is for; the others have no rule', () => {
    const rule = ruleOf({ when: whenOf({ resourceType: ['virtualMachines'] }) });
    const targets = [...vms('/vm/a'), { id: '/vm/disk', resourceType: 'microsoft.compute/disks' }];
    const plan = planAlert(alertOf({ targets }), [rule], resolve);
    expect(plan.runs.map((run) => run.target)).toEqual(['/vm/a']);
    expect(plan.ignored).toEqual([{ target: '/vm/disk', reason: 'no-rule', detail: expect.stringContaining('CPU') }]);
  });

  it('those of a list instead of those of the alert', () => {
    const rule = ruleOf({ target: ['/vm/x', '/VM/X', '/vm/y'] });
    const plan = planAlert(alertOf({ targets: vms('/vm/a', '/other/b') }), [rule], resolve);
    expect(plan.runs.map((run) => run.target)).toEqual(['/vm/x', '/vm/y']);
    expect(plan.ignored).toEqual([]);
  });

  it('those of a list even when the alert names none', () => {
    const plan = planAlert(alertOf({ targets: [] }), [ruleOf({ target: ['/vm/x'] })], resolve);
    expect(plan.runs.map((run) => run.target)).toEqual(['/vm/x']);
  });

  it('tells what no rule took, also beside a rule with a list', () => {
    const rules = [
      ruleOf({ name: 'vms', when: whenOf({ resourceType: ['virtualMachines'] }) }),
      ruleOf({ name: 'list', target: ['/vm/x'] }),
    ];
    const targets = [...vms('/vm/a'), { id: '/other/b', resourceType: storageType }];
    const plan = planAlert(alertOf({ targets }), rules, resolve);
    expect(plan.ignored.map((one) => one.target)).toContain('/other/b');
  });
});

describe('what is ignored, and why', () => {
  it.each([
    ['/other/b', 'unsupported-target'],
    ['/foreign/b', 'subscription-not-configured'],
  ])('%s: %s', (id, reason) => {
    const plan = planAlert(alertOf({ targets: vms('/vm/a', id) }), [ruleOf({})], resolve);
    expect(plan.runs.map((run) => run.target)).toEqual(['/vm/a']);
    expect(plan.ignored).toEqual([{ rule: 'any', target: id, reason, detail: `no: ${id}` }]);
  });

  it('no rule: each target, in canonical form, with the alert by name', () => {
    const plan = planAlert(alertOf({ targets: vms('/VM/A', '/vm/b') }), [], resolve);
    expect(plan.runs).toEqual([]);
    expect(plan.ignored).toEqual(
      ['/vm/a', '/vm/b'].map((target) => ({
        target,
        reason: 'no-rule',
        detail: 'No rule matches alert "CPU" of severity Sev1',
      })),
    );
  });

  it('what cannot be captured says so, even when no rule matches', () => {
    const plan = planAlert(alertOf({ targets: vms('/other/b') }), [], resolve);
    expect(plan.ignored).toEqual([{ target: '/other/b', reason: 'unsupported-target', detail: 'no: /other/b' }]);
  });

  it('no target at all: unknown where a rule matches, no rule where none does', () => {
    const alert = alertOf({ targets: [] });
    expect(planAlert(alert, [ruleOf({})], resolve).ignored).toEqual([
      { reason: 'unknown-target', detail: 'The alert names no machine: give the rule a list of targets' },
    ]);
    expect(planAlert(alert, [], resolve).ignored).toEqual([{ reason: 'no-rule', detail: expect.any(String) }]);
    const typed = ruleOf({ when: whenOf({ resourceType: ['virtualMachines'] }) });
    expect(planAlert(alert, [typed], resolve).ignored.map((one) => one.reason)).toEqual(['no-rule']);
  });

  it('more than 25 targets of one rule', () => {
    const ids = Array.from({ length: 27 }, (_, i) => `/vm/${i}`);
    const plan = planAlert(alertOf({ targets: vms(...ids) }), [ruleOf({ name: 'wide' })], resolve);
    expect(plan.runs.map((run) => run.target)).toEqual(ids.slice(0, 25));
    expect(plan.ignored.map((one) => [one.rule, one.target, one.reason])).toEqual([
      ['wide', '/vm/25', 'max-targets'],
      ['wide', '/vm/26', 'max-targets'],
    ]);
  });

  it('counts towards the 25 neither what is refused nor what is named twice', () => {
    const ids = Array.from({ length: 25 }, (_, i) => `/vm/x${i}`);
    const noise = ['/other/1', '/VM/X0', ...ids, '/vm/X24'];
    const plan = planAlert(alertOf({ targets: vms(...noise) }), [ruleOf({})], resolve);
    expect(plan.runs).toHaveLength(25);
    expect(plan.ignored.map((one) => one.reason)).toEqual(['unsupported-target']);
  });
});

describe('computer names', () => {
  const named = (id: string, answer?: AlertTarget['answer']): AlertTarget => ({
    id,
    resourceType: answer?.kind === 'target' ? vmType : '',
    computer: true,
    ...(answer === undefined ? {} : { answer }),
  });
  const found = named('web01', { kind: 'target', id: '/vm/a' });
  const wanted = (rules: Rule[], targets = [named('web01'), named('web02')]) =>
    computersWanted(alertOf({ targets }), rules).map((target) => target.id);

  it.each([
    ['any', {}, ['web01', 'web02']],
    ['virtual machines', { resourceType: ['virtualMachines'] }, ['web01', 'web02']],
    ['instances', { resourceType: ['virtualMachineScaleSets/virtualMachines'] }, ['web01', 'web02']],
    ['workspaces', { resourceType: ['workspaces'] }, []],
    ['another alert', { alert: ['other'] }, []],
  ])('are wanted by a rule for %s as far as they may be that', (_, when, ids) => {
    expect(wanted([ruleOf({ when: whenOf(when) })])).toEqual(ids);
  });

  it('are not wanted by a rule with a list, for a test, when they have an answer, nor are ids', () => {
    expect(wanted([ruleOf({ target: ['/vm/x'] })])).toEqual([]);
    expect(wanted([ruleOf({})], [found, ...vms('/vm/b')])).toEqual([]);
    expect(computersWanted(alertOf({ targets: [named('web01')], test: true }), [ruleOf({})])).toEqual([]);
  });

  it('that were found are their machines, each once', () => {
    const plan = planAlert(
      alertOf({ targets: [found, { ...found, id: 'WEB01.local' }, ...vms('/vm/A')] }),
      [ruleOf({})],
      resolve,
    );
    expect(plan.runs.map((run) => run.target)).toEqual(['/vm/a']);
    expect(plan.ignored).toEqual([]);
  });

  it('that were refused say why, with the rule that wanted them', () => {
    const rule = ruleOf({ when: whenOf({ resourceType: ['virtualMachines'] }) });
    const targets = [
      named('web01', { kind: 'refused', reason: 'ambiguous-target', detail: 'two' }),
      named('web02', { kind: 'refused', reason: 'max-targets', detail: 'many' }),
      named('web03'),
    ];
    expect(planAlert(alertOf({ targets }), [rule], resolve)).toEqual({
      runs: [],
      ignored: [
        { rule: 'any', target: 'web01', reason: 'ambiguous-target', detail: 'two' },
        { rule: 'any', target: 'web02', reason: 'max-targets', detail: 'many' },
        { rule: 'any', target: 'web03', reason: 'unknown-target', detail: expect.stringContaining('not looked up') },
      ],
    });
  });

  it('that nobody wants have no rule', () => {
    expect(planAlert(alertOf({ targets: [named('web01')] }), [], resolve).ignored).toMatchObject([
      { target: 'web01', reason: 'no-rule' },
    ]);
  });

  it('that turned out to be of another type have no rule either', () => {
    const instance = {
      ...named('web01', { kind: 'target', id: '/vm/i' }),
      resourceType: 'microsoft.compute/virtualmachinescalesets/virtualmachines',
    };
    const rule = ruleOf({ when: whenOf({ resourceType: ['virtualMachines'] }) });
    expect(planAlert(alertOf({ targets: [instance] }), [rule], resolve)).toMatchObject({
      runs: [],
      ignored: [{ target: '/vm/i', reason: 'no-rule' }],
    });
  });
});

it('a hint is told where its target is refused, with a rule or without', () => {
  const targets = [
    { id: '/other/workspace', resourceType: 'x/y', hint: 'Split it' },
    { ...vms('/vm/a')[0]!, hint: 'Not needed' },
  ];
  for (const rules of [[ruleOf({})], []]) {
    const { ignored } = planAlert(alertOf({ targets }), rules, resolve);
    expect(ignored.find((one) => one.target === '/other/workspace')).toMatchObject({
      reason: 'unsupported-target',
      detail: 'no: /other/workspace. Split it',
    });
    expect(ignored.find((one) => one.target === '/vm/a')?.detail ?? '').not.toContain('Not needed');
  }
});

it('a test starts nothing, whatever the rules and its targets', () => {
  for (const rules of [[ruleOf({})], [ruleOf({ target: ['/vm/x'] })], []])
    expect(planAlert(alertOf({ test: true }), rules, resolve)).toEqual({ runs: [], ignored: [testIgnored] });
});

describe('planSchedule', () => {
  it('takes the list of the rule, each target once, with the same reasons', () => {
    const rule = ruleOf({ name: 'nightly', target: ['/vm/a', '/VM/A', '/other/b', '/foreign/c'] });
    const plan = planSchedule(rule, resolve);
    expect(plan.runs).toEqual([{ rule, target: '/vm/a' }]);
    expect(plan.ignored.map((one) => [one.rule, one.reason])).toEqual([
      ['nightly', 'unsupported-target'],
      ['nightly', 'subscription-not-configured'],
    ]);
  });

  it('has its own limit of 25', () => {
    const target = Array.from({ length: 30 }, (_, i) => `/vm/${i}`);
    expect(planSchedule(ruleOf({ target }), resolve).runs).toHaveLength(25);
  });
});

describe('planAlert is pure', () => {
  it('gives the same answer again, and leaves frozen arguments as they are', () => {
    const alert = freeze(alertOf({ targets: vms('/vm/a', '/other/b') }));
    const rules = freeze([ruleOf({}), ruleOf({ name: 'list', target: ['/vm/x'] })]);
    expect(planAlert(alert, rules, resolve)).toEqual(planAlert(alert, rules, resolve));
  });
});

/** Machines are /vm/<name>; everything else is refused. */
function resolve(id: string): TargetAnswer {
  if (/^\/vm\//i.test(id)) return { kind: 'target', id: id.toLowerCase() };
  const reason = id.startsWith('/foreign/') ? 'subscription-not-configured' : 'unsupported-target';
  return { kind: 'refused', reason, detail: `no: ${id}` };
}

function vms(...ids: string[]): Alert['targets'] {
  return ids.map((id) => ({ id, resourceType: vmType }));
}

function alertOf(part: Partial<Alert>): Alert {
  return {
    source: 'azure-monitor',
    kind: 'metric',
    externalId: 'x',
    rule: 'CPU',
    condition: 'fired',
    severity: 'Sev1',
    firedAt: new Date('2026-01-01T00:00:00Z'),
    targets: vms('/vm/a'),
    ...part,
  };
}

function whenOf(part: Partial<Rule['when']>): NonNullable<Rule['when']> {
  return { source: 'azure-monitor', alert: [], severity: [], resourceType: [], ...part };
}

function ruleOf(part: Partial<Rule>): Rule {
  return {
    name: 'any',
    when: whenOf({}),
    target: 'alert',
    capture: {},
    limits: {
      durationSeconds: 300,
      sizeBytes: 1000,
      stopOnResolve: false,
      cooldownSeconds: 0,
      concurrent: undefined,
    },
    ...part,
  };
}

function freeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null) Object.values(value).forEach(freeze);
  return Object.freeze(value);
}
