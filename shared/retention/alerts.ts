import type { AlertRecord, AlertStore } from '../alert/store.ts';
import type { RunStore } from '../run/store.ts';
import type { Archive, Archived } from '../storage/archive.ts';
import { isOld } from './age.ts';
import { walkOver, type Fate, type Walker } from './walk.ts';

export type AlertParts = { alerts: AlertStore; runs: RunStore; archive: Archive };

const mostUnsettled = 100_000;

/** Raw payloads: old ones go, unless something is still to be done about their alert. Storage may refuse to let go of them. */
export async function expirePayloads(parts: AlertParts, until: Date): Promise<Walker> {
  const inUse = await alertsInUse(parts);
  const decide = async ({ name, etag, writtenAt }: Archived): Promise<Fate> => {
    const id = alertOf(name);
    if (id === undefined || inUse.has(id) || !isWrittenBy(until, writtenAt)) return 'kept';
    const outcome = await parts.archive.remove(name, etag);
    return outcome === 'changed' ? 'kept' : outcome;
  };
  return walkOver((next) => parts.archive.list('', next), decide);
}

/**
 * Records of alerts: old ones go when no run of theirs is left. A record whose payload is held by storage stays with it; so does
 * one whose payload is older than `payloadsUntil` and still there.
 */
export async function expireAlerts(parts: AlertParts, until: Date, payloadsUntil: Date | undefined): Promise<Walker> {
  const { alerts, runs, archive } = parts;
  const inUse = await alertsInUse(parts);
  const { held } = await archive.look();
  const isHeld = (payload: Archived): boolean =>
    held || payload.held || (payloadsUntil !== undefined && isWrittenBy(payloadsUntil, payload.writtenAt));
  const isKept = async (record: AlertRecord): Promise<boolean> => {
    const { id, source, receivedAt, fired, resolved } = record;
    if (inUse.has(id) || !isOld(until, [receivedAt, fired?.receivedAt, resolved?.receivedAt])) return true;
    if (await hasRuns(runs, record)) return true;
    const { items, next } = await archive.list(`${source}/${id}/`, undefined);
    return next !== undefined || items.some(isHeld);
  };
  return walkOver(
    (next) => alerts.old(until, next),
    (entry) => alerts.expire(entry, isKept),
    ({ row }) => row,
  );
}

/** Ids of the alerts that something is still to be done about: not dealt with yet, or with an open run. */
async function alertsInUse({ alerts, runs }: AlertParts): Promise<ReadonlySet<string>> {
  const unsettled = await alerts.unsettled(mostUnsettled);
  if (unsettled.length === mostUnsettled) throw new Error('There are too many unsettled alerts to know them all');
  // A mark is the alert's id and a condition.
  const ids = new Set(unsettled.map(({ mark }) => mark.split('-')[0] ?? mark));
  const open = await runs.open();
  for (let i = 0; i < open.length; i += 50) {
    for (const run of await Promise.all(open.slice(i, i + 50).map(({ id }) => runs.get(id))))
      if (run?.trigger.alertId !== undefined) ids.add(run.trigger.alertId);
  }
  return ids;
}

async function hasRuns(runs: RunStore, { fired }: AlertRecord): Promise<boolean> {
  const ids = [...new Set([...(fired?.planned ?? []), ...(fired?.runs ?? [])].map(({ id }) => id))];
  for (let i = 0; i < ids.length; i += 20) {
    const found = await Promise.all(ids.slice(i, i + 20).map((id) => runs.get(id)));
    if (found.some((run) => run !== undefined)) return true;
  }
  return false;
}

/** The alert that a payload is of; undefined for a name that is not of our making. */
function alertOf(name: string): string | undefined {
  return /^[a-z-]+\/([0-9a-z]{26})\/[0-9a-f]+\.json$/.exec(name)?.[1];
}

function isWrittenBy(until: Date, writtenAt: Date | undefined): boolean {
  return writtenAt !== undefined && writtenAt.getTime() <= until.getTime();
}
