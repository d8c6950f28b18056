import type { NetworkWatcher, PacketCapture, PacketCaptureSettings } from '@azure/arm-network';
import { toRegion, type CaptureAccount } from '../../config.ts';
import type { TokenSource } from '../../identity.ts';
import { once } from '../../once.ts';
import {
  ProviderError,
  type CaptureRequest,
  type Limits,
  type ListedSession,
  type Observation,
  type PreparedStart,
  type Provider,
  type Session,
  type TargetAnswer,
} from '../provider.ts';
import { connectArm, type Arm, type ArmSettings } from './arm.ts';
import { parseCaptureId, parseMachineId, parseWatcherId, type CaptureId, type MachineId } from './arm-id.ts';
import { sessionName } from '../session-name.ts';
import { armStatus, isNotFound, toProviderError } from './errors.ts';
import { checkCapture, checkScope, instanceIds } from './limits.ts';
import { MachineDirectory } from './machines.ts';
import { lookUpMachine, machineExists, missingInstances } from './target.ts';
import {
  describeCapture,
  errorsOf,
  failureOf,
  isConfirmed,
  observeStatus,
  type CaptureBody,
  type StatusBody,
} from './status.ts';
import { chooseStorage } from './storage.ts';

export type AzureOptions = ArmSettings & {
  subscriptions: readonly string[];
  installation: string;
  captureAccounts: readonly CaptureAccount[];
  credential: TokenSource;
  now: () => Date;
  /** Aborts when that time is up. */
  timeout: (ms: number) => AbortSignal;
};

// A watcher is one per region and subscription and hardly ever changes.
const watcherCacheMs = 5 * 60_000;

/** Packet captures of Azure Network Watcher on virtual machines and scale sets, through @azure/arm-network. */
export class AzureProvider implements Provider {
  readonly name = 'azure';
  readonly #options: AzureOptions;
  readonly #directory: MachineDirectory;
  readonly #arms = new Map<string, () => Promise<Arm>>();
  readonly #watchers = new Map<string, { at: number; watchers: NetworkWatcher[] }>();

