import * as v from 'valibot';
import type { Alert } from '../alert.ts';
import { isObject } from '../payload.ts';
import { joinedId, listOf, memberOf, readPayload } from '../read.ts';
import { canonical } from './dimensions.ts';
import { fieldOf, required, timeOf } from './read.ts';
import { distinct, machineAmong, ownerOf, valueOf } from './targets.ts';

const Group = v.object({
  alerts: v.pipe(
    v.array(
      v.object({
        status: v.pipe(
          required.id,
          v.check((text) => /^(firing|resolved)$/i.test(text), 'is neither firing nor resolved'),
        ),
        startsAt: required.time,
      }),
    ),
    v.nonEmpty('must not be empty'),
  ),
});

/**
 * A notification in the form of Alertmanager's webhook (version 4), which Prometheus alerts of ARMS are sent in
 * (help.aliyun.com "$alertmanager_content"). It is a group of alerts, firing and resolved ones side by side, that changes from one
 * notification to the next. So each of them is an alert by itself, by its fingerprint and the time since when it fires, both of
 * which stay while it is sent again and again: what is new in a group starts, what is over stops, and the rest is a repeat. `alone` is
 * the same notification with that alert alone.
 */
export function parseAlertmanager(payload: Record<string, unknown>): { alert: Alert; alone: object }[] {
  const alerts = listOf(memberOf(payload, 'alerts'));
  const needed = alerts.map((one) => ({
    status: fieldOf(one, 'status') ?? fieldOf(payload, 'status'),
    startsAt: fieldOf(one, 'startsAt'),
  }));
  const read = readPayload(Group, { alerts: needed }, 'a notification of Alertmanager');
  return read.alerts.map(({ status, startsAt }, i) => {
    const one = alerts[i];
    const labels = pairs([memberOf(payload, 'commonLabels'), memberOf(one, 'labels')]);
    const notes = pairs([memberOf(payload, 'commonAnnotations'), memberOf(one, 'annotations')]);
    const userId = labels.get('_aliyun_arms_userid');
    const id = fieldOf(one, 'fingerprint') ?? canonical([labels]);
    const condition = status.toLowerCase() === 'resolved' ? 'resolved' : 'fired';
    const resolvedAt = timeOf(fieldOf(one, 'endsAt') ?? '');
    const severity = severityOf(labels.get('severity'));
    const description = notes.get('description') ?? notes.get('message') ?? notes.get('summary');
    const region = labels.get('_aliyun_arms_region_id') ?? valueOf([...labels], 'regionid', 'region');
    const machine = machineAmong([...labels], ownerOf(region, userId), false);
    const ids = [userId, labels.get('_aliyun_arms_alert_rule_id'), id];
    const alert: Alert = {
      source: 'cloudmonitor',
      kind: 'prometheus',
      externalId: joinedId(ids.filter((part) => part !== undefined)),
      rule: labels.get('alertname') ?? '',
      condition,
      ...(severity === undefined ? {} : { severity }),
      firedAt: startsAt,
      ...(condition === 'resolved' && resolvedAt ? { resolvedAt } : {}),
      targets: machine === undefined ? [] : distinct([machine]),
      ...(description === undefined ? {} : { description: description.slice(0, 1000) }),
    };
    return { alert, alone: { ...payload, alerts: [one] } };
  });
}

/** Names and texts of labels or annotations; what stands later counts. */
function pairs(objects: unknown[]): Map<string, string> {
  const all = objects.filter(isObject).flatMap((one) =>
    Object.keys(one).flatMap((name): [string, string][] => {
      const text = fieldOf(one, name);
      return text === undefined ? [] : [[name, text]];
    }),
  );
  return new Map(all);
}

/** Prometheus rules have words of their own choice; those that are CloudMonitor's by another name become these. */
function severityOf(label: string | undefined): string | undefined {
  switch (label?.toLowerCase()) {
    case 'critical':
      return 'CRITICAL';
    case 'warn':
    case 'warning':
      return 'WARN';
    case 'info':
    case 'information':
      return 'INFO';
    default:
      return label;
  }
}
