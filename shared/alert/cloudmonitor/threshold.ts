import * as v from 'valibot';
import type { Alert, AlertTarget } from '../alert.ts';
import { joinedId, memberOf, readPayload } from '../read.ts';
import { canonical, dimensionsOf, type Dimensions } from './dimensions.ts';
import { fieldOf, required } from './read.ts';
import { distinct, machineAmong, ownerOf, resourceAmong, valueOf } from './targets.ts';

const states = new Map<string, Alert['condition']>([
  ['ALERT', 'fired'],
  // Until 2018 or so.
  ['ALARM', 'fired'],
  ['OK', 'resolved'],
  ['INSUFFICIENT_DATA', 'no-data'],
]);

const Threshold = v.object({
  alertName: v.string('is missing, and so are ruleId and transId: nothing tells which alarm this is'),
  alertState: v.pipe(
    required.id,
    v.check((text) => states.has(text.toUpperCase()), 'is neither ALERT nor OK nor INSUFFICIENT_DATA'),
    v.transform((text) => states.get(text.toUpperCase()) ?? 'no-data'),
  ),
  timestamp: required.time,
});

const maxTargets = 1000;

/**
 * A threshold alert (help.aliyun.com "alert callback for threshold-triggered alerts"): the fields of a form, or the same as JSON.
 *
 * `transId` is the alarm's own id from its firing until it is cleared, so together with account and rule it is the external id:
 * equal in ALERT and OK, in a repeat, and when an alarm that is not cleared is sent again after its silence time, which is the same
 * alert once more. A change of level within it (WARN → CRITICAL) is an alert of its own, since rules may ask for a level, and so are
 * other dimensions: that is the `variant`. An OK has no time of firing; it ends all of them. Its own level is that before it.
 *
 * Callbacks of old have no `transId`: account, rule, metric and dimensions stand for it. These are equal over all alarms of a rule, so
 * the time tells one from the other, and each that is sent again is another alert.
 */
export function parseThreshold(payload: Record<string, unknown>): Alert {
  const text = (name: string): string | undefined => fieldOf(payload, name);
  const [transId, ruleId, userId] = [text('transId'), text('ruleId'), text('userId')];
  const needed = {
    alertName: text('alertName') ?? ruleId ?? transId,
    alertState: text('alertState'),
    timestamp: text('timestamp'),
  };
  const { alertName, alertState: condition, timestamp } = readPayload(Threshold, needed, 'an alert of CloudMonitor');
  const dimensions = dimensionsOf(memberOf(payload, 'dimensions'));
  const severity = [text('triggerLevel'), ...(condition === 'resolved' ? [text('preTriggerLevel')] : [])].find(isLevel);
  const about = canonical(dimensions);
  const lasting = transId ?? [text('namespace'), text('rawMetricName') ?? text('metricName'), about];
  const ids = [userId, ruleId ?? alertName, lasting, condition === 'no-data' ? 'INSUFFICIENT_DATA' : undefined];
  const description = describe(text);
  return {
    source: 'cloudmonitor',
    kind: 'metric',
    // An end is looked for among the last few of its id: those that cannot tell are none of them.
    externalId: joinedId(ids.flat().filter((id) => id !== undefined)),
    ...(transId === undefined ? {} : { variant: `${severity?.toUpperCase() ?? ''}|${about}` }),
    rule: text('alertName') ?? '',
    condition,
    ...(severity === undefined ? {} : { severity }),
    firedAt: timestamp,
    ...(condition === 'resolved' ? { resolvedAt: timestamp } : {}),
    targets: targetsOf(dimensions, text),
    ...(description === undefined ? {} : { description }),
  };
}

/** Of an alarm that is over the level is OK. */
function isLevel(text: string | undefined): boolean {
  return text !== undefined && text.toUpperCase() !== 'OK';
}

/** The machines; where the alarm is about another product, what it is about. */
function targetsOf(all: readonly Dimensions[], text: (name: string) => string | undefined): AlertTarget[] {
  const product = productOf(text('namespace') ?? text('metricProject'));
  const ofEcs = product === 'ecs';
  const found = all.slice(0, maxTargets).map((dimensions) => {
    const named = [...dimensions];
    const region = text('regionId') ?? valueOf(named, 'regionid', 'region');
    const owner = ownerOf(region, valueOf(named, 'userid') ?? text('userId'));
    const machine = machineAmong(named, owner, ofEcs);
    const other = ofEcs || product === undefined ? undefined : resourceAmong(product, named, owner);
    return { machine, other: machine === undefined ? other : undefined };
  });
  const others = found.flatMap(({ other }) => other ?? []);
  return [
    ...distinct(found.flatMap(({ machine }) => machine ?? [])),
    ...distinct(others, `Alerts of ${product} name no machine: give the rule a list of targets`),
  ];
}

/** `ecs` of `acs_ecs` and `acs_ecs_dashboard`; metrics of one's own are of no product. */
function productOf(namespace: string | undefined): string | undefined {
  const product = /^acs_([a-z0-9_-]+?)(?:_dashboard)?$/i.exec(namespace ?? '')?.[1]?.toLowerCase();
  return product?.startsWith('custommetric') ? undefined : product;
}

/** `cpu_total $Average>=95: 97.39%`, as far as it is told. */
function describe(text: (name: string) => string | undefined): string | undefined {
  const condition = [text('rawMetricName') ?? text('metricName'), text('expression')].filter(Boolean).join(' ');
  const value = text('curValue') === undefined ? '' : `${text('curValue')}${text('unit') ?? ''}`;
  return [condition, value].filter(Boolean).join(': ').slice(0, 1000) || undefined;
}
