import { randomUUID } from 'node:crypto';
import { ProviderError, type Limits } from '../provider.ts';
import type { AlibabaApi, MirrorSession, NewSession } from './api.ts';
import { codeOf, isTransient, mayBeDone, toProviderError } from './errors.ts';
import type { MirrorFilters, WantedFilter } from './mirror-filters.ts';
import type { Source } from './plan.ts';
import { freePriority, freeVni, takenIn, type RegisteredSession, type RegisterFile } from './register.ts';

/** What is asked of a session that is made, but for what is chosen when it is. */
export type NewMirror = Omit<NewSession, 'clientToken' | 'filterId' | 'vni' | 'priority' | 'sources'>;

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
  /** Network numbers of the other sessions of its target. */
  vnis: number[];
  session: NewMirror;
  /** Asked for before, and there. */
  existing: MirrorSession | undefined;
};

// A session that is never enabled must not stay in the list for ever.
const startAllowanceMs = 15 * 60_000;
const priorityTries = 10;

// What is not asked about a session that was just made.
const unlisted = {
  status: 'Creating',
  businessStatus: 'Normal',
  enabled: false,
  filterId: '',
  targetId: '',
  targetType: '',
  sources: [],
};

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
  async start(plan: Plan, signal: AbortSignal): Promise<MirrorSession> {
    const made = plan.existing ?? (await this.#create(plan as Plan & CreatePlan, signal));
    await this.#announce(plan, made);
    return made;
  }

  /** What the cloud has against such a session, where that can be found out by a dry run; undefined when nothing is known. */
  async tryOut(
    region: string,
    filter: WantedFilter,
    session: NewMirror,
    source: Source,
    signal: AbortSignal,
  ): Promise<ProviderError | undefined> {
    const filterId = this.#filters.known(region, filter);
    if (filterId === undefined) return undefined;
    const numbers = {
      vni: freeVni(new Set(), undefined, Math.random),
      priority: freePriority(new Set(), undefined, Math.random),
    };
    const whole = { ...session, ...numbers, filterId, sources: [source.eni], clientToken: randomUUID() };
    try {
      await this.#api.createSession(region, whole, signal, true);
      return undefined;
    } catch (error) {
      // Nothing that it says of these numbers, or of this moment, counts.
      const passes =
        codeOf(error) === 'IllegalParam.Priority' || isTransient(error) || toProviderError('', error).retry;
      return passes ? undefined : toProviderError('start the mirror session', error);
    }
  }

  /** Asks for the session; what is asked for is written down before, so that whoever asks again asks for the same. */
  async #create(plan: Plan & CreatePlan, signal: AbortSignal): Promise<MirrorSession> {
    const { run, region } = plan;
    // Made before, and not listed yet.
    const announced = (await this.#register.read()).sessions.find((one) => one.run === run);
    if (announced) {
      const { session: id, vni, priority } = announced;
      return { ...unlisted, id, name: plan.session.name, vni, priority };
    }
    const filterId = await this.#filters.ensure(region, plan.filter, signal);
    const refused = new Set<number>();
    for (let attempt = 1; ; attempt++) {
      const wanted = await this.#reserve(plan, filterId, refused);
      try {
        const id = await this.#api.createSession(region, wanted, signal);
        return { ...unlisted, id, name: wanted.name, vni: wanted.vni, priority: wanted.priority };
      } catch (error) {
        if (codeOf(error) === 'IllegalParam.Priority' && attempt < priorityTries) {
          refused.add(wanted.priority);
          continue;
        }
        // Nothing came of it, and nothing will.
        if (!isTransient(error) && !mayBeDone(error)) await this.forget(run, region).catch(() => undefined);
        throw error;
      }
    }
  }

  /** What to ask for: what was written down for the run, else something that is free; another priority when that was refused. */
  async #reserve(plan: Plan & CreatePlan, filterId: string, refused: ReadonlySet<number>): Promise<NewSession> {
    const { run, region, wish, sources } = plan;
    let wanted: NewSession | undefined;
    await this.#register.update((register) => {
      const kept = register.reserved.find((one) => one.run === run)?.session;
      if (kept && !refused.has(kept.priority)) {
        wanted = kept;
        return undefined;
      }
      const taken = takenIn(register, region, run);
      const priority = freePriority(new Set([...taken.priorities, ...refused]), wish.priority, Math.random);
      const vni = kept?.vni ?? freeVni(new Set([...taken.vnis, ...plan.vnis]), wish.vni, Math.random);
      wanted = {
        ...plan.session,
        clientToken: `create-${run}-${priority}`,
        filterId,
        sources: sources.map((one) => one.eni),
        vni,
        priority,
      };
      const others = register.reserved.filter((one) => one.run !== run);
      return { ...register, reserved: [...others, { run, region, session: wanted }] };
    });
    if (!wanted) throw new Error('nothing was reserved');
    return wanted;
  }

  /** Tells the collector, before the first packet comes. */
  async #announce({ run, region, sources, limits, mode }: Plan, made: MirrorSession): Promise<void> {
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
      priority: made.priority,
    };
    await this.#register.update((register) => {
      const known = register.sessions.find((one) => one.run === run);
      if (known?.session === made.id) return undefined;
      const user = mode === 'enable' ? register.sessions.find((one) => one.session === made.id) : undefined;
      if (user) throw new ProviderError('conflict', `Session ${made.id} is in use by run ${user.run}`);
      return {
        ...register,
        sessions: [...register.sessions.filter((one) => one.run !== run), entry],
        reserved: register.reserved.filter((one) => one.run !== run),
      };
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
