import type { Times } from '../config.ts';
import {
  providerErrors,
  type EndCause,
  type Observation,
  type ProviderErrorCode,
  type Session,
} from '../provider/provider.ts';
import {
  expectsFile,
  isFinal,
  mostFiles,
  type Run,
  type RunFile,
  type RunState,
  type StopReason,
  type TimelineEvent,
  type Verdict,
} from './run.ts';
import { agentAdvice, judge } from './verdict.ts';

/**
 * The state machine of a run: pure, no I/O, the time is passed in.
 *
 *   accepted ──ask──▶ starting ──seen running──▶ running ──limit, stop──▶ stopping ──seen ended──▶ collecting ──file──▶ completed
 *      │                 │  └──────── seen ended ────────┴── seen ended, gone ───────────────────────▲   └─time-out──────▲
 *      └─refused, time-out─▶ failed ◀─refused, never there─┘
 *
 * | state      | meaning                                    | moved on by                                  | at the latest after            |
 * | accepted   | recorded, the cloud was not asked          | the request itself, the queue, poll          | acceptedTimeoutMs → failed     |
 * | starting   | asked (written before the call is made)    | poll: asks again when nothing is there, and  | startingTimeoutMs → stopping   |
 * |            |                                            | for what is there and waits to be enabled    |                                |
 * | running    | the cloud said so                          | poll, a stop, the deadline message           | limit + grace (none where the  |
 * |            |                                            |                                              | cloud has no limit) → stopping |
 * | stopping   | an end is wanted, not confirmed            | poll: asks until confirmed; alarm in between | stoppingAlarmMs → alarm only   |
 * | collecting | over, the file is awaited; of several, as  | blob trigger, poll, sweep                    | fileTimeoutMs, filesSettleMs   |
 * |            | long as they keep coming                   |                                              | after the last → completed     |
 * | completed  | over, and the question of the file settled | a late file still joins and renews the verdict | |
 * | failed     | never ran                                  | | |
 *
 * After completed and failed the session is removed from the cloud (`removal`).
 */
export type RunEvent =
  /** Written before the cloud is called: from here on a session may exist. */
  | { type: 'ask'; session: Session }
  /** The cloud took the start. */
  | { type: 'asked'; session: Session }
  /** The cloud, or a check before the call, said no for good. */
  | { type: 'refuse'; code: ProviderErrorCode; detail: string; next?: string }
  /** Asking failed in a way that passes. */
  | { type: 'delay'; detail: string }
  /** `looked`: the run's state before it was looked at, when that matters. */
  | { type: 'observe'; seen: Observation; looked?: RunState }
  /** Written before a session that is there is told to capture. */
  | { type: 'enable' }
  | { type: 'stop'; reason: StopReason; detail?: string }
  | { type: 'stop-asked'; session: Session }
  /** The file is in storage and was handed over for cataloguing. */
  | { type: 'file-seen' }
  | { type: 'file'; file: RunFile }
  /** No file came, and the machine is not there any more. */
  | { type: 'target-gone' }
  | { type: 'tick' }
  | { type: 'removal-asked' }
  | { type: 'removed' }
  /** Somebody wants the session out of the cloud although it was removed already as far as we know. */
  | { type: 'remove-again' };

/** Thrown when an event cannot happen in a state: a bug, never a condition of the outside. */
export class IllegalMove extends Error {
  constructor(run: Run, event: RunEvent) {
    super(`Run ${run.id} is ${run.state}: "${event.type}" cannot happen`);
    this.name = 'IllegalMove';
  }
}

