import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { until } from '../until.ts';
import { ALL, COLLECTOR, Emulator, SOURCE, type Value } from './harness.ts';

let cloud: Emulator;
beforeAll(async () => {
  cloud = await Emulator.start();
});
afterAll(() => cloud[Symbol.asyncDispose]());

/** All that a create needs, on an interface of its own. */
const asked = (priority: number, more: Record<string, Value> = {}): Record<string, Value> => ({
  Priority: priority,
  TrafficMirrorFilterId: ALL,
  TrafficMirrorTargetId: COLLECTOR,
  TrafficMirrorTargetType: 'NetworkInterface',
  TrafficMirrorSourceIds: [`eni-of${priority}`],
  ...more,
});
const codeOf = async (...call: Parameters<Emulator['call']>) => (await cloud.call(...call)).body.Code as string;
const update = (id: string, more: Record<string, Value>) =>
  cloud.call('UpdateTrafficMirrorSessionAttribute', { TrafficMirrorSessionId: id, ...more });
const tokenOf = () => crypto.randomUUID();

describe('the life of a session', () => {
  test('made, changed, deleted: each time it takes a while', async () => {
    await cloud.control({ faults: { settleSeconds: 0.4 } });
    const made = await cloud.done('CreateTrafficMirrorSession', asked(201, { TrafficMirrorSessionName: 'mine' }));
    expect(made).toEqual({
      RequestId: expect.any(String),
      ResourceGroupId: 'rg-default0001',
      TrafficMirrorSessionId: expect.stringMatching(/^tms-bp1[a-z0-9]{17}$/),
    });
    const id = made.TrafficMirrorSessionId as string;
    const first = await cloud.listed(id);
    expect(first).toEqual({
      TrafficMirrorSessionId: id,
      TrafficMirrorSessionName: 'mine',
      TrafficMirrorSessionDescription: '',
      TrafficMirrorSessionStatus: 'Creating',
      TrafficMirrorSessionBusinessStatus: 'Normal',
      Enabled: false,
      Priority: 201,
      VirtualNetworkId: expect.any(Number),
      PacketLength: 1500,
      TrafficMirrorFilterId: ALL,
      TrafficMirrorTargetId: COLLECTOR,
      TrafficMirrorTargetType: 'NetworkInterface',
      TrafficMirrorSourceIds: ['eni-of201'],
      ResourceGroupId: 'rg-default0001',
      Tags: [],
      CreationTime: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\dZ$/),
    });
    expect((await update(id, { Enabled: true })).body.Code).toBe('IncorrectStatus.TrafficMirrorSession');
    await cloud.settled(id);

    const change = { Enabled: true, VirtualNetworkId: 0, PacketLength: 64, TrafficMirrorSessionDescription: 'why' };
    expect((await update(id, change)).status).toBe(200);
    expect(await cloud.listed(id)).toMatchObject({ ...change, TrafficMirrorSessionStatus: 'Modifying' });
    for (const action of ['UpdateTrafficMirrorSessionAttribute', 'DeleteTrafficMirrorSession']) {
      expect(await codeOf(action, { TrafficMirrorSessionId: id })).toBe('IncorrectStatus.TrafficMirrorSession');
    }
    const sources = { TrafficMirrorSessionId: id, TrafficMirrorSourceIds: ['eni-more'] };
    expect(await codeOf('AddSourcesToTrafficMirrorSession', sources)).toBe('IncorrectStatus.TrafficMirrorSession');
    expect(await cloud.settled(id)).toMatchObject({ ...change, TrafficMirrorSessionName: 'mine' });

    await cloud.done('DeleteTrafficMirrorSession', { TrafficMirrorSessionId: id });
    expect(await cloud.listed(id)).toMatchObject({ TrafficMirrorSessionStatus: 'Deleting' });
    expect(await codeOf('DeleteTrafficMirrorSession', { TrafficMirrorSessionId: id })).toBe(
      'IncorrectStatus.TrafficMirrorSession',
    );
    await until('its end', async () => (await cloud.listed(id)) === undefined);
    expect(await codeOf('DeleteTrafficMirrorSession', { TrafficMirrorSessionId: id })).toBe(
      'ResourceNotFound.TrafficMirrorSession',
    );
    await cloud.control({ faults: null });
  });

  test('sources come and go', async () => {
    const id = await cloud.session(asked(202));
    const given = { TrafficMirrorSessionId: id, TrafficMirrorSourceIds: ['eni-second', 'eni-third'] };
    await cloud.done('AddSourcesToTrafficMirrorSession', given);
    expect((await cloud.settled(id)).TrafficMirrorSourceIds).toEqual(['eni-of202', 'eni-second', 'eni-third']);
    expect(await codeOf('AddSourcesToTrafficMirrorSession', given)).toBe(
      'ResourceAlreadyAssociated.TrafficMirrorSource',
    );
    await cloud.done('RemoveSourcesFromTrafficMirrorSession', given);
    expect((await cloud.settled(id)).TrafficMirrorSourceIds).toEqual(['eni-of202']);
    expect(await codeOf('RemoveSourcesFromTrafficMirrorSession', given)).toBe(
      'ResourceNotAssociated.TrafficMirrorSource',
    );
  });

  test('what an update leaves out stays, or has the documented default where that is set', async () => {
    const id = await cloud.session(asked(203, { VirtualNetworkId: 203, Enabled: true }));
    await update(id, { TrafficMirrorSessionName: 'renamed' });
    expect(await cloud.settled(id)).toMatchObject({ Enabled: true, VirtualNetworkId: 203 });
    await cloud.control({ faults: { omitted: 'reset' } });
    await update(id, { TrafficMirrorSessionName: 'again' });
    const after = await cloud.settled(id);
    expect(after).toMatchObject({ Enabled: false, Priority: 203, PacketLength: 1500 });
    expect(after.VirtualNetworkId).not.toBe(203);
    await cloud.control({ faults: null });
  });

  test('a session whose filter is being changed cannot be changed, and the other way round', async () => {
    const filter = await cloud.filter();
    const id = await cloud.session(asked(204, { TrafficMirrorFilterId: filter }));
    await cloud.control({ faults: { hold: true } });
    const rules = {
      TrafficMirrorFilterId: filter,
      IngressRules: [{ Action: 'accept', Protocol: 'ALL', Priority: 1 }],
    };
    await cloud.done('CreateTrafficMirrorFilterRules', rules);
    expect((await update(id, { Enabled: true })).body.Code).toBe('IncorrectStatus.TrafficMirrorFilter');
    expect(await codeOf('DeleteTrafficMirrorSession', { TrafficMirrorSessionId: id })).toBe(
      'IncorrectStatus.TrafficMirrorFilter',
    );
    await cloud.control({ faults: { hold: false } });
    await cloud.filterSettled(filter);
    await cloud.control({ faults: { hold: true } });
    await update(id, { Enabled: true });
    expect(await codeOf('CreateTrafficMirrorFilterRules', rules)).toBe('IncorrectStatus.TrafficMirrorSession');
    await cloud.control({ faults: null });
    await cloud.settled(id);
    expect(await codeOf('DeleteTrafficMirrorFilter', { TrafficMirrorFilterId: filter })).toBe(
      'DependencyViolation.TrafficMirrorSession',
    );
  });
});

