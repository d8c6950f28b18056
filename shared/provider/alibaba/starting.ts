import { sha256 } from '../../id.ts';
import { ProviderError, type Limits } from '../provider.ts';
import type { AlibabaApi, MirrorSession, NewSession } from './api.ts';
import { codeOf, isFull, isTransient, mayBeDone } from './errors.ts';
import type { MirrorFilters, WantedFilter } from './mirror-filters.ts';
import { choosePlace, type Candidate, type Source } from './plan.ts';
import {
  freePriority,
  freeVni,
  takenIn,
  type Register,
  type RegisteredSession,
  type RegisterFile,
} from './register.ts';

type Chosen = 'clientToken' | 'filterId' | 'vni' | 'priority' | 'sources' | 'targetId' | 'targetType';

/** What is asked of a session that is made, but for what is chosen when it is. */
export type NewMirror = Omit<NewSession, Chosen>;

/** A start that was looked into and only needs to be carried out. */
export type Plan = {
  run: string;
  region: string;
  sources: Source[];
  limits: Limits;
} & (CreatePlan | { mode: 'enable'; existing: MirrorSession });

type CreatePlan = {
  mode: 'create';
  filter: WantedFilter;
  wish: { priority?: number | undefined; vni?: number | undefined };
  /** Where it may go. */
  candidates: readonly Candidate[];
  session: NewMirror;
  /** Asked for before, and there. */
  existing: MirrorSession | undefined;
};

/** What the cloud does not take, since others have it. */
type Refused = { priorities: Set<number>; targets: Set<string> };

/** What is known of a session that was asked for. */
type Made = Pick<MirrorSession, 'id' | 'status' | 'vni' | 'priority' | 'targetId'>;

// A session that is never enabled must not stay in the list for ever.
const startAllowanceMs = 15 * 60_000;
const tries = 10;

/** Makes sessions for runs, each once, and tells the collector before the first packet comes. */
export class Starting {
  readonly #api: AlibabaApi;
  readonly #register: RegisterFile;
  readonly #filters: MirrorFilters;
  readonly #now: () => Date;

  constructor(api: AlibabaApi, register: RegisterFile, filters: MirrorFilters, now: () => Date) {
    this.#api = api;
    this.#register = register;
    this.#filters = filters;
    this.#now = now;
  }

