import { describe, expect, it } from 'vitest';
import { alertId } from '../../shared/alert/store.ts';
import { callback, faultsOf, fields, instance, parse, problemOf, sample, target, type Fields } from './cloudmonitor.ts';

const ids = (payload: Uint8Array | object) => parse(payload).targets.map((t) => t.id);

describe('samples', () => {
  const documented = {
    source: 'cloudmonitor',
    kind: 'metric',
    externalId:
      '110803419679****|applyTemplateee147e59-664f-4033-a1be-e9595746****|53767d2a-ae72-11ed-b2ca-00163e2c****',
    variant: 'WARN|instanceId=i-8psdh7l6lphbn10l****,userId=110803419679****',
    rule: 'Basic monitoring-ECS-Memory usage',
    condition: 'fired',
    severity: 'WARN',
    firedAt: new Date('2017-10-16T06:52:40Z'),
    targets: [
      {
        id: 'acs:ecs:cn-hangzhou:110803419679****:instance/i-8psdh7l6lphbn10l****',
        resourceType: 'acs:ecs:instance',
      },
    ],
    description: 'cpu_total $Average>=95: 97.39%',
  };
  it.each(['encoded', 'as-printed'])('the documented one, %s', (form) => {
    expect(parse(sample(`threshold-doc-sample-${form}.txt`))).toEqual(documented);
  });

  it('a real ALERT of another product', () => {
    expect(parse(sample('threshold-capture-alert.txt'))).toEqual({
      source: 'cloudmonitor',
      kind: 'metric',
      externalId:
        '1000000000000001|alarmRule_uuid_0123456789abcdef0123456789abcdef012345678ab|db5f2204-00ae-11ee-a24f-00163e205386',
      variant:
        'INFO|apiStageName=RELEASE,apiUid=0123456789abcdef0123456789abcdef,region=cn-shenzhen,userId=1000000000000001',
      rule: 'API网关_返回码5XX个数',
      condition: 'fired',
      severity: 'INFO',
      firedAt: new Date('2023-06-01T19:02:29.981Z'),
      targets: [
        {
          id: 'acs:apigateway:cn-shenzhen:1000000000000001:apistagename=release,apiuid=0123456789abcdef0123456789abcdef',
          resourceType: 'acs:apigateway',
          hint: 'Alerts of apigateway name no machine: give the rule a list of targets',
        },
      ],
      description: 'code5XX_stage $Value >= 5: 9个',
    });
  });

  it('a real OK, whose level is the one before', () => {
    expect(parse(sample('threshold-capture-ok.txt'))).toMatchObject({
      externalId:
        '1000000000000001|alarmRule_uuid_fedcba9876543210fedcba9876543210fedcba98765|2e0a0647-0064-11ee-b07f-00163e2e4b9a',
      rule: 'API网关_返回码4XX个数',
      condition: 'resolved',
      severity: 'INFO',
      firedAt: new Date('2023-06-01T10:09:56.421Z'),
      resolvedAt: new Date('2023-06-01T10:09:56.421Z'),
    });
  });

  it('the form of 2018', () => {
    const alert = parse(sample('written-threshold-2018.txt'));
    expect(alert).toEqual({
      source: 'cloudmonitor',
      kind: 'metric',
      externalId:
        '1000000000000001|cpu high|acs_ecs|CPUUtilization|instanceId=i-8psdh7l6lphbn10l0001,userId=1000000000000001',
      rule: 'cpu high',
      condition: 'fired',
      firedAt: new Date('2017-10-16T06:52:40Z'),
      targets: [{ id: `acs:ecs::1000000000000001:instance/${instance(1)}`, resourceType: 'acs:ecs:instance' }],
      description: 'CPUUtilization [{"expression":"$value>12","level":4,"times":2}]: 97.39',
    });
  });

  it('with all of its fields as JSON, numbers and objects too', () => {
    const { dimensions: _, ...rest } = fields();
    const json = {
      ...rest,
      timestamp: 1_795_348_740_000,
      dimensions: { userId: 1_000_000_000_000_001, instanceId: instance(1) },
    };
    expect(parse(json)).toEqual(parse(callback()));
  });
});

