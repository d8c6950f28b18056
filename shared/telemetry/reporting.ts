import type { Alert } from '../alert/alert.ts';
import type { Receipt } from '../alert/receive.ts';
import type { Capture } from '../catalog/entry.ts';
import type { Clock } from '../clock.ts';
import type { Log } from '../log.ts';
import { Problem } from '../problem.ts';
import { ProviderError, type Provider } from '../provider/provider.ts';
import type { Run } from '../run/run.ts';
import { alertSignals } from './alert-signals.ts';
import { fileSignals } from './file-signals.ts';
import { isStart, runSignals } from './run-signals.ts';
import type { Invocation, Signal } from './signals.ts';
import type { Telemetry } from './telemetry.ts';

/** Where signals go. Neither throws nor waits. */
export interface Sink {
  send(signals: readonly Signal[]): void;
  load(): Promise<void>;
  flush(): Promise<void>;
}

export type ReportingParts = {
  sink: Sink;
  run: (id: string) => Promise<Run | undefined>;
  /** When an alert fired, by its id. */
  firedAt: (alertId: string) => Promise<Date | undefined>;
  /** What is being done at this moment. */
  invocation: () => Invocation | undefined;
  clock: Clock;
  log: Log;
};

/** Telemetry that is on: turns what happens into signals. What a signal needs besides is looked up without anybody waiting for it. */
export class Reporting implements Telemetry {
  readonly #parts: ReportingParts;
  readonly #pending = new Set<Promise<void>>();
  #faultTold = false;

  constructor(parts: ReportingParts) {
    this.#parts = parts;
  }

  runChanged(after: Run, before?: Run): void {
    const { invocation, firedAt } = this.#parts;
    this.#tell(() => {
      const at = invocation();
      const { kind, alertId } = after.trigger;
      if (kind !== 'alert' || alertId === undefined || !isStart(after, before)) return runSignals(after, before, at);
      const looked = firedAt(alertId).catch(() => undefined);
      return looked.then((fired) => runSignals(after, before, at, fired));
    });
  }

  alertReceived(alert: Alert, receipt: Receipt, since: Date): void {
    const { invocation, clock } = this.#parts;
    this.#tell(() => alertSignals(alert, receipt, since, clock.now(), invocation()));
  }

  fileAdded(capture: Capture | undefined, since: Date): void {
    const { run, invocation, clock } = this.#parts;
    this.#tell(() => {
      // What was catalogued before was told before.
      if (capture === undefined || new Date(capture.catalogedAt) < since) return [];
      const [at, now] = [invocation(), clock.now()];
      const looked =
        capture.runId === undefined ? Promise.resolve(undefined) : run(capture.runId).catch(() => undefined);
      return looked.then((owner) => fileSignals(capture, owner, since, now, at));
    });
  }

  startFailed(error: unknown): void {
    if (!(error instanceof Problem) || error.code !== 'refused') return;
    const reason = String(error.members['reason']);
    this.#tell(() => [{ metric: 'tripcap.starts.ignored', value: 1, dimensions: { trigger: 'runbook', reason } }]);
  }

  polled({ open, alarms }: { open: number; alarms: number }): void {
    this.#tell(() => [
      { metric: 'tripcap.poll.open', value: open, dimensions: {} },
      { metric: 'tripcap.poll.alarms', value: alarms, dimensions: {} },
    ]);
  }

  reconciled({ leaked }: { leaked: number }): void {
    this.#tell(() => [{ metric: 'tripcap.sessions.leaked', value: leaked, dimensions: {} }]);
  }

  watched(provider: Provider): Provider {
    const tell = (call: string, error: unknown): void => {
      if (!(error instanceof ProviderError)) return;
      const dimensions = { provider: provider.name, call, code: error.code };
      this.#tell(() => [{ metric: 'tripcap.provider.errors', value: 1, dimensions }]);
    };
    return new Proxy(provider, {
      get(target, call) {
        const member: unknown = Reflect.get(target, call, target);
        if (typeof member !== 'function') return member;
        return (...args: unknown[]): unknown => {
          const answer: unknown = Reflect.apply(member, target, args);
          if (answer instanceof Promise) answer.catch((error: unknown) => tell(String(call), error));
          return answer;
        };
      },
    });
  }

  load(): Promise<void> {
    return this.#parts.sink.load();
  }

  async flush(): Promise<void> {
    await Promise.all(this.#pending);
    await this.#parts.sink.flush();
  }

  /** A fault in here is nobody else's trouble; it is logged once. */
  #tell(make: () => Signal[] | Promise<Signal[]>): void {
    const { sink, log } = this.#parts;
    const failed = (error: unknown): void => {
      if (!this.#faultTold) log.error('telemetry: something could not be told; this is said once', { error });
      this.#faultTold = true;
    };
    try {
      const signals = make();
      if (!(signals instanceof Promise)) return sink.send(signals);
      const telling: Promise<void> = signals
        .then((made) => sink.send(made))
        .catch(failed)
        .finally(() => this.#pending.delete(telling));
      this.#pending.add(telling);
    } catch (error) {
      failed(error);
    }
  }
}
