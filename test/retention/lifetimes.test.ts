import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { readConfig } from '../../shared/config.ts';
import { listKey } from '../../shared/storage/list.ts';
import { account, blobUrl, container, hours, minutes, newRun, notification, rule, upload, vm } from '../run/world.ts';
import { days, nothing, removeFile, useStorage, usual, Years } from './years.ts';

useStorage();

const file = readFileSync(join(import.meta.dirname, '../fixtures/pcaps/tcpdump/DTP.pcap'));
const otherFile = readFileSync(join(import.meta.dirname, '../fixtures/pcaps/tcpdump/LACP.pcap'));

function newYears(): Years {
  const years = new Years();
  years.rules = [rule('r', { cooldownSeconds: 900, concurrent: 1 })];
  return years;
}

/** There is one of them for each place of each rule that ever was. */
const bounded = ['state:slots-r/000'];

describe('what has outlived its lifetime', () => {
  it('goes, with everything that belongs to it, and nothing goes before', async () => {
    const years = newYears();
    const { alert, run, capture, app, blob } = await years.captured('a', file);
    const all = await years.rows();
    expect(all.length).toBeGreaterThan(10);

    years.clock.advance(89 * days);
    expect(await years.retain()).toEqual({ removed: nothing, held: 0, unfinished: [], failed: [] });
    years.clock.advance(1 * days);
    expect(await years.retain()).toMatchObject({ removed: { ...nothing, 'raw alerts': 1 } });
    await removeFile(blob);
    years.clock.advance(309 * days);
    expect(await years.retain()).toMatchObject({ removed: nothing });
    expect((await years.rows()).toSorted()).toEqual(all.toSorted());
    expect(await Promise.all([app.alerts.get(alert), app.runs.get(run), app.captures.get(capture)])).not.toContain(
      undefined,
    );

    years.clock.advance(1 * days);
    expect(await years.retain()).toEqual({
      removed: { ...nothing, 'capture entries': 1, runs: 1, alerts: 1, 'cool-downs': 1 },
      held: 0,
      unfinished: [],
      failed: [],
    });
    expect(await years.rows()).toEqual(bounded);
    expect(await years.payloadNames()).toEqual([]);
    expect(years.logsOf('info').at(-1)).toBe(
      'retention: removed 1 capture entries, 1 runs, 0 raw alerts, 1 alerts, 1 cool-downs, 0 schedules',
    );
    expect([...years.logsOf('error'), ...years.logsOf('warn')]).toEqual([]);
    expect(await years.retain()).toMatchObject({ removed: nothing });
  });

  it('is what is recorded, not what the cloud or the sender say of their times', async () => {
    const years = newYears();
    const app = years.process();
    const { alertId } = await app.receive(notification({ id: '/alerts/old', firedAt: '2001-01-01T00:00:00Z' }));
    await app.settle();
    years.clock.advance(399 * days);
    await years.retain();
    expect(await app.alerts.get(alertId)).toBeDefined();
    // Its end comes more than a year later: the record was written today.
    await app.receive(
      notification({ id: '/alerts/old', firedAt: '2001-01-01T00:00:00Z', resolvedAt: '2001-01-02T00:00:00Z' }),
    );
    years.clock.advance(2 * days);
    expect(await years.retain()).toMatchObject({ removed: { runs: 1, alerts: 0 } });
    years.clock.advance(398 * days);
    expect(await years.retain()).toMatchObject({ removed: { alerts: 1 } });
    expect(await years.rows()).toEqual(bounded);
  });

  it('may be raw alerts only, or history only', async () => {
    const years = newYears();
    const { blob } = await years.captured('a', file);
    await removeFile(blob);
    const all = await years.rows();
    years.clock.advance(1000 * days);
    years.lifetimes = { historyMs: undefined, rawAlertMs: 90 * days };
    expect(await years.retain()).toMatchObject({ removed: { ...nothing, 'raw alerts': 1 }, failed: [] });
    expect((await years.rows()).toSorted()).toEqual(all.toSorted());

    const other = newYears();
    const second = await other.captured('b', file);
    await removeFile(second.blob);
    other.clock.advance(1000 * days);
    other.lifetimes = { historyMs: 400 * days, rawAlertMs: undefined };
    expect(await other.retain()).toMatchObject({ removed: { runs: 1, alerts: 1, 'raw alerts': 0 }, failed: [] });
    expect(await other.payloadNames()).toHaveLength(1);
  });
});

