import { BlobServiceClient, type ContainerClient } from '@azure/storage-blob';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { CAPTURES_CONTAINER, type SessionStatus } from '../../collector/protocol.ts';
import type { CaptureAccount, Times } from '../../shared/config.ts';
import type { CaptureRequest, Limits } from '../../shared/provider/provider.ts';
import { reconcile } from '../../shared/run/reconcile.ts';
import { isFinal, type Run } from '../../shared/run/run.ts';
import { blobServiceUrl } from '../../shared/storage/connect.ts';
import { startAzurite, type Azurite } from '../azurite.ts';
import { balancer, Collector, instance, Mirrored, place } from '../provider/mirror.ts';
import { pcap } from '../pcap/build.ts';
import { until } from '../until.ts';
import { atMost, endOf, random, startApp, type End, type FaultsApp } from './app.ts';

/**
 * Sixty runs side by side on a cloud of mirror sessions in which everything goes wrong that is known to go wrong, and a share of all
 * calls besides. Every run must end with the reason that its fault gives; no session may capture that the collector does not know of;
 * and nothing may be left at the end: no session, no filter, no entry in the list. The faults are dealt by a seed.
 */
const seed = 20_261_122;
const runCount = 60;

const times: Times = {
  startDeadlineMs: 4000,
  callTimeoutMs: 4000,
  acceptedTimeoutMs: 20_000,
  startingTimeoutMs: 20_000,
  startRetryMs: 1000,
  stopRetryMs: 800,
  stoppingAlarmMs: 4000,
  fileTimeoutMs: 5000,
  filesSettleMs: 500,
  limitGraceMs: 500,
};
const limits: Limits = { durationSeconds: 1, sizeBytes: 1_000_000 };
const longer = { durationSeconds: 60 };

type Case = {
  /** In the machine's name, where the name is the fault. */
  named?: string;
  /** Faults of the calls that have to do with the run, by what tells them. */
  calls?: (of: { eni: string; vni: number }) => Record<string, unknown>[];
  capture?: CaptureRequest;
  limits?: Partial<Limits>;
  /** Sessions that somebody has prepared for the machine. */
  prepared?: number;
  /** What the collector does with the run. */
  collector?: 'full' | 'switches-off' | 'no-file';
  /** Done once the run is running. */
  meanwhile?: (run: Run) => Promise<unknown>;
  end: End;
};

const captured = (more: Partial<End> = {}): End => ({
  state: 'completed',
  verdict: 'captured',
  stop: 'time-limit',
  by: 'tripcap',
  ...more,
});
const failed = (verdict: string, says: RegExp): End => ({ state: 'failed', verdict, says });
const CREATE = 'CreateTrafficMirrorSession';
const UPDATE = 'UpdateTrafficMirrorSessionAttribute';
const enable: CaptureRequest = { alibaba: { mode: 'enable' } };
const ownFilter: CaptureRequest = { filters: [{ protocol: 'TCP', localPort: '443' }] };
const isDone = async (action: string, parameters: Record<string, string | boolean>): Promise<boolean> =>
  (await world.cloud.call(action, parameters).catch(() => undefined))?.status === 200;
const cloud = (action: string, parameters: Record<string, string | boolean>) =>
  until(action, () => isDone(action, parameters));

