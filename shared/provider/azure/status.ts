import type { EndCause, Observation, Session } from '../provider.ts';

/** A packet capture as ARM writes it; only what is read here. */
export type CaptureBody = {
  properties?: {
    provisioningState?: string;
    storageLocation?: { storagePath?: string; filePath?: string; localPath?: string };
  };
};

/** The answer to queryStatus. */
export type StatusBody = {
  captureStartTime?: string;
  packetCaptureStatus?: string;
  stopReason?: string;
  packetCaptureError?: string[];
};

/** The answer of an operation's URL. */
type OperationBody = { status?: string; error?: { code?: string; message?: string } | null } | null;

/** What a packet capture tells of its session. */
export function describeCapture(body: CaptureBody | undefined): Partial<Session> {
  const { provisioningState, storageLocation } = body?.properties ?? {};
  const filePath = storageLocation?.filePath || storageLocation?.localPath;
  return {
    ...(provisioningState ? { status: provisioningState } : {}),
    ...(storageLocation?.storagePath ? { storagePath: storageLocation.storagePath } : {}),
    ...(filePath ? { filePath } : {}),
  };
}

/** Provisioning is over: only queryStatus tells the state from here on. */
export function isConfirmed(status: string | undefined): boolean {
  return (
    status === 'Succeeded' || status === 'Running' || status === 'Stopped' || status === 'Error' || status === 'Unknown'
  );
}

/** What the answer to queryStatus means for a session. */
export function observeStatus(known: Session, status: StatusBody): Observation {
  const startedAt = readTime(status.captureStartTime);
  const errors = errorsOf(status);
  const seen: Session = { ...known, status: status.packetCaptureStatus ?? 'Unknown', errors };
  const at = startedAt ? { startedAt } : {};
  const reason = status.stopReason?.trim();
  switch (status.packetCaptureStatus) {
    case 'NotStarted':
      return { phase: 'pending', session: { ...seen, status: known.status } };
    case 'Stopped':
      return { phase: 'ended', session: seen, ...at, cause: endCause(reason, errors), reason };
    case 'Error':
      return { phase: 'ended', session: seen, ...at, cause: 'error', reason };
    default:
      // Running; and Unknown or a new word, which is no reason to end anything.
      return { phase: 'running', session: seen, ...at };
  }
}

const mostErrors = 20;

/** The errors that are told: a scale set has a sentence for each of its instances. */
export function errorsOf(status: StatusBody | null | undefined): string[] {
  const told: unknown = status?.packetCaptureError;
  const errors = (Array.isArray(told) ? told : []).filter((error) => typeof error === 'string');
  const some = errors.slice(0, mostErrors).map((error) => error.slice(0, 300));
  return errors.length > mostErrors ? [...some, `and ${errors.length - mostErrors} more`] : some;
}

// Manual, TimeExceeded and Error were seen. The word for the size limit is not known: one that speaks of size or bytes is taken
// for it, any other stays unknown here, and the size of the file that comes decides.
const causes = new Map<string, EndCause>([
  ['timeexceeded', 'time-limit'],
  ['manual', 'stopped'],
  ['error', 'error'],
]);

/** A scale set answers in a sentence: "3 VM Instance(s) stopped due to TimeExceeded Reasons." */
const sentence = /stopped due to (\w+) reasons?/gi;

function endCause(reason: string | undefined, errors: string[]): EndCause {
  const words = reason?.toLowerCase() ?? '';
  const told = [...words.matchAll(sentence)].map((match) => match[1] ?? '');
  const found = new Set((told.length > 0 ? told : [words]).map(causeOf));
  if (errors.length > 0 && (found.has('unknown') || found.has('error'))) return 'error';
  const [only = 'unknown'] = found;
  // Instances that ended for different reasons: an error of one is worth telling, the rest is not one reason.
  return found.size === 1 ? only : found.has('error') ? 'error' : 'unknown';
}

function causeOf(word: string): EndCause {
  return causes.get(word) ?? (/size|byte/.test(word) ? 'size-limit' : 'unknown');
}

/** ARM writes ISO times with up to seven digits; an old form of it is not a time we can trust, and no reason to fail. */
function readTime(text: string | undefined): Date | undefined {
  if (!text || !/^\d{4}-\d\d-\d\dT/.test(text)) return undefined;
  const time = new Date(text);
  return Number.isNaN(time.getTime()) ? undefined : time;
}

/** Why an operation failed, in ARM's words; undefined unless it did. */
export function failureOf(operation: unknown): string | undefined {
  const { status, error } = (operation as OperationBody) ?? {};
  if (status !== 'Failed' && status !== 'Canceled') return undefined;
  const text = [error?.code, error?.message].filter(Boolean).join(': ');
  return (text || `The operation ended ${status}`).slice(0, 300);
}