/** The run after the event; equal to the one before when the event changes nothing. */
export function advance(run: Run, event: RunEvent, now: Date, times: Times): Run {
  const at = now.toISOString();
  switch (event.type) {
    case 'ask':
      if (run.state !== 'accepted' && run.state !== 'starting') throw new IllegalMove(run, event);
      return note(
        { ...run, state: 'starting', session: event.session, firstAskedAt: run.firstAskedAt ?? at, askedAt: at },
        at,
        'start-asked',
      );
    case 'asked':
      if (isFinal(run.state) && !run.removal?.done) return run;
      // A process that stood still between asking and being heard may start what was over and removed meanwhile.
      return {
        ...run,
        session: merge(run.session, event.session),
        ...(run.removal?.done ? { removal: { askedAt: at, attempts: 0, done: false } } : {}),
      };
    case 'refuse':
      // A late "no" to a start that was seen running meanwhile: what is seen counts.
      if (isFinal(run.state) || run.startedAt !== undefined || run.state === 'collecting') return run;
      return fail(run, event.code, event.detail, at, event.next);
    case 'enable':
      if (run.state !== 'starting') throw new IllegalMove(run, event);
      return note({ ...run, enableAskedAt: at }, at, 'enable-asked');
    case 'delay':
      if (run.state !== 'accepted' && run.state !== 'starting') return run;
      return run.timeline.at(-1)?.event === 'start-delayed' ? run : note(run, at, 'start-delayed', event.detail);
    case 'observe':
      return observe(run, event, now, times);
    case 'stop':
      return requestStop(run, event.reason, event.detail, at);
    case 'stop-asked':
      return run.state === 'stopping'
        ? note({ ...run, session: merge(run.session, event.session), stopAskedAt: at }, at, 'stop-asked')
        : run;
    case 'file-seen':
      return run.state === 'collecting' ? { ...run, fileSeenAt: at } : run;
    case 'file':
      return addFile(run, event.file, at);
    case 'target-gone':
      return run.state === 'collecting' ? { ...run, targetGone: true } : run;
    case 'tick':
      return tick(run, now, times);
    case 'removal-asked':
      return note(
        { ...run, removal: { askedAt: at, attempts: (run.removal?.attempts ?? 0) + 1, done: false } },
        at,
        'removal-asked',
      );
    case 'removed':
      return run.removal?.done
        ? run
        : note(
            { ...withoutOperations(run), removal: { askedAt: at, attempts: run.removal?.attempts ?? 0, done: true } },
            at,
            'removed',
          );
    case 'remove-again':
      return run.removal === undefined ? run : { ...run, removal: { askedAt: at, attempts: 0, done: false } };
  }
}

function observe(
  run: Run,
  { seen, looked = run.state }: { seen: Observation; looked?: RunState },
  now: Date,
  times: Times,
): Run {
  const at = now.toISOString();
  if (seen.phase === 'gone') return gone(run, now, times);
  // What was asked for meanwhile is newer than what was looked at.
  const operations = run.session?.operations ?? seen.session.operations;
  const known: Run = { ...run, session: merge(run.session, { ...seen.session, operations }) };
  const startedAt =
    run.startedAt ?? ('startedAt' in seen && seen.startedAt ? believable(seen.startedAt, run, now) : undefined);
  switch (run.state) {
    case 'starting':
    case 'running':
    case 'stopping':
      break;
    case 'accepted':
    case 'collecting':
    case 'completed':
    case 'failed':
      return run;
  }
  switch (seen.phase) {
    case 'pending':
      return known;
    case 'ready':
      // Not enabled yet, or it did not show yet when it was looked at; what a part of ours has ended was.
      if (looked === 'starting' && !seen.byUs) return known;
      if (run.enableAskedAt === undefined && run.startedAt === undefined)
        return neverRan({ ...known, stoppedAt: at }, 'It was stopped before it was told to capture', at);
      return ended(known, startedAt ?? run.enableAskedAt ?? at, seen.cause, seen.reason, at, seen.byUs);
    case 'refused':
      return run.startedAt === undefined
        ? failWith(
            known,
            {
              code: 'start-failed',
              summary: `No capture: ${seen.detail}`,
              next: agentAdvice(known.session?.errors ?? []),
            },
            seen.detail,
            at,
          )
        : ended(known, run.startedAt, 'error', seen.detail, at);
    case 'running': {
      // Counted from when it was asked for, which is no later than when it began.
      const next = { ...known, startedAt: startedAt ?? run.enableAskedAt ?? at };
      if (run.state === 'starting') return note({ ...next, state: 'running' }, at, 'running');
      if (seen.full !== undefined) return requestStop(next, 'size-limit', seen.full, at);
      // What was asked for is over: told once, and asked again in its time.
      return seen.stopFailed === undefined
        ? next
        : note({ ...next, session: withoutStop(known.session, seen.session) }, at, 'stop-failed', seen.stopFailed);
    }
    case 'ended':
      return ended(known, startedAt ?? run.askedAt ?? at, seen.cause, seen.reason, at);
  }
}

/**
 * The cloud's word for when it started, within what we know ourselves: limits are counted from it, and a clock that is wrong
 * must not make a capture outlive them.
 */
function believable(seen: Date, run: Run, now: Date): string {
  const earliest = Date.parse(run.firstAskedAt ?? run.createdAt) - 60_000;
  return new Date(Math.min(Math.max(seen.getTime(), earliest), now.getTime())).toISOString();
}

function lastDelay(run: Run): string | undefined {
  return run.timeline.findLast((entry) => entry.event === 'start-delayed')?.detail;
}

/** The session is not in the cloud. */
function gone(run: Run, now: Date, times: Times): Run {
  const at = now.toISOString();
  // A start that was asked for a moment ago may still be under way.
  if (run.startedAt === undefined && elapsed(run.askedAt, now) < times.startRetryMs) return run;
  switch (run.state) {
    case 'running':
      return collect(
        {
          ...run,
          stop: run.stop ?? {
            reason: 'lost',
            by: 'cloud',
            at,
            detail: 'The session is no longer in the cloud; somebody or something else removed it',
          },
        },
        at,
        'the session is gone',
      );
    case 'stopping':
      if (run.startedAt !== undefined) return collect(run, at, 'the session is gone');
      return neverRan(
        { ...run, stoppedAt: at },
        'The cloud never confirmed the start, and holds no session of this run',
        at,
      );
    case 'accepted':
    case 'starting':
    case 'collecting':
    case 'completed':
    case 'failed':
      return run;
  }
}