describe('states', () => {
  it.each([
    ['ALERT', 'fired'],
    ['alert', 'fired'],
    ['ALARM', 'fired'],
    ['OK', 'resolved'],
    ['INSUFFICIENT_DATA', 'no-data'],
  ])('%s is %s', (alertState, condition) => {
    expect(parse(callback({ alertState })).condition).toBe(condition);
  });

  it.each([
    ['CRITICAL', 'null', 'CRITICAL'],
    ['WARN', 'CRITICAL', 'WARN'],
    ['critical', 'null', 'critical'],
    ['null', 'WARN', undefined],
    [undefined, undefined, undefined],
    ['OK', 'WARN', undefined],
  ])('an ALERT of level %s after %s is of severity %s', (triggerLevel, preTriggerLevel, severity) => {
    expect(parse(callback({ triggerLevel, preTriggerLevel })).severity).toBe(severity);
  });

  it.each([
    ['OK', 'WARN', 'WARN'],
    ['OK', 'null', undefined],
    ['WARN', 'null', 'WARN'],
  ])('an OK of level %s after %s is of severity %s', (triggerLevel, preTriggerLevel, severity) => {
    expect(parse(callback({ alertState: 'OK', triggerLevel, preTriggerLevel })).severity).toBe(severity);
  });

  it.each([
    ['1795348740', '2026-11-22T11:59:00.000Z'],
    ['1795348740123', '2026-11-22T11:59:00.123Z'],
    ['2026-11-22T11:59:00+08:00', '2026-11-22T03:59:00.000Z'],
    ['20261122T195900+0800', '2026-11-22T11:59:00.000Z'],
  ])('time %s is %s', (timestamp, expected) => {
    expect(parse(callback({ timestamp })).firedAt.toISOString()).toBe(expected);
  });
});

describe('what an alert is the same as', () => {
  const id = (more: Fields) => alertId(parse(callback(more)));
  const later = { timestamp: '1795435140000' };

  it('with a transId: itself, sent again, and later', () => {
    expect(id(later)).toBe(id({}));
    expect(id({ ...later, curValue: '99', lastTime: '1 day', preTriggerLevel: 'WARN', newField: 'x' })).toBe(id({}));
    expect(id({ dimensions: `{instanceId=${instance(1)}, userId=1000000000000001}` })).toBe(id({}));
    expect(id({ alertState: 'OK', triggerLevel: 'OK', preTriggerLevel: 'WARN', ...later })).toBe(id({}));
  });

  it('with a transId: not another level, rule, account, machine or occurrence', () => {
    const all = [
      {},
      { triggerLevel: 'CRITICAL' },
      { ruleId: 'alarmRule_uuid_2' },
      { userId: '2' },
      { dimensions: `{userId=1000000000000001, instanceId=${instance(2)}}` },
      { transId: '00000000-00ae-11ee-a24f-00163e205386' },
      { alertState: 'INSUFFICIENT_DATA' },
    ].map(id);
    expect(new Set(all).size).toBe(all.length);
  });

  it('an occurrence has one external id from its firing to its end', () => {
    const external = (more: Fields) => parse(callback(more)).externalId;
    expect(external({ triggerLevel: 'CRITICAL', ...later })).toBe(external({}));
    expect(external({ alertState: 'OK', triggerLevel: 'OK' })).toBe(external({}));
    expect(external({ alertState: 'INSUFFICIENT_DATA' })).not.toBe(external({}));
  });

  it('without a transId: the same time, rule, metric and dimensions', () => {
    const old = { transId: undefined, ruleId: undefined };
    const external = (more: Fields) => parse(callback({ ...old, ...more })).externalId;
    expect(external({ alertState: 'OK', ...later })).toBe(external({}));
    expect(id({ ...old, ...later })).not.toBe(id(old));
    expect(id({ ...old, transId: 'null' })).toBe(id(old));
    const all = [
      {},
      { alertName: 'other' },
      { rawMetricName: 'other' },
      { dimensions: `{instanceId=${instance(2)}}` },
      { alertState: 'INSUFFICIENT_DATA' },
    ].map(external);
    expect(new Set(all).size).toBe(all.length);
  });

  it('has an id of bounded length', () => {
    const external = (end: string) =>
      parse(callback({ transId: undefined, dimensions: `{a=${'x'.repeat(1500)}${end}}` })).externalId;
    expect(external('a').length).toBeLessThan(1000);
    expect(external('a')).not.toBe(external('b'));
  });
});

