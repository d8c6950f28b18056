import { CaptureAccounts } from '../../shared/catalog/accounts.ts';
import { Catalog } from '../../shared/catalog/catalog.ts';
import { CaptureStore } from '../../shared/catalog/store.ts';
import { systemClock } from '../../shared/clock.ts';
import type { CaptureAccount, Times } from '../../shared/config.ts';
import type { Provider, ProviderName } from '../../shared/provider/provider.ts';
import { Admission } from '../../shared/run/admission.ts';
import { Launcher } from '../../shared/run/launcher.ts';
import { Lifecycle } from '../../shared/run/lifecycle.ts';
import { isFinal, type Run, type StopReason } from '../../shared/run/run.ts';
import { RunStore } from '../../shared/run/store.ts';
import { MemoryTable } from '../memory-table.ts';

export type FaultsApp = ReturnType<typeof startApp>;

/**
 * The app of one cloud without its triggers: a poll after the other, and a queue whose messages are dealt with when they are due. What
 * it records is in memory, and lost with it unless it is given.
 */
export function startApp(
  provider: Provider,
  captureAccounts: CaptureAccount[],
  times: Times,
  table = new MemoryTable(),
) {
  const clock = systemClock;
  const errors: string[] = [];
  const log = {
    info: () => {},
    warn: () => {},
    error: (message: string, details?: object) => errors.push(`${message} ${JSON.stringify(details)}`),
  };
  const runs = new RunStore(table);
  const state = new MemoryTable();
  const captures = new CaptureStore(new MemoryTable());
  const accounts = new CaptureAccounts(
    captureAccounts,
    () => {
      throw new Error('no identity here');
    },
    clock,
  );
  const catalog = new Catalog({ accounts, captures, runs, state, clock, log });
  const waiting: { message: Record<string, string>; at: number }[] = [];
  const queue = {
    send: async (message: Record<string, string>, delayMs: number) =>
      void waiting.push({ message, at: Date.now() + delayMs }),
  };
  const providers = new Map<ProviderName, Provider>([[provider.name, provider]]);
  const lifecycle = new Lifecycle({
    runs,
    providers,
    catalog,
    accounts: accounts.names,
    queue,
    clock,
    times,
    log,
    changed: see,
  });
  const launcher = new Launcher({
    runs,
    admission: new Admission(state, runs),
    lifecycle,
    providers,
    clock,
    times,
    trace: () => undefined,
  });

  let stopped = false;
  const watchers = new Map<string, ((run: Run) => void)[]>();
  function see(run: Run): void {
    for (const tell of watchers.get(run.id) ?? []) tell(run);
  }
  /** The run when it first is as wished for. */
  async function seen(run: Run, wished: (run: Run) => boolean): Promise<Run> {
    return new Promise((resolve) => {
      const tell = (now: Run): void => {
        if (wished(now)) resolve(now);
      };
      watchers.set(run.id, [...(watchers.get(run.id) ?? []), tell]);
      // It may be so already.
      void runs.get(run.id).then((now) => now && tell(now));
    });
  }
  const dealWith = async ({
    run,
    account: name = '',
    container = '',
    blob = '',
  }: Record<string, string>): Promise<void> => {
    await (run === undefined ? lifecycle.addFile(name, container, blob) : lifecycle.follow(run));
  };
  const again = async (work: () => Promise<unknown>): Promise<void> => {
    while (!stopped) {
      await work();
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  };
  // Nobody waits for one message before the next is dealt with.
  const dealing = new Set<Promise<unknown>>();
  const triggers = [
    again(() => lifecycle.stepAll()),
    again(async () => {
      const due = waiting.filter(({ at }) => at <= Date.now());
      for (const one of due) {
        waiting.splice(waiting.indexOf(one), 1);
        // What fails comes back, as with the real queue.
        const deal = dealWith(one.message).catch(() => waiting.push({ ...one, at: Date.now() + 1000 }));
        dealing.add(deal);
        void deal.finally(() => dealing.delete(deal));
      }
      await Promise.resolve();
    }),
  ];
  return {
    provider,
    lifecycle,
    launcher,
    runs,
    seen,
    errors,
    /** What the sweep compares. */
    parts: { providers, runs, lifecycle, clock, log },
    stop: async () => {
      stopped = true;
      await Promise.all(triggers);
      await Promise.all(dealing);
    },
  };
}

/** How a run may end: by state, verdict code and stop reason, whoever stopped it. */
export type End = { state: Run['state']; verdict: string; stop?: StopReason; by?: 'cloud' | 'tripcap'; says?: RegExp };

/** Waits for the end of a run; what is wrong with it. */
export async function endOf(app: FaultsApp, started: Run, end: End): Promise<string | undefined> {
  const { state, verdict, stop, timeline } = await app.seen(started, (run) => isFinal(run.state));
  const story = timeline.map(({ event, detail }) => `${event}${detail ? ` (${detail.slice(0, 90)})` : ''}`).join(', ');
  const right =
    state === end.state &&
    verdict?.code === end.verdict &&
    (end.stop === undefined || end.stop === stop?.reason) &&
    (end.by === undefined || end.by === stop?.by) &&
    (end.says === undefined || end.says.test(`${verdict.summary} ${story}`));
  return right ? undefined : `${state} ${verdict?.code} ${stop?.reason} by ${stop?.by}\n    ${story}`;
}

/** Numbers from 0 to 1 that follow from the seed (mulberry32). */
export function random(from: number): () => number {
  let state = from;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Calls that may be under way at one time: the others wait. */
export function atMost(count: number): <T>(work: () => Promise<T>) => Promise<T> {
  let free = count;
  const waiting: (() => void)[] = [];
  return async (work) => {
    if (free > 0) free--;
    else await new Promise<void>((resolve) => waiting.push(resolve));
    try {
      return await work();
    } finally {
      const next = waiting.shift();
      if (next) next();
      else free++;
    }
  };
}
