import type { NetworkWatcher, PacketCapture } from '@azure/arm-network';
import { isLoopback, toRegion, type CaptureAccount } from '../../config.ts';
import type { TokenSource } from '../../identity.ts';
import {
  ProviderError,
  type CaptureRequest,
  type EndCause,
  type Limits,
  type ListedSession,
  type Observation,
  type PreparedStart,
  type Provider,
  type Session,
  type TargetAnswer,
} from '../provider.ts';
import { connectArm, type Arm, type ArmSettings } from './arm.ts';
import {
  parseCaptureId,
  parseMachineId,
  parseWatcherId,
  sessionName,
  type CaptureId,
  type MachineId,
} from './arm-id.ts';
import { armCode, armStatus, isNotFound, toProviderError } from './errors.ts';
import { once } from '../../once.ts';
import { checkCapture } from './limits.ts';

export type AzureOptions = ArmSettings & {
  subscriptions: readonly string[];
  installation: string;
  captureAccounts: readonly CaptureAccount[];
  credential: TokenSource;
  now: () => Date;
};

/** What one virtual machine's GET tells that matters here. */
type Machine = { location?: string; resources?: Extension[] };
type Extension = { properties?: { publisher?: string; type?: string; provisioningState?: string } };

/** A packet capture as ARM writes it; only what is read here. */
type CaptureBody = {
  properties?: { provisioningState?: string; storageLocation?: { storagePath?: string; filePath?: string } };
};
type StatusBody = {
  captureStartTime?: string;
  packetCaptureStatus?: string;
  stopReason?: string;
  packetCaptureError?: string[];
} | null;

// A watcher is one per region and subscription and hardly ever changes.
const watcherCacheMs = 5 * 60_000;

/** Packet captures of Azure Network Watcher on virtual machines, through @azure/arm-network. */
export class AzureProvider implements Provider {
  readonly name = 'azure';
  readonly #options: AzureOptions;
  readonly #arms = new Map<string, () => Promise<Arm>>();
  readonly #watchers = new Map<string, { at: number; watchers: NetworkWatcher[] }>();