  constructor(options: AzureOptions) {
    this.#options = options;
    this.#directory = new MachineDirectory({
      ...options,
      list: async (subscription, path, signal) => (await this.#arm(subscription)).listCompute(path, signal),
    });
  }

  /** Beside the SDK this fetches the token and the watchers, which every start needs. */
  async load(signal: AbortSignal): Promise<void> {
    await Promise.all(
      this.#options.subscriptions.map(async (subscription) =>
        this.#listWatchers(subscription, await this.#arm(subscription), signal),
      ),
    );
  }

  target(id: string): TargetAnswer | undefined {
    if (!/^\/subscriptions\//i.test(id)) return undefined;
    const machine = parseMachineId(id);
    if (!machine)
      return {
        kind: 'refused',
        reason: 'unsupported-target',
        detail: 'Only virtual machines, scale sets and their instances (Microsoft.Compute) can be captured',
      };
    if (!this.#options.subscriptions.includes(machine.subscription)) {
      return {
        kind: 'refused',
        reason: 'subscription-not-configured',
        detail: `Subscription ${machine.subscription} is not in TRIPCAP_SUBSCRIPTIONS`,
      };
    }
    return { kind: 'target', id: machine.id };
  }

  machinesNamed(name: string, signal: AbortSignal): Promise<string[]> {
    return this.#directory.named(name, signal);
  }

  check(capture: CaptureRequest, limits: Limits): string[] {
    return checkCapture(capture, limits);
  }

  async prepare(
    run: { runId: string; target: string; capture: CaptureRequest; limits: Limits },
    signal: AbortSignal,
  ): Promise<PreparedStart> {
    const machine = parseMachineId(run.target);
    if (!machine) throw new ProviderError('invalid', `${run.target} is not a machine`);
    const faults = [...checkCapture(run.capture, run.limits), ...checkScope(run.capture, machine.kind)];
    if (faults.length > 0) throw new ProviderError('invalid', faults.join('; '));
    const arm = await this.#arm(machine.subscription);
    const include = instanceIds(run.capture.azure?.scope?.include);
    const exclude = instanceIds(run.capture.azure?.scope?.exclude);
    const [{ region }, missing, watchers] = await Promise.all([
      lookUpMachine(arm, machine, signal),
      missingInstances(arm, machine, include, signal),
      this.#listWatchers(machine.subscription, arm, signal),
    ]);
    // The service takes names of instances that are not there, and captures nothing.
    if (missing.length > 0)
      throw new ProviderError('invalid', `Scale set ${machine.name} has no instance ${missing.join(', ')}`);
    const watcher = await this.#watcherOf(machine, arm, region, watchers, signal);

    const { storageLocation, account, filePath } = chooseStorage(
      this.#options.captureAccounts,
      run.capture,
      run.runId,
      region,
    );
    const name = sessionName.format(this.#options.installation, run.runId);
    const { continuousCapture } = run.capture.azure ?? {};
    const isRing = continuousCapture === true || continuousCapture === false;
    const request: PacketCapture = {
      target: machine.id,
      targetType: machine.kind === 'vm' ? 'AzureVM' : 'AzureVMSS',
      ...(machine.kind === 'scale-set' ? { scope: { include, exclude } } : {}),
      bytesToCapturePerPacket: run.capture.bytesToCapturePerPacket ?? 0,
      ...(isRing
        ? { continuousCapture, captureSettings: ringSettings(run.capture, run.limits) }
        : { totalBytesPerSession: run.limits.sizeBytes, timeLimitInSeconds: run.limits.durationSeconds }),
      storageLocation,
      filters: (run.capture.filters ?? []).map(({ protocol, ...rest }) => ({
        protocol: protocol ?? 'Any',
        ...withoutUndefined(rest),
      })),
    };
    const id = `/subscriptions/${machine.subscription}/resourceGroups/${watcher.resourceGroup}/providers/Microsoft.Network/networkWatchers/${watcher.watcher}/packetCaptures/${name}`;
    const session: Session = {
      id,
      errors: [],
      ...(account === undefined ? {} : { account }),
      ...(filePath === undefined ? {} : { filePath }),
      ...(isRing || machine.kind === 'scale-set' ? { manyFiles: true } : {}),
    };
    return { session, request };
  }

  async start({ session, request }: PreparedStart, signal: AbortSignal): Promise<Session> {
    const { arm, at } = await this.#locate(session);
    let body: CaptureBody | undefined;
    let operation: string | undefined;
    try {
      const poller = arm.network.packetCaptures.create(
        at.resourceGroup,
        at.watcher,
        at.name,
        request as PacketCapture,
        {
          abortSignal: signal,
          onResponse: (response) => {
            body = readJson<CaptureBody>(response.bodyAsText);
            operation = response.headers.get('azure-asyncoperation');
          },
        },
      );
      await poller.submitted();
      return { ...session, ...describeCapture(body), ...withOperation('start', operation) };
    } catch (error) {
      const status = armStatus(error);
      if (status === 404) this.#watchers.delete(at.subscription);
      // What ARM answers when the name is taken was never recorded; whatever it is, a session under this run's name is this run's.
      if (status !== undefined && status >= 400 && status < 500 && ![401, 403, 429].includes(status)) {
        const existing = describeCapture(await this.#get(session, signal).catch(() => undefined));
        if (existing.status !== undefined && existing.status !== 'Failed') return { ...session, ...existing };
      }
      throw toProviderError('start the packet capture', error);
    }
  }

  async inspect(session: Session, signal: AbortSignal): Promise<Observation> {
    let known = session;
    if (!isConfirmed(session.status)) {
      const body = await this.#get(session, signal);
      if (!body) return { phase: 'gone' };
      known = { ...session, ...describeCapture(body) };
      if (known.status === 'Failed' || known.status === 'Canceled') return this.#refused(known, signal);
      if (known.status !== 'Succeeded') return { phase: 'pending', session: known };
    }
    const status = await this.#queryStatus(session, signal);
    if (status === undefined) return { phase: 'gone' };
    // A 202 without a body is no news.
    if (status === null)
      return isConfirmed(session.status) ? { phase: 'running', session: known } : { phase: 'pending', session: known };
    const seen = observeStatus(known, status);
    const asked = session.operations?.stop;
    if (seen.phase !== 'running' || asked === undefined) return seen;
    // What the status says is news, whether or not the operation is to be read.
    const stopFailed = await this.#failure(session, asked, signal).catch(() => undefined);
    return stopFailed === undefined ? seen : { ...seen, stopFailed };
  }

  /** A failed create carries no reason of its own; its operation does, and sometimes its status. */
  async #refused(known: Session, signal: AbortSignal): Promise<Observation> {
    const operation = known.operations?.start;
    const [status, why] = await Promise.all([
      this.#queryStatus(known, signal).catch(() => undefined),
      operation === undefined ? undefined : this.#failure(known, operation, signal),
    ]);
    const errors = errorsOf(status);
    const detail = [why, errors.join(', ')].filter(Boolean).join('; ');
    return {
      phase: 'refused',
      session: { ...known, errors },
      detail: detail || 'Azure accepted the packet capture and then failed to start it, without giving a reason',
    };
  }

  /** Why what was asked for failed, by its operation; undefined when it did not, or when its URL tells nothing any more. */
  async #failure(session: Session, operation: string, signal: AbortSignal): Promise<string | undefined> {
    const { arm } = await this.#locate(session);
    try {
      return failureOf(await arm.follow(operation, signal));
    } catch (error) {
      const problem = toProviderError('read the operation', error);
      // A poll that fails in passing is not its end: it is asked again. What is no JSON never tells.
      if (problem.retry && !(error instanceof SyntaxError)) throw problem;
      return undefined;
    }
  }

  async stop(session: Session, signal: AbortSignal): Promise<Session> {
    const { arm, at } = await this.#locate(session);
    let operation: string | undefined;
    try {
      await arm.network.packetCaptures
        .stop(at.resourceGroup, at.watcher, at.name, {
          abortSignal: signal,
          onResponse: (response) => (operation = response.headers.get('azure-asyncoperation')),
        })
        .submitted();
    } catch (error) {
      // Gone is stopped; and 204 is declared nowhere, but no failure either.
      if (!isNotFound(error) && armStatus(error) !== 204) throw toProviderError('stop the packet capture', error);
    }
    return { ...session, ...withOperation('stop', operation, session) };
  }

  async targetExists(target: string, signal: AbortSignal): Promise<boolean> {
    const machine = parseMachineId(target);
    if (!machine) throw new ProviderError('invalid', `${target} is not a machine`);
    return machineExists(await this.#arm(machine.subscription), machine, signal);
  }

  async remove(session: Session, signal: AbortSignal): Promise<boolean> {
    const { arm, at } = await this.#locate(session);
    let status: number | undefined;
    try {
      await arm.network.packetCaptures
        .delete(at.resourceGroup, at.watcher, at.name, {
          abortSignal: signal,
          onResponse: (response) => (status = response.status),
        })
        .submitted();
    } catch (error) {
      if (isNotFound(error)) return true;
      throw toProviderError('delete the packet capture', error);
    }
    return status === 204;
  }

  async list(signal: AbortSignal, region?: string): Promise<ListedSession[]> {
    const lists = await Promise.all(
      this.#options.subscriptions.map(async (subscription) => {
        const arm = await this.#arm(subscription);
        const watchers = await this.#listWatchers(subscription, arm, signal);
        const wanted = watchers.filter((w) => region === undefined || toRegion(w.location) === toRegion(region));
        return Promise.all(wanted.map((w) => this.#listOf(arm, w, signal)));
      }),
    );
    return lists.flat(2);
  }

  async #listOf(arm: Arm, watcher: NetworkWatcher, signal: AbortSignal): Promise<ListedSession[]> {
    const at = parseWatcherId(watcher.id ?? '');
    if (!at) return [];
    const sessions: ListedSession[] = [];
    try {
      for await (const capture of arm.network.packetCaptures.list(at.resourceGroup, at.watcher, {
        abortSignal: signal,
      })) {
        const name = capture.name ?? '';
        const runId = sessionName.parse(this.#options.installation, name);
        sessions.push({
          provider: 'azure',
          id: capture.id ?? '',
          name,
          region: toRegion(watcher.location),
          target: (capture.target ?? '').toLowerCase(),
          status: capture.provisioningState ?? 'Unknown',
          session: { id: capture.id ?? '', errors: [] },
          ...(runId === undefined ? {} : { runId }),
        });
      }
    } catch (error) {
      throw toProviderError(`list the packet captures of ${watcher.name}`, error);
    }
    return sessions;
  }

  #arm(subscription: string): Promise<Arm> {
    const existing = this.#arms.get(subscription);
    if (existing) return existing();
    const connect = once(() => connectArm(this.#options, subscription, this.#options.credential, this.#options.now));
    this.#arms.set(subscription, connect);
    return connect();
  }

  async #locate(session: Session): Promise<{ arm: Arm; at: CaptureId }> {
    const at = parseCaptureId(session.id);
    if (!at) throw new ProviderError('invalid', `${session.id} is not the id of a packet capture`);
    return { arm: await this.#arm(at.subscription), at };
  }

  /** The capture as ARM writes it, or undefined when it is not there. */
  async #get(session: Session, signal: AbortSignal): Promise<CaptureBody | undefined> {
    const { arm, at } = await this.#locate(session);
    let body: CaptureBody | undefined;
    try {
      await arm.network.packetCaptures.get(at.resourceGroup, at.watcher, at.name, {
        abortSignal: signal,
        onResponse: (response) => (body = readJson<CaptureBody>(response.bodyAsText)),
      });
      return body ?? {};
    } catch (error) {
      if (isNotFound(error)) return undefined;
      throw toProviderError('read the packet capture', error);
    }
  }

  /**
   * queryStatus answers 200 when stopped, and 202 with the whole answer in its body while running. The SDK would follow the 202
   * and wait ten seconds for the same words, so its poller is left after the first answer. Null: a 202 without a body.
   */
  async #queryStatus(session: Session, signal: AbortSignal): Promise<StatusBody | null | undefined> {
    const { arm, at } = await this.#locate(session);
    let body: StatusBody | undefined;
    let status: number | undefined;
    const answer = (): StatusBody | null => (body?.packetCaptureStatus === undefined ? null : body);
    try {
      await arm.network.packetCaptures
        .getStatus(at.resourceGroup, at.watcher, at.name, {
          abortSignal: signal,
          onResponse: (response) => {
            status = response.status;
            body = readJson<StatusBody>(response.bodyAsText);
          },
        })
        .submitted();
      return answer();
    } catch (error) {
      if (isNotFound(error)) return undefined;
      // An answer is an answer, also one that the SDK makes no sense of.
      if (status === 200 || status === 202) return answer();
      throw toProviderError('query the status of the packet capture', error);
    }
  }

  async #listWatchers(subscription: string, arm: Arm, signal: AbortSignal): Promise<NetworkWatcher[]> {
    const now = this.#options.now().getTime();
    const kept = this.#watchers.get(subscription);
    if (kept && now - kept.at < watcherCacheMs) return kept.watchers;
    const watchers: NetworkWatcher[] = [];
    try {
      for await (const watcher of arm.network.networkWatchers.listAll({ abortSignal: signal })) watchers.push(watcher);
    } catch (error) {
      throw toProviderError('list the network watchers', error);
    }
    this.#watchers.set(subscription, { at: now, watchers });
    return watchers;
  }

  /** The network watcher of a region: looked for by listing, since its name and group are free. */
  async #watcherOf(
    machine: MachineId,
    arm: Arm,
    region: string,
    listed: NetworkWatcher[],
    signal: AbortSignal,
  ): Promise<{ resourceGroup: string; watcher: string }> {
    const inRegion = (list: NetworkWatcher[]) =>
      parseWatcherId(list.find((w) => toRegion(w.location) === region)?.id ?? '');
    let watcher = inRegion(listed);
    if (!watcher) {
      // It may have been enabled since the list was kept.
      this.#watchers.delete(machine.subscription);
      watcher = inRegion(await this.#listWatchers(machine.subscription, arm, signal));
    }
    if (!watcher)
      throw new ProviderError('no-watcher', `Subscription ${machine.subscription} has no network watcher in ${region}`);
    return watcher;
  }
}

