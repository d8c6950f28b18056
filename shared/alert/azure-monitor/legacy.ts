import * as v from 'valibot';
import type { Alert } from '../alert.ts';
import { at, joinedId, listOf, memberOf, readPayload, textOf, textsOf } from '../read.ts';
import { kindOf, kindOfEvent } from './kind.ts';
import { required } from './read.ts';
import { targetsOf } from './targets.ts';
import { isTestAlert } from './test-alert.ts';

/**
 * An alert in one of the schemas from before the common one (learn.microsoft.com "Non-common alert schema definitions",
 * "Configure a webhook to get activity log alerts", "Sample payloads for log search alerts"); undefined for what is none of them.
 */
export function parseLegacyAlert(payload: Record<string, unknown>): Alert | undefined {
  switch (payload['schemaId']) {
    case 'AzureMonitorMetricAlert':
      return parseMetric(payload);
    case 'Microsoft.Insights/activityLogs':
      return parseActivityLog(payload);
    case 'Microsoft.Insights/LogAlert':
      return parseLog(readPayload(v.object({ data: LogAlert }), payload, 'a log alert').data);
    case 'AIP Budget Notification':
      return parseBudget(payload);
    case undefined:
      return 'AlertRuleName' in payload ? parseLog(readPayload(LogAlert, payload, 'a log alert')) : undefined;
    default:
      return undefined;
  }
}

const MetricAlert = v.object({
  data: v.object({
    status: required.condition,
    context: v.looseObject({ id: required.id, timestamp: required.time }),
  }),
});

/**
 * A metric alert. It has no id of its own: the rule's id and that of the resource stand for it, so that the end of it on one
 * resource is not its end on another. Its time is that of the notification, so the end does not tell when it fired.
 */
function parseMetric(payload: Record<string, unknown>): Alert {
  const { status, context } = readPayload(MetricAlert, payload, 'a metric alert').data;
  const { id, timestamp } = context;
  const resource = textsOf([memberOf(context, 'resourceId')]);
  const kind = kindOf('Platform', 'Metric', context);
  return alertOf({
    kind,
    externalId: joinedId([id, ...resource]),
    rule: textOf(memberOf(context, 'name')),
    condition: status,
    severity: memberOf(context, 'severity'),
    at: timestamp,
    ids: resource,
    description: memberOf(context, 'description'),
    context,
    custom: at(payload, 'data', 'properties'),
  });
}

const ActivityLogAlert = v.object({
  data: v.object({
    status: required.condition,
    context: v.object({ activityLog: v.looseObject({ eventDataId: required.id, eventTimestamp: required.time }) }),
  }),
});

/** An activity log alert. Its id is that of the event: every event is another alert, and none of them ends. */
function parseActivityLog(payload: Record<string, unknown>): Alert {
  const { status, context } = readPayload(ActivityLogAlert, payload, 'an activity log alert').data;
  const { activityLog } = context;
  const { eventDataId, eventTimestamp } = activityLog;
  const ids = [memberOf(activityLog, 'resourceId'), at(activityLog, 'authorization', 'scope')];
  return alertOf({
    kind: kindOfEvent(memberOf(activityLog, 'eventSource')),
    externalId: eventDataId,
    rule: textOf(at(payload, 'data', 'context', 'name')),
    condition: status,
    severity: undefined,
    at: eventTimestamp,
    ids: textsOf(ids).slice(0, 1),
    description: memberOf(activityLog, 'description'),
    context: activityLog,
    custom: at(payload, 'data', 'properties'),
  });
}

const LogAlert = v.looseObject({ AlertRuleName: required.id, SearchIntervalEndtimeUtc: required.time });

/**
 * A log search alert (V1), a flat object. Its id is made of the rule's name, the workspace or application, the end of the
 * interval that was searched and the dimensions: a rule that fires for two machines at once sends two alerts. It never ends.
 */
function parseLog(log: v.InferOutput<typeof LogAlert>): Alert {
  const { AlertRuleName: rule, SearchIntervalEndtimeUtc: end } = log;
  const where = textsOf(['WorkspaceId', 'ApplicationId', 'ResourceId'].map((name) => memberOf(log, name))).slice(0, 1);
  const dimensions = listOf(memberOf(log, 'Dimensions')).map((one) => JSON.stringify(one));
  return alertOf({
    kind: 'log',
    externalId: joinedId([rule, ...where, end.toISOString(), ...dimensions]),
    rule,
    condition: 'fired',
    severity: memberOf(log, 'Severity'),
    at: end,
    ids: textsOf([memberOf(log, 'ResourceId')]),
    description: memberOf(log, 'Description'),
    context: log,
    custom: undefined,
  });
}

const BudgetAlert = v.object({ data: v.looseObject({ BudgetName: required.id, BudgetStartDate: required.time }) });

/** A budget alert. Its only time is the start of the budget's period: it fires once per budget, period and threshold. */
function parseBudget(payload: Record<string, unknown>): Alert {
  const { data } = readPayload(BudgetAlert, payload, 'a budget alert');
  const { BudgetName: name, BudgetStartDate: start } = data;
  const of = textsOf(['SubscriptionId', 'NotificationThresholdAmount'].map((member) => memberOf(data, member)));
  const test = name === 'test-budgetName' && memberOf(data, 'SubscriptionName') === 'test-subscription';
  return {
    source: 'azure-monitor',
    kind: 'cost',
    externalId: joinedId([name, start.toISOString(), ...of]),
    rule: '',
    condition: 'fired',
    firedAt: start,
    targets: [],
    ...(test ? { test } : {}),
  };
}

type Parts = Pick<Alert, 'kind' | 'externalId' | 'condition'> & {
  rule: string | undefined;
  severity: unknown;
  at: Date;
  ids: string[];
  description: unknown;
  context: unknown;
  custom: unknown;
};

function alertOf({ kind, externalId, condition, rule = '', at: time, ids, context, custom, ...rest }: Parts): Alert {
  const severity = severityOf(rest.severity);
  const description = textOf(rest.description);
  return {
    source: 'azure-monitor',
    kind,
    externalId,
    rule,
    condition,
    ...(severity === undefined ? {} : { severity }),
    firedAt: time,
    ...(condition === 'resolved' ? { resolvedAt: time } : {}),
    targets: targetsOf({ kind, ids, items: [], context }),
    ...(description === undefined ? {} : { description: description.slice(0, 1000) }),
    ...(isTestAlert({ rule, ids, description, context, custom }) ? { test: true as const } : {}),
  };
}

/** The older schemas count from 0 to 4; words are left as they are, since they did not always mean the same. */
function severityOf(value: unknown): string | undefined {
  const text = typeof value === 'number' ? String(value) : textOf(value);
  return text !== undefined && /^[0-4]$/.test(text) ? `Sev${text}` : text;
}
