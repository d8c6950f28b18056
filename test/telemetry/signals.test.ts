import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Receipt } from '../../shared/alert/receive.ts';
import type { Times } from '../../shared/config.ts';
import type { Session } from '../../shared/provider/provider.ts';
import { advance, IllegalMove, type RunEvent } from '../../shared/run/machine.ts';
import type { Run } from '../../shared/run/run.ts';
import { alertSignals } from '../../shared/telemetry/alert-signals.ts';
import { fileSignals } from '../../shared/telemetry/file-signals.ts';
import { runSignals } from '../../shared/telemetry/run-signals.ts';
import { attributeNames, metrics, spanNames, type Signal, type Span } from '../../shared/telemetry/signals.ts';
import { readTrace, traceNamed, traceOrNew } from '../../shared/telemetry/trace.ts';

// What stored changes of runs, notifications and files tell: without any SDK.

const times: Times = {
  startDeadlineMs: 3000,
  callTimeoutMs: 10_000,
  acceptedTimeoutMs: 120_000,
  startingTimeoutMs: 300_000,
  startRetryMs: 30_000,
  stopRetryMs: 30_000,
  stoppingAlarmMs: 600_000,
  fileTimeoutMs: 900_000,
  filesSettleMs: 60_000,
  limitGraceMs: 20_000,
};
const begin = Date.parse('2026-03-17T03:00:00Z');
const at = (seconds: number): Date => new Date(begin + seconds * 1000);
const trace = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
const invocation = { trace: traceNamed('poll'), function: 'poll', id: 'i-1' };
const session: Session = { id: '/…/packetCaptures/tripcap-main-x', errors: [] };
const known: Session = { ...session, status: 'Running', storagePath: 'https://a.blob.core.windows.net/c/x.cap' };
const running: RunEvent = { type: 'observe', seen: { phase: 'running', session: known, startedAt: at(4) } };
const ended: RunEvent = { type: 'observe', seen: { phase: 'ended', session: known, cause: 'time-limit' } };
const file: RunEvent = { type: 'file', file: { id: 'f1', packets: 10, bytes: 5000, verdict: 'captured' } };

function newRun(more: Partial<Run> = {}): Run {
  return {
    id: 'run1',
    provider: 'azure',
    target: '/subscriptions/s/…/virtualmachines/web01',
    state: 'accepted',
    trigger: { kind: 'alert', source: 'azure-monitor', alertId: 'a1', rule: 'any-vm', reason: 'Alert "x" fired' },
    capture: {},
    limits: { durationSeconds: 60, sizeBytes: 1e6 },
    stopOnResolve: false,
    trace,
    files: [],
    createdAt: at(0).toISOString(),
    timeline: [],
    ...more,
  };
}

/** Everything that a run tells which meets these events at these seconds. */
function told(events: [number, RunEvent][], run = newRun(), firedAt: Date | undefined = at(-30)): Signal[] {
  const signals = runSignals(run, undefined, invocation, firedAt);
  for (const [second, event] of events) {
    const before = run;
    run = advance(before, event, at(second), times);
    signals.push(...runSignals(run, before, invocation, firedAt));
  }
  return signals;
}

const isSpan = (signal: Signal): signal is Span => 'name' in signal;
const short = (span: Span) => [
  span.name,
  (span.from.getTime() - begin) / 1000,
  (span.to.getTime() - begin) / 1000,
  span.ok,
];
const spansOf = (signals: Signal[]) => signals.filter(isSpan).map(short);
const measured = (signals: Signal[]) =>
  signals.flatMap((s) => (isSpan(s) ? [] : [[s.metric, s.value, Object.values(s.dimensions).join(' ')]]));

const toRunning: [number, RunEvent][] = [
  [1, { type: 'ask', session }],
  [2, { type: 'asked', session: known }],
  [5, running],
];

