import { describe, expect, it } from 'vitest';
import { readCloudMonitor } from '../../shared/alert/cloudmonitor.ts';
import { alertId } from '../../shared/alert/store.ts';
import { callback, encoded, faultsOf, fields, instance, parse, problemOf, sample, target } from './cloudmonitor.ts';

type Payload = Record<string, any>;

const json = (name: string): Payload => JSON.parse(new TextDecoder().decode(sample(name))) as Payload;

describe('a system event', () => {
  const callbackSample = json('event-callback-doc-sample.json');
  const notificationSample = json('event-notification-doc-sample.json');

  it('is read: the sample of a callback', () => {
    expect(parse(callbackSample)).toEqual({
      source: 'cloudmonitor',
      kind: 'event',
      externalId: '130013558060****|ECS Event-triggered Alert Rule (New)|bd5f9913-ec1d-412b-ace3-7a3618d7****',
      rule: 'ECS Event-triggered Alert Rule (New)',
      condition: 'fired',
      severity: 'INFO',
      firedAt: new Date('2023-02-17T02:35:16.475Z'),
      targets: [
        {
          id: 'acs:ecs:cn-hangzhou:130013558060****:instance/i-j6c9pagb27uzlikj****',
          resourceType: 'acs:ecs:instance',
        },
      ],
      description: 'Instance:StateChange: Deleted',
    });
  });

  it('is read: the sample of a notification, whose rule is the name of the event', () => {
    expect(parse(notificationSample)).toEqual({
      source: 'cloudmonitor',
      kind: 'event',
      externalId: '169070********30|9435EAD6-3CF6-4494-8F7A-3A********77',
      rule: 'Instance:StateChange',
      condition: 'fired',
      severity: 'INFO',
      firedAt: new Date('2018-12-26T14:01:14.058Z'),
      targets: [
        {
          id: 'acs:ecs:cn-hangzhou:169070********30:instance/i-bp1ecr********5go2go',
          resourceType: 'acs:ecs:instance',
        },
      ],
      description: 'Instance:StateChange: Stopping',
    });
  });

  it.each([callbackSample, notificationSample])('is the same with its content as text', (event) => {
    expect(parse({ ...event, content: JSON.stringify(event['content']) })).toEqual(parse(event));
  });

  it('is the same alert when it is sent again, another one for every event and every rule that sends it', () => {
    const id = (more: Payload) => alertId(parse({ ...callbackSample, ...more }));
    expect(id({ status: 'Failed', content: {} })).toBe(id({}));
    const all = [{}, { id: 'x' }, { eventTime: '20230217T103517.475+0800' }, { ruleName: 'other' }].map(id);
    expect(new Set(all).size).toBe(all.length);
    const nameless = { id: null };
    expect(id({ ...nameless, resourceId: 'acs:ecs:x:1:instance/i-00000000' })).not.toBe(id(nameless));
  });

  it.each([
    ['the machine itself', { resourceId: `acs:ecs:cn-hangzhou:1000000000000001:instance/${instance(1)}` }],
    ['region and account from beside it', { resourceId: `acs:ecs:::instance/${instance(1)}` }],
    ['the bare id of a machine', { resourceId: instance(1) }],
    ['no resource, but content', { resourceId: '', content: { instanceId: instance(1) } }],
    ['content as text', { resourceId: null, content: `{"resourceId":"${instance(1)}"}` }],
    [
      'a disk, and the machine that has it',
      { resourceId: 'acs:ecs:cn-hangzhou:1:disk/d-1', content: { diskId: 'd-1', instanceId: instance(1) } },
    ],
    ['a list of machines', { resourceId: null, content: { instanceIds: [instance(1), instance(1)] } }],
  ])('names its machine: %s', (_, more) => {
    const event = { regionId: 'cn-hangzhou', userId: '1000000000000001', name: 'x', eventTime: '20230217T103516+0800' };
    expect(parse({ ...event, ...more }).targets.map((t) => t.id)).toEqual([target(1)]);
  });

  it.each([
    [
      'acs:ecs:cn-hangzhou:1:networkinterface/eni-8psf2oex4odhm8ww0001',
      'acs:ecs:cn-hangzhou:1:eni/eni-8psf2oex4odhm8ww0001',
      'acs:ecs:eni',
    ],
    ['acs:slb:cn-hangzhou:1:loadbalancer/lb-1', 'acs:slb:cn-hangzhou:1:loadbalancer/lb-1', 'acs:slb:loadbalancer'],
    ['acs:oss:oss-cn-hangzhou:1:Bucket/a/b', 'acs:oss:oss-cn-hangzhou:1:bucket/a/b', 'acs:oss:bucket'],
    ['acs:rds:*:1:rm-1', 'acs:rds:*:1:rm-1', 'acs:rds'],
    ['something else', 'something else', ''],
  ])('is about %s', (resourceId, id, resourceType) => {
    const event = { name: 'x', eventTime: '20230217T103516+0800', resourceId };
    expect(parse(event).targets).toEqual([{ id, resourceType }]);
  });

  it.each([
    ['20230217T103516.475+0800', '2023-02-17T02:35:16.475Z'],
    ['20230217T103516+08:00', '2023-02-17T02:35:16.000Z'],
    ['20230217T103516Z', '2023-02-17T10:35:16.000Z'],
    ['20230217T103516', '2023-02-17T10:35:16.000Z'],
    ['2023-02-17T10:35:16.4756+08:00', '2023-02-17T02:35:16.475Z'],
    ['1676601316475', '2023-02-17T02:35:16.475Z'],
  ])('of %s happened at %s', (eventTime, expected) => {
    expect(parse({ name: 'x', eventTime }).firedAt.toISOString()).toBe(expected);
  });

  it('without a name or a time is refused', () => {
    expect(faultsOf({ eventTime: 'now' })).toEqual([
      ['name', expect.stringContaining('nothing tells which event this is')],
      ['eventTime', 'is not a time'],
    ]);
    expect(faultsOf({ eventTime: '20231317T103516Z', id: 'x' })).toEqual([['eventTime', 'is not a time']]);
  });
});

