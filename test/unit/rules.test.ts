import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { checkCapture } from '../../shared/provider/azure/limits.ts';
import { loadRules } from '../../shared/rule/load.ts';
import type { RuleProblem } from '../../shared/rule/rule.ts';

const vm =
  '/subscriptions/11111111-2222-3333-4444-555555555555/resourceGroups/shop/providers/Microsoft.Compute/virtualMachines/vm1';

// "Rules file" of the design, with a real id for its target.
const example = `
version: 1
rules:
  - name: high-egress
    when: { source: azure-monitor, alert: "Network Out*", severity: [Sev0, Sev1], resourceType: virtualMachines }
    target: alert                       # the resources the alert names; or a list of ids
    capture: { filters: [{ protocol: TCP, remotePort: "443" }], bytesToCapturePerPacket: 256 }
    limits: { duration: 5m, size: 100MiB, stopOnResolve: true, cooldown: 15m, concurrent: 2 }
  - name: nightly-baseline
    schedule: { cron: "0 0 2 * * *", timezone: Europe/Berlin }
    target: ["${vm}"]
    limits: { duration: 60s }
`;

describe('files that are right', () => {
  it('loads the rules.yaml of the repository', async () => {
    const set = await load(readFileSync(new URL('../../rules.yaml', import.meta.url), 'utf8'));
    expect(set.problems).toEqual([]);
    expect(set.rules.length).toBeGreaterThan(0);
    expect(set.version).toMatch(/^[0-9a-f]{12}$/);
  });

  it("loads the design's example", async () => {
    const set = await load(example);
    expect(set.problems).toEqual([]);
    expect(set.rules).toEqual([
      {
        name: 'high-egress',
        when: {
          source: 'azure-monitor',
          alert: ['Network Out*'],
          severity: ['Sev0', 'Sev1'],
          resourceType: ['virtualMachines'],
        },
        target: 'alert',
        capture: { filters: [{ protocol: 'TCP', remotePort: '443' }], bytesToCapturePerPacket: 256 },
        limits: {
          durationSeconds: 300,
          sizeBytes: 104_857_600,
          stopOnResolve: true,
          cooldownSeconds: 900,
          concurrent: 2,
        },
      },
      {
        name: 'nightly-baseline',
        schedule: { cron: '0 0 2 * * *', timezone: 'Europe/Berlin' },
        target: [vm],
        capture: {},
        limits: {
          durationSeconds: 60,
          sizeBytes: 104_857_600,
          stopOnResolve: false,
          cooldownSeconds: 0,
          concurrent: undefined,
        },
      },
    ]);
  });

  it('has the defaults of the design: 300 s, 100 MiB, UTC', async () => {
    const set = await load(
      `version: 1\nrules:\n  - {name: a, schedule: {cron: "0 0 0 * * *"}, target: ["${vm}"]}\n  - {name: b, when: {source: azure-monitor}, target: alert, limits: {}}\n`,
    );
    expect(set.rules.map((rule) => [rule.limits.durationSeconds, rule.limits.sizeBytes])).toEqual([
      [300, 104_857_600],
      [300, 104_857_600],
    ]);
    expect(set.rules[0]?.schedule?.timezone).toBe('UTC');
  });

  it('takes limits in numbers, too', async () => {
    const set = await load(ruleWith('    limits: { durationSeconds: 90, sizeBytes: 1000 }\n'));
    expect(set.rules[0]?.limits).toMatchObject({ durationSeconds: 90, sizeBytes: 1000 });
  });

  it('takes one or more alerts, severities and types', async () => {
    const set = await load(
      'version: 1\nrules:\n  - name: a\n    when: { source: azure-monitor, alert: [A*, B?], severity: Sev4, resourceType: [x] }\n    target: alert\n',
    );
    expect(set.rules[0]?.when).toMatchObject({ alert: ['A*', 'B?'], severity: ['Sev4'], resourceType: ['x'] });
  });

  it('takes the severities of each source', async () => {
    const set = await load(
      'version: 1\nrules:\n  - name: a\n    when: { source: cloudmonitor, severity: [CRITICAL, WARN, INFO], resourceType: ecs }\n    target: alert\n',
    );
    expect(set.problems).toEqual([]);
    expect(set.rules[0]?.when).toEqual({
      source: 'cloudmonitor',
      alert: [],
      severity: ['CRITICAL', 'WARN', 'INFO'],
      resourceType: ['ecs'],
    });
  });

  it('takes no rules at all', async () => {
    expect(await load('version: 1\nrules: []\n')).toMatchObject({ rules: [], problems: [] });
  });

  it('has a version that follows from the text', async () => {
    const [one, same, other] = await Promise.all([load(example), load(example), load(`${example}\n# changed`)]);
    expect(one.version).toBe(same.version);
    expect(one.version).not.toBe(other.version);
  });

  it('follows a few aliases, and takes yes for a word', async () => {
    const set = await load(
      `version: 1\nrules:\n  - {name: yes, when: {source: azure-monitor}, target: alert, limits: &l {duration: 5s}}\n  - {name: other, when: {source: azure-monitor}, target: alert, limits: *l}\n`,
    );
    expect(set.problems).toEqual([]);
    expect(set.rules.map((rule) => [rule.name, rule.limits.durationSeconds])).toEqual([
      ['yes', 5],
      ['other', 5],
    ]);
  });
});

