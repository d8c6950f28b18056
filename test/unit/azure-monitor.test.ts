import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { alertKinds } from '../../shared/alert/alert.ts';
import { parseAzureMonitorAlert } from '../../shared/alert/azure-monitor.ts';
import { maxPayloadBytes, parsePayload } from '../../shared/alert/payload.ts';
import { alertId } from '../../shared/alert/store.ts';
import { Problem } from '../../shared/problem.ts';
import { names, parse, sample, withEssentials } from '../alert/payloads.ts';

const machine =
  '/subscriptions/00000000-0000-0000-0000-000000000000/resourcegroups/pipelinealertrg/providers/microsoft.compute/virtualmachines/wcus-r2-gen2';

describe('the published samples', () => {
  it('reads a static metric alert that fired', () => {
    expect(parse(sample('vm-metric-static-FIRED'))).toEqual({
      source: 'azure-monitor',
      kind: 'metric',
      externalId:
        '/subscriptions/00000000-0000-0000-0000-000000000000/providers/Microsoft.AlertsManagement/alerts/aaaa0a0a-bb1b-cc2c-dd3d-eeeeee4e4e4e',
      originId:
        '00000000-0000-0000-0000-000000000000_PipeLineAlertRG_microsoft.insights_metricAlerts_WCUS-R2-Gen2_-117781227',
      rule: 'WCUS-R2-Gen2',
      condition: 'fired',
      severity: 'Sev3',
      firedAt: new Date('2019-03-22T13:58:24.371Z'),
      targets: [{ id: machine, resourceType: 'microsoft.compute/virtualmachines' }],
    });
  });

  it('reads the same alert resolved: same ids, same fired time, and the time of its end', () => {
    const fired = parse(sample('vm-metric-static-FIRED'));
    const resolved = parse(sample('vm-metric-static-RESOLVED'));
    expect(resolved).toEqual({ ...fired, condition: 'resolved', resolvedAt: new Date('2019-03-22T14:03:16.224Z') });
  });

  it('reads the resolved sample of the documentation, whose subscription is a placeholder', () => {
    const alert = parse(sample('common-metric-static-vm-RESOLVED'));
    expect(alert.condition).toBe('resolved');
    expect(alert.targets).toEqual([
      {
        id: machine.replace('00000000-0000-0000-0000-000000000000', '<subscription ID>'),
        resourceType: 'microsoft.compute/virtualmachines',
      },
    ]);
  });

  it('reads a dynamic metric alert', () => {
    const alert = parse(
      withEssentials(sample('context-metric-dynamic'), { alertRule: 'Egress*high', severity: 'Sev3' }),
    );
    expect(alert).toMatchObject({ kind: 'metric', rule: 'Egress*high', condition: 'fired', severity: 'Sev3' });
    expect(alert.targets).toHaveLength(1);
  });

  it('reads the action group test: a storage account is a target of another type', () => {
    const alert = parse(sample('test-metric-static-FIRED'));
    expect(alert.targets.map((t) => t.resourceType)).toEqual(['microsoft.storage/storageaccounts']);
    expect(alert.description).toBe('Alertruledescription');
  });

  it('refuses with advice what is of no schema that it knows', () => {
    const problem = problemOf(() => parse({ schemaId: 'Somebody.Else/alert', data: {} }));
    expect(problem).toMatchObject({ code: 'unsupported-schema', status: 400 });
    expect(problem.message).toContain('Enable the common alert schema');
  });
});

