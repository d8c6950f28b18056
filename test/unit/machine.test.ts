import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Times } from '../../shared/config.ts';
import {
  providerErrors,
  type Observation,
  type ProviderErrorCode,
  type Session,
} from '../../shared/provider/provider.ts';
import { advance, IllegalMove, type RunEvent } from '../../shared/run/machine.ts';
import { expectsFile, isFinal, isOpen, runStates, stopReasons, type Run, type RunFile } from '../../shared/run/run.ts';
import { runVerdicts } from '../../shared/run/verdict.ts';

const seconds = 1000;
const times: Times = {
  startDeadlineMs: 3 * seconds,
  callTimeoutMs: 10 * seconds,
  acceptedTimeoutMs: 120 * seconds,
  startingTimeoutMs: 300 * seconds,
  startRetryMs: 30 * seconds,
  stopRetryMs: 30 * seconds,
  stoppingAlarmMs: 600 * seconds,
  fileTimeoutMs: 900 * seconds,
  filesSettleMs: 60 * seconds,
  limitGraceMs: 20 * seconds,
};
const begin = Date.parse('2026-03-17T03:00:00Z');
const limitSeconds = 60;
const sizeBytes = 1_000_000;

const session: Session = { id: '/…/packetCaptures/tripcap-main-x', errors: [] };
const known: Session = { ...session, status: 'Running', storagePath: 'https://a.blob.core.windows.net/c/x.cap' };
const file: RunFile = { id: 'f1', packets: 10, bytes: 5000, verdict: 'captured' };

const seen = {
  pending: { phase: 'pending', session },
  running: { phase: 'running', session: known, startedAt: at(2) },
  full: { phase: 'running', session: known, startedAt: at(2), full: 'as much as it may' },
  ready: { phase: 'ready', session: known, cause: 'stopped' },
  ended: { phase: 'ended', session: known, startedAt: at(2), cause: 'time-limit', reason: 'TimeExceeded' },
  refused: { phase: 'refused', session, detail: 'AgentStopped' },
  gone: { phase: 'gone' },
} satisfies Record<string, Observation>;

const events = {
  ask: { type: 'ask', session },
  asked: { type: 'asked', session: known },
  refuse: { type: 'refuse', code: 'agent-missing', detail: 'no agent' },
  delay: { type: 'delay', detail: 'the cloud was slow' },
  pending: { type: 'observe', seen: seen.pending },
  running: { type: 'observe', seen: seen.running },
  full: { type: 'observe', seen: seen.full },
  ready: { type: 'observe', seen: seen.ready },
  readyBefore: { type: 'observe', seen: seen.ready, looked: 'starting' },
  enable: { type: 'enable' },
  ended: { type: 'observe', seen: seen.ended },
  refused: { type: 'observe', seen: seen.refused },
  gone: { type: 'observe', seen: seen.gone },
  stop: { type: 'stop', reason: 'operator' },
  stopAsked: { type: 'stop-asked', session },
  file: { type: 'file', file },
  targetGone: { type: 'target-gone' },
  tick: { type: 'tick' },
  removalAsked: { type: 'removal-asked' },
  removed: { type: 'removed' },
  removeAgain: { type: 'remove-again' },
} satisfies Record<string, RunEvent>;
type EventName = keyof typeof events;

/** Runs in each state, reached by events; what happens next happens at second 10, before any time is up. */
const runs = {
  accepted: fresh(),
  starting: play([1, events.ask]),
  running: play([1, events.ask], [3, events.running]),
  stopping: play([1, events.ask], [3, events.running], [5, events.stop]),
  collecting: play([1, events.ask], [3, events.running], [5, events.ended]),
  completed: play([1, events.ask], [3, events.running], [5, events.ended], [6, events.file]),
  failed: play([1, events.ask], [3, events.refuse]),
} satisfies Record<Run['state'], Run>;

