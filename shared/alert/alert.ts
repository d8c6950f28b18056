/** What every alert source is turned into. */
export type Alert = {
  source: AlertSource;
  /** The sender's own id, as sent. */
  externalId: string;
  /** The id of the condition behind it, where the sender tells one: equal over re-fires. */
  originId?: string;
  /** Name of the alert rule that fired, as sent; empty when the sender gives none. */
  rule: string;
  condition: 'fired' | 'resolved';
  severity?: string;
  firedAt: Date;
  resolvedAt?: Date;
  targets: AlertTarget[];
  description?: string;
};

type AlertSource = 'azure-monitor';

export type AlertTarget = {
  /** As sent. */
  id: string;
  /** Such as `microsoft.compute/virtualmachines`, lower case; empty when the id does not tell. */
  resourceType: string;
};