describe('a group of Alertmanager', () => {
  const group = json('written-alertmanager-group.json');
  const alerts = (payload: Payload = group) => readCloudMonitor(encoded(payload)).notices.map((n) => n.alert);
  const only = (i: number, more: Payload = {}, labels: Payload = {}): Payload => {
    const one = structuredClone(group['alerts'][i]) as Payload;
    return { ...group, alerts: [{ ...one, ...more, labels: { ...one['labels'], ...labels } }] };
  };

  it('is one alert for each of its alerts, what fires before what is over', () => {
    expect(alerts()).toEqual([
      {
        source: 'cloudmonitor',
        kind: 'prometheus',
        externalId: '1000000000000001|4321|f000000000000001',
        rule: 'NodeNetworkOut',
        condition: 'fired',
        severity: 'CRITICAL',
        firedAt: new Date('2026-03-04T05:06:07.123Z'),
        targets: [{ id: target(1), resourceType: 'acs:ecs:instance' }],
        description: `egress of ${instance(1)}`,
      },
      expect.objectContaining({ severity: 'WARN', condition: 'fired', firedAt: new Date('2026-03-04T05:07:07Z') }),
      expect.objectContaining({
        condition: 'resolved',
        firedAt: new Date('2026-03-04T05:00:00Z'),
        resolvedAt: new Date('2026-03-04T05:08:00Z'),
        targets: [{ id: target(3), resourceType: 'acs:ecs:instance' }],
      }),
    ]);
    const reversed = { ...group, alerts: group['alerts'].toReversed() };
    expect(alerts(reversed).map((a) => a.condition)).toEqual(['fired', 'fired', 'resolved']);
  });

  it('keeps each under an id that stays, whatever else is in the group', () => {
    const fired = only(0);
    const end = only(0, { status: 'resolved', endsAt: '2026-03-04T06:00:00Z' });
    expect(alertId(parse(end))).toBe(alertId(parse(fired)));
    expect(alerts().map((a) => alertId(a))).toContain(alertId(parse(fired)));
    expect(alertId(parse(only(0, { startsAt: '2026-03-05T05:06:07Z' })))).not.toBe(alertId(parse(fired)));
    const nameless = only(0, { fingerprint: undefined });
    expect(alertId(parse(nameless))).toBe(alertId(parse({ ...nameless, externalURL: 'x' })));
    expect(alertId(parse(nameless))).not.toBe(alertId(parse(only(1, { fingerprint: undefined }))));
  });

  it.each([
    ['critical', 'CRITICAL'],
    ['Warning', 'WARN'],
    ['info', 'INFO'],
    ['P1', 'P1'],
    [null, undefined],
  ])('has severity %s as %s', (severity, expected) => {
    expect(parse(only(0, {}, { severity })).severity).toBe(expected);
  });

  it.each([
    ['instance_id', instance(1)],
    ['InstanceId', instance(1)],
    ['instanceID', instance(1)],
    ['ecs_instance_id', instance(1)],
    ['instance', instance(1)],
    ['whatever', instance(1)],
    ['node', `cn-hangzhou.${instance(1)}`],
    ['resource_id', `acs:ecs:cn-hangzhou:1000000000000001:instance/${instance(1)}`],
  ])('names its machine in the label %s', (label, value) => {
    expect(parse(only(0, {}, { instance_id: null, [label]: value })).targets.map((t) => t.id)).toEqual([target(1)]);
  });

  it('takes labels that all have in common, and its own first', () => {
    const common = {
      ...only(0, {}, { instance_id: null }),
      commonLabels: { ...group['commonLabels'], instance_id: instance(2) },
    };
    expect(parse(common).targets.map((t) => t.id)).toEqual([target(2)]);
    const own = { ...only(0), commonLabels: common['commonLabels'] };
    expect(parse(own).targets.map((t) => t.id)).toEqual([target(1)]);
  });

  it.each(['192.168.0.1:9100', 'web-1', 'i-am-no-instance', 'i-1'])(
    'names no machine by the label instance=%s',
    (value) => {
      expect(parse(only(0, {}, { instance_id: null, instance: value })).targets).toEqual([]);
    },
  );

  it('goes by the status of the group where an alert has none', () => {
    expect(parse({ ...only(0, { status: undefined }), status: 'resolved' }).condition).toBe('resolved');
  });

  it('is refused with every fault of every alert', () => {
    const bad = { alerts: [{ status: 'firing', startsAt: 'x' }, group['alerts'][0], { status: 'pending' }] };
    expect(faultsOf(bad)).toEqual([
      ['alerts.0.startsAt', 'is not a time'],
      ['alerts.2.status', 'is neither firing nor resolved'],
      ['alerts.2.startsAt', 'is missing'],
    ]);
    expect(faultsOf({ alerts: [] })).toEqual([['alerts', 'must not be empty']]);
    expect(faultsOf({ alerts: null })).toEqual([['alerts', 'must not be empty']]);
    expect(problemOf({ alerts: [null] }).code).toBe('invalid-payload');
  });

  it('of more than fifty is read as far as that, and what fires is first', () => {
    const one = (i: number, status: string) => ({ status, startsAt: '2026-03-04T05:06:07Z', fingerprint: `f${i}` });
    const many = Array.from({ length: 70 }, (_, i) => one(i, i < 40 ? 'resolved' : 'firing'));
    const { notices, left } = readCloudMonitor(encoded({ alerts: many }));
    expect([notices.length, left]).toEqual([50, 20]);
    expect(notices.filter(({ alert }) => alert.condition === 'fired')).toHaveLength(30);
  });

  it('is archived alert by alert', () => {
    const payloads = readCloudMonitor(encoded(group)).notices.map((n) => new TextDecoder().decode(n.payload));
    expect(payloads.map((text) => (JSON.parse(text) as Payload)['alerts'].length)).toEqual([1, 1, 1]);
    expect(payloads.map((text) => parse(text))).toEqual(alerts());
  });
});

