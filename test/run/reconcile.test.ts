import { describe, expect, it } from 'vitest';
import { ProviderError, type ListedSession, type Provider, type ProviderName } from '../../shared/provider/provider.ts';
import { reconcile } from '../../shared/run/reconcile.ts';
import type { Run } from '../../shared/run/run.ts';
import { newRun, useAzurite, World, type Process } from './world.ts';

useAzurite();

describe('what the clouds hold and no run of ours goes with', () => {
  const over = {
    state: 'completed',
    askedAt: '2026-11-22T11:00:00.000Z',
    completedAt: '2026-11-22T11:30:00.000Z',
  } as const;
  const removed = { removal: { askedAt: '2026-11-22T11:31:00.000Z', attempts: 1, done: true } };

  it.each<[string, Partial<Run> | undefined, Partial<ListedSession>, boolean]>([
    ['the session of a live run stays', { state: 'running' }, { capturing: true }, false],
    ['that of a run that waits for its removal stays', { ...over }, {}, false],
    ['that of a run that is over and removed is removed', { ...over, ...removed }, {}, true],
    ['one that captures although its run is over is removed at once', { ...over }, { capturing: true }, true],
    ['one of a run that nobody knows is removed', undefined, {}, true],
    ["somebody else's stays, whatever it does", undefined, { runId: undefined, capturing: true }, false],
  ])('%s', async (_, known, listed, isRemoved) => {
    const world = new World();
    const process = world.process();
    const run = newRun(_, world.clock.now(), known);
    const id = `/packetCaptures/${run.id}`;
    if (known) await process.runs.create({ ...run, session: { id, errors: [] } });
    world.cloud.held.set(id, { run: run.id, target: run.target, phase: 'running', cause: 'stopped' });
    world.cloud.list = () => Promise.resolve([{ ...listedOf(run.id), ...listed }]);

    expect(await look(world, process)).toBe(isRemoved ? 1 : 0);
    expect(world.cloud.held.has(id)).toBe(!isRemoved);
    expect(world.logsOf('error').some((line) => line.startsWith(`leak: ${id}`))).toBe(isRemoved);
  });

  it('is looked for again when it could not be removed, and one that fails holds up no other', async () => {
    const world = new World();
    const process = world.process();
    const ids = ['a', 'b'].map((name) => newRun(name, world.clock.now()).id);
    for (const id of ids)
      world.cloud.held.set(`/packetCaptures/${id}`, { run: id, target: '', phase: 'running', cause: 'stopped' });
    world.cloud.list = () => Promise.resolve(ids.map(listedOf));
    let failing = true;
    world.cloud.before = {
      remove: ({ run }) => {
        if (failing && run === ids[0]) throw new ProviderError('unavailable', 'not now');
      },
    };
    expect(await look(world, process)).toBe(2);
    expect(world.cloud.capturing()).toEqual([ids[0]]);
    failing = false;
    await look(world, process);
    expect(world.cloud.capturing()).toEqual([]);
  });

  it('is found in one cloud although another cannot be asked', async () => {
    const world = new World();
    const process = world.process();
    const { id } = newRun('a', world.clock.now());
    world.cloud.held.set(`/packetCaptures/${id}`, { run: id, target: '', phase: 'running', cause: 'stopped' });
    world.cloud.list = () => Promise.resolve([listedOf(id)]);
    const down = new World().cloud;
    down.list = () => Promise.reject(new ProviderError('unavailable', 'down'));
    expect(await look(world, process, [['alibaba', down]])).toBe(1);
    expect(world.cloud.capturing()).toEqual([]);
  });

  function listedOf(runId: string): ListedSession {
    const id = `/packetCaptures/${runId}`;
    return {
      provider: 'azure',
      id,
      name: runId,
      region: '',
      target: '',
      status: '',
      runId,
      session: { id, errors: [] },
    };
  }

  function look(world: World, { runs, lifecycle }: Process, before: [ProviderName, Provider][] = []): Promise<number> {
    const log = {
      info: () => undefined,
      warn: () => undefined,
      error: (message: string) => void world.logged.push({ level: 'error', message }),
    };
    const providers = new Map<ProviderName, Provider>([...before, ['azure', world.cloud]]);
    return reconcile({ providers, runs, lifecycle, clock: world.clock, log });
  }
});