/** A ring of files holds no more than the size limit, and ends when its time is up. */
function ringSettings({ azure }: CaptureRequest, { durationSeconds, sizeBytes }: Limits): PacketCaptureSettings {
  const asked = azure?.captureSettings ?? {};
  const fileSizeInBytes =
    asked.fileSizeInBytes ??
    Math.min(sizeBytes, asked.fileCount ? Math.floor(sizeBytes / asked.fileCount) : 100 * 2 ** 20);
  return {
    fileSizeInBytes,
    fileCount: asked.fileCount ?? Math.max(1, Math.min(10_000, Math.floor(sizeBytes / fileSizeInBytes))),
    sessionTimeLimitInSeconds: asked.sessionTimeLimitInSeconds ?? durationSeconds,
  };
}

function withOperation(
  what: 'start' | 'stop',
  url: string | undefined,
  session?: Session,
): Pick<Session, 'operations'> {
  return url === undefined ? {} : { operations: { ...session?.operations, [what]: url } };
}

function readJson<T>(text: string | null | undefined): T | undefined {
  if (!text) return undefined;
  try {
    return (JSON.parse(text) as T | null) ?? undefined;
  } catch {
    return undefined;
  }
}

function withoutUndefined<T extends object>(value: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(value).filter(([, v]) => v !== undefined)) as {
    [K in keyof T]: Exclude<T[K], undefined>;
  };
}
