import { statusBlob, type SessionStatus, type Status } from '../../../collector/protocol.ts';
import type { Documents } from '../../storage/document.ts';

// Collectors report every few seconds.
const silentMs = 30_000;

/** What a collector last said; `silent` tells since when it says nothing, if it does not. */
export type CollectorReport = { status: Status | undefined; silent: string | undefined };

export async function readReport(documents: Documents, collector: string, now: Date): Promise<CollectorReport> {
  const found = await documents.read(statusBlob(collector));
  const status = found && parse(found.text);
  if (!found || !status) return { status: undefined, silent: `The collector ${collector} has never reported` };
  // By the clock of storage: that of the collector may be wrong.
  const ageMs = now.getTime() - found.modifiedAt.getTime();
  return {
    status,
    silent: ageMs < silentMs ? undefined : `The collector ${collector} has not reported since ${status.at}`,
  };
}

/** What it says of the session of a run; undefined as long as it has not taken it over. */
export function reportOf({ status }: CollectorReport, run: string, session: string): SessionStatus | undefined {
  return status?.sessions.find((one) => one.run === run && one.session === session);
}

function parse(text: string): Status | undefined {
  try {
    const value = JSON.parse(text) as Partial<Status> | null;
    return value?.version === 1 && Array.isArray(value.sessions) && typeof value.at === 'string'
      ? (value as Status)
      : undefined;
  } catch {
    return undefined;
  }
}