describe('a client token', () => {
  test('the same again: the same session, and one only', async () => {
    const given = asked(211, { ClientToken: tokenOf() });
    const first = await cloud.done('CreateTrafficMirrorSession', given);
    const again = await cloud.done('CreateTrafficMirrorSession', given);
    expect(again.TrafficMirrorSessionId).toBe(first.TrafficMirrorSessionId);
    expect(again.RequestId).not.toBe(first.RequestId);
    expect((await cloud.done('ListTrafficMirrorSessions', { Priority: 211 })).TotalCount).toBe('1');
  });

  test('other parameters, or another call, with a token that was used', async () => {
    const given = asked(212, { ClientToken: tokenOf() });
    const { TrafficMirrorSessionId: id } = await cloud.done('CreateTrafficMirrorSession', given);
    await cloud.settled(id);
    expect(await codeOf('CreateTrafficMirrorSession', { ...given, PacketLength: 100 })).toBe(
      'IdempotentParameterMismatch',
    );
    const token = { ClientToken: given['ClientToken'] ?? '', TrafficMirrorSessionId: id };
    expect(await codeOf('DeleteTrafficMirrorSession', token)).toBe('IdempotentParameterMismatch');
  });

  test('a repeated delete succeeds although the session is gone', async () => {
    const id = await cloud.session(asked(213));
    const given = { TrafficMirrorSessionId: id, ClientToken: tokenOf() };
    await cloud.done('DeleteTrafficMirrorSession', given);
    await until('its end', async () => (await cloud.listed(id)) === undefined);
    expect((await cloud.call('DeleteTrafficMirrorSession', given)).status).toBe(200);
  });

  test('a refused call and a dry run leave the token unused', async () => {
    const given = asked(214, { ClientToken: tokenOf() });
    expect(await codeOf('CreateTrafficMirrorSession', { ...given, TrafficMirrorFilterId: 'tmf-none' })).toBe(
      'ResourceNotFound.TrafficMirrorFilter',
    );
    expect(await codeOf('CreateTrafficMirrorSession', { ...given, DryRun: true })).toBe('DryRunOperation');
    expect((await cloud.call('CreateTrafficMirrorSession', given)).status).toBe(200);
  });

  test.each(['x'.repeat(65), 'zähler'])('of another form: %s', async (ClientToken) => {
    expect(await codeOf('CreateTrafficMirrorSession', asked(215, { ClientToken }))).toBe('IllegalParam.ClientToken');
  });
});

