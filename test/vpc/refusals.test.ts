import { readFileSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { ALL, COLLECTOR, Emulator, SOURCE, type Value } from './harness.ts';

let cloud: Emulator;
beforeAll(async () => {
  cloud = await Emulator.start();
});
afterAll(() => cloud[Symbol.asyncDispose]());
afterEach(() => cloud.control({ faults: null, open: true, arrears: false }));

/** Alibaba's API metadata of 2024-06-24 for traffic mirroring, without its Chinese texts and examples. */
const SPEC = JSON.parse(readFileSync('test/vpc/spec.json', 'utf8')) as Record<
  string,
  { errors: { status: number; code: string; message: string }[] }
>;
const messagesOf = (action: string, code: string) =>
  (SPEC[action]?.errors ?? []).filter((each) => each.code === code).map((each) => each.message);

const GIVEN: Record<string, Value> = {
  Priority: 500,
  TrafficMirrorFilterId: ALL,
  TrafficMirrorTargetId: COLLECTOR,
  TrafficMirrorTargetType: 'NetworkInterface',
  TrafficMirrorSourceIds: ['eni-plain'],
};
const many = (count: number) => Array.from({ length: count }, (_, i) => `eni-many${i}`);

type Case = [code: string, why: string, given: Record<string, Value>, control?: object];

const SLB = { TrafficMirrorTargetType: 'SLB' };
const CREATE: Case[] = [
  ['IncorrectBusinessStatus.TrafficMirror', 'in arrears', {}, { arrears: true }],
  ['OptInRequired.TrafficMirror', 'the service is not open', {}, { open: false }],
  ['DuplicatedParam.SourceInstanceIds', 'twice the same source', { TrafficMirrorSourceIds: [SOURCE, SOURCE] }],
  ['OperationDenied.DuplicateRole', 'its own target', { TrafficMirrorSourceIds: [COLLECTOR] }],
  ['OperationDenied.DuplicateRole', 'the target of another', { TrafficMirrorSourceIds: ['eni-sensor0001'] }],
  ['OperationDenied.DuplicateRole', 'a source as target', { TrafficMirrorTargetId: SOURCE }],
  ['ResourceNotFound.NetworkInterface', 'no such source', { TrafficMirrorSourceIds: ['eni-missing1'] }],
  [
    'ResourceNotFound.NetworkInterface',
    'its instance was released',
    { TrafficMirrorSourceIds: [SOURCE] },
    { faults: { gone: ['i-8psdh7l6lphbn10l0001'] } },
  ],
  ['ResourceNotFound.EcsInstance', 'its instance is not there', { TrafficMirrorSourceIds: ['eni-orphan0001'] }],
  ['ResourceNotFound.Slb', 'no such balancer', { ...SLB, TrafficMirrorTargetId: 'lb-none' }],
  ['OperationDenied.SlbNotInVpc', 'a balancer outside', { ...SLB, TrafficMirrorTargetId: 'lb-novpc0001' }],
  ['ResourceNotFound.TrafficMirrorFilter', 'no such filter', { TrafficMirrorFilterId: 'tmf-none' }],
  ['OperationDenied.EcsNotSupportTrafficMirror', 'the type', { TrafficMirrorSourceIds: ['eni-legacy0001'] }],
  ['OperationDenied.EcsNotSupportTrafficMirror', 'by its name', { TrafficMirrorSourceIds: ['eni-nosupport1'] }],
  ['QuotaExceeded.SessionNum', 'sessions', {}, { faults: { quotas: { sessions: 2 } } }],
  ['QuotaExceeded.FilterRelatedSession', 'of a filter', {}, { faults: { quotas: { sessionsPerFilter: 1 } } }],
  ['QuotaExceeded.SourceNumPerSession', 'eleven sources', { TrafficMirrorSourceIds: many(11) }],
  [
    'QuotaExceeded.NetworkInterfaceRelatedSession',
    'of a source',
    { TrafficMirrorSourceIds: [SOURCE] },
    { faults: { quotas: { sessionsPerSource: 1 } } },
  ],
  [
    'QuotaExceeded.SlbRelatedSession',
    'of a balancer',
    { ...SLB, TrafficMirrorTargetId: 'lb-collector0001' },
    { faults: { quotas: { sessionsPerBalancer: 0 } } },
  ],
  ['UnsupportedRegion', 'another region', { RegionId: 'eu-west-1' }],
  ['InvalidLoadBalancerId.NotFound', 'no id of a balancer', { ...SLB }],
  ['OperationDenied.FreeNetworkInterface', 'attached to none', { TrafficMirrorSourceIds: ['eni-free0001'] }],
  ['OperationDenied.ClassicSLB', 'an old balancer', { ...SLB, TrafficMirrorTargetId: 'lb-classic0001' }],
  ['ResourceNotFound.TargetInstance', 'no such target', { TrafficMirrorTargetId: 'eni-missing1' }],
  [
    'QuotaExceeded.SourceNumPerTarget',
    'of a target',
    { TrafficMirrorSourceIds: many(9) },
    { faults: { quotas: { sourcesPerInterface: 10 } } },
  ],
  ['IncorrectStatus.NetworkInterface', 'being attached', { TrafficMirrorSourceIds: ['eni-attaching0001'] }],
  ['OperationFailed.NotSupportBizType', 'a managed source', { TrafficMirrorSourceIds: ['eni-managed0001'] }],
  ['OperationFailed.NotSupportBizType', 'a managed target', { TrafficMirrorTargetId: 'eni-managed0001' }],
  ['IllegalParam.Priority', 'taken', { Priority: 1 }],
  ['IllegalParam.Priority', 'too high', { Priority: 32_767 }],
  ['IllegalParam.Priority', 'zero', { Priority: 0 }],
  ['IllegalParam.Priority', 'no number', { Priority: 'first' }],
  ['OperationDenied.UnsupportedTargetType', 'of a NAT gateway', { TrafficMirrorSourceIds: ['eni-natgw0001'] }],
  [
    'OperationDenied.TargetTypeNotSupportGatewayLoadBalancerEndpoint',
    'an endpoint',
    { TrafficMirrorTargetType: 'GatewayLoadBalancerEndpoint' },
  ],
  ['OperationDenied.TargetTypeNotSupportBondEni', 'a bond as target', { TrafficMirrorTargetId: 'eni-bond0001' }],
];

describe('CreateTrafficMirrorSession', () => {
  test.each(CREATE)('%s: %s', async (code, _, given, control) => {
    if (control) await cloud.control(control);
    const { status, body } = await cloud.call('CreateTrafficMirrorSession', { ...GIVEN, ...given });
    expect([status, body.Code]).toEqual([400, code]);
    // Two codes are newer than the metadata; one text has a place for the kind of resource.
    const documented = messagesOf('CreateTrafficMirrorSession', code);
    if (documented.length > 0) {
      expect(documented.map((text) => text.replace('%s', 'network interface'))).toContain(body.Message);
    }
  });

  test('a target type that there is not has a text of its own', async () => {
    const { body } = await cloud.call('CreateTrafficMirrorSession', { ...GIVEN, TrafficMirrorTargetType: 'Bucket' });
    expect(body).toMatchObject({
      Code: 'OperationDenied.UnsupportedTargetType',
      Message: 'The operation is not allowed because the target type is not supported.',
    });
  });

  test('a filter that is not ready yet', async () => {
    await cloud.control({ faults: { hold: true } });
    const { TrafficMirrorFilterId } = await cloud.done('CreateTrafficMirrorFilter');
    const { body } = await cloud.call('CreateTrafficMirrorSession', { ...GIVEN, TrafficMirrorFilterId });
    expect(body.Code).toBe('IncorrectStatus.TrafficMirrorFilter');
  });

  test('every documented code comes of a real condition', () => {
    const documented = new Set(SPEC['CreateTrafficMirrorSession']?.errors.map((each) => each.code));
    const covered = new Set(['IncorrectStatus.TrafficMirrorFilter', ...CREATE.map(([code]) => code)]);
    expect([...documented].filter((code) => !covered.has(code))).toEqual([]);
  });

  test.each<[string, Record<string, Value>]>([
    ['VirtualNetworkId', { VirtualNetworkId: 16_777_216 }],
    ['VirtualNetworkId', { VirtualNetworkId: -1 }],
    ['PacketLength', { PacketLength: 63 }],
    ['PacketLength', { PacketLength: 8501 }],
    ['Enabled', { Enabled: 'yes' }],
    ['TrafficMirrorSessionName', { TrafficMirrorSessionName: 'https://x' }],
    ['TrafficMirrorSessionName', { TrafficMirrorSessionName: 'x'.repeat(129) }],
    ['TrafficMirrorSessionDescription', { TrafficMirrorSessionDescription: 'x'.repeat(257) }],
    ['TrafficMirrorSourceIds', { TrafficMirrorSourceIds: many(31) }],
  ])('a wrong %s', async (name, given) => {
    const { status, body } = await cloud.call('CreateTrafficMirrorSession', { ...GIVEN, ...given });
    expect([status, body.Code]).toEqual([400, `IllegalParam.${name}`]);
  });

  test('the quotas are those of the guide', async () => {
    const at = (priority: number, sources: string[]) => ({
      ...GIVEN,
      Priority: priority,
      TrafficMirrorTargetId: 'eni-sensor0001',
      TrafficMirrorSourceIds: sources,
    });
    const codeOf = async (given: Record<string, Value>) =>
      (await cloud.call('CreateTrafficMirrorSession', given)).body.Code;
    for (const priority of [2, 3, 4]) await cloud.done('CreateTrafficMirrorSession', at(priority, ['eni-one']));
    expect(await codeOf(at(5, ['eni-one']))).toBe('QuotaExceeded.NetworkInterfaceRelatedSession');
    // The foreign session has one source there, the three above another three.
    await cloud.done('CreateTrafficMirrorSession', at(5, many(10)));
    expect(await codeOf(at(6, many(7)))).toBe('QuotaExceeded.SourceNumPerTarget');
    expect(await codeOf(at(6, many(6)))).toBeUndefined();
  });
});

describe('UpdateTrafficMirrorSessionAttribute', () => {
  test.each<Case>([
    ['DuplicatedParam.Priority', 'taken', { Priority: 1 }],
    ['IllegalParam.Priority', 'too high', { Priority: 40_000 }],
    ['ResourceNotFound.TrafficMirrorSession', 'no such session', { TrafficMirrorSessionId: 'tms-none' }],
    ['ResourceNotFound.TrafficMirrorFilter', 'no such filter', { TrafficMirrorFilterId: 'tmf-none' }],
    ['ResourceNotFound.NetworkInterface', 'no such target', { TrafficMirrorTargetId: 'eni-missing1' }],
    ['ResourceNotFound.EcsInstance', 'a target without instance', { TrafficMirrorTargetId: 'eni-orphan0001' }],
    ['ResourceNotFound.Slb', 'no such balancer', { ...SLB, TrafficMirrorTargetId: 'lb-none' }],
    ['InvalidLoadBalancerId.NotFound', 'no id of a balancer', { ...SLB, TrafficMirrorTargetId: 'x' }],
    ['OperationDenied.SlbNotInVpc', 'a balancer outside', { ...SLB, TrafficMirrorTargetId: 'lb-novpc0001' }],
    ['OperationDenied.ClassicSLB', 'an old balancer', { ...SLB, TrafficMirrorTargetId: 'lb-classic0001' }],
    ['OperationDenied.DuplicateRole', 'a source as target', { TrafficMirrorTargetId: SOURCE }],
    ['OperationDenied.FreeNetworkInterface', 'a target attached to none', { TrafficMirrorTargetId: 'eni-free0001' }],
    ['OperationFailed.NotSupportBizType', 'a managed target', { TrafficMirrorTargetId: 'eni-managed0001' }],
    [
      'QuotaExceeded.FilterRelatedSession',
      'of a filter',
      { TrafficMirrorFilterId: 'tmf-ids0001' },
      { faults: { quotas: { sessionsPerFilter: 1 } } },
    ],
    [
      'QuotaExceeded.SourceNumPerTarget',
      'of a target',
      { TrafficMirrorTargetId: 'eni-sensor0001' },
      { faults: { quotas: { sourcesPerInterface: 2 } } },
    ],
    [
      'QuotaExceeded.SlbRelatedSession',
      'of a balancer',
      { ...SLB, TrafficMirrorTargetId: 'lb-collector0001' },
      { faults: { quotas: { sessionsPerBalancer: 0 } } },
    ],
    ['IncorrectBusinessStatus.TrafficMirror', 'in arrears', { Enabled: true }, { arrears: true }],
  ])('%s: %s', async (code, _, given, control) => {
    if (control) await cloud.control(control);
    const call = { TrafficMirrorSessionId: 'tms-prepared0001', DryRun: true, ...given };
    const { status, body } = await cloud.call('UpdateTrafficMirrorSessionAttribute', call);
    expect([status, body.Code]).toEqual([400, code]);
  });

  test('a session is switched off whatever became of its sources', async () => {
    await cloud.control({ faults: { gone: ['i-8psdh7l6lphbn10l0001'], quotas: { sessionsPerSource: 0 } } });
    const off = { TrafficMirrorSessionId: 'tms-prepared0001', Enabled: false };
    await cloud.done('UpdateTrafficMirrorSessionAttribute', off);
    expect(await cloud.settled('tms-prepared0001')).toMatchObject({ Enabled: false });
  });
});

describe('sources of a session', () => {
  const of = { TrafficMirrorSessionId: 'tms-prepared0001' };
  test.each<[string, string, string[]]>([
    ['AddSourcesToTrafficMirrorSession', 'OperationUnsupported.BondingNetworkInterface', ['eni-bond0001']],
    ['AddSourcesToTrafficMirrorSession', 'QuotaExceeded.SourceNumPerSession', many(9)],
    ['AddSourcesToTrafficMirrorSession', 'DuplicatedParam.SourceInstanceIds', ['eni-x', 'eni-x']],
    ['AddSourcesToTrafficMirrorSession', 'ResourceAlreadyAssociated.TrafficMirrorSource', [SOURCE]],
    ['AddSourcesToTrafficMirrorSession', 'OperationDenied.DuplicateRole', [COLLECTOR]],
    ['AddSourcesToTrafficMirrorSession', 'OperationDenied.UnsupportedTargetType', ['eni-natgw0001']],
    ['RemoveSourcesFromTrafficMirrorSession', 'ResourceNotAssociated.TrafficMirrorSource', ['eni-x']],
    ['RemoveSourcesFromTrafficMirrorSession', 'ResourceNotFound.NetworkInterface', ['eni-missing1']],
  ])('%s: %s', async (action, code, sources) => {
    const { body } = await cloud.call(action, { ...of, TrafficMirrorSourceIds: sources });
    expect(body.Code).toBe(code);
    expect(messagesOf(action, code).map((text) => text.replace('%s', 'network interface'))).toContain(body.Message);
  });
});
