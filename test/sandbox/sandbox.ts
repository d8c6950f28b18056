import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { until } from '../until.ts';

/** The sandbox as `npm start` runs it, in processes of its own, talked to over HTTP only. */

const root = join(import.meta.dirname, '../..');
export const subscription = '00000000-0000-0000-0000-000000000000';

type Answer = { status: number; headers: Headers; body: any };

export type Sandbox = {
  api: string;
  /** Folder that keeps everything. */
  data: string;
  /** Process id of the supervisor. */
  pid: number;
  call(
    path: string,
    init?: {
      method?: string;
      json?: unknown;
      body?: string | Uint8Array<ArrayBuffer>;
      headers?: Record<string, string>;
    },
  ): Promise<Answer>;
  /** What /_sandbox says. */
  info(): Promise<any>;
  /** Requests that the emulated cloud has seen. */
  requests(): Promise<{ method: string; path: string; status: number; time: string }[]>;
  faults(faults: Record<string, unknown> | null): Promise<void>;
  writeRules(yaml: string): void;
  said(): string;
  stop(signal?: NodeJS.Signals): Promise<void>;
};

export const anyMachine = `version: 1
rules:
  - name: any-vm
    when: { source: azure-monitor, resourceType: virtualMachines }
    target: alert
    limits: { duration: 3s, size: 20MiB, stopOnResolve: true }
`;

export async function startSandbox(
  rules: string,
  env: Record<string, string> = {},
  args: string[] = [],
): Promise<Sandbox> {
  const folder = mkdtempSync(join(tmpdir(), 'tripcap-test-'));
  const rulesFile = join(folder, 'rules.yaml');
  writeFileSync(rulesFile, rules);
  const port = await freePort();
  const data = join(folder, 'data');
  const child = spawn(
    join(root, 'node_modules/.bin/node'),
    ['local/main.ts', '--port', String(port), '--data', data, '--rules', rulesFile, ...args],
    {
      cwd: root,
      env: { PATH: process.env['PATH'], ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    },
  );
  let said = '';
  child.stdout.on('data', (chunk) => (said += String(chunk)));
  child.stderr.on('data', (chunk) => (said += String(chunk)));
  const origin = `http://127.0.0.1:${port}`;
  const call: Sandbox['call'] = async (path, { method = 'GET', json, body, headers = {} } = {}) => {
    const response = await fetch(path.startsWith('http') ? path : `${origin}/api${path}`, {
      method,
      redirect: 'manual',
      headers: { ...(json === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
      ...(json !== undefined ? { body: JSON.stringify(json) } : body !== undefined ? { body } : {}),
    });
    const text = await response.text();
    let parsed: unknown = text;
    try {
      parsed = JSON.parse(text);
    } catch {
      // Not every answer is JSON.
    }
    return { status: response.status, headers: response.headers, body: parsed };
  };
  const info = async () => (await call(`${origin}/_sandbox`)).body;
  await until('the sandbox is ready', async () => {
    if (child.exitCode !== null) throw new Error(`The sandbox ended:\n${said}`);
    return (await call('/health').catch(() => undefined))?.status === 200;
  });
  return {
    api: `${origin}/api`,
    data,
    pid: child.pid ?? 0,
    call,
    info,
    async requests() {
      return (await call((await info()).requests as string)).body;
    },
    async faults(faults) {
      const { arm } = await info();
      const answer = await call(`${arm}/_control`, { method: 'POST', json: { faults } });
      if (answer.status >= 300) throw new Error(`_control answered ${answer.status}`);
    },
    writeRules: (yaml) => writeFileSync(rulesFile, yaml),
    said: () => said,
    async stop(signal = 'SIGTERM') {
      const ended = new Promise((done) => child.once('exit', done));
      child.kill(signal);
      await ended;
      rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}

export function machine(name: string, group = 'shop'): string {
  return `/subscriptions/${subscription}/resourcegroups/${group}/providers/microsoft.compute/virtualmachines/${name}`;
}

/** The published sample, fired now for other machines under another id. */
export function alertFor(id: string, targets: string[], changes: Record<string, unknown> = {}): any {
  const sample = JSON.parse(readFileSync(join(root, 'test/fixtures/alerts/vm-metric-static-FIRED.json'), 'utf8'));
  Object.assign(sample.data.essentials, {
    alertId: `/subscriptions/${subscription}/providers/Microsoft.AlertsManagement/alerts/${id}`,
    originAlertId: `${subscription}_shop_microsoft.insights_metricAlerts_${id}`,
    alertTargetIDs: targets,
    firedDateTime: new Date().toISOString(),
    ...changes,
  });
  return sample;
}

export function resolvedOf(fired: any): any {
  const resolved = structuredClone(fired);
  Object.assign(resolved.data.essentials, { monitorCondition: 'Resolved', resolvedDateTime: new Date().toISOString() });
  return resolved;
}

export async function runIn(sandbox: Sandbox, id: string, states: string[], deadlineMs = 40_000): Promise<any> {
  return until(
    `run ${id} ${states.join(' or ')}`,
    async () => {
      const answer = await sandbox.call(`/runs/${id}`).catch(() => undefined);
      return answer?.status === 200 && states.includes(answer.body.state) && answer.body;
    },
    deadlineMs,
  );
}

/** A port of 127.0.0.1 that nobody holds now. */
export function freePort(): Promise<number> {
  return new Promise((done) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => done(typeof address === 'object' && address ? address.port : 0));
    });
  });
}
