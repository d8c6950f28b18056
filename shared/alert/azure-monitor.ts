import * as v from 'valibot';
import { Problem } from '../problem.ts';
import type { Alert, AlertTarget } from './alert.ts';

// Only the members used are looked at, and leniently: senders add members at will. Times must be there, since ids derive from them.
const time = v.pipe(
  v.string(),
  v.maxLength(64),
  v.check((text) => !Number.isNaN(Date.parse(text)), 'is not a time'),
);
const text = v.pipe(v.string(), v.maxLength(2048));

const CommonAlert = v.object({
  schemaId: v.literal('azureMonitorCommonAlertSchema'),
  data: v.object({
    essentials: v.object({
      alertId: v.pipe(text, v.nonEmpty('must not be empty')),
      alertRule: v.nullish(text),
      severity: v.nullish(text),
      monitorCondition: v.picklist(['Fired', 'Resolved']),
      alertTargetIDs: v.nullish(v.array(text)),
      originAlertId: v.nullish(text),
      firedDateTime: time,
      resolvedDateTime: v.nullish(time),
      description: v.nullish(v.string()),
    }),
  }),
});

/**
 * An Azure Monitor alert in the common alert schema (learn.microsoft.com "Common alert schema"). Throws Problem
 * `unsupported-schema` for the older schemas, `invalid-payload` (with every fault) for what is no alert.
 */
export function parseAzureMonitorAlert(payload: Record<string, unknown>): Alert {
  if (payload['schemaId'] !== 'azureMonitorCommonAlertSchema') {
    throw new Problem(
      'unsupported-schema',
      'Only the common alert schema is read: turn on "Enable the common alert schema" in the action of the action group',
    );
  }
  const targetCount = countOf(payload);
  if (targetCount > maxTargets)
    throw new Problem('invalid-payload', `The alert names ${targetCount} targets; at most ${maxTargets} are read`);
  const parsed = v.safeParse(CommonAlert, payload);
  if (!parsed.success) {
    const problems = parsed.issues
      .slice(0, 50)
      .map((issue) => ({ path: v.getDotPath(issue) ?? '', message: issue.message.slice(0, 200) }));
    throw new Problem(
      'invalid-payload',
      `Not an alert of the common schema: ${problems[0]?.path} ${problems[0]?.message}`,
      { members: { problems } },
    );
  }
  const e = parsed.output.data.essentials;
  return {
    source: 'azure-monitor',
    externalId: e.alertId,
    ...(e.originAlertId ? { originId: e.originAlertId } : {}),
    rule: e.alertRule ?? '',
    condition: e.monitorCondition === 'Fired' ? 'fired' : 'resolved',
    ...(e.severity ? { severity: e.severity } : {}),
    firedAt: new Date(e.firedDateTime),
    ...(e.resolvedDateTime ? { resolvedAt: new Date(e.resolvedDateTime) } : {}),
    targets: distinct(e.alertTargetIDs ?? []),
    ...(e.description ? { description: e.description.slice(0, 1000) } : {}),
  };
}

const maxTargets = 1000;

/** Looked at before the schema is: it would say something of each. */
function countOf(payload: Record<string, unknown>): number {
  const { data } = payload as { data?: { essentials?: { alertTargetIDs?: unknown } | null } | null };
  const ids = data?.essentials?.alertTargetIDs;
  return Array.isArray(ids) ? ids.length : 0;
}

/** ARM ids compare without regard to case; the same target named twice is one target. */
function distinct(ids: string[]): AlertTarget[] {
  const seen = new Map<string, AlertTarget>();
  for (const id of ids) {
    const key = id.toLowerCase();
    if (!seen.has(key)) seen.set(key, { id, resourceType: resourceTypeOf(key) });
  }
  return [...seen.values()];
}

function resourceTypeOf(id: string): string {
  const match = /\/providers\/([^/]+)\/([^/]+)\/[^/]+(?:\/([^/]+)\/[^/]+)?$/.exec(id);
  return match ? [match[1], match[2], match[3]].filter(Boolean).join('/') : '';
}
