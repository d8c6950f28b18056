import type { Attributes as Dimensions } from '@opentelemetry/api';
import { beforeDeadline, type Clock } from '../clock.ts';

import type { TokenSource } from '../identity.ts';
import type { Log } from '../log.ts';
import { once } from '../once.ts';
import type { Sink } from './reporting.ts';
import { metrics, type MetricName, type Signal, type Span } from './signals.ts';
import type { TelemetryConfig } from './settings.ts';
import { readTrace } from './trace.ts';

/** What is kept until the SDK is loaded; what comes on top of it is lost. */
const mostWaiting = 1000;
const flushMs = 5000;
const longestText = 400;

// What the SDK would collect of itself and its process; it takes these from the environment alone.
const nothingElse = {
  APPLICATION_INSIGHTS_NO_STATSBEAT: 'true',
  APPLICATIONINSIGHTS_SDKSTATS_DISABLED: 'true',
  APPLICATIONINSIGHTS_OPENTELEMETRY_RESOURCE_METRIC_DISABLED: 'true',
};

export type InsightsParts = TelemetryConfig & {
  /** Given when tokens are to be sent along. */
  credential: TokenSource | undefined;
  clock: Clock;
  log: Log;
};

type Out = { send: (signal: Signal) => void; flush: () => Promise<void> };

/**
 * Application Insights. Signals are kept in memory until the SDK is loaded, and sent in batches from then on: spans after some
 * seconds, measurements once a minute. What cannot be sent is dropped after a few tries, and said once.
 */
export class ApplicationInsights implements Sink {
  readonly #parts: InsightsParts;
  readonly #warnOnce: (what: string, error?: unknown) => void;
  readonly #out = once(() => this.#connect());
  #waiting: Signal[] = [];
  #connected: Out | undefined;
  #off = false;

  constructor(parts: InsightsParts) {
    this.#parts = parts;
    let warned = false;
    this.#warnOnce = (what, error) => {
      if (!warned)
        parts.log.warn(`telemetry cannot be sent; runs are not affected, and this is said once: ${what}`, { error });
      warned = true;
    };
  }

  send(signals: readonly Signal[]): void {
    if (this.#off) return;
    if (this.#connected) for (const signal of signals) this.#connected.send(signal);
    else this.#waiting.push(...signals.slice(0, mostWaiting - this.#waiting.length));
  }

  async load(): Promise<void> {
    if (this.#off) return;
    try {
      const out = await this.#out();
      this.#connected = out;
      for (const signal of this.#waiting) out.send(signal);
    } catch (error) {
      this.#off = true;
      this.#warnOnce('the SDK cannot be used', error);
    }
    this.#waiting = [];
  }

  async flush(): Promise<void> {
    if (this.#waiting.length > 0) await this.load();
    if (this.#connected) await beforeDeadline(this.#connected.flush(), undefined, this.#parts.clock.timeout(flushMs));
  }

  async #connect(): Promise<Out> {
    const { connectionString, role, instance, credential } = this.#parts;
    Object.assign(process.env, nothingElse);
    const sdk = await import('./insights.lazy.ts');
    // Not its debugging: only that it cannot do its work.
    const quiet = (): void => undefined;
    sdk.diag.setLogger(
      {
        error: (...said: unknown[]) =>
          this.#warnOnce(
            said
              .filter((word) => typeof word === 'string')
              .join(' ')
              .slice(0, 300),
          ),
        warn: quiet,
        info: quiet,
        debug: quiet,
        verbose: quiet,
      },
      { logLevel: sdk.DiagLogLevel.ERROR, suppressOverrideMessage: true },
    );
    const provider = new sdk.TelemetryClientProvider({
      azureMonitorExporterOptions: {
        connectionString,
        // Nothing of it is kept on disk: what became of a run stands in its record.
        disableOfflineStorage: true,
        ...(credential ? { credential } : {}),
      },
      // Few and all wanted.
      samplingRatio: 1,
      resource: sdk.resourceFromAttributes({
        'service.name': role,
        ...(instance ? { 'service.instance.id': instance } : {}),
      }),
    });
    const tracer = provider.getTracer('tripcap');
    const meter = provider.getMeter('tripcap');
    const instrument = (name: MetricName): ((value: number, dimensions: Dimensions) => void) => {
      switch (metrics[name].kind) {
        case 'counter': {
          const counter = meter.createCounter(name);
          return (value, dimensions) => counter.add(value, dimensions);
        }
        case 'histogram': {
          const histogram = meter.createHistogram(name);
          return (value, dimensions) => histogram.record(value, dimensions);
        }
        case 'gauge': {
          const gauge = meter.createGauge(name);
          return (value, dimensions) => gauge.record(value, dimensions);
        }
      }
    };
    const instruments = new Map((Object.keys(metrics) as MetricName[]).map((name) => [name, instrument(name)]));
    const sendSpan = ({ name, trace, from, to, ok, attributes }: Span): void => {
      const parent = readTrace(trace);
      // Sampled in any case: what the sender of an alert leaves out of its own traces is no measure for ours.
      const context = parent
        ? sdk.trace.setSpanContext(sdk.ROOT_CONTEXT, { ...parent, traceFlags: sdk.TraceFlags.SAMPLED, isRemote: true })
        : sdk.ROOT_CONTEXT;
      const span = tracer.startSpan(name, { startTime: from, attributes: clipped(attributes) }, context);
      if (!ok) span.setStatus({ code: sdk.SpanStatusCode.ERROR });
      span.end(to);
    };
    return {
      send: (signal) =>
        'metric' in signal ? instruments.get(signal.metric)?.(signal.value, signal.dimensions) : sendSpan(signal),
      flush: () => provider.flush(),
    };
  }
}

function clipped(attributes: Span['attributes']): Span['attributes'] {
  return Object.fromEntries(
    Object.entries(attributes).map(([name, value]) => [
      name,
      typeof value === 'string' ? value.slice(0, longestText) : value,
    ]),
  );
}
