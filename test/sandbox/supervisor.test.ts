import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { until } from '../until.ts';
import { anyMachine, startSandbox } from './sandbox.ts';

const root = join(import.meta.dirname, '../..');
const run = (...args: string[]) =>
  spawnSync(join(root, 'node_modules/.bin/node'), ['local/main.ts', ...args], {
    cwd: root,
    encoding: 'utf8',
    env: { PATH: process.env['PATH'] },
  });

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
};

describe('the supervisor', () => {
  it('tells wrong usage, a port in use and a folder in use', async () => {
    expect(run('--bogus')).toMatchObject({ status: 2, stderr: expect.stringContaining('--port N') });
    for (const endpoint of ['8080', 'http://127.0.0.1:8080', 'vpc.aliyuncs.com:443']) {
      expect(run('--vpc', endpoint)).toMatchObject({
        status: 2,
        stderr: expect.stringContaining('--vpc takes HOST:PORT on loopback'),
      });
    }
    expect(run('--port', '70000')).toMatchObject({
      status: 2,
      stderr: expect.stringContaining('--port takes a port number'),
    });
    const folder = mkdtempSync(join(tmpdir(), 'tripcap-supervisor-'));
    const server = createServer().listen(0, '127.0.0.1');
    try {
      await new Promise((listening) => server.once('listening', listening));
      const { port } = server.address() as { port: number };
      expect(run('--port', String(port), '--data', folder)).toMatchObject({
        status: 2,
        stderr: expect.stringContaining(`Port ${port} cannot be used`),
      });
    } finally {
      server.close();
      rmSync(folder, { recursive: true, force: true });
    }
  });

  it('starts each process again that dies', async () => {
    const sandbox = await startSandbox(anyMachine);
    try {
      const { pids } = await sandbox.info();
      expect(Object.keys(pids).toSorted()).toEqual(['app', 'arm', 'collector', 'storage', 'vpc']);
      for (const pid of Object.values(pids)) process.kill(pid as number, 'SIGKILL');
      await until('all are back', async () => {
        const info = await sandbox.info().catch(() => undefined);
        const health = await sandbox.call('/health').catch(() => undefined);
        return health?.status === 200 && info && Object.keys(pids).every((name) => info.pids[name] !== pids[name]);
      });
      expect((await sandbox.call('/sessions')).status).toBe(200);
    } finally {
      await sandbox.stop();
    }
  });

  it('takes everything down with itself, even when it is killed', async () => {
    const sandbox = await startSandbox(anyMachine);
    const { pids } = await sandbox.info();
    expect(Object.values(pids).every((pid) => isAlive(pid as number))).toBe(true);
    await sandbox.stop('SIGKILL');
    await until('all processes are gone', async () => !Object.values(pids).some((pid) => isAlive(pid as number)));
  });
});