/** Nothing was captured: an operator's wish is fulfilled, a start that was never confirmed has failed. */
function neverRan(run: Run, why: string, at: string): Run {
  return run.stop?.reason === 'lost' ? fail(run, 'unavailable', lastDelay(run) ?? why, at) : complete(run, at);
}

const endReasons: Record<EndCause, { reason: StopReason; say: string }> = {
  'time-limit': { reason: 'time-limit', say: 'The cloud ended it at the time limit' },
  'size-limit': { reason: 'size-limit', say: 'The cloud ended it at the size limit' },
  stopped: { reason: 'cloud', say: 'Somebody else stopped it in the cloud' },
  error: { reason: 'cloud', say: 'The cloud ended it with an error' },
  unknown: { reason: 'cloud', say: 'The cloud ended it without a reason that is known' },
};

function ended(
  run: Run,
  startedAt: string,
  cause: EndCause,
  word: string | undefined,
  at: string,
  byUs: boolean = false,
): Run {
  const { reason } = endReasons[cause];
  const by = byUs ? ('tripcap' as const) : ('cloud' as const);
  const errors = run.session?.errors ?? [];
  const isAsked = run.stop !== undefined && cause === 'stopped';
  const say = isAsked ? 'It is stopped' : byUs ? 'It is stopped at its limit' : endReasons[cause].say;
  const told = [say, word && `(${word})`, errors.length > 0 && `: ${errors.join(', ')}`].filter(Boolean).join(' ');
  const detail = told.slice(0, 500);
  // Whoever asked for the end first gave its reason; the cloud's own error is worth more than our wish.
  const stop = run.stop !== undefined && cause !== 'error' ? run.stop : { reason, by, at, detail };
  return collect({ ...run, startedAt, stop, endCause: cause }, at, detail);
}

function collect(run: Run, at: string, detail: string): Run {
  const next = withSizeLimit(note({ ...run, state: 'collecting', stoppedAt: at }, at, 'ended', detail));
  const nothingAwaited = !expectsFile(run) || (run.files.length > 0 && !run.session?.manyFiles);
  return nothingAwaited ? complete(next, at) : next;
}

/** The cloud's word for its size limit is not known; where it gave a word that we do not know, a file as large as was allowed tells. */
function withSizeLimit(run: Run): Run {
  const { session, stop, endCause, limits, files } = run;
  const unexplained = stop?.by === 'cloud' && endCause === 'unknown' && (session?.errors.length ?? 0) === 0;
  // The packet that would have been too much is not in the file.
  const full = Math.min(limits.sizeBytes * 0.98, limits.sizeBytes - 2048);
  if (!unexplained || !files.some((file) => file.bytes >= full)) return run;
  const detail = `The file reached the size limit; ${stop.detail ?? ''}`.trim();
  return { ...run, endCause: 'size-limit', stop: { ...stop, reason: 'size-limit', detail } };
}

function requestStop(run: Run, reason: StopReason, detail: string | undefined, at: string): Run {
  const stop = { reason, by: 'tripcap' as const, at, ...(detail === undefined ? {} : { detail }) };
  switch (run.state) {
    case 'accepted':
      return complete(note({ ...run, stop, stoppedAt: at }, at, 'stop-requested', reason), at);
    case 'starting':
    case 'running':
      return note({ ...run, state: 'stopping', stop }, at, 'stop-requested', reason);
    case 'stopping':
    case 'collecting':
    case 'completed':
    case 'failed':
      return run;
  }
}

function addFile(run: Run, file: RunFile, at: string): Run {
  const old = run.files.find((f) => f.id === file.id);
  // A row has its bounds: the catalogue knows the others, by their run.
  if (!old && run.files.length >= mostFiles) return run;
  const same = old && old.packets === file.packets && old.bytes === file.bytes && old.verdict === file.verdict;
  if (same && (run.state !== 'collecting' || run.session?.manyFiles)) return run;
  const files = old ? run.files.map((f) => (f.id === file.id ? file : f)) : [...run.files, file];
  const next = withSizeLimit(
    note({ ...run, files, fileAddedAt: at }, at, 'file', `${file.packets} packets, ${file.bytes} bytes`),
  );
  if (run.state === 'collecting' && !run.session?.manyFiles) return complete(next, at);
  return isFinal(run.state) ? { ...next, verdict: judge(next) } : next;
}