describe('a dry run', () => {
  test('ends with an error that means success, and changes nothing', async () => {
    const { status, body } = await cloud.call('CreateTrafficMirrorSession', asked(221, { DryRun: true }));
    expect(status).toBe(400);
    expect(body).toMatchObject({
      Code: 'DryRunOperation',
      Message: 'Request validation has been passed with DryRun flag set.',
    });
    expect((await cloud.done('ListTrafficMirrorSessions', { Priority: 221 })).TotalCount).toBe('0');
  });

  test('names what is wrong', async () => {
    const given = asked(222, { DryRun: true, TrafficMirrorSourceIds: ['eni-nosupport1'] });
    expect(await codeOf('CreateTrafficMirrorSession', given)).toBe('OperationDenied.EcsNotSupportTrafficMirror');
  });
});

describe('lists', () => {
  test('come in pages', async () => {
    const Tag = [{ Key: 'page', Value: 'yes' }];
    for (let i = 0; i < 13; i += 1) {
      // Targets of their own: one takes no more than 20 sources.
      const target = { TrafficMirrorTargetId: `eni-target${i}` };
      await cloud.done('CreateTrafficMirrorSession', asked(271 + i, { Tag, ...target }));
    }
    const ids: string[] = [];
    const sizes: number[] = [];
    let NextToken = '';
    do {
      const next = NextToken ? { NextToken } : {};
      const body = await cloud.done('ListTrafficMirrorSessions', { Tags: Tag, MaxResults: 6, ...next });
      expect(body.TotalCount).toBe('13');
      sizes.push(body.TrafficMirrorSessions.length);
      ids.push(...body.TrafficMirrorSessions.map((each: any) => each.TrafficMirrorSessionId));
      NextToken = body.NextToken;
    } while (NextToken);
    expect(sizes).toEqual([6, 6, 1]);
    expect(new Set(ids).size).toBe(13);
    expect((await cloud.done('ListTrafficMirrorSessions')).TrafficMirrorSessions).toHaveLength(10);
    for (const [given, code] of [
      [{ NextToken: 'rubbish' }, 'IllegalParam.NextToken'],
      [{ MaxResults: 101 }, 'IllegalParam.MaxResults'],
      [{ MaxResults: 0 }, 'IllegalParam.MaxResults'],
    ] as const) {
      expect(await codeOf('ListTrafficMirrorSessions', given)).toBe(code);
    }
  });

  test('of what is asked for', async () => {
    const tags = [
      { Key: 'installation', Value: 'a' },
      { Key: 'run', Value: '231' },
    ];
    const id = await cloud.session(
      asked(231, { Tag: tags, TrafficMirrorSessionName: 'run-231', VirtualNetworkId: 231, Enabled: true }),
    );
    const idsOf = async (given: Record<string, Value>) => {
      const { TrafficMirrorSessions } = await cloud.done('ListTrafficMirrorSessions', { MaxResults: 100, ...given });
      return TrafficMirrorSessions.map((each: any) => each.TrafficMirrorSessionId) as string[];
    };
    for (const given of [
      { TrafficMirrorSessionName: 'run-231' },
      { VirtualNetworkId: 231 },
      { Priority: 231 },
      { TrafficMirrorSourceId: 'eni-of231' },
      { Tags: [{ Key: 'run', Value: '231' }] },
      { Tags: tags },
      { TrafficMirrorSessionIds: [id, 'tms-none'] },
    ]) {
      expect([given, await idsOf(given)]).toEqual([given, [id]]);
    }
    expect(await idsOf({ Tags: [{ Key: 'run', Value: '1' }] })).toEqual([]);
    expect(await idsOf({ TrafficMirrorSessionName: 'run' })).toEqual([]);
    const [enabled, disabled, all] = [await idsOf({ Enabled: true }), await idsOf({ Enabled: false }), await idsOf({})];
    expect(enabled).toEqual(expect.arrayContaining(['tms-foreign0001', id]));
    expect(disabled).toContain('tms-prepared0001');
    expect(all.toSorted()).toEqual([...enabled, ...disabled].toSorted());
  });
});

