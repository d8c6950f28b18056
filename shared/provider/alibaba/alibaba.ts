import { randomUUID } from 'node:crypto';
import type { TokenSource } from '../../identity.ts';
import { Problem } from '../../problem.ts';
import type { Documents } from '../../storage/document.ts';
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
import { sessionName } from '../session-name.ts';
import { AlibabaApi, type MirrorSession } from './api.ts';
import { readReport, reportOf, type CollectorReport } from './collector-status.ts';
import { codeOf, toProviderError } from './errors.ts';
import { MirrorFilters } from './mirror-filters.ts';
import { checkForMirror, checkMirror, packetLengths } from './limits.ts';
import { chooseEnabled, choosePlace, refuseTakenSource, type Source } from './plan.ts';
import { RegisterFile } from './register.ts';
import type { AlibabaConfig, MirrorPlace } from './settings.ts';
import { Starting, type NewMirror, type Plan } from './starting.ts';
import { parseTargetId, type MirrorTarget } from './target-id.ts';

export type AlibabaOptions = AlibabaConfig & {
  installation: string;
  /** Account that collectors write to: its name, and the URL of its container of captures. */
  storage: { account: string; url: string };
  /** The blobs through which collectors and we speak. */
  control: Documents;
  identity: TokenSource;
  now: () => Date;
  /** Aborts when that time is up. */
  timeout: (ms: number) => AbortSignal;
};

// After the limit there is room for what is still under way.
const lateMs = 3000;
const settlePauseMs = 300;

/** VPC traffic mirroring of ECS instances, through @alicloud/vpc20160428. */
export class AlibabaProvider implements Provider {
  readonly name = 'alibaba';
  // A create takes some three seconds, a change two.
  readonly lookAgainMs = 700;
  readonly #options: AlibabaOptions;
  readonly #api: AlibabaApi;
  readonly #register: RegisterFile;
  readonly #filters: MirrorFilters;
  readonly #starting: Starting;

  constructor(options: AlibabaOptions) {
    this.#options = options;
    this.#api = new AlibabaApi({ ...options, home: options.places[0]?.region ?? 'cn-hangzhou' });
    this.#register = new RegisterFile(options.control, options.now);
    this.#filters = new MirrorFilters(this.#api, options);
    this.#starting = new Starting(this.#api, this.#register, this.#filters, options.now);
  }

