import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { alertFor, anyMachine, freePort, machine, runIn, startSandbox, subscription } from './sandbox.ts';
import { until } from '../until.ts';

const root = join(import.meta.dirname, '../..');

it('works with another Azure Resource Manager in place of the built-in one (--arm)', async () => {
  const port = await freePort();
  const arm = `http://127.0.0.1:${port}`;
  const sandbox = await startSandbox(anyMachine, {}, ['--arm', arm]);
  const data = mkdtempSync(join(tmpdir(), 'tripcap-arm-'));
  const info = await sandbox.info();
  expect(info).toMatchObject({ arm, subscriptions: [subscription, expect.any(String)] });
  // Here it is a second emulator, which files into the sandbox's storage as the cloud would.
  const args = ['local/arm/main.ts', '--port', String(port), '--data', data, '--storage', info.storageConnectionString];
  const emulator = spawn(
    join(root, 'node_modules/.bin/node'),
    [...args, '--subscriptions', subscription, '--pace', '0.03', '--no-tcpdump'],
    {
      cwd: root,
      env: { PATH: process.env['PATH'] },
      stdio: 'ignore',
    },
  );
  try {
    await until('the other cloud answers', async () => (await fetch(`${arm}/_log`).catch(() => undefined))?.ok);
    const alert = alertFor('abababab-0000-0000-0000-000000000001', [machine('elsewhere01')]);
    const answer = await sandbox.call('/alerts/azure-monitor', { method: 'POST', json: alert });
    const run = await runIn(sandbox, answer.body.runs[0].id, ['completed', 'failed']);
    expect(run).toMatchObject({ state: 'completed', verdict: { code: 'captured' } });
  } finally {
    emulator.kill('SIGKILL');
    await sandbox.stop();
    rmSync(data, { recursive: true, force: true, maxRetries: 5 });
  }
});
