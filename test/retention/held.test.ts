import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { account, container, newRun, notification, rule, seconds } from '../run/world.ts';
import { until } from '../until.ts';
import { days, nothing, removeFile, useStorage, Years } from './years.ts';

useStorage();

const file = readFileSync(join(import.meta.dirname, '../fixtures/pcaps/tcpdump/DTP.pcap'));

/** A world with alerts of years ago, and their payloads by alert. */
async function withAlerts(...names: string[]): Promise<{ years: Years; payloads: Map<string, string> }> {
  const years = new Years();
  years.rules = [];
  const payloads = new Map<string, string>();
  for (const name of names) {
    const { alertId } = await years.process().receive(notification({ id: name }));
    const [payload = ''] = (await years.payloadNames()).filter((blob) => blob.includes(alertId));
    payloads.set(alertId, payload);
  }
  years.clock.advance(1000 * days);
  return { years, payloads };
}

const listed = async (years: Years) => (await years.process().alerts.list({ limit: 100 })).items.map(({ id }) => id);

describe('a raw alert under legal hold', () => {
  it('stays with its record, is counted and told of once, and goes when the hold is lifted', async () => {
    const { years, payloads } = await withAlerts('/a', '/b', '/c');
    const [[kept = '', heldOne = ''] = [], [keptToo = '', heldToo = ''] = []] = payloads;
    years.proxy.held.add(heldOne);
    years.proxy.held.add(heldToo);
    expect(await years.retain()).toEqual({
      removed: { ...nothing, 'raw alerts': 1, alerts: 1 },
      held: 2,
      unfinished: [],
      failed: [],
    });
    expect((await years.payloadNames()).toSorted()).toEqual([heldOne, heldToo].toSorted());
    expect((await listed(years)).toSorted()).toEqual([kept, keptToo].toSorted());
    expect(years.logsOf('warn')).toEqual([
      'retention: storage holds 2 raw alerts (BlobImmutableDueToLegalHold); they stay',
    ]);
    expect(years.logsOf('info').at(-1)).toContain('; kept 2 held');
    // Asked for once each.
    expect([heldOne, heldToo].map((name) => years.proxy.count('DELETE', name))).toEqual([1, 1]);

    years.proxy.held.clear();
    expect(await years.retain()).toMatchObject({ removed: { 'raw alerts': 2, alerts: 2 }, held: 0 });
    expect(await years.rows()).toEqual([]);
  });

  it('keeps its record also when raw alerts live longer than history', async () => {
    const { years, payloads } = await withAlerts('/a', '/b');
    const [[kept = '', heldOne = ''] = []] = payloads;
    years.proxy.held.add(heldOne);
    years.lifetimes = { historyMs: 400 * days, rawAlertMs: undefined };
    expect(await years.retain()).toMatchObject({ removed: { ...nothing, alerts: 1 } });
    expect(await listed(years)).toEqual([kept]);
    expect(await years.payloadNames()).toHaveLength(2);
  });

  it('as all of the container are, stays with its record', async () => {
    const { years } = await withAlerts('/a', '/b');
    years.proxy.containerHeld = true;
    expect(await years.retain()).toMatchObject({ removed: nothing, held: 2 });
    years.lifetimes = { historyMs: 400 * days, rawAlertMs: undefined };
    expect(await years.retain()).toMatchObject({ removed: nothing });
    expect(await listed(years)).toHaveLength(2);
    years.proxy.containerHeld = false;
    expect(await years.retain()).toMatchObject({ removed: { ...nothing, alerts: 2 } });
  });
});

