import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll } from 'vitest';
import { bundle } from '../../collector/build.ts';
import type { Status } from '../../collector/protocol.ts';
import { until } from '../until.ts';
import { folder, of, type Entry } from './entries.ts';

const root = join(import.meta.dirname, '../..');
const running = new Set<ChildProcess>();
afterAll(async () => {
  const ends = [...running].map((child) => once(child, 'exit'));
  for (const child of running) child.kill('SIGKILL');
  await Promise.all(ends);
});

/** As it ships, in one file; it starts sooner than its sources. */
const program = join(folder(), 'collector.mjs');
await bundle(program);

let started = 0;

export type CollectorOptions = {
  storage: string;
  data?: string;
  id?: string;
  port?: number;
  args?: string[];
  env?: Record<string, string>;
};

/** A collector as a process of its own, which is ended when the tests have. */
export class Collector {
  readonly id: string;
  readonly data: string;
  readonly child: ChildProcess;
  port = 0;
  output = '';
  readonly exit: Promise<number | null>;
  readonly #launchedAt = new Date().toISOString();

  private constructor(options: CollectorOptions) {
    this.id = options.id ?? `c${started++}`;
    this.data = options.data ?? folder();
    const args = ['--data', this.data, '--storage', options.storage, '--id', this.id, '--host', '127.0.0.1'];
    this.child = spawn(
      join(root, 'node_modules/.bin/node'),
      [
        program,
        ...args,
        ...['--port', String(options.port ?? 0), '--rotate-seconds', '0.6', '--grace-seconds', '0.5'],
        // Nobody there, unless a test has one.
        ...['--metadata', 'http://127.0.0.1:9', '--vpc', '127.0.0.1:9'],
        ...(options.args ?? []),
      ],
      { env: { PATH: process.env['PATH'], ...options.env }, stdio: ['ignore', 'pipe', 'pipe'] },
    );
    running.add(this.child);
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream?.on('data', (chunk) => (this.output += String(chunk)));
    }
    this.exit = once(this.child, 'exit').then(([code]) => {
      running.delete(this.child);
      return code as number | null;
    });
  }

  static async start(options: CollectorOptions): Promise<Collector> {
    const collector = new Collector(options);
    collector.port = await until('the collector is ready', () => {
      if (collector.child.exitCode !== null) throw new Error(`it ended: ${collector.output}`);
      const found = /^ready udp:\/\/127\.0\.0\.1:(\d+)$/m.exec(collector.output);
      return found ? Number(found[1]) : undefined;
    });
    return collector;
  }

  /** Started without waiting: for what ends at once. */
  static launch(options: CollectorOptions): Collector {
    return new Collector(options);
  }

  /** Its status as it lies in its folder: the same as in storage, and to be had without it. */
  status(): Status | undefined {
    try {
      return JSON.parse(readFileSync(join(this.data, 'status.json'), 'utf8')) as Status;
    } catch {
      // Not there yet, or being written.
      return undefined;
    }
  }

  /** Waits until it says so; of a status of this process, not of one before it. */
  async when(what: string, test: (status: Status) => boolean, deadlineMs = 15_000): Promise<Status> {
    let last: Status | undefined;
    try {
      return await until(
        what,
        () => {
          last = this.status();
          return last && last.startedAt >= this.#launchedAt && test(last) ? last : undefined;
        },
        deadlineMs,
      );
    } catch (error) {
      const seen = `the last status: ${JSON.stringify(last)}; ${this.output.slice(-1000)}`;
      throw new Error(`${(error as Error).message}; ${seen}`, { cause: error });
    }
  }

  async whenKnown(one: Entry): Promise<void> {
    await this.when(`${one.session} is known`, (status) => of(status, one) !== undefined);
  }

  async kill(): Promise<void> {
    this.child.kill('SIGKILL');
    await this.exit;
  }

  async stop(): Promise<number | null> {
    this.child.kill('SIGTERM');
    return this.exit;
  }
}
