import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { attributeNames, metrics, spanNames } from '../../shared/telemetry/signals.ts';
import { alertFor, anyMachine, machine, runIn, startSandbox, type Sandbox } from '../sandbox/sandbox.ts';
import { until } from '../until.ts';
import { startCollector, type Collector, type Envelope } from './collector.ts';

// The bundle that ships, with the real SDK, from an alert's webhook to the catalogued file.

const operation = '0af7651916cd43dd8448eb211c80319c';
const caller = 'b7ad6b7169203331';

let collector: Collector;
let sandbox: Sandbox;
let stopped = false;
async function stopSandbox(): Promise<void> {
  if (!stopped) await sandbox.stop();
  stopped = true;
}
beforeAll(async () => {
  collector = await startCollector();
  sandbox = await startSandbox(anyMachine, {
    ...collector.env,
    APPLICATIONINSIGHTS_CONNECTION_STRING: collector.connectionString,
    // So that the queue comes between the request and the poll, and the end is left to the poll.
    TRIPCAP_START_DEADLINE_SECONDS: '0.5',
    TRIPCAP_POLL_SCHEDULE: '*/5 * * * * *',
    TRIPCAP_LIMIT_GRACE_SECONDS: '60',
  });
});
afterAll(async () => {
  await stopSandbox();
  await collector.stop();
});

const spans = (): Envelope[] => collector.envelopes.filter((e) => e.data.baseType === 'RemoteDependencyData');
const spanOf = (name: string, run: string): Envelope | undefined =>
  spans().find((e) => e.data.baseData.name === name && e.data.baseData.properties.run === run);

