import { BlobServiceClient } from '@azure/storage-blob';
import { afterAll, beforeAll } from 'vitest';
import { parseAzureMonitorAlert } from '../../shared/alert/azure-monitor.ts';
import { inAllClouds } from '../../shared/alert/computers.ts';
import { parsePayload } from '../../shared/alert/payload.ts';
import { receiveAlert, takeUpUnsettled, type Receipt, type ReceiveParts } from '../../shared/alert/receive.ts';
import { receiveCloudMonitor, type Dealt } from '../../shared/alert/receive-cloudmonitor.ts';
import { AlertStore } from '../../shared/alert/store.ts';
import { CaptureAccounts } from '../../shared/catalog/accounts.ts';
import { Catalog } from '../../shared/catalog/catalog.ts';
import { CaptureStore } from '../../shared/catalog/store.ts';
import type { Clock } from '../../shared/clock.ts';
import type { Times } from '../../shared/config.ts';
import { deriveId, randomId } from '../../shared/id.ts';
import type { Log } from '../../shared/log.ts';
import {
  ProviderError,
  type EndCause,
  type ListedSession,
  type Observation,
  type PreparedStart,
  type Provider,
  type ProviderName,
  type Session,
  type TargetAnswer,
} from '../../shared/provider/provider.ts';
import { startDue } from '../../shared/rule/due.ts';
import type { Rule, RuleProblem } from '../../shared/rule/rule.ts';
import { Admission } from '../../shared/run/admission.ts';
import { Launcher } from '../../shared/run/launcher.ts';
import { Lifecycle } from '../../shared/run/lifecycle.ts';
import type { Run } from '../../shared/run/run.ts';
import { RunStore } from '../../shared/run/store.ts';
import { BlobArchive } from '../../shared/storage/archive.ts';
import { once } from '../../shared/once.ts';
import { connectBlobs, connectTable } from '../../shared/storage/connect.ts';
import type { WorkQueue } from '../../shared/storage/queue.ts';
import { AzureTable, type Table } from '../../shared/storage/table.ts';
import { startAzurite, type Azurite } from '../azurite.ts';

export const seconds = 1000;
export const minutes = 60 * seconds;
export const hours = 60 * minutes;

/** The account whose blobs Azurite holds, and the container that captures go to. */
export const account = 'devstoreaccount1';
export const container = 'captures';

export const times: Times = {
  startDeadlineMs: 3 * seconds,
  callTimeoutMs: 10 * seconds,
  acceptedTimeoutMs: 2 * minutes,
  startingTimeoutMs: 5 * minutes,
  startRetryMs: 30 * seconds,
  stopRetryMs: 30 * seconds,
  stoppingAlarmMs: 10 * minutes,
  fileTimeoutMs: 15 * minutes,
  filesSettleMs: 1 * minutes,
  limitGraceMs: 20 * seconds,
};

let azurite: Azurite;

/** One Azurite for a test file; call it once, at the top. */
export function useAzurite(): void {
  beforeAll(async () => {
    azurite = await startAzurite();
    await BlobServiceClient.fromConnectionString(azurite.connectionString).getContainerClient(container).create();
  });
  afterAll(() => azurite.stop());
}

export async function upload(blob: string, content: Buffer): Promise<void> {
  const blobs = BlobServiceClient.fromConnectionString(azurite.connectionString);
  await blobs.getContainerClient(container).getBlockBlobClient(blob).upload(content, content.length);
}

/** Where a blob lies, as a session tells it. */
export function blobUrl(blob: string): string {
  return `http://127.0.0.1:${azurite.blobPort}/${account}/${container}/${blob}`;
}

/** Time as the test sets it; a time-out passes when the test lets that time pass. */
class TestClock implements Clock {
  #ms = Date.parse('2026-11-22T12:00:00.000Z');
  #timeouts: { at: number; controller: AbortController }[] = [];