describe('tags', () => {
  const TYPE = 'TrafficMirrorSession';
  test('are put on, listed and taken away', async () => {
    const id = await cloud.session(asked(241, { Tag: [{ Key: 'a', Value: '1' }] }));
    const of = { ResourceType: TYPE, ResourceId: [id] };
    await cloud.done('TagResources', {
      ...of,
      Tag: [
        { Key: 'b', Value: '2' },
        { Key: 'a', Value: '3' },
      ],
    });
    const listed = await cloud.done('ListTagResources', of);
    const entry = { ResourceId: id, ResourceType: 'TRAFFICMIRRORSESSION' };
    expect(listed.TagResources.TagResource).toEqual([
      { ...entry, TagKey: 'a', TagValue: '3' },
      { ...entry, TagKey: 'b', TagValue: '2' },
    ]);
    await cloud.done('UnTagResources', { ...of, TagKey: ['a'] });
    expect((await cloud.listed(id)).Tags).toEqual([{ Key: 'b', Value: '2' }]);
    await cloud.done('UnTagResources', { ...of, All: true });
    expect((await cloud.listed(id)).Tags).toEqual([]);
  });

  const tag = { Key: 'k', Value: 'v' };
  test.each<[string, Record<string, Value>]>([
    ['InvalidInstanceIds.NotFound', { ResourceType: TYPE, ResourceId: ['tms-none'], Tag: [tag] }],
    ['InvalidInstanceType.NotFound', { ResourceType: 'VPC', ResourceId: ['tms-prepared0001'], Tag: [tag] }],
    ['MissingParam.Tags', { ResourceType: TYPE, ResourceId: ['tms-prepared0001'] }],
    ['MissingParam.ResourceType', { ResourceId: ['tms-prepared0001'], Tag: [tag] }],
    ['InvalidTagKey', { ResourceType: TYPE, ResourceId: ['tms-prepared0001'], Tag: [{ Key: 'acs:x', Value: '' }] }],
    [
      'SizeLimitExceeded.TagNum',
      {
        ResourceType: TYPE,
        ResourceId: ['tms-prepared0001'],
        Tag: Array.from({ length: 21 }, (_, i) => ({ Key: `k${i}`, Value: '' })),
      },
    ],
    [
      'SizeLimitExceeded.ResourceId',
      { ResourceType: TYPE, ResourceId: Array.from({ length: 51 }, (_, i) => `tms-${i}`), Tag: [tag] },
    ],
  ])('%s', async (code, given) => {
    expect(await codeOf('TagResources', given)).toBe(code);
  });

  test('together not more than 20', async () => {
    const tags = (prefix: string, count: number) =>
      Array.from({ length: count }, (_, i) => ({ Key: `${prefix}${i}`, Value: '' }));
    const id = await cloud.session(asked(242, { Tag: tags('a', 15) }));
    const more = { ResourceType: TYPE, ResourceId: [id], Tag: tags('b', 6) };
    expect(await codeOf('TagResources', more)).toBe('QuotaExceeded.TagNum');
  });
});

