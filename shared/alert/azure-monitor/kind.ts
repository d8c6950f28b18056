import type { AlertKind } from '../alert.ts';
import { at, memberOf, textOf } from '../read.ts';

/** By `monitoringService`, in small letters alone; Microsoft spells some of them in several ways. */
const services = new Map<string, AlertKind>([
  ['loganalytics', 'log'],
  ['applicationinsights', 'log'],
  ['logalertsv2', 'log'],
  ['resourcehealth', 'resource-health'],
  ['servicehealth', 'service-health'],
  ['prometheus', 'prometheus'],
  ['smartdetector', 'smart-detection'],
  ['costalerts', 'cost'],
]);

const conditionTypes = new Map<string, AlertKind>([
  ['singleresourcemultiplemetriccriteria', 'metric'],
  ['multipleresourcemultiplemetriccriteria', 'metric'],
  ['dynamicthresholdcriteria', 'metric'],
  ['webtestlocationavailabilitycriteria', 'availability-test'],
  ['logquerycriteria', 'log'],
]);

const signals = new Map<string, AlertKind>([
  ['metric', 'metric'],
  ['log', 'log'],
  ['activitylog', 'activity-log'],
]);

/** The kind of an alert of the common schema: by its service, else by its context, else by its signal. */
export function kindOf(service: string | undefined, signal: string | undefined, context: unknown): AlertKind {
  const name = letters(service);
  // "Activity Log - Administrative" and its like; the health services are also spelled in this way.
  const known = services.get(name.replace(/^activitylog/, ''));
  if (known) return known;
  if (name.startsWith('activitylog')) return 'activity-log';
  return ofContext(context) ?? (name === 'platform' ? 'metric' : signals.get(letters(signal))) ?? 'other';
}

/** The kind of an activity-log event, by its source. */
export function kindOfEvent(source: unknown): AlertKind {
  const kind = services.get(letters(textOf(source)));
  return kind === 'resource-health' || kind === 'service-health' ? kind : 'activity-log';
}

function ofContext(context: unknown): AlertKind | undefined {
  const has = (name: string): boolean => memberOf(context, name) !== undefined;
  const kind = conditionTypes.get(letters(textOf(memberOf(context, 'conditionType'))));
  if (kind) return kind;
  if (has('SearchQuery')) return 'log';
  if (has('ruleGroup') && has('expression')) return 'prometheus';
  if (has('eventDataId')) return kindOfEvent(memberOf(context, 'eventSource'));
  if (has('SmartDetectorId')) return 'smart-detection';
  if (at(context, 'AlertData', 'BudgetName') !== undefined) return 'cost';
  return undefined;
}

function letters(text: string | undefined): string {
  return (text ?? '').toLowerCase().replaceAll(/[^a-z0-9]/g, '');
}
