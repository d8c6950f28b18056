import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { setTimeout as delay } from 'node:timers/promises';
import { alertFor, anyMachine, machine, runIn, startSandbox, type Sandbox } from './sandbox.ts';
import { until } from '../until.ts';

// The app's process is killed at each state of a run; the supervisor starts it again, as the platform would.

let sandbox: Sandbox;
beforeAll(async () => {
  sandbox = await startSandbox(anyMachine);
});
afterAll(() => sandbox.stop());

let count = 0;
const alertOn = (name: string): any =>
  alertFor(`cccccccc-0000-0000-0000-${String(++count).padStart(12, '0')}`, [machine(name)]);
const post = (alert: unknown) => sandbox.call('/alerts/azure-monitor', { method: 'POST', json: alert });

async function expectFired(name: string): Promise<{ id: string; alert: any }> {
  const alert = alertOn(name);
  const answer = await post(alert);
  expect(answer.status).toBe(202);
  return { id: answer.body.runs[0].id, alert };
}

async function killApp(): Promise<void> {
  const { pids } = await sandbox.info();
  process.kill(pids.app, 'SIGKILL');
  await until('the app is back', async () => {
    const info = await sandbox.info().catch(() => undefined);
    return (
      info !== undefined &&
      info.pids.app !== pids.app &&
      (await sandbox.call('/health').catch(() => undefined))?.status === 200
    );
  });
}

/** One run, one session, one file, completed once, nothing left in the cloud. */
async function expectCompletedOnce(id: string, alert: any): Promise<any> {
  const run = await runIn(sandbox, id, ['completed', 'failed']);
  expect(run).toMatchObject({ state: 'completed', verdict: { code: 'captured' } });
  expect(run.timeline.filter((e: any) => e.event === 'completed')).toHaveLength(1);
  expect(run.captures).toHaveLength(1);
  const captures = (await sandbox.call(`/captures?run=${id}`)).body.items;
  expect(captures.map((c: any) => c.id)).toEqual(run.captures);
  const created = (await sandbox.requests()).filter(
    (r) => r.method === 'PUT' && r.path.includes(id) && r.status === 201,
  );
  expect(created).toHaveLength(1);
  await until(
    'the session is removed',
    async () => !(await sandbox.call('/sessions')).body.items.some((s: any) => s.name.includes(id)),
  );
  const repeat = await post(alert);
  expect(repeat.body.runs).toEqual([expect.objectContaining({ id, created: false })]);
  return run;
}

/** What was hit; looked at together at the end, since all of them take a while and do not mind each other. */
const hit: { id: string; alert: any; stop?: Record<string, string> }[] = [];

describe('a run whose app is killed', () => {
  it('while it is accepted', async () => {
    await sandbox.faults({ down: true });
    const { id, alert } = await expectFired('killed-accepted');
    expect((await runIn(sandbox, id, ['accepted'])).session).toBeUndefined();
    await killApp();
    await sandbox.faults({ down: false });
    hit.push({ id, alert });
  });

  it('while it is starting', async () => {
    await sandbox.faults({ delayMs: 1200 });
    const alert = alertOn('killed-starting');
    // The request dies with the app.
    const answer = post(alert).catch(() => undefined);
    const id: string = await until(
      'the run is starting',
      async () =>
        (await sandbox.call('/runs?state=starting')).body.items?.find((r: any) => r.target.endsWith('killed-starting'))
          ?.id,
    );
    await killApp();
    await sandbox.faults(null);
    expect(await answer).toBeUndefined();
    hit.push({ id, alert });
  });

  it('while it is running', async () => {
    const { id, alert } = await expectFired('killed-running');
    await runIn(sandbox, id, ['running']);
    await killApp();
    hit.push({ id, alert, stop: { reason: 'time-limit' } });
  });

  it('while it is stopping', async () => {
    const { id, alert } = await expectFired('killed-stopping');
    await runIn(sandbox, id, ['running']);
    await sandbox.faults({ delayMs: 1000 });
    const stop = sandbox.call(`/runs/${id}/stop`, { method: 'POST' }).catch(() => undefined);
    await runIn(sandbox, id, ['stopping']);
    await killApp();
    await sandbox.faults(null);
    await stop;
    hit.push({ id, alert, stop: { reason: 'operator', by: 'tripcap' } });
  });

  it('while its file is awaited', async () => {
    await sandbox.faults({ upload: 'never' });
    const { id, alert } = await expectFired('killed-collecting');
    await runIn(sandbox, id, ['collecting']);
    await killApp();
    await sandbox.faults(null);
    hit.push({ id, alert });
  });

  it('when it is completed and its session is still in the cloud', async () => {
    const { id, alert } = await expectFired('killed-completed');
    await runIn(sandbox, id, ['completed']);
    await killApp();
    hit.push({ id, alert });
  });

  it('at moments drawn by lot after the answer', async () => {
    // A fixed seed: the same moments every time.
    let seed = 20_261_122;
    const draw = (): number => (seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648) / 2_147_483_648;
    for (let i = 0; i < 5; i++) {
      hit.push(await expectFired(`killed-sometime-${i}`));
      await delay(draw() * 1500);
      await killApp();
    }
  });

  it('is completed once all the same, each of them', async () => {
    expect(hit).toHaveLength(11);
    for (const { id, alert, stop = {} } of hit) {
      expect((await expectCompletedOnce(id, alert)).stop).toMatchObject(stop);
    }
  });
}, 60_000);