  /** The session, disabled, and in the list that the collector reads. */
  async start(plan: Plan, signal: AbortSignal): Promise<Made> {
    const made = plan.mode === 'enable' ? plan.existing : (plan.existing ?? (await this.#create(plan, signal)));
    await this.#announce(plan, made);
    return made;
  }

  /** Asks for the session; what is asked for is written down before, so that whoever asks again asks for the same. */
  async #create(plan: Plan & CreatePlan, signal: AbortSignal): Promise<Made> {
    const { run, region } = plan;
    const announced = announcedIn(await this.#register.read(), run);
    if (announced) return announced;
    const filterId = await this.#filters.ensure(region, plan.filter, signal);
    const refused: Refused = { priorities: new Set(), targets: new Set() };
    for (let attempt = 1; ; attempt++) {
      const wanted = await this.#reserve(plan, filterId, refused);
      if ('id' in wanted) return wanted;
      try {
        const id = await this.#api.createSession(region, wanted, signal);
        return { ...wanted, id, status: 'Creating' };
      } catch (error) {
        const isTaken = codeOf(error) === 'IllegalParam.Priority';
        if (isTaken) refused.priorities.add(wanted.priority);
        if (isFull(error)) refused.targets.add(wanted.targetId);
        const hasOther = isTaken || (isFull(error) && refused.targets.size < plan.candidates.length);
        if (hasOther && attempt < tries) continue;
        // Nothing came of it, and nothing will.
        if (!isTransient(error) && !mayBeDone(error)) await this.#release(run).catch(() => undefined);
        throw error;
      }
    }
  }

  /**
   * What to ask for: what was written down for the run, else something that is free; something else when that was refused. The session
   * itself when somebody else has come first.
   */
  async #reserve(plan: Plan & CreatePlan, filterId: string, refused: Refused): Promise<NewSession | Made> {
    const { run, region, wish, sources, session, candidates } = plan;
    const possible = candidates.filter(({ place }) => !refused.targets.has(place.mirrorTargetId));
    const listedVnis = candidates.flatMap((one) => one.sessions.map(({ vni }) => vni));
    let wanted: NewSession | Made | undefined;
    await this.#register.update((register) => {
      wanted = announcedIn(register, run);
      if (wanted) return undefined;
      const kept = register.reserved.find((one) => one.run === run)?.session;
      if (kept && !refused.priorities.has(kept.priority) && !refused.targets.has(kept.targetId)) {
        wanted = kept;
        return undefined;
      }
      const place = choosePlace(possible, register, { run, name: session.name, sources: sources.length });
      const taken = takenIn(register, region, run);
      const request = {
        ...session,
        filterId,
        targetId: place.mirrorTargetId,
        targetType: place.mirrorTargetType,
        sources: sources.map((one) => one.eni),
        vni: kept?.vni ?? freeVni(new Set([...taken.vnis, ...listedVnis]), wish.vni, Math.random),
        priority: freePriority(new Set([...taken.priorities, ...refused.priorities]), wish.priority, Math.random),
      };
      // Of the run, and of what is asked: another request under the same token would be refused.
      const anew: NewSession = { ...request, clientToken: `${run}-${sha256(JSON.stringify(request)).slice(0, 16)}` };
      wanted = anew;
      const others = register.reserved.filter((one) => one.run !== run);
      return { ...register, reserved: [...others, { run, region, session: anew }] };
    });
    if (!wanted) throw new Error('nothing was reserved');
    return wanted;
  }

  /** Tells the collector, before the first packet comes. */
  async #announce({ run, region, sources, limits, mode }: Plan, made: Made): Promise<void> {
    const until = this.#now().getTime() + limits.durationSeconds * 1000 + startAllowanceMs;
    const entry: RegisteredSession = {
      run,
      session: made.id,
      region,
      vni: made.vni,
      sources: sources.map(({ eni, address }) => ({ eni, address })),
      maxBytes: limits.sizeBytes,
      until: new Date(until).toISOString(),
      mode,
      target: made.targetId,
      priority: made.priority,
    };
    await this.#register.update((register) => {
      const known = register.sessions.find((one) => one.run === run);
      if (known?.session === made.id) return undefined;
      const user = mode === 'enable' ? register.sessions.find((one) => one.session === made.id) : undefined;
      if (user)
        throw new ProviderError(
          'mirrored-already',
          `Session ${made.id} is in use by run ${user.run}`,
          undefined,
          'Wait until that run is over, or stop it.',
        );
      return {
        ...register,
        sessions: [...register.sessions.filter((one) => one.run !== run), entry],
        reserved: register.reserved.filter((one) => one.run !== run),
      };
    });
  }

  /** What was written down for a run is not asked for any more. */
  async #release(run: string): Promise<void> {
    await this.#register.update((register) => {
      const reserved = register.reserved.filter((one) => one.run !== run);
      return reserved.length === register.reserved.length ? undefined : { ...register, reserved };
    });
  }

  /** Takes a run out of the list; its numbers are not given out again for a while. */
  async forget(run: string, region: string): Promise<void> {
    const at = this.#now().toISOString();
    await this.#register.update((register) => {
      const entry = register.sessions.find((one) => one.run === run);
      const reserved = register.reserved.find((one) => one.run === run);
      const numbers = entry?.mode === 'enable' ? undefined : (entry ?? reserved?.session);
      if (!entry && !reserved) return undefined;
      return {
        ...register,
        sessions: register.sessions.filter((one) => one !== entry),
        reserved: register.reserved.filter((one) => one !== reserved),
        retired: numbers
          ? [...register.retired, { region, vni: numbers.vni, priority: numbers.priority, at }]
          : register.retired,
      };
    });
  }
}

/** What was made for a run before; it may not be listed yet. */
function announcedIn({ sessions }: Register, run: string): Made | undefined {
  const entry = sessions.find((one) => one.run === run);
  if (!entry) return undefined;
  const { session: id, vni, priority, target: targetId } = entry;
  return { id, status: 'Creating', vni, priority, targetId };
}