describe('targets', () => {
  it('keeps several, in their order and spelling', () => {
    const ids = [machine.replace('wcus', 'B'), machine, `${machine}-2`];
    expect(parse(alertWith({ alertTargetIDs: ids })).targets.map((t) => t.id)).toEqual(ids);
  });

  it('takes the same id in another case for the same target', () => {
    const ids = [machine, machine.toUpperCase(), machine.replace('resourcegroups', 'resourceGroups'), `${machine}x`];
    expect(parse(alertWith({ alertTargetIDs: ids })).targets.map((t) => t.id)).toEqual([machine, `${machine}x`]);
  });

  it.each([
    [
      '/subscriptions/0/resourceGroups/g/providers/Microsoft.Compute/virtualMachines/x',
      'microsoft.compute/virtualmachines',
    ],
    [
      '/subscriptions/0/resourceGroups/g/providers/Microsoft.Compute/virtualMachineScaleSets/s/virtualMachines/0',
      'microsoft.compute/virtualmachinescalesets/virtualmachines',
    ],
    ['/subscriptions/0/resourceGroups/g', ''],
    ['/subscriptions/0', ''],
    ['no id at all', ''],
  ])('tells the type of %s', (id, resourceType) => {
    expect(parse(alertWith({ alertTargetIDs: [id] })).targets).toEqual([{ id, resourceType }]);
  });

  it.each([[[]], [null], [undefined]])('has none when the sender gives %j', (ids) => {
    expect(parse(alertWith({ alertTargetIDs: ids })).targets).toEqual([]);
  });
});

describe('members that are null or missing', () => {
  it('does without all that are optional', () => {
    const names = [
      'alertRule',
      'severity',
      'alertTargetIDs',
      'originAlertId',
      'resolvedDateTime',
      'description',
      'monitorCondition',
    ];
    const bare = {
      source: 'azure-monitor',
      kind: 'other',
      externalId: 'a',
      rule: '',
      condition: 'fired',
      firedAt: new Date('2026-01-02T03:04:05Z'),
      targets: [],
    };
    const essentials = { alertId: 'a', monitorCondition: 'Fired', firedDateTime: '2026-01-02T03:04:05Z' };
    const wrap = (value: object) => ({ schemaId: 'azureMonitorCommonAlertSchema', data: { essentials: value } });
    expect(parse(wrap(essentials))).toEqual(bare);
    expect(parse(wrap({ ...essentials, ...Object.fromEntries(names.map((name) => [name, null])) }))).toEqual(bare);
  });

  it('cuts a long description and keeps members it does not know out', () => {
    const alert = parse(alertWith({ description: 'x'.repeat(5000), surprise: { deep: true } }));
    expect(alert.description).toHaveLength(1000);
    expect(alert).not.toHaveProperty('surprise');
  });

  it('names every fault at once', () => {
    const problem = problemOf(() =>
      parse(alertWith({ alertId: '', monitorCondition: 'Closed', firedDateTime: 'yesterday' })),
    );
    expect(problem).toMatchObject({ code: 'invalid-payload', status: 400 });
    expect(faultPaths(problem).toSorted()).toEqual(
      ['alertId', 'firedDateTime', 'monitorCondition'].map((name) => `data.essentials.${name}`),
    );
  });

  it('does without what is of another type, as without what is missing', () => {
    const odd = { resolvedDateTime: 5, alertTargetIDs: [machine], severity: {}, alertRule: ['x'], originAlertId: 1 };
    const alert = parse(alertWith({ ...odd, description: false }));
    expect(alert).toMatchObject({ rule: '', targets: [{ id: machine }] });
    for (const member of ['resolvedAt', 'severity', 'originId', 'description'])
      expect(alert).not.toHaveProperty(member);
  });

  it.each([
    ['no data', { schemaId: 'azureMonitorCommonAlertSchema' }, ['data']],
    ['data null', { schemaId: 'azureMonitorCommonAlertSchema', data: null }, ['data']],
    ['data a text', { schemaId: 'azureMonitorCommonAlertSchema', data: 'x' }, ['data']],
    ['no essentials', { schemaId: 'azureMonitorCommonAlertSchema', data: {} }, ['data.essentials']],
    [
      'empty essentials',
      { schemaId: 'azureMonitorCommonAlertSchema', data: { essentials: {} } },
      ['data.essentials.alertId', 'data.essentials.firedDateTime'],
    ],
  ])('refuses a payload with %s', (_, payload, paths) => {
    const problem = problemOf(() => parse(payload));
    expect(problem.code).toBe('invalid-payload');
    expect(faultPaths(problem)).toEqual(paths);
  });

  it.each([[undefined], [null], [1], ['azuremonitorcommonalertschema'], [{}]])('refuses the schema %j', (schemaId) => {
    expect(problemOf(() => parse({ ...sample('vm-metric-static-FIRED'), schemaId })).code).toBe('unsupported-schema');
  });

  it('answers many faults with a bounded body', () => {
    const problem = problemOf(() => parse(alertWith({ alertTargetIDs: Array.from({ length: 20_000 }, () => 1) })));
    expect(JSON.stringify(problem.toBody()).length).toBeLessThan(64 * 1024);
  });

  it('does not send a long wrong value back', () => {
    const problem = problemOf(() => parse(alertWith({ monitorCondition: 'x'.repeat(200_000) })));
    expect(JSON.stringify(problem.toBody()).length).toBeLessThan(4096);
  });
});

