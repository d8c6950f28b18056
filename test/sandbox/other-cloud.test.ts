import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { instance } from './mirroring.ts';
import { alertFor, anyMachine, freePort, machine, runIn, startSandbox, subscription } from './sandbox.ts';
import { until } from '../until.ts';

const root = join(import.meta.dirname, '../..');

it('works with other clouds in place of the built-in ones (--arm, --vpc)', async () => {
  const [armPort, vpcPort] = [await freePort(), await freePort()];
  const arm = `http://127.0.0.1:${armPort}`;
  const vpc = `http://127.0.0.1:${vpcPort}`;
  const sandbox = await startSandbox(anyMachine, {}, ['--arm', arm, '--vpc', `localhost:${vpcPort}`]);
  const data = mkdtempSync(join(tmpdir(), 'tripcap-clouds-'));
  const info = await sandbox.info();
  expect(info).toMatchObject({ arm, vpc, subscriptions: [subscription, expect.any(String)] });
  expect(Object.keys(info.pids).toSorted()).toEqual(['app', 'collector', 'storage']);
  // Here they are further emulators, which file into the sandbox's storage and mirror to its collector as the clouds would.
  const start = (args: string[], env: Record<string, string> = {}): ChildProcess =>
    spawn(join(root, 'node_modules/.bin/node'), [...args, '--pace', '0.03'], {
      cwd: root,
      env: { PATH: process.env['PATH'], ...env },
      stdio: 'ignore',
    });
  const emulators = [
    start([
      ...['local/arm/main.ts', '--port', String(armPort), '--data', join(data, 'arm'), '--no-tcpdump'],
      ...['--storage', info.storageConnectionString, '--subscriptions', subscription],
    ]),
    start(
      [
        ...['local/vpc/main.ts', '--port', String(vpcPort), '--data', join(data, 'vpc'), '--loopback'],
        ...['--target', `eni-collector0001=${info.collector}`],
      ],
      {
        ALIBABA_CLOUD_ACCESS_KEY_ID: info.alibaba.accessKeyId,
        ALIBABA_CLOUD_ACCESS_KEY_SECRET: info.alibaba.accessKeySecret,
      },
    ),
  ];
  try {
    for (const cloud of [arm, vpc])
      await until('the other cloud answers', async () => (await fetch(`${cloud}/_log`).catch(() => undefined))?.ok);
    const alert = alertFor('abababab-0000-0000-0000-000000000001', [machine('elsewhere01')]);
    const request = { target: instance('elsewhere01'), limits: { durationSeconds: 3 } };
    const [fired, asked] = await Promise.all([
      sandbox.call('/alerts/azure-monitor', { method: 'POST', json: alert }),
      sandbox.call('/runs', { method: 'POST', json: request }),
    ]);
    for (const id of [fired.body.runs[0].id, asked.body.id]) {
      const run = await runIn(sandbox, id, ['completed', 'failed']);
      expect(run).toMatchObject({ state: 'completed', verdict: { code: 'captured' } });
    }
  } finally {
    for (const emulator of emulators) emulator.kill('SIGKILL');
    await sandbox.stop();
    rmSync(data, { recursive: true, force: true, maxRetries: 5 });
  }
});
