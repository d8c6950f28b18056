import * as v from 'valibot';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { rulesSchema } from '../../scripts/schema.ts';
import { checkCapture } from '../../shared/provider/azure/limits.ts';
import { loadRules } from '../../shared/rule/load.ts';
import { RulesFile } from '../../shared/rule/schema.ts';
import { Timetable } from '../../shared/rule/cron.ts';
import { faults } from './json-schema.ts';
import { fenced, read, rows, section } from '../markdown.ts';

const schema = JSON.parse(read('rules.schema.json')) as Record<string, unknown>;

describe('rules.schema.json', () => {
  it('is what the code gives (npm run schema)', () => {
    expect(read('rules.schema.json')).toBe(rulesSchema());
  });

  it('says what it is', () => {
    expect(schema).toMatchObject({
      $schema: 'https://json-schema.org/draft/2020-12/schema',
      $id: expect.any(String),
      title: expect.any(String),
      description: expect.any(String),
    });
  });

  const machine = '/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/virtualMachines/m';
  const file = (rule: object, rest: object = {}): unknown => ({
    version: 1,
    rules: [{ name: 'a', when: { source: 'azure-monitor' }, target: 'alert', ...rule }],
    ...rest,
  });
  it.each<[string, unknown, boolean]>([
    ['no rules', { version: 1, rules: [] }, true],
    ['the least', file({}), true],
    ['a list of targets', file({ target: [machine] }), true],
    ['one severity', file({ when: { source: 'azure-monitor', severity: 'Sev0' } }), true],
    ['another source', file({ when: { source: 'cloudmonitor', severity: ['CRITICAL', 'INFO'] } }), true],
    ['limits', file({ limits: { duration: '5m', sizeBytes: 1, stopOnResolve: true, concurrent: 100 } }), true],
    ['a filter', file({ capture: { filters: [{ protocol: 'TCP', remotePort: '443' }] } }), true],
    ['another version', file({}, { version: 2 }), false],
    ['no version', { rules: [] }, false],
    ['an unknown key', file({}, { extra: 1 }), false],
    ['an unknown key in a rule', file({ extra: 1 }), false],
    ['an unknown key in limits', file({ limits: { durations: '5m' } }), false],
    ['a name with a space', file({ name: 'a b' }), false],
    ['no name', { version: 1, rules: [{ target: 'alert' }] }, false],
    ['an unknown source', file({ when: { source: 'mail' } }), false],
    ['an unknown severity', file({ when: { source: 'azure-monitor', severity: ['Sev5'] } }), false],
    ['an empty list', file({ target: [] }), false],
    ['a target that is none', file({ target: 'all' }), false],
    ['a duration without a unit', file({ limits: { duration: '5' } }), false],
    ['a number as a duration', file({ limits: { duration: 5 } }), false],
    ['a fraction of a second', file({ limits: { durationSeconds: 1.5 } }), false],
    ['no seconds', file({ limits: { durationSeconds: 0 } }), false],
    ['101 at once', file({ limits: { concurrent: 101 } }), false],
    ['a port as a number', file({ capture: { filters: [{ remotePort: 443 }] } }), false],
    ['a list in place of an object', [], false],
    ['nothing', null, false],
  ])('and the app are of one mind about %s', (_, value, good) => {
    expect(faults(schema, value).length === 0).toBe(good);
    expect(v.safeParse(RulesFile, value).success).toBe(good);
  });
});

const examples = fenced('docs/rules.md', 'yaml').map((text, i): [string, string] => [
  `example ${i + 1} of docs/rules.md`,
  text,
]);
describe.each([['rules.yaml', read('rules.yaml')] as [string, string], ...examples])('%s', (_, text) => {
  it('has no fault', async () => {
    expect((await loadRules(text, checkCapture)).problems).toEqual([]);
    expect(faults(schema, parse(text))).toEqual([]);
  });
});

describe('docs/rules.md', () => {
  it('has every key of the schema, and no other', () => {
    const names = (node: unknown, path: string): string[] => {
      const { properties = {}, items, anyOf } = node as Record<string, any>;
      const own = Object.entries(properties).flatMap(([name, inner]) => [
        ...(path === '' ? [name] : [`${path}.${name}`]),
        ...names(inner, path === '' ? name : `${path}.${name}`),
      ]);
      return [
        ...own,
        ...(items ? names(items, path === 'rules' ? '' : `${path}[]`) : []),
        ...(anyOf ?? []).flatMap((n: unknown) => names(n, path)),
      ];
    };
    // Objects that only hold others have no row of their own.
    const holders = new Set([
      'schedule',
      'limits',
      'capture.azure',
      'capture.alibaba',
      'capture.azure.scope',
      'capture.azure.storageLocation',
      'capture.azure.captureSettings',
    ]);
    const inCode = new Set(names(schema, '').filter((name) => !holders.has(name)));
    const keys = rows(section('docs/rules.md', 'Keys')).map(([key]) => key);
    const captureKeys = rows(section('docs/rules.md', 'What is captured')).map(([key]) => `capture.${key}`);
    const pairs = [
      ...section('docs/rules.md', 'What is captured').matchAll(/^\| `filters\[\]\.\w+`, `(\w+)` \|/gm),
    ].map((match) => `capture.filters[].${match[1]}`);
    const firstOfPairs = [
      ...section('docs/rules.md', 'What is captured').matchAll(/^\| `(filters\[\]\.\w+)`, `/gm),
    ].map((match) => `capture.${match[1]}`);
    expect(new Set([...keys, ...captureKeys, ...pairs, ...firstOfPairs])).toEqual(inCode);
  });

  it('shows schedules that come due', () => {
    const crons = rows(section('docs/rules.md', 'Schedules')).map(([cron = '']) => cron);
    expect(crons.length).toBeGreaterThan(2);
    expect(crons.map((cron) => new Timetable(cron, 'UTC').next(new Date(0)))).toEqual(
      crons.map(() => expect.any(Date)),
    );
  });
});
