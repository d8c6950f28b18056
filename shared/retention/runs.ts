import type { CaptureStore } from '../catalog/store.ts';
import type { Admission } from '../run/admission.ts';
import { isOpen, type Run } from '../run/run.ts';
import type { RunStore } from '../run/store.ts';
import { isOld } from './age.ts';
import { walkOver, type Walker } from './walk.ts';

export type RunParts = { runs: RunStore; captures: CaptureStore; admission: Admission };

/** Runs: old ones go when they are over, count for no cool-down, and no entry of the catalogue belongs to them any more. */
export function expireRuns({ runs, captures, admission }: RunParts, until: Date, now: Date): Walker {
  const isKept = async (run: Run): Promise<boolean> => {
    const times = [run.createdAt, run.completedAt, run.timeline.at(-1)?.at];
    if (isOpen(run) || !isOld(until, times) || (await admission.isCoolingDown(run, now))) return true;
    return !(await captures.releaseRun(run.id, until));
  };
  return walkOver(
    (next) => runs.old(until, next),
    (entry) => runs.expire(entry, isKept),
    ({ row }) => row,
  );
}
