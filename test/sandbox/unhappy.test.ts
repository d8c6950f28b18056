import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { setTimeout as delay } from 'node:timers/promises';
import {
  alertFor,
  anyMachine,
  machine,
  resolvedOf,
  runIn,
  startSandbox,
  subscription,
  type Sandbox,
} from './sandbox.ts';
import { until } from '../until.ts';

let sandbox: Sandbox;
beforeAll(async () => {
  // Events of blobs never come here: files are found because they are awaited.
  sandbox = await startSandbox(anyMachine, {
    TRIPCAP_FILE_TIMEOUT_SECONDS: '6',
    'AzureWebJobs.catalog.Disabled': 'true',
  });
});
afterAll(() => sandbox.stop());

const post = (alert: unknown) => sandbox.call('/alerts/azure-monitor', { method: 'POST', json: alert });
let count = 0;
const fresh = (name: string, changes = {}) =>
  alertFor(`dddddddd-0000-0000-0000-${String(++count).padStart(12, '0')}`, [machine(name)], changes);
/** Runs that only have to come to their end: waited for together, after everything else. */
const completing: string[] = [];
const runOf = async (name: string): Promise<string> => (await post(fresh(name))).body.runs[0].id;

describe('a payload that is none', () => {
  const raw = (body: string | Uint8Array<ArrayBuffer>) =>
    sandbox.call('/alerts/azure-monitor', { method: 'POST', body, headers: { 'content-type': 'application/json' } });
  const good = JSON.stringify(alertFor('eeeeeeee-0000-0000-0000-000000000000', [machine('never01')]));

  const hostile: [string, string | Uint8Array<ArrayBuffer>, number][] = [
    ['nothing', '', 400],
    ['garbage', '}{ nonsense', 400],
    ['bytes', new Uint8Array([0xff, 0xfe, 0, 1, 2, 0xc3, 0x28]), 400],
    ['an array', `[${good}]`, 400],
    ['a number', '42', 400],
    ['null', 'null', 400],
    ['half an alert', good.slice(0, good.length / 2), 400],
    ['another schema', '{"schemaId":"AzureMonitorMetricAlert","data":{}}', 400],
    ['no essentials', '{"schemaId":"azureMonitorCommonAlertSchema","data":{}}', 400],
    ['no time', good.replace(/"firedDateTime":"[^"]*"/, '"firedDateTime":"yesterday"'), 400],
    ['a condition of its own', good.replace('"Fired"', '"Perhaps"'), 400],
    ['targets that are no texts', good.replace(/"alertTargetIDs":\[[^\]]*\]/, '"alertTargetIDs":[{"a":1},7]'), 400],
    [
      'too many targets',
      good.replace(/"alertTargetIDs":\[[^\]]*\]/, `"alertTargetIDs":[${Array(1001).fill('"/x"').join()}]`),
      400,
    ],
    ['deep objects', `${'{"a":'.repeat(100_000 / 5)}1${'}'.repeat(100_000 / 5)}`, 400],
    ['deep arrays', '['.repeat(200_000), 400],
    ['more than 256 KiB', good.replace('"description":""', `"description":"${'x'.repeat(256 * 1024)}"`), 413],
    ['10 MiB', 'x'.repeat(10 * 1024 * 1024), 413],
  ];
  it.each(hostile)('%s', async (_, body, status) => {
    const answer = await raw(body);
    expect(answer.status).toBe(status);
    expect(answer.headers.get('content-type')).toBe('application/problem+json');
    expect(answer.body).toMatchObject({ status, code: expect.any(String), detail: expect.any(String) });
  });

  it('tricks in an alert do no harm: they name no machine', async () => {
    const tricks = [
      '/subscriptions/../../etc/passwd',
      `${machine('x')}/../y`,
      `${machine("x' or 1 eq 1")}`,
      machine('x?y#z'),
      '\u0000',
      `${machine('x')}\n`,
      '__proto__',
    ];
    const alert = fresh('x', {
      alertTargetIDs: tricks,
      alertRule: '<script>alert(1)</script>',
      __proto__: { polluted: true },
    });
    alert.data.essentials['__proto__x'] = 1;
    const answer = await post(alert);
    expect(answer.status).toBe(202);
    expect(answer.body.runs).toEqual([]);
    expect(answer.body.ignored).toHaveLength(tricks.length);
    expect(({} as any).polluted).toBeUndefined();
  });

  it('starts nothing at all', async () => {
    expect((await sandbox.call('/runs')).body.items).toEqual([]);
    expect((await sandbox.requests()).filter((r) => r.method === 'PUT')).toEqual([]);
  });
});

