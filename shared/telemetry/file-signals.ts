import type { Capture } from '../catalog/entry.ts';
import type { Run } from '../run/run.ts';
import { invocationAttributes, runSpan, secondsBetween } from './run-signals.ts';
import type { Attributes, Invocation, Signal } from './signals.ts';
import { traceOrNew } from './trace.ts';

/** What the reading of one file tells: pure. `run` is the one it belongs to, where there is one. */
export function fileSignals(
  capture: Pick<Capture, 'id' | 'bytes' | 'packets' | 'verdict' | 'lastPacketAt'>,
  run: Run | undefined,
  from: Date,
  to: Date,
  at?: Invocation,
): Signal[] {
  const { id, bytes, packets, lastPacketAt } = capture;
  const verdict = capture.verdict.code;
  const ok = verdict === 'captured' || verdict === 'empty';
  const attributes: Attributes = { capture: id, bytes, packets, verdict };
  const signals: Signal[] = [
    run
      ? runSpan(run, 'tripcap.file.catalog', from, to, ok, attributes, at)
      : {
          name: 'tripcap.file.catalog',
          trace: traceOrNew(at?.trace),
          from,
          to,
          ok,
          attributes: { ...invocationAttributes(at), ...attributes },
        },
    { metric: 'tripcap.files.bytes', value: bytes, dimensions: { verdict } },
    { metric: 'tripcap.files.packets', value: packets, dimensions: { verdict } },
  ];
  if (lastPacketAt !== undefined)
    signals.push({
      metric: 'tripcap.files.delay.seconds',
      value: secondsBetween(new Date(lastPacketAt), to),
      dimensions: {},
    });
  if (run)
    signals.push({
      metric: 'tripcap.runs.file.seconds',
      value: secondsBetween(new Date(run.createdAt), to),
      dimensions: { provider: run.provider },
    });
  return signals;
}