describe('the service of the region', () => {
  test('must be opened, once', async () => {
    const status = async () => (await cloud.done('GetTrafficMirrorServiceStatus')).Enabled;
    expect(await status()).toBe(true);
    expect(await codeOf('OpenTrafficMirrorService')).toBe('ORDER.OPEND');
    await cloud.control({ open: false });
    expect(await status()).toBe(false);
    expect(await codeOf('CreateTrafficMirrorSession', asked(251))).toBe('OptInRequired.TrafficMirror');
    expect((await update('tms-prepared0001', { Enabled: true })).body.Code).toBe('OptInRequired.TrafficMirror');
    expect(await cloud.done('OpenTrafficMirrorService')).toMatchObject({ Code: '200', Message: 'successful' });
    expect(await status()).toBe(true);
  });

  test('arrears switch sessions off; paid, they come on again by themselves', async () => {
    const on = await cloud.session(asked(252, { Enabled: true }));
    const off = await cloud.session(asked(253, { Enabled: false }));
    await cloud.control({ arrears: true });
    const locked = { Enabled: false, TrafficMirrorSessionBusinessStatus: 'FinancialLocked' };
    expect(await cloud.listed(on)).toMatchObject(locked);
    expect(await cloud.listed(off)).toMatchObject(locked);
    expect((await update(on, { Enabled: false })).body.Code).toBe('IncorrectBusinessStatus.TrafficMirror');
    await cloud.control({ arrears: false });
    expect(await cloud.listed(on)).toMatchObject({ Enabled: true, TrafficMirrorSessionBusinessStatus: 'Normal' });
    expect(await cloud.listed(off)).toMatchObject({ Enabled: false, TrafficMirrorSessionBusinessStatus: 'Normal' });
  });
});

