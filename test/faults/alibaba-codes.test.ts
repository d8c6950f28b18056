import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Times } from '../../shared/config.ts';
import { alibabaErrors } from '../../shared/provider/alibaba/errors.ts';
import { providerErrors, type CaptureRequest } from '../../shared/provider/provider.ts';
import { isFinal, isOpen, type Run } from '../../shared/run/run.ts';
import { MemoryTable } from '../memory-table.ts';
import { instance, Mirrored, place } from '../provider/mirror.ts';
import { Mortal } from '../provider/mortal.ts';
import { until } from '../until.ts';
import { ALL } from '../vpc/harness.ts';
import { startApp, type FaultsApp } from './app.ts';

/**
 * Each error code of the cloud, from the answer on the wire to what the user reads of the run. The list of codes is that of the API
 * metadata (test/vpc/spec.json).
 */
const times: Times = {
  startDeadlineMs: 4000,
  callTimeoutMs: 4000,
  acceptedTimeoutMs: 5000,
  startingTimeoutMs: 5000,
  startRetryMs: 400,
  stopRetryMs: 500,
  stoppingAlarmMs: 1500,
  fileTimeoutMs: 300,
  filesSettleMs: 200,
  limitGraceMs: 500,
};

/** In the documents of CreateTrafficMirrorSession, and newer than the metadata. */
const newer = [
  'OperationDenied.TargetTypeNotSupportGatewayLoadBalancerEndpoint',
  'OperationDenied.TargetTypeNotSupportBondEni',
];

type Verdict = 'account' | 'invalid' | 'target-not-found' | 'quota' | 'passes';

/** What a run comes to that meets the code for good; `passes`: it is tried again. */
const ofCreate: Record<string, Verdict> = {
  'IncorrectBusinessStatus.TrafficMirror': 'account',
  'OptInRequired.TrafficMirror': 'account',
  'DuplicatedParam.SourceInstanceIds': 'invalid',
  'OperationDenied.DuplicateRole': 'invalid',
  'ResourceNotFound.NetworkInterface': 'target-not-found',
  'ResourceNotFound.EcsInstance': 'target-not-found',
  'ResourceNotFound.Slb': 'invalid',
  'OperationDenied.SlbNotInVpc': 'invalid',
  'ResourceNotFound.TrafficMirrorFilter': 'invalid',
  'IncorrectStatus.TrafficMirrorFilter': 'passes',
  'OperationDenied.EcsNotSupportTrafficMirror': 'invalid',
  'QuotaExceeded.SessionNum': 'quota',
  'QuotaExceeded.FilterRelatedSession': 'quota',
  'QuotaExceeded.SourceNumPerSession': 'quota',
  'QuotaExceeded.NetworkInterfaceRelatedSession': 'quota',
  'QuotaExceeded.SlbRelatedSession': 'quota',
  UnsupportedRegion: 'invalid',
  'InvalidLoadBalancerId.NotFound': 'invalid',
  'OperationDenied.FreeNetworkInterface': 'invalid',
  'OperationDenied.ClassicSLB': 'invalid',
  'ResourceNotFound.TargetInstance': 'invalid',
  'QuotaExceeded.SourceNumPerTarget': 'quota',
  'IncorrectStatus.NetworkInterface': 'passes',
  'OperationFailed.NotSupportBizType': 'invalid',
  'IllegalParam.Priority': 'passes',
  'OperationDenied.UnsupportedTargetType': 'invalid',
  'OperationDenied.TargetTypeNotSupportGatewayLoadBalancerEndpoint': 'invalid',
  'OperationDenied.TargetTypeNotSupportBondEni': 'invalid',
};
const codes = Object.keys(ofCreate);
const forGood = codes.filter((code) => ofCreate[code] !== 'passes');
const passing = codes.filter((code) => ofCreate[code] === 'passes');

type Spec = { errors: { code: string; message: string }[] };
const spec = JSON.parse(readFileSync('test/vpc/spec.json', 'utf8')) as Record<string, Spec>;