function tick(run: Run, now: Date, times: Times): Run {
  const at = now.toISOString();
  switch (run.state) {
    case 'accepted':
      if (elapsed(run.createdAt, now) < times.acceptedTimeoutMs) return run;
      return fail(run, 'unavailable', lastDelay(run) ?? 'The cloud could not be asked in time', at);
    case 'starting':
      return elapsed(run.firstAskedAt, now) < times.startingTimeoutMs
        ? run
        : requestStop(run, 'lost', 'The cloud did not confirm the start in time; it may exist, so it is stopped', at);
    case 'running':
      if (elapsed(run.startedAt, now) < mostMs(run, times)) return run;
      return run.session?.endless
        ? requestStop(run, 'time-limit', 'Its time is up', at)
        : requestStop(run, 'time-limit', 'Its time is up and the cloud had not ended it', at);
    case 'stopping':
      if (run.alarmedAt !== undefined || elapsed(run.stop?.at, now) < times.stoppingAlarmMs) return run;
      return note(
        { ...run, alarmedAt: at },
        at,
        'alarm',
        "The stop is not confirmed; the session may still be capturing. Look at it in the cloud's portal",
      );
    case 'collecting':
      return isFileTimeOver(run, now, times) ? complete(run, at) : run;
    case 'completed':
    case 'failed':
      return run;
  }
}

/** How long it may run before we stop it: what the cloud ends by itself, it is given a while for. */
export function mostMs({ limits, session }: Run, { limitGraceMs }: Times): number {
  return limits.durationSeconds * 1000 + (session?.endless ? 0 : limitGraceMs);
}

/** The wait for files is over: none came in time; or some came, and for a while no more of them. */
export function isFileTimeOver(run: Run, now: Date, times: Times): boolean {
  // One that was seen in storage is there, and only has to be read: it is waited for twice as long.
  if (run.files.length === 0)
    return elapsed(run.stoppedAt, now) >= times.fileTimeoutMs * (run.fileSeenAt === undefined ? 1 : 2);
  // What was seen and is still not added when the time for files is up is not waited for any more.
  const seenAt = elapsed(run.stoppedAt, now) < times.fileTimeoutMs ? run.fileSeenAt : undefined;
  const moments = [run.stoppedAt, run.fileAddedAt, seenAt].filter((at) => at !== undefined);
  return moments.every((at) => elapsed(at, now) >= times.filesSettleMs);
}

function complete(run: Run, at: string): Run {
  const next: Run = { ...run, state: 'completed', completedAt: at };
  const verdict = judge(next);
  return note({ ...next, verdict }, at, 'completed', verdict.summary);
}

function fail(run: Run, code: ProviderErrorCode, detail: string, at: string, next?: string): Run {
  const summary = `No capture: ${detail}`;
  if (!providerErrors[code].retry)
    return failWith(run, { code, summary, next: next ?? providerErrors[code].next }, detail, at);
  // What was tried again until its time was up is not tried any more.
  const then = 'Nothing is running. See that the cloud answers, then start the capture again.';
  return failWith(run, { code: 'not-started', summary, next: then }, detail, at);
}

function failWith(run: Run, verdict: Verdict, detail: string, at: string): Run {
  return note({ ...run, state: 'failed', completedAt: at, verdict }, at, 'failed', detail);
}

/** What is newly known wins; what an answer leaves out is kept. */
function merge(old: Session | undefined, seen: Session): Session {
  return {
    ...old,
    ...seen,
    storagePath: seen.storagePath ?? old?.storagePath,
    filePath: seen.filePath ?? old?.filePath,
    ...(seen.operations || old?.operations ? { operations: { ...old?.operations, ...seen.operations } } : {}),
  };
}

/** Nobody asks any more how what was asked for went. */
function withoutOperations(run: Run): Run {
  if (!run.session?.operations) return run;
  const { operations: _, ...session } = run.session;
  return { ...run, session };
}

/** Without the operation of the stop that was looked at; another one may have been asked for meanwhile. */
function withoutStop(session: Session | undefined, looked: Session): Session {
  const { stop, ...operations } = session?.operations ?? {};
  const kept = stop === looked.operations?.stop ? operations : { ...operations, stop };
  return { ...looked, ...session, operations: kept };
}

function elapsed(since: string | undefined, now: Date): number {
  return since === undefined ? 0 : now.getTime() - Date.parse(since);
}

const timelineLength = 60;

/** The first ten entries stay, and the newest; a row must not grow without end. */
function note(run: Run, at: string, event: TimelineEvent, detail?: string): Run {
  const entry = { at, event, ...(detail === undefined ? {} : { detail: detail.slice(0, 500) }) };
  const timeline =
    run.timeline.length < timelineLength ? run.timeline : [...run.timeline.slice(0, 10), ...run.timeline.slice(11)];
  return { ...run, timeline: [...timeline, entry] };
}
