import { randomUUID } from 'node:crypto';
import { beforeDeadline } from '../../clock.ts';
import type { TokenSource } from '../../identity.ts';
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
import { readReport, reportOf } from './collector-status.ts';
import { codeOf, told } from './errors.ts';
import { handleOf, type Handle } from './handle.ts';
import { MirrorFilters } from './mirror-filters.ts';
import { checkForMirror, checkMirror } from './limits.ts';
import { elapsed } from './pause.ts';
import { Preparing } from './preparing.ts';
import { RegisterFile, type UploadUrl } from './register.ts';
import type { AlibabaConfig } from './settings.ts';
import { Starting, type Plan } from './starting.ts';
import { parseTargetId } from './target-id.ts';

export type AlibabaOptions = AlibabaConfig & {
  installation: string;
  /** Account that collectors write to: its name, the URL of its container of captures, and one that lets them write there. */
  storage: { account: string; url: string; uploadUrl: UploadUrl };
  /** The blobs through which collectors and we speak. */
  control: Documents;
  identity: TokenSource;
  /** How much later than we do the collector ends a session, so that its clock may be a little wrong. */
  graceMs: number;
  now: () => Date;
  /** Aborts when that time is up. */
  timeout: (ms: number) => AbortSignal;
};

// After the end there is room for what is still under way.
const lateMs = 3000;
const settlePauseMs = 300;
// A stop does not wait longer for what the list says.
const listWithinMs = 3000;

/** VPC traffic mirroring of ECS instances, through @alicloud/vpc20160428. */
export class AlibabaProvider implements Provider {
  readonly name = 'alibaba';
  // A create takes some three seconds, a change two.
  readonly lookAgainMs = 700;
  readonly #options: AlibabaOptions;
  readonly #api: AlibabaApi;
  readonly #register: RegisterFile;
  readonly #filters: MirrorFilters;
  readonly #preparing: Preparing;
  readonly #starting: Starting;

  constructor(options: AlibabaOptions) {
    this.#options = options;
    this.#api = new AlibabaApi({ ...options, home: options.places[0]?.region ?? 'cn-hangzhou' });
    this.#register = new RegisterFile(options.control, options.storage.uploadUrl, options.now);
    this.#filters = new MirrorFilters(this.#api, options);
    this.#preparing = new Preparing(this.#api, this.#register, this.#filters, options);
    this.#starting = new Starting(this.#api, this.#register, this.#filters, options.now);
  }