const CREATE = 'CreateTrafficMirrorSession';
const UPDATE = 'UpdateTrafficMirrorSessionAttribute';

// With a filter of its own no dry run is made: the create itself meets the code.
const ownFilter: CaptureRequest = { filters: [{ protocol: 'TCP', localPort: '443' }] };
const machineOf = (test: string, code: string) => `${test}${codes.indexOf(code)}x`;
/** A rule for creates of the session of one machine. */
const atCreate =
  (test: string, more: object = {}) =>
  (code: string) => ({
    on: CREATE,
    where: `eni-${machineOf(test, code)}`,
    code,
    ...more,
  });

// An update names the session, which is not known before, and its network number, which may be wished for.
const enableForGood = {
  'IncorrectBusinessStatus.TrafficMirror': 'account',
  'OptInRequired.TrafficMirror': 'account',
  'Forbidden.RAM': 'forbidden',
  'ResourceNotFound.TrafficMirrorSession': 'invalid',
};
const enablePassing = {
  'IncorrectStatus.TrafficMirrorSession': { times: 6 },
  'DuplicatedParam.Priority': { times: 3 },
  OperationConflict: { times: 6 },
  'Throttling.User': { retryAfterMs: 300 },
};
const atEnd = {
  'IncorrectStatus.TrafficMirrorSession': { times: 6 },
  'IncorrectBusinessStatus.TrafficMirror': {},
  'Forbidden.RAM': {},
};
const ofFilter = {
  'QuotaExceeded.TrafficMirrorFilter': 'quota',
  'UnsupportedFeature.IpVersion': 'invalid',
  'IllegalParamFormat.SrcCidrBlock': 'invalid',
  'IllegalParamFormat.DstCidrBlock': 'invalid',
  UnsupportedRegion: 'invalid',
  'OptInRequired.TrafficMirror': 'account',
  'DuplicatedParam.Priority': 'not-started',
};
const ofLookUp = {
  'Forbidden.RAM': ['forbidden', /docs\/permissions\.md/],
  'InvalidAccessKeyId.Inactive': ['unauthenticated', /Enable the AccessKey/],
  'SomethingNew.NobodyKnows': ['invalid', /\w/],
} as const;
const numberOf = (table: (typeof tables)[number], code: string) =>
  700_000 + tables.indexOf(table) * 100 + Object.keys(table).indexOf(code);
const tables = [enableForGood, enablePassing, atEnd, ofFilter];

/** All that goes wrong, each for the runs of one test. */
const rules = [
  ...['made', 'tried'].flatMap((test) => forGood.map(atCreate(test))),
  // More often than one call is repeated.
  ...passing.map((code) => atCreate('passing', { times: code === 'IllegalParam.Priority' ? 14 : 6 })(code)),
  ...passing.map(atCreate('never')),
  ...Object.keys(enableForGood).map((code) => ({ on: UPDATE, where: String(numberOf(enableForGood, code)), code })),
  ...Object.entries(enablePassing).map(([code, more]) => ({
    on: UPDATE,
    where: String(numberOf(enablePassing, code)),
    code,
    ...more,
  })),
  // What comes after the first update.
  ...Object.entries(atEnd).map(([code, more]) => ({
    on: UPDATE,
    where: String(numberOf(atEnd, code)),
    code,
    after: 1,
    ...more,
  })),
  ...Object.keys(ofFilter).map((code) => ({
    on: 'CreateTrafficMirrorFilter',
    where: portOf(code),
    code,
  })),
  ...Object.keys(ofLookUp).map((code, i) => ({ on: 'DescribeNetworkInterfaces', where: `i-look${i}x`, code })),
];
function portOf(code: string): string {
  const port = 9000 + Object.keys(ofFilter).indexOf(code);
  return `${port}/${port}`;
}

