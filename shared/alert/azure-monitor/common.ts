import * as v from 'valibot';
import { Problem } from '../../problem.ts';
import type { Alert } from '../alert.ts';
import { at, listOf, memberOf, readPayload, textOf, textsOf } from '../read.ts';
import { kindOf } from './kind.ts';
import { required, timeOf } from './read.ts';
import { targetsOf } from './targets.ts';
import { isTestAlert } from './test-alert.ts';

const CommonAlert = v.object({
  data: v.object({
    essentials: v.looseObject({
      alertId: required.id,
      monitorCondition: required.condition,
      firedDateTime: required.time,
      // What is captured hangs on these, so what is no id is not passed over.
      alertTargetIDs: v.nullish(v.array(v.string())),
    }),
  }),
});

const maxTargetIds = 1000;

/**
 * An alert in the common alert schema, of whatever service. What its essentials must have is an id, a time and a condition, and
 * targets that are texts if there are any; everything else may be missing, null or of another type. Its `alertId` is the external id: it is the same in Fired and
 * Resolved, and another one for each event of the activity log.
 */
export function parseCommonAlert(payload: Record<string, unknown>): Alert {
  const targetCount = listOf(at(payload, 'data', 'essentials', 'alertTargetIDs')).length;
  if (targetCount > maxTargetIds)
    throw new Problem('invalid-payload', `The alert names ${targetCount} targets; at most ${maxTargetIds} are read`);
  const { essentials } = readPayload(CommonAlert, payload, 'an alert of the common schema').data;
  const { alertId, monitorCondition, firedDateTime } = essentials;
  const text = (name: string): string | undefined => textOf(memberOf(essentials, name));
  const [context, custom] = [at(payload, 'data', 'alertContext'), at(payload, 'data', 'customProperties')];
  const [originId, severity, description] = [text('originAlertId'), text('severity'), text('description')];
  const resolvedAt = timeOf(memberOf(essentials, 'resolvedDateTime'));
  const kind = kindOf(text('monitoringService'), text('signalType'), context);
  const ids = textsOf(memberOf(essentials, 'alertTargetIDs'));
  const items = textsOf(memberOf(essentials, 'configurationItems'));
  const rule = text('alertRule') ?? '';
  return {
    source: 'azure-monitor',
    kind,
    externalId: alertId,
    ...(originId === undefined ? {} : { originId }),
    rule,
    condition: monitorCondition,
    ...(severity === undefined ? {} : { severity }),
    firedAt: firedDateTime,
    ...(resolvedAt === undefined ? {} : { resolvedAt }),
    targets: targetsOf({ kind, ids, items, context }),
    ...(description === undefined ? {} : { description: description.slice(0, 1000) }),
    ...(isTestAlert({ alertId, rule, ids, description, context, custom }) ? { test: true as const } : {}),
  };
}