describe('a run', () => {
  it('that goes well tells its stretches once each, in the operation of what set it off', () => {
    const signals = told([
      ...toRunning,
      [6, running],
      [70, ended],
      [75, file],
      [76, { type: 'removal-asked' }],
      [78, { type: 'removed' }],
      [79, { type: 'removed' }],
    ]);
    expect(spansOf(signals)).toEqual([
      ['tripcap.run.start', 0, 4, true],
      ['tripcap.run.capture', 4, 70, true],
      ['tripcap.run.file', 70, 75, true],
      ['tripcap.run', 0, 75, true],
      ['tripcap.run.removal', 76, 78, true],
    ]);
    expect(measured(signals)).toEqual([
      ['tripcap.runs.created', 1, 'azure alert'],
      ['tripcap.runs.start.seconds', 34, 'azure azure-monitor'],
      ['tripcap.runs.ended', 1, 'azure alert completed time-limit captured'],
    ]);
    const spans = signals.filter(isSpan);
    expect(new Set(spans.map((s) => s.trace))).toEqual(new Set([trace]));
    expect(spans[3]?.attributes).toEqual({
      function: 'poll',
      invocation: 'i-1',
      run: 'run1',
      provider: 'azure',
      target: '/subscriptions/s/…/virtualmachines/web01',
      state: 'completed',
      trigger: 'alert',
      rule: 'any-vm',
      alert: 'a1',
      stop: 'time-limit',
      verdict: 'captured',
    });
  });

  it('whose file comes before its end is seen waits for none', () => {
    const signals = told([...toRunning, [69, file], [70, ended]]);
    expect(spansOf(signals).map(([name]) => name)).toEqual(['tripcap.run.start', 'tripcap.run.capture', 'tripcap.run']);
  });

  it('that is refused tells a start that failed, and why', () => {
    const signals = told([
      [1, { type: 'delay', detail: 'https://secret.example/?sig=abc' }],
      [3, { type: 'refuse', code: 'agent-missing', detail: 'no agent; see https://secret.example/?sig=abc' }],
      [4, { type: 'removed' }],
    ]);
    expect(spansOf(signals)).toEqual([
      ['tripcap.run.start', 0, 3, false],
      ['tripcap.run', 0, 3, false],
    ]);
    expect(measured(signals).at(-1)).toEqual(['tripcap.runs.ended', 1, 'azure alert failed none agent-missing']);
    expect(JSON.stringify(signals)).not.toMatch(/secret|sig=|no agent|fired/);
  });

  it('that is stopped tells how long the stop took, and raises its alarm once', () => {
    const signals = told([
      ...toRunning,
      [10, { type: 'stop', reason: 'operator' }],
      [11, { type: 'stop-asked', session: known }],
      [700, { type: 'tick' }],
      [701, { type: 'tick' }],
      [702, { type: 'stop-asked', session: known }],
      [710, ended],
    ]);
    expect(spansOf(signals)).toEqual([
      ['tripcap.run.start', 0, 4, true],
      ['tripcap.run.capture', 4, 710, true],
      ['tripcap.run.stop', 10, 710, false],
    ]);
    expect(signals.find((s) => isSpan(s) && s.name === 'tripcap.run.stop')).toMatchObject({
      attributes: { stop: 'operator', asked: 2 },
    });
    expect(measured(signals).filter(([name]) => name === 'tripcap.runs.alarms')).toEqual([
      ['tripcap.runs.alarms', 1, 'azure'],
    ]);
  });

  it('without a file tells a wait in vain', () => {
    const signals = told([...toRunning, [70, ended], [1000, { type: 'tick' }]]);
    expect(spansOf(signals).slice(2)).toEqual([
      ['tripcap.run.file', 70, 1000, false],
      ['tripcap.run', 0, 1000, false],
    ]);
    expect(measured(signals).at(-1)).toEqual(['tripcap.runs.ended', 1, 'azure alert completed time-limit no-file']);
  });

  it('that was stopped before it was asked for tells no capture', () => {
    const signals = told([[2, { type: 'stop', reason: 'operator' }]]);
    expect(spansOf(signals)).toEqual([
      ['tripcap.run.start', 0, 2, true],
      ['tripcap.run', 0, 2, true],
    ]);
  });

  it('recorded without a trace has all its spans in one operation', () => {
    const { trace: _, ...bare } = newRun();
    const traces = new Set(
      told([...toRunning, [70, ended], [75, file]], bare).flatMap((s) => (isSpan(s) ? s.trace : [])),
    );
    expect([...traces]).toEqual([traceNamed('run1')]);
    expect(readTrace([...traces][0])).toBeDefined();
  });

  it('says no time of start to an alert that nobody knows, and never a negative one', () => {
    const start = (firedAt: Date | undefined) =>
      measured(told(toRunning, newRun(), firedAt)).filter(([name]) => name === 'tripcap.runs.start.seconds');
    expect(runSignals(advance(newRun(), { type: 'stop', reason: 'operator' }, at(1), times), newRun())).toHaveLength(3);
    expect(start(at(60))).toEqual([['tripcap.runs.start.seconds', 0, 'azure azure-monitor']]);
  });

  it('tells each stretch at most once and ends once, whatever happens to it, and within the closed lists', () => {
    const events: RunEvent[] = [
      { type: 'ask', session },
      { type: 'asked', session: known },
      { type: 'refuse', code: 'quota', detail: 'full' },
      { type: 'delay', detail: 'slow' },
      running,
      ended,
      { type: 'observe', seen: { phase: 'pending', session } },
      { type: 'observe', seen: { phase: 'refused', session, detail: 'AgentStopped' } },
      { type: 'observe', seen: { phase: 'gone' } },
      { type: 'stop', reason: 'alert-resolved' },
      { type: 'stop-asked', session: known },
      file,
      { type: 'tick' },
      { type: 'removal-asked' },
      { type: 'removed' },
    ];
    const step = fc.tuple(fc.integer({ min: 0, max: 400 }), fc.constantFrom(...events));
    fc.assert(
      fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
        let run = newRun();
        let second = 0;
        const signals = runSignals(run, undefined);
        for (const [wait, event] of steps) {
          const before = run;
          second += wait;
          try {
            run = advance(before, event, at(second), times);
          } catch (error) {
            if (!(error instanceof IllegalMove)) throw error;
            continue;
          }
          signals.push(...runSignals(run, before, invocation, at(-30)));
        }
        const spans = signals.filter(isSpan);
        // A session can be removed again.
        const once = spans.map((s) => s.name).filter((name) => name !== 'tripcap.run.removal');
        expect(new Set(once).size).toBe(once.length);
        const over = run.state === 'completed' || run.state === 'failed' ? 1 : 0;
        expect(spans.filter((s) => s.name === 'tripcap.run')).toHaveLength(over);
        expect(spans.filter((s) => s.name === 'tripcap.run.start').length).toBeGreaterThanOrEqual(over);
        for (const span of spans) expect(span.to.getTime()).toBeGreaterThanOrEqual(span.from.getTime());
        expectClosed(signals);
      }),
      { numRuns: 2000 },
    );
  });
});

