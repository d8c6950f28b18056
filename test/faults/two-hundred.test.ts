import { afterAll, beforeAll, expect, it } from 'vitest';
import type { CaptureAccount, Times } from '../../shared/config.ts';
import { AzureProvider } from '../../shared/provider/azure/azure.ts';
import type { CaptureRequest, Limits } from '../../shared/provider/provider.ts';
import { isFinal, type Run } from '../../shared/run/run.ts';
import { Emulator, STORAGE_ID, SUBSCRIPTION, ask, machine, startStorage, type Storage } from '../arm/harness.ts';
import { until } from '../until.ts';
import { atMost, endOf, random, startApp, type End, type FaultsApp } from './app.ts';

/**
 * Two hundred runs side by side on a cloud in which everything goes wrong that is known to go wrong: each machine has a fault of
 * its own, and a share of all calls fails besides. Every run must end with the reason that its fault gives, and nothing may be
 * left running. The faults are dealt by a seed; which call fails besides depends on the order of the calls.
 */
const seed = 20_261_122;
const runCount = 200;

// All waits short, since the time is real. What is left of them must be longer than a round of poll over all runs.
const times: Times = {
  startDeadlineMs: 4000,
  callTimeoutMs: 4000,
  acceptedTimeoutMs: 60_000,
  startingTimeoutMs: 30_000,
  startRetryMs: 1000,
  stopRetryMs: 1500,
  stoppingAlarmMs: 6000,
  fileTimeoutMs: 12_000,
  filesSettleMs: 3000,
  limitGraceMs: 1500,
};
const limits: Limits = { durationSeconds: 2, sizeBytes: 10_000_000 };

type Case = {
  /** Faults of the machine, as the emulator's control call takes them. */
  machine?: Record<string, unknown>;
  /** In the machine's name, where the name is the fault. */
  named?: string;
  target?: string;
  capture?: CaptureRequest;
  limits?: Partial<Limits>;
  /** It takes long, and is not dealt again. */
  once?: true;
  /** Done once the run is running. */
  meanwhile?: (run: Run, name: string) => Promise<unknown>;
  /** `ignored`: when it was looked up before the run was recorded, there is no run at all. */
  end: End & { ignored?: 'unknown-target' };
};

const captured = (more: Partial<End> = {}): End => ({
  state: 'completed',
  verdict: 'captured',
  stop: 'time-limit',
  ...more,
});
const outOfTime = (more: Partial<End> = {}): End => captured({ by: 'tripcap', ...more });
const failed = (verdict: string, says: RegExp): End => ({ state: 'failed', verdict, says });

