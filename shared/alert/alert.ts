import type { TargetAnswer } from '../provider/provider.ts';

/** What kinds of alerts there are. A closed list: clients may switch on it. */
export const alertKinds = [
  'metric',
  'availability-test',
  'log',
  'activity-log',
  'resource-health',
  'service-health',
  'prometheus',
  'smart-detection',
  'cost',
  'other',
] as const;

export type AlertKind = (typeof alertKinds)[number];

/** What every alert source is turned into. */
export type Alert = {
  source: AlertSource;
  kind: AlertKind;
  /** The sender's own id, as sent; where a schema has none, one that follows from what it sends. */
  externalId: string;
  /** The id of the condition behind it, where the sender tells one: equal over re-fires. */
  originId?: string;
  /** Name of the alert rule that fired, as sent; empty when the sender gives none. */
  rule: string;
  condition: 'fired' | 'resolved';
  severity?: string;
  /** When it fired; of an end whose sender does not tell that, when it ended. */
  firedAt: Date;
  resolvedAt?: Date;
  /** The machines that it names; where it names none, what it is about. */
  targets: AlertTarget[];
  description?: string;
  /** Somebody tried out whether alerts get here: it starts nothing. */
  test?: true;
};

type AlertSource = 'azure-monitor';

export type AlertTarget = {
  /** As sent: the id of a resource, or the computer name of a machine. */
  id: string;
  /** Such as `microsoft.compute/virtualmachines`, lower case; empty when the id does not tell. */
  resourceType: string;
  /** `id` is a computer name: which machine has it is to be looked up. */
  computer?: true;
  /** What the look-up found. */
  answer?: TargetAnswer | { kind: 'refused'; reason: 'max-targets'; detail: string };
  /** What to do when this is not a machine. */
  hint?: string;
};

/** What a machine with a computer name may turn out to be. */
export const computerTypes: readonly string[] = [
  'microsoft.compute/virtualmachines',
  'microsoft.compute/virtualmachinescalesets/virtualmachines',
];

/** The resource type in an id, lower case: `microsoft.compute/virtualmachines`; empty when the id does not tell. */
export function resourceTypeOf(id: string): string {
  const match = /\/providers\/([^/]+)\/([^/]+)\/[^/]+(?:\/([^/]+)\/[^/]+)?$/.exec(id.toLowerCase());
  return match ? [match[1], match[2], match[3]].filter(Boolean).join('/') : '';
}