describe('the cloud', () => {
  it('that loses the event of a file does not lose the file', async () => {
    const run = await runIn(sandbox, await runOf('no-event'), ['completed', 'failed']);
    expect(run).toMatchObject({ state: 'completed', verdict: { code: 'captured' } });
  });

  it('that never delivers the file is given up on, and the verdict says so', async () => {
    await sandbox.faults({ upload: 'never' });
    const run = await runIn(sandbox, await runOf('no-file'), ['completed', 'failed']);
    await sandbox.faults(null);
    expect(run).toMatchObject({
      state: 'completed',
      captures: [],
      stop: { reason: 'time-limit' },
      verdict: { code: 'no-file', next: expect.stringContaining('storage') },
    });
    await until(
      'the session is removed',
      async () => !(await sandbox.call('/sessions')).body.items.some((s: any) => s.name.includes(run.id)),
    );
  });

  it('whose own time limit fails is stopped by our clock', async () => {
    await sandbox.faults({ limits: 'ignored' });
    const run = await runIn(sandbox, await runOf('no-limit'), ['completed', 'failed']);
    await sandbox.faults(null);
    expect(run).toMatchObject({
      state: 'completed',
      stop: { reason: 'time-limit', by: 'tripcap' },
      verdict: { code: 'captured' },
    });
    // 3 s limit, 4 s grace; two poll intervals and the stop itself on top.
    expect(Date.parse(run.stop.at) - Date.parse(run.startedAt)).toBeLessThan(12_000);
  });

  it('that is down when the alert comes gets the run once it is back', async () => {
    await sandbox.faults({ down: true });
    const answer = await post(fresh('cloud-down'));
    expect(answer).toMatchObject({ status: 202, body: { runs: [{ created: true }] } });
    await delay(3000);
    const { id } = answer.body.runs[0];
    expect((await sandbox.call(`/runs/${id}`)).body).toMatchObject({
      state: 'accepted',
      timeline: expect.arrayContaining([expect.objectContaining({ event: 'start-delayed' })]),
    });
    await sandbox.faults(null);
    completing.push(id);
  });

  it('that is slow does not keep the sender waiting', async () => {
    await sandbox.faults({ delayMs: 8000 });
    const began = performance.now();
    const answer = await post(fresh('cloud-slow'));
    expect(performance.now() - began).toBeLessThan(4500);
    expect(answer).toMatchObject({ status: 202, body: { runs: [{ created: true }] } });
    await sandbox.faults(null);
    completing.push(answer.body.runs[0].id);
  });

  it('holds what others put there, which is left alone, and what is under our name without a run, which is not', async () => {
    const { arm } = await sandbox.info();
    const watcher = `/subscriptions/${subscription}/resourceGroups/NetworkWatcherRG/providers/Microsoft.Network/networkWatchers/NetworkWatcher_westus2`;
    const put = async (name: string) => {
      const answer = await sandbox.call(`${arm}${watcher}/packetCaptures/${name}?api-version=2025-07-01`, {
        method: 'PUT',
        headers: { authorization: 'Bearer x' },
        json: {
          properties: {
            target: machine('other01'),
            storageLocation: { filePath: '/var/captures/a.cap' },
            timeLimitInSeconds: 600,
          },
        },
      });
      expect(answer.status).toBe(201);
    };
    await put('somebody-elses');
    const leak = `tripcap-sandbox-${'0'.repeat(26)}`;
    await put(leak);
    const marks = async () =>
      Object.fromEntries(
        (await sandbox.call('/sessions?provider=azure&region=westus2')).body.items.map((s: any) => [s.name, s.mark]),
      );
    // Somebody may have looked already, and taken it away.
    expect([undefined, 'leaked']).toContain((await marks())[leak]);
    await until('what is under our name without a run is removed', async () => !(leak in (await marks())));
    completing.push(await runOf('beside-others'));
  });
});

