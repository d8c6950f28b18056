/** Fires a fresh sample alert at the sandbox, or resolves the last one: `npm run -s alert [-- --resolve] [--vm NAME] [--port N]`. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { randomUUID } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

const { values } = parseArgs({
  options: {
    port: { type: 'string', default: '7071' },
    vm: { type: 'string', default: 'web01' },
    resolve: { type: 'boolean', default: false },
  },
});
const subscription = '00000000-0000-0000-0000-000000000000';
const folder = join(tmpdir(), 'tripcap-sandbox');
const lastFile = join(folder, `last-alert-${values.port}.json`);

type Alert = { data: { essentials: Record<string, unknown> } };

const alert: Alert = values.resolve ? resolved() : fired();
const response = await fetch(`http://127.0.0.1:${values.port}/api/alerts/azure-monitor`, {
  method: 'POST',
  headers: { 'content-type': 'application/json' },
  body: JSON.stringify(alert),
}).catch(() => {
  console.error(`Nobody answers on port ${values.port}: run npm start first`);
  return process.exit(3);
});
console.log(response.status, JSON.stringify(await response.json(), null, 2));
if (!values.resolve) {
  mkdirSync(folder, { recursive: true });
  writeFileSync(lastFile, JSON.stringify(alert));
}

function fired(): Alert & Record<string, unknown> {
  const id = randomUUID();
  return {
    schemaId: 'azureMonitorCommonAlertSchema',
    data: {
      essentials: {
        alertId: `/subscriptions/${subscription}/providers/Microsoft.AlertsManagement/alerts/${id}`,
        alertRule: 'Network Out high',
        severity: 'Sev1',
        signalType: 'Metric',
        monitorCondition: 'Fired',
        monitoringService: 'Platform',
        alertTargetIDs: [
          `/subscriptions/${subscription}/resourcegroups/shop/providers/microsoft.compute/virtualmachines/${values.vm}`,
        ],
        originAlertId: `${subscription}_shop_Network-Out-high_${id}`,
        firedDateTime: new Date().toISOString(),
        essentialsVersion: '1.0',
        alertContextVersion: '1.0',
      },
      alertContext: {
        conditionType: 'SingleResourceMultipleMetricCriteria',
        condition: {
          windowSize: 'PT5M',
          allOf: [
            {
              metricName: 'Network Out Total',
              metricNamespace: 'Microsoft.Compute/virtualMachines',
              operator: 'GreaterThan',
              threshold: '1000000',
              timeAggregation: 'Total',
              dimensions: [],
              metricValue: 2_500_000,
            },
          ],
        },
      },
    },
  } as Alert & Record<string, unknown>;
}

function resolved(): Alert {
  let last: Alert;
  try {
    last = JSON.parse(readFileSync(lastFile, 'utf8')) as Alert;
  } catch {
    console.error('No alert was fired from here yet: run npm run -s alert first');
    return process.exit(1);
  }
  Object.assign(last.data.essentials, { monitorCondition: 'Resolved', resolvedDateTime: new Date().toISOString() });
  return last;
}
