import { CaptureAccounts } from './catalog/accounts.ts';
import { Catalog } from './catalog/catalog.ts';
import type { Capture } from './catalog/entry.ts';
import { CaptureStore } from './catalog/store.ts';
import { parseAzureMonitorAlert } from './alert/azure-monitor.ts';
import { inAllClouds } from './alert/computers.ts';
import { parsePayload } from './alert/payload.ts';
import { receiveAlert, takeUpUnsettled, type Receipt } from './alert/receive.ts';
import { receiveCloudMonitor } from './alert/receive-cloudmonitor.ts';
import { AlertStore } from './alert/store.ts';
import type { Clock } from './clock.ts';
import { mirrorContainer, mirrorControlContainer, runQueueName, type Config } from './config.ts';
import { readHealth, type Health } from './health.ts';
import { ManagedIdentity } from './identity.ts';
import type { Log } from './log.ts';
import { Problem } from './problem.ts';
import { AlibabaProvider } from './provider/alibaba/alibaba.ts';
import { AzureProvider } from './provider/azure/azure.ts';
import type { CaptureRequest, Limits, Provider, ProviderName } from './provider/provider.ts';
import { retain, type RetentionOutcome } from './retention/retention.ts';
import { startDue } from './rule/due.ts';
import { RulesSource } from './rule/source.ts';
import { Admission } from './run/admission.ts';
import { Launcher } from './run/launcher.ts';
import { reconcile } from './run/reconcile.ts';
import { Lifecycle } from './run/lifecycle.ts';
import type { Run } from './run/run.ts';
import { startRunbook } from './run/runbook.ts';
import { listSessions, type MarkedSession } from './run/sessions.ts';
import { RunStore } from './run/store.ts';
import { BlobArchive } from './storage/archive.ts';
import { once } from './once.ts';
import { ApplicationInsights } from './telemetry/insights.ts';
import { Reporting } from './telemetry/reporting.ts';
import type { Invocation } from './telemetry/signals.ts';
import { noTelemetry, type Telemetry } from './telemetry/telemetry.ts';
import { blobServiceUrl, connectBlobs, connectQueues, connectTable, type IdentityFor } from './storage/connect.ts';
import { BlobDocuments } from './storage/document.ts';
import { AzureQueue } from './storage/queue.ts';
import { AzureTable } from './storage/table.ts';

/** What the triggers call. One instance per process. */
export type App = {
  /** Does ahead of the first request what it would have to wait for; what fails here fails again, and is told, there. */
  warmUp(): Promise<void>;
  alerts: AlertStore;
  runs: RunStore;
  captures: CaptureStore;
  receiveAzureMonitor(payload: Uint8Array): Promise<Receipt>;
  receiveCloudMonitor(payload: Uint8Array): Promise<Receipt>;
  startRunbook(body: unknown, idempotencyKey: string | undefined): Promise<{ run: Run; created: boolean }>;
  stopRun(id: string): Promise<Run>;
  removeRun(id: string): Promise<Run>;
  stepRun(id: string): Promise<void>;
  poll(): Promise<void>;
  startDue(): Promise<void>;
  addFile(account: string, container: string, blob: string): Promise<Capture | undefined>;
  sweep(): Promise<void>;
  retain(): Promise<RetentionOutcome>;
  sessions(filter: { provider?: string | undefined; region?: string | undefined }): Promise<MarkedSession[]>;
  fileLink(id: string): Promise<string>;
  health(): Promise<Health>;
  telemetry: Pick<Telemetry, 'load' | 'flush'>;
};

/**
 * The composition root: puts the parts together, the only place that knows them all. Does no I/O by itself. `invocation` tells in
 * which function call something happens.
 */