describe('filters', () => {
  const rule = (priority: number, more: Record<string, Value> = {}) => ({
    Action: 'accept',
    Protocol: 'TCP',
    Priority: priority,
    ...more,
  });

  test('the life of a filter and its rules', async () => {
    await cloud.control({ faults: { settleSeconds: 0.3 } });
    const given = { TrafficMirrorFilterName: 'web', IngressRules: [rule(1, { DestinationPortRange: '80/90' })] };
    const { TrafficMirrorFilterId: id } = await cloud.done('CreateTrafficMirrorFilter', given);
    const listed = async () =>
      (await cloud.done('ListTrafficMirrorFilters', { TrafficMirrorFilterIds: [id] })).TrafficMirrorFilters[0];
    expect(await listed()).toMatchObject({ TrafficMirrorFilterStatus: 'Creating' });
    expect(await codeOf('CreateTrafficMirrorSession', asked(261, { TrafficMirrorFilterId: id }))).toBe(
      'IncorrectStatus.TrafficMirrorFilter',
    );
    const [made] = (await cloud.filterSettled(id)).IngressRules;
    expect(made).toEqual({
      TrafficMirrorFilterId: id,
      TrafficMirrorFilterRuleId: expect.stringMatching(/^tmr-/),
      TrafficMirrorFilterRuleStatus: 'Created',
      TrafficDirection: 'ingress',
      Action: 'accept',
      Priority: 1,
      Protocol: 'TCP',
      SourceCidrBlock: '0.0.0.0/0',
      DestinationCidrBlock: '0.0.0.0/0',
      SourcePortRange: '-1/-1',
      DestinationPortRange: '80/90',
      IpVersion: 'IPv4',
    });
    const added = await cloud.done('CreateTrafficMirrorFilterRules', {
      TrafficMirrorFilterId: id,
      EgressRules: [rule(1), rule(2, { Action: 'drop', Protocol: 'ALL' })],
    });
    const [second, third] = added.EgressRules.map((each: any) => each.InstanceId);
    expect(added.IngressRules).toEqual([]);
    expect((await listed()).EgressRules).toMatchObject([
      { TrafficMirrorFilterRuleId: second, TrafficMirrorFilterRuleStatus: 'Creating' },
      { TrafficMirrorFilterRuleId: third, Action: 'drop' },
    ]);
    const ruleIs = (TrafficMirrorFilterRuleId: string) => ({ TrafficMirrorFilterRuleId });
    expect(await codeOf('UpdateTrafficMirrorFilterRuleAttribute', ruleIs(second))).toBe(
      'IncorrectStatus.TrafficMirrorRule',
    );
    await cloud.filterSettled(id);
    expect(await codeOf('UpdateTrafficMirrorFilterRuleAttribute', { ...ruleIs(second), Priority: 2 })).toBe(
      'DuplicatedParam.Priority',
    );
    await cloud.done('UpdateTrafficMirrorFilterRuleAttribute', {
      ...ruleIs(second),
      RuleAction: 'drop',
      Protocol: 'UDP',
      DestinationPortRange: '53/53',
    });
    expect((await cloud.filterSettled(id)).EgressRules[0]).toMatchObject({
      Action: 'drop',
      Protocol: 'UDP',
      DestinationPortRange: '53/53',
    });
    await cloud.done('DeleteTrafficMirrorFilterRules', {
      TrafficMirrorFilterId: id,
      TrafficMirrorFilterRuleIds: [second, third],
    });
    expect((await listed()).EgressRules[0]).toMatchObject({ TrafficMirrorFilterRuleStatus: 'Deleting' });
    expect((await cloud.filterSettled(id)).EgressRules).toEqual([]);
    await cloud.done('UpdateTrafficMirrorFilterAttribute', { TrafficMirrorFilterId: id, TrafficMirrorFilterName: 'x' });
    expect(await listed()).toMatchObject({ TrafficMirrorFilterStatus: 'Created', TrafficMirrorFilterName: 'x' });
    await cloud.done('DeleteTrafficMirrorFilter', { TrafficMirrorFilterId: id });
    expect(await listed()).toMatchObject({ TrafficMirrorFilterStatus: 'Deleting' });
    await until('its end', async () => (await listed()) === undefined);
    await cloud.control({ faults: null });
  });

  const ten = Array.from({ length: 10 }, (_, i) => rule(i + 1));
  test.each<[string, Record<string, Value>]>([
    ['UnsupportedFeature.IpVersion', { IngressRules: [rule(1, { IpVersion: 'IPv6' })] }],
    ['DuplicatedParam.Priority', { IngressRules: [rule(1), rule(1)] }],
    ['IllegalParamFormat.SrcCidrBlock', { IngressRules: [rule(1, { SourceCidrBlock: '10.0.0.0/33' })] }],
    ['IllegalParamFormat.DstCidrBlock', { EgressRules: [rule(1, { DestinationCidrBlock: '10.0.0' })] }],
    ['QuotaExceeded.TrafficMirrorRulesPerFilter', { IngressRules: [...ten, rule(11)] }],
    ['IllegalParam.Action', { IngressRules: [rule(1, { Action: 'mirror' })] }],
    ['IllegalParam.Protocol', { IngressRules: [rule(1, { Protocol: 'tcp' })] }],
    ['IllegalParam.DestinationPortRange', { IngressRules: [rule(1, { DestinationPortRange: '0/10' })] }],
    ['IllegalParam.SourcePortRange', { IngressRules: [rule(1, { SourcePortRange: '20/10' })] }],
    ['IllegalParam.SourcePortRange', { IngressRules: [rule(1, { Protocol: 'ICMP', SourcePortRange: '1/2' })] }],
    ['IllegalParam.Priority', { IngressRules: [rule(0)] }],
    ['IllegalParam.TrafficMirrorFilterName', { TrafficMirrorFilterName: 'http://x' }],
  ])('CreateTrafficMirrorFilter: %s', async (code, given) => {
    expect(await codeOf('CreateTrafficMirrorFilter', given)).toBe(code);
  });

  test('the same priority in both directions, and twenty rules, are fine', async () => {
    const id = await cloud.filter({ IngressRules: ten, EgressRules: ten });
    const more = { TrafficMirrorFilterId: id, EgressRules: [rule(11)] };
    expect(await codeOf('CreateTrafficMirrorFilterRules', more)).toBe('QuotaExceeded.TrafficMirrorRulesPerFilter');
  });

  test.each<[string, string, Record<string, Value>]>([
    ['CreateTrafficMirrorFilterRules', 'IllegalParam.CidrBlock', { IngressRules: [rule(9, { SourceCidrBlock: 'x' })] }],
    ['CreateTrafficMirrorFilterRules', 'DuplicatedParam.Priority', { IngressRules: [rule(1)] }],
    ['DeleteTrafficMirrorFilterRules', 'ResourceNotFound.TrafficMirrorRule', { TrafficMirrorFilterRuleIds: ['tmr-x'] }],
    [
      'UpdateTrafficMirrorFilterRuleAttribute',
      'ResourceNotFound.TrafficMirrorRule',
      { TrafficMirrorFilterRuleId: 'x' },
    ],
  ])('%s: %s', async (action, code, given) => {
    expect(await codeOf(action, { TrafficMirrorFilterId: ALL, ...given })).toBe(code);
  });

  test.each([
    'UpdateTrafficMirrorFilterAttribute',
    'DeleteTrafficMirrorFilter',
    'CreateTrafficMirrorFilterRules',
    'DeleteTrafficMirrorFilterRules',
  ])('%s of none', async (action) => {
    const given = { TrafficMirrorFilterId: 'tmf-none', TrafficMirrorFilterRuleIds: ['tmr-x'] };
    expect(await codeOf(action, given)).toBe('ResourceNotFound.TrafficMirrorFilter');
  });

  test('no more than the quota', async () => {
    await cloud.control({ faults: { quotas: { filters: 3 } } });
    expect(await codeOf('CreateTrafficMirrorFilter')).toBe('QuotaExceeded.TrafficMirrorFilter');
    await cloud.control({ faults: null });
  });
});

test('a source is found by its instance', async () => {
  const { NetworkInterfaceSets } = await cloud.done(
    'DescribeNetworkInterfaces',
    { InstanceId: 'i-8psdh7l6lphbn10l0001', Type: 'Primary' },
    { product: 'Ecs' },
  );
  expect(NetworkInterfaceSets.NetworkInterfaceSet[0].NetworkInterfaceId).toBe(SOURCE);
});
