import { describe, expect, it } from 'vitest';
import { toCapture } from '../../shared/catalog/entry.ts';
import { captureId } from '../../shared/catalog/store.ts';
import { deriveId } from '../../shared/id.ts';
import { CaptureReader } from '../../shared/pcap/summary.ts';
import type { Run, RunState } from '../../shared/run/run.ts';
import type { RunFilter } from '../../shared/run/store.ts';
import { listKey, type ListQuery, type Page } from '../../shared/storage/list.ts';
import { minutes, newRun, notification, seconds, useAzurite, vm, World, type Process } from './world.ts';

useAzurite();

/** All pages of a list, one after the other. */
async function pages<T>(read: (query: ListQuery) => Promise<Page<T>>, query: ListQuery): Promise<T[]> {
  const items: T[] = [];
  let next: string | undefined;
  do {
    const page = await read({ ...query, ...(next === undefined ? {} : { next }) });
    expect(page.items.length).toBeLessThanOrEqual(query.limit);
    items.push(...page.items);
    next = page.next;
  } while (next !== undefined);
  return items;
}

const dies = (world: World, port: string): Process =>
  world.process((call) => {
    if (call.port === port && call.method === 'insert' && call.args[0] !== 'unsettled')
      throw new Error('this process has died');
  });

const ids = (items: readonly { id: string }[]) => items.map((item) => item.id);

describe('the list of runs', () => {
  it('passes over what was never written, without a hole in any page', async () => {
    const world = new World();
    const app = world.process();
    const dying = dies(world, 'runs');
    const written: string[] = [];
    for (let i = 0; i < 24; i++) {
      world.clock.advance(1 * seconds);
      const run = newRun(`r${i}`, world.clock.now());
      if (i % 3 === 1) await expect(dying.runs.create(run)).rejects.toThrow('died');
      else {
        await app.runs.create(run);
        written.unshift(run.id);
      }
    }
    for (const limit of [1, 4, 100]) expect(ids(await pages((q) => app.runs.list(q, {}), { limit }))).toEqual(written);
    const first = await app.runs.list({ limit: 10 }, {});
    expect(first.items).toHaveLength(10);
    // What was not written at first and is a minute later stands where it was written, and once.
    world.clock.advance(1 * minutes);
    const late = newRun('r1', world.clock.now());
    await app.runs.create(late);
    expect(ids(await pages((q) => app.runs.list(q, {}), { limit: 4 }))).toEqual([late.id, ...written]);
    // Writing it again is the same run in the same place.
    expect(await app.runs.create(newRun('r1', new Date(world.clock.now().getTime() + 5000)))).toEqual({
      run: late,
      created: false,
    });
    expect(ids(await pages((q) => app.runs.list(q, {}), { limit: 4 }))).toEqual([late.id, ...written]);
    expect(await app.runs.open()).toHaveLength(written.length + 1 + 7);
  });

  it('is filtered by state, target, alert and incident, page by page', async () => {
    const world = new World();
    const app = world.process();
    const states: RunState[] = ['running', 'completed', 'failed', 'collecting'];
    const all: Run[] = [];
    for (let i = 0; i < 24; i++) {
      world.clock.advance(1 * seconds);
      const run = newRun(`f${i}`, world.clock.now(), {
        state: states[i % 4] ?? 'running',
        target: i % 3 === 0 ? vm("o'neil") : vm('b'),
        trigger: {
          kind: 'alert',
          ...(i % 5 < 2 ? { alertId: deriveId('alert', String(i % 5)) } : {}),
          ...(i % 2 === 0 ? { incident: 'INC 1' } : {}),
        },
      });
      await app.runs.create(run);
      all.unshift(run);
    }
    const alert = deriveId('alert', '1');
    const filters: RunFilter[] = [
      {},
      { state: 'running' },
      { state: 'completed' },
      { state: 'stopping' },
      { target: vm("o'neil") },
      { alert },
      { incident: 'INC 1' },
      { state: 'running', target: vm("o'neil") },
      { state: 'failed', target: vm('b') },
      { state: 'completed', alert },
      { state: 'running', incident: 'INC 1', target: vm('b') },
      { state: 'collecting', incident: 'INC 1' },
      { target: vm('b'), alert, incident: 'INC 1' },
      { incident: "' or true" },
    ];
    const since = new Date(Date.parse(all.at(-1)?.createdAt ?? '') + 5 * seconds);
    const until = new Date(Date.parse(all[0]?.createdAt ?? '') - 5 * seconds);
    for (const filter of filters) {
      const wanted = all.filter(
        (run) =>
          (filter.state === undefined || run.state === filter.state) &&
          (filter.target === undefined || run.target === filter.target) &&
          (filter.alert === undefined || run.trigger.alertId === filter.alert) &&
          (filter.incident === undefined || run.trigger.incident === filter.incident),
      );
      const inTime = wanted.filter((run) => new Date(run.createdAt) >= since && new Date(run.createdAt) <= until);
      for (const limit of [2, 100]) {
        expect(ids(await pages((q) => app.runs.list(q, filter), { limit }))).toEqual(ids(wanted));
      }
      expect(ids(await pages((q) => app.runs.list(q, filter), { limit: 2, since, until }))).toEqual(ids(inTime));
    }
    for (const state of ['running', 'completed'] as const)
      await expect(app.runs.list({ limit: 1, next: 'bm90IGEgdG9rZW4' }, { state })).rejects.toMatchObject({
        code: 'invalid-request',
      });
  });

  it('of open runs follows a run from state to state', async () => {
    const world = new World();
    const app = world.process();
    const run = newRun('moves', world.clock.now());
    await app.runs.create(run);
    const listed = async (state: RunState) => ids((await app.runs.list({ limit: 10 }, { state })).items);
    expect(await listed('accepted')).toEqual([run.id]);
    const launched = await app.lifecycle.step(run.id);
    expect(launched?.state).toBe('starting');
    expect(await listed('accepted')).toEqual([]);
    expect(await listed('starting')).toEqual([run.id]);
    await app.lifecycle.step(run.id);
    expect(await listed('running')).toEqual([run.id]);
    await app.lifecycle.stop(run.id, 'operator');
    await app.settle(16 * minutes);
    expect(await listed('completed')).toEqual([run.id]);
    expect(await listed('running')).toEqual([]);
  });
});