  now(): Date {
    return new Date(this.#ms);
  }

  timeout(ms: number): AbortSignal {
    const controller = new AbortController();
    this.#timeouts.push({ at: this.#ms + ms, controller });
    return controller.signal;
  }

  advance(ms: number): void {
    this.#ms += ms;
    const over = this.#timeouts.filter(({ at }) => at <= this.#ms);
    this.#timeouts = this.#timeouts.filter(({ at }) => at > this.#ms);
    for (const { controller } of over) controller.abort();
  }
}

/** Something that waits until the test opens it; `reached` tells that somebody waits. */
export function gate(): { reached: Promise<void>; open: () => void; wait: () => Promise<void> } {
  const reached = Promise.withResolvers<void>();
  const opened = Promise.withResolvers<void>();
  return {
    reached: reached.promise,
    open: opened.resolve,
    wait: () => {
      reached.resolve();
      return opened.promise;
    },
  };
}

type CloudCall = 'prepare' | 'start' | 'inspect' | 'enable' | 'stop' | 'remove';

/** A session as the cloud holds it. */
type Held = {
  run: string;
  target: string;
  phase: 'pending' | 'ready' | 'running' | 'ended';
  /** The cloud never ends it by itself. */
  endless?: true;
  startedAt?: Date;
  storagePath?: string | undefined;
  filePath?: string | undefined;
  manyFiles?: boolean;
  cause: EndCause;
};

/** A cloud that holds sessions and answers as a real one would, unless the test says otherwise. */
class ScriptedCloud implements Provider {
  readonly name = 'azure';
  readonly calls: { call: CloudCall; run: string; target: string }[] = [];
  readonly held = new Map<string, Held>();
  /** Runs before a call is carried out: may wait, or throw. */
  before: Partial<Record<CloudCall, (about: Held) => unknown>> = {};
  /** What a new session is like. */
  fresh: Partial<Held> = {};
  /** In place of what inspect() would say. */
  says: ((held: Held | undefined, session: Session) => Observation | undefined) | undefined;
  /** What remove() answers; it removes in any case. */
  removes = true;

  load(): Promise<void> {
    return Promise.resolve();
  }

  target(id: string): TargetAnswer | undefined {
    if (/^acs:ecs:[a-z0-9-]+:\d+:(?:instance\/i|eni\/eni)-[a-z0-9]+$/.test(id)) return { kind: 'target', id };
    if (!/^\/subscriptions\//i.test(id)) return undefined;
    return /\/microsoft\.compute\/virtualmachines\/[^/]+$/i.test(id)
      ? { kind: 'target', id: id.toLowerCase() }
      : { kind: 'refused', reason: 'unsupported-target', detail: 'Only virtual machines can be captured' };
  }

  check(): string[] {
    return [];
  }

  /** Machines by computer name, as the test sets them. */
  named = new Map<string, string[]>();

  machinesNamed(name: string): Promise<string[]> {
    return Promise.resolve(this.named.get(name.toLowerCase()) ?? []);
  }

  async prepare(run: { runId: string; target: string }, signal: AbortSignal): Promise<PreparedStart> {
    const held: Held = { run: run.runId, target: run.target, phase: 'running', cause: 'stopped', ...this.fresh };
    await this.#ask('prepare', held, signal);
    return { session: { id: `/packetCaptures/${run.runId}`, errors: [] }, request: held };
  }

  async start({ session, request }: PreparedStart, signal: AbortSignal): Promise<Session> {
    const held = request as Held;
    await this.#ask('start', held, signal);
    if (!this.held.has(session.id)) this.held.set(session.id, { ...held });
    return this.#seen(session, held);
  }

  async inspect(session: Session, signal: AbortSignal): Promise<Observation> {
    await this.#ask('inspect', this.#about(session), signal);
    const held = this.held.get(session.id);
    const said = this.says?.(held, session);
    if (said) return said;
    if (!held) return { phase: 'gone' };
    const seen = this.#seen(session, held);
    const started = held.startedAt ? { startedAt: held.startedAt } : {};
    switch (held.phase) {
      case 'pending':
        return { phase: 'pending', session: seen };
      case 'ready':
        return { phase: 'ready', session: seen, cause: 'stopped' };
      case 'running':
        return { phase: 'running', session: seen, ...started };
      case 'ended':
        return { phase: 'ended', session: seen, cause: held.cause, ...started };
    }
  }

  /** A cloud of two steps: what it starts waits to be enabled, and goes on until it is stopped. */
  inTwoSteps(): void {
    this.fresh = { phase: 'ready', endless: true };
    this.lookAgainMs = 1 * seconds;
  }

  lookAgainMs?: number;

  async enable(session: Session, _: unknown, signal: AbortSignal): Promise<Session> {
    await this.#ask('enable', this.#about(session), signal);
    const held = this.held.get(session.id);
    if (held?.phase === 'ready') held.phase = 'running';
    return session;
  }

  async stop(session: Session, signal: AbortSignal): Promise<Session> {
    await this.#ask('stop', this.#about(session), signal);
    const held = this.held.get(session.id);
    if (held) held.phase = held.endless ? 'ready' : 'ended';
    return session;
  }

  /** Targets that are not there any more. */
  readonly vanished = new Set<string>();

  targetExists(target: string): Promise<boolean> {
    return Promise.resolve(!this.vanished.has(target));
  }

  async remove(session: Session, signal: AbortSignal): Promise<boolean> {
    await this.#ask('remove', this.#about(session), signal);
    this.held.delete(session.id);
    return this.removes;
  }

  list(): Promise<ListedSession[]> {
    return Promise.resolve([]);
  }

  /** How often a call was made, for one run or for all. */
  count(call: CloudCall, run?: string): number {
    return this.calls.filter((c) => c.call === call && (run === undefined || c.run === run)).length;
  }

  /** The sessions that capture at this moment. */
  capturing(): string[] {
    const idle = ['ended', 'ready'];
    return [...this.held.values()].filter((held) => !idle.includes(held.phase)).map((held) => held.run);
  }

  #about({ id }: Session): Held {
    const run = id.split('/').at(-1) ?? '';
    return this.held.get(id) ?? { run, target: '', phase: 'ended', cause: 'unknown' };
  }