const cases: Record<string, Case> = {
  'nothing wrong': { end: captured() },
  'filters of its own': { capture: ownFilter, end: captured() },
  'an operator stops it': {
    limits: longer,
    meanwhile: ({ id }) => app.lifecycle.stop(id, 'operator'),
    end: captured({ stop: 'operator' }),
  },
  'somebody else disables it': {
    limits: longer,
    meanwhile: ({ session }) => cloud(UPDATE, { TrafficMirrorSessionId: session?.id ?? '', Enabled: false }),
    end: captured({ stop: 'cloud', by: 'cloud' }),
  },
  'somebody else deletes it': {
    limits: longer,
    meanwhile: ({ session }) => cloud('DeleteTrafficMirrorSession', { TrafficMirrorSessionId: session?.id ?? '' }),
    end: captured({ stop: 'lost', by: 'cloud' }),
  },
  'the collector is full': { limits: longer, collector: 'full', end: captured({ stop: 'size-limit' }) },
  'the collector switches it off': { limits: longer, collector: 'switches-off', end: captured() },
  'no packet comes': { collector: 'no-file', end: captured({ verdict: 'no-file' }) },
  'a prepared session': { prepared: 1, capture: enable, end: captured() },
  'a prepared session, stopped': {
    prepared: 1,
    capture: enable,
    limits: longer,
    meanwhile: ({ id }) => app.lifecycle.stop(id, 'operator'),
    end: captured({ stop: 'operator' }),
  },
  'no prepared session': { capture: enable, end: failed('invalid', /No disabled mirror session is prepared/) },
  'two prepared sessions': { prepared: 2, capture: enable, end: failed('invalid', /Several mirror sessions/) },
  'an interface of a service': { named: 'managed', end: failed('invalid', /managed by a service/) },
  'a free interface': { named: 'free', end: failed('target-not-found', /no instance/) },
  'a type that cannot be mirrored': { named: 'nosupport', end: failed('invalid', /EcsNotSupportTrafficMirror/) },
  'a bond': { named: 'bond', end: failed('invalid', /BondingNetworkInterface/) },
  'answers to its create are lost': {
    calls: ({ eni }) => [{ on: CREATE, where: eni, answer: 'reset', carriedOut: true, times: 5 }],
    end: captured(),
  },
  'gateways answer its create in HTML': {
    calls: ({ eni }) => [{ on: CREATE, where: eni, answer: 'html', carriedOut: true, times: 2 }],
    end: captured(),
  },
  'its create hangs': { calls: ({ eni }) => [{ on: CREATE, where: eni, answer: 'hang', times: 1 }], end: captured() },
  'its priority is taken': {
    calls: ({ eni }) => [{ on: CREATE, where: eni, code: 'IllegalParam.Priority', times: 3 }],
    end: captured(),
  },
  'a quota is exceeded': {
    calls: ({ eni }) => [{ on: CREATE, where: eni, code: 'QuotaExceeded.SessionNum' }],
    end: failed('quota', /QuotaExceeded\.SessionNum/),
  },
  'its interface is busy for a while': {
    calls: ({ eni }) => [{ on: CREATE, where: eni, code: 'IncorrectStatus.NetworkInterface', times: 5 }],
    end: captured(),
  },
  'the cloud asks to slow down': {
    calls: ({ eni }) => [{ on: CREATE, where: eni, code: 'Throttling.User', retryAfterMs: 1200 }],
    end: captured(),
  },
  'the app may not look it up': {
    calls: ({ eni }) => [{ on: 'DescribeNetworkInterfaces', where: eni.replace('eni-', 'i-'), code: 'Forbidden.RAM' }],
    end: failed('forbidden', /Forbidden\.RAM/),
  },
  'the app may not enable it': {
    calls: ({ vni }) => [{ on: UPDATE, where: String(vni), code: 'Forbidden.RAM' }],
    end: failed('forbidden', /Forbidden\.RAM/),
  },
  'it is busy when it is enabled and when it is disabled': {
    calls: ({ vni }) => [{ on: UPDATE, where: String(vni), code: 'IncorrectStatus.TrafficMirrorSession', times: 6 }],
    end: captured(),
  },
  'the answers to its changes are lost': {
    calls: ({ vni }) => [{ on: UPDATE, where: String(vni), answer: 'reset', carriedOut: true, times: 3 }],
    end: captured(),
  },
};

let azurite: Azurite;
let world: Mirrored;
let app: FaultsApp;
let captures: ContainerClient;
beforeAll(async () => {
  azurite = await startAzurite();
  world = await Mirrored.start();
  captures = BlobServiceClient.fromConnectionString(azurite.connectionString).getContainerClient(CAPTURES_CONTAINER);
  await captures.create();
});
afterAll(async () => {
  await app?.stop();
  await world?.cloud[Symbol.asyncDispose]();
  await azurite?.stop();
});

type Dealt = { kind: string; of: Case; name: string; eni: string; vni: number };

/** Every case at least once, the rest by lot. */
function deal(): Dealt[] {
  const next = random(seed);
  const names = Object.keys(cases);
  return Array.from({ length: runCount }, (_, i) => {
    const kind = names[i] ?? names[Math.floor(next() * names.length)] ?? '';
    const of = cases[kind] as Case;
    const name = `r${i}x${of.named ?? ''}`;
    return { kind, of, name, eni: `eni-${name}`, vni: 500_000 + i };
  });
}

const file = Buffer.from(pcap([Buffer.alloc(60)]));

