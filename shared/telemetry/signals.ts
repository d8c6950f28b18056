/**
 * What is told to Application Insights: spans, each a stretch of time in one operation, and measurements. All names are closed
 * lists, which docs/telemetry.md explains. Nothing here carries payloads, keys, links or free text.
 */
export const spanNames = [
  'tripcap.alert',
  'tripcap.run',
  'tripcap.run.start',
  'tripcap.run.capture',
  'tripcap.run.stop',
  'tripcap.run.file',
  'tripcap.run.removal',
  'tripcap.file.catalog',
] as const;

/** What spans may say. Ids and targets are here and never on measurements, whose dimensions stay few. */
export const attributeNames = [
  'function',
  'invocation',
  'run',
  'provider',
  'target',
  'trigger',
  'rule',
  'alert',
  'source',
  'condition',
  'started',
  'stopped',
  'ignored',
  'state',
  'stop',
  'stopBy',
  'verdict',
  'asked',
  'capture',
  'bytes',
  'packets',
] as const;

/** Every measurement with its kind and dimensions. A counter adds up, a histogram has a distribution, a gauge is the last value seen. */
export const metrics = {
  'tripcap.alerts.received': { kind: 'counter', dimensions: ['source', 'condition'] },
  'tripcap.starts.ignored': { kind: 'counter', dimensions: ['trigger', 'reason'] },
  'tripcap.runs.created': { kind: 'counter', dimensions: ['provider', 'trigger'] },
  'tripcap.runs.ended': { kind: 'counter', dimensions: ['provider', 'trigger', 'state', 'stop', 'verdict'] },
  'tripcap.runs.alarms': { kind: 'counter', dimensions: ['provider'] },
  'tripcap.runs.start.seconds': { kind: 'histogram', dimensions: ['provider', 'source'] },
  'tripcap.runs.file.seconds': { kind: 'histogram', dimensions: ['provider'] },
  'tripcap.files.delay.seconds': { kind: 'histogram', dimensions: [] },
  'tripcap.files.bytes': { kind: 'histogram', dimensions: ['verdict'] },
  'tripcap.files.packets': { kind: 'histogram', dimensions: ['verdict'] },
  'tripcap.provider.errors': { kind: 'counter', dimensions: ['provider', 'call', 'code'] },
  'tripcap.poll.open': { kind: 'gauge', dimensions: [] },
  'tripcap.poll.alarms': { kind: 'gauge', dimensions: [] },
  'tripcap.sessions.leaked': { kind: 'gauge', dimensions: [] },
} as const satisfies Record<string, { kind: 'counter' | 'histogram' | 'gauge'; dimensions: readonly string[] }>;

export type SpanName = (typeof spanNames)[number];
export type MetricName = keyof typeof metrics;
export type Attributes = Partial<Record<(typeof attributeNames)[number], string | number>>;

export type Span = {
  name: SpanName;
  /** W3C traceparent that it is a child of. */
  trace: string;
  from: Date;
  to: Date;
  /** False when somebody should look at it. */
  ok: boolean;
  attributes: Attributes;
};

type Measurement = {
  [N in MetricName]: {
    metric: N;
    value: number;
    dimensions: Record<(typeof metrics)[N]['dimensions'][number], string>;
  };
}[MetricName];

export type Signal = Span | Measurement;

/** The function call in which something happens. */
export type Invocation = {
  /** W3C traceparent of it. */
  trace: string;
  /** Name of the function. */
  function: string;
  id: string;
};