describe('an envelope of CloudEvents', () => {
  const envelope = json('written-eventbridge-ecs.json');

  it('lends its attributes to data that has none', () => {
    expect(parse(envelope)).toEqual({
      source: 'cloudmonitor',
      kind: 'event',
      externalId: '1000000000000001|45ef4dewdwe1-7c35-447a-bd93-fab0001',
      rule: 'ecs:Instance:StateChange',
      condition: 'fired',
      firedAt: new Date('2026-03-04T05:06:07.123Z'),
      targets: [{ id: target(1), resourceType: 'acs:ecs:instance' }],
      description: 'ecs:Instance:StateChange: Stopped',
    });
  });

  it.each<[string, Payload]>([
    ['a threshold alert', fields()],
    ['an event', json('event-callback-doc-sample.json')],
  ])('is taken off %s', (_, data) => {
    expect(parse({ ...envelope, data })).toEqual(parse(data));
    expect(parse({ ...envelope, data: JSON.stringify(data) })).toEqual(parse(data));
  });

  it('is taken off a group', () => {
    const group = json('written-alertmanager-group.json');
    const bare = readCloudMonitor(encoded(group)).notices;
    expect(readCloudMonitor(encoded({ ...envelope, data: group })).notices).toEqual(bare);
  });

  it.each([[null], ['text'], [[]], [5]])('around %j is of no known schema', (data) => {
    expect(problemOf({ ...envelope, data }).code).toBe('unsupported-schema');
  });

  it('without a time is refused', () => {
    expect(faultsOf({ ...envelope, time: null })).toEqual([['eventTime', 'is missing']]);
  });
});

it('what it is, its content tells and nothing else', () => {
  const withMark = new Uint8Array([0xef, 0xbb, 0xbf, ...encoded(fields())]);
  expect(parse(withMark)).toEqual(parse(callback()));
  expect(parse(`\r\n ${JSON.stringify(fields())}\n`)).toEqual(parse(callback()));
});