describe('parsePayload', () => {
  it.each([
    '{',
    '{"a":}',
    'nonsense',
    '',
    ' ',
    '{"a":1}{"b":2}',
    "{'a':1}",
    '{"a":1,}',
    ']'.repeat(100) + '['.repeat(200),
  ])('refuses %j', (text) => {
    expect(problemOf(() => parsePayload(bytes(text)))).toMatchObject({ code: 'invalid-payload', status: 400 });
  });

  it.each(['[]', '[{"a":1}]', 'null', '1', '"text"', 'true'])('refuses %s, which is no object', (text) => {
    const problem = problemOf(() => parsePayload(bytes(text)));
    expect(problem.code).toBe('invalid-payload');
    expect(problem.message).toContain('object');
  });

  it.each([
    ['a lone continuation byte', [0x7b, 0x22, 0x80, 0x22, 0x3a, 0x31, 0x7d]],
    ['an overlong slash', [0x22, 0xc0, 0xaf, 0x22]],
    ['UTF-16', [...Buffer.from('\uFEFF{"a":1}', 'utf16le')]],
    ['a surrogate in UTF-8', [0x22, 0xed, 0xa0, 0x80, 0x22]],
  ])('refuses %s', (_, raw) => {
    expect(problemOf(() => parsePayload(Uint8Array.from(raw)))).toMatchObject({
      code: 'invalid-payload',
      message: 'The payload is not UTF-8 text',
    });
  });

  it('takes a byte order mark, as some senders write one', () => {
    expect(parsePayload(bytes('\uFEFF{"a":1}'))).toEqual({ a: 1 });
  });

  it('takes exactly 256 KiB and refuses one byte more with 413', () => {
    const fit = `{"a":"${'x'.repeat(maxPayloadBytes - 8)}"}`;
    expect(bytes(fit)).toHaveLength(256 * 1024);
    expect(parsePayload(bytes(fit))).toHaveProperty('a');
    expect(problemOf(() => parsePayload(bytes(`${fit} `)))).toMatchObject({ code: 'payload-too-large', status: 413 });
    // Counted in bytes, not in letters.
    const wide = `{"a":"${'ä'.repeat(maxPayloadBytes / 2)}"}`;
    expect(wide.length).toBeLessThan(maxPayloadBytes);
    expect(problemOf(() => parsePayload(bytes(wide))).status).toBe(413);
  });

  it.each([
    ['objects', '{"a":', '}'],
    ['arrays', '[', ']'],
  ])('takes 64 levels of %s and refuses 65', (_, open, close) => {
    const nested = (levels: number) => `{"top":${open.repeat(levels - 1)}1${close.repeat(levels - 1)}}`;
    expect(parsePayload(bytes(nested(64)))).toHaveProperty('top');
    const problem = problemOf(() => parsePayload(bytes(nested(65))));
    expect(problem).toMatchObject({ code: 'invalid-payload', status: 400 });
    expect(problem.message).toContain('nested');
  });

  it('refuses nesting that would fill the whole payload, quickly', () => {
    const started = performance.now();
    expect(problemOf(() => parsePayload(bytes('['.repeat(maxPayloadBytes)))).message).toContain('nested');
    expect(performance.now() - started).toBeLessThan(250);
  });

  it('does not count brackets inside of strings', () => {
    const text = JSON.stringify({ a: `${'[{'.repeat(500)}\\"${'['.repeat(500)}`, ['{'.repeat(200)]: ']"[' });
    expect(parsePayload(bytes(text))).toEqual(JSON.parse(text));
  });

  it('leaves the prototype alone', () => {
    const value = parsePayload(
      bytes(
        '{"__proto__":{"schemaId":"azureMonitorCommonAlertSchema","polluted":1},"constructor":{"prototype":{"polluted":1}}}',
      ),
    );
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
    expect(value['schemaId']).toBeUndefined();
    expect(problemOf(() => parseAzureMonitorAlert(value)).code).toBe('unsupported-schema');
  });

  it('takes nothing from a __proto__ member of the alert', () => {
    const text = JSON.stringify(alertWith({})).replace(
      '"essentials":{',
      '"essentials":{"__proto__":{"description":"evil"},',
    );
    expect(parseAzureMonitorAlert(parsePayload(bytes(text)))).not.toHaveProperty('description');
  });
});