describe('from alert to catalogue', () => {
  let run: any;
  let alert: any;

  beforeAll(async () => {
    const polledAt = async () => (await sandbox.call('/health')).body.poll?.at;
    const before = await polledAt();
    await until('a poll', async () => (await polledAt()) !== before);
    alert = alertFor('aaaaaaaa-0000-0000-0000-00000000000a', [machine('web01')], {
      description: 'a secret of the sender',
    });
    const answer = await sandbox.call('/alerts/azure-monitor?code=key-of-the-sender', {
      method: 'POST',
      json: alert,
      headers: { traceparent: `00-${operation}-${caller}-01` },
    });
    run = await runIn(sandbox, answer.body.runs[0].id, ['completed', 'failed']);
    await until('its spans', () => spanOf('tripcap.run.removal', run.id) && spanOf('tripcap.file.catalog', run.id));
  });

  it('all spans are in the operation of the webhook, over queue, timer and blob', () => {
    expect(run.state).toBe('completed');
    const found = spans().filter((e) => e.data.baseData.properties.run === run.id);
    const functions = Object.fromEntries(found.map((e) => [e.data.baseData.name, e.data.baseData.properties.function]));
    // Who came first to the rest, nobody can say.
    expect(functions).toEqual({
      'tripcap.run.start': 'start',
      'tripcap.run.capture': 'poll',
      'tripcap.file.catalog': 'catalog',
      'tripcap.run': expect.any(String),
      'tripcap.run.removal': expect.any(String),
      ...('tripcap.run.file' in functions ? { 'tripcap.run.file': expect.any(String) } : {}),
    });
    const webhook = spans().find((e) => e.data.baseData.name === 'tripcap.alert');
    expect(webhook?.data.baseData.properties).toMatchObject({
      function: 'alerts-azure-monitor',
      alert: run.trigger.alertId,
      condition: 'fired',
      started: '1',
      ignored: '',
    });
    const all = [...found, webhook];
    expect(new Set(all.map((e) => e?.tags['ai.operation.id']))).toEqual(new Set([operation]));
    // Children of one invocation: the webhook's, not of who called it.
    const parents = new Set(all.map((e) => e?.tags['ai.operation.parentId']));
    expect(parents.size).toBe(1);
    expect(parents).not.toContain(caller);
    expect(new Set(all.map((e) => e?.data.baseData.type))).toEqual(new Set(['InProc']));
    expect(new Set(all.map((e) => e?.tags['ai.cloud.role']))).toEqual(new Set(['tripcap']));
  });

  it('the spans have the times of the run, and say what it came to', () => {
    const capture = spanOf('tripcap.run.capture', run.id);
    // The exporter reckons in fractions, and may be one millisecond short.
    expect(Math.abs(Date.parse(capture?.time ?? '') - Date.parse(run.startedAt))).toBeLessThanOrEqual(1);
    const [, h, m, s] = /^(?:\d+\.)?(\d+):(\d+):([\d.]+)$/.exec(capture?.data.baseData.duration) ?? [];
    expect(Number(h) * 3600 + Number(m) * 60 + Number(s)).toBeCloseTo(
      (Date.parse(run.stoppedAt) - Date.parse(run.startedAt)) / 1000,
      2,
    );
    expect(spanOf('tripcap.run', run.id)?.data.baseData).toMatchObject({
      success: true,
      properties: { target: machine('web01'), rule: 'any-vm', stop: 'time-limit', verdict: 'captured' },
    });
    expect(Number(spanOf('tripcap.file.catalog', run.id)?.data.baseData.properties.packets)).toBeGreaterThan(0);
  });

  it('an alert that starts nothing tells why', async () => {
    const answer = await sandbox.call('/alerts/azure-monitor', {
      method: 'POST',
      json: alertFor('aaaaaaaa-0000-0000-0000-00000000000b', [machine('missing01')]),
    });
    expect(answer.body.runs).toEqual([]);
    const span = await until('its span', () =>
      spans().find((e) => e.data.baseData.properties.alert === answer.body.alertId),
    );
    expect(span.data.baseData.properties).toMatchObject({ started: '0', ignored: 'unknown-target' });
    expect(span.tags['ai.operation.id']).not.toBe(operation);
  });

  it('the shutdown sends the measurements, none of them about one run or machine', async () => {
    await stopSandbox();
    const measured = collector.envelopes.filter((e) => e.data.baseType === 'MetricData');
    const value = (name: string, properties: Record<string, string> = {}) =>
      measured
        .filter((e) => e.data.baseData.metrics[0].name === name)
        .filter((e) => Object.entries(properties).every(([k, v]) => e.data.baseData.properties[k] === v))
        .reduce((sum, e) => sum + e.data.baseData.metrics[0].value, 0);
    expect(value('tripcap.alerts.received', { source: 'azure-monitor', condition: 'fired' })).toBe(2);
    expect(value('tripcap.starts.ignored', { trigger: 'alert', reason: 'unknown-target' })).toBe(1);
    expect(value('tripcap.runs.created', { provider: 'azure', trigger: 'alert' })).toBe(1);
    expect(value('tripcap.runs.ended', { state: 'completed', stop: 'time-limit', verdict: 'captured' })).toBe(1);
    expect(value('tripcap.provider.errors', { call: 'prepare', code: 'target-not-found' })).toBeGreaterThan(0);
    expect(value('tripcap.runs.start.seconds')).toBeGreaterThan(0);
    expect(value('tripcap.runs.file.seconds')).toBeGreaterThan(0);
    expect(value('tripcap.files.bytes')).toBeGreaterThan(0);
    expect(value('tripcap.files.packets')).toBeGreaterThan(0);
    const names = new Set(measured.map((e) => e.data.baseData.metrics[0].name as string));
    expect(Object.keys(metrics)).toEqual(expect.arrayContaining([...names]));
    expect(names).toContain('tripcap.poll.open');
    for (const { data } of measured)
      expect(new Set(Object.keys(data.baseData.properties))).toEqual(
        new Set(metrics[data.baseData.metrics[0].name as keyof typeof metrics].dimensions),
      );
  });

  it('nothing else was sent: no requests, logs or counters of the process, no payload, no key', () => {
    expect(new Set(collector.requests.map((r) => r.path))).toEqual(new Set(['POST /v2.1/track']));
    expect(new Set(collector.envelopes.map((e) => e.data.baseType))).toEqual(
      new Set(['RemoteDependencyData', 'MetricData']),
    );
    expect(spanNames).toEqual(expect.arrayContaining([...new Set(spans().map((e) => e.data.baseData.name))]));
    expect(attributeNames).toEqual(
      expect.arrayContaining([...new Set(spans().flatMap((e) => Object.keys(e.data.baseData.properties)))]),
    );
    const text = collector.bodies.join('\n');
    for (const secret of [
      alert.data.essentials.description,
      alert.data.essentials.alertRule,
      'key-of-the-sender',
      'Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq',
      'sig=',
      'code=',
      'Bearer',
      'http://',
      'https://',
    ])
      expect(text).not.toContain(secret);
  });

  it('the log has no word of trouble with telemetry', () => {
    expect(sandbox.said()).not.toMatch(/telemetry|Unexpected call to 'log'/);
  });
});
