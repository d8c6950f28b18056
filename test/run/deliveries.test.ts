import { describe, expect, it } from 'vitest';
import { ProviderError } from '../../shared/provider/provider.ts';
import { minutes, notification, rule, seconds, useAzurite, vm, World } from './world.ts';

useAzurite();

const cooldown = 15 * 60;

describe('ten deliveries of one alert at once', () => {
  it('are one run that is started once, in every answer', { timeout: 30_000 }, async () => {
    const world = new World();
    world.rules = [rule('one', { cooldownSeconds: cooldown, concurrent: 1 })];
    for (let round = 0; round < 20; round++) {
      const processes = [world.process(), world.process()];
      const alert = { id: `/alerts/${round}`, targets: [vm(`m${round}`)] };
      const receipts = await Promise.all(
        Array.from({ length: 10 }, (_, i) => processes[i % 2]?.receive(notification(alert))),
      );
      const [first] = receipts;
      const id = first?.runs[0]?.id ?? '';
      for (const receipt of receipts) {
        expect(receipt?.runs.map((run) => run.id)).toEqual([id]);
        expect(receipt?.ignored).toEqual([]);
      }
      expect(receipts.filter((receipt) => receipt?.runs[0]?.created)).toHaveLength(1);
      expect(world.cloud.count('start')).toBe(round + 1);

      const app = world.process();
      expect(await app.receive(notification(alert))).toEqual({
        ...first,
        runs: [{ id, rule: 'one', target: vm(`m${round}`), created: false }],
      });
      expect((await app.runs.get(id))?.state).toBe('starting');

      const resolved = await app.receive(notification({ ...alert, resolvedAt: '2026-11-22T12:00:00Z' }));
      expect(resolved.stopped).toEqual([id]);
      expect(await app.runs.get(id)).toMatchObject({ state: 'stopping', stop: { reason: 'alert-resolved' } });
      const record = await app.alerts.get(resolved.alertId);
      expect(record?.resolved?.stopped).toEqual([id]);
      expect(record?.fired).toMatchObject({ done: true, ignored: [] });
      await app.lifecycle.step(id);
      expect(world.cloud.capturing()).toEqual([]);
    }
    expect(await world.process().allRuns()).toHaveLength(20);
    expect(await world.process().alerts.unsettled(10)).toEqual([]);
  });
});

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

describe('an alert of a thousand machines', () => {
  it.each([
    ['that cannot be captured', (i: number) => `/subscriptions/s/providers/Microsoft.Storage/storageAccounts/s${i}`, 0],
    ['that can', (i: number) => vm(`m${i}`), 25],
  ])('%s is answered and recorded within bounds, a repeat alike', async (_, target, runs) => {
    const world = new World();
    world.rules = [rule('all')];
    const app = world.process();
    const payload = notification({ id: '/alerts/big', targets: Array.from({ length: 1000 }, (__, i) => target(i)) });
    const first = await app.receive(payload);
    expect(first.runs).toHaveLength(runs);
    expect(first.ignored).toHaveLength(100);
    expect(first.ignored.at(-1)?.detail).toContain(`${1000 - runs - 99} more`);
    expect(world.cloud.count('start')).toBe(runs);
    const record = await app.alerts.get(first.alertId);
    expect(record).toMatchObject({ targetCount: 1000, fired: { done: true, ignored: first.ignored } });
    expect(record?.targets).toHaveLength(100);
    expect(await app.receive(payload)).toEqual({
      ...first,
      runs: first.runs.map((run) => ({ ...run, created: false })),
    });
    const end = await app.receive(
      notification({ id: '/alerts/big', targets: record?.targets ?? [], resolvedAt: '2026-11-22T12:00:00Z' }),
    );
    expect(end.stopped.toSorted()).toEqual(first.runs.map((run) => run.id).toSorted());
    expect(world.cloud.capturing()).toEqual([]);
  });

  // BUG shared/alert/store.ts blank(), receive.ts capped(): counts are bounded, lengths are not, and a row holds 448 000 characters.
  it.fails('with long names in another script is recorded, too', async () => {
    const world = new World();
    world.rules = [rule('all')];
    const app = world.process();
    const targets = Array.from({ length: 60 }, (_, i) => `/subscriptions/${i}/${'ä'.repeat(2000)}`);
    const payload = notification({ id: '/alerts/long', targets });
    expect(payload.length).toBeLessThan(256 * 1024);
    const receipt = await app.receive(payload);
    expect(receipt.ignored).toHaveLength(60);
    expect(await app.alerts.unsettled(10)).toEqual([]);
  });
});
