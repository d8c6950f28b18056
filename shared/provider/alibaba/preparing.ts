import { randomUUID } from 'node:crypto';
import type { Documents } from '../../storage/document.ts';
import { ProviderError, type CaptureRequest, type Limits } from '../provider.ts';
import { sessionName } from '../session-name.ts';
import type { AlibabaApi } from './api.ts';
import { readReport } from './collector-status.ts';
import { codeOf, isFull, isTransient, toProviderError } from './errors.ts';
import { packetLengths } from './limits.ts';
import type { MirrorFilters, WantedFilter } from './mirror-filters.ts';
import { chooseEnabled, choosePlace, refuseTakenSource, type Candidate, type Source } from './plan.ts';
import { freePriority, freeVni, type RegisterFile } from './register.ts';
import type { MirrorPlace } from './settings.ts';
import type { NewMirror, Plan } from './starting.ts';
import type { MirrorTarget } from './target-id.ts';

export type Asked = { runId: string; capture: CaptureRequest; limits: Limits };

export type PreparingOptions = {
  installation: string;
  places: readonly MirrorPlace[];
  control: Documents;
  now: () => Date;
};

/** Looks into a start: which interface, which session, where to; and whether anything speaks against it. Changes nothing. */
export class Preparing {
  readonly #api: AlibabaApi;
  readonly #register: RegisterFile;
  readonly #filters: MirrorFilters;
  readonly #options: PreparingOptions;

  constructor(api: AlibabaApi, register: RegisterFile, filters: MirrorFilters, options: PreparingOptions) {
    this.#api = api;
    this.#register = register;
    this.#filters = filters;
    this.#options = options;
  }

  /** For a session of the run's own. */
  async create({ runId, capture, limits }: Asked, target: MirrorTarget, signal: AbortSignal): Promise<Plan> {
    const { installation } = this.#options;
    const { region } = target;
    const source = await this.#sourceOf(target, signal);
    const asked = capture.alibaba ?? {};
    const places = this.#placesOf(region, asked.mirrorTargetId);
    const filter = this.#filters.wanted(capture, places[0], runId);
    const session = this.#settings(runId, capture);
    const [ofSource, targeted, candidates, register, live] = await Promise.all([
      this.#api.sessions(region, { source: source.eni }, signal),
      this.#api.sessions(region, { target: source.eni }, signal),
      Promise.all(places.map((place) => this.#candidate(place, signal))),
      this.#register.read(),
      this.#withCollector(places),
      this.#filters.check(region, filter, signal),
    ]);
    if (targeted.length > 0 || this.#options.places.some((place) => place.mirrorTargetId === source.eni))
      throw new ProviderError('invalid', `${source.eni} is the target of mirror sessions, so it cannot be a source`);
    const existing = ofSource.find((one) => one.name === session.name);
    const plan: Plan = {
      mode: 'create',
      run: runId,
      region,
      sources: [source],
      limits,
      filter,
      wish: { priority: asked.priority, vni: asked.virtualNetworkId },
      candidates: candidates.filter(({ place }) => live.places.includes(place)),
      session,
      existing,
    };
    if (existing) return plan;
    refuseTakenSource(ofSource, source.eni, asked.priority, installation);
    if (plan.candidates.length === 0) throw silent(live.silent);
    const place = choosePlace(plan.candidates, register, { run: runId, name: session.name, sources: 1 });
    // What the cloud itself has against it, in case nothing of the above said so more plainly.
    await this.#tryOut(plan, place, signal);
    return plan;
  }

  /** For a session that somebody has prepared. */
  async enable({ runId, capture, limits }: Asked, target: MirrorTarget, signal: AbortSignal): Promise<Plan> {
    const { installation } = this.#options;
    const { region } = target;
    const source = await this.#sourceOf(target, signal);
    const [ofSource, register] = await Promise.all([
      this.#api.sessions(region, { source: source.eni }, signal),
      this.#register.read(),
    ]);
    const { session, place } = chooseEnabled(ofSource, this.#placesOf(region, undefined), capture.alibaba?.sessionId, {
      source: source.eni,
      run: runId,
      register,
      installation,
    });
    const others = ofSource.filter((one) => one !== session);
    refuseTakenSource(others, source.eni, session.priority, installation);
    const live = await this.#withCollector([place]);
    if (live.places.length === 0) throw silent(live.silent);
    // All of its sources are mirrored when it is enabled.
    const interfaces = await this.#api.interfaces(region, { ids: session.sources }, signal);
    const sources = interfaces.flatMap(({ id, address }) => (address === '' ? [] : [{ eni: id, address }]));
    return { mode: 'enable', run: runId, region, sources, limits, existing: session };
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

  async #candidate(place: MirrorPlace, signal: AbortSignal): Promise<Candidate> {
    return { place, sessions: await this.#api.sessions(place.region, { target: place.mirrorTargetId }, signal) };
  }

  /** Those of the places whose collector is there; where packets would be lost none are sent. */
  async #withCollector(places: readonly MirrorPlace[]): Promise<{ places: MirrorPlace[]; silent: string[] }> {
    const { control, now } = this.#options;
    const reports = await Promise.all(places.map(({ collector }) => readReport(control, collector, now())));
    return {
      places: places.filter((_, i) => reports[i]?.silent === undefined),
      silent: reports.flatMap((report) => report.silent ?? []),
    };
  }

  #settings(runId: string, { alibaba = {}, bytesToCapturePerPacket = 0 }: CaptureRequest): NewMirror {
    const { installation } = this.#options;
    const { least, usual } = packetLengths;
    // More than asked does no harm, and beyond the usual length only some regions go.
    const cut =
      bytesToCapturePerPacket === 0 || bytesToCapturePerPacket >= usual
        ? undefined
        : Math.max(bytesToCapturePerPacket, least);
    return {
      name: sessionName.format(installation, runId),
      description: alibaba.description ?? `Run ${runId} of tripcap`,
      packetLength: alibaba.packetLength ?? cut,
      resourceGroupId: alibaba.resourceGroupId,
      tags: [
        { key: 'tripcap-installation', value: installation },
        { key: 'tripcap-run', value: runId },
        ...(alibaba.tags ?? []),
      ],
    };
  }

  /** Asks the cloud by a dry run, if the filter is known that it takes. @throws ProviderError for what will not pass */
  async #tryOut(
    { region, session, filter, sources, candidates }: Plan & { mode: 'create' },
    place: MirrorPlace,
    signal: AbortSignal,
  ): Promise<void> {
    const filterId = this.#filters.known(region, filter);
    if (filterId === undefined) return;
    const whole = {
      ...session,
      clientToken: randomUUID(),
      filterId,
      targetId: place.mirrorTargetId,
      targetType: place.mirrorTargetType,
      sources: sources.map((one) => one.eni),
      vni: freeVni(new Set(), undefined, Math.random),
      priority: freePriority(new Set(), undefined, Math.random),
    };
    try {
      await this.#api.createSession(region, whole, signal, true);
    } catch (error) {
      if (!passes(error, filter, candidates)) throw error;
    }
  }