  /** Beside the SDK and the keys this makes the list: without one collectors look more rarely. */
  load(signal: AbortSignal): Promise<void> {
    return told('sign in to Alibaba Cloud', signal, async () => {
      const listed = this.#register.update((register) => (register.writtenAt === '' ? register : undefined));
      await Promise.all([this.#api.load(), listed]);
    });
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
    const { mode = 'create' } = run.capture.alibaba ?? {};
    const plan = await told('look up what is mirrored', signal, () => this.#preparing[mode](run, target, signal));
    return { session: this.#newSession(plan), request: plan };
  }

  async start({ session, request }: PreparedStart, signal: AbortSignal): Promise<Session> {
    return told('start the mirror session', signal, async () => {
      const { id, status, vni } = await this.#starting.start(request as Plan, signal);
      return { ...session, id, status, handle: { ...session.handle, vni: String(vni) } };
    });
  }

  async inspect(session: Session, signal: AbortSignal): Promise<Observation> {
    return told('look at the mirror session', signal, async () => {
      const found = await this.#find(session, signal);
      if (!found || (await this.#isOfAnother(session))) return { phase: 'gone' };
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
      const { seen, waitingFor } = await this.#heardOf(handleOf(session), found);
      if (found.enabled) {
        const full = seen?.capped ? `The collector has written ${seen.bytes} bytes, as many as it may` : undefined;
        return { phase: 'running', session: known, ...(full === undefined ? {} : { full }) };
      }
      // A full one is disabled by the collector, which may not have had the time to say so.
      const isEnded = seen?.disabledAt !== undefined || seen?.capped === true;
      if (!isEnded) {
        const isListed = waitingFor !== undefined || (await this.#isListed(session));
        return {
          phase: 'ready',
          session: known,
          cause: 'stopped',
          waitingFor: isListed ? waitingFor : 'It is not in the list of mirror sessions',
        };
      }
      return {
        phase: 'ready',
        session: known,
        cause: seen.capped ? 'size-limit' : 'time-limit',
        reason: 'the collector has disabled it',
        byUs: true,
        waitingFor,
      };
    });
  }

  /** What the collector says of a session, which is worth less than what the cloud says: without it we go on. */
  async #heardOf({ run, region }: Handle, { id, targetId }: MirrorSession) {
    const { places, control, now } = this.#options;
    const place = places.find((one) => one.region === region && one.mirrorTargetId === targetId);
    if (!place) return { waitingFor: `No collector is known behind ${targetId}: it is not in TRIPCAP_ALIBABA_REGIONS` };
    const { collector } = place;
    const report = await readReport(control, collector, now()).catch(() => undefined);
    const seen = report && reportOf(report, run, id);
    const unheard = seen ? undefined : `The collector ${collector} has not taken the session over yet`;
    return { seen, waitingFor: report ? (report.silent ?? unheard) : 'What collectors report cannot be read' };
  }

  async enable(session: Session, limits: Limits, signal: AbortSignal): Promise<Session> {
    const { run, region } = handleOf(session);
    return told('enable the mirror session', signal, async () => {
      const now = this.#options.now();
      const until = new Date(now.getTime() + limits.durationSeconds * 1000 + this.#options.graceMs).toISOString();
      const register = await this.#register.update((before) => ({
        ...before,
        sessions: before.sessions.map((one) =>
          one.run === run ? { ...one, enabledAt: now.toISOString(), until } : one,
        ),
      }));
      const entry = register.sessions.find((one) => one.run === run);
      // Nobody would write its packets, nor disable it when we are gone.
      if (!entry) throw new ProviderError('conflict', `Run ${run} is not in the list of mirror sessions any more`);
      const at = { id: session.id, vni: entry.vni };
      await this.#api.switchSession(region, at, true, randomUUID(), signal);
      // Removed by somebody meanwhile: what nobody knows of any more must not go on.
      if (!(await this.#register.read()).sessions.some((one) => one.run === run)) {
        await this.#insist(signal, () => this.#api.switchSession(region, at, false, randomUUID(), signal));
        throw new ProviderError('conflict', `Run ${run} was taken out of the list of mirror sessions meanwhile`);
      }
      return session;
    });
  }

  async stop(session: Session, signal: AbortSignal): Promise<Session> {
    const { run, region, vni } = handleOf(session);
    const end = this.#options.now().getTime() + lateMs;
    // Whatever becomes of the rest: with the list as it is then, the collector ends it later. And the other way round.
    const sooner = this.#register
      .update((register) => {
        const entry = register.sessions.find((one) => one.run === run);
        if (!entry || Date.parse(entry.until) <= end) return undefined;
        const changed = { ...entry, until: new Date(end).toISOString() };
        return { ...register, sessions: register.sessions.map((one) => (one === entry ? changed : one)) };
      })
      .catch(() => undefined);
    const known = session.id.startsWith('tms-') && vni !== undefined;
    const stopped = await told('disable the mirror session', signal, async () => {
      const isOfAnother = this.#isOfAnother(session);
      if (await beforeDeadline(isOfAnother, false, this.#options.timeout(listWithinMs))) return session;
      const at = known ? { id: session.id, vni: Number(vni) } : await this.#find(session, signal);
      if (!at) return session;
      await this.#insist(signal, () => this.#api.switchSession(region, at, false, randomUUID(), signal));
      return { ...session, id: at.id };
    });
    await beforeDeadline(sooner, undefined, signal);
    return stopped;
  }

  async targetExists(target: string, signal: AbortSignal): Promise<boolean> {
    const at = parseTargetId(target);
    if (!at) throw new ProviderError('invalid', `${target} is no ECS instance or network interface`);
    return told('look the target up', signal, async () => {
      const query = at.kind === 'instance' ? { instance: at.resource } : { ids: [at.resource] };
      return (await this.#api.interfaces(at.region, query, signal)).length > 0;
    });
  }

  async remove(session: Session, signal: AbortSignal): Promise<boolean> {
    const { run, region, mode, filter } = handleOf(session);
    return told('remove the mirror session', signal, async () => {
      // A prepared session is ours for as long as the list says so, and somebody else's before and after.
      if (mode === 'enable' && !(await this.#register.read()).sessions.some((one) => one.run === run)) return true;
      const found = await this.#find(session, signal);
      if (found && mode === 'create') {
        if (found.status !== 'Deleting')
          await this.#insist(signal, () => this.#api.deleteSession(region, found.id, randomUUID(), signal));
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
    return told('list the mirror sessions', signal, async () => {
      // Without the list sessions of our own are still known by their names.
      const register = await this.#register.read().catch(() => undefined);
      const regions = this.#regions().filter((one) => region === undefined || one === region.toLowerCase());
      const lists = await Promise.all(
        regions.map(async (at) =>
          (await this.#api.sessions(at, {}, signal)).map((one): ListedSession => {
            const made = sessionName.parse(this.#options.installation, one.name);
            const used = register?.sessions.find((known) => known.session === one.id && known.region === at)?.run;
            const runId = made ?? used;
            // The filter of a run's own has its name, if there is one.
            const own = made === undefined ? { mode: 'enable' } : { mode: 'create', filter: one.name };
            const handle = { run: runId ?? '', region: at, vni: String(one.vni), ...own };
            return {
              provider: 'alibaba',
              id: one.id,
              name: one.name,
              region: at,
              target: one.sources.map((eni) => `acs:ecs:${at}:${this.#options.account}:eni/${eni}`).join(', '),
              status: `${one.status}, ${one.enabled ? 'enabled' : 'disabled'}`,
              ...(runId === undefined ? {} : { runId }),
              capturing: one.enabled && one.businessStatus === 'Normal',
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

  #newSession(plan: Plan): Session {
    const { account, url } = this.#options.storage;
    const { mode, run, region, existing } = plan;
    const ownFilter = mode === 'create' && 'rules' in plan.filter && plan.filter.own ? plan.filter.name : undefined;
    return {
      id: existing?.id ?? sessionName.format(this.#options.installation, run),
      errors: [],
      account,
      storagePath: `${url}/${run}/`,
      manyFiles: true,
      endless: true,
      handle: { run, region, mode, ...(ownFilter === undefined ? {} : { filter: ownFilter }) },
    };
  }

  /** Not known is as good as listed: enabling it finds out. */
  async #isListed(session: Session): Promise<boolean> {
    const { run } = handleOf(session);
    const register = await this.#register.read().catch(() => undefined);
    return !register || register.sessions.some((one) => one.run === run);
  }

  /** A prepared session that the list has for another run, and not for this one. Not known is no reason not to stop what is ours. */
  async #isOfAnother(session: Session): Promise<boolean> {
    const { run, region, mode } = handleOf(session);
    if (mode === 'create') return false;
    const register = await this.#register.read().catch(() => undefined);
    const users = (register?.sessions ?? []).filter((one) => one.session === session.id && one.region === region);
    return users.length > 0 && !users.some((one) => one.run === run);
  }

  /** The session as the cloud has it, by id, or by name as long as its id is not known. */
  async #find(session: Session, signal: AbortSignal): Promise<MirrorSession | undefined> {
    const { region } = handleOf(session);
    const query = session.id.startsWith('tms-') ? { ids: [session.id] } : { name: session.id };
    const found = await this.#api.sessions(region, query, signal);
    return found.find((one) => one.id === session.id || one.name === session.id);
  }

  /**
   * A session that is being changed takes no other change: it is asked again until it does, as long as there is time. One that is not
   * there needs none.
   */
  async #insist(signal: AbortSignal, act: () => Promise<void>): Promise<void> {
    for (;;) {
      try {
        return await act();
      } catch (error) {
        const code = codeOf(error) ?? '';
        if (code === 'ResourceNotFound.TrafficMirrorSession') return;
        if (signal.aborted || !code.startsWith('IncorrectStatus.')) throw error;
        await elapsed(this.#options.timeout(settlePauseMs), signal);
        if (signal.aborted) throw error;
      }
    }
  }
}
