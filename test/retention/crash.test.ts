import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { account, container, dyingAfter, hours, newRun, notification, rule, seconds, upload } from '../run/world.ts';
import type { Tap } from '../run/world.ts';
import { days, nothing, removeFile, useStorage, Years } from './years.ts';

useStorage();

const file = readFileSync(join(import.meta.dirname, '../fixtures/pcaps/tcpdump/DTP.pcap'));

type Ids = { alert: string; run: string; capture: string; blob: string };

/** One alert of long ago whose file is gone, and one whose file is there. */
async function twoOld(): Promise<{ years: Years; gone: Ids; kept: Ids }> {
  const years = new Years();
  years.rules = [rule('r', { cooldownSeconds: 60 })];
  const gone = await years.captured('gone', file);
  await removeFile(gone.blob);
  const kept = await years.captured('kept', file);
  years.clock.advance(600 * days);
  return { years, gone, kept };
}

/** And one of today. */
async function threeAges(): Promise<{ years: Years; gone: Ids; kept: Ids; fresh: Ids }> {
  const old = await twoOld();
  return { ...old, fresh: await old.years.captured('fresh', file) };
}

/** Whatever was done so far: what is to stay is there and listed, and no record is without its place in its list. */
async function expectSound(years: Years, staying: Ids[]): Promise<void> {
  const app = years.process();
  const rows = await years.rows();
  const alerts = (await app.alerts.list({ limit: 10 })).items;
  for (const { alert, run, capture, blob } of staying) {
    expect((await app.runs.list({ limit: 10 }, { alert })).items.map(({ id }) => id)).toEqual([run]);
    expect((await app.captures.list({ limit: 10 }, { run })).items.map(({ id }) => id)).toEqual([capture]);
    expect(alerts.map(({ id }) => id)).toContain(alert);
    expect(await app.runs.claimant(container, blob)).toBe(run);
  }
  for (const [, table, id] of rows.map((row) => /^(\w+):(\w{26})\//.exec(row) ?? []))
    if (id) expect(rows).toContainEqual(expect.stringMatching(`^${table}:index/\\d{13}-${id}$`));
}

describe('retention that is killed', () => {
  it(
    'at every third call leaves sound lists behind, and the next one ends its work',
    { timeout: 120_000 },
    async () => {
      const { years, gone, kept } = await twoOld();
      const restore = await years.remember();
      await years.retain();
      const afterwards = (await years.rows()).toSorted();
      expect(afterwards.join()).not.toContain(gone.run);
      let calls = 0;
      for (let died = true; died; calls += 3) {
        await restore();
        const dying = dyingAfter(calls);
        await years.retain(dying.tap).catch(() => undefined);
        died = dying.died();
        await expectSound(years, [kept]);
        expect(await years.retain()).toMatchObject({ unfinished: [], failed: [] });
        expect((await years.rows()).toSorted()).toEqual(afterwards);
      }
      expect(calls).toBeGreaterThan(40);
    },
  );
});

describe('two at once', () => {
  it('remove each thing once, and nothing else', async () => {
    const { years, kept, fresh } = await threeAges();
    const restore = await years.remember();
    const alone = await years.retain();
    const afterwards = (await years.rows()).toSorted();
    for (let round = 0; round < 5; round++) {
      await restore();
      const both = await Promise.all([years.retain(), years.retain()]);
      const sum = (kind: keyof typeof nothing) => both.reduce((n, { removed }) => n + removed[kind], 0);
      for (const kind of ['runs', 'alerts', 'capture entries', 'cool-downs'] as const)
        expect([kind, sum(kind)]).toEqual([kind, alone.removed[kind]]);
      expect(both.flatMap(({ failed }) => failed)).toEqual([]);
      expect((await years.rows()).toSorted()).toEqual(afterwards);
      await expectSound(years, [kept, fresh]);
    }
  });
});

describe('what somebody writes while it is being removed', () => {
  /** Does something once, just before what is named like this is removed. */
  const justBefore = (port: string, name: RegExp, work: () => Promise<unknown>): Tap => {
    let done = false;
    return async (call) => {
      if (done || call.port !== port || call.method !== 'remove' || !name.test(call.args.slice(0, 2).join('/'))) return;
      done = true;
      await work();
    };
  };

  it('an alert: its record stays, and is found by its sender as before', async () => {
    const { years, gone } = await threeAges();
    const app = years.process();
    const record = await app.alerts.require(gone.alert);
    const rows = (await years.rows()).filter((row) => row.startsWith('alerts:'));
    const end = () =>
      app.receive(
        notification({
          id: '/alerts/gone',
          firedAt: record.firedAt,
          resolvedAt: years.clock.now().toISOString(),
          origin: 'o-gone',
        }),
      );
    expect(await years.retain(justBefore('alerts', /\/alert$/, end))).toMatchObject({
      removed: { alerts: 0, runs: 1 },
    });
    expect((await app.alerts.get(gone.alert))?.resolved).toBeDefined();
    expect((await years.rows()).filter((row) => row.startsWith('alerts:')).toSorted()).toEqual(rows.toSorted());
  });

  it('a run: it stays, with its claim', async () => {
    const { years, gone } = await threeAges();
    const app = years.process();
    const rows = (await years.rows()).filter((row) => row.startsWith('runs:'));
    const removeAgain = () => app.lifecycle.remove(gone.run);
    expect(await years.retain(justBefore('runs', /^\w{26}\/run$/, removeAgain))).toMatchObject({
      removed: { alerts: 0, runs: 0 },
    });
    expect((await app.runs.get(gone.run))?.timeline.at(-1)?.event).toBe('removed');
    expect((await years.rows()).filter((row) => row.startsWith('runs:')).toSorted()).toEqual(rows.toSorted());
  });

  it("a claim, which another run takes over: it is that one's", async () => {
    const { years, gone } = await threeAges();
    const { runs } = years.process();
    const takeOver = () => runs.claim(container, gone.blob, '0'.repeat(26));
    expect(await years.retain(justBefore('runs', /^path-/, takeOver))).toMatchObject({ removed: { runs: 1 } });
    expect(await runs.claimant(container, gone.blob)).toBe('0'.repeat(26));
  });

  it('an entry, since its file is there again: it stays in both lists', async () => {
    const { years, gone } = await threeAges();
    const app = years.process();
    const again = async () => {
      await upload(gone.blob, file.subarray(0, 200));
      await app.lifecycle.addFile(account, container, gone.blob);
    };
    expect(await years.retain(justBefore('captures', /\/capture$/, again))).toMatchObject({
      removed: { ...nothing, 'capture entries': 0, runs: 0, alerts: 0, 'raw alerts': 2 },
    });
    await expectSound(years, [gone]);
    await removeFile(gone.blob);
  });

  it('a payload, which has come again: it stays', async () => {
    const { years, gone } = await threeAges();
    const again = async () => {
      const [name = ''] = (await years.payloadNames()).filter((blob) => blob.includes(gone.alert));
      await years.payloads.getBlockBlobClient(name).upload('{}', 2);
    };
    expect(await years.retain(justBefore('archive', new RegExp(gone.alert), again))).toMatchObject({
      removed: { 'raw alerts': 1, alerts: 0 },
    });
    expect((await years.payloadNames()).filter((name) => name.includes(gone.alert))).toHaveLength(1);
  });
});

describe('a long history', () => {
  /** So many runs, an hour between them, the first one the oldest. */
  async function withRuns(count: number, state: (i: number) => 'failed' | 'running'): Promise<Years> {
    const years = new Years();
    const { runs } = years.process();
    const start = years.clock.now().getTime();
    for (let i = 0; i < count; i += 50)
      await Promise.all(
        Array.from({ length: Math.min(50, count - i) }, async (_, j) => {
          const run = newRun(`${years.name}-${i + j}`, new Date(start + (i + j) * hours), { state: state(i + j) });
          await runs.create(run);
          if (run.state === 'failed') await runs.close(run.id);
        }),
      );
    years.clock.advance(500 * days);
    return years;
  }

  /** Lets a second pass with every look at a run while runs are gone through. */
  const slow = (years: Years): Tap => {
    let walking = false;
    return ({ port, method, args }) => {
      if (method === 'scan') walking = port === 'runs' && args[0] === 'index';
      if (walking && port === 'runs' && method === 'get' && args[1] === 'run') years.clock.advance(1 * seconds);
    };
  };

  it('goes page by page, never more than a page at once', async () => {
    const years = await withRuns(250, () => 'failed');
    let largest = 0;
    const { removed } = await years.retain(({ method, args }) => {
      if (method === 'scan' && args[0] === 'index') largest = Math.max(largest, (args[1] as { limit: number }).limit);
    });
    expect(removed.runs).toBe(250);
    expect(largest).toBeLessThanOrEqual(100);
    expect(await years.rows()).toEqual([]);
  });

  it('is gone through within the time there is, and further the next time, past what stays', async () => {
    // The newest 150 are open, and stay.
    const years = await withRuns(180, (i) => (i < 30 ? 'failed' : 'running'));
    years.rules = [rule('r')];
    await years.tables.state.put('cooldown', 'old', { runId: 'x', at: new Date(0).toISOString() });
    const first = years.clock.now().getTime();
    const outcome = await years.retain(slow(years));
    expect(outcome).toMatchObject({ removed: { runs: 0, 'cool-downs': 1 }, unfinished: ['runs'], failed: [] });
    // No more than its share, and what was under way when that was over.
    expect(years.clock.now().getTime() - first).toBeLessThan(100 * seconds);
    expect(years.logsOf('info').at(-1)).toContain('; not finished with runs');
    let passes = 1;
    let removed = 0;
    for (let more = true; more && passes < 20; passes++) {
      const pass = await years.retain(slow(years));
      removed += pass.removed.runs;
      more = pass.unfinished.length > 0;
    }
    expect(removed).toBe(30);
    expect(passes).toBeGreaterThanOrEqual(3);
    expect((await years.rows()).filter((row) => row.startsWith('state:'))).toEqual([]);
    expect((await years.process().runs.list({ limit: 1000 }, {})).items).toHaveLength(150);
  });

  it('does not reach further than its lifetime when that has become longer meanwhile', async () => {
    const years = await withRuns(150, () => 'running');
    years.lifetimes = { historyMs: 1 * days, rawAlertMs: undefined };
    years.clock.advance(-480 * days);
    expect((await years.retain(slow(years))).unfinished).toEqual(['runs']);
    // An entry that stands for nothing yet is young by the new lifetime.
    const oldest = (await years.rows()).findLast((row) => row.startsWith('runs:index/'))?.split('/')[1];
    await years.tables.runs.put('index', oldest ?? '', { id: '0'.repeat(26) });
    const rows = await years.rows();
    years.lifetimes = { historyMs: 400 * days, rawAlertMs: undefined };
    expect(await years.retain()).toMatchObject({ removed: nothing, unfinished: [] });
    expect((await years.rows()).filter((row) => row.startsWith('runs:'))).toEqual(
      rows.filter((row) => row.startsWith('runs:')),
    );
  });
});

describe('trouble with one kind', () => {
  it.each<[string, Tap]>([
    ['capture entries', ({ port, method }) => fail(port === 'captures' && method === 'scan')],
    ['runs', ({ port, method, args }) => fail(port === 'runs' && method === 'scan' && args[0] === 'index')],
    ['raw alerts', ({ port, method, args }) => fail(port === 'archive' && method === 'list' && args[0] === '')],
    ['alerts', ({ port, method, args }) => fail(port === 'alerts' && method === 'scan' && args[0] === 'index')],
    ['cool-downs', ({ port, method, args }) => fail(port === 'state' && method === 'scan' && args[0] === 'cooldown')],
    ['schedules', ({ port, method, args }) => fail(port === 'state' && method === 'scan' && args[0] === 'schedule')],
  ])('does not keep it from the others: %s', async (kind, tap) => {
    const years = new Years();
    years.rules = [rule('r', { cooldownSeconds: 60 })];
    const { blob } = await years.captured('a', file);
    await removeFile(blob);
    await years.tables.state.put('schedule', 'dropped', { until: new Date(0).toISOString() });
    await years.process().runs.create(newRun('alone', years.clock.now(), { state: 'failed' }));
    years.clock.advance(500 * days);
    const outcome = await years.retain(tap);
    expect(outcome.failed).toEqual(
      // An alert's own payloads, and a run's own entries, cannot be seen either.
      expect.arrayContaining([kind]),
    );
    expect(years.logsOf('error').join()).toContain(`retention: ${kind} could not be gone through`);
    expect(Object.values(outcome.removed).filter((n) => n > 0).length).toBeGreaterThanOrEqual(3);
    const next = await years.retain();
    expect(next.failed).toEqual([]);
    expect((await years.rows()).filter((row) => !row.startsWith('runs:open/'))).toEqual([]);
  });

  it('with one thing of a kind does not keep it from the others of the kind', async () => {
    const years = new Years();
    const { runs } = years.process();
    for (const name of ['a', 'b', 'c']) {
      const { run } = await runs.create(newRun(name, years.clock.now(), { state: 'failed' }));
      await runs.close(run.id);
    }
    const bad = newRun('b', years.clock.now()).id;
    years.clock.advance(500 * days);
    const outcome = await years.retain(({ port, method, args }) =>
      fail(port === 'runs' && method === 'get' && args[0] === bad && args[1] === 'run'),
    );
    expect(outcome).toMatchObject({ removed: { ...nothing, runs: 2 }, failed: ['runs'] });
    expect(years.logsOf('error')).toHaveLength(1);
    expect(await runs.get(bad)).toBeDefined();
  });
});

function fail(now: boolean): void {
  if (now) throw new Error('not to be had');
}