  /** The interface to mirror: of an instance its primary one. */
  async #sourceOf({ kind, region, resource }: MirrorTarget, signal: AbortSignal): Promise<Source> {
    const query = kind === 'instance' ? { instance: resource } : { ids: [resource] };
    const found = await this.#api.interfaces(region, query, signal);
    const one = found.find((each) => (kind === 'instance' ? each.isPrimary : each.id === resource));
    const what = kind === 'instance' ? 'instance' : 'interface';
    if (!one) throw new ProviderError('target-not-found', `There is no ${what} ${resource} in ${region}`);
    if (one.isManaged)
      throw new ProviderError('invalid', `${one.id} is managed by a service of Alibaba Cloud, and cannot be mirrored`);
    if (one.status === 'Attaching' || one.status === 'Detaching')
      throw new ProviderError('conflict', `${one.id} is ${one.status.toLowerCase()}`);
    if (one.status !== 'InUse')
      throw new ProviderError('invalid', `${one.id} is attached to no instance (it is ${one.status})`);
    if (one.address === '')
      throw new ProviderError('invalid', `${one.id} has no IPv4 address, from which its packets would come`);
    return { eni: one.id, address: one.address };
  }
}

/** What a dry run says of its own numbers, of this moment, or of what is made or chosen anew at the start, does not count. */
function passes(error: unknown, filter: WantedFilter, candidates: readonly Candidate[]): boolean {
  const code = codeOf(error);
  return (
    code === 'IllegalParam.Priority' ||
    (code === 'ResourceNotFound.TrafficMirrorFilter' && !('id' in filter)) ||
    (isFull(error) && candidates.length > 1) ||
    isTransient(error) ||
    toProviderError('', error).retry
  );
}

function silent(reports: readonly string[]): ProviderError {
  return new ProviderError('no-collector', `${reports.join('; ')}: its packets would be lost`);
}
