import type { Clock } from '../clock.ts';
import type { ListedSession, Provider, ProviderName } from '../provider/provider.ts';
import { isOpen } from './run.ts';
import type { RunStore } from './store.ts';

/** `ours`: of a run that is under way. `leaked`: under our name, without one. `foreign`: somebody else's, never touched. */
export type MarkedSession = Omit<ListedSession, 'runId' | 'session'> & {
  mark: 'ours' | 'leaked' | 'foreign';
  run?: string;
};

/** What the clouds hold now. */
export async function listSessions(
  providers: ReadonlyMap<ProviderName, Provider>,
  runs: RunStore,
  clock: Clock,
  filter: { provider?: string | undefined; region?: string | undefined },
): Promise<MarkedSession[]> {
  const asked = [...providers.values()].filter((p) => filter.provider === undefined || p.name === filter.provider);
  const sessions = (await Promise.all(asked.map((p) => p.list(clock.timeout(20_000), filter.region)))).flat();
  return Promise.all(
    sessions.map(async (one): Promise<MarkedSession> => {
      const { runId, session: _, ...listed } = one;
      if (runId === undefined) return { ...listed, mark: 'foreign' };
      const run = await runs.get(runId);
      return run && isOpen(run)
        ? { ...listed, mark: 'ours', run: runId }
        : { ...listed, mark: 'leaked', ...(run ? { run: runId } : {}) };
    }),
  );
}
