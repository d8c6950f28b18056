import { describe, expect, it } from 'vitest';
import { ProviderError } from '../../shared/provider/provider.ts';
import { minutes, notification, rule, seconds, useAzurite, vm, World } from './world.ts';

useAzurite();

const cooldown = 15 * 60;

describe('admission', () => {
  const at = (name: string) => ({ id: `/alerts/${name}`, targets: [vm(name)] });

  it('lets no more than its number in when alerts come at once, and a refused one keeps nothing', async () => {
    const world = new World();
    world.rules = [rule('two', { cooldownSeconds: cooldown, concurrent: 2 })];
    for (let round = 0; round < 5; round++) {
      const names = ['a', 'b', 'c'].map((name) => `${name}${round}`);
      const receipts = await Promise.all(names.map((name) => world.process().receive(notification(at(name)))));
      const app = world.process();
      const started = receipts.flatMap((receipt) => receipt.runs.map((run) => run.id));
      expect(started).toHaveLength(2);
      const refused = receipts.findIndex((receipt) => receipt.runs.length === 0);
      expect(receipts[refused]?.ignored).toMatchObject([
        { rule: 'two', target: vm(names[refused] ?? ''), reason: 'concurrency' },
      ]);
      expect(await app.runs.open()).toHaveLength(2);
      // Once a place is free the refused machine may be captured: the refusal did not take its cool-down.
      for (const id of started) await app.lifecycle.stop(id, 'operator');
      await app.settle(1 * seconds + 15 * minutes);
      const again = await app.receive(notification({ ...at(names[refused] ?? ''), id: `/alerts/again${round}` }));
      expect(again.ignored).toEqual([]);
      for (const { id } of again.runs) await app.lifecycle.stop(id, 'operator');
      await app.settle(1 * seconds + 15 * minutes);
      expect(await app.runs.open()).toEqual([]);
    }
  });

  it('gives back place and cool-down of a run that failed, the place alone once a session is over', async () => {
    const world = new World();
    const app = world.process();
    world.rules = [rule('one', { cooldownSeconds: cooldown, concurrent: 1 })];
    world.cloud.before.prepare = () => {
      throw new ProviderError('agent-missing', 'no agent');
    };
    const failed = await app.receive(notification({ id: '/alerts/1' }));
    expect(await app.runs.get(failed.runs[0]?.id ?? '')).toMatchObject({
      state: 'failed',
      verdict: { code: 'agent-missing' },
    });
    expect(world.cloud.count('start')).toBe(0);

    world.cloud.before = {};
    const second = await app.receive(notification({ id: '/alerts/2' }));
    const id = second.runs[0]?.id ?? '';
    expect(second).toMatchObject({ runs: [{ created: true }], ignored: [] });
    expect((await app.receive(notification({ id: '/alerts/3' }))).ignored).toMatchObject([{ reason: 'cooldown' }]);
    expect((await app.receive(notification(at('b')))).ignored).toMatchObject([{ reason: 'concurrency' }]);

    world.cloud.held.forEach((held) => (held.phase = 'ended'));
    expect((await app.lifecycle.step(id))?.state).toBe('collecting');
    // A repeat of what was refused is refused as before; a new alert is not.
    expect((await app.receive(notification(at('b')))).ignored).toMatchObject([{ reason: 'concurrency' }]);
    expect((await app.receive(notification({ ...at('b'), id: '/alerts/4' }))).runs).toMatchObject([{ created: true }]);
    expect((await app.receive(notification({ id: '/alerts/5' }))).ignored).toMatchObject([{ reason: 'cooldown' }]);
    expect(await app.allRuns()).toHaveLength(3);
  });

  it('refuses the second of two alerts on one machine without taking a place from others', async () => {
    const world = new World();
    world.rules = [rule('two', { cooldownSeconds: cooldown, concurrent: 2 })];
    const receipts = await Promise.all(
      ['x', 'y'].map((id) => world.process().receive(notification({ id: `/alerts/${id}` }))),
    );
    expect(receipts.flatMap((receipt) => receipt.runs)).toHaveLength(1);
    expect(receipts.flatMap((receipt) => receipt.ignored)).toMatchObject([{ reason: 'cooldown' }]);
    const app = world.process();
    expect((await app.receive(notification(at('b')))).runs).toHaveLength(1);
    expect((await app.receive(notification(at('c')))).ignored).toMatchObject([{ reason: 'concurrency' }]);
    expect(await world.tables.state.scan('slots-two', { limit: 10 })).toHaveLength(2);
  });

  it('forgets the claims of a process that died before it wrote its run, after a while', async () => {
    const world = new World();
    world.rules = [rule('one', { cooldownSeconds: cooldown, concurrent: 1 })];
    const dies = world.process(({ port, method }) => {
      if (port === 'runs' && method === 'insert') throw new Error('this process has died');
    });
    await expect(dies.receive(notification({ id: '/alerts/1' }))).rejects.toThrow('died');
    const app = world.process();
    world.clock.advance(1 * minutes);
    expect((await app.receive(notification({ id: '/alerts/2' }))).ignored).toMatchObject([{ reason: 'cooldown' }]);
    expect((await app.receive(notification(at('b')))).ignored).toMatchObject([{ reason: 'concurrency' }]);
    world.clock.advance(2 * minutes);
    expect((await app.receive(notification({ id: '/alerts/3' }))).runs).toMatchObject([{ created: true }]);
  });
});