let world: Mirrored;
let app: FaultsApp;
let reporting: Promise<void>;
let isOver = false;
beforeAll(async () => {
  world = await Mirrored.start(['--pace', '0']);
  // No file comes in these tests, and none is looked for.
  app = startApp(world.provider(), [], times);
  reporting = (async () => {
    while (!isOver) {
      await world.collector.report();
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  })();
  await world.faults({ quotas: { sourcesPerInterface: 1000 }, calls: rules });
  await app.provider.load(AbortSignal.timeout(30_000));
});
afterAll(async () => {
  isOver = true;
  await reporting;
  await app.stop();
  await world.cloud[Symbol.asyncDispose]();
});

let launched = 0;
const request = (name: string, capture: CaptureRequest) => ({
  idParts: ['codes', String(launched++)],
  target: instance(name),
  trigger: { kind: 'runbook' as const },
  capture,
  limits: { durationSeconds: 60, sizeBytes: 1_000_000 },
});
async function launch(name: string, capture: CaptureRequest = {}, by = app): Promise<Run> {
  const answer = await by.launcher.launch(request(name, capture));
  if (answer.ignored) throw new Error(answer.ignored.detail);
  return answer.run;
}
const over = (run: Run) => app.seen(run, ({ state }) => isFinal(state));
const running = (run: Run) => app.seen(run, ({ state }) => state === 'running' || isFinal(state));
const stopped = async (run: Run) => over(await app.lifecycle.stop(run.id, 'operator'));
const sessionsOf = (run: Run) => world.sessions(`tripcap-main-${run.id}`);
/** Its session is out of the cloud, and its numbers out of the list. */
async function expectNothingLeft(run: Run): Promise<void> {
  await until(`nothing left of ${run.id}`, async () => {
    const now = await app.runs.get(run.id);
    return now && !isOpen(now);
  });
  expect(await sessionsOf(run)).toEqual([]);
  const { sessions, reserved } = await world.register();
  expect([...sessions, ...reserved].filter((one) => one.run === run.id)).toEqual([]);
  expect((await world.state()).filters.filter((one) => one.name === `tripcap-main-${run.id}`)).toEqual([]);
}
const wordsOf = (code: string) => spec[CREATE]?.errors.find((one) => one.code === code)?.message ?? '';
const plain = (text: string) => text.replaceAll(/\s+/g, ' ');

function expectVerdict(run: Run, code: string): void {
  expect([code, run.state, run.verdict?.code]).toEqual([code, 'failed', ofCreate[code]]);
  const summary = plain(run.verdict?.summary ?? '');
  expect(summary).toContain('No capture: ');
  expect(summary).toContain(code);
  // One of them has a %s in the documents.
  expect(summary).toContain(plain(wordsOf(code)).split('%s')[0]);
  const known = alibabaErrors[code];
  expect(run.verdict?.next).toBe(known?.next ?? providerErrors[known?.code ?? 'invalid'].next);
  expect(run.verdict?.next).toMatch(/\w.*\.$/s);
}

describe.concurrent('the codes of CreateTrafficMirrorSession', () => {
  it('are all here', () => {
    const documented = new Set(spec[CREATE]?.errors.map((one) => one.code).concat(newer));
    expect(new Set(codes)).toEqual(documented);
    expect(codes).toHaveLength(28);
    for (const code of codes) expect(alibabaErrors).toHaveProperty([code]);
  });

  it('that no other try helps against end the run with the cloud’s words and the next step', async () => {
    await Promise.all(
      forGood.map(async (code) => {
        const run = await launch(machineOf('made', code), ownFilter);
        expectVerdict(await over(run), code);
        await expectNothingLeft(run);
      }),
    );
  });

  it.each(passing)('that pass are tried again until they are over, and then it captures: %s', async (code) => {
    const run = await running(await launch(machineOf('passing', code), ownFilter));
    expect(run).toMatchObject({ state: 'running' });
    expect(run.timeline.filter(({ event }) => event === 'start-asked').length).toBeGreaterThan(1);
    expect(await sessionsOf(run)).toMatchObject([{ enabled: true }]);
    await stopped(run);
    await expectNothingLeft(run);
  });

  it.each(passing)('that never pass end the run in its time, and tell why: %s', async (code) => {
    const run = await over(await launch(machineOf('never', code), ownFilter));
    expect(run).toMatchObject({
      state: 'failed',
      verdict: {
        code: 'not-started',
        summary: expect.stringContaining(code),
        next: expect.stringMatching(/^Nothing is running\./),
      },
    });
    await expectNothingLeft(run);
  });
});

describe.concurrent('the codes of other calls', () => {
  const numbered = (table: (typeof tables)[number], code: string): CaptureRequest => ({
    ...ownFilter,
    alibaba: { virtualNetworkId: numberOf(table, code) },
  });

  it.each(Object.entries(enableForGood))('at enabling: %s ends the run as %s', async (code, verdict) => {
    const run = await over(await launch(`enable${verdict}${code.length}`, numbered(enableForGood, code)));
    expect(run).toMatchObject({ state: 'failed', verdict: { code: verdict, summary: expect.stringContaining(code) } });
    expect(run.verdict?.next).not.toBe('');
    await expectNothingLeft(run);
  });

  it.each(Object.keys(enablePassing))('at enabling: %s is tried again', async (code) => {
    const run = await running(await launch(`again${code.length}`, numbered(enablePassing, code)));
    expect([run.state, run.verdict]).toEqual(['running', undefined]);
    expect(run.timeline.filter(({ event }) => event === 'enable-asked').length).toBeGreaterThan(0);
    await stopped(run);
    await expectNothingLeft(run);
  });

  it.each(Object.keys(atEnd))('at the end: %s is tried again, or makes it delete the session', async (code) => {
    const run = await running(await launch(`end${code.length}`, numbered(atEnd, code)));
    expect(run.state).toBe('running');
    expect((await stopped(run)).stop?.reason).toBe('operator');
    await expectNothingLeft(run);
  });

  it.each(Object.entries(ofFilter))('of a filter of its own: %s ends the run as %s', async (code, verdict) => {
    const [localPort] = portOf(code).split('/');
    const capture: CaptureRequest = { filters: [{ protocol: 'TCP', localPort }] };
    const run = await over(await launch(`filter${localPort}`, capture));
    expect(run).toMatchObject({ state: 'failed', verdict: { code: verdict, summary: expect.stringContaining(code) } });
    await expectNothingLeft(run);
  });

  it.each(Object.entries(ofLookUp))('of looking the machine up: %s', async (code, [verdict, next]) => {
    const run = await over(await launch(`look${Object.keys(ofLookUp).indexOf(code)}x`));
    expect(run).toMatchObject({
      state: 'failed',
      verdict: { code: verdict, summary: expect.stringContaining(code), next: expect.stringMatching(next) },
    });
  });
});

it.concurrent('a run whose session is there, but not in the list since who made it died, is announced by whoever comes after', async () => {
  const table = new MemoryTable();
  let wasUnannounced = false;
  for (let dieAfter = 10; !wasUnannounced; dieAfter++) {
    await using mortal = await Mortal.start(world.cloud.url, world.documents, { dieAfter, unheard: true });
    const first = startApp(world.provider({ endpoint: mortal.endpoint, control: mortal.documents }), [], times, table);
    const { id } = await launch(`dead${dieAfter}`, ownFilter, first);
    await until('the end of who makes it', () => mortal.isDead);
    await first.stop();
    const [made] = await world.sessions(`tripcap-main-${id}`);
    wasUnannounced = made !== undefined && !(await world.register()).sessions.some((one) => one.run === id);
    const second = startApp(world.provider(), [], times, table);
    await second.seen(await second.runs.require(id), ({ state }) => state === 'running');
    expect((await world.register()).sessions.some((one) => one.run === id)).toBe(true);
    expect(await world.sessions(`tripcap-main-${id}`)).toMatchObject([{ enabled: true }]);
    await second.lifecycle.stop(id, 'operator');
    await until('nothing left', async () => (await second.runs.open()).length === 0);
    await second.stop();
  }
});

describe('the codes of CreateTrafficMirrorSession that do not pass', () => {
  it('end a run also when only a dry run meets them, and nothing was made', async () => {
    const known = startApp(world.provider({ places: [{ ...place, filterId: ALL }] }), [], times);
    const { calls } = await world.callsOf(async () => {
      for (const code of forGood) {
        const answer = await known.launcher.launch(request(machineOf('tried', code), {}));
        if (answer.ignored) {
          expect([ofCreate[code], answer.ignored.reason]).toEqual(['target-not-found', 'unknown-target']);
          expect(answer.ignored.detail).toContain(code);
        } else {
          const run = await known.seen(answer.run, ({ state }) => isFinal(state));
          expectVerdict(run, code);
          expect(run.session).toBeUndefined();
        }
      }
    });
    const tried = calls.filter(({ parameters }) => parameters['TrafficMirrorSourceIds.1']?.startsWith('eni-tried'));
    expect(tried.map(({ parameters }) => parameters['DryRun'])).toEqual(forGood.map(() => 'true'));
    await known.stop();
  });
});

describe('the codes of a removal', () => {
  it('that pass are tried again', async () => {
    const run = await running(await launch('passing99', ownFilter));
    const often = (on: string) => (code: string) => ({ on, code, times: 5 });
    await world.faults({
      calls: [
        ...['IncorrectStatus.TrafficMirrorSession', 'IncorrectStatus.TrafficMirrorFilter'].map(
          often('DeleteTrafficMirrorSession'),
        ),
        ...[
          'DependencyViolation.TrafficMirrorSession',
          'IncorrectStatus.TrafficMirrorRule',
          'IncorrectStatus.TrafficMirrorFilter',
        ].map(often('DeleteTrafficMirrorFilter')),
      ],
    });
    await stopped(run);
    await expectNothingLeft(run);
    const { faults } = await world.cloud.own('/_control');
    expect(faults.calls.map((rule: { hit: number }) => rule.hit)).toEqual([5, 5, 5, 5, 5]);
  });

  it('that say that it is gone already are fine', async () => {
    const run = await running(await launch('gone99', ownFilter));
    const gone = { carriedOut: true, times: 1 };
    await world.faults({
      calls: [
        { on: 'DeleteTrafficMirrorSession', code: 'ResourceNotFound.TrafficMirrorSession', ...gone },
        { on: 'DeleteTrafficMirrorFilter', code: 'ResourceNotFound.TrafficMirrorFilter', ...gone },
      ],
    });
    await stopped(run);
    await expectNothingLeft(run);
  });
});

/** Arrears switch all sessions off, and on again: none may go on because of it. */
it('arrears end every run with the reason, and no session captures when they are paid', async () => {
  const prepared = await world.cloud.session({ Priority: 7000, TrafficMirrorSourceIds: ['eni-owing2'] });
  const runs = await Promise.all([
    launch('owing1', ownFilter),
    launch('owing2', { alibaba: { mode: 'enable', sessionId: prepared } }),
  ]);
  await Promise.all(runs.map(running));
  await world.control({ arrears: true });
  for (const run of runs)
    expect(await over(run)).toMatchObject({
      state: 'completed',
      stop: { by: 'cloud', reason: 'cloud', detail: expect.stringMatching(/arrears/) },
      verdict: {
        code: 'agent-error',
        summary: expect.stringMatching(/FinancialLocked/),
        next: expect.stringMatching(/owes/),
      },
    });
  await world.control({ arrears: false });
  for (const run of runs) await expectNothingLeft(run);
  expect(await world.sessions()).toMatchObject([{ id: prepared, enabled: false, mirroring: false }]);
});
