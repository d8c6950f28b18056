import { createHash } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { until } from '../until.ts';
import { Mirroring, callbackOf, clearedOf, instance, pollMs, region } from './mirroring.ts';
import { runIn, startSandbox, type Sandbox } from './sandbox.ts';

// Runs take some ten seconds each, whatever the machine: all go on side by side, each on an instance of its own.
vi.setConfig({ maxConcurrency: 20 });

const rules = `version: 1
rules:
  - name: short
    when: { source: cloudmonitor, alert: "short*" }
    target: alert
    limits: { duration: 4s, size: 20MiB, stopOnResolve: true }
  - name: long
    when: { source: cloudmonitor, alert: "long*" }
    target: alert
    limits: { duration: 5m, stopOnResolve: true }
  - name: twin-a
    when: { source: cloudmonitor, alert: twins }
    target: alert
    capture: { alibaba: { priority: 500 } }
    limits: { duration: 4s }
  - name: twin-b
    when: { source: cloudmonitor, alert: twins }
    target: alert
    capture: { alibaba: { priority: 500 } }
    limits: { duration: 4s }
  - name: prepared
    when: { source: cloudmonitor, alert: prepared }
    target: alert
    capture: { alibaba: { mode: enable, sessionId: tms-prepared0001 } }
    limits: { duration: 3s }
`;

let sandbox: Sandbox;
let cloud: Mirroring;
beforeAll(async () => {
  sandbox = await startSandbox(rules, { TRIPCAP_FILES_SETTLE_SECONDS: '3', TRIPCAP_FILE_TIMEOUT_SECONDS: '10' });
  cloud = await Mirroring.of(sandbox);
});
afterAll(() => sandbox.stop());

/** Fires an alert, and gives the only run that comes of it. */
async function fire(alertName: string, name: string): Promise<{ id: string; callback: Record<string, string> }> {
  const callback = callbackOf(alertName, name);
  const answer = await cloud.post(callback);
  expect(answer).toMatchObject({
    status: 202,
    body: { runs: [{ target: instance(name) }], ignored: [] },
  });
  expect(answer.body.runs).toHaveLength(1);
  return { id: answer.body.runs[0].id, callback };
}

async function start(name: string, request: object): Promise<string> {
  const answer = await cloud.start({ target: instance(name), ...request });
  expect(answer.body).toMatchObject({ provider: 'alibaba', target: instance(name) });
  return answer.body.id;
}

const over = (id: string) => runIn(sandbox, id, ['completed', 'failed']);
const capturesOf = async (id: string) => (await sandbox.call(`/captures?run=${id}`)).body.items;
const goneFor = (id: string) => until('its session is gone', async () => (await cloud.sessionOf(id)) === undefined);
const changesOf = async (session: string) =>
  (await cloud.calls()).filter(
    ({ action, parameters }) => !action.startsWith('List') && parameters['TrafficMirrorSessionId'] === session,
  );

/** How long the cloud had a session enabled, as far as one sees who looks all the time. */
async function enabledMs(find: () => Promise<{ enabled: boolean } | undefined>): Promise<number> {
  const now = async () => (await find())?.enabled === true;
  await until('the session is enabled', now);
  const since = performance.now();
  await until('the session is disabled', async () => !(await now()));
  return performance.now() - since;
}