describe('every state and every event', () => {
  // A state = the run goes there; '+' = it stays and something is noted; '=' = nothing changes, the same object comes back;
  // '!' = IllegalMove.
  const columns = Object.keys(runs) as Run['state'][];
  const table: Record<EventName, string> = {
    //            accepted   starting   running     stopping    collecting  completed  failed
    ask: '        starting   +          !           !           !           !          !',
    asked: '      +          +          +           +           +           =          =',
    refuse: '     failed     failed     =           =           =           =          =',
    delay: '      +          +          =           =           =           =          =',
    pending: '    =          +          +           +           =           =          =',
    running: '    =          running    +           +           =           =          =',
    full: '       =          running    stopping    +           =           =          =',
    ready: '      =          +          collecting  collecting  =           =          =',
    readyBefore: '=          +          +           +           =           =          =',
    enable: '     !          +          !           !           !           !          !',
    ended: '      =          collecting collecting  collecting  =           =          =',
    refused: '    =          failed     collecting  collecting  =           =          =',
    gone: '       =          =          collecting  collecting  =           =          =',
    stop: '       completed  stopping   stopping    =           =           =          =',
    stopAsked: '  =          =          =           +           =           =          =',
    file: '       +          +          +           +           completed   =          +',
    targetGone: ' =          =          =           =           +           =          =',
    tick: '       =          =          =           =           =           =          =',
    removalAsked: '+         +          +           +           +           +          +',
    removed: '    +          +          +           +           +           +          +',
    removeAgain: '=          =          =           =           =           =          =',
  };
  const cells = (Object.keys(events) as EventName[]).flatMap((event) =>
    columns.map((state, i) => [state, event, table[event].trim().split(/\s+/)[i] ?? ''] as const),
  );

  it('the table is whole', () => {
    expect(columns.toSorted((a, b) => a.localeCompare(b))).toEqual(runStates.toSorted((a, b) => a.localeCompare(b)));
    for (const state of columns) expect(runs[state].state).toBe(state);
    expect(cells.map(([, , cell]) => cell)).not.toContain('');
  });

  it.each(cells)('%s, %s: %s', (state, event, expected) => {
    const run = freeze(structuredClone(runs[state]));
    if (expected === '!') {
      expect(() => advance(run, events[event], at(10), times)).toThrow(IllegalMove);
      return;
    }
    const next = advance(run, events[event], at(10), times);
    expect(next.state).toBe(expected === '=' || expected === '+' ? state : expected);
    expect(next === run).toBe(expected === '=');
  });

  it('an illegal move says which run, which state and which event', () => {
    expect(() => advance(runs.running, events.ask, at(10), times)).toThrow('Run r1 is running: "ask" cannot happen');
  });
});

describe('a session that is there before it captures', () => {
  const enabled = play([1, events.ask], [2, events.ready], [3, events.enable]);

  it('is counted from when it was told to capture', () => {
    const run = advance(enabled, { type: 'observe', seen: { phase: 'running', session: known } }, at(9), times);
    expect(run).toMatchObject({ state: 'running', startedAt: at(3).toISOString() });
  });

  it.each<[string, Run, string, string]>([
    ['never told to', play([1, events.ask], [4, events.stop]), 'completed', 'never-started'],
    ['told to', advance(enabled, events.stop, at(4), times), 'collecting', ''],
  ])('and was stopped, %s: %s', (_, run, state, verdict) => {
    const next = advance(run, events.ready, at(10), times);
    expect(next.state).toBe(state);
    expect(next.verdict?.code ?? '').toBe(verdict);
  });

  it('and was stopped by a part of ours is so at the limit that it says', () => {
    const seenBy = { ...seen.ready, cause: 'size-limit', reason: 'the collector', byUs: true } as const;
    expect(advance(runs.running, { type: 'observe', seen: seenBy }, at(9), times).stop).toEqual({
      reason: 'size-limit',
      by: 'tripcap',
      at: at(9).toISOString(),
      detail: 'It is stopped at its limit (the collector)',
    });
  });

  it('and was stopped by a part of ours before anybody saw it capture is over, and not told to again', () => {
    const seenBy = { ...seen.ready, cause: 'time-limit', reason: 'the collector', byUs: true } as const;
    const next = advance(enabled, { type: 'observe', seen: seenBy, looked: 'starting' }, at(9), times);
    expect(next).toMatchObject({ state: 'collecting', stop: { reason: 'time-limit', by: 'tripcap' } });
    expect(next.startedAt).toBe(enabled.enableAskedAt);
  });

  it('and was given up on has failed, and says what was last waited for', () => {
    const waiting = play([1, events.ask], [2, { type: 'delay', detail: 'no collector' }]);
    const next = advance(tick(waiting, 400), events.ready, at(401), times);
    expect(next).toMatchObject({
      state: 'failed',
      verdict: { code: 'not-started', summary: 'No capture: no collector' },
    });
  });
});

