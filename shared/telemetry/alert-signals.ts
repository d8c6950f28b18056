import type { Alert } from '../alert/alert.ts';
import type { Receipt } from '../alert/receive.ts';
import { invocationAttributes } from './run-signals.ts';
import type { Invocation, Signal } from './signals.ts';
import { traceOrNew } from './trace.ts';

/** What one notification tells, also when it starts nothing: pure. */
export function alertSignals(
  alert: Pick<Alert, 'source' | 'condition'>,
  receipt: Receipt,
  from: Date,
  to: Date,
  at?: Invocation,
): Signal[] {
  const { source, condition } = alert;
  const reasons = Map.groupBy(receipt.ignored, ({ reason }) => reason);
  const signals: Signal[] = [
    {
      name: 'tripcap.alert',
      trace: traceOrNew(at?.trace),
      from,
      to,
      ok: true,
      attributes: {
        ...invocationAttributes(at),
        alert: receipt.alertId,
        source,
        condition,
        started: receipt.runs.filter((run) => run.created).length,
        stopped: receipt.stopped.length,
        ignored: [...reasons.keys()].toSorted().join(','),
      },
    },
    { metric: 'tripcap.alerts.received', value: 1, dimensions: { source, condition } },
  ];
  // Of a resolved alert nothing else was to be expected.
  if (condition === 'fired')
    for (const [reason, { length }] of reasons)
      signals.push({ metric: 'tripcap.starts.ignored', value: length, dimensions: { trigger: 'alert', reason } });
  return signals;
}