const cases: Record<string, Case> = {
  'nothing wrong': { end: captured() },
  'an operator stops it': {
    limits: { durationSeconds: 60 },
    meanwhile: ({ id }) => app.lifecycle.stop(id, 'operator'),
    end: captured({ stop: 'operator' }),
  },
  'somebody else stops it': {
    limits: { durationSeconds: 60 },
    meanwhile: (run) => insist('POST', `${run.session?.id}/stop`),
    end: captured({ stop: 'cloud', by: 'cloud' }),
  },
  'somebody else deletes it': {
    limits: { durationSeconds: 60 },
    meanwhile: (run) => insist('DELETE', run.session?.id ?? ''),
    end: captured({ stop: 'lost', by: 'cloud' }),
  },
  'it reaches its size': {
    limits: { durationSeconds: 60, sizeBytes: 3000 },
    end: captured({ stop: 'size-limit', by: 'cloud' }),
  },
  'it reaches its size, without a word for it': {
    machine: { sizeStopReason: null },
    limits: { durationSeconds: 60, sizeBytes: 3000 },
    end: captured({ stop: 'size-limit', by: 'cloud' }),
  },
  'the create fails': {
    machine: { create: { code: 'InternalServerError', message: 'An error occurred.' } },
    end: failed('start-failed', /InternalServerError: An error occurred\./),
  },
  'the agent never starts': {
    once: true,
    machine: { create: 'stuck' },
    end: { ...failed('start-failed', /AgentStopped|An error occurred/), stop: 'lost', by: 'tripcap' },
  },
  'no agent': { named: 'noagent', end: failed('agent-missing', /no Network Watcher agent extension/) },
  'a failed agent': { named: 'agentfailed', end: failed('agent-failed', /in state Failed/) },
  'no machine': {
    named: 'missing',
    end: { ...failed('target-not-found', /was not found/), ignored: 'unknown-target' },
  },
  'the app may not create': {
    machine: { calls: [{ on: 'create', answer: '403' }] },
    end: failed('forbidden', /AuthorizationFailed/),
  },
  'the agent stops': {
    limits: { durationSeconds: 60 },
    meanwhile: (_, name) => machineFaults(name, { errors: ['AgentStopped'] }),
    end: { state: 'completed', verdict: 'captured', stop: 'cloud', by: 'cloud', says: /AgentStopped/ },
  },
  'storage refuses the file': {
    limits: { durationSeconds: 60 },
    meanwhile: (_, name) => machineFaults(name, { errors: ['LocalFileFailed', 'StorageFailed'] }),
    end: {
      state: 'completed',
      verdict: 'agent-error',
      stop: 'cloud',
      by: 'cloud',
      says: /LocalFileFailed, StorageFailed/,
    },
  },
  'the machine is deleted': {
    limits: { durationSeconds: 60 },
    meanwhile: (_, name) => machineFaults(name, { machine: 'gone' }),
    end: { state: 'completed', verdict: 'target-gone', stop: 'cloud', by: 'cloud', says: /no longer exists/ },
  },
  'the machine is deleted, and its capture runs on': {
    machine: { limits: 'ignored' },
    limits: { durationSeconds: 5 },
    meanwhile: (_, name) => machineFaults(name, { machine: 'gone-running' }),
    end: { state: 'completed', verdict: 'target-gone', stop: 'time-limit', says: /no longer exists/ },
  },
  'the time limit is not kept': { machine: { limits: 'ignored' }, end: outOfTime() },
  'the time limit is not kept, and stops fail': { machine: { limits: 'ignored', stop: 'fail' }, end: outOfTime() },
  'the time limit is not kept, and stops change nothing': {
    machine: { limits: 'ignored', stop: 'no-effect' },
    end: outOfTime(),
  },
  'the file never comes': { machine: { upload: 'never' }, end: captured({ verdict: 'no-file' }) },
  'the file comes late': { machine: { uploadDelayMs: 3000 }, end: captured() },
  'the file is cut': { machine: { upload: 'damaged' }, end: captured({ verdict: 'damaged' }) },
  'the file is none': { machine: { upload: 'garbage' }, end: captured({ verdict: 'damaged' }) },
  'the file is empty': { machine: { upload: 'empty' }, end: captured({ verdict: 'empty' }) },
  'it never says how it is': { machine: { status: 'null' }, end: outOfTime() },
  'it began long ago': { machine: { startTime: 'absurd' }, end: captured() },
  'it began in an old notation': { machine: { startTime: 'old' }, end: captured() },
  'it never began': { machine: { startTime: 'missing' }, end: captured() },
  'operations take their time': { machine: { operationSeconds: 3 }, end: captured() },
  'ARM asks to slow down': {
    machine: { calls: [{ on: 'create', answer: '429', retryAfterSeconds: 2 }] },
    end: captured(),
  },
  'another operation holds it for a while': {
    machine: { calls: [{ on: 'create', answer: '409', times: 2 }] },
    end: captured(),
  },
  'the answer to its create is lost': {
    machine: { nameTaken: 400, calls: [{ on: 'create', answer: 'reset', carriedOut: true, times: 1 }] },
    end: captured(),
  },
  'gateways answer in HTML and in nothing': {
    machine: {
      calls: [
        { on: ['create', 'get', 'status'], answer: 'html', times: 2 },
        { on: ['get', 'status', 'delete'], answer: 'empty', times: 2 },
      ],
    },
    end: captured(),
  },
  'an answer hangs': { machine: { calls: [{ on: 'status', answer: 'hang', times: 1 }] }, end: captured() },
  'a ring of files': {
    capture: { azure: { continuousCapture: true, captureSettings: { fileCount: 3, fileSizeInBytes: 4000 } } },
    end: captured({ says: /in \d files|in one file/ }),
  },
  'a scale set': { target: 'frontend', end: captured({ says: /in 3 files/ }) },
};

