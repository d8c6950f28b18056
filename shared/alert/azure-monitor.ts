import { Problem } from '../problem.ts';
import type { Alert } from './alert.ts';
import { parseCommonAlert } from './azure-monitor/common.ts';
import { parseLegacyAlert } from './azure-monitor/legacy.ts';

/**
 * An alert of Azure Monitor, in the common alert schema or one of those that were before it (learn.microsoft.com "Common alert
 * schema", "Non-common alert schema definitions"). Throws Problem `unsupported-schema` for what is none of these, and
 * `invalid-payload` (with every fault) for what lacks the few members without which it is no alert.
 */
export function parseAzureMonitorAlert(payload: Record<string, unknown>): Alert {
  if (payload['schemaId'] === 'azureMonitorCommonAlertSchema') return parseCommonAlert(payload);
  const alert = parseLegacyAlert(payload);
  if (alert) return alert;
  throw new Problem(
    'unsupported-schema',
    'This is no notification of an Azure Monitor alert that is known here: turn on "Enable the common alert schema" in the action of the action group, and take a custom JSON payload out of the alert rule',
  );
}
