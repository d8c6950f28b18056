import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll } from 'vitest';

/** Real processes for the tests of the host: each is ended after the test file, whatever became of the tests. */

const root = join(import.meta.dirname, '../..');
const running = new Set<ChildProcess>();
afterAll(async () => {
  const ends = [...running].map((child) => once(child, 'exit'));
  for (const child of running) child.kill('SIGKILL');
  await Promise.all(ends);
});

/** Asks again and again until there is an answer; fails after `deadlineMs`. */
export async function until<T>(
  what: string,
  ask: () => Promise<T | undefined | false> | T | undefined | false,
  deadlineMs = 12_000,
): Promise<T> {
  const end = Date.now() + deadlineMs;
  while (Date.now() < end) {
    const answer = await ask();
    if (answer !== undefined && answer !== false) return answer;
    await delay(50);
  }
  throw new Error(`${what}: not within ${deadlineMs} ms`);
}

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
  const hosts = ['blob', 'queue', 'table'].flatMap((kind) => [`--${kind}Host`, '127.0.0.1', `--${kind}Port`, '0']);
  const flags = ['--inMemoryPersistence', '--skipApiVersionCheck', '--disableTelemetry', '--silent'];
  const { output } = start(['node_modules/.bin/azurite', ...flags, ...hosts], {});
  const url = (kind: string) =>
    until(
      `Azurite's ${kind} service`,
      () => new RegExp(`${kind} service is successfully.*(http:\\S+)`).exec(output())?.[1],
    );
  const account = 'devstoreaccount1';
  const key = 'Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==';
  return [
    'DefaultEndpointsProtocol=http',
    `AccountName=${account}`,
    `AccountKey=${key}`,
    `BlobEndpoint=${await url('Blob')}/${account}`,
    `QueueEndpoint=${await url('Queue')}/${account}`,
    '',
  ].join(';');
}

export interface Call {
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