describe('the list of alerts', () => {
  it('passes over what was never written, without a hole in any page', async () => {
    const world = new World();
    const app = world.process();
    const dying = dies(world, 'alerts');
    const written: string[] = [];
    for (let i = 0; i < 24; i++) {
      world.clock.advance(1 * seconds);
      const payload = notification({ id: `/alerts/${i}` });
      if (i % 3 === 1) await expect(dying.receive(payload)).rejects.toThrow('died');
      else written.unshift((await app.receive(payload)).alertId);
    }
    for (const limit of [1, 4, 100]) expect(ids(await pages((q) => app.alerts.list(q), { limit }))).toEqual(written);
    expect((await app.alerts.list({ limit: 10 })).items).toHaveLength(10);
    // Taken up later, they stand where they were written.
    world.clock.advance(31 * seconds);
    await app.poll();
    const all = ids(await pages((q) => app.alerts.list(q), { limit: 4 }));
    expect(all).toHaveLength(24);
    expect(new Set(all).size).toBe(24);
    expect(all.slice(8)).toEqual(written);
    const { receivedAt } = await app.alerts.require(all[0] ?? '');
    expect(ids((await app.alerts.list({ limit: 100, since: new Date(receivedAt) })).items)).toEqual(all.slice(0, 8));
    expect(ids((await app.alerts.list({ limit: 100, until: new Date(Date.parse(receivedAt) - 1) })).items)).toEqual(
      written,
    );
  });
});

describe('the list of captures', () => {
  it('passes over what was never written, by run and by target, without a hole in any page', async () => {
    const world = new World();
    const app = world.process();
    const dying = dies(world, 'captures');
    const reader = new CaptureReader();
    const summary = reader.end();
    const runs = [deriveId('run', '0'), deriveId('run', '1')] as const;
    const capture = (i: number, runId = runs[i % 2]) => {
      const blob = `c${i}.cap`;
      const file = { account: 'x', container: 'y', blob, etag: `"${i}"`, bytes: 0, sha256: '' };
      const id = captureId('x', 'y', blob);
      return toCapture({ ...file, id }, summary, { runId, target: vm(`t${i % 4}`) }, world.clock.now());
    };
    const written: string[] = [];
    for (let i = 0; i < 24; i++) {
      world.clock.advance(1 * seconds);
      const one = capture(i);
      if (i % 3 === 1) await expect(dying.captures.save(one, world.clock.now())).rejects.toThrow('died');
      else {
        await app.captures.save(one, world.clock.now());
        written.unshift(one.id);
      }
    }
    const list = async (filter: { run?: string; target?: string }, limit: number) =>
      ids(await pages((q) => app.captures.list(q, filter), { limit }));
    const number = (id: string) => Array.from({ length: 24 }, (_, i) => i).find((i) => capture(i).id === id) ?? -1;
    for (const limit of [1, 4, 100]) {
      expect(await list({}, limit)).toEqual(written);
      expect(await list({ run: runs[1] }, limit)).toEqual(written.filter((id) => number(id) % 2 === 1));
      expect(await list({ target: vm('t2') }, limit)).toEqual(written.filter((id) => number(id) % 4 === 2));
      expect(await list({ run: runs[0], target: vm('t2') }, limit)).toEqual(
        written.filter((id) => number(id) % 4 === 2),
      );
      expect(await list({ run: runs[1], target: vm('t2') }, limit)).toEqual([]);
    }
    // Told of again, and now written: in its new place, once; an older version changes nothing, another run takes it over.
    world.clock.advance(1 * seconds);
    const late = capture(1);
    await app.captures.save(late, world.clock.now());
    expect(await list({}, 4)).toEqual([late.id, ...written]);
    await app.captures.save({ ...late, packets: 7 }, new Date(world.clock.now().getTime() - 1));
    expect((await app.captures.get(late.id))?.packets).toBe(0);
    await app.captures.save(capture(1, runs[0]), world.clock.now());
    expect(await list({ run: runs[1] }, 4)).not.toContain(late.id);
    expect((await list({ run: runs[0] }, 4))[0]).toBe(late.id);
    expect(await list({}, 4)).toEqual([late.id, ...written]);
    expect(await world.tables.captures.get('index', listKey(world.clock.now(), late.id))).toBeDefined();
  });

  it('has one entry of a file that is catalogued by many at once', async () => {
    const world = new World();
    const summary = new CaptureReader().end();
    const file = { account: 'x', container: 'y', blob: 'z.cap', etag: '"1"', bytes: 0, sha256: '' };
    const at = world.clock.now();
    await Promise.all(
      Array.from({ length: 8 }, (_, i) => {
        const owner = { runId: deriveId('run', 'one'), target: vm('a') };
        const entry = toCapture({ ...file, id: captureId('x', 'y', 'z.cap') }, summary, owner, new Date(+at + i));
        return world.process().captures.save(entry, at);
      }),
    );
    const { captures } = world.process();
    expect((await captures.list({ limit: 10 }, {})).items).toHaveLength(1);
    expect((await captures.list({ limit: 10 }, { run: deriveId('run', 'one') })).items).toHaveLength(1);
  });
});
