import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { statusBlob } from '../../collector/protocol.ts';
import type { AlibabaProvider } from '../../shared/provider/alibaba/alibaba.ts';
import type { ProviderError } from '../../shared/provider/provider.ts';
import { ALL, COLLECTOR, REGION } from '../vpc/harness.ts';
import { until } from '../until.ts';
import { errorOf, limits, soon } from './fake-arm.ts';
import {
  ACCOUNT,
  balancer,
  Collector,
  eni,
  instance,
  Mirrored,
  place,
  readied,
  wanted,
  type StateSession,
} from './mirror.ts';

let world: Mirrored;
let provider: AlibabaProvider;
beforeAll(async () => {
  world = await Mirrored.start(['--pace', '0']);
});
afterAll(() => world.cloud[Symbol.asyncDispose]());
afterEach(() => world.reset());

/** A provider whose collector is there. */
async function ready(options: Parameters<Mirrored['provider']>[0] = {}): Promise<AlibabaProvider> {
  await world.collector.report();
  await new Collector(world.documents, balancer.collector).report();
  provider = world.provider(options);
  return provider;
}
const refused = async (run: ReturnType<typeof wanted>): Promise<ProviderError> =>
  errorOf(provider.prepare(run, soon()));
/** The session that the cloud has for a run. */
async function made(run: ReturnType<typeof wanted>): Promise<StateSession | undefined> {
  await provider.start(await provider.prepare(run, soon()), soon());
  return (await world.sessions(`tripcap-main-${run.runId}`))[0];
}
/** Somebody else's session. */
const foreign = (name: string, more: Record<string, string | number | boolean> = {}) =>
  world.cloud.session({
    Priority: priority++,
    TrafficMirrorTargetId: 'eni-sensor0001',
    TrafficMirrorSourceIds: [`eni-${name}`],
    ...more,
  });
let priority = 200;

describe('targets', () => {
  const other = { ...place, region: 'eu-central-1', mirrorTargetId: 'eni-other' };
  const one = () => world.provider();
  const two = () => world.provider({ places: [place, other] });

  it.each([
    [instance('web01'), instance('web01')],
    [instance('Web01').toUpperCase(), instance('web01')],
    [`acs:ecs:${REGION}::instance/i-web01`, instance('web01')],
    [`acs:ecs:${REGION}:${ACCOUNT}:eni/eni-web01`, eni('web01')],
    // Whoever has one region need not name it.
    ['i-web01', instance('web01')],
    ['eni-web01', eni('web01')],
    ['acs:ecs:::instance/i-web01', instance('web01')],
  ])('%s is %s', (id, canonical) => {
    expect(one().target(id)).toEqual({ kind: 'target', id: canonical });
    expect(one().target(canonical)).toEqual({ kind: 'target', id: canonical });
  });

  it('a bare id has the region that is told beside it', () => {
    expect(two().target('i-1', 'eu-central-1')).toEqual({
      kind: 'target',
      id: `acs:ecs:eu-central-1:${ACCOUNT}:instance/i-1`,
    });
  });

  it.each([
    ['i-1', 'unknown-target', /several are configured/],
    [`acs:ecs:us-west-1:${ACCOUNT}:instance/i-1`, 'subscription-not-configured', /us-west-1/],
    [`acs:ecs:${REGION}:42:instance/i-1`, 'subscription-not-configured', /Account 42/],
    [`acs:rds:${REGION}:${ACCOUNT}:dbinstance/rm-1`, 'unsupported-target', /ECS instances/],
    [`acs:ecs:${REGION}:${ACCOUNT}:instance/eni-1`, 'unsupported-target', /ECS instances/],
    [`acs:ecs:${REGION}:${ACCOUNT}:instance/i-1/x`, 'unsupported-target', /ECS instances/],
    [`acs:ecs:${REGION}:${ACCOUNT}:disk/d-1`, 'unsupported-target', /ECS instances/],
  ])('%s: %s', (id, reason, detail) => {
    expect(two().target(id)).toEqual({ kind: 'refused', reason, detail: expect.stringMatching(detail) });
  });

  it.each(['', 'web01', '/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/virtualMachines/i-1', 'ip-10'])(
    '"%s" is not of this cloud',
    (id) => {
      expect(two().target(id)).toBeUndefined();
    },
  );

  it('have no computer names here: alerts of this cloud name instances', async () => {
    expect(await one().machinesNamed()).toEqual([]);
  });
});

