import type { CaptureRequest, EndCause, Limits, ProviderName, Session } from '../provider/provider.ts';

export const runStates = ['accepted', 'starting', 'running', 'stopping', 'collecting', 'completed', 'failed'] as const;
export type RunState = (typeof runStates)[number];

/** Why a run ended. A closed list: clients switch on it. */
export const stopReasons = [
  'time-limit',
  'size-limit',
  'budget',
  'alert-resolved',
  'operator',
  'replaced',
  'cloud',
  'lost',
  'leak',
] as const;
export type StopReason = (typeof stopReasons)[number];

/** What the timeline of a run can say. A closed list. */
export const timelineEvents = [
  'created',
  'start-asked',
  'start-delayed',
  'enable-asked',
  'running',
  'stop-requested',
  'stop-asked',
  'stop-failed',
  'ended',
  'alarm',
  'file',
  'completed',
  'failed',
  'removal-asked',
  'removed',
] as const;
export type TimelineEvent = (typeof timelineEvents)[number];

export type Trigger = {
  kind: 'alert' | 'schedule' | 'runbook';
  source?: string;
  alertId?: string;
  rule?: string;
  rulesVersion?: string;
  reason?: string;
  incident?: string;
};

type Stop = { reason: StopReason; by: 'tripcap' | 'cloud'; at: string; detail?: string };

/** What a row holds of a run's files; a ring may have thousands. */
export const mostFiles = 1000;

/** A catalogued file of the run, as far as its verdict needs it. */
export type RunFile = { id: string; packets: number; bytes: number; verdict: string };

export type Verdict = { code: string; summary: string; next: string };

/**
 * A run as it is stored: the members of the public contract and what the machine needs besides. Times are ISO 8601 UTC.
 */
export type Run = {
  id: string;
  provider: ProviderName;
  /** Canonical form. */
  target: string;
  state: RunState;
  trigger: Trigger;
  capture: CaptureRequest;
  limits: Limits;
  /** The alert's end stops the run. */
  stopOnResolve: boolean;
  /** W3C traceparent of what set it off: everything done for the run belongs to that operation. */
  trace?: string;
  /** SHA-256 of the request that an Idempotency-Key stands for. */
  requestHash?: string;
  /** Present from the moment before the cloud is asked. */
  session?: Session;
  /** When the cloud was first and last asked to start it. */
  firstAskedAt?: string;
  askedAt?: string;
  /** When the session, which was there and did not capture, was last told to. */
  enableAskedAt?: string;
  stopAskedAt?: string;
  /** When its file was last seen in storage and handed over for cataloguing. */
  fileSeenAt?: string;
  /** When a file of it was last catalogued. */
  fileAddedAt?: string;
  /** The machine was not there any more when no file had come. */
  targetGone?: true;
  stop?: Stop;
  /** What the cloud's own word for the end was taken to mean. */
  endCause?: EndCause;
  /** Since when somebody should look, because a stop is not confirmed. */
  alarmedAt?: string;
  files: RunFile[];
  verdict?: Verdict;
  createdAt: string;
  startedAt?: string;
  stoppedAt?: string;
  completedAt?: string;
  /** Removing the session from the cloud, after the end. */
  removal?: { askedAt: string; attempts: number; done: boolean };
  timeline: { at: string; event: TimelineEvent; detail?: string }[];
};

export function isFinal(state: RunState): boolean {
  return state === 'completed' || state === 'failed';
}

/** Something is still to be done about it: it is not over, or its session is still in the cloud. */
export function isOpen(run: Run): boolean {
  return !isFinal(run.state) || (run.askedAt !== undefined && !run.removal?.done);
}

/** False when the file stays on the machine. */
export function expectsFile(run: Run): boolean {
  return run.session?.storagePath !== undefined || run.session?.filePath === undefined;
}

/** The run as the API shows it; members that do not apply yet are absent. */
export function toView(run: Run): Record<string, unknown> {
  const {
    id,
    provider,
    target,
    state,
    trigger,
    capture,
    limits,
    session,
    stop,
    files,
    verdict,
    createdAt,
    startedAt,
    stoppedAt,
    completedAt,
    timeline,
  } = run;
  return {
    id,
    provider,
    target,
    state,
    trigger,
    capture,
    limits: { durationSeconds: limits.durationSeconds, sizeBytes: limits.sizeBytes },
    session: session && {
      id: session.id,
      status: session.status,
      errors: session.errors,
      storagePath: session.storagePath,
      filePath: session.filePath,
    },
    stop,
    captures: files.map((file) => file.id),
    verdict,
    createdAt,
    startedAt,
    stoppedAt,
    completedAt,
    timeline,
  };
}