  #seen(session: Session, { phase, storagePath, filePath, manyFiles, endless }: Held): Session {
    return {
      ...session,
      status: phase === 'running' ? 'Running' : 'Stopped',
      ...(storagePath === undefined ? {} : { storagePath }),
      ...(filePath === undefined ? {} : { filePath }),
      ...(manyFiles === undefined ? {} : { manyFiles }),
      ...(endless === undefined ? {} : { endless }),
    };
  }

  /** Keeps a call in the log, and lets it fail when its time is up, as the SDK does. */
  async #ask(call: CloudCall, held: Held, signal: AbortSignal): Promise<void> {
    this.calls.push({ call, run: held.run, target: held.target });
    if (signal.aborted) throw new ProviderError('unavailable', 'no time left');
    const timedOut = new Promise<never>((_, fail) => {
      signal.addEventListener('abort', () => fail(new ProviderError('unavailable', 'no answer in time')), {
        once: true,
      });
    });
    const answered = (async () => this.before[call]?.(held))();
    await Promise.race([answered, timedOut]);
  }
}

/** One call of the app on a part of the outside. */
type PortCall = {
  port: 'runs' | 'alerts' | 'state' | 'captures' | 'archive' | 'queue' | 'cloud';
  method: string;
  args: unknown[];
};

/** Sees every call before it is made; may wait, or throw. What it gives back is called when the call is done. */
export type Tap = (call: PortCall) => unknown;

/** A process that dies before its call number `n + 1` and does nothing any more from then on. */
export function dyingAfter(n: number): { tap: Tap; died: () => boolean } {
  let calls = 0;
  return {
    tap: () => {
      if (++calls > n) throw new Error('this process has died');
    },
    died: () => calls > n,
  };
}

/** A process that halts before its call number `n + 1` and goes on when the test lets it. */
export function haltingAfter(n: number): { tap: Tap; reached: Promise<void>; open: () => void; calls: () => number } {
  const halt = gate();
  let calls = 0;
  return {
    tap: () => (++calls > n ? halt.wait() : undefined),
    reached: halt.reached,
    open: halt.open,
    calls: () => calls,
  };
}