/** Goes on with some work until it is told to end; what fails in it is told then. */
function repeated(work: () => Promise<void>, pauseMs: number): () => Promise<void> {
  let isOver = false;
  const going = (async () => {
    while (!isOver) {
      await work();
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
  })();
  // Who ends it hears of it.
  going.catch(() => undefined);
  return () => {
    isOver = true;
    return going;
  };
}

/** Two collectors that file a packet of each run as soon as its session is told to capture, and say of each what its case wants. */
class FilingCollectors {
  readonly #collectors = [new Collector(world.documents), new Collector(world.documents, balancer.collector)];
  readonly #does = new Map<string, Case['collector']>();
  readonly #filed = new Map<string, Partial<SessionStatus>>();

  does(run: string, what: Case['collector']): void {
    this.#does.set(run, what);
  }

  async look(): Promise<void> {
    const mirroring = new Set((await world.sessions()).filter((one) => one.mirroring).map((one) => one.id));
    const { sessions } = await world.register().catch(() => ({ sessions: [] }));
    // A look may come too late for a capture that is over, and not for its packets.
    const fresh = sessions.filter(({ run, enabledAt }) => !this.#filed.has(run) && enabledAt !== undefined);
    await Promise.all(fresh.map((one) => this.#file(one.run, mirroring.has(one.session))));
    for (const one of this.#collectors) await one.report(({ run }) => this.#filed.get(run) ?? {});
    // What it says it has switched off is, at the latest after some of these looks.
    const unwanted = sessions.filter(({ run, session }) => this.#filed.get(run)?.disabledAt && mirroring.has(session));
    await Promise.all(
      unwanted.map(({ session }) => isDone(UPDATE, { TrafficMirrorSessionId: session, Enabled: false })),
    );
  }

  async #file(run: string, isMirroring: boolean): Promise<void> {
    const what = this.#does.get(run);
    if (what === 'switches-off' && !isMirroring) return;
    if (what !== 'no-file') await captures.getBlockBlobClient(fileOf(run)).upload(file, file.length);
    this.#filed.set(run, {
      bytes: file.length,
      capped: what === 'full',
      ...(what === 'switches-off' ? { disabledAt: new Date().toISOString() } : {}),
    });
  }
}
const fileOf = (run: string) => `${run}/1-eni-1-1.cap`;

async function live(
  { kind, of, name, vni }: Dealt,
  index: number,
  collectors: FilingCollectors,
): Promise<string | undefined> {
  const { capture = {}, limits: more, meanwhile, end } = of;
  const idParts = ['faults', String(index)];
  collectors.does(app.launcher.idOf(idParts), of.collector);
  const isOwn = capture.alibaba?.mode !== 'enable';
  const answer = await app.launcher.launch({
    idParts,
    target: instance(name),
    trigger: { kind: 'runbook' },
    capture: isOwn ? { ...capture, alibaba: { ...capture.alibaba, virtualNetworkId: vni } } : capture,
    limits: { ...limits, ...more },
  });
  if (answer.ignored)
    return end.verdict === 'target-not-found' ? undefined : `${kind} (${name}): ${answer.ignored.detail}`;
  if (meanwhile) {
    const running = await app.seen(answer.run, ({ state }) => state === 'running' || isFinal(state));
    // The collector has something of it.
    if (!isFinal(running.state)) await until('its file', () => captures.getBlobClient(fileOf(running.id)).exists());
    if (!isFinal(running.state)) await meanwhile(running);
  }
  const wrong = await endOf(app, answer.run, end);
  return wrong && `${kind} (${name}): ${wrong}`;
}

it(
  `${runCount} runs in a cloud full of faults (seed ${seed}) end as they must, and nothing is left`,
  { timeout: 120_000 },
  async () => {
    const dealt = deal();
    const prepared: string[] = [];
    for (const [i, { of, eni }] of dealt.entries())
      for (let n = 0; n < (of.prepared ?? 0); n++)
        prepared.push(await world.cloud.session({ Priority: 2000 + 2 * i + n, TrafficMirrorSourceIds: [eni] }));
    const calls = dealt.flatMap(({ of, eni, vni }) => of.calls?.({ eni: `${eni}`, vni }) ?? []);
    await world.faults({ calls, random: { seed, rate: 0.03 } });

    const account: CaptureAccount = {
      id: '/subscriptions/s',
      name: 'devstoreaccount1',
      regions: ['*'],
      connectionName: 'MIRRORS',
      connection: { kind: 'connectionString', value: azurite.connectionString },
    };
    const provider = world.provider({
      // The first has room for a few only.
      places: [place, { ...balancer, maxSources: 500 }],
      storage: {
        account: account.name,
        url: `${blobServiceUrl(account.connection, account.name)}/${CAPTURES_CONTAINER}`,
        uploadUrl: () => Promise.resolve(captures.url),
      },
      timeout: (ms) => AbortSignal.timeout(ms),
    });
    await provider.load(AbortSignal.timeout(30_000));
    const collectors = new FilingCollectors();
    await collectors.look();
    const unknown: string[] = [];
    const ends = [
      repeated(() => collectors.look(), 150),
      repeated(async () => {
        const enabled = (await world.sessions()).filter((one) => one.status === 'Created' && one.enabled);
        const listed = enabled.length === 0 ? [] : (await world.register()).sessions;
        for (const { id } of enabled) if (!listed.some((one) => one.session === id)) unknown.push(id);
      }, 100),
    ];
    app = startApp(provider, [account], times);
    const inTurn = atMost(40);
    const wrong = await Promise.all(dealt.map((one, i) => inTurn(() => live(one, i, collectors))));
    const faulty = wrong.filter((text) => text !== undefined);
    expect(faulty.join('\n')).toBe('');

    // Nobody was asked again before the time that the cloud named.
    expect((await world.cloud.own('/_control')).violations).toBe(0);
    await world.faults(null);
    await until('no run left to be dealt with', async () => (await app.runs.open()).length === 0);
    for (const end of ends) await end();
    expect(unknown).toEqual([]);

    const left = await world.sessions();
    expect(left.map((one) => one.id).toSorted()).toEqual(prepared.toSorted());
    expect(left.filter((one) => one.enabled || one.mirroring)).toEqual([]);
    const filters = (await world.state()).filters.filter((one) => one.name.startsWith('tripcap-'));
    expect(filters.map((one) => one.name)).toEqual(['tripcap-main-all']);
    expect(await world.register()).toMatchObject({ sessions: [], reserved: [] });
    expect(await reconcile(app.parts)).toBe(0);
  },
);