describe('whatever comes in', () => {
  const odd = fc.oneof(
    fc.constant(null),
    fc.constant(''),
    fc.constant('__proto__'),
    fc.integer(),
    fc.double(),
    fc.string({ unit: 'binary' }),
    fc.constant([]),
    fc.constant({}),
    fc.array(fc.string()),
    fc.json().map((text): unknown => JSON.parse(text)),
    fc.constantFrom('2019-03-22T13:58:24Z', '+275760-09-13T00:00:00Z', '0', 'Resolved'),
  );

  it('gives an alert or a Problem: members of the samples replaced', () => {
    expect.hasAssertions();
    fc.assert(
      fc.property(
        fc.constantFrom(...names),
        fc.array(fc.tuple(fc.nat(), odd), { minLength: 1, maxLength: 4 }),
        (name, changes) => {
          const payload = structuredClone(sample(name));
          for (const [place, value] of changes) {
            const all = places(payload);
            const at = all[place % all.length];
            if (at) at.parent[at.key] = value;
          }
          expectAlertOrProblem(bytes(JSON.stringify(payload)));
        },
      ),
      { numRuns: 1500 },
    );
  });

  it('gives an alert or a Problem: bytes of the samples replaced, cut and repeated', () => {
    expect.hasAssertions();
    fc.assert(
      fc.property(
        fc.constantFrom(...names),
        fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 6 }),
        fc.option(fc.nat()),
        (name, edits, cut) => {
          const raw = bytes(JSON.stringify(sample(name)));
          for (const [at, byte] of edits) raw[at % raw.length] = byte;
          expectAlertOrProblem(cut === null ? raw : raw.subarray(0, cut % raw.length));
        },
      ),
      { numRuns: 1500 },
    );
  });

  it('gives an alert or a Problem: any bytes, any JSON', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), expectAlertOrProblem));
    fc.assert(fc.property(fc.json(), (text) => expectAlertOrProblem(bytes(text))));
  });
});

function expectAlertOrProblem(raw: Uint8Array): void {
  let alert;
  try {
    alert = parseAzureMonitorAlert(parsePayload(raw));
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    expect([400, 413]).toContain(error.status);
    return;
  }
  expect(['fired', 'resolved']).toContain(alert.condition);
  expect(alert.externalId).not.toBe('');
  expect(Number.isNaN(alert.firedAt.getTime())).toBe(false);
  expect(new Set(alert.targets.map((t) => t.id.toLowerCase())).size).toBe(alert.targets.length);
  expect(alert.targets.length).toBeLessThanOrEqual(1000);
  expect(alertKinds).toContain(alert.kind);
  expect(() => alertId(alert)).not.toThrow();
}

function bytes(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

/** The Fired sample with other essentials, and with other members beside them. */
function alertWith(essentials: Record<string, unknown>, rest: Record<string, unknown> = {}): Record<string, unknown> {
  const { schemaId, data } = sample('vm-metric-static-FIRED') as { schemaId: string; data: any };
  return { schemaId, data: { ...data, ...rest, essentials: { ...data.essentials, ...essentials } } };
}

function problemOf(act: () => unknown): Problem {
  try {
    act();
  } catch (error) {
    if (error instanceof Problem) return error;
    throw error;
  }
  throw new Error('no problem was thrown');
}

function faultPaths(problem: Problem): string[] {
  return (problem.members['problems'] as { path: string; message: string }[]).map((fault) => {
    expect(fault.message).not.toBe('');
    return fault.path;
  });
}

/** Every member of a value, with the object or array that holds it. */
function places(value: unknown): { parent: any; key: string }[] {
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, inner]) => [{ parent: value, key }, ...places(inner)]);
}