describe('storage', () => {
  it('out of reach is 503 with Retry-After, and nothing is lost when it is back', async () => {
    const { pids } = await sandbox.info();
    const alert = fresh('storage-away');
    process.kill(pids.storage, 'SIGSTOP');
    try {
      const began = performance.now();
      const answer = await post(alert);
      expect(performance.now() - began).toBeLessThan(10_000);
      expect(answer).toMatchObject({ status: 503, body: { code: 'storage-unavailable' } });
      expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0);
      expect((await sandbox.call('/health')).status).toBe(503);
    } finally {
      process.kill(pids.storage, 'SIGCONT');
    }
    const again = await until('storage is back', async () => {
      const answer = await post(alert);
      return answer.status === 202 && answer;
    });
    completing.push(again.body.runs[0].id);
  });
});

describe('a bad rules file', () => {
  it('is told by health with its lines, all at once; alerts are still answered, and start once it is mended', async () => {
    sandbox.writeRules(`version: 1
rules:
  - name: Bad Name
    when: { source: azure-monitor, colour: red }
    target: alert
    limits: { duration: soon }
`);
    const health = await until('health tells', async () => {
      const answer = await sandbox.call('/health');
      return answer.body.status === 'degraded' && answer;
    });
    expect(health.status).toBe(200);
    expect(health.body.rules.problems.map((p: any) => [p.line, p.path])).toEqual([
      [3, 'rules[0].name'],
      [4, 'rules[0].when.colour'],
      [6, 'rules[0].limits.duration'],
    ]);
    const alert = fresh('bad-rules');
    expect(await post(alert)).toMatchObject({
      status: 202,
      body: { runs: [], ignored: [{ reason: 'no-rule', detail: expect.stringContaining('line 3') }] },
    });
    sandbox.writeRules(anyMachine);
    await until('the rules are in force', async () => (await sandbox.call('/health')).body.rules.count === 1);
    const answer = await post(alert);
    expect(answer.body.runs).toHaveLength(1);
    await post(resolvedOf(alert));
    completing.push(answer.body.runs[0].id);
  });
});

describe('admission', () => {
  it('keeps the cool-down and the number of runs at once, also against alerts side by side', async () => {
    sandbox.writeRules(`version: 1
rules:
  - name: limited
    when: { source: azure-monitor, severity: Sev3 }
    target: alert
    limits: { duration: 3s, cooldown: 1h, concurrent: 2 }
`);
    await until('the rules are in force', async () => (await sandbox.call('/health')).body.rules.count === 1);
    const many = await Promise.all(Array.from({ length: 6 }, (_, i) => post(fresh(`crowd-${i}`))));
    expect(many.flatMap((a) => a.body.runs)).toHaveLength(2);
    expect(many.flatMap((a) => a.body.ignored.map((i: any) => i.reason))).toEqual(Array(4).fill('concurrency'));
    const [first] = many.flatMap((a) => a.body.runs);
    await Promise.all(many.flatMap((a) => a.body.runs).map((r: any) => runIn(sandbox, r.id, ['completed'])));
    const again = await post(fresh(first.target.split('/').at(-1)));
    expect(again.body).toMatchObject({
      runs: [],
      ignored: [{ rule: 'limited', target: first.target, reason: 'cooldown' }],
    });
  });
});

describe('everything that was started', () => {
  it('is completed with its packets, and what others put into the cloud is still there', async () => {
    expect(completing).toHaveLength(5);
    for (const id of completing) {
      const run = await runIn(sandbox, id, ['completed', 'failed']);
      expect(run).toMatchObject({ state: 'completed', verdict: { code: 'captured' } });
    }
    const { items } = (await sandbox.call('/sessions')).body;
    expect(items.map((s: any) => [s.name, s.mark])).toContainEqual(['somebody-elses', 'foreign']);
  });
});
