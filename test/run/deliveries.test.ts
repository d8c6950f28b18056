import { describe, expect, it } from 'vitest';
import { notification, rule, useAzurite, vm, World } from './world.ts';

useAzurite();

describe('ten deliveries of one alert at once', () => {
  it('are one run that is started once, in every answer', { timeout: 120_000 }, async () => {
    const world = new World();
    world.rules = [rule('one', { cooldownSeconds: 900, concurrent: 1 })];
    for (let round = 0; round < 20; round++) {
      const processes = [world.process(), world.process()] as const;
      const alert = { id: `/alerts/${round}`, targets: [vm(`m${round}`)] };
      const receipts = await Promise.all(
        Array.from({ length: 10 }, (_, i) => (i % 2 === 0 ? processes[0] : processes[1]).receive(notification(alert))),
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

  it('with long names in another script is recorded, too', async () => {
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
