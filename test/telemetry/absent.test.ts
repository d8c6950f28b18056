import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startHost, type RunningHost } from '../host/processes.ts';
import { until } from '../until.ts';

// The bundle that ships, without the part that sends telemetry: it is missed only when telemetry is on.

const root = join(import.meta.dirname, '../..');
const key = 'InstrumentationKey=00000000-0000-0000-0000-000000000000';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'tripcap-app-'));
  for (const part of ['package.json', 'host.json', 'rules.yaml', 'dist']) {
    cpSync(join(root, part), join(folder, part), { recursive: true, filter: (path) => !/insights\.cjs/.test(path) });
  }
});
afterAll(() => rmSync(folder, { recursive: true }));

/** An app without storage: it answers, and has nothing to do. */
function start(env: Record<string, string>): Promise<RunningHost> {
  const rarely = '0 0 0 1 1 *';
  const schedules = {
    TRIPCAP_POLL_SCHEDULE: rarely,
    TRIPCAP_SCHEDULE_SCHEDULE: rarely,
    TRIPCAP_SWEEP_SCHEDULE: rarely,
  };
  return startHost({ ...schedules, ...env }, { app: relative(join(root, 'test/host'), folder) });
}

const problems = async (host: RunningHost) =>
  ((await (await fetch(`${host.url}/api/health`)).json()) as { problems: string[] }).problems.join('\n');

const missed = /telemetry cannot be sent.*Cannot find module '\.\/insights\.cjs'/;

describe('without its part for telemetry', () => {
  it('the app starts, answers and ends as if nothing were missing when telemetry is off', async () => {
    expect(existsSync(join(folder, 'dist/main.cjs'))).toBe(true);
    const host = await start({});
    expect(await problems(host)).not.toContain('APPLICATIONINSIGHTS');
    await host.stop();
    expect(host.output()).not.toMatch(/insights|telemetry/);
  });

  it('the app says once what it misses when telemetry is on, and answers all the same', async () => {
    const host = await start({ APPLICATIONINSIGHTS_CONNECTION_STRING: key });
    await until('a word of it', () => missed.test(host.output()));
    expect(await problems(host)).not.toContain('APPLICATIONINSIGHTS');
    await host.stop();
    expect(host.output().split('telemetry cannot be sent')).toHaveLength(2);
  });

  it('a broken connection string is a problem of health, and nothing is loaded', async () => {
    const host = await start({ APPLICATIONINSIGHTS_CONNECTION_STRING: 'InstrumentationKey=secret' });
    expect(await problems(host)).toMatch(/APPLICATIONINSIGHTS_CONNECTION_STRING must look like/);
    await host.stop();
    expect(host.output()).not.toMatch(/insights\.cjs|secret/);
  });
});

describe('the part for telemetry', () => {
  // What the bundled SDK would do by itself, by the names that its code has for it.
  it('asks nobody which statistics of itself to send', () => {
    const unasked = 'pollAndReschedule';
    const exporter =
      'node_modules/@azure/monitor-opentelemetry-exporter/dist/commonjs/_configuration/configurationWorker.js';
    expect(readFileSync(join(root, exporter), 'utf8')).toContain(unasked);
    expect(readFileSync(join(root, 'dist/insights.cjs'), 'utf8')).not.toContain(unasked);
  });

  it('has none of the automatic collection', () => {
    const bundle = readFileSync(join(root, 'dist/insights.cjs'), 'utf8');
    expect(bundle).toContain('RemoteDependencyData');
    // Calls over HTTP, invocations of functions, counters of the process.
    for (const mark of ['@opentelemetry/instrumentation-http', '@azure/functions-core', 'process.cpuUsage'])
      expect(bundle).not.toContain(mark);
  });
});