describe('when time is up', () => {
  it('a session without a limit of its own is stopped at once', () => {
    const endless = advance(runs.running, { type: 'asked', session: { ...known, endless: true } }, at(4), times);
    expect(tick(endless, 2 + limitSeconds - 0.001).state).toBe('running');
    expect(tick(endless, 2 + limitSeconds)).toMatchObject({ state: 'stopping', stop: { detail: 'Its time is up' } });
  });

  const cases: [state: Run['state'], untouchedAt: number, movedAt: number, to: Run['state']][] = [
    ['accepted', 119.999, 120, 'failed'],
    ['starting', 300.999, 301, 'stopping'],
    // Running since second 2 by the cloud's word: limit and grace.
    ['running', 2 + 79.999, 2 + 80, 'stopping'],
    ['stopping', 5 + 599.999, 5 + 600, 'stopping'],
    ['collecting', 5 + 899.999, 5 + 900, 'completed'],
  ];
  it.each(cases)('%s: nothing at %d s, then at %d s: %s', (state, before, due, to) => {
    const run = runs[state];
    expect(tick(run, before)).toBe(run);
    const next = tick(run, due);
    expect(next.state).toBe(to);
    expect(next).not.toBe(run);
  });

  it.each(['completed', 'failed'] as const)('%s: never', (state) => {
    expect(tick(runs[state], 1e7)).toBe(runs[state]);
  });

  it('accepted fails with the last reason for the delay', () => {
    const delayed = play([1, { type: 'delay', detail: 'ARM answered 503' }]);
    expect(tick(delayed, 120)).toMatchObject({
      state: 'failed',
      completedAt: iso(120),
      verdict: { code: 'not-started', summary: 'No capture: ARM answered 503' },
    });
  });

  it('starting counts from the first time of asking, however often it is asked again', () => {
    const run = play([1, events.ask], [100, events.ask], [200, events.ask]);
    expect(run).toMatchObject({ firstAskedAt: iso(1), askedAt: iso(200) });
    expect(tick(run, 301)).toMatchObject({ state: 'stopping', stop: { reason: 'lost', by: 'tripcap', at: iso(301) } });
  });

  it('running is stopped by us when the cloud overran its limit', () => {
    expect(tick(runs.running, 82).stop).toMatchObject({ reason: 'time-limit', by: 'tripcap', at: iso(82) });
  });

  it("running counts from the cloud's time when it tells one, else from when it was seen", () => {
    const unknown = play([1, events.ask], [30, { type: 'observe', seen: { phase: 'running', session: known } }]);
    expect(unknown.startedAt).toBe(iso(30));
    expect(tick(unknown, 109.9)).toBe(unknown);
    expect(tick(unknown, 110).state).toBe('stopping');
  });

  it('running ends although the cloud says that it begins tomorrow', () => {
    const run = play(
      [1, events.ask],
      [3, { type: 'observe', seen: { phase: 'running', session: known, startedAt: at(86_400) } }],
    );
    expect(tick(run, 3 + limitSeconds + 20).state).toBe('stopping');
  });

  it('stopping alarms once', () => {
    const alarmed = tick(runs.stopping, 605);
    expect(alarmed.timeline.at(-1)).toMatchObject({ event: 'alarm' });
    expect(tick(alarmed, 5000)).toBe(alarmed);
  });

  it('a start that is not there is not lost at once, only after the retry time', () => {
    const stopping = play([1, events.ask], [5, events.stop]);
    expect(advance(stopping, events.gone, at(30.9), times)).toBe(stopping);
    expect(advance(stopping, events.gone, at(31), times).state).toBe('completed');
    const starting = runs.starting;
    expect(advance(starting, events.gone, at(200), times)).toBe(starting);
  });

  it('a start that was never confirmed and is not there has failed', () => {
    const lost = tick(runs.starting, 301);
    expect(advance(lost, events.gone, at(302), times)).toMatchObject({
      state: 'failed',
      completedAt: iso(302),
      verdict: { code: 'not-started' },
    });
  });

  it('a start that was never confirmed and is there after all is collected', () => {
    const lost = tick(runs.starting, 301);
    expect(advance(lost, events.ended, at(302), times)).toMatchObject({
      state: 'collecting',
      stop: { reason: 'lost', by: 'tripcap' },
      startedAt: iso(2),
    });
  });
});

describe('why a run ended', () => {
  const ended = (
    cause: 'time-limit' | 'size-limit' | 'stopped' | 'error' | 'unknown',
    errors: string[] = [],
  ): RunEvent => ({
    type: 'observe',
    seen: { phase: 'ended', session: { ...known, errors }, cause, reason: 'Word' },
  });

  it.each([
    ['time-limit', 'time-limit'],
    ['size-limit', 'size-limit'],
    ['stopped', 'cloud'],
    ['error', 'cloud'],
    ['unknown', 'cloud'],
  ] as const)('the cloud says %s: %s', (cause, reason) => {
    const next = advance(runs.running, ended(cause), at(20), times);
    expect(next.stop).toMatchObject({ reason, by: 'cloud', at: iso(20), detail: expect.stringContaining('(Word)') });
    expect(next.stoppedAt).toBe(iso(20));
  });

  it.each(['operator', 'alert-resolved', 'budget', 'replaced', 'leak'] as const)('our own %s stays', (reason) => {
    const stopping = advance(runs.running, { type: 'stop', reason, detail: 'because' }, at(10), times);
    const next = advance(stopping, ended('stopped'), at(20), times);
    expect(next.stop).toEqual({ reason, by: 'tripcap', at: iso(10), detail: 'because' });
    expect(next.stoppedAt).toBe(iso(20));
  });

  it("the cloud's error is worth more than our wish", () => {
    const next = advance(runs.stopping, ended('error', ['StorageFailed']), at(20), times);
    expect(next.stop).toMatchObject({ reason: 'cloud', by: 'cloud', detail: expect.stringContaining('StorageFailed') });
  });

  it('the first who stops it gives the reason', () => {
    const next = advance(runs.stopping, { type: 'stop', reason: 'alert-resolved' }, at(20), times);
    expect(next.stop?.reason).toBe('operator');
  });

  it('a running session that is gone is lost', () => {
    expect(advance(runs.running, events.gone, at(20), times).stop).toMatchObject({ reason: 'lost', by: 'cloud' });
    expect(advance(runs.stopping, events.gone, at(20), times).stop).toMatchObject({ reason: 'operator' });
  });
});