describe('a notification', () => {
  const receipt: Receipt = {
    alertId: 'a1',
    externalId: 'sender-1',
    runs: [
      { id: 'r1', rule: 'x', target: 't1', created: true },
      { id: 'r2', rule: 'x', target: 't2', created: false },
    ],
    stopped: [],
    ignored: [
      { target: 't3', reason: 'no-rule', detail: 'No rule matches alert "payload text"' },
      { target: 't4', reason: 'no-rule', detail: 'No rule matches alert "payload text"' },
      { rule: 'x', target: 't5', reason: 'cooldown', detail: 'until 12:00' },
    ],
  };

  it('tells what it came to, also where it starts nothing', () => {
    const signals = alertSignals({ source: 'azure-monitor', condition: 'fired' }, receipt, at(0), at(1), {
      ...invocation,
      trace,
    });
    expect(signals[0]).toMatchObject({
      name: 'tripcap.alert',
      trace,
      from: at(0),
      to: at(1),
      attributes: { alert: 'a1', condition: 'fired', started: 1, ignored: 'cooldown,no-rule' },
    });
    expect(measured(signals)).toEqual([
      ['tripcap.alerts.received', 1, 'azure-monitor fired'],
      ['tripcap.starts.ignored', 2, 'alert no-rule'],
      ['tripcap.starts.ignored', 1, 'alert cooldown'],
    ]);
    expect(JSON.stringify(signals)).not.toMatch(/payload text|sender-1/);
    expectClosed(signals);
  });

  it('of an end counts nothing as ignored', () => {
    const ignored = [{ reason: 'resolved' as const, detail: '' }];
    const signals = alertSignals(
      { source: 'azure-monitor', condition: 'resolved' },
      { ...receipt, runs: [], stopped: ['r1'], ignored },
      at(0),
      at(1),
    );
    expect(measured(signals)).toEqual([['tripcap.alerts.received', 1, 'azure-monitor resolved']]);
    expect(signals[0]).toMatchObject({ attributes: { stopped: 1, started: 0 } });
  });
});

