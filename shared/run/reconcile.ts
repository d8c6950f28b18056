import type { Clock } from '../clock.ts';
import type { Log } from '../log.ts';
import type { Provider, ProviderName } from '../provider/provider.ts';
import type { Lifecycle } from './lifecycle.ts';
import { isFinal, isOpen } from './run.ts';
import type { RunStore } from './store.ts';

export type ReconcileParts = {
  providers: ReadonlyMap<ProviderName, Provider>;
  runs: RunStore;
  lifecycle: Lifecycle;
  clock: Clock;
  log: Log;
};

const listMs = 20_000;
const removeMs = 10_000;

/**
 * Compares what the clouds hold under our names with our records, and ends what has no live run: the session of a run that is over,
 * or of one that nobody knows any more; and one that captures again although its run is over, as sessions do that the cloud had
 * locked. Gives how many there were. What is not ours is never touched, and a cloud that cannot be asked holds up no other.
 */
export async function reconcile({ providers, runs, lifecycle, clock, log }: ReconcileParts): Promise<number> {
  let leaked = 0;
  for (const provider of providers.values()) {
    try {
      for (const { runId, id, capturing, session } of await provider.list(clock.timeout(listMs))) {
        if (runId === undefined) continue;
        const run = await runs.get(runId);
        const isOver = run === undefined || !isOpen(run) || (isFinal(run.state) && capturing === true);
        if (!isOver) continue;
        leaked++;
        try {
          log.error(`leak: ${id} is in the cloud without a live run; it is removed`, { run: runId });
          if (run) await lifecycle.removeAgain(runId);
          // Of nobody, or a second one of a run that knows only the first.
          if (run?.session?.id !== id) await provider.remove(session, clock.timeout(removeMs));
        } catch (error) {
          log.error(`leak: ${id} could not be removed; it is tried again`, { run: runId, error });
        }
      }
    } catch (error) {
      log.error(`the sessions of ${provider.name} could not be compared with the runs`, { error });
    }
  }
  return leaked;
}
