import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { afterAll } from 'vitest';
import { until } from '../until.ts';
import { startAzurite as startStorage, type Azurite } from '../azurite.ts';

/** Real processes for the tests of the host: each is ended after the test file, whatever became of the tests. */

const root = join(import.meta.dirname, '../..');
const running = new Set<ChildProcess>();
const storages: Azurite[] = [];
afterAll(async () => {
  const ends = [...running].map((child) => once(child, 'exit'));
  for (const child of running) child.kill('SIGKILL');
  await Promise.all([...ends, ...storages.map((storage) => storage.stop())]);
});

interface Running {
  child: ChildProcess;
  output: () => string;
  exitCode: () => Promise<number | null>;
}

function start(args: string[], env: NodeJS.ProcessEnv): Running {
  // The child must not take itself for a part of the test runner.
  const child = spawn(join(root, 'node_modules/.bin/node'), args, {
    cwd: root,
    env: { PATH: process.env['PATH'], ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  running.add(child);
  let output = '';
  child.stdout?.on('data', (chunk) => (output += String(chunk)));
  child.stderr?.on('data', (chunk) => (output += String(chunk)));
  const exit = once(child, 'exit').then(([code]) => {
    running.delete(child);
    return code as number | null;
  });
  return { child, output: () => output, exitCode: () => exit };
}

/** Azurite in memory on free ports; resolves to its connection string. */
export async function startAzurite(): Promise<string> {
  const azurite = await startStorage();
  storages.push(azurite);
  return azurite.connectionString;
}

interface Call {
  at: number;
  metadata: Record<string, unknown>;
  [given: string]: unknown;
}

export interface RunningHost extends Running {
  url: string;
  /** What the fixture app wrote down about a function. */
  calls: (name: string) => Promise<Call[]>;
  /** Waits until a function was called `count` times. */
  called: (name: string, count: number) => Promise<Call[]>;
  stop: () => Promise<number | null>;
}

/** The host with an app of this folder; resolves when it is ready. */
export async function startHost(
  env: Record<string, string> = {},
  { app = 'fixture-app', flags = [] }: { app?: string; flags?: string[] } = {},
): Promise<RunningHost> {
  const args = ['local/host/main.ts', '--app', join(import.meta.dirname, app), '--port', '0', ...flags];
  const host = start(args, env);
  const url = await until('the host', () => {
    if (host.child.exitCode !== null) throw new Error(`the host ended:\n${host.output()}`);
    return /^ready (http:\S+)$/m.exec(host.output())?.[1];
  });
  const calls = async (name: string): Promise<Call[]> => {
    return (await (await fetch(`${url}/api/calls/${name}`)).json()) as Call[];
  };
  return {
    ...host,
    url,
    calls,
    called: (name, count) =>
      until(`${count} calls of ${name}`, async () => {
        const all = await calls(name);
        return all.length >= count && all;
      }),
    async stop() {
      host.child.kill('SIGTERM');
      return host.exitCode();
    },
  };
}