export function tapped<T extends object>(port: PortCall['port'], part: T, tap: Tap): T {
  return new Proxy(part, {
    get(target, name) {
      const member: unknown = Reflect.get(target, name, target);
      if (typeof member !== 'function' || ['target', 'check', 'connect'].includes(String(name))) return member;
      return async (...args: unknown[]): Promise<unknown> => {
        const after = await tap({ port, method: String(name), args });
        const answer: unknown = await (member as (...args: unknown[]) => unknown).apply(target, args);
        if (typeof after === 'function') await after();
        return answer;
      };
    },
  });
}

type Logged = { level: 'info' | 'warn' | 'error'; message: string };

/** Everything outside of the processes of one app: storage, the cloud, the time, the rules. */
export class World {
  readonly clock = new TestClock();
  readonly cloud = new ScriptedCloud();
  readonly queued: { message: Record<string, string>; delayMs: number }[] = [];
  readonly logged: Logged[] = [];
  readonly tables: Record<'state' | 'runs' | 'alerts' | 'captures', Table>;
  rules: Rule[] = [];
  problems: RuleProblem[] = [];
  accounts: readonly string[] = [account];
  /** In the names of its tables and of its archive. */
  readonly name = randomId();
  readonly archive = new BlobArchive(
    once(() => connectBlobs(connection(), noIdentity, 'state')),
    `archive-${this.name}`,
  );

  constructor() {
    const table = (kind: string): Table =>
      new AzureTable(() => connectTable(connection(), `t${this.name}${kind}`, noIdentity));
    this.tables = { state: table('state'), runs: table('runs'), alerts: table('alerts'), captures: table('captures') };
  }

  /** A process of the app, wired as in shared/app.ts. */
  process(tap?: Tap): Process {
    return new Process(this, this.archive, tap);
  }

  logsOf(level: Logged['level']): string[] {
    return this.logged.filter((l) => l.level === level).map((l) => l.message);
  }
}

export class Process {
  readonly runs: RunStore;
  readonly alerts: AlertStore;
  readonly captures: CaptureStore;
  readonly catalog: Catalog;
  readonly lifecycle: Lifecycle;
  readonly launcher: Launcher;
  readonly #world: World;
  readonly #state: Table;
  readonly #receiving: ReceiveParts;

  constructor(world: World, archive: BlobArchive, tap: Tap = () => undefined) {
    const { clock, cloud, accounts } = world;
    const note = (level: Logged['level']) => (message: string) => void world.logged.push({ level, message });
    const log: Log = { info: note('info'), warn: note('warn'), error: note('error') };
    const queue: WorkQueue = {
      send: (message, delayMs) => Promise.resolve(void world.queued.push({ message, delayMs })),
    };
    const tappedQueue = tapped('queue', queue, tap);
    const providers = new Map<ProviderName, Provider>([['azure', tapped('cloud', cloud, tap)]]);
    this.#world = world;
    this.#state = tapped('state', world.tables.state, tap);
    this.runs = new RunStore(tapped('runs', world.tables.runs, tap));
    this.alerts = new AlertStore(tapped('alerts', world.tables.alerts, tap));
    this.captures = new CaptureStore(tapped('captures', world.tables.captures, tap));
    const { runs, captures } = this;
    this.catalog = new Catalog({
      accounts: new CaptureAccounts(
        [{ id: account, name: account, regions: ['*'], connectionName: account, connection: connection() }],
        noIdentity,
        clock,
      ),
      captures,
      runs,
      state: this.#state,
      clock,
      log,
    });
    this.lifecycle = new Lifecycle({
      runs,
      providers,
      catalog: this.catalog,
      accounts,
      queue: tappedQueue,
      clock,
      times,
      log,
      changed: () => undefined,
    });
    this.launcher = new Launcher({
      runs,
      admission: new Admission(this.#state, runs),
      lifecycle: this.lifecycle,
      providers,
      clock,
      times,
      trace: () => undefined,
    });
    this.#receiving = {
      alerts: this.alerts,
      archive: tapped('archive', archive, tap),
      runs,
      lifecycle: this.lifecycle,
      launcher: this.launcher,
      machinesNamed: inAllClouds(providers),
      rules: () => Promise.resolve({ rules: world.rules, version: 'v1', problems: world.problems }),
      clock,
      times,
      log,
    };
  }

