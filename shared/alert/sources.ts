import type { Alert, AlertSource } from './alert.ts';
import { parseAzureMonitorAlert } from './azure-monitor.ts';
import { readCloudMonitor } from './cloudmonitor.ts';
import { parsePayload } from './payload.ts';

const readers: Record<AlertSource, (payload: Uint8Array) => Alert | undefined> = {
  'azure-monitor': (payload) => parseAzureMonitorAlert(parsePayload(payload)),
  cloudmonitor: (payload) => readCloudMonitor(payload).notices[0]?.alert,
};

/** The alert that was archived under this name, which begins with its source. */
export function readArchived(name: string, payload: Uint8Array): Alert {
  const [source = ''] = name.split('/');
  const alert = Object.hasOwn(readers, source) ? readers[source as AlertSource](payload) : undefined;
  if (!alert) throw new Error(`${name} is no payload of a known source`);
  return alert;
}
