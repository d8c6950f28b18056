import { beforeDeadline } from '../../clock.ts';
import { ProviderError } from '../provider.ts';
import { toProviderError } from './errors.ts';

/** All items of an ARM list, whatever the number of its pages; `path` such as /subscriptions/…/virtualMachines. */
export type ListCompute = (subscription: string, path: string, signal: AbortSignal) => Promise<unknown[]>;

export type MachineDirectoryOptions = {
  subscriptions: readonly string[];
  list: ListCompute;
  now: () => Date;
  /** Aborts when that time is up. */
  timeout: (ms: number) => AbortSignal;
};

/** A virtual machine or an instance of a scale set; names in small letters. */
type Machine = { id: string; name: string; computerName: string | undefined; windows: boolean };
/** A scale set whose instances ARM does not list as virtual machines of their own. */
type ScaleSet = { id: string; prefix: string };

// Lists are kept for a while; a name that is not in them may be that of a new machine.
const keptMs = 5 * 60_000;
const againMs = 30_000;
// A large subscription has many pages.
const loadMs = 60_000;

/**
 * Which machines of the configured subscriptions have a computer name. Log Analytics and Prometheus know machines by what the
 * operating system calls itself, at times fully qualified; ARM can only be asked for lists.
 */
export class MachineDirectory {
  readonly #options: MachineDirectoryOptions;
  readonly #machines: Kept<Machine[]>;
  readonly #sets: Kept<ScaleSet[]>;
  readonly #instances: Kept<Machine[]>;

