import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Status } from '../../collector/protocol.ts';
import { until } from '../until.ts';
import { signedHeaders } from '../vpc/signing.ts';
import type { Sandbox } from './sandbox.ts';

/** The second cloud of the sandbox, as CloudMonitor and whoever looks at the cloud itself see it. */

export const region = 'cn-hangzhou';
const account = '1108034196790001';
/** Twice as often as this the app looks at what it runs: how far a session may overrun its limit. */
export const pollMs = 2000;

export function instance(name: string): string {
  return `acs:ecs:${region}:${account}:instance/i-${name}`;
}

/** The published sample of a threshold alert, fired now for another instance by another alarm. */
export function callbackOf(alertName: string, name: string, changes: Record<string, string> = {}) {
  return {
    expression: '$Average>=95',
    metricName: 'Host.mem.usedutilization',
    instanceName: 'instance-name',
    metricProject: 'acs_ecs',
    userId: account,
    curValue: '97.39',
    alertName,
    namespace: 'acs_ecs_dashboard',
    triggerLevel: 'WARN',
    alertState: 'ALERT',
    preTriggerLevel: 'WARN',
    ruleId: `rule-${alertName}`,
    dimensions: `{userId=${account}, instanceId=i-${name}}`,
    timestamp: String(Math.floor(Date.now() / 1000)),
    lastTime: '2 minutes',
    rawMetricName: 'cpu_total',
    regionId: region,
    regionName: 'China (Hangzhou)',
    transId: randomUUID(),
    unit: '%',
    ...changes,
  };
}

/** The same alarm, cleared. */
export function clearedOf(callback: Record<string, string>): Record<string, string> {
  return { ...callback, alertState: 'OK', triggerLevel: 'OK', timestamp: String(Math.ceil(Date.now() / 1000)) };
}

type ListedSession = {
  id: string;
  name: string;
  status: string;
  enabled: boolean;
  mirroring: boolean;
  priority: number;
  vni: number;
  sources: string[];
  sent: { packets: number; bytes: number };
};

export class Mirroring {
  readonly #sandbox: Sandbox;
  readonly #info: any;

  private constructor(sandbox: Sandbox, info: unknown) {
    this.#sandbox = sandbox;
    this.#info = info;
  }

  static async of(sandbox: Sandbox): Promise<Mirroring> {
    return new Mirroring(sandbox, await sandbox.info());
  }

  /** Sends a callback as CloudMonitor does; again, as long as a busy app answers that it is not all done yet. */
  post(callback: Record<string, string>): Promise<any> {
    return this.#insist(this.#info.cloudmonitorPath, {
      body: new URLSearchParams(callback).toString(),
      headers: { 'content-type': 'application/x-www-form-urlencoded; charset=UTF-8' },
    });
  }

  /** Starts a run as a runbook does. */
  start(request: object): Promise<any> {
    return this.#insist('/runs', { json: request, headers: { 'idempotency-key': randomUUID() } });
  }

  #insist(path: string, request: object): Promise<any> {
    return until('the app is not too busy', async () => {
      const answer = await this.#sandbox.call(path, { method: 'POST', ...request });
      return answer.status !== 503 && answer.body.pending !== true && answer;
    });
  }

  /** What the cloud holds, with what only the emulator tells. */
  async sessions(): Promise<ListedSession[]> {
    return (await this.#sandbox.call(`${this.#info.vpc}/_state`)).body.sessions;
  }

  /** The session that was made for a run. */
  async sessionOf(run: string): Promise<ListedSession | undefined> {
    return (await this.sessions()).find((one) => one.name === `tripcap-sandbox-${run}`);
  }

  /** Calls that the cloud has answered. */
  async calls(): Promise<{ action: string; parameters: Record<string, string>; status: number; code?: string }[]> {
    return (await this.#sandbox.call(`${this.#info.vpc}/_log`)).body;
  }

  async faults(faults: Record<string, unknown> | null): Promise<void> {
    const answer = await this.#sandbox.call(`${this.#info.vpc}/_control`, { method: 'POST', json: { faults } });
    if (answer.status !== 200) throw new Error(`_control answered ${answer.status}`);
  }

  /** A call of somebody else in the same account. */
  async asSomebody(action: string, parameters: Record<string, string>): Promise<any> {
    const { vpc, alibaba } = this.#info;
    const query = Object.entries({ RegionId: region, ...parameters });
    const keys = { id: alibaba.accessKeyId, secret: alibaba.accessKeySecret };
    const { host: _, ...headers } = signedHeaders({
      keys,
      action,
      version: '2016-04-28',
      host: new URL(vpc).host,
      query,
    });
    const answer = await this.#sandbox.call(`${vpc}/?${new URLSearchParams(query).toString()}`, {
      method: 'POST',
      headers,
    });
    if (answer.status !== 200) throw new Error(`${action}: ${answer.status} ${JSON.stringify(answer.body)}`);
    return answer.body;
  }

  /** What the collector says of itself. */
  collector(): Status | undefined {
    try {
      return JSON.parse(readFileSync(join(this.#sandbox.data, 'collector/status.json'), 'utf8')) as Status;
    } catch {
      // Being written.
      return undefined;
    }
  }
}