describe.concurrent('mirrored traffic', () => {
  it('of a CloudMonitor alert is caught from the moment on that its session is enabled, until its time is up', async () => {
    const { id, callback } = await fire('short memory', '8psdh7l6lphbn10l0001');
    const lasted = await enabledMs(() => cloud.sessionOf(id));
    expect(lasted).toBeGreaterThan(3000);
    expect(lasted).toBeLessThan(4000 + 2 * pollMs);
    const run = await over(id);
    expect(run).toMatchObject({
      state: 'completed',
      provider: 'alibaba',
      target: instance('8psdh7l6lphbn10l0001'),
      trigger: { kind: 'alert', source: 'cloudmonitor', rule: 'short' },
      session: { id: expect.stringMatching(/^tms-/) },
      stop: { reason: 'time-limit', by: 'tripcap' },
      verdict: { code: 'captured' },
    });
    const captures = await capturesOf(id);
    expect(new Set(captures.map((c: any) => c.id))).toEqual(new Set(run.captures));
    expect(captures.length).toBeGreaterThan(0);
    for (const capture of captures) {
      expect(capture).toMatchObject({
        runId: id,
        container: 'mirror-captures',
        format: 'pcap',
        linkTypes: ['ETHERNET'],
      });
      expect(capture.blob.startsWith(`${id}/`)).toBe(true);
      const link = await sandbox.call(`/captures/${capture.id}/file`);
      const file = Buffer.from(await (await fetch(link.headers.get('location') ?? '')).arrayBuffer());
      expect(file.length).toBe(capture.bytes);
      expect(createHash('sha256').update(file).digest('hex')).toBe(capture.sha256);
    }
    // What the machine says, whatever addresses the mirror goes by.
    expect(captures[0].talkers.map((t: any) => t.address)).toContain('10.0.0.4');
    expect(captures[0].protocols.vxlan).toBeUndefined();
    await goneFor(id);
    expect((await cloud.post(callback)).body.runs).toEqual([expect.objectContaining({ id, created: false })]);
  });

  it('is asked for once, however often the alert is delivered', async () => {
    const callback = callbackOf('short burst', 'burst01');
    const answers = await Promise.all(Array.from({ length: 10 }, () => cloud.post(callback)));
    expect(answers.map((a) => a.status)).toEqual(Array(10).fill(202));
    const [{ id }] = answers[0].body.runs;
    expect(answers.map((a) => a.body.runs)).toEqual(Array(10).fill([expect.objectContaining({ id })]));
    expect((await sandbox.call(`/runs?target=${instance('burst01')}`)).body.items).toHaveLength(1);
    expect(await over(id)).toMatchObject({ state: 'completed', verdict: { code: 'captured' } });
    const made = (await cloud.calls()).filter(
      ({ action, parameters, status }) =>
        action === 'CreateTrafficMirrorSession' &&
        status === 200 &&
        parameters['TrafficMirrorSessionName'] === `tripcap-sandbox-${id}`,
    );
    // Asked for again, if at all, with the same token.
    expect(new Set(made.map(({ parameters }) => parameters['ClientToken'])).size).toBe(1);
  });

  it('ends with the alert', async () => {
    const { id, callback } = await fire('long cpu', 'resolved01');
    await runIn(sandbox, id, ['running']);
    const cleared = clearedOf(callback);
    expect(await cloud.post(cleared)).toMatchObject({
      status: 202,
      body: { runs: [], stopped: [id], ignored: [{ reason: 'resolved' }] },
    });
    await until('the session is disabled', async () => (await cloud.sessionOf(id))?.enabled !== true);
    expect((await cloud.post(cleared)).body.stopped).toEqual([id]);
    expect(await over(id)).toMatchObject({
      state: 'completed',
      stop: { reason: 'alert-resolved', by: 'tripcap' },
      verdict: { code: 'captured' },
    });
    await goneFor(id);
  });

  it('may be asked for by two rules that want the same priority', async () => {
    const answer = await cloud.post(callbackOf('twins', 'twins01'));
    expect(answer.body.runs.map((r: any) => r.rule).toSorted()).toEqual(['twin-a', 'twin-b']);
    const ids: string[] = answer.body.runs.map((r: any) => r.id);
    const sessions = await until('both have a session', async () => {
      const all = await Promise.all(ids.map((id) => cloud.sessionOf(id)));
      return all.every((one) => one?.enabled) && all;
    });
    const priorities = sessions.map((one) => one?.priority);
    expect(new Set(priorities).size).toBe(2);
    expect(priorities).toContain(500);
    expect(new Set(sessions.map((one) => one?.vni)).size).toBe(2);
    for (const id of ids) expect(await over(id)).toMatchObject({ state: 'completed' });
    await Promise.all(ids.map(goneFor));
  });

  it('of a session that was prepared is switched on and off, and the session stays', async () => {
    const prepared = async () => (await cloud.sessions()).find((one) => one.id === 'tms-prepared0001');
    const before = await prepared();
    const { id } = await fire('prepared', 'j6c9pagb27uzlikj0001');
    const lasted = await enabledMs(prepared);
    expect(lasted).toBeLessThan(3000 + 2 * pollMs);
    expect(await over(id)).toMatchObject({
      state: 'completed',
      session: { id: 'tms-prepared0001' },
      stop: { reason: 'time-limit' },
      verdict: { code: 'captured' },
    });
    // Both of its sources were mirrored, and each has files of its own.
    const sources = (await capturesOf(id)).map((c: any) => /(eni-\w+)/.exec(c.blob)?.[1]);
    expect(new Set(sources)).toEqual(new Set(['eni-8psdh7l6lphbn10l0001', 'eni-j6c9pagb27uzlikj0001']));
    await until('it is nobody of ours any more', async () => {
      const { items } = (await sandbox.call('/sessions?provider=alibaba')).body;
      return !items.some((s: any) => s.id === 'tms-prepared0001' && s.mark !== 'foreign');
    });
    expect(await prepared()).toEqual({ ...before, enabled: false, sent: expect.anything() });
    expect((await changesOf('tms-prepared0001')).map(({ action }) => action)).not.toContain(
      'DeleteTrafficMirrorSession',
    );
  });

  it('ends when it is as much as was asked for', async () => {
    const id = await start('sized01', { limits: { durationSeconds: 300, sizeBytes: 20_000 } });
    expect(await over(id)).toMatchObject({
      state: 'completed',
      stop: { reason: 'size-limit', by: 'tripcap' },
      verdict: { code: 'captured' },
    });
    const bytes = (await capturesOf(id)).reduce((sum: number, c: any) => sum + c.bytes, 0);
    expect(bytes).toBeGreaterThan(10_000);
    expect(bytes).toBeLessThanOrEqual(20_000);
    await goneFor(id);
  });

  it('ends when its run is removed, and what was caught stays', async () => {
    const id = await start('removed01', { limits: { durationSeconds: 300 } });
    await runIn(sandbox, id, ['running']);
    await until('packets', () => cloud.collector()?.sessions.some((one) => one.run === id && one.packets > 0));
    expect(await sandbox.call(`/runs/${id}`, { method: 'DELETE' })).toMatchObject({ status: 202, body: { id } });
    await goneFor(id);
    expect(await over(id)).toMatchObject({ state: 'completed', stop: { reason: 'operator' } });
    expect((await capturesOf(id)).length).toBeGreaterThan(0);
  });

  it('of others is shown and left alone, and nothing is taken away from them', async () => {
    const foreign = async () => (await cloud.sessions()).find((one) => one.id === 'tms-foreign0001');
    const before = await foreign();
    const { id: refused } = await fire('short io', 'bp1ecr000100015go2go');
    expect(await over(refused)).toMatchObject({
      state: 'failed',
      verdict: { code: 'mirrored-already', summary: expect.stringContaining('tms-foreign0001') },
    });
    const { id } = await fire('long io', 'shown01');
    await runIn(sandbox, id, ['running']);
    const { body } = await sandbox.call(`/sessions?provider=alibaba&region=${region}`);
    expect(body.items).toEqual(
      expect.arrayContaining([
        expect.objectContaining({ mark: 'ours', run: id, target: expect.stringContaining('eni/eni-shown01') }),
        expect.objectContaining({ mark: 'foreign', id: 'tms-foreign0001' }),
      ]),
    );
    await sandbox.call(`/runs/${id}/stop`, { method: 'POST' });
    await over(id);
    expect(await foreign()).toEqual({ ...before, enabled: true, sent: expect.anything() });
    expect(await changesOf('tms-foreign0001')).toEqual([]);
  });

  it('under our name that no run knows is a leak, and ended', async () => {
    const name = `tripcap-sandbox-${'0'.repeat(26)}`;
    await cloud.asSomebody('CreateTrafficMirrorSession', {
      TrafficMirrorSessionName: name,
      TrafficMirrorFilterId: 'tmf-all0001',
      TrafficMirrorTargetId: 'eni-collector0001',
      TrafficMirrorTargetType: 'NetworkInterface',
      'TrafficMirrorSourceIds.1': 'eni-leaked01',
      Priority: '30',
      Enabled: 'true',
    });
    const mark = async () =>
      (await sandbox.call('/sessions?provider=alibaba')).body.items.find((s: any) => s.name === name)?.mark;
    expect(['leaked', undefined]).toContain(await mark());
    await until('it is gone', async () => !(await cloud.sessions()).some((one) => one.name === name));
    expect(sandbox.said()).toContain('leak: ');
  });
});

describe('the keys of the cloud', () => {
  it('are known to the one who runs the sandbox, and to nobody else on the machine', async () => {
    const { alibaba, pids } = await sandbox.info();
    const other = JSON.parse(readFileSync(join(sandbox.data, 'keys.json'), 'utf8'));
    expect(alibaba).toEqual({ region, accessKeyId: other.accessKeyId, accessKeySecret: other.accessKeySecret });
    for (const file of ['keys.json', 'sandbox.json']) expect(statSync(join(sandbox.data, file)).mode & 0o077).toBe(0);
    for (const pid of [sandbox.pid, ...Object.values(pids)])
      expect(readFileSync(`/proc/${String(pid)}/cmdline`, 'utf8')).not.toContain(alibaba.accessKeySecret);
    expect(sandbox.said()).not.toContain(alibaba.accessKeySecret);
    for (const path of ['/health', '/runs', '/sessions', '/alerts'])
      expect(JSON.stringify((await sandbox.call(path)).body)).not.toContain(alibaba.accessKeySecret);
  });
});