describe('the size limit, whose word nobody knows', () => {
  const unknown: RunEvent = {
    type: 'observe',
    seen: { phase: 'ended', session: known, cause: 'unknown', reason: 'MaxSize' },
  };
  const fileOf = (bytes: number): RunEvent => ({ type: 'file', file: { ...file, bytes } });
  const reasonAfter = (...steps: RunEvent[]) =>
    steps.reduce((run, event, i) => advance(run, event, at(20 + i), times), runs.running).stop?.reason;

  it.each([
    [sizeBytes, 'size-limit'],
    [sizeBytes * 0.98, 'size-limit'],
    [sizeBytes * 0.98 - 1, 'cloud'],
    [24, 'cloud'],
  ])('a file of %d bytes tells: %s', (bytes, reason) => {
    expect(reasonAfter(unknown, fileOf(bytes))).toBe(reason);
  });

  it('also when the file comes after the run was completed without it, or is written again', () => {
    expect(reasonAfter(unknown, fileOf(10), fileOf(sizeBytes))).toBe('size-limit');
    const late = tick(advance(runs.running, unknown, at(20), times), 2000);
    expect(late.state).toBe('completed');
    expect(advance(late, fileOf(sizeBytes), at(2001), times).stop?.reason).toBe('size-limit');
  });

  it('not when the reason is known, was ours, or there were errors', () => {
    expect(reasonAfter(events.ended, fileOf(sizeBytes))).toBe('time-limit');
    expect(reasonAfter(events.stop, unknown, fileOf(sizeBytes))).toBe('operator');
    const failed: RunEvent = {
      type: 'observe',
      seen: { phase: 'ended', session: { ...known, errors: ['LocalFileFailed'] }, cause: 'unknown' },
    };
    expect(reasonAfter(failed, fileOf(sizeBytes))).toBe('cloud');
  });

  it('also when the file comes before the end was seen', () => {
    expect(reasonAfter(fileOf(sizeBytes), unknown)).toBe('size-limit');
  });

  it("not when the cloud says that somebody stopped it ('Manual')", () => {
    const manual: RunEvent = {
      type: 'observe',
      seen: { phase: 'ended', session: known, cause: 'stopped', reason: 'Manual' },
    };
    expect(reasonAfter(manual, fileOf(sizeBytes))).toBe('cloud');
  });
});

