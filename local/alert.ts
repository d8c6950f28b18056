/**
 * Fires a fresh sample alert at the sandbox, or resolves the last one: `npm run -s alert [-- --resolve] [--vm NAME] [--port N]`; with
 * `--cloudmonitor` one of CloudMonitor on an instance of Alibaba Cloud.
 */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { randomUUID } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

const { values } = parseArgs({
  options: {
    port: { type: 'string', default: '7071' },
    vm: { type: 'string', default: 'web01' },
    cloudmonitor: { type: 'boolean', default: false },
    resolve: { type: 'boolean', default: false },
  },
});
const subscription = '00000000-0000-0000-0000-000000000000';
const origin = `http://127.0.0.1:${values.port}`;
const folder = join(tmpdir(), 'tripcap-sandbox');
const lastFile = join(folder, `last-${values.cloudmonitor ? 'cloudmonitor' : 'alert'}-${values.port}.json`);

type Alert = { data: { essentials: Record<string, unknown> } };

const alert = values.cloudmonitor ? callback() : values.resolve ? resolved() : fired();
const response = await (values.cloudmonitor ? sendCallback() : send('/alerts/azure-monitor', JSON.stringify(alert)));
console.log(response.status, JSON.stringify(await response.json().catch(() => 'no answer in JSON'), null, 2));
if (!values.resolve) {
  mkdirSync(folder, { recursive: true });
  writeFileSync(lastFile, JSON.stringify(alert));
}

function send(path: string, body: string | URLSearchParams): Promise<Response> {
  const headers = typeof body === 'string' ? { 'content-type': 'application/json' } : {};
  return fetch(`${origin}/api${path}`, { method: 'POST', headers, body }).catch(nobodyThere);
}

function nobodyThere(): never {
  console.error(`Nobody answers on port ${values.port}: run npm start first`);
  return process.exit(3);
}

/** The path has the key of the sender in it, which only the sandbox tells. */
async function sendCallback(): Promise<Response> {
  const sandbox = await fetch(`${origin}/_sandbox`).catch(nobodyThere);
  const { cloudmonitorPath = '/alerts/cloudmonitor' } = (await sandbox.json().catch(() => ({}))) as {
    cloudmonitorPath?: string;
  };
  return send(cloudmonitorPath, new URLSearchParams(alert as Record<string, string>));
}

/** The fields of a threshold alert, as CloudMonitor sends them. */
function callback(): Record<string, string> {
  const now = { timestamp: String(Date.now()) };
  if (values.resolve)
    return { ...last<Record<string, string>>(), ...now, alertState: 'OK', triggerLevel: 'OK', curValue: '1.2' };
  return {
    ...now,
    alertName: 'Internet out rate high',
    alertState: 'ALERT',
    triggerLevel: 'CRITICAL',
    preTriggerLevel: 'CRITICAL',
    ruleId: 'applyTemplate00000000-0000-0000-0000-000000000000',
    transId: randomUUID(),
    userId: '1108034196790001',
    regionId: 'cn-hangzhou',
    regionName: 'China (Hangzhou)',
    namespace: 'acs_ecs_dashboard',
    metricProject: 'acs_ecs',
    metricName: 'InternetOutRate',
    rawMetricName: 'InternetOutRate',
    dimensions: '{userId=1108034196790001, instanceId=i-8psdh7l6lphbn10l0001}',
    instanceName: 'sample-instance',
    expression: '$Average>=95',
    curValue: '97.39',
    unit: '%',
    lastTime: '2 minutes',
    groupId: 'null',
    productGroupName: 'null',
    signature: 'sample',
  };
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
  const alert = last<Alert>();
  Object.assign(alert.data.essentials, { monitorCondition: 'Resolved', resolvedDateTime: new Date().toISOString() });
  return alert;
}

function last<T>(): T {
  try {
    return JSON.parse(readFileSync(lastFile, 'utf8')) as T;
  } catch {
    console.error('No such alert was fired from here yet: run the same without --resolve first');
    return process.exit(1);
  }
}