describe('machines', () => {
  const eni = 'acs:ecs:cn-hangzhou:1000000000000001:eni/eni-8psf2oex4odhm8ww0001';

  it.each([
    ['a Java map', `{userId=1000000000000001, instanceId=${instance(1)}}`],
    ['a Java map in another order', `{instanceId=${instance(1)},userId=1000000000000001}`],
    ['one without a brace', `{userId=1000000000000001, instanceId=${instance(1)}`],
    ['other names for it: InstanceId', `{InstanceId=${instance(1)}}`],
    ['other names for it: instance_id', `{instance_id=${instance(1)}}`],
    ['other names for it: instance-id', `{instance-id=${instance(1)}}`],
    ['a name of one’s own', `{host=${instance(1)}}`],
    ['unknown names beside it', `{a=b, instanceId=${instance(1)}, device=/dev/vda1, state=used}`],
    ['capital letters', `{instanceId=${instance(1).toUpperCase()}}`],
    ['JSON', `{"userId":"1000000000000001","instanceId":"${instance(1)}"}`],
    ['a list in JSON', `[{"userId":"1000000000000001","instanceId":"${instance(1)}"}]`],
    ['a whole id', `{resourceId=acs:ecs:cn-hangzhou:1000000000000001:instance/${instance(1)}}`],
    ['a whole id without region and account', `{resourceId=acs:ecs:::instance/${instance(1)}}`],
  ])('%s', (_, dimensions) => {
    expect(ids(callback({ dimensions }))).toEqual([target(1)]);
  });

  it('several', () => {
    const json = JSON.stringify([1, 2, 2, 3].map((n) => ({ userId: '1000000000000001', instanceId: instance(n) })));
    expect(ids(callback({ dimensions: json }))).toEqual([target(1), target(2), target(3)]);
    const java = `[{userId=1, instanceId=${instance(1)}}, {userId=2, instanceId=${instance(1)}}]`;
    expect(ids(callback({ dimensions: java }))).toEqual([
      `acs:ecs:cn-hangzhou:1:instance/${instance(1)}`,
      `acs:ecs:cn-hangzhou:2:instance/${instance(1)}`,
    ]);
  });

  it.each([
    `{instanceId=eni-8psf2oex4odhm8ww0001}`,
    `{eniId=eni-8psf2oex4odhm8ww0001}`,
    `{instanceId=${instance(1)}, eniId=eni-8psf2oex4odhm8ww0001}`,
    `{networkInterfaceId=eni-8psf2oex4odhm8ww0001, instanceId=${instance(1)}}`,
    `{r=acs:ecs:cn-hangzhou:1000000000000001:networkinterface/eni-8psf2oex4odhm8ww0001}`,
  ])('the network interface in %s', (dimensions) => {
    expect(ids(callback({ dimensions }))).toEqual([eni]);
  });

  it.each([
    ['no region', { regionId: 'null' }, `acs:ecs::1000000000000001:instance/${instance(1)}`],
    ['a region that is none', { regionId: 'cn:x' }, `acs:ecs::1000000000000001:instance/${instance(1)}`],
    [
      'a region among the dimensions',
      { regionId: 'null', dimensions: `{region=cn-beijing, instanceId=${instance(1)}}` },
      `acs:ecs:cn-beijing:1000000000000001:instance/${instance(1)}`,
    ],
    ['an account that the dimensions tell', { userId: 'null' }, target(1)],
    [
      'no account',
      { userId: undefined, dimensions: `{instanceId=${instance(1)}}` },
      `acs:ecs:cn-hangzhou::instance/${instance(1)}`,
    ],
    ['the namespace of one’s own metrics', { namespace: 'acs_customMetric_1000000000000001' }, target(1)],
    ['no namespace', { namespace: undefined, metricProject: undefined }, target(1)],
    ['the namespace of a cluster', { namespace: 'acs_k8s' }, target(1)],
    [
      'an id of another form',
      { dimensions: '{instanceId=AY1209}' },
      'acs:ecs:cn-hangzhou:1000000000000001:instance/ay1209',
    ],
  ])('with %s', (_, more: Fields, id) => {
    expect(ids(callback(more))).toEqual([id]);
  });

  it.each([
    ['acs_slb_dashboard', '{instanceId=lb-1, port=80}', 'acs:slb:cn-hangzhou:1000000000000001:lb-1', 'acs:slb'],
    ['acs_rds', '{instanceId=rm-1}', 'acs:rds:cn-hangzhou:1000000000000001:rm-1', 'acs:rds'],
    ['acs_vpc_eip', '{userId=1, ip=1.2.3.4}', 'acs:vpc_eip:cn-hangzhou:1:ip=1.2.3.4', 'acs:vpc_eip'],
  ])('what %s is about is no machine', (namespace, dimensions, id, resourceType) => {
    const hint = expect.stringContaining('name no machine: give the rule a list of targets');
    expect(parse(callback({ namespace, dimensions })).targets).toEqual([{ id, resourceType, hint }]);
  });

  it.each([
    'null',
    '',
    '{}',
    '[]',
    '[null, 5, "x", [[{"instanceId":"i-8psdh7l6lphbn10l0001"}]]]',
    '{userId=1}',
    'none',
  ])('there are none in %s', (dimensions) => {
    expect(ids(callback({ dimensions }))).toEqual([]);
  });
});