describe('no lifetime', () => {
  it('which is what 0 means, too, keeps everything for ever, without a call', async () => {
    const years = newYears();
    const { blob } = await years.captured('a', file);
    await removeFile(blob);
    const before = [await years.rows(), await years.payloadNames()];
    years.clock.advance(10_000 * days);
    const env = { AzureWebJobsStorage: 'UseDevelopmentStorage=true' };
    years.lifetimes = readConfig({ ...env, TRIPCAP_HISTORY_DAYS: '0', TRIPCAP_RAW_ALERT_DAYS: '0' }).lifetimes;
    const calls: unknown[] = [];
    expect(await years.retain((call) => void calls.push(call))).toMatchObject({ removed: nothing, failed: [] });
    expect(calls).toEqual([]);
    expect([await years.rows(), await years.payloadNames()]).toEqual(before);
  });

  it('or one that goes back before all time removes nothing', async () => {
    const years = newYears();
    const { blob } = await years.captured('a', file);
    await removeFile(blob);
    // An entry that stands for nothing would go, if it were old.
    await years.tables.runs.put('index', listKey(years.clock.now(), '0'.repeat(26)), { id: '0'.repeat(26) });
    const before = await years.rows();
    years.lifetimes = { historyMs: 36_500 * days, rawAlertMs: 36_500 * days };
    expect(await years.retain()).toMatchObject({ removed: nothing, failed: [] });
    expect((await years.rows()).toSorted()).toEqual(before.toSorted());
  });
});

