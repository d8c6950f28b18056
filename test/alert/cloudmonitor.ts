import { readFileSync } from 'node:fs';
import type { Alert } from '../../shared/alert/alert.ts';
import { readCloudMonitor } from '../../shared/alert/cloudmonitor.ts';
import { Problem } from '../../shared/problem.ts';

/** The bytes of a file of test/fixtures/alerts/cloudmonitor. */
export function sample(name: string): Uint8Array {
  return new Uint8Array(readFileSync(new URL(`../fixtures/alerts/cloudmonitor/${name}`, import.meta.url)));
}

export function encoded(content: string | object): Uint8Array {
  return new TextEncoder().encode(typeof content === 'string' ? content : JSON.stringify(content));
}

/** The one alert of a payload. */
export function parse(payload: Uint8Array | string | object): Alert {
  const { notices } = readCloudMonitor(payload instanceof Uint8Array ? payload : encoded(payload));
  const [first, ...others] = notices;
  if (!first || others.length > 0) throw new Error(`${notices.length} alerts`);
  return first.alert;
}

export function problemOf(payload: Uint8Array | string | object): Problem {
  try {
    parse(payload);
  } catch (error) {
    if (error instanceof Problem) return error;
    throw error;
  }
  throw new Error('no problem was thrown');
}

export function faultsOf(payload: string | object): unknown[] {
  return ((problemOf(payload).members['problems'] ?? []) as { path: string; message: string }[]).map((fault) => [
    fault.path,
    fault.message,
  ]);
}

export type Fields = Record<string, string | undefined>;

const account = '1000000000000001';
export const instance = (n: number): string => `i-8psdh7l6lphbn10l${String(n).padStart(4, '0')}`;
export const target = (n: number): string => `acs:ecs:cn-hangzhou:${account}:instance/${instance(n)}`;

/** The fields of a threshold alert on the first instance; undefined leaves one out. */
export function fields(more: Fields = {}): Record<string, string> {
  const all: Fields = {
    alertName: 'Egress high',
    alertState: 'ALERT',
    curValue: '97.39',
    dimensions: `{userId=${account}, instanceId=${instance(1)}}`,
    expression: '$Average>=95',
    groupId: 'null',
    instanceName: 'null',
    lastTime: '2分钟',
    metricName: 'Host.netout',
    metricProject: 'acs_ecs',
    namespace: 'acs_ecs_dashboard',
    preTriggerLevel: 'null',
    rawMetricName: 'networkout_rate',
    regionId: 'cn-hangzhou',
    ruleId: 'alarmRule_uuid_1',
    signature: 'AAAA=',
    timestamp: '1795348740000',
    transId: 'db5f2204-00ae-11ee-a24f-00163e205386',
    triggerLevel: 'WARN',
    unit: '%',
    userId: account,
    ...more,
  };
  return Object.fromEntries(Object.entries(all).filter((pair): pair is [string, string] => pair[1] !== undefined));
}

/** A threshold alert as it is sent. */
export function callback(more: Fields = {}): Uint8Array {
  return encoded(new URLSearchParams(fields(more)).toString());
}
