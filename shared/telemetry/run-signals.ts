import { expectsFile, isFinal, type Run } from '../run/run.ts';
import type { Attributes, Invocation, Signal, Span, SpanName } from './signals.ts';
import { traceNamed } from './trace.ts';

/** Endings of a run that somebody should look at, beside those of runs that failed. */
const badVerdicts = ['damaged', 'no-file', 'agent-error'];

/**
 * What one stored change of a run tells: pure. A span is told when it is over, by whoever wrote the change that ended it, with the
 * times that the run itself holds; so it is told once, and is whole though its beginning and end lie in different processes. All
 * spans of a run are children of what set it off. `firedAt` is when its alert fired, where one is behind it.
 */
export function runSignals(after: Run, before: Run | undefined, at?: Invocation, firedAt?: Date): Signal[] {
  const { provider, trigger } = after;
  if (before === undefined)
    return [{ metric: 'tripcap.runs.created', value: 1, dimensions: { provider, trigger: trigger.kind } }];

  const span = (name: SpanName, from: string, to: string, ok: boolean, attributes: Attributes = {}): Span =>
    runSpan(after, name, new Date(from), new Date(to), ok, attributes, at);
  const signals: Signal[] = [];
  const { createdAt, startedAt, stoppedAt, completedAt, stop, removal } = after;
  const overNow = isFinal(after.state) && !isFinal(before.state);

  if (before.startedAt === undefined && (startedAt !== undefined || overNow)) {
    const until = startedAt ?? completedAt ?? createdAt;
    signals.push(
      span('tripcap.run.start', createdAt, until, after.state !== 'failed', { asked: count(after, 'start-asked') }),
    );
    if (startedAt !== undefined && firedAt !== undefined)
      signals.push({
        metric: 'tripcap.runs.start.seconds',
        value: secondsBetween(firedAt, new Date(startedAt)),
        dimensions: { provider, source: trigger.source ?? 'none' },
      });
  }
  if (before.stoppedAt === undefined && stoppedAt !== undefined) {
    const why: Attributes = stop === undefined ? {} : { stop: stop.reason, stopBy: stop.by };
    if (startedAt !== undefined)
      signals.push(
        span('tripcap.run.capture', startedAt, stoppedAt, after.endCause !== 'error' && stop?.reason !== 'lost', why),
      );
    if (before.state === 'stopping' && before.stop !== undefined)
      signals.push(
        span('tripcap.run.stop', before.stop.at, stoppedAt, after.alarmedAt === undefined, {
          stop: before.stop.reason,
          asked: count(after, 'stop-asked'),
        }),
      );
  }
  if (before.state === 'collecting' && overNow && stoppedAt !== undefined && completedAt !== undefined) {
    signals.push(span('tripcap.run.file', stoppedAt, completedAt, after.files.length > 0 || !expectsFile(after)));
  }
  if (overNow && completedAt !== undefined) {
    const verdict = after.verdict?.code ?? 'none';
    const reason = stop?.reason ?? 'none';
    const ok = after.state === 'completed' && !badVerdicts.includes(verdict);
    signals.push(span('tripcap.run', createdAt, completedAt, ok, { stop: reason, verdict }), {
      metric: 'tripcap.runs.ended',
      value: 1,
      dimensions: { provider, trigger: trigger.kind, state: after.state, stop: reason, verdict },
    });
  }
  if (before.alarmedAt === undefined && after.alarmedAt !== undefined)
    signals.push({ metric: 'tripcap.runs.alarms', value: 1, dimensions: { provider } });
  // A run that never had a session has none to remove.
  if (removal?.done && !before.removal?.done && removal.attempts > 0)
    signals.push(
      span('tripcap.run.removal', before.removal?.askedAt ?? removal.askedAt, removal.askedAt, true, {
        asked: removal.attempts,
      }),
    );
  return signals;
}

/** Whether the change is the one that says since when the capture runs. */
export function isStart(after: Run, before: Run | undefined): boolean {
  return before !== undefined && before.startedAt === undefined && after.startedAt !== undefined;
}

/** A span in the operation of a run, with what is said of every run. */
export function runSpan(
  run: Run,
  name: SpanName,
  from: Date,
  to: Date,
  ok: boolean,
  attributes: Attributes,
  at: Invocation | undefined,
): Span {
  const { id, provider, target, state, trigger, trace } = run;
  return {
    name,
    trace: trace ?? traceNamed(id),
    from,
    // The cloud's clock has a say in when it started.
    to: to < from ? from : to,
    ok,
    attributes: {
      ...invocationAttributes(at),
      run: id,
      provider,
      target,
      state,
      trigger: trigger.kind,
      ...(trigger.rule === undefined ? {} : { rule: trigger.rule }),
      ...(trigger.alertId === undefined ? {} : { alert: trigger.alertId }),
      ...attributes,
    },
  };
}

export function invocationAttributes(at: Invocation | undefined): Attributes {
  return at === undefined ? {} : { function: at.function, invocation: at.id };
}

/** Never below zero: the two ends may be of two clocks. */
export function secondsBetween(from: Date, to: Date): number {
  return Math.max(0, (to.getTime() - from.getTime()) / 1000);
}

function count(run: Run, event: Run['timeline'][number]['event']): number {
  return run.timeline.filter((entry) => entry.event === event).length;
}