describe('what is still needed stays, however old', () => {
  it('a run whose file is still there, with its entry and its alert', async () => {
    const years = newYears();
    const { app, alert, run, capture, blob } = await years.captured('a', file);
    years.clock.advance(1000 * days);
    expect(await years.retain()).toMatchObject({ removed: { ...nothing, 'raw alerts': 1, 'cool-downs': 1 } });
    expect((await app.runs.list({ limit: 10 }, {})).items.map(({ id }) => id)).toEqual([run]);
    expect((await app.captures.list({ limit: 10 }, { run })).items.map(({ id }) => id)).toEqual([capture]);
    expect((await app.alerts.list({ limit: 10 })).items.map(({ id }) => id)).toEqual([alert]);
    expect(await app.runs.claimant(container, blob)).toBe(run);
    await removeFile(blob);
    expect(await years.retain()).toMatchObject({ removed: { 'capture entries': 1, runs: 1, alerts: 1 } });
    expect(await years.rows()).toEqual(bounded);
  });

  it('an open run, with its entry, its alert and the payload of that', async () => {
    const years = newYears();
    years.cloud.removes = false;
    const { app, alert, run, capture, blob } = await years.captured('a', file);
    await removeFile(blob);
    expect((await app.runs.open()).map(({ id }) => id)).toEqual([run]);
    years.clock.advance(1000 * days);
    expect(await years.retain()).toMatchObject({ removed: { ...nothing, 'cool-downs': 1 }, failed: [] });
    expect(await Promise.all([app.alerts.get(alert), app.runs.get(run), app.captures.get(capture)])).not.toContain(
      undefined,
    );
    expect(await years.payloadNames()).toHaveLength(1);
    years.cloud.removes = true;
    await app.settle();
    // Its session was removed today.
    expect(await years.retain()).toMatchObject({ removed: { ...nothing, 'raw alerts': 1, 'capture entries': 1 } });
    years.clock.advance(401 * days);
    expect(await years.retain()).toMatchObject({ removed: { runs: 1, alerts: 1 } });
    expect(await years.rows()).toEqual(bounded);
  });

  it('an open run without a file', async () => {
    const years = newYears();
    const { runs } = years.process();
    const at = years.clock.now();
    const removal = { askedAt: at.toISOString(), attempts: 3, done: false };
    const open = [
      newRun('stuck', at, { state: 'stopping' }),
      newRun('left', at, { state: 'completed', askedAt: at.toISOString(), removal }),
    ];
    for (const run of open) await runs.create(run);
    years.clock.advance(1000 * days);
    expect(await years.retain()).toMatchObject({ removed: nothing, failed: [] });
    expect((await runs.list({ limit: 10 }, {})).items).toHaveLength(2);
  });

  it('an alert that was not dealt with, with its payload', async () => {
    const years = newYears();
    const dying = years.process(({ port, method }) => {
      if (port === 'alerts' && method === 'settle') throw new Error('this process has died');
      if (port === 'runs' && method === 'insert') throw new Error('this process has died');
    });
    await expect(dying.receive(notification({ id: '/alerts/1' }))).rejects.toThrow('died');
    years.clock.advance(1000 * days);
    expect(await years.retain()).toMatchObject({ removed: { 'raw alerts': 0, alerts: 0 }, failed: [] });
    const app = years.process();
    years.lifetimes = { historyMs: 400 * days, rawAlertMs: undefined };
    expect(await years.retain()).toMatchObject({ removed: nothing, failed: [] });
    expect(await app.alerts.unsettled(10)).toHaveLength(1);
    expect((await app.alerts.list({ limit: 10 })).items).toHaveLength(1);
    await app.poll();
    years.lifetimes = usual;
    expect(await years.retain()).toMatchObject({ removed: { 'raw alerts': 1, alerts: 1 }, failed: [] });
  });

  it('a run whose cool-down is in force, so that it stays in force', async () => {
    const years = newYears();
    years.rules = [rule('r', { cooldownSeconds: (30 * days) / 1000 })];
    years.lifetimes = { historyMs: 1 * days, rawAlertMs: 1 * days };
    const { app, blob } = await years.captured('a', file);
    await removeFile(blob);
    years.clock.advance(29 * days);
    expect(await years.retain()).toMatchObject({ removed: { runs: 0, 'cool-downs': 0 } });
    const again = (id: string) => app.receive(notification({ id, firedAt: years.clock.now().toISOString() }));
    expect(await again('/alerts/2')).toMatchObject({ runs: [], ignored: [{ reason: 'cooldown' }] });
    years.clock.advance(1 * days);
    expect(await years.retain()).toMatchObject({ removed: { runs: 1 } });
    expect(await again('/alerts/3')).toMatchObject({ runs: [{ created: true }] });
    await app.settle();
  });

  it('how far the schedule of a rule in force has come, and of any rule while the rules are broken', async () => {
    const years = newYears();
    const yearly = { schedule: { cron: '0 0 0 29 2 *', timezone: 'UTC' }, target: [vm('a')] };
    years.rules = [rule('yearly', {}, yearly), rule('dropped', {}, yearly)];
    await years.process().startDue();
    years.clock.advance(600 * days);
    years.rules = [];
    years.problems = [{ line: 1, column: 1, path: 'rules', message: 'is broken' }];
    expect(await years.retain()).toMatchObject({ removed: nothing });
    years.problems = [];
    years.rules = [rule('yearly', {}, yearly)];
    expect(await years.retain()).toMatchObject({ removed: { ...nothing, schedules: 1 } });
    expect(await years.rows()).toEqual(['state:schedule/yearly']);
  });

  it('what is not of our making in the archive', async () => {
    const years = newYears();
    const app = years.process();
    await app.receive(notification({ id: '/alerts/1' }));
    await app.settle();
    const [name = ''] = await years.payloadNames();
    const foreign = ['notes.txt', name.replace('.json', '.bak'), `x/${name}`, name.toUpperCase()];
    for (const other of foreign) await years.payloads.getBlockBlobClient(other).upload('x', 1);
    years.clock.advance(1000 * days);
    expect(await years.retain()).toMatchObject({ removed: { 'raw alerts': 1 } });
    expect((await years.payloadNames()).toSorted()).toEqual(foreign.toSorted());
  });

  it('rows whose time cannot be read', async () => {
    const years = newYears();
    const app = years.process();
    const at = years.clock.now();
    const odd = newRun('odd', at, { state: 'failed', completedAt: 'yesterday' });
    const older = newRun('older', at, { state: 'failed' });
    await app.runs.create(odd);
    await app.runs.create(older);
    // The record has lost its time since it was listed.
    await years.tables.runs.put(older.id, 'run', { ...older, createdAt: 'long ago' });
    await years.tables.state.put('cooldown', 'odd', { runId: 'x', at: '?', until: at.toISOString() });
    await years.tables.state.put('schedule', 'odd', { cron: '* * * * * *' });
    await app.poll();
    const rows = await years.rows();
    years.clock.advance(1000 * days);
    expect(await years.retain()).toMatchObject({ removed: nothing, failed: [] });
    expect((await years.rows()).toSorted()).toEqual(rows.toSorted());
  });

  it('the claim of a run on a path that was claimed after it', async () => {
    const years = newYears();
    const app = years.process();
    const at = years.clock.now();
    const session = (path: string) => ({ session: { id: 's', errors: [], storagePath: blobUrl(path) } });
    const first = newRun('first', at, { state: 'completed', ...session('ring/x.cap') });
    await app.runs.create(first);
    await app.runs.claim(container, 'ring/x.cap', first.id);
    await app.runs.claim(container, 'ring/x', first.id);
    const later = newRun('later', new Date(at.getTime() + 300 * days), {
      state: 'completed',
      ...session('ring/x.cap'),
    });
    await app.runs.create(later);
    await app.runs.claim(container, 'ring/x.cap', later.id);
    years.clock.advance(401 * days);
    expect(await years.retain()).toMatchObject({ removed: { ...nothing, runs: 1 } });
    expect(await app.runs.claimant(container, 'ring/x.cap')).toBe(later.id);
    expect(await app.runs.claimant(container, 'ring/x_1.cap')).toBeUndefined();
  });
});