describe('a raw alert that storage keeps for another reason', () => {
  it.each<[string, (years: Years, name: string) => Promise<unknown>, string]>([
    [
      'a lease',
      (years, name) => years.payloads.getBlobClient(name).getBlobLeaseClient().acquireLease(-1),
      'LeaseIdMissing',
    ],
    ['a snapshot', (years, name) => years.payloads.getBlobClient(name).createSnapshot(), 'SnapshotsPresent'],
  ])('%s stays with its record', async (_, keepIt, code) => {
    const { years, payloads } = await withAlerts('/a', '/b');
    const [[kept = '', heldOne = ''] = []] = payloads;
    await keepIt(years, heldOne);
    expect(await years.retain()).toMatchObject({ removed: { 'raw alerts': 1, alerts: 1 }, held: 1, failed: [] });
    expect(years.logsOf('warn')).toEqual([`retention: storage holds 1 raw alerts (${code}); they stay`]);
    expect(await years.payloadNames()).toEqual([heldOne]);
    expect(await listed(years)).toEqual([kept]);
  });

  it('a missing role: nothing is lost, the error says what is missing, and nobody asks on and on', async () => {
    const { years } = await withAlerts(...Array.from({ length: 40 }, (_, i) => `/${i}`));
    const longAgo = new Date(years.clock.now().getTime() - 500 * days);
    await years.process().runs.create(newRun('old', longAgo, { state: 'failed' }));
    years.proxy.refuses = (method) =>
      method === 'DELETE' ? { status: 403, code: 'AuthorizationPermissionMismatch' } : undefined;
    expect(await years.retain()).toMatchObject({ removed: { ...nothing, runs: 1 }, failed: ['raw alerts'] });
    expect(await listed(years)).toHaveLength(40);
    expect(years.proxy.count('DELETE', '')).toBeLessThanOrEqual(16);
    expect(years.logsOf('error')).toHaveLength(1);
    expect(years.errors).toEqual([expect.stringContaining('needs the data roles of the storage account')]);
  });
});

describe('an entry whose file may still be there stays with its run', () => {
  /** Two old captures whose files are gone. */
  async function withGone(): Promise<Years> {
    const years = new Years();
    years.rules = [rule('r')];
    for (const name of ['a', 'b']) {
      const { blob } = await years.captured(name, file);
      await removeFile(blob);
    }
    years.clock.advance(1000 * days);
    return years;
  }

  const expectAllKept = async (years: Years) => {
    const app = years.process();
    expect((await app.captures.list({ limit: 10 }, {})).items).toHaveLength(2);
    expect((await app.runs.list({ limit: 10 }, {})).items).toHaveLength(2);
    expect(years.logsOf('warn')).toEqual([expect.stringMatching(/^retention: files in \S+ cannot be looked for/)]);
  };

  it.each([
    [403, 'AuthorizationPermissionMismatch'],
    [404, 'ContainerNotFound'],
    [409, 'ContainerBeingDeleted'],
    [404, 'ResourceNotFound'],
  ])('when storage answers %d %s', async (status, code) => {
    const years = await withGone();
    years.proxy.refuses = (method, path) =>
      method === 'HEAD' && path.includes(`/${container}/`) ? { status, code } : undefined;
    expect(await years.retain()).toMatchObject({ removed: { 'capture entries': 0, runs: 0, alerts: 0 }, failed: [] });
    await expectAllKept(years);
    years.proxy.refuses = undefined;
    expect(await years.retain()).toMatchObject({ removed: { 'capture entries': 2, runs: 2, alerts: 2 } });
  });

  it('when storage does not answer: the wait has an end, and nobody is asked twice', async () => {
    const years = await withGone();
    years.proxy.refuses = (method, path) => (method === 'HEAD' && path.includes(`/${container}/`) ? 'hang' : undefined);
    const retained = years.retain();
    await until('both to be looked for', () => years.proxy.count('HEAD', `/${container}/`) === 2);
    years.clock.advance(11 * seconds);
    expect(await retained).toMatchObject({ removed: { 'capture entries': 0, runs: 0, 'raw alerts': 2 }, failed: [] });
    await expectAllKept(years);
  });

  it('when its account is not configured any more', async () => {
    const years = await withGone();
    years.accounts = [];
    expect(await years.retain()).toMatchObject({ removed: { 'capture entries': 0, runs: 0, alerts: 0 }, failed: [] });
    await expectAllKept(years);
    expect(years.logsOf('warn')[0]).toContain(`${account}/${container}`);
  });
});