// Line 1 is version, line 2 rules, lines 3 to 5 name, when and target of the first rule.
describe('each fault has its place', () => {
  const cases: [
    what: string,
    text: string,
    problems: [line: number, column: number, path: string, message: RegExp][],
  ][] = [
    ['no version', 'rules: []\n', [[1, 1, 'version', /Expected "version"/]]],
    ['another version', 'version: 2\nrules: []\n', [[1, 1, 'version', /must be 1/]]],
    ['the version as text', 'version: "1"\nrules: []\n', [[1, 1, 'version', /must be 1/]]],
    ['no rules', 'version: 1\n', [[1, 1, 'rules', /Expected "rules"/]]],
    ['rules that are no list', 'version: 1\nrules: {}\n', [[2, 1, 'rules', /Expected Array/]]],
    ['a rule that is a word', 'version: 1\nrules:\n  - word\n', [[3, 5, 'rules[0]', /Expected Object/]]],
    [
      'an empty rule',
      'version: 1\nrules:\n  - {}\n',
      [
        [3, 5, 'rules[0].name', /Expected "name"/],
        [3, 5, 'rules[0].target', /Expected "target"/],
      ],
    ],
    [
      'unknown keys, each by name',
      ruleWith('    limits:\n      duration: 5s\n      colour: red\n      shape: round\n    extra: 1\n') + 'top: 1\n',
      [
        [8, 7, 'rules[0].limits.colour', /not a known key/],
        [9, 7, 'rules[0].limits.shape', /not a known key/],
        [10, 5, 'rules[0].extra', /not a known key/],
        [11, 1, 'top', /not a known key/],
      ],
    ],
    ['a bad name', ruleWith('', 'Big Name'), [[3, 5, 'rules[0].name', /lower-case letters/]]],
    ['a name that is too long', ruleWith('', 'x'.repeat(64)), [[3, 5, 'rules[0].name', /1 to 63/]]],
    [
      'another source',
      'version: 1\nrules:\n  - name: a\n    when: { source: email }\n    target: alert\n',
      [[4, 13, 'rules[0].when.source', /Expected \("azure-monitor" \| "cloudmonitor"\)/]],
    ],
    [
      'one wrong severity in a list',
      'version: 1\nrules:\n  - name: a\n    when: { source: azure-monitor, severity: [Sev0, Sev9] }\n    target: alert\n',
      [[4, 53, 'rules[0].when.severity[1]', /Sev4/]],
    ],
    [
      'a wrong severity alone',
      'version: 1\nrules:\n  - name: a\n    when: { source: azure-monitor, severity: sev0 }\n    target: alert\n',
      [[4, 36, 'rules[0].when.severity', /Sev4/]],
    ],
    [
      'severities of another source',
      'version: 1\nrules:\n  - name: a\n    when: { source: cloudmonitor, severity: [CRITICAL, Sev1, Sev2] }\n    target: alert\n  - name: b\n    when: { source: azure-monitor, severity: WARN }\n    target: alert\n',
      [
        [4, 56, 'rules[0].when.severity[1]', /no severity of cloudmonitor: it has CRITICAL, WARN, INFO/],
        [4, 62, 'rules[0].when.severity[2]', /no severity of cloudmonitor/],
        [7, 36, 'rules[1].when.severity', /no severity of azure-monitor: it has Sev0, Sev1, Sev2, Sev3, Sev4/],
      ],
    ],
    [
      'empty patterns',
      'version: 1\nrules:\n  - name: a\n    when: { source: azure-monitor, alert: [], resourceType: "" }\n    target: alert\n',
      [
        [4, 36, 'rules[0].when.alert', /must not be empty/],
        [4, 47, 'rules[0].when.resourceType', /must not be empty/],
      ],
    ],
    [
      'another word for the target',
      'version: 1\nrules:\n  - name: a\n    when: { source: azure-monitor }\n    target: all\n',
      [[5, 5, 'rules[0].target', /must be "alert" or a list/]],
    ],
    [
      'wrong ids in a list',
      'version: 1\nrules:\n  - name: a\n    when: { source: azure-monitor }\n    target:\n      - 5\n      - ""\n',
      [
        [6, 9, 'rules[0].target[0]', /Expected string/],
        [7, 9, 'rules[0].target[1]', /must not be empty/],
      ],
    ],
    [
      'neither when nor schedule',
      `version: 1\nrules:\n  - name: a\n    target: ["${vm}"]\n`,
      [[3, 5, 'rules[0]', /either when or schedule/]],
    ],
    [
      'both when and schedule',
      ruleWith('    schedule: { cron: "0 0 0 * * *" }\n').replace('target: alert', `target: ["${vm}"]`),
      [[3, 5, 'rules[0]', /either when or schedule/]],
    ],
    [
      'a schedule without targets, that would stop when resolved',
      'version: 1\nrules:\n  - name: a\n    schedule: { cron: "0 0 0 * * *" }\n    target: alert\n    limits: { stopOnResolve: true }\n',
      [
        [5, 5, 'rules[0].target', /no alert/],
        [6, 15, 'rules[0].limits.stopOnResolve', /never resolves/],
      ],
    ],
    ['a cron of five fields', scheduled('cron: "0 2 * * *"'), [[4, 5, 'rules[0].schedule', /six fields.*has 5/]]],
    ['a cron that is not one', scheduled('cron: "0 0 0 L * *"'), [[4, 5, 'rules[0].schedule', /NCRONTAB/]]],
    ['a day that never comes', scheduled('cron: "0 0 0 31 2 *"'), [[4, 5, 'rules[0].schedule', /never comes due/]]],
    [
      'a zone that is not one',
      scheduled('cron: "0 0 0 * * *", timezone: Mars/Olympus'),
      [[4, 5, 'rules[0].schedule', /"Mars\/Olympus" is not a time zone/]],
    ],
    ['no cron', scheduled('timezone: UTC'), [[4, 5, 'rules[0].schedule.cron', /Expected "cron"/]]],
    [
      'words for numbers and numbers for words',
      ruleWith(
        '    limits: { duration: 5 min, size: 10, cooldown: 1w, concurrent: 0, sizeBytes: 1.5, durationSeconds: -1 }\n',
      ),
      [
        [6, 15, 'rules[0].limits.duration', /such as 90s or 5m/],
        [6, 32, 'rules[0].limits.size', /Expected string/],
        [6, 42, 'rules[0].limits.cooldown', /such as 90s or 5m/],
        [6, 56, 'rules[0].limits.concurrent', /at least 1/],
        [6, 71, 'rules[0].limits.sizeBytes', /whole number/],
        [6, 87, 'rules[0].limits.durationSeconds', /at least 1/],
      ],
    ],
    [
      'one limit said twice',
      ruleWith('    limits: { duration: 5m, durationSeconds: 5, size: 1B, sizeBytes: 1 }\n'),
      [
        [6, 29, 'rules[0].limits.durationSeconds', /not both/],
        [6, 59, 'rules[0].limits.sizeBytes', /not both/],
      ],
    ],
    [
      "more than the service's limits",
      ruleWith(
        '    limits: { duration: 6h, size: 5GiB }\n    capture: { bytesToCapturePerPacket: 5000000000, filters: [{ remotePort: "99999" }, { localIPAddress: 10.0.0.0/8 }], azure: { storageLocation: { filePath: /tmp/x.cap } } }\n',
      ),
      [
        [6, 5, 'rules[0].limits', /18000 s/],
        [6, 5, 'rules[0].limits', /4294967295 bytes/],
        [7, 5, 'rules[0].capture', /bytesToCapturePerPacket/],
        [7, 5, 'rules[0].capture', /filters\[0\]\.remotePort/],
        [7, 5, 'rules[0].capture', /filters\[1\]\.localIPAddress/],
        [7, 5, 'rules[0].capture', /\/var\/captures\//],
      ],
    ],
    ['a limit of nothing', ruleWith('    limits: { duration: 0s }\n'), [[6, 5, 'rules[0].limits', /from 1 second/]]],
    [
      'faults of a filter',
      ruleWith(
        '    capture:\n      filters:\n        - protocol: ICMP\n          remotePort: 443\n          port: "1"\n',
      ),
      [
        [8, 11, 'rules[0].capture.filters[0].protocol', /"TCP"/],
        [9, 11, 'rules[0].capture.filters[0].remotePort', /Expected string/],
        [10, 11, 'rules[0].capture.filters[0].port', /not a known key/],
      ],
    ],
    [
      'members that Azure does not have',
      ruleWith('    capture: { azure: { scope: { all: true }, target: x } }\n'),
      [
        [6, 34, 'rules[0].capture.azure.scope.all', /not a known key/],
        [6, 47, 'rules[0].capture.azure.target', /not a known key/],
      ],
    ],
    [
      'a name used twice',
      'version: 1\nrules:\n  - {name: a, when: {source: azure-monitor}, target: alert}\n  - {name: b, when: {source: azure-monitor}, target: alert}\n  - {name: a, when: {source: azure-monitor}, target: alert}\n',
      [[5, 6, 'rules[2].name', /rules\[0\]/]],
    ],
    ['a YAML fault', 'version: 1\nrules: [\n', [[3, 1, '', /./]]],
    ['a tab', 'version: 1\nrules:\n\t- a\n', [[3, 1, '', /[Tt]ab/]]],
    ['a key twice', 'version: 1\nrules: []\nversion: 1\n', [[3, 1, '', /unique/]]],
    ['a key twice deep down', ruleWith('    when: {}\n'), [[6, 5, '', /unique/]]],
    ['two documents', 'version: 1\n---\nrules: []\n', [[2, 1, '', /multiple documents/]]],
    ['an empty file', '', [[1, 1, '', /Expected Object but received null/]]],
    ['a comment alone', '# nothing\n', [[1, 1, '', /Expected Object/]]],
    ['a word', 'hello', [[1, 1, '', /Expected Object/]]],
  ];

  it.each(cases)('%s', async (_, text, expected) => {
    const { rules, problems } = await load(text);
    expect(problems.map((p) => [p.line, p.column, p.path])).toEqual(expected.map(([l, c, path]) => [l, c, path]));
    expected.forEach(([, , , message], i) => expect(problems[i]?.message).toMatch(message));
    expect(rules).toEqual([]);
  });
});

describe('all at once', () => {
  it('tells the faults of all rules, in the order of the file', async () => {
    const { problems } = await load(
      `version: 3\nrules:\n${['A', 'B', 'C'].map((name) => `  - name: ${name}\n    target: 5\n    bogus: 1\n`).join('')}`,
    );
    expect(places(problems)).toEqual([
      '1 version',
      ...[0, 1, 2].flatMap((i) => [
        `${3 + 3 * i} rules[${i}].name`,
        `${4 + 3 * i} rules[${i}].target`,
        `${5 + 3 * i} rules[${i}].bogus`,
      ]),
    ]);
  });

  it('tells all faults of meaning of all rules', async () => {
    const { problems } = await load(
      `version: 1\nrules:\n  - name: a\n    schedule: { cron: x }\n    target: alert\n    limits: { duration: 9h }\n  - name: a\n    target: alert\n`,
    );
    expect(places(problems)).toEqual([
      '4 rules[0].schedule',
      '5 rules[0].target',
      '6 rules[0].limits',
      '7 rules[1].name',
      '7 rules[1]',
    ]);
  });

  it('tells faults of form and of meaning together', async () => {
    const { problems } = await load(
      `version: 1\nrules:\n  - name: a\n    schedule: { cron: "0 2 * * *" }\n    target: ["${vm}"]\n  - name: b\n    when: { source: azure-monitor }\n    target: alert\n    bogus: 1\n`,
    );
    expect(places(problems)).toEqual(['4 rules[0].schedule', '9 rules[1].bogus']);
  });

  it('has no rules when one of them is wrong', async () => {
    const { rules, problems } = await load(
      'version: 1\nrules:\n  - {name: good, when: {source: azure-monitor}, target: alert}\n  - {name: bad}\n',
    );
    expect(problems.length).toBeGreaterThan(0);
    expect(rules).toEqual([]);
  });
});

describe('what is odd', () => {
  it.each(['__proto__', 'constructor', 'prototype'])('refuses the key %s by name', async (key) => {
    const { problems } = await load(`version: 1\nrules: []\n${key}: {}\n`);
    expect(places(problems)).toEqual([`3 ${key}`]);
  });

  it.each(['toString', 'hasOwnProperty', '<<'])('refuses the key %s by name', async (key) => {
    const { problems } = await load(`version: 1\nrules: []\n${key}: {}\n`);
    expect(places(problems)).toEqual([`3 ${key}`]);
  });

  it('finds the place of a key that is a number', async () => {
    const { problems } = await load('version: 1\nrules: []\n5: x\n');
    expect(places(problems)).toEqual(['3 5']);
  });

  it.each(['limits', 'capture'])('refuses a list for %s', async (key) => {
    const { problems } = await load(ruleWith(`    ${key}: []\n`));
    expect(places(problems)).toEqual([`6 rules[0].${key}`]);
  });

  it('finds the place of an alias without an anchor', async () => {
    const { problems } = await load('version: 1\nrules:\n  - *nothing\n');
    expect(problems.map((p) => p.line)).toEqual([3]);
  });

  it('stops an alias bomb', async () => {
    const level = (name: string, of: string) =>
      `${name}: &${name} [${Array.from({ length: 9 }, () => of).join(',')}]\n`;
    const names = ['b', 'c', 'd', 'e', 'f', 'g', 'h'];
    const bomb = level('a', 'x') + names.map((name, i) => level(name, `*${['a', ...names][i]}`)).join('');
    const started = performance.now();
    const { rules, problems } = await load(bomb);
    expect(performance.now() - started).toBeLessThan(1000);
    expect(rules).toEqual([]);
    expect(problems[0]?.message).toContain('alias');
  });

  it('survives an anchor that holds itself', async () => {
    expect((await load('version: 1\nrules: &a [*a]\n')).problems.length).toBeGreaterThan(0);
    expect((await load('&a {version: 1, rules: [], more: *a}\n')).problems.length).toBeGreaterThan(0);
  });

  it('does not let __proto__ pollute', async () => {
    await load('__proto__: { polluted: 1 }\nversion: 1\nrules: []\nconstructor: { prototype: { polluted: 1 } }\n');
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
  });

  it.each([
    ['lists', '['.repeat(20_000)],
    ['maps', '{a: '.repeat(3000)],
    ['dashes', '- '.repeat(3000)],
    ['indents', Array.from({ length: 600 }, (_, i) => `${' '.repeat(i)}a:`).join('\n')],
  ])('survives deep nesting of %s', async (_, text) => {
    const { rules, problems } = await load(text);
    expect(rules).toEqual([]);
    expect(problems.length).toBeGreaterThan(0);
  });

  it('reads a thousand rules', async () => {
    const rules = Array.from(
      { length: 1000 },
      (_, i) => `  - {name: r${i}, when: {source: azure-monitor, alert: "x${i}*"}, target: alert}\n`,
    );
    const set = await load(`version: 1\nrules:\n${rules.join('')}`);
    expect(set.problems).toEqual([]);
    expect(set.rules).toHaveLength(1000);
  });

  it('survives a huge file of one word', async () => {
    const { rules, problems } = await load('x'.repeat(2_000_000));
    expect(rules).toEqual([]);
    expect(problems).toHaveLength(1);
  });

  it('does not quote a huge value', async () => {
    const { problems } = await load('x'.repeat(200_000));
    expect(problems[0]?.message.length).toBeLessThan(1000);
  });

  it('tells a bounded number of faults', async () => {
    const { problems } = await load(Array.from({ length: 3000 }, (_, i) => `k${i}: 1`).join('\n'));
    expect(problems.length).toBeLessThan(1000);
  });
});

describe('loadRules never throws', () => {
  const fragments = [
    ...example.split('\n'),
    ...['version: 1', 'rules:', '  - name: a', '- ', '&a', '*a', '!!binary', '!x', '? ', ': ', '{', '}', '[', ']'],
    ...['"', "'", '|', '>-', '%YAML 1.2', '---', '...', '\t', '#', '<<: *a', '~', '.nan', '.inf', '0x1F', '__proto__:'],
  ];

  it('for lines of the example, shuffled among YAML odds and ends', async () => {
    expect.hasAssertions();
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.constantFrom(...fragments), fc.constantFrom('\n', ' ', '', '\n    ')), { maxLength: 25 }),
        async (parts) => expectLoaded(parts.flat().join('')),
      ),
      { numRuns: 300 },
    );
  });

  it('for the example with letters replaced, and for any text', async () => {
    expect.hasAssertions();
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.nat(example.length), fc.string({ maxLength: 3 })), { maxLength: 8 }),
        async (edits) => {
          let text = example;
          for (const [at, put] of edits) text = text.slice(0, at) + put + text.slice(at + 1);
          await expectLoaded(text);
        },
      ),
      { numRuns: 200 },
    );
    await fc.assert(fc.asyncProperty(fc.string({ unit: 'binary' }), expectLoaded), { numRuns: 200 });
  });

  it('for any JSON where rules should be', async () => {
    expect.hasAssertions();
    await fc.assert(
      fc.asyncProperty(fc.json(), async (json) => expectLoaded(`{"version":1,"rules":[${json}]}`)),
      { numRuns: 200 },
    );
  });
});

async function expectLoaded(text: string): Promise<void> {
  const { rules, problems } = await load(text);
  expect(rules.length === 0 || problems.length === 0).toBe(true);
  const lines = text.split('\n').length;
  for (const problem of problems) {
    expect(problem.line).toBeGreaterThanOrEqual(1);
    expect(problem.line).toBeLessThanOrEqual(lines);
    expect(problem.column).toBeGreaterThanOrEqual(1);
    expect(problem.message).not.toBe('');
  }
  const order = problems.map((p) => p.line * 1e6 + p.column);
  expect(order).toEqual(order.toSorted((a, b) => a - b));
}

function load(text: string) {
  return loadRules(text, checkCapture);
}

function ruleWith(rest: string, name = 'a'): string {
  return `version: 1\nrules:\n  - name: ${name}\n    when: { source: azure-monitor }\n    target: alert\n${rest}`;
}

function scheduled(schedule: string): string {
  return `version: 1\nrules:\n  - name: a\n    schedule: { ${schedule} }\n    target: ["${vm}"]\n`;
}

function places(problems: RuleProblem[]): string[] {
  return problems.map((p) => `${p.line} ${p.path}`);
}
