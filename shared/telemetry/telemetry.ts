import type { Alert } from '../alert/alert.ts';
import type { Receipt } from '../alert/receive.ts';
import type { Capture } from '../catalog/entry.ts';
import type { Provider } from '../provider/provider.ts';
import type { Run } from '../run/run.ts';

/** Who is told what became of alerts, runs and files. Telling never throws, never waits and never holds anything up. */
export interface Telemetry {
  /** A change of a run was stored; `before` is absent when the run is new. */
  runChanged(after: Run, before?: Run): void;
  /** A notification was dealt with, from `since` until now. */
  alertReceived(alert: Alert, receipt: Receipt, since: Date): void;
  /** A file was looked at, from `since` until now. */
  fileAdded(capture: Capture | undefined, since: Date): void;
  /** A runbook's start came to nothing. */
  startFailed(error: unknown): void;
  polled(seen: { open: number; alarms: number }): void;
  /** After the clouds were compared with our records. */
  reconciled(seen: { leaked: number }): void;
  /** The same provider; errors of its calls are told. */
  watched(provider: Provider): Provider;
  /** Loads what it takes to send. Blocks the process for a moment: to be called when nobody waits for an answer. */
  load(): Promise<void>;
  /** Sends what is left, for some seconds at most. */
  flush(): Promise<void>;
}

export const noTelemetry: Telemetry = {
  runChanged: () => undefined,
  alertReceived: () => undefined,
  fileAdded: () => undefined,
  startFailed: () => undefined,
  polled: () => undefined,
  reconciled: () => undefined,
  watched: (provider) => provider,
  load: () => Promise.resolve(),
  flush: () => Promise.resolve(),
};
