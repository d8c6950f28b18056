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
  'event',
  'other',
] as const;

export type AlertKind = (typeof alertKinds)[number];

/** Who sends alerts, with the severities that a rule may ask for. */
export const severities = {
  'azure-monitor': ['Sev0', 'Sev1', 'Sev2', 'Sev3', 'Sev4'],
  cloudmonitor: ['CRITICAL', 'WARN', 'INFO'],
} as const satisfies Record<string, readonly string[]>;

export type AlertSource = keyof typeof severities;

/** What every alert source is turned into. */
export type Alert = {
  source: AlertSource;
  kind: AlertKind;
  /** The sender's own id, as sent; where a schema has none, one that follows from what it sends. */
  externalId: string;
  /** The id of the condition behind it, where the sender tells one: equal over re-fires. */
  originId?: string;
  /**
   * Of a sender whose `externalId` stands for one occurrence from its firing to its end, however often it is sent: which of the alerts
   * of that occurrence this is. It takes the place of the fired time in our id, and an end ends all of them.
   */
  variant?: string;
  /** Name of the alert rule that fired, as sent; empty when the sender gives none. */
  rule: string;
  /** `no-data`: the sender cannot tell. It starts and stops nothing. */
  condition: 'fired' | 'resolved' | 'no-data';
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

export type AlertTarget = {
  /** As sent: the id of a resource, or the computer name of a machine. */
  id: string;
  /** Such as `microsoft.compute/virtualmachines` or `acs:ecs:instance`, lower case; empty when the id does not tell. */
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

/** The resource type in an id, lower case: `microsoft.compute/virtualmachines`, `acs:ecs:instance`; empty when the id does not tell. */
export function resourceTypeOf(id: string): string {
  const text = id.toLowerCase();
  const acs = /^acs:([^:/]+):[^:/]*:[^:/]*:(?:([^:/]+)\/)?/.exec(text);
  if (acs) return ['acs', acs[1], acs[2]].filter(Boolean).join(':');
  const arm = /\/providers\/([^/]+)\/([^/]+)\/[^/]+(?:\/([^/]+)\/[^/]+)?$/.exec(text);
  return arm ? [arm[1], arm[2], arm[3]].filter(Boolean).join('/') : '';
}

/** The names by which a rule may ask for a type: `virtualmachines` for one of ARM; `ecs:instance`, `ecs`, `instance` for one of Alibaba Cloud. */
export function namesOfType(type: string): string[] {
  if (!type.startsWith('acs:')) return [type, type.slice(type.indexOf('/') + 1)];
  const short = type.slice('acs:'.length);
  return [type, short, ...short.split(':')];
}