  load(signal: AbortSignal): Promise<void> {
    return told('sign in to Alibaba Cloud', () => this.#api.load(signal));
  }

  target(id: string, inRegion = ''): TargetAnswer | undefined {
    if (!/^(acs:|i-|eni-)/i.test(id)) return undefined;
    const refused = (reason: 'unsupported-target' | 'subscription-not-configured' | 'unknown-target', detail: string) =>
      ({ kind: 'refused', reason, detail }) as const;
    const target = parseTargetId(id, inRegion);
    if (!target) return refused('unsupported-target', 'Only ECS instances and network interfaces can be mirrored');
    const { account } = this.#options;
    if (target.account !== '' && target.account !== account)
      return refused('subscription-not-configured', `Account ${target.account} is not that of TRIPCAP_ALIBABA_ACCOUNT`);
    const regions = this.#regions();
    const region = target.region === '' && regions.length === 1 ? regions[0] : target.region;
    if (region === undefined || region === '')
      return refused('unknown-target', 'The id names no region, and several are configured in TRIPCAP_ALIBABA_REGIONS');
    if (!regions.includes(region))
      return refused('subscription-not-configured', `Region ${region} is not in TRIPCAP_ALIBABA_REGIONS`);
    return { kind: 'target', id: `acs:ecs:${region}:${account}:${target.kind}/${target.resource}` };
  }

  /** Alerts of this cloud name instances by their ids. */
  machinesNamed(): Promise<string[]> {
    return Promise.resolve([]);
  }

  check(capture: CaptureRequest): string[] {
    return checkMirror(capture);
  }

  async prepare(
    run: { runId: string; target: string; capture: CaptureRequest; limits: Limits },
    signal: AbortSignal,
  ): Promise<PreparedStart> {
    const target = parseTargetId(run.target);
    if (!target) throw new ProviderError('invalid', `${run.target} is no ECS instance or network interface`);
    const faults = checkForMirror(run.capture, run.limits);
    if (faults.length > 0) throw new ProviderError('invalid', faults.join('; '));
    const source = await this.#sourceOf(target, signal);
    const { mode = 'create' } = run.capture.alibaba ?? {};
    return told('look up what is mirrored', () =>
      mode === 'create'
        ? this.#prepareCreate(run, target, source, signal)
        : this.#prepareEnable(run, target, source, signal),
    );
  }

  async #prepareCreate(
    { runId, capture, limits }: { runId: string; capture: CaptureRequest; limits: Limits },
    { region }: MirrorTarget,
    source: Source,
    signal: AbortSignal,
  ): Promise<PreparedStart> {
    const asked = capture.alibaba ?? {};
    const name = sessionName.format(this.#options.installation, runId);
    const places = this.#placesOf(region, asked.mirrorTargetId);
    const filter = this.#filters.wanted(capture, places[0], runId);
    const wantedLength = capture.bytesToCapturePerPacket ?? 0;
    // More than asked does no harm, and beyond the usual length only some regions go.
    const cut = wantedLength === 0 || wantedLength >= 1500 ? undefined : Math.max(wantedLength, packetLengths.least);
    const settings = (place: MirrorPlace): NewMirror => ({
      name,
      description: asked.description ?? `Run ${runId} of tripcap`,
      targetId: place.mirrorTargetId,
      targetType: place.mirrorTargetType,
      packetLength: asked.packetLength ?? cut,
      resourceGroupId: asked.resourceGroupId,
      tags: [
        { key: 'tripcap-installation', value: this.#options.installation },
        { key: 'tripcap-run', value: runId },
        ...(asked.tags ?? []),
      ],
    });
    const [ofSource, targeted, ofTargets, refusal] = await Promise.all([
      this.#api.sessions(region, { source: source.eni }, signal),
      this.#api.sessions(region, { target: source.eni }, signal),
      Promise.all(places.map((place) => this.#api.sessions(region, { target: place.mirrorTargetId }, signal))),
      this.#starting.tryOut(region, filter, settings(places[0]), source, signal),
      this.#filters.check(region, filter, signal),
    ]);
    const existing = ofSource.find((one) => one.name === name);
    const others = ofSource.filter((one) => one !== existing);
    if (targeted.length > 0 || places.every((place) => place.mirrorTargetId === source.eni))
      throw new ProviderError('invalid', `${source.eni} is the target of mirror sessions, so it cannot be a source`);
    if (!existing) refuseTakenSource(others, source.eni, asked.priority, this.#options.installation);
    const { place, sessions } = choosePlace(places, ofTargets, name);
    const report = await readReport(this.#options.control, place.collector, this.#options.now());
    if (report.silent !== undefined && !existing) throw silentCollector(report);
    // What the cloud itself has against it, in case nothing of the above said so more plainly.
    if (refusal && !existing) throw refusal;
    const plan: Plan = {
      mode: 'create',
      run: runId,
      region,
      sources: [source],
      limits,
      filter,
      wish: { priority: asked.priority, vni: asked.virtualNetworkId },
      vnis: sessions.map((one) => one.vni),
      session: settings(place),
      existing,
    };
    const handle = { run: runId, region, mode: 'create', collector: place.collector };
    const ownFilter = 'rules' in filter && filter.own ? { filter: filter.name } : {};
    return { session: this.#newSession(existing?.id ?? name, { ...handle, ...ownFilter }), request: plan };
  }

  async #prepareEnable(
    { runId, capture, limits }: { runId: string; capture: CaptureRequest; limits: Limits },
    { region }: MirrorTarget,
    source: Source,
    signal: AbortSignal,
  ): Promise<PreparedStart> {
    const places = this.#placesOf(region, undefined);
    const [ofSource, register] = await Promise.all([
      this.#api.sessions(region, { source: source.eni }, signal),
      this.#register.read(),
    ]);
    const { session, place } = chooseEnabled(ofSource, places, capture.alibaba?.sessionId, {
      source: source.eni,
      run: runId,
      register,
    });
    refuseTakenSource(
      ofSource.filter((one) => one !== session),
      source.eni,
      session.priority,
      this.#options.installation,
    );
    const report = await readReport(this.#options.control, place.collector, this.#options.now());
    if (report.silent !== undefined) throw silentCollector(report);
    // All of its sources are mirrored when it is enabled.
    const sources = await this.#sources(region, session.sources, signal);
    const plan: Plan = { mode: 'enable', run: runId, region, sources, limits, existing: session };
    const handle = { run: runId, region, mode: 'enable', collector: place.collector };
    return { session: this.#newSession(session.id, handle), request: plan };
  }

  async start({ session, request }: PreparedStart, signal: AbortSignal): Promise<Session> {
    const plan = request as Plan;
    return told('start the mirror session', async () => {
      const made = await this.#starting.start(plan, signal);
      return {
        ...session,
        id: made.id,
        status: made.status,
        handle: { ...session.handle, vni: String(made.vni) },
      };
    });
  }

  async inspect(session: Session, signal: AbortSignal): Promise<Observation> {
    const at = handleOf(session);
    return told('look at the mirror session', async () => {
      const found = await this.#find(session, signal);
      if (!found) return { phase: 'gone' };
      const locked = found.businessStatus !== 'Normal';
      const known: Session = {
        ...session,
        id: found.id,
        status: `${found.status}, ${found.enabled ? 'enabled' : 'disabled'}`,
        errors: locked ? [found.businessStatus] : [],
      };
      if (locked && (!found.enabled || found.status === 'Created'))
        return {
          phase: 'ended',
          session: known,
          cause: 'error',
          reason: 'the account is in arrears, and mirroring is locked until they are settled',
        };
      if (found.status !== 'Created') return { phase: 'pending', session: known };
      // What the collector says is worth less than what the cloud does: without it we go on.
      const report = await readReport(this.#options.control, at.collector, this.#options.now()).catch(() => undefined);
      const seen = report && reportOf(report, at.run, found.id);
      if (found.enabled) {
        const full = seen?.capped ? `The collector has written ${seen.bytes} bytes, as many as it may` : undefined;
        return { phase: 'running', session: known, ...(full === undefined ? {} : { full }) };
      }
      const byCollector = seen?.disabledAt !== undefined;
      return {
        phase: 'ready',
        session: known,
        cause: byCollector ? 'time-limit' : 'stopped',
        reason: byCollector ? 'the collector has disabled it, since nobody else did' : undefined,
        waitingFor: seen
          ? undefined
          : (report?.silent ?? `The collector ${at.collector} has not taken the session over yet`),
      };
    });
  }

  async enable(session: Session, limits: Limits, signal: AbortSignal): Promise<Session> {
    const { run, region } = handleOf(session);
    return told('enable the mirror session', async () => {
      const now = this.#options.now();
      const register = await this.#register.update((before) => ({
        ...before,
        sessions: before.sessions.map((one) =>
          one.run === run
            ? {
                ...one,
                enabledAt: now.toISOString(),
                until: new Date(now.getTime() + limits.durationSeconds * 1000 + lateMs).toISOString(),
              }
            : one,
        ),
      }));
      const entry = register.sessions.find((one) => one.run === run);
      // Nobody would write its packets, nor disable it when we are gone.
      if (!entry) throw new ProviderError('conflict', `Run ${run} is not in the list of mirror sessions any more`);
      await this.#api.switchSession(region, { id: session.id, vni: entry.vni }, true, randomUUID(), signal);
      return session;
    });
  }

  async stop(session: Session, signal: AbortSignal): Promise<Session> {
    const { run, region, vni } = handleOf(session);
    const end = this.#options.now().getTime() + lateMs;
    // Whatever becomes of this: with the list as it is, the collector ends it later.
    await this.#register
      .update((register) => {
        const entry = register.sessions.find((one) => one.run === run);
        if (!entry || Date.parse(entry.until) <= end) return undefined;
        const sooner = { ...entry, until: new Date(end).toISOString() };
        return { ...register, sessions: register.sessions.map((one) => (one === entry ? sooner : one)) };
      })
      .catch(() => undefined);
    return told('disable the mirror session', async () => {
      const id = await this.#idOf(session, signal);
      if (id === undefined) return session;
      await this.#insist(signal, async () => {
        try {
          const number = vni === undefined ? (await this.#find({ ...session, id }, signal))?.vni : Number(vni);
          await this.#api.switchSession(region, { id, vni: number ?? 0 }, false, randomUUID(), signal);
        } catch (error) {
          if (codeOf(error) !== 'ResourceNotFound.TrafficMirrorSession') throw error;
        }
      });
      return { ...session, id };
    });
  }

  async targetExists(target: string, signal: AbortSignal): Promise<boolean> {
    const at = parseTargetId(target);
    if (!at) throw new ProviderError('invalid', `${target} is no ECS instance or network interface`);
    return told('look the target up', async () => {
      const query = at.kind === 'instance' ? { instance: at.resource } : { ids: [at.resource] };
      return (await this.#api.interfaces(at.region, query, signal)).length > 0;
    });
  }

  async remove(session: Session, signal: AbortSignal): Promise<boolean> {
    const { run, region, mode, filter } = handleOf(session);
    return told('remove the mirror session', async () => {
      const found = await this.#find(session, signal);
      if (found && mode === 'create') {
        if (found.status !== 'Deleting')
          await this.#insist(signal, async () => {
            try {
              await this.#api.deleteSession(region, found.id, randomUUID(), signal);
            } catch (error) {
              if (codeOf(error) !== 'ResourceNotFound.TrafficMirrorSession') throw error;
            }
          });
        if (await this.#find({ ...session, id: found.id }, signal)) return false;
      } else if (found && (found.enabled || found.status !== 'Created' || found.businessStatus !== 'Normal')) {
        // Locked sessions come on again by themselves when the lock goes, unless they were disabled in so many words.
        await this.stop(session, signal);
        return false;
      }
      if (filter !== undefined && !(await this.#filters.remove(region, filter, signal))) return false;
      await this.#starting.forget(run, region);
      return true;
    });
  }

  async list(signal: AbortSignal, region?: string): Promise<ListedSession[]> {
    return told('list the mirror sessions', async () => {
      const register = await this.#register.read();
      const regions = this.#regions().filter((one) => region === undefined || one === region.toLowerCase());
      const lists = await Promise.all(
        regions.map(async (at) =>
          (await this.#api.sessions(at, {}, signal)).map((one): ListedSession => {
            const entry = register.sessions.find((known) => known.session === one.id && known.region === at);
            const runId = sessionName.parse(this.#options.installation, one.name) ?? entry?.run;
            const mode = sessionName.parse(this.#options.installation, one.name) ? 'create' : 'enable';
            const handle = { run: runId ?? '', region: at, mode, collector: '', vni: String(one.vni) };
            return {
              provider: 'alibaba',
              id: one.id,
              name: one.name,
              region: at,
              target: one.sources.map((eni) => `acs:ecs:${at}:${this.#options.account}:eni/${eni}`).join(', '),
              status: `${one.status}, ${one.enabled ? 'enabled' : 'disabled'}`,
              ...(runId === undefined ? {} : { runId }),
              capturing: one.enabled,
              session: { id: one.id, errors: [], endless: true, handle },
            };
          }),
        ),
      );
      return lists.flat();
    });
  }

  #regions(): string[] {
    return [...new Set(this.#options.places.map((place) => place.region))];
  }

  #placesOf(region: string, targetId: string | undefined): [MirrorPlace, ...MirrorPlace[]] {
    const [first, ...others] = this.#options.places.filter(
      (place) => place.region === region && (targetId === undefined || place.mirrorTargetId === targetId),
    );
    if (first) return [first, ...others];
    throw new ProviderError(
      'invalid',
      targetId === undefined
        ? `Region ${region} is not in TRIPCAP_ALIBABA_REGIONS`
        : `alibaba.mirrorTargetId ${targetId} is none of TRIPCAP_ALIBABA_REGIONS, so no collector is known behind it`,
    );
  }

  #newSession(id: string, handle: Record<string, string>): Session {
    const { account, url } = this.#options.storage;
    const storagePath = `${url}/${handle['run']}/`;
    return { id, errors: [], account, storagePath, manyFiles: true, endless: true, handle };
  }

  /** The interface to mirror: of an instance its primary one. */
  async #sourceOf({ kind, region, resource }: MirrorTarget, signal: AbortSignal): Promise<Source> {
    const query = kind === 'instance' ? { instance: resource } : { ids: [resource] };
    const found = await told('look the network interface up', () => this.#api.interfaces(region, query, signal));
    const one = kind === 'instance' ? found.find((each) => each.isPrimary) : found.find((each) => each.id === resource);
    if (!one)
      throw new ProviderError(
        'target-not-found',
        kind === 'instance'
          ? `There is no instance ${resource} in ${region}`
          : `There is no interface ${resource} in ${region}`,
      );
    if (one.isManaged)
      throw new ProviderError('invalid', `${one.id} is managed by a service of Alibaba Cloud, and cannot be mirrored`);
    if (one.status === 'Attaching' || one.status === 'Detaching')
      throw new ProviderError('conflict', `${one.id} is ${one.status.toLowerCase()}`);
    if (one.status !== 'InUse')
      throw new ProviderError('invalid', `${one.id} is attached to no instance (it is ${one.status})`);
    return { eni: one.id, address: one.address };
  }

  async #sources(region: string, ids: string[], signal: AbortSignal): Promise<Source[]> {
    const found = await this.#api.interfaces(region, { ids }, signal);
    return found.map((one) => ({ eni: one.id, address: one.address }));
  }

  /** The session as the cloud has it, by id, or by name as long as its id is not known. */
  async #find(session: Session, signal: AbortSignal): Promise<MirrorSession | undefined> {
    const { region } = handleOf(session);
    const query = session.id.startsWith('tms-') ? { ids: [session.id] } : { name: session.id };
    const found = await this.#api.sessions(region, query, signal);
    return found.find((one) => one.id === session.id || one.name === session.id);
  }

  async #idOf(session: Session, signal: AbortSignal): Promise<string | undefined> {
    return session.id.startsWith('tms-') ? session.id : (await this.#find(session, signal))?.id;
  }

  /** A session that is being changed takes no other change: it is asked again until it does, as long as there is time. */
  async #insist(signal: AbortSignal, act: () => Promise<void>): Promise<void> {
    for (;;) {
      try {
        return await act();
      } catch (error) {
        if (signal.aborted || !codeOf(error)?.startsWith('IncorrectStatus.')) throw error;
        const pause = this.#options.timeout(settlePauseMs);
        await new Promise<void>((done) => pause.addEventListener('abort', () => done(), { once: true }));
        if (signal.aborted) throw error;
      }
    }
  }
}

type Handle = {
  run: string;
  region: string;
  mode: string;
  collector: string;
  vni?: string | undefined;
  /** Name of the filter that was made for it. */
  filter?: string | undefined;
};

function handleOf({ id, handle }: Session): Handle {
  const { run, region, mode, collector, vni, filter } = handle ?? {};
  if (run === undefined || region === undefined || mode === undefined || collector === undefined)
    throw new ProviderError('invalid', `${id} is no session of Alibaba Cloud`);
  return { run, region, mode, collector, vni, filter };
}

function silentCollector({ silent }: CollectorReport): ProviderError {
  return new ProviderError(
    'no-collector',
    `${silent}: its packets would be lost. See that it runs and reaches storage`,
  );
}

/** Whatever goes wrong is told as a ProviderError. */
async function told<T>(what: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof Problem && error.code === 'storage-unavailable')
      throw new ProviderError('unavailable', `${what}: ${error.message}`, error);
    throw toProviderError(what, error);
  }
}
