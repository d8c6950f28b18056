import { describe, expect, it } from 'vitest';
import type { Capture } from '../../shared/catalog/entry.ts';
import { systemClock } from '../../shared/clock.ts';
import { Problem } from '../../shared/problem.ts';
import { ProviderError, type Provider } from '../../shared/provider/provider.ts';
import type { Run } from '../../shared/run/run.ts';
import { Reporting, type ReportingParts } from '../../shared/telemetry/reporting.ts';
import type { Signal } from '../../shared/telemetry/signals.ts';
import { noTelemetry } from '../../shared/telemetry/telemetry.ts';

const began = new Date('2026-03-17T03:00:00Z');
const now = new Date('2026-03-17T03:00:10Z');

function reporting(more: Partial<ReportingParts> = {}) {
  const sent: Signal[] = [];
  const logged: string[] = [];
  const log = {
    info: (message: string) => void logged.push(message),
    warn: (message: string) => void logged.push(message),
    error: (message: string) => void logged.push(message),
  };
  const parts: ReportingParts = {
    sink: {
      send: (signals) => void sent.push(...signals),
      load: () => Promise.resolve(),
      flush: () => Promise.resolve(),
    },
    run: () => Promise.resolve(undefined),
    firedAt: () => Promise.resolve(began),
    invocation: () => undefined,
    clock: { ...systemClock, now: () => now },
    log,
    ...more,
  };
  return { sent, logged, telemetry: new Reporting(parts) };
}

const metricsOf = (sent: Signal[]) =>
  sent.flatMap((s) => ('metric' in s ? [[s.metric, s.value, ...Object.values(s.dimensions)]] : []));

const run = (more: Partial<Run> = {}): Run => ({
  id: 'r1',
  provider: 'azure',
  target: 't',
  state: 'starting',
  trigger: { kind: 'alert', source: 'azure-monitor', alertId: 'a1' },
  capture: {},
  limits: { durationSeconds: 60, sizeBytes: 1 },
  stopOnResolve: false,
  files: [],
  createdAt: began.toISOString(),
  timeline: [],
  ...more,
});
const started = run({ state: 'running', startedAt: '2026-03-17T03:00:07Z' });

describe('reporting', () => {
  it('looks up when the alert fired only for the change that starts the capture, and does without it when it cannot', async () => {
    const asked: string[] = [];
    const { sent, telemetry } = reporting({
      firedAt: (id) => {
        asked.push(id);
        return Promise.resolve(began);
      },
    });
    telemetry.runChanged(run());
    telemetry.runChanged(started, run());
    telemetry.runChanged(run({ state: 'stopping', startedAt: '2026-03-17T03:00:07Z' }), started);
    await telemetry.flush();
    expect(asked).toEqual(['a1']);
    expect(metricsOf(sent)).toContainEqual(['tripcap.runs.start.seconds', 7, 'azure', 'azure-monitor']);

    const blind = reporting({ firedAt: () => Promise.reject(new Error('storage is down')) });
    blind.telemetry.runChanged(started, run());
    await blind.telemetry.flush();
    expect(blind.sent.map((s) => ('name' in s ? s.name : s.metric))).toEqual(['tripcap.run.start']);
    expect(blind.logged).toEqual([]);
  });

  it('tells a file when it was read, not when it was known', async () => {
    const capture = { id: 'c1', bytes: 9, packets: 1, runId: 'r1', verdict: { code: 'captured' } } as Capture;
    const { sent, telemetry } = reporting({ run: (id) => Promise.resolve(run({ id, trace: 'its own' })) });
    telemetry.fileAdded({ ...capture, catalogedAt: '2026-03-16T00:00:00Z' }, began);
    telemetry.fileAdded(undefined, began);
    await telemetry.flush();
    expect(sent).toEqual([]);
    telemetry.fileAdded({ ...capture, catalogedAt: '2026-03-17T03:00:05Z' }, began);
    await telemetry.flush();
    expect(sent[0]).toMatchObject({ name: 'tripcap.file.catalog', trace: 'its own', from: began, to: now });
  });

  it('counts what a provider refuses by call and code, and leaves answers and errors as they are', async () => {
    const error = new ProviderError('throttled', 'slow down, see https://secret/');
    class Cloud {
      readonly name = 'azure';
      readonly #held = ['vm'];
      machinesNamed = () => Promise.resolve(this.#held);
      list() {
        return Promise.resolve(this.#held);
      }
      start() {
        return Promise.reject(error);
      }
      inspect() {
        return Promise.reject(new TypeError('a bug'));
      }
      target() {
        return undefined;
      }
    }
    const { sent, telemetry } = reporting();
    const watched = telemetry.watched(new Cloud() as unknown as Provider) as unknown as Cloud;
    expect(watched.name).toBe('azure');
    expect(await watched.list()).toEqual(['vm']);
    expect(watched.target()).toBeUndefined();
    await expect(watched.start()).rejects.toBe(error);
    await expect(watched.inspect()).rejects.toThrow('a bug');
    expect(sent).toEqual([
      {
        metric: 'tripcap.provider.errors',
        value: 1,
        dimensions: { provider: 'azure', call: 'start', code: 'throttled' },
      },
    ]);
    expect(noTelemetry.watched(watched as unknown as Provider)).toBe(watched);
  });

  it('counts refused runbooks by reason, and no other error', () => {
    const { sent, telemetry } = reporting();
    telemetry.startFailed(new Problem('refused', 'full', { members: { reason: 'concurrency' } }));
    telemetry.startFailed(new Problem('invalid-request', 'bad'));
    telemetry.startFailed(new Error('else'));
    telemetry.polled({ open: 3, alarms: 1 });
    expect(metricsOf(sent)).toEqual([
      ['tripcap.starts.ignored', 1, 'runbook', 'concurrency'],
      ['tripcap.poll.open', 3],
      ['tripcap.poll.alarms', 1],
    ]);
  });

  it('keeps its own faults to itself, and says so once', async () => {
    const send = (): never => {
      throw new Error('full');
    };
    const { logged, telemetry } = reporting({
      sink: { send, load: () => Promise.resolve(), flush: () => Promise.resolve() },
    });
    telemetry.runChanged(run());
    telemetry.runChanged(started, run());
    telemetry.runChanged(undefined as unknown as Run);
    await telemetry.flush();
    expect(logged).toHaveLength(1);
  });
});