describe('files and verdicts', () => {
  const verdictOf = (run: Run) => run.verdict?.code;
  const withFile = (part: Partial<RunFile>, run: Run = runs.collecting) =>
    advance(run, { type: 'file', file: { ...file, ...part } }, at(20), times);

  it.each([
    [{}, 'captured'],
    [{ packets: 0, verdict: 'empty' }, 'empty'],
    [{ verdict: 'damaged' }, 'damaged'],
    [{ packets: 0, verdict: 'not-a-capture' }, 'damaged'],
  ])('a file with %j: %s', (part, code) => {
    const next = withFile(part);
    expect(next).toMatchObject({ state: 'completed', completedAt: iso(20) });
    expect(verdictOf(next)).toBe(code);
  });

  it('no file: says where it should have come, with the advice', () => {
    const next = tick(runs.collecting, 5 + 900);
    expect(verdictOf(next)).toBe('no-file');
    expect(next.verdict?.summary).toContain('a.blob.core.windows.net/c/x.cap');
    expect(next.verdict?.next).toContain('storage');
  });

  it.each([
    [['StorageFailed'], /storage account/],
    [['LocalFileFailed'], /disk space/],
    [['AgentStopped'], /agent/],
    [['InternalError'], /agent's log/],
  ])('no file, and the cloud reports %j', (errors, advice) => {
    const ended = advance(
      runs.running,
      { type: 'observe', seen: { phase: 'ended', session: { ...known, errors }, cause: 'error' } },
      at(20),
      times,
    );
    const next = tick(ended, 2000);
    expect(verdictOf(next)).toBe('agent-error');
    expect(next.verdict?.summary).toContain(errors[0]);
    expect(next.verdict?.next).toMatch(advice);
  });

  it('a file on the machine alone is not waited for', () => {
    const onDisk: Session = { ...session, filePath: '/var/captures/x.cap' };
    const run = play(
      [1, { type: 'ask', session: onDisk }],
      [3, { type: 'observe', seen: { phase: 'running', session: onDisk } }],
      [9, { type: 'observe', seen: { phase: 'ended', session: onDisk, cause: 'time-limit' } }],
    );
    expect(expectsFile(run)).toBe(false);
    expect(run).toMatchObject({ state: 'completed', completedAt: iso(9), verdict: { code: 'on-machine' } });
    expect(run.verdict?.summary).toContain('/var/captures/x.cap');
  });

  it('a run that never ran says so', () => {
    const before = advance(fresh(), events.stop, at(1), times);
    expect(before).toMatchObject({ state: 'completed', stoppedAt: iso(1), stop: { reason: 'operator' } });
    expect(verdictOf(before)).toBe('never-started');
    const after = play([1, events.ask], [5, events.stop], [40, events.gone]);
    expect(after.state).toBe('completed');
    expect(verdictOf(after)).toBe('never-started');
  });

  it('a run that was stopped before it was seen has a time of its end, too', () => {
    expect(play([1, events.ask], [5, events.stop], [40, events.gone]).stoppedAt).toBe(iso(40));
  });

  it('a late file joins and renews the verdict; the run stays completed since then', () => {
    const without = tick(runs.collecting, 1000);
    const next = advance(without, events.file, at(2000), times);
    expect(next).toMatchObject({ state: 'completed', completedAt: iso(1000), files: [file] });
    expect(verdictOf(next)).toBe('captured');
    expect(next.timeline.at(-1)).toMatchObject({ at: iso(2000), event: 'file' });
  });

  it('a file that is written again takes its own place', () => {
    const next = withFile({ packets: 99, bytes: 9000 }, runs.completed);
    expect(next.files).toEqual([{ ...file, packets: 99, bytes: 9000 }]);
    expect(next.verdict?.summary).toContain('99 packets in one file');
    const two = withFile({ id: 'f2' }, runs.completed);
    expect(two.files).toHaveLength(2);
    expect(two.verdict?.summary).toContain('20 packets in 2 files');
  });

  it('the same file again changes nothing, but completes a run that waits', () => {
    expect(withFile({}, runs.completed)).toBe(runs.completed);
    const early = play([1, events.ask], [3, events.running], [4, events.file]);
    expect(early.state).toBe('running');
    expect(advance(early, events.file, at(5), times)).toBe(early);
    expect(advance(early, events.ended, at(6), times)).toMatchObject({
      state: 'completed',
      verdict: { code: 'captured' },
    });
    expect(advance({ ...runs.collecting, files: [file] }, events.file, at(8), times).state).toBe('completed');
  });

  it.each(Object.keys(providerErrors) as ProviderErrorCode[])(
    'refused with %s: the verdict says what to do',
    (code) => {
      const next = advance(runs.starting, { type: 'refuse', code, detail: 'words' }, at(9), times);
      expect(next).toMatchObject({
        state: 'failed',
        completedAt: iso(9),
        verdict: {
          code: providerErrors[code].retry ? 'not-started' : code,
          summary: 'No capture: words',
          next: providerErrors[code].retry
            ? expect.stringContaining('start the capture again')
            : providerErrors[code].next,
        },
      });
    },
  );

  it('refused by the cloud after the fact', () => {
    expect(advance(runs.starting, events.refused, at(9), times).verdict).toMatchObject({
      code: 'start-failed',
      summary: 'No capture: AgentStopped',
    });
  });

  it('a refusal that comes late does not make a run fail that ran', () => {
    expect(advance(runs.stopping, events.refuse, at(20), times).state).toBe('stopping');
  });
});

describe('what is known of the session', () => {
  it('is kept where an answer leaves it out, and replaced where it tells', () => {
    const asked = play([1, events.ask], [2, events.asked]);
    const next = advance(asked, { type: 'observe', seen: { phase: 'pending', session } }, at(3), times);
    expect(next.session).toEqual({
      ...session,
      status: 'Running',
      storagePath: known.storagePath,
      filePath: undefined,
    });
  });

  it('the first start time stays', () => {
    const next = advance(
      runs.running,
      { type: 'observe', seen: { phase: 'running', session: known, startedAt: at(50) } },
      at(51),
      times,
    );
    expect(next.startedAt).toBe(iso(2));
  });

  it.each(['running', 'asked'] as const)('%s that says nothing new changes nothing', (event) => {
    const once = advance(runs.running, events[event], at(10), times);
    expect(advance(once, events[event], at(30), times)).toEqual(once);
  });
});

describe('removal', () => {
  it('counts attempts, ends when done, and can be asked for again', () => {
    const asked = play2(runs.completed, events.removalAsked, events.removalAsked);
    expect(asked.removal).toEqual({ askedAt: iso(11), attempts: 2, done: false });
    expect(isOpen(asked)).toBe(true);
    const done = advance(asked, events.removed, at(20), times);
    expect(done.removal).toEqual({ askedAt: iso(20), attempts: 2, done: true });
    expect(isOpen(done)).toBe(false);
    expect(advance(done, events.removed, at(21), times)).toBe(done);
    const again = advance(done, events.removeAgain, at(22), times);
    expect(again.removal).toEqual({ askedAt: iso(22), attempts: 0, done: false });
    expect(isOpen(again)).toBe(true);
  });

  it('a run whose cloud was never asked has nothing to remove', () => {
    expect(isOpen(advance(fresh(), events.stop, at(1), times))).toBe(false);
    expect(isOpen(runs.failed)).toBe(true);
  });
});

describe('any sequence of events', () => {
  const rank: Record<Run['state'], number> = {
    accepted: 0,
    starting: 1,
    running: 2,
    stopping: 3,
    collecting: 4,
    completed: 5,
    failed: 5,
  };
  const anySession = fc.record({
    id: fc.constant(session.id),
    status: fc.option(fc.constantFrom('Updating', 'Running', 'Stopped'), { nil: undefined }),
    errors: fc.subarray(['AgentStopped', 'StorageFailed']),
    storagePath: fc.option(fc.constant('https://a.blob.core.windows.net/c/x.cap'), { nil: undefined }),
    filePath: fc.option(fc.constant('/var/captures/x.cap'), { nil: undefined }),
  });
  const startedAt = fc.option(fc.integer({ min: -100, max: 2000 }).map(at), { nil: undefined });
  const anyEvent: fc.Arbitrary<RunEvent> = fc.oneof(
    fc.constantFrom(...(Object.values(events) as RunEvent[])),
    { weight: 3, arbitrary: fc.constant<RunEvent>(events.tick) },
    fc.record({ type: fc.constant('ask' as const), session: anySession }),
    fc.record({ type: fc.constant('asked' as const), session: anySession }),
    fc.record({
      type: fc.constant('refuse' as const),
      code: fc.constantFrom(...(Object.keys(providerErrors) as ProviderErrorCode[])),
      detail: fc.string({ maxLength: 700 }),
    }),
    fc.record({ type: fc.constant('delay' as const), detail: fc.string() }),
    fc.record({ type: fc.constant('stop' as const), reason: fc.constantFrom(...stopReasons) }),
    fc.record({
      type: fc.constant('file' as const),
      file: fc.record({
        id: fc.constantFrom('f1', 'f2'),
        packets: fc.nat(3),
        bytes: fc.nat(2 * sizeBytes),
        verdict: fc.constantFrom('captured', 'damaged', 'empty', 'not-a-capture'),
      }),
    }),
    fc.record({
      type: fc.constant('observe' as const),
      seen: fc.oneof(
        fc.record({ phase: fc.constant('pending' as const), session: anySession }),
        fc.record({ phase: fc.constant('running' as const), session: anySession, startedAt }),
        fc.record({ phase: fc.constant('running' as const), session: anySession, full: fc.string() }),
        fc.record({
          phase: fc.constant('ready' as const),
          session: anySession,
          cause: fc.constantFrom('time-limit', 'stopped'),
        }),
        fc.record({
          phase: fc.constant('ended' as const),
          session: anySession,
          startedAt,
          cause: fc.constantFrom('time-limit', 'size-limit', 'stopped', 'error', 'unknown'),
          reason: fc.option(fc.string(), { nil: undefined }),
        }),
        fc.record({ phase: fc.constant('refused' as const), session: anySession, detail: fc.string() }),
        fc.constant({ phase: 'gone' as const }),
      ),
    }),
  );
  const steps = fc.array(fc.tuple(fc.integer({ min: 0, max: 400 }), anyEvent), { maxLength: 120, size: 'max' });

  it('keeps what must hold', () => {
    expect.hasAssertions();
    fc.assert(
      fc.property(steps, (all) => {
        let run = freeze(fresh());
        let now = 0;
        for (const [wait, event] of all) {
          now += wait;
          const next = freeze(tryAdvance(run, event, now));
          expectOrder(run, next);
          expectWhole(next, now);
          run = next;
        }
      }),
      { numRuns: 300 },
    );
  });

  it('comes to an end when time goes on, whatever happened before, once the cloud holds nothing', () => {
    expect.hasAssertions();
    fc.assert(
      fc.property(steps, (all) => {
        let run = fresh();
        let now = 0;
        for (const [wait, event] of all) run = tryAdvance(run, event, (now += wait));
        // Two rounds of poll after more than every limit: time passes, and the session is not there.
        for (let i = 0; i < 4; i++) {
          now += 4000;
          run = tryAdvance(run, events.gone, now);
          run = tryAdvance(run, events.tick, now);
        }
        expect(isFinal(run.state)).toBe(true);
      }),
      { numRuns: 200 },
    );
  });

  function expectOrder(run: Run, next: Run): void {
    expect(rank[next.state]).toBeGreaterThanOrEqual(rank[run.state]);
    if (isFinal(run.state)) {
      expect(next.state).toBe(run.state);
      expect(next.completedAt).toBe(run.completedAt);
    }
    if (run.startedAt !== undefined) expect(next.startedAt).toBe(run.startedAt);
    if (run.stop !== undefined) expect(next.stop).toBeDefined();
    if (run.session?.storagePath !== undefined && !isFinal(run.state)) expect(next.session?.id).toBeDefined();
    expect(next.files.length).toBeGreaterThanOrEqual(run.files.length);
  }

  function expectWhole(run: Run, now: number): void {
    expect(runStates).toContain(run.state);
    expect(run.timeline.length).toBeLessThanOrEqual(60);
    expect(run.timeline[0]?.event).toBe('created');
    const moments = run.timeline.map((entry) => Date.parse(entry.at));
    expect(moments.every((moment, i) => moment >= (moments[i - 1] ?? 0) && moment <= at(now).getTime())).toBe(true);
    expect(run.timeline.every((entry) => (entry.detail ?? '').length <= 500)).toBe(true);
    if (run.state !== 'accepted' && run.askedAt !== undefined) expect(run.session).toBeDefined();
    if (run.state === 'running') expect(run.startedAt).toBeDefined();
    if (['stopping', 'collecting', 'completed'].includes(run.state)) expect(stopReasons).toContain(run.stop?.reason);
    if (run.state === 'collecting') expect(run.stoppedAt).toBeDefined();
    if (!isFinal(run.state)) {
      expect(run.completedAt).toBeUndefined();
      expect(run.verdict).toBeUndefined();
      return;
    }
    expect(run.completedAt).toBeDefined();
    const codes: string[] = [...runVerdicts, ...Object.keys(providerErrors)];
    expect(codes).toContain(run.verdict?.code);
    expect(run.verdict?.summary).not.toBe('');
    expect(run.verdict?.next).not.toBe('');
  }
});

describe('a run with several files', () => {
  const many: Session = { ...known, manyFiles: true };
  const second: RunFile = { ...file, id: 'f2', packets: 5 };
  const ended: RunEvent = { type: 'observe', seen: { ...seen.ended, session: many } };
  const begun = [
    [1, { type: 'ask', session: { ...session, manyFiles: true } }],
    [3, { type: 'observe', seen: { phase: 'running', session: many, startedAt: at(2) } }],
  ] as const satisfies Parameters<typeof play>;

  it('is over when no more of them came for a while', () => {
    const run = play(...begun, [5, ended], [30, events.file], [80, { type: 'file', file: second }]);
    expect(run.state).toBe('collecting');
    expect(tick(run, 139.9)).toBe(run);
    const done = tick(run, 140);
    expect(done).toMatchObject({ state: 'completed', verdict: { code: 'captured' } });
    expect(done.verdict?.summary).toContain('15 packets in 2 files');
  });

  it('with files that came while it ran waits for the rest', () => {
    const run = play(...begun, [4, events.file], [100, ended]);
    expect(run.state).toBe('collecting');
    expect(tick(run, 159)).toBe(run);
    expect(tick(run, 160).state).toBe('completed');
  });

  it('waits as long as files are seen in storage that are not catalogued yet', () => {
    const run = play(...begun, [5, ended], [30, events.file], [70, { type: 'file-seen' }]);
    expect(tick(run, 129).state).toBe('collecting');
    expect(tick(run, 130).state).toBe('completed');
  });

  it('does not wait for ever for files that are seen and never catalogued', () => {
    let run = play(...begun, [5, ended], [30, events.file]);
    for (let second = 40; second < 2000 && run.state === 'collecting'; second += 20) {
      run = advance(run, { type: 'file-seen' }, at(second), times);
      // One that is there already is no news, either.
      run = advance(run, events.file, at(second), times);
      run = tick(run, second + 1);
    }
    expect(run).toMatchObject({ state: 'completed', verdict: { code: 'captured' } });
    expect(Date.parse(run.completedAt ?? '')).toBeLessThan(at(1000).getTime());
  });

  it('stays small enough for its row, however many come', () => {
    let run = play(...begun);
    for (let i = 0; i < 3000; i++)
      run = advance(run, { type: 'file', file: { ...file, id: `f${i}` } }, at(4 + i / 100), times);
    run = advance(run, { type: 'stop', reason: 'operator' }, at(50), times);
    run = tick(advance(run, ended, at(51), times), 200);
    expect(run.state).toBe('completed');
    expect(run.files).toHaveLength(1000);
    expect(JSON.stringify(run).length).toBeLessThan(200_000);
  });

  it('without any is given up on like every other', () => {
    const run = play(...begun, [5, ended]);
    expect(tick(run, 904).state).toBe('collecting');
    expect(tick(run, 905)).toMatchObject({ state: 'completed', verdict: { code: 'no-file' } });
  });
});

it('a file that was seen in storage is waited for twice as long', () => {
  const seenThere = advance(runs.collecting, { type: 'file-seen' }, at(100), times);
  expect(tick(seenThere, 5 + 1799).state).toBe('collecting');
  expect(tick(seenThere, 5 + 1800)).toMatchObject({ state: 'completed', verdict: { code: 'no-file' } });
});

describe('a machine that is gone', () => {
  it('is what the verdict says, before what the cloud reports', () => {
    const failed: Observation = {
      ...seen.ended,
      cause: 'error',
      session: { ...known, status: 'Stopped', errors: ['AgentStopped'] },
    };
    const run = play([1, events.ask], [3, events.running], [5, { type: 'observe', seen: failed }]);
    expect(tick(run, 905).verdict?.code).toBe('agent-error');
    const gone = advance(run, { type: 'target-gone' }, at(900), times);
    expect(tick(gone, 905).verdict).toMatchObject({
      code: 'target-gone',
      summary: 'No file came: the machine no longer exists (cloud)',
    });
  });
});

describe('a stop that the cloud took and that failed', () => {
  it('is told once, and asked for again in its time', () => {
    const asked: Session = { ...known, operations: { start: 'https://arm/1', stop: 'https://arm/2' } };
    const stopping = advance(runs.stopping, { type: 'stop-asked', session: asked }, at(6), times);
    expect(stopping.session?.operations?.stop).toBe('https://arm/2');
    const failure: Observation = { phase: 'running', session: asked, stopFailed: 'InternalServerError: An error' };
    const told = advance(stopping, { type: 'observe', seen: failure }, at(20), times);
    expect(told.state).toBe('stopping');
    expect(told.session?.operations).toEqual({ start: 'https://arm/1' });
    expect(told.timeline.at(-1)).toMatchObject({ event: 'stop-failed', detail: 'InternalServerError: An error' });
    // Another stop that was asked for while the first was looked at, and a path that was learned, are kept.
    const newer = { ...asked, operations: { stop: 'https://arm/3' }, storagePath: 'https://a/c/new.cap' };
    const again = advance(stopping, { type: 'stop-asked', session: newer }, at(19), times);
    const late = { ...failure, session: { ...asked, storagePath: undefined } };
    expect(advance(again, { type: 'observe', seen: late }, at(20), times).session).toMatchObject({
      operations: { stop: 'https://arm/3' },
      storagePath: 'https://a/c/new.cap',
    });
  });

  it('is of no interest any more when the session is gone', () => {
    const session = { ...known, operations: { start: 'https://arm/1', stop: 'https://arm/2' } };
    const removed = advance({ ...runs.completed, session }, events.removed, at(100), times);
    expect(removed.session).toEqual(known);
  });
});

describe('the timeline', () => {
  it('keeps the first ten entries and the newest', () => {
    let run = runs.stopping;
    for (let i = 0; i < 200; i++) run = advance(run, events.stopAsked, at(10 + i), times);
    expect(run.timeline).toHaveLength(60);
    expect(run.timeline.slice(0, 4).map((entry) => entry.event)).toEqual([
      'created',
      'start-asked',
      'running',
      'stop-requested',
    ]);
    expect(run.timeline.at(-1)?.at).toBe(iso(209));
  });

  it('notes a row of delays once', () => {
    const run = play([1, events.delay], [2, events.delay], [3, events.delay]);
    expect(run.timeline.map((entry) => entry.event)).toEqual(['created', 'start-delayed']);
  });

  it('cuts what is long', () => {
    const run = advance(fresh(), { type: 'delay', detail: 'x'.repeat(10_000) }, at(1), times);
    expect(run.timeline.at(-1)?.detail).toHaveLength(500);
  });
});

function at(second: number): Date {
  return new Date(begin + second * 1000);
}

function iso(second: number): string {
  return at(second).toISOString();
}

function fresh(): Run {
  return {
    id: 'r1',
    provider: 'azure',
    target: '/vm',
    state: 'accepted',
    trigger: { kind: 'runbook' },
    capture: {},
    limits: { durationSeconds: limitSeconds, sizeBytes },
    stopOnResolve: false,
    files: [],
    createdAt: iso(0),
    timeline: [{ at: iso(0), event: 'created' }],
  };
}

function play(...steps: [second: number, event: RunEvent][]): Run {
  return steps.reduce((run, [second, event]) => advance(run, event, at(second), times), fresh());
}

/** Events from second 10 on, one each second. */
function play2(run: Run, ...steps: RunEvent[]): Run {
  return steps.reduce((next, event, i) => advance(next, event, at(10 + i), times), run);
}

function tick(run: Run, second: number): Run {
  return advance(run, { type: 'tick' }, at(second), times);
}

function tryAdvance(run: Run, event: RunEvent, second: number): Run {
  try {
    return advance(run, event, at(second), times);
  } catch (error) {
    if (error instanceof IllegalMove) return run;
    throw error;
  }
}

function freeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    if (!(value instanceof Date)) Object.values(value).forEach(freeze);
  }
  return value;
}