  constructor(options: MachineDirectoryOptions) {
    const { list } = options;
    this.#options = options;
    const compute = (subscription: string, type: string) =>
      `/subscriptions/${subscription}/providers/Microsoft.Compute/${type}`;
    this.#machines = new Kept(options, async (subscription, signal) =>
      (await list(subscription, compute(subscription, 'virtualMachines'), signal)).flatMap(toMachine),
    );
    this.#sets = new Kept(options, async (subscription, signal) =>
      (await list(subscription, compute(subscription, 'virtualMachineScaleSets'), signal)).flatMap(toScaleSet),
    );
    this.#instances = new Kept(options, async (set, signal) =>
      (await list(set.split('/')[2] ?? '', `${set}/virtualMachines`, signal)).flatMap(toMachine),
    );
  }

  /**
   * The ids, in small letters, of the machines that the name fits best: whole before its first label, the computer's own name
   * before that of its resource. A subscription that cannot be read does not hide what others have, but throws its
   * ProviderError when they have nothing.
   */
  async named(name: string, signal: AbortSignal): Promise<string[]> {
    const wanted = name.trim().toLowerCase().replace(/\.$/, '');
    const failed = new Map<string, ProviderError>();
    const kept = await this.#search(wanted, keptMs, failed, signal);
    const ids = kept.length > 0 ? kept : await this.#search(wanted, againMs, failed, signal);
    if (ids.length > 0) return ids;
    // One that passes first: it is worth another attempt, after which the others are told.
    const errors = [...failed.values()];
    const error = errors.find((e) => e.retry) ?? errors[0];
    if (error) throw error;
    return [];
  }

  /** What failed once is not asked for again by the same caller. */
  async #search(
    wanted: string,
    maxAgeMs: number,
    failed: Map<string, ProviderError>,
    signal: AbortSignal,
  ): Promise<string[]> {
    const attempt = async <T>(kept: Kept<T>, key: string, what: string): Promise<T | undefined> => {
      if (failed.has(what)) return undefined;
      try {
        return await kept.get(key, maxAgeMs, signal);
      } catch (error) {
        failed.set(what, toProviderError(what, error));
        return undefined;
      }
    };
    const ranked: { id: string; rank: number }[] = [];
    const rank = (machines: readonly Machine[]): void => {
      for (const machine of machines) {
        const rank = rankOf(machine, wanted);
        if (rank !== undefined) ranked.push({ id: machine.id, rank });
      }
    };
    await Promise.all(
      this.#options.subscriptions.map(async (subscription) => {
        const [machines, all] = await Promise.all([
          attempt(this.#machines, subscription, `list the machines of subscription ${subscription}`),
          attempt(this.#sets, subscription, `list the scale sets of subscription ${subscription}`),
        ]);
        rank(machines ?? []);
        const sets = (all ?? []).filter(({ prefix }) => firstLabel(wanted).startsWith(prefix));
        await Promise.all(
          sets.map(async ({ id }) => {
            rank((await attempt(this.#instances, id, `list the instances of scale set ${id.split('/').at(-1)}`)) ?? []);
          }),
        );
      }),
    );
    const best = Math.min(...ranked.map((one) => one.rank));
    return [...new Set(ranked.flatMap((one) => (one.rank === best ? one.id : [])))];
  }
}

/**
 * Results by key, kept for as long as a caller finds them fresh enough. Callers at one time share one load, which has a time of
 * its own: a long list is there for whoever asks next, however short the time of the caller was that began it.
 */
class Kept<T> {
  readonly #clock: Pick<MachineDirectoryOptions, 'now' | 'timeout'>;
  readonly #load: (key: string, signal: AbortSignal) => Promise<T>;
  readonly #values = new Map<string, { at: number; value: T }>();
  readonly #loading = new Map<string, Promise<T>>();

  constructor(
    clock: Pick<MachineDirectoryOptions, 'now' | 'timeout'>,
    load: (key: string, signal: AbortSignal) => Promise<T>,
  ) {
    this.#clock = clock;
    this.#load = load;
  }

  async get(key: string, maxAgeMs: number, signal: AbortSignal): Promise<T> {
    const kept = this.#values.get(key);
    if (kept && this.#clock.now().getTime() - kept.at < maxAgeMs) return kept.value;
    const loading = this.#loading.get(key) ?? this.#begin(key);
    const found = await beforeDeadline<{ value: T } | undefined>(
      loading.then((value) => ({ value })),
      undefined,
      signal,
    );
    if (!found) throw new ProviderError('unavailable', 'no answer in time');
    return found.value;
  }

  #begin(key: string): Promise<T> {
    const at = this.#clock.now().getTime();
    const loading = this.#load(key, this.#clock.timeout(loadMs))
      .then((value) => {
        this.#values.set(key, { at, value });
        return value;
      })
      .finally(() => this.#loading.delete(key));
    // Whoever waited for it is told; it is no matter when nobody did.
    loading.catch(() => undefined);
    this.#loading.set(key, loading);
    return loading;
  }
}

/** How well a name fits a machine, 0 the best; undefined when it does not. */
function rankOf({ name, computerName, windows }: Machine, wanted: string): number | undefined {
  const own = computerName ?? name;
  if (own === wanted) return 0;
  if (name === wanted) return 1;
  const label = firstLabel(wanted);
  // The first number of an address names nobody.
  if (/^\d+$/.test(label)) return undefined;
  if (firstLabel(own) === label) return 2;
  if (firstLabel(name) === label) return 3;
  // NetBIOS names end after 15 characters; the whole name is known to one side alone.
  const [a, b] = [firstLabel(own), label].toSorted((x, y) => x.length - y.length);
  return windows && a?.length === 15 && b?.startsWith(a) ? 4 : undefined;
}

function firstLabel(name: string): string {
  return name.split('.', 1)[0] ?? '';
}

/** What ARM's lists say of a machine or an instance, as far as it is read here. */
type ListedMachine = {
  id?: string;
  name?: string;
  properties?: { osProfile?: { computerName?: string }; storageProfile?: { osDisk?: { osType?: string } } };
};

function toMachine(item: unknown): Machine[] {
  const { id, name, properties } = (item ?? {}) as ListedMachine;
  if (!id || !name) return [];
  return [
    {
      id: id.toLowerCase(),
      name: name.toLowerCase(),
      computerName: properties?.osProfile?.computerName?.toLowerCase() || undefined,
      windows: properties?.storageProfile?.osDisk?.osType?.toLowerCase() === 'windows',
    },
  ];
}

type ListedScaleSet = {
  id?: string;
  properties?: {
    orchestrationMode?: string;
    virtualMachineProfile?: { osProfile?: { computerNamePrefix?: string } };
  };
};

/** Instances of a flexible set are listed as virtual machines; those of a uniform one only under their set. */
function toScaleSet(item: unknown): ScaleSet[] {
  const { id, properties } = (item ?? {}) as ListedScaleSet;
  const prefix = properties?.virtualMachineProfile?.osProfile?.computerNamePrefix;
  if (!id || !prefix || properties?.orchestrationMode?.toLowerCase() === 'flexible') return [];
  return [{ id: id.toLowerCase(), prefix: prefix.toLowerCase() }];
}