let storage: Storage;
let emulator: Emulator;
let app: FaultsApp;
beforeAll(async () => {
  storage = await startStorage();
  emulator = await Emulator.start(storage.connectionString, ['--no-tcpdump', '--pace', '0.02']);
});
afterAll(async () => {
  await app?.stop();
  await emulator?.[Symbol.asyncDispose]();
  await storage?.stop();
});

/** What somebody else does in the cloud, until it is done. */
const insist = (method: string, path: string) =>
  until(`${method} ${path}`, async () => {
    const { status } = await emulator.arm(method, path).catch(() => ({ status: 0 }));
    return status >= 200 && status < 300;
  });

const machineFaults = (name: string, faults: object) => emulator.control({ machines: { [name]: faults } });

function startAzure(): FaultsApp {
  const account: CaptureAccount = {
    id: STORAGE_ID,
    name: 'devstoreaccount1',
    regions: ['*'],
    connectionName: 'LOGS',
    connection: { kind: 'connectionString', value: storage.connectionString },
  };
  const provider = new AzureProvider({
    endpoint: emulator.url,
    audience: emulator.url,
    apiVersion: '2025-07-01',
    subscriptions: [SUBSCRIPTION],
    installation: 'main',
    captureAccounts: [account],
    credential: { getToken: async () => ({ token: 'none', expiresOnTimestamp: 0 }) },
    now: () => new Date(),
    timeout: (ms) => AbortSignal.timeout(ms),
  });
  return startApp(provider, [account], times);
}

/** Every case at least once, the rest by lot. */
function deal(): { case: string; name: string }[] {
  const next = random(seed);
  const names = Object.keys(cases);
  const often = names.filter((name) => !cases[name]?.once);
  return Array.from({ length: runCount }, (_, i) => {
    const kind = names[i] ?? often[Math.floor(next() * often.length)] ?? '';
    const { named, target } = cases[kind] ?? {};
    return { case: kind, name: target ?? `m${i}${named ?? ''}` };
  });
}

/** Starts one run, does what belongs to its case, and waits for its end; what is wrong with that. */
async function live(kind: string, name: string, index: number): Promise<string | undefined> {
  const { capture = {}, limits: more, meanwhile, target, end } = cases[kind] as Case;
  const id = target ? machine(target).replace('virtualMachines', 'virtualMachineScaleSets') : machine(name);
  const launched = await app.launcher.launch({
    idParts: ['faults', String(index)],
    target: id.toLowerCase(),
    trigger: { kind: 'runbook' },
    capture,
    limits: { ...limits, ...more },
  });
  if (launched.ignored)
    return launched.ignored.reason === end.ignored ? undefined : `${kind} (${name}): ${launched.ignored.detail}`;
  const { run: started } = launched;
  if (meanwhile) {
    const running = await app.seen(started, ({ state }) => state === 'running' || isFinal(state));
    if (!isFinal(running.state)) await meanwhile(running, name);
  }
  const wrong = await endOf(app, started, end);
  return wrong && `${kind} (${name}): ${wrong}`;
}

it(
  `${runCount} runs in a cloud full of faults (seed ${seed}) end as they must, and nothing is left running`,
  { timeout: 280_000 },
  async () => {
    const dealt = deal();
    const faults = dealt.flatMap(({ case: kind, name }) => (cases[kind]?.machine ? [[name, cases[kind].machine]] : []));
    const set = await emulator.control({ random: { seed, rate: 0.03 }, machines: Object.fromEntries(faults) });
    expect(set.status).toBe(200);
    app = startAzure();

    const inTurn = atMost(60);
    const wrong = await Promise.all(dealt.map(({ case: kind, name }, i) => inTurn(() => live(kind, name, i))));
    const faulty = wrong.filter((text) => text !== undefined);
    expect(faulty.join('\n')).toBe('');

    // Nobody was asked again before the time that ARM named.
    expect((await ask(`${emulator.url}/_control`, {})).body.violations).toBe(0);
    await emulator.control(null);
    await until('no run left to be dealt with', async () => (await app.runs.open()).length === 0);
    expect(await app.provider.list(AbortSignal.timeout(10_000))).toEqual([]);
  },
);