  constructor(options: AzureOptions) {
    this.#options = options;
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
        detail: 'Only virtual machines (Microsoft.Compute/virtualMachines) can be captured',
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

  machinesNamed(_name: string, _signal: AbortSignal): Promise<string[]> {
    return Promise.resolve([]);
  }

  check(capture: CaptureRequest, limits: Limits): string[] {
    return checkCapture(capture, limits);
  }

  async prepare(
    run: { runId: string; target: string; capture: CaptureRequest; limits: Limits },
    signal: AbortSignal,
  ): Promise<PreparedStart> {
    const faults = checkCapture(run.capture, run.limits);
    if (faults.length > 0) throw new ProviderError('invalid', faults.join('; '));
    const machine = parseMachineId(run.target);
    if (!machine) throw new ProviderError('invalid', `${run.target} is not a virtual machine`);
    const arm = await this.#arm(machine.subscription);
    const [{ location, resources = [] }, watchers] = await Promise.all([
      this.#machine(arm, machine, signal),
      this.#listWatchers(machine.subscription, arm, signal),
    ]);
    const region = toRegion(location);
    checkAgent(machine, findAgent(resources) ?? findAgent(await this.#extensions(arm, machine, signal)));
    const inRegion = (list: NetworkWatcher[]) =>
      parseWatcherId(list.find((w) => toRegion(w.location) === region)?.id ?? '');
    let watcher = inRegion(watchers);
    if (!watcher) {
      // It may have been enabled since the list was kept.
      this.#watchers.delete(machine.subscription);
      watcher = inRegion(await this.#listWatchers(machine.subscription, arm, signal));
    }
    if (!watcher) {
      throw new ProviderError('no-watcher', `Subscription ${machine.subscription} has no network watcher in ${region}`);
    }

    const { storage, filePath } = this.#storage(run.capture, run.runId, region);
    const name = sessionName.format(this.#options.installation, run.runId);
    const request: PacketCapture = {
      target: machine.id,
      targetType: 'AzureVM',
      bytesToCapturePerPacket: run.capture.bytesToCapturePerPacket ?? 0,
      totalBytesPerSession: run.limits.sizeBytes,
      timeLimitInSeconds: run.limits.durationSeconds,
      storageLocation: { ...storage, ...(filePath === undefined ? {} : { filePath }) },
      filters: (run.capture.filters ?? []).map(({ protocol, ...rest }) => ({
        protocol: protocol ?? 'Any',
        ...withoutUndefined(rest),
      })),
    };
    const id = `/subscriptions/${machine.subscription}/resourceGroups/${watcher.resourceGroup}/providers/Microsoft.Network/networkWatchers/${watcher.watcher}/packetCaptures/${name}`;
    return { session: { id, errors: [], ...(filePath === undefined ? {} : { filePath }) }, request };
  }

  async start({ session, request }: PreparedStart, signal: AbortSignal): Promise<Session> {
    const { arm, at } = await this.#locate(session);
    let body: CaptureBody | undefined;
    try {
      const poller = arm.network.packetCaptures.create(
        at.resourceGroup,
        at.watcher,
        at.name,
        request as PacketCapture,
        {
          abortSignal: signal,
          onResponse: (response) => (body = readJson<CaptureBody>(response.bodyAsText)),
        },
      );
      await poller.submitted();
      return { ...session, ...describe(body) };
    } catch (error) {
      const status = armStatus(error);
      if (status === 404) this.#watchers.delete(at.subscription);
      // What ARM answers when the name is taken was never recorded; whatever it is, a session under this run's name is this run's.
      if (status !== undefined && status >= 400 && status < 500 && ![401, 403, 429].includes(status)) {
        const existing = describe(await this.#get(session, signal).catch(() => undefined));
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
      known = { ...session, ...describe(body) };
      if (known.status === 'Failed' || known.status === 'Canceled') {
        // A failed create carries no reason of its own; its status sometimes does.
        const status = await this.#queryStatus(session, signal).catch(() => undefined);
        const errors = status?.packetCaptureError ?? [];
        return {
          phase: 'refused',
          session: { ...known, errors },
          detail:
            errors.join(', ') ||
            'Azure accepted the packet capture and then failed to start it, without giving a reason',
        };
      }
      if (known.status !== 'Succeeded') return { phase: 'pending', session: known };
    }
    const status = await this.#queryStatus(session, signal);
    if (status === undefined) return { phase: 'gone' };
    // A 202 without a body is no news.
    if (status === null)
      return isConfirmed(session.status) ? { phase: 'running', session: known } : { phase: 'pending', session: known };
    const startedAt = readTime(status.captureStartTime);
    const errors = status.packetCaptureError ?? [];
    const seen: Session = { ...known, status: status.packetCaptureStatus ?? 'Unknown', errors };
    const at = startedAt ? { startedAt } : {};
    switch (status.packetCaptureStatus) {
      case 'NotStarted':
        return { phase: 'pending', session: { ...seen, status: known.status } };
      case 'Stopped':
        return {
          phase: 'ended',
          session: seen,
          ...at,
          cause: endCause(status.stopReason, errors),
          reason: status.stopReason?.trim(),
        };
      case 'Error':
        return { phase: 'ended', session: seen, ...at, cause: 'error', reason: status.stopReason?.trim() };
      default:
        // Running; and Unknown or a new word, which is no reason to end anything.
        return { phase: 'running', session: seen, ...at };
    }
  }

  async stop(session: Session, signal: AbortSignal): Promise<Session> {
    const { arm, at } = await this.#locate(session);
    try {
      await arm.network.packetCaptures.stop(at.resourceGroup, at.watcher, at.name, { abortSignal: signal }).submitted();
    } catch (error) {
      // Gone is stopped; and 204 is declared nowhere, but no failure either.
      if (!isNotFound(error) && armStatus(error) !== 204) throw toProviderError('stop the packet capture', error);
    }
    return session;
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
    const connect = once(() => connectArm(this.#options, subscription, this.#options.credential));
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
  async #queryStatus(session: Session, signal: AbortSignal): Promise<StatusBody | undefined> {
    const { arm, at } = await this.#locate(session);
    let body: StatusBody | undefined;
    let status: number | undefined;
    const answer = (): StatusBody => (body?.packetCaptureStatus === undefined ? null : body);
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

  async #machine(arm: Arm, machine: MachineId, signal: AbortSignal): Promise<Machine> {
    try {
      return ((await arm.getCompute(machine.id, signal)) as Machine | null) ?? {};
    } catch (error) {
      if (isNotFound(error) || armCode(error) === 'ResourceGroupNotFound') {
        const where = `resource group ${machine.resourceGroup}`;
        throw new ProviderError('target-not-found', `Virtual machine ${machine.name} was not found in ${where}`, error);
      }
      throw toProviderError(`read virtual machine ${machine.name}`, error);
    }
  }

  async #extensions(arm: Arm, machine: MachineId, signal: AbortSignal): Promise<Extension[]> {
    try {
      const list = (await arm.getCompute(`${machine.id}/extensions`, signal)) as { value?: Extension[] } | null;
      return list?.value ?? [];
    } catch (error) {
      throw toProviderError(`list the extensions of ${machine.name}`, error);
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

  /** Where the file goes: the configured account of the region unless the request names another configured one, or only a path on the machine. */
  #storage(
    capture: CaptureRequest,
    runId: string,
    region: string,
  ): { storage: { storageId?: string; storagePath?: string }; filePath: string | undefined } {
    const { storageId, storagePath, filePath: path } = capture.azure?.storageLocation ?? {};
    const filePath = path?.replaceAll('{run}', runId);
    if (filePath !== undefined && storageId === undefined && storagePath === undefined)
      return { storage: {}, filePath };
    const accounts = this.#options.captureAccounts;
    const account = accounts.find((a) => {
      if (storageId !== undefined) return a.id.toLowerCase() === storageId.toLowerCase();
      if (storagePath !== undefined) return liesIn(a, new URL(storagePath));
      return a.regions.includes(region) || a.regions.includes('*');
    });
    if (!account) {
      const wanted = storageId ?? storagePath ?? `region ${region}`;
      const have = accounts.map((a) => `${a.name} (${a.regions.join(', ')})`).join('; ') || 'none';
      throw new ProviderError('no-account', `No capture account for ${wanted}; configured: ${have}`);
    }
    return {
      storage: {
        storageId: account.id,
        ...(storagePath === undefined ? {} : { storagePath: storagePath.replaceAll('{run}', runId) }),
      },
      filePath,
    };
  }
}

/** Whether a blob's URL is one of this account: its own host, or the path of a loopback emulator. */
function liesIn({ name, connection }: CaptureAccount, url: URL): boolean {
  if (connection.kind === 'identity') return url.host === new URL(connection.blobUrl).host;
  return url.hostname.startsWith(`${name}.blob.`) || (isLoopback(url.hostname) && url.pathname.startsWith(`/${name}/`));
}

/** The extension's name is free; only publisher and type tell what it is. */
function findAgent(extensions: Extension[]): Extension | undefined {
  return extensions.find(
    ({ properties: p }) =>
      p?.publisher?.toLowerCase() === 'microsoft.azure.networkwatcher' &&
      /^networkwatcheragent(linux|windows)$/i.test(p.type ?? ''),
  );
}

function checkAgent(machine: MachineId, agent: Extension | undefined): void {
  if (!agent) {
    throw new ProviderError(
      'agent-missing',
      `Virtual machine ${machine.name} has no Network Watcher agent extension (publisher Microsoft.Azure.NetworkWatcher)`,
    );
  }
  if (agent.properties?.provisioningState === 'Failed') {
    throw new ProviderError(
      'agent-failed',
      `The Network Watcher agent extension of ${machine.name} is in state Failed`,
    );
  }
}

/** Provisioning is over: only queryStatus tells the state from here on. */
function isConfirmed(status: string | undefined): boolean {
  return (
    status === 'Succeeded' || status === 'Running' || status === 'Stopped' || status === 'Error' || status === 'Unknown'
  );
}

function describe(body: CaptureBody | undefined): Partial<Session> {
  const { provisioningState, storageLocation } = body?.properties ?? {};
  return {
    ...(provisioningState ? { status: provisioningState } : {}),
    ...(storageLocation?.storagePath ? { storagePath: storageLocation.storagePath } : {}),
    ...(storageLocation?.filePath ? { filePath: storageLocation.filePath } : {}),
  };
}

// Manual, TimeExceeded and Error were seen. The word for the size limit is not known: an unknown word stays unknown here, and
// the size of the file that comes decides.
const causes = new Map<string, EndCause>([
  ['timeexceeded', 'time-limit'],
  ['manual', 'stopped'],
  ['error', 'error'],
]);

function endCause(reason: string | undefined, errors: string[]): EndCause {
  return causes.get(reason?.trim().toLowerCase() ?? '') ?? (errors.length > 0 ? 'error' : 'unknown');
}

/** ARM writes ISO times with up to seven digits; an old form of it is not a time we can trust, and no reason to fail. */
function readTime(text: string | undefined): Date | undefined {
  if (!text || !/^\d{4}-\d\d-\d\dT/.test(text)) return undefined;
  const time = new Date(text);
  return Number.isNaN(time.getTime()) ? undefined : time;
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