describe('a file', () => {
  const capture = {
    id: 'c1',
    bytes: 5000,
    packets: 10,
    verdict: { code: 'captured', summary: '10 packets', next: '' },
    lastPacketAt: '2026-03-17T03:01:05.000000001Z',
  };

  it('of a run belongs to the operation of that run', () => {
    const signals = fileSignals(capture, newRun({ stoppedAt: at(70).toISOString() }), at(73), at(75), invocation);
    expect(spansOf(signals)).toEqual([['tripcap.file.catalog', 73, 75, true]]);
    expect(signals[0]).toMatchObject({ trace, attributes: { run: 'run1', capture: 'c1', bytes: 5000, packets: 10 } });
    expect(measured(signals)).toEqual([
      ['tripcap.files.bytes', 5000, 'captured'],
      ['tripcap.files.packets', 10, 'captured'],
      ['tripcap.files.delay.seconds', 10, ''],
      ['tripcap.runs.file.seconds', 75, 'azure'],
    ]);
    expectClosed(signals);
  });

  it('of nobody belongs to the operation in which it was read; one that is none is to be looked at', () => {
    const { lastPacketAt: _, ...none } = {
      ...capture,
      packets: 0,
      verdict: { ...capture.verdict, code: 'not-a-capture' },
    };
    const signals = fileSignals(none, undefined, at(73), at(75), invocation);
    expect(signals[0]).toMatchObject({ trace: invocation.trace, ok: false, attributes: { verdict: 'not-a-capture' } });
    expect(measured(signals).map(([name]) => name)).toEqual(['tripcap.files.bytes', 'tripcap.files.packets']);
  });
});

describe('a traceparent', () => {
  it.each([
    ['none', undefined],
    ['empty', ''],
    ['of no trace', '00-00000000000000000000000000000000-b7ad6b7169203331-01'],
    ['of no span', '00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01'],
    ['of a forbidden version', 'ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'],
    ['in capitals', '00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01'],
    ['too short', '00-0af7651916cd43dd8448eb211c80319c-b7ad6b71692033'],
    ['of the old kind', '|0af7651916cd43dd8448eb211c80319c.b7ad6b7169203331.'],
  ])('%s is replaced by a new one', (_, text) => {
    expect(readTrace(text)).toBeUndefined();
    expect(readTrace(traceOrNew(text))).toBeDefined();
    expect(traceOrNew(text)).not.toBe(traceOrNew(text));
  });

  it('that can be used is used, whether its sender sampled it or not', () => {
    const unsampled = trace.replace(/01$/, '00');
    expect([trace, unsampled].map(traceOrNew)).toEqual([trace, unsampled]);
    expect(readTrace(unsampled)).toEqual({ traceId: '0af7651916cd43dd8448eb211c80319c', spanId: 'b7ad6b7169203331' });
  });
});

function expectClosed(signals: Signal[]): void {
  for (const signal of signals) {
    if (isSpan(signal)) {
      expect(spanNames).toContain(signal.name);
      expect(attributeNames).toEqual(expect.arrayContaining(Object.keys(signal.attributes)));
    } else expect(Object.keys(signal.dimensions)).toEqual(metrics[signal.metric].dimensions);
  }
}