describe('what is mirrored', () => {
  it('is the primary interface of an instance, although it is not the first in the list', async () => {
    await ready();
    const { request, session } = await provider.prepare(wanted('8psdh7l6lphbn10l0001'), soon());
    expect(request).toMatchObject({ sources: [{ eni: 'eni-8psdh7l6lphbn10l0001', address: '10.0.0.4' }] });
    expect(session).toMatchObject({ errors: [], endless: true, manyFiles: true, account: 'mirrors' });
  });

  it('is the interface that is named, also one that is not primary', async () => {
    await ready();
    const { request } = await provider.prepare(wanted(eni('8psdh7l6lphbn10l0002')), soon());
    expect(request).toMatchObject({ sources: [{ eni: 'eni-8psdh7l6lphbn10l0002', address: '10.0.1.4' }] });
  });

  it.each<[string, string, string, boolean, RegExp]>([
    ['no such instance', instance('missing1'), 'target-not-found', false, /no instance i-missing1 in cn-hangzhou/],
    ['no such interface', eni('missing1'), 'target-not-found', false, /no interface eni-missing1/],
    ['one that a service manages', eni('managed0001'), 'invalid', false, /eni-managed0001 is managed by a service/],
    ['one of an instance that a service manages', instance('managed1'), 'invalid', false, /managed by a service/],
    ['one that is being attached', eni('attaching0001'), 'conflict', true, /eni-attaching0001 is attaching/],
    ['one that is attached to nothing', eni('free0001'), 'invalid', false, /attached to no instance/],
  ])('%s is refused', async (_, target, code, retry, detail) => {
    await ready();
    const error = await refused(wanted(target));
    expect(error).toMatchObject({ code, retry, message: expect.stringMatching(detail) });
    expect(error.next).not.toBe('');
  });

  it('is refused by what the cloud says to a dry run, once a filter is known', async () => {
    await ready({ places: [{ ...place, filterId: ALL }] });
    const kinds: Record<string, RegExp> = {
      nosupport1: /EcsNotSupportTrafficMirror/,
      natgw1: /UnsupportedTargetType/,
      bond1: /BondingNetworkInterface/,
    };
    for (const [name, code] of Object.entries(kinds)) {
      const error = await refused(wanted(name));
      expect(error).toMatchObject({ code: 'invalid', retry: false, message: expect.stringMatching(code) });
      expect(error.next).toMatch(/\.$/);
    }
    // A balancer takes what a network interface does not.
    provider = world.provider({ places: [{ ...balancer, filterId: ALL }] });
    await provider.prepare(wanted('natgw2'), soon());
  });

  it('cannot be a mirror target, whether configured or not', async () => {
    const second = { ...place, mirrorTargetId: 'eni-target2' };
    await ready({ places: [place, second] });
    for (const target of [eni('collector0001'), instance('collector0001'), eni('target2'), eni('sensor0001')])
      expect(await refused(wanted(target))).toMatchObject({
        code: 'invalid',
        message: expect.stringMatching(/is the target of mirror sessions/),
      });
  });

  it('has at most three sessions, and the error names them', async () => {
    await ready();
    const ids = [await foreign('busy1'), await foreign('busy1'), await foreign('busy1')];
    const error = await refused(wanted('busy1'));
    expect(error).toMatchObject({ code: 'quota', retry: false });
    for (const id of ids) expect(error.message).toContain(id);
    expect(error.next).toMatch(/alibaba\.mode enable/);
  });

  it('is nobody else’s: a session that comes first is a reason to refuse, unless the rule says to come before it', async () => {
    await ready();
    await foreign('shared1', { Enabled: true, Priority: 300 });
    const error = await refused(wanted('shared1'));
    expect(error).toMatchObject({ code: 'mirrored-already', retry: false });
    expect(error.message).toMatch(/tms-\w+ \(priority 300, filter tmf-all0001\) mirrors eni-shared1 already/);
    expect(error.next).toMatch(/alibaba\.priority/);
    expect(await refused(wanted('shared1', { alibaba: { priority: 301 } }))).toMatchObject({
      code: 'mirrored-already',
    });
    await provider.prepare(wanted('shared1', { alibaba: { priority: 299 } }), soon());
    // The best priority that there is leaves no way before it.
    expect((await refused(wanted('bp1ecr000100015go2go', { alibaba: { priority: 2 } }))).message).toMatch(
      /tms-foreign0001 \(priority 1,/,
    );
  });

  it('may have a session of somebody else that is disabled', async () => {
    await ready();
    await foreign('shared2', { Priority: 301 });
    expect((await provider.prepare(wanted('shared2'), soon())).session.id).toMatch(/^tripcap-main-/);
  });
});

describe('where it goes', () => {
  const few = { ...place, maxSources: 1 };

  it('is the first target of the region with room', async () => {
    await ready({ places: [few, balancer] });
    expect(await made(wanted('fan1'))).toMatchObject({ targetId: balancer.mirrorTargetId });
    await world.reset();
    // tms-prepared0001 has two sources.
    await ready({ places: [{ ...place, maxSources: 3 }, balancer] });
    expect(await made(wanted('fan1'))).toMatchObject({ targetId: COLLECTOR });
    expect(await made(wanted('fan2'))).toMatchObject({ targetId: balancer.mirrorTargetId, targetType: 'SLB' });
  });

  it('is nowhere when all are full', async () => {
    await ready({ places: [few] });
    const error = await refused(wanted('fan3'));
    expect(error).toMatchObject({ code: 'quota', message: expect.stringMatching(/eni-collector0001 has 2 of 1/) });
    expect(error.next).toMatch(/TRIPCAP_ALIBABA_REGIONS/);
  });

  it('is the target that is asked for, if it is one of ours', async () => {
    await ready({ places: [place, balancer] });
    const there = { alibaba: { mirrorTargetId: balancer.mirrorTargetId, mirrorTargetType: 'SLB' } };
    expect(await made(wanted('fan4', there))).toMatchObject({ targetId: balancer.mirrorTargetId });
    const error = await refused(wanted('fan4', { alibaba: { mirrorTargetId: 'eni-sensor0001' } }));
    expect(error).toMatchObject({ code: 'invalid', message: expect.stringMatching(/eni-sensor0001 is none of/) });
  });

  it('has a collector that has reported lately; what would be lost is not begun', async () => {
    provider = world.provider();
    expect(await refused(wanted('lost1'))).toMatchObject({
      code: 'no-collector',
      retry: true,
      message: expect.stringMatching(/mirror-1 has never reported/),
    });
    await world.collector.report(undefined, new Date(Date.now() - 60_000));
    expect(await refused(wanted('lost1'))).toMatchObject({
      code: 'no-collector',
      message: expect.stringMatching(/mirror-1 has not reported since/),
    });
    const name = statusBlob(place.collector);
    await world.documents.write(name, '{"version":1', (await world.documents.read(name))?.etag);
    expect(await refused(wanted('lost1'))).toMatchObject({ code: 'no-collector' });
  });

  it('is the next target when the collector of the first is silent', async () => {
    await new Collector(world.documents, balancer.collector).report();
    provider = world.provider({ places: [place, balancer] });
    expect(await made(wanted('lost2'))).toMatchObject({ targetId: balancer.mirrorTargetId });
  });
});

describe('which packets', () => {
  it('are all, by a filter that all runs share, or by the one that the region has', async () => {
    await ready();
    const { request } = await provider.prepare(wanted('all1'), soon());
    expect(request).toMatchObject({ filter: { name: 'tripcap-main-all', own: false } });
    await ready({ places: [{ ...place, filterId: ALL }] });
    expect((await provider.prepare(wanted('all1'), soon())).request).toMatchObject({ filter: { id: ALL } });
  });

  it('are those of the capture’s filters, by a filter of its own', async () => {
    await ready();
    const run = wanted('own1', { filters: [{ protocol: 'TCP', localPort: '443' }] });
    expect((await provider.prepare(run, soon())).request).toMatchObject({
      filter: {
        own: true,
        rules: {
          ingress: [{ protocol: 'TCP', sourcePortRange: '-1/-1', destinationPortRange: '443/443' }],
          egress: [{ protocol: 'TCP', sourcePortRange: '443/443', destinationPortRange: '-1/-1' }],
        },
      },
    });
  });

  it.each([
    ['without rules', 'tmf-empty0001', /no rules, so it mirrors nothing/],
    ['that is not there', 'tmf-nowhere', /There is no traffic mirror filter tmf-nowhere/],
  ])('are none with a filter %s', async (_, filterId, detail) => {
    await ready();
    expect(await refused(wanted('none1', { alibaba: { filterId } }))).toMatchObject({
      code: 'invalid',
      retry: false,
      message: expect.stringMatching(detail),
    });
  });
});

describe('what is asked for', () => {
  it('is all that the rule says', async () => {
    await ready();
    const alibaba = {
      priority: 77,
      virtualNetworkId: 4711,
      packetLength: 128,
      description: 'words',
      resourceGroupId: 'rg-1',
      tags: [{ key: 'team', value: 'net' }],
    };
    const run = wanted('said1', { alibaba });
    const { request } = await provider.prepare(run, soon());
    expect(request).toMatchObject({
      wish: { priority: 77, vni: 4711 },
      session: {
        name: `tripcap-main-${run.runId}`,
        packetLength: 128,
        description: 'words',
        resourceGroupId: 'rg-1',
        tags: [
          { key: 'tripcap-installation', value: 'main' },
          { key: 'tripcap-run', value: run.runId },
          { key: 'team', value: 'net' },
        ],
      },
    });
  });

  it.each([
    [undefined, 1500],
    [0, 1500],
    [10, 64],
    [200, 200],
    [1500, 1500],
    [9000, 1500],
  ])('%s bytes of each packet: length %s', async (bytesToCapturePerPacket, length) => {
    await ready();
    expect((await made(wanted('cut1', { bytesToCapturePerPacket })))?.packetLength).toBe(length);
  });

  it('is refused with all its faults at once, before any call', async () => {
    await ready();
    const run = wanted('faults1', {
      filters: [{ localIPAddress: '10.0.0.1-10.0.0.200', localPort: '80;81', remotePort: '1;2' }],
      alibaba: { priority: 40_000, virtualNetworkId: 0, packetLength: 10, sessionId: 'tms-1' },
    });
    const { calls } = await world.callsOf(async () => {
      const error = await refused({ ...run, limits: { durationSeconds: 0, sizeBytes: 0 } });
      expect(error).toMatchObject({ code: 'invalid', retry: false });
      for (const fault of [
        /priority must be from 1 to 32766/,
        /virtualNetworkId must be from 1/,
        /packetLength must be from 64/,
        /sessionId is for alibaba\.mode enable/,
        /the size must/,
        /the duration must/,
        /make \d+ mirror rules each way/,
      ])
        expect(error.message).toMatch(fault);
      expect((await refused({ ...run, target: '/subscriptions/s' })).code).toBe('invalid');
    });
    expect(calls).toEqual([]);
  });

  it.each([
    [{ localIPAddress: '10.0.0.300' }, /localIPAddress/],
    [{ remoteIPAddress: '10.0.0.9-10.0.0.4' }, /runs backwards/],
    [{ remoteIPAddress: '10.0.0.0/8' }, /no CIDR/],
    [{ localIPAddress: 'fe80::1' }, /IPv4/],
    [{ localPort: 'http' }, /localPort/],
    [{ remotePort: '70000' }, /remotePort/],
    [{ remotePort: '9-4' }, /runs backwards/],
    [{ localPort: '0' }, /port 0/],
    [{ localPort: '0-0' }, /port 0/],
    [{ remotePort: '80;0;' }, /port 0/],
  ])('is refused with a filter such as %j', async (filter, fault) => {
    await ready();
    expect(await refused(wanted('filter1', { filters: [filter] }))).toMatchObject({
      code: 'invalid',
      message: expect.stringMatching(fault),
    });
  });

  it('changes nothing in the cloud', async () => {
    await ready({ places: [{ ...place, filterId: ALL }] });
    const before = await world.state();
    const { calls } = await world.callsOf(() => provider.prepare(wanted('calm1'), soon()));
    expect(await world.state()).toEqual(before);
    expect(calls.filter((call) => call.action === 'CreateTrafficMirrorSession')).toMatchObject([
      { parameters: { DryRun: 'true' }, code: 'DryRunOperation' },
    ]);
  });
});

describe('a session to enable', () => {
  const enable = (target: string, sessionId?: string) =>
    wanted(target, { alibaba: { mode: 'enable', ...(sessionId === undefined ? {} : { sessionId }) } });
  /** A session for an instance, disabled, whose target is our collector. */
  const prepared = (name: string, more: Record<string, string | number | boolean> = {}) =>
    foreign(name, { TrafficMirrorTargetId: COLLECTOR, ...more });

  it('is the one that is named, with all of its sources', async () => {
    await ready();
    const { session, request } = await provider.prepare(enable('8psdh7l6lphbn10l0001', 'tms-prepared0001'), soon());
    expect(session).toMatchObject({ id: 'tms-prepared0001', endless: true });
    expect(request).toMatchObject({
      mode: 'enable',
      sources: [
        { eni: 'eni-8psdh7l6lphbn10l0001', address: '10.0.0.4' },
        { eni: 'eni-j6c9pagb27uzlikj0001', address: '10.0.0.5' },
      ].toSorted((a, b) => (a.eni < b.eni ? -1 : 1)),
    });
  });

  it('is found by itself', async () => {
    await ready();
    expect((await provider.prepare(enable('j6c9pagb27uzlikj0001'), soon())).session.id).toBe('tms-prepared0001');
  });

  it('is not one of our own that another run just makes', async () => {
    await ready();
    const id = await prepared('own9');
    await readied(world, wanted('own9'), provider);
    expect((await provider.prepare(enable('own9'), soon())).session.id).toBe(id);
    const [own] = await world.sessions().then((all) => all.filter((one) => one.name.startsWith('tripcap-')));
    const error = await refused(enable('own9', own?.id));
    expect(error).toMatchObject({ code: 'invalid', message: expect.stringMatching(/made for run/) });
  });

  it.each<[string, () => Promise<[string, string?]>, string, RegExp]>([
    ['no session of the source', async () => ['none2'], 'invalid', /No disabled mirror session is prepared/],
    [
      'a session of another source',
      async () => ['none2', await prepared('else2')],
      'invalid',
      /does not have eni-none2/,
    ],
    ['a session that is not there', async () => ['none2', 'tms-nowhere'], 'invalid', /tms-nowhere does not have/],
    [
      'several',
      async () => (await prepared('two2'), await prepared('two2'), ['two2']),
      'invalid',
      /Several mirror sessions are prepared for eni-two2: tms-\w+, tms-\w+/,
    ],
    [
      'one with a target of somebody else',
      async () => ['target2', await foreign('target2')],
      'invalid',
      /goes to eni-sensor0001, which is none of/,
    ],
    [
      'one that somebody else has enabled',
      async () => ['enabled2', await prepared('enabled2', { Enabled: true })],
      'mirrored-already',
      /is enabled already, and not by us/,
    ],
    [
      'only one that somebody else has enabled',
      async () => (await prepared('enabled3', { Enabled: true }), ['enabled3']),
      'mirrored-already',
      /is enabled already, and not by us/,
    ],
    [
      'one that comes after somebody else’s',
      async () => (
        await foreign('after2', { Enabled: true, Priority: 400 }),
        ['after2', await prepared('after2', { Priority: 401 })]
      ),
      'mirrored-already',
      /priority 400/,
    ],
  ])('is refused: %s', async (_, make, code, detail) => {
    await ready();
    const error = await refused(enable(...(await make())));
    expect(error).toMatchObject({ code, retry: false, message: expect.stringMatching(detail) });
    expect(error.next).toMatch(/\.$/);
  });

  it('is in use by one run at a time, named or not', async () => {
    await ready();
    const id = await prepared('used2');
    const run = enable('used2');
    await provider.start(await provider.prepare(run, soon()), soon());
    for (const other of [enable('used2'), enable('used2', id)]) {
      const error = await refused(other);
      expect(error).toMatchObject({
        code: 'mirrored-already',
        message: expect.stringContaining(`in use by run ${run.runId}`),
      });
      expect(error.next).toMatch(/Wait until that run is over/);
    }
    // For that run itself it is the right one.
    expect((await provider.prepare(run, soon())).session.id).toBe(id);
    // Another one that is free is taken in its place.
    const spare = await prepared('used2');
    expect((await provider.prepare(enable('used2'), soon())).session.id).toBe(spare);
  });

  it('is not begun while the account is in arrears', async () => {
    await ready();
    await world.control({ arrears: true });
    expect(await refused(enable('j6c9pagb27uzlikj0001'))).toMatchObject({
      code: 'account',
      retry: false,
      message: expect.stringMatching(/FinancialLocked/),
    });
  });

  it('is that of one run when two want it at once, and the other neither sees nor stops it', async () => {
    await ready();
    await prepared('race2');
    const [a, b] = [enable('race2'), enable('race2')];
    const starts = await Promise.all([a, b].map((run) => provider.prepare(run, soon())));
    const started = await Promise.allSettled(starts.map((one) => provider.start(one, soon())));
    expect(started.map((one) => one.status).toSorted()).toEqual(['fulfilled', 'rejected']);
    const lost = started.find((one) => one.status === 'rejected');
    expect(lost?.reason).toMatchObject({ code: 'mirrored-already', retry: false });
    const [winner, loser] = started[0]?.status === 'fulfilled' ? starts : starts.toReversed();
    if (!winner || !loser) throw new Error('two were started');
    await world.collector.report();
    await provider.enable(winner.session, limits, soon());
    await until('it captures', async () => (await provider.inspect(winner.session, soon())).phase === 'running');
    expect(await provider.inspect(loser.session, soon())).toEqual({ phase: 'gone' });
    await provider.stop(loser.session, soon());
    expect(await provider.remove(loser.session, soon())).toBe(true);
    expect((await provider.inspect(winner.session, soon())).phase).toBe('running');
    await until('its end', () => provider.remove(winner.session, soon()));
    // Over, and whoever enables it from now on is not our concern.
    await world.cloud.done('UpdateTrafficMirrorSessionAttribute', {
      TrafficMirrorSessionId: winner.session.id,
      Enabled: true,
    });
    expect(await provider.remove(winner.session, soon())).toBe(true);
  });

  it('has its own settings: what a capture adds is refused', async () => {
    await ready();
    const capture = { filters: [{ localPort: '80' }], alibaba: { mode: 'enable', priority: 3, packetLength: 100 } };
    const error = await refused(wanted('8psdh7l6lphbn10l0001', capture));
    expect(error).toMatchObject({
      code: 'invalid',
      message: expect.stringMatching(/leave out alibaba\.priority, alibaba\.packetLength; .*leave out filters/),
    });
  });
});

it('says when the machine is there', async () => {
  await ready();
  expect(await provider.targetExists(instance('here1'), soon())).toBe(true);
  await world.faults({ gone: ['i-here1'] });
  expect(await provider.targetExists(instance('here1'), soon())).toBe(false);
  expect(await provider.targetExists(eni('here1'), soon())).toBe(false);
  expect((await errorOf(provider.targetExists('/subscriptions/x', soon()))).code).toBe('invalid');
});
