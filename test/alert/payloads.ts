import { readdirSync, readFileSync } from 'node:fs';
import type { Alert } from '../../shared/alert/alert.ts';
import { parseAzureMonitorAlert } from '../../shared/alert/azure-monitor.ts';
import { parsePayload } from '../../shared/alert/payload.ts';

const folder = new URL('../fixtures/alerts/', import.meta.url);

/** The payloads of test/fixtures/alerts, by name; contexts alone are wrapped. */
export const names = readdirSync(folder)
  .filter((name) => name.endsWith('.json'))
  .map((name) => name.slice(0, -'.json'.length));

export type Payload = Record<string, any>;

export function sample(name: string): Payload {
  const payload = JSON.parse(readFileSync(new URL(`${name}.json`, folder), 'utf8')) as Payload;
  const wrapped: Record<string, Payload> = {
    'context-activitylog-autoscale-vmss': {
      monitoringService: 'Activity Log - Autoscale',
      signalType: 'Activity Log',
      alertTargetIDs: ['/subscriptions/0/resourcegroups/g/providers/microsoft.insights/autoscalesettings/scale'],
    },
    'context-metric-dynamic': {
      monitoringService: 'Platform',
      signalType: 'Metric',
      alertTargetIDs: ['/subscriptions/0/resourcegroups/g/providers/microsoft.storage/storageaccounts/store'],
      configurationItems: ['store'],
    },
    'context-prometheus': {
      monitoringService: 'Prometheus',
      signalType: 'Metric',
      alertTargetIDs: ['/subscriptions/0/resourcegroups/g/providers/microsoft.containerservice/managedclusters/c'],
      configurationItems: ['c'],
    },
  };
  const essentials = wrapped[name];
  return essentials === undefined ? payload : common(essentials, payload);
}

/** A payload of the common schema. */
export function common(essentials: Payload, { alertContext }: Payload = {}): Payload {
  return {
    schemaId: 'azureMonitorCommonAlertSchema',
    data: {
      essentials: {
        alertId: '/subscriptions/0/providers/Microsoft.AlertsManagement/alerts/1',
        alertRule: 'egress',
        severity: 'Sev2',
        monitorCondition: 'Fired',
        firedDateTime: '2026-03-04T05:06:07.1234567Z',
        ...essentials,
      },
      alertContext,
    },
  };
}

/** A log alert (V2) on a workspace. */
export function logAlert(dimensions: Record<string, string>, essentials: Payload = {}): Payload {
  const list = Object.entries(dimensions).map(([name, value]) => ({ name, value }));
  const condition = { allOf: [{ dimensions: list }] };
  return common(
    {
      monitoringService: 'Log Alerts V2',
      signalType: 'Log',
      alertTargetIDs: [workspace],
      configurationItems: Object.values(dimensions).slice(0, 1),
      ...essentials,
    },
    { alertContext: { conditionType: 'LogQueryCriteria', condition } },
  );
}

export const workspace =
  '/subscriptions/0/resourcegroups/ops/providers/microsoft.operationalinsights/workspaces/central';

export function parse(payload: object): Alert {
  return parseAzureMonitorAlert(parsePayload(bytes(payload)));
}

export function bytes(payload: object): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(payload));
}

/** The payload with other members of `data.essentials`. */
export function withEssentials(payload: Payload, essentials: Payload): Payload {
  const { data, ...rest } = structuredClone(payload);
  return { ...rest, data: { ...data, essentials: { ...data.essentials, ...essentials } } };
}