describe('what is refused', () => {
  it('with every fault', () => {
    expect(faultsOf({ alertState: 'CLOSED', timestamp: 'yesterday' })).toEqual([
      ['alertName', expect.stringContaining('is missing, and so are ruleId and transId')],
      ['alertState', 'is neither ALERT nor OK nor INSUFFICIENT_DATA'],
      ['timestamp', 'is not a time'],
    ]);
    expect(faultsOf('alertState=ALERT&alertName=null&timestamp=')).toEqual([
      ['alertName', expect.any(String)],
      ['timestamp', 'is missing'],
    ]);
    expect(faultsOf({ alertState: null, timestamp: 0, ruleId: 'r' })).toEqual([
      ['alertState', 'is missing'],
      ['timestamp', 'is not a time'],
    ]);
  });

  it.each(['alertName', 'ruleId', 'transId'])('but not when %s alone tells which alarm it is', (name) => {
    const alone = { alertState: 'ALERT', timestamp: '1795348740', [name]: 'x' };
    expect(parse(alone)).toMatchObject({
      rule: name === 'alertName' ? 'x' : '',
      targets: [],
      firedAt: expect.any(Date),
    });
  });

  it.each([
    ['nothing', '', 'invalid-payload'],
    ['blanks', ' \n', 'invalid-payload'],
    ['a list', '[]', 'invalid-payload'],
    ['a text', '"alertState"', 'invalid-payload'],
    ['half of JSON', '{"alertState":', 'invalid-payload'],
    ['deep JSON', `{"alertState":${'['.repeat(100)}${']'.repeat(100)}}`, 'invalid-payload'],
    ['no alert', '{"schemaId":"azureMonitorCommonAlertSchema"}', 'unsupported-schema'],
    ['a form of something else', 'a=b&c=d', 'unsupported-schema'],
    ['prose', 'the CPU is high', 'unsupported-schema'],
    ['too much', `alertState=ALERT&a=${'x'.repeat(256 * 1024)}`, 'payload-too-large'],
  ])('%s', (_, payload, code) => {
    expect(problemOf(payload).code).toBe(code);
  });

  it('what is not UTF-8; what is so in percent signs alone is read', () => {
    expect(problemOf(new Uint8Array([0x61, 0xff, 0x3d])).code).toBe('invalid-payload');
    const text = new TextDecoder().decode(callback()).replace('alertName=Egress+high', 'alertName=%D6%D0');
    expect(parse(text).rule).toBe('\ufffd\ufffd');
  });
});

it('huge fields are cut', () => {
  const long = 'x'.repeat(10_000);
  const alert = parse(
    callback({
      alertName: long,
      expression: long,
      curValue: long,
      ruleId: long,
      triggerLevel: long,
      regionId: long,
      dimensions: `{instanceId=${long}, ${long}=y}`,
    }),
  );
  expect(alert.rule).toHaveLength(2048);
  expect(alert.description).toHaveLength(1000);
  expect(alert.externalId.length).toBeLessThanOrEqual(1000);
  expect(alert.severity).toHaveLength(2048);
  expect(alert.targets.map((t) => t.id.length < 5000)).toEqual([true]);
});
