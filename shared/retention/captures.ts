import type { CaptureAccounts } from '../catalog/accounts.ts';
import type { Capture } from '../catalog/entry.ts';
import type { CaptureStore } from '../catalog/store.ts';
import type { Clock } from '../clock.ts';
import type { Log } from '../log.ts';
import { isOpen } from '../run/run.ts';
import type { RunStore } from '../run/store.ts';
import { isOld } from './age.ts';
import { walkOver, type Walker } from './walk.ts';

export type CaptureParts = {
  captures: CaptureStore;
  runs: RunStore;
  accounts: CaptureAccounts;
  clock: Clock;
  log: Log;
};

const callTimeoutMs = 10_000;

/**
 * Entries of the catalogue: old ones go when storage says that their file is gone. Files are the business of their account's
 * lifecycle rule; what keeps a file (such a rule, a legal hold) keeps its entry.
 */
export function expireCaptures(parts: CaptureParts, until: Date): Walker {
  const { captures, runs } = parts;
  const isGone = fileFinder(parts);
  const isKept = async (capture: Capture): Promise<boolean> => {
    if (!isOld(until, [capture.catalogedAt])) return true;
    const run = capture.runId === undefined ? undefined : await runs.get(capture.runId);
    return (run !== undefined && isOpen(run)) || !(await isGone(capture));
  };
  return walkOver(
    (next) => captures.old(until, next),
    (entry) => captures.expire(entry, isKept),
    ({ row }) => row,
  );
}

/** Asks storage for files. A container that could not be asked is not asked again in this walk, and told of once. */
function fileFinder({ accounts, clock, log }: CaptureParts): (capture: Capture) => Promise<boolean> {
  const silent = new Set<string>();
  return async ({ account, container, blob }) => {
    const place = `${account}/${container}`;
    if (silent.has(place)) return false;
    try {
      return await accounts.isGone(account, container, blob, clock.timeout(callTimeoutMs));
    } catch (error) {
      if (!silent.has(place))
        log.warn(`retention: files in ${place} cannot be looked for, so their entries and runs stay`, { error });
      silent.add(place);
      return false;
    }
  };
}