export function createApp(
  config: Config,
  environment: Readonly<Record<string, string | undefined>>,
  clock: Clock,
  log: Log,
  invocation: () => Invocation | undefined,
): App {
  const { times } = config;
  const identities = new Map<string | undefined, ManagedIdentity>();
  const identityFor: IdentityFor = (clientId) => {
    const identity =
      identities.get(clientId) ?? new ManagedIdentity(environment, clientId, () => clock.now().getTime());
    identities.set(clientId, identity);
    return identity;
  };
  const state = () => {
    if (!config.state)
      throw new Problem('storage-unavailable', 'AzureWebJobsStorage is not set, so nothing can be recorded', {
        retryAfterSeconds: 60,
      });
    return config.state;
  };
  const table = (name: string): AzureTable => new AzureTable(async () => connectTable(state(), name, identityFor));
  const blobs = once(async () => connectBlobs(state(), identityFor, 'state'));
  const queues = once(async () => connectQueues(state(), identityFor));

  const telemetry: Telemetry = config.telemetry
    ? new Reporting({
        sink: new ApplicationInsights({
          ...config.telemetry,
          credential: config.telemetry.identity && identityFor(config.telemetry.identity.clientId),
          clock,
          log,
        }),
        run: (id) => runs.get(id),
        firedAt: async (id) => new Date((await alerts.require(id)).firedAt),
        invocation,
        clock,
        log,
      })
    : noTelemetry;
  const providers = new Map<ProviderName, Provider>();
  if (config.azure) {
    providers.set(
      'azure',
      telemetry.watched(
        new AzureProvider({
          ...config.azure,
          installation: config.installation,
          captureAccounts: config.captureAccounts,
          credential: identityFor(config.azure.clientId),
          now: () => clock.now(),
          timeout: (ms) => clock.timeout(ms),
        }),
      ),
    );
  }
  if (config.alibaba && config.mirror) {
    const { name: account, connection } = config.mirror.account;
    const { signIn } = config.alibaba;
    providers.set(
      'alibaba',
      telemetry.watched(
        new AlibabaProvider({
          ...config.alibaba,
          installation: config.installation,
          storage: {
            account,
            url: `${blobServiceUrl(connection, account)}/${mirrorContainer}`,
            uploadUrl: (seconds) => accounts.uploadUrl(account, mirrorContainer, seconds),
          },
          control: new BlobDocuments(
            once(async () => connectBlobs(connection, identityFor, 'state')),
            mirrorControlContainer,
          ),
          graceMs: times.limitGraceMs / 2,
          identity: identityFor(signIn.kind === 'role' ? signIn.clientId : undefined),
          now: () => clock.now(),
          timeout: (ms) => clock.timeout(ms),
        }),
      ),
    );
  }
  // Every configured cloud's documented limits; what a cloud does not know it does not complain about.
  const check = (capture: CaptureRequest, limits: Limits): string[] => [
    ...new Set([...providers.values()].flatMap((p) => p.check(capture, limits))),
  ];
  const rules = new RulesSource(config.rulesFile, check);

  const tables = {
    state: table('tripcapstate'),
    runs: table('tripcapruns'),
    alerts: table('tripcapalerts'),
    captures: table('tripcapcaptures'),
  };
  const runs = new RunStore(tables.runs);
  const alerts = new AlertStore(tables.alerts);
  const captures = new CaptureStore(tables.captures);
  const accounts = new CaptureAccounts(config.captureAccounts, identityFor, clock);
  const archive = new BlobArchive(blobs, 'tripcap-alerts');
  const queue = new AzureQueue(queues, runQueueName);
  const catalog = new Catalog({ accounts, captures, runs, state: tables.state, clock, log });
  const lifecycle = new Lifecycle({
    runs,
    providers,
    catalog,
    accounts: accounts.names,
    queue,
    clock,
    times,
    log,
    changed: (after, before) => telemetry.runChanged(after, before),
  });
  const launcher = new Launcher({
    runs,
    admission: new Admission(tables.state, runs),
    lifecycle,
    providers,
    clock,
    times,
    trace: () => invocation()?.trace,
  });
  const currentRules = () => rules.current();

  const machinesNamed = inAllClouds(providers);
  const receiving = {
    alerts,
    archive,
    runs,
    lifecycle,
    launcher,
    machinesNamed,
    rules: currentRules,
    clock,
    times,
    log,
  };
  const addFile = async (account: string, container: string, blob: string): Promise<Capture | undefined> => {
    const since = clock.now();
    const capture = await lifecycle.addFile(account, container, blob);
    telemetry.fileAdded(capture, since);
    return capture;
  };
  const startedAt = clock.now();

  return {
    async warmUp() {
      const parts = [...Object.values(tables), queue, archive].map((part) => part.connect());
      await Promise.allSettled([
        ...parts,
        ...[...providers.values()].map((p) => p.load(clock.timeout(20_000))),
        rules.current(),
      ]);
    },
    alerts,
    runs,
    captures,
    async receiveAzureMonitor(payload) {
      const since = clock.now();
      const alert = parseAzureMonitorAlert(parsePayload(payload));
      const receipt = await receiveAlert(receiving, alert, payload);
      telemetry.alertReceived(alert, receipt, since);
      return receipt;
    },
    async receiveCloudMonitor(payload) {
      const since = clock.now();
      return receiveCloudMonitor(receiving, payload, (alert, receipt) =>
        telemetry.alertReceived(alert, receipt, since),
      );
    },
    async startRunbook(body, idempotencyKey) {
      try {
        return await startRunbook(launcher, check, body, idempotencyKey);
      } catch (error) {
        telemetry.startFailed(error);
        throw error;
      }
    },
    async stopRun(id) {
      await runs.require(id);
      return lifecycle.stop(id, 'operator');
    },
    async removeRun(id) {
      await runs.require(id);
      return lifecycle.remove(id);
    },
    async stepRun(id) {
      await lifecycle.follow(id);
    },
    async poll() {
      const { open, alarms } = await lifecycle.stepAll();
      telemetry.polled({ open, alarms });
      await tables.state.put('heartbeat', 'poll', { at: clock.now().toISOString(), open, alarms });
      await takeUpUnsettled(receiving);
    },
    startDue: () => startDue({ state: tables.state, launcher, rules: currentRules, clock, log }),
    addFile,
    async sweep() {
      const leaked = await reconcile({ providers, runs, lifecycle, clock, log });
      telemetry.reconciled({ leaked });
      const places = accounts.names.map((account) => ({ account, container: config.captureContainer }));
      if (config.mirror) places.push({ account: config.mirror.account.name, container: mirrorContainer });
      for (const { account, container } of places) {
        const place = `${account}/${container}`;
        try {
          const found = await catalog.sweep(account, container, async (blob) => {
            await addFile(account, container, blob);
          });
          if (found > 0) log.warn(`sweep: ${found} files in ${place} had not been catalogued by their events`);
        } catch (error) {
          log.error(`sweep: ${place} could not be searched`, { error });
        }
      }
    },
    retain: () =>
      retain({
        runs,
        alerts,
        captures,
        accounts,
        archive,
        state: tables.state,
        admission: new Admission(tables.state, runs),
        rules: currentRules,
        lifetimes: config.lifetimes,
        clock,
        log,
      }),
    sessions: (filter) => listSessions(providers, runs, clock, filter),
    async fileLink(id) {
      const { account, container, blob } = await captures.require(id);
      if (!(await accounts.find(account, container, blob)))
        throw new Problem('not-found', `The file of capture ${id} is no longer in storage`);
      return accounts.link(account, container, blob);
    },
    health: () => readHealth({ config, rules: currentRules, state: tables.state, clock, startedAt }),
    telemetry,
  };
}
