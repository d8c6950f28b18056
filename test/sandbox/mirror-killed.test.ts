import { BlobServiceClient } from '@azure/storage-blob';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { until } from '../until.ts';
import { Mirroring, callbackOf, pollMs } from './mirroring.ts';
import { runIn, startSandbox, type Sandbox } from './sandbox.ts';

// App, collector and cloud are killed while machines are mirrored; the supervisor starts them again, as platforms would.

const limitMs = 6000;
const rules = `version: 1
rules:
  - name: any
    when: { source: cloudmonitor }
    target: alert
    limits: { duration: 6s }
`;

let sandbox: Sandbox;
let cloud: Mirroring;
let seen: EnabledTimes;
beforeAll(async () => {
  sandbox = await startSandbox(rules, { TRIPCAP_FILES_SETTLE_SECONDS: '3' });
  cloud = await Mirroring.of(sandbox);
  seen = new EnabledTimes(cloud);
});
afterAll(async () => {
  seen.stop();
  await sandbox.stop();
});

/** Looks all the time which of our sessions are enabled, as far as the cloud can be asked. */
class EnabledTimes {
  readonly #times = new Map<string, { id: string; since: number; until: number }[]>();
  #watching = true;

  constructor(of: Mirroring) {
    void this.#watch(of);
  }

  /** The longest stretch of a run's session, and the ids that its sessions have had. */
  of(run: string): { longestMs: number; ids: Set<string> } {
    const times = this.#times.get(`tripcap-sandbox-${run}`) ?? [];
    return {
      longestMs: Math.max(0, ...times.map((each) => each.until - each.since)),
      ids: new Set(times.map(({ id }) => id)),
    };
  }

  stop(): void {
    this.#watching = false;
  }

  async #watch(of: Mirroring): Promise<void> {
    let before = new Set<string>();
    while (this.#watching) {
      const sessions = await of.sessions().catch(() => undefined);
      const now = performance.now();
      const enabled = sessions?.filter((one) => one.enabled && one.name.startsWith('tripcap-')) ?? [];
      for (const { id, name } of enabled) {
        const times = this.#times.get(name) ?? [];
        this.#times.set(name, times);
        const last = times.at(-1);
        if (last?.id === id && before.has(id)) last.until = now;
        else times.push({ id, since: now, until: now });
      }
      // While nobody answers, what was enabled is taken to be so still.
      if (sessions) before = new Set(enabled.map(({ id }) => id));
      await delay(50);
    }
  }
}

async function fire(name: string): Promise<string> {
  const answer = await cloud.post(callbackOf(`killed ${name}`, name));
  expect(answer).toMatchObject({ status: 202, body: { runs: [{ id: expect.any(String) }] } });
  return answer.body.runs[0].id;
}

const isUp = async () => (await sandbox.call('/health').catch(() => undefined))?.status === 200;

/** Kills a process and waits until its successor runs; of the app, until it answers. */
async function kill(name: 'app' | 'collector' | 'vpc'): Promise<void> {
  const { pids } = await sandbox.info();
  process.kill(pids[name], 'SIGKILL');
  await until(`${name} is back`, async () => {
    const info = await sandbox.info().catch(() => undefined);
    return info !== undefined && info.pids[name] !== pids[name] && (await isUp());
  });
}

/** One session, no longer than its time; its files are all in the catalogue, once each; nothing is left in the cloud. */
async function expectCaughtOnce(id: string): Promise<any> {
  const run = await runIn(sandbox, id, ['completed', 'failed'], 50_000);
  expect(run).toMatchObject({ state: 'completed', verdict: { code: 'captured' } });
  expect(run.timeline.filter((e: any) => e.event === 'completed')).toHaveLength(1);
  const { ids, longestMs } = seen.of(id);
  expect(ids.size).toBe(1);
  expect(longestMs).toBeLessThan(limitMs + 2 * pollMs);
  // A file that waited for a new collector may come when its run was completed, and joins it all the same.
  const captures = await until('every file is catalogued', async () => {
    const { items } = (await sandbox.call(`/captures?run=${id}`)).body;
    const blobs = items.map((c: any) => c.blob).toSorted();
    return isDeepStrictEqual(blobs, (await filesOf(id)).toSorted()) && items;
  });
  const told = async () => (await sandbox.call(`/runs/${id}`)).body.captures.toSorted();
  await until('its run was told of each', async () =>
    isDeepStrictEqual(captures.map((c: any) => c.id).toSorted(), await told()),
  );
  expect(captures.every((c: any) => c.packets > 0 && c.damage === undefined)).toBe(true);
  await until('the session is removed', async () => (await cloud.sessionOf(id)) === undefined);
  return run;
}

/** What the collector has brought to storage for a run. */
async function filesOf(id: string): Promise<string[]> {
  const { storageConnectionString } = await sandbox.info();
  const container =
    BlobServiceClient.fromConnectionString(storageConnectionString).getContainerClient('mirror-captures');
  const names = [];
  for await (const { name } of container.listBlobsFlat({ prefix: `${id}/` })) names.push(name);
  return names;
}

/** What still lies on the collector's disk. */
function waitingFiles(): string[] {
  const folder = join(sandbox.data, 'collector/runs');
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((name) => /\.(cap|open)$/.test(name));
}

describe('mirrored traffic', () => {
  const ids: string[] = [];

  it('goes on whoever is killed, at moments drawn by lot', async () => {
    // A fixed seed: the same moments every time.
    let seed = 20_261_123;
    const draw = (): number => (seed = (seed * 1_103_515_245 + 12_345) % 2_147_483_648) / 2_147_483_648;
    for (const name of ['app', 'collector', 'vpc', 'collector', 'app'] as const) {
      ids.push(await fire(`sometime${ids.length}`));
      await delay(draw() * 2000);
      await kill(name);
    }
    expect(new Set(ids).size).toBe(5);
  });

  it('ends in time when the app is gone for good', async () => {
    const id = await fire('alone');
    await runIn(sandbox, id, ['running']);
    const { pids } = await sandbox.info();
    process.kill(sandbox.pid, 'SIGSTOP');
    try {
      process.kill(pids.app, 'SIGKILL');
      await until('the collector has disabled the session', () =>
        cloud.collector()?.sessions.some((one) => one.run === id && one.disabledAt !== undefined),
      );
      expect(await cloud.sessionOf(id)).toMatchObject({ enabled: false });
      expect(await isUp()).toBe(false);
      expect(seen.of(id).longestMs).toBeLessThan(limitMs + 2 * pollMs);
    } finally {
      process.kill(sandbox.pid, 'SIGCONT');
    }
    // It was not so for good: who comes back finds what there is.
    expect((await expectCaughtOnce(id)).stop).toMatchObject({ reason: 'time-limit', by: 'tripcap' });
  });

  it('was caught in every case, once and no longer than asked for', async () => {
    await Promise.all(ids.map(expectCaughtOnce));
    await until('nothing waits on the disk of the collector', () => waitingFiles().length === 0);
  });
});