  async receive(payload: Uint8Array): Promise<Receipt> {
    return receiveAlert(this.#receiving, parse(payload), payload);
  }

  async receiveCloudMonitor(payload: Uint8Array, dealt: Dealt = () => undefined): Promise<Receipt> {
    return receiveCloudMonitor(this.#receiving, payload, dealt);
  }

  /** What the poll timer does. */
  async poll(): Promise<{ open: number; alarms: number }> {
    const answer = await this.lifecycle.stepAll();
    await takeUpUnsettled(this.#receiving);
    return answer;
  }

  startDue(): Promise<void> {
    const { rules, clock } = this.#world;
    const { log } = this.#receiving;
    return startDue({
      state: this.#state,
      launcher: this.launcher,
      rules: () => Promise.resolve({ rules, version: 'v1', problems: [] }),
      clock,
      log,
    });
  }

  /** Every run there is, the newest first. */
  async allRuns(): Promise<Run[]> {
    return (await this.runs.list({ limit: 1000 }, {})).items;
  }

  /** Polls, with time going on, until nothing is left to be done about any run. */
  async settle(stepMs = 5 * minutes): Promise<void> {
    for (let i = 0; i < 60 && (await this.runs.open()).length > 0; i++) {
      this.#world.clock.advance(stepMs);
      await this.lifecycle.stepAll();
    }
  }
}

const parse = (payload: Uint8Array) => parseAzureMonitorAlert(parsePayload(payload));

/** How to reach the Azurite of this test file. */
export function connection() {
  return { kind: 'connectionString' as const, value: azurite.connectionString };
}

export function noIdentity(): never {
  throw new Error('no identity here');
}

/** The id of a machine, in canonical form. */
export function vm(name: string): string {
  return `/subscriptions/s/resourcegroups/g/providers/microsoft.compute/virtualmachines/${name}`;
}

/** A rule for every alert; without cool-down and without a limit of captures at once, unless said. */
export function rule(name: string, limits: Partial<Rule['limits']> = {}, more: Partial<Rule> = {}): Rule {
  return {
    name,
    when: { source: 'azure-monitor', alert: [], severity: [], resourceType: [] },
    target: 'alert',
    capture: {},
    limits: {
      durationSeconds: 60,
      sizeBytes: 1e6,
      stopOnResolve: true,
      cooldownSeconds: 0,
      concurrent: undefined,
      ...limits,
    },
    ...more,
  };
}

type AlertText = { id: string; targets?: string[]; firedAt?: string; resolvedAt?: string; origin?: string };

/** A notification of the common alert schema; resolved when it says since when. */
export function notification({ id, targets = [vm('a')], firedAt, resolvedAt, origin }: AlertText): Uint8Array {
  const essentials = {
    alertId: id,
    alertRule: 'Network Out Total',
    severity: 'Sev1',
    monitorCondition: resolvedAt === undefined ? 'Fired' : 'Resolved',
    alertTargetIDs: targets,
    firedDateTime: firedAt ?? '2026-11-22T11:59:00.1234567Z',
    ...(resolvedAt === undefined ? {} : { resolvedDateTime: resolvedAt }),
    ...(origin === undefined ? {} : { originAlertId: origin }),
  };
  return new TextEncoder().encode(
    JSON.stringify({ schemaId: 'azureMonitorCommonAlertSchema', data: { essentials, alertContext: {} } }),
  );
}

/** A run as it is before anything was asked of the cloud. */
export function newRun(name: string, at: Date, more: Partial<Run> = {}): Run {
  return {
    id: deriveId('test', name),
    provider: 'azure',
    target: vm('a'),
    state: 'accepted',
    trigger: { kind: 'runbook' },
    capture: {},
    limits: { durationSeconds: 60, sizeBytes: 1e6 },
    stopOnResolve: false,
    files: [],
    createdAt: at.toISOString(),
    timeline: [],
    ...more,
  };
}