describe('lists', () => {
  it('lose old entries that stand for nothing, and keep young ones, whose record may be on its way', async () => {
    const years = newYears();
    const app = years.process();
    const at = years.clock.now();
    const real = newRun('real', new Date(at.getTime() + 500 * days), { state: 'failed' });
    await app.runs.create(real);
    const put = (when: Date, id: string) => years.tables.runs.put('index', listKey(when, id), { id });
    await put(at, '0'.repeat(26));
    // A second entry of a run that is listed elsewhere.
    await put(at, real.id);
    await put(new Date(at.getTime() + 450 * days), '1'.repeat(26));
    years.clock.advance(500 * days);
    await app.poll();
    expect(await years.retain()).toMatchObject({ removed: nothing, failed: [] });
    expect((await years.rows()).filter((row) => row.startsWith('runs:index/'))).toHaveLength(2);
    expect((await app.runs.list({ limit: 10 }, {})).items).toEqual([real]);
  });

  it('of a run whose file a later run has taken over go with the run', async () => {
    const years = newYears();
    years.rules = [rule('r')];
    const first = await years.captured('a', file);
    years.clock.advance(1 * hours);
    years.cloud.fresh = { storagePath: blobUrl(first.blob) };
    const { runs } = await first.app.receive(
      notification({ id: '/alerts/b', firedAt: years.clock.now().toISOString() }),
    );
    await upload(first.blob, otherFile);
    years.clock.advance(2 * minutes);
    await first.app.poll();
    await first.app.lifecycle.addFile(account, container, first.blob);
    await first.app.settle();
    const capture = await first.app.captures.get(first.capture);
    expect(capture?.runId).toBe(runs[0]?.id);
    years.clock.advance(1000 * days);
    // The file is there: so are its entry and its run, but not the run that it belonged to once.
    expect(await years.retain()).toMatchObject({ removed: { 'capture entries': 0, runs: 1, alerts: 1 } });
    expect((await years.rows()).filter((row) => row.startsWith('captures:run-'))).toHaveLength(1);
    await removeFile(first.blob);
    await years.retain();
    expect(await years.rows()).toEqual([]);
  });
});

describe('a clock that has jumped', () => {
  it('ahead of storage removes nothing, and says so', async () => {
    const years = newYears();
    const { blob, app } = await years.captured('a', file);
    await removeFile(blob);
    years.proxy.now = undefined;
    years.clock.advance(3650 * days);
    // Heartbeats and new runs are dated by the same clock: they are no sign that it is right.
    await app.receive(notification({ id: '/alerts/2', firedAt: years.clock.now().toISOString() }));
    await app.settle();
    const before = [await years.rows(), await years.payloadNames()];
    expect(await years.retain()).toMatchObject({
      removed: nothing,
      failed: expect.arrayContaining(['runs', 'raw alerts']),
    });
    expect([await years.rows(), await years.payloadNames()]).toEqual(before);
    expect(years.logsOf('error').join()).toMatch(
      /nothing is removed.*a clock is wrong.*here it is 2\d\d\d-.*in storage 2\d\d\d-/,
    );
  });

  it('by minutes, or back, is borne', async () => {
    const years = newYears();
    const { blob } = await years.captured('a', file);
    await removeFile(blob);
    years.clock.advance(401 * days);
    const now = years.clock.now().getTime();
    years.proxy.now = () => new Date(now + 30 * days);
    expect(await years.retain()).toMatchObject({ removed: { runs: 1 }, failed: [] });
    years.proxy.now = () => new Date(now - 14 * minutes);
    expect(await years.retain()).toMatchObject({ failed: [] });
    years.proxy.now = () => new Date(now - 16 * minutes);
    expect((await years.retain()).failed).not.toEqual([]);
  });
});
