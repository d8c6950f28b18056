import type { Direction, FilterRule, RuleSettings } from './state.ts';

/** A packet as far as rules look at it. */
export type Matched = {
  direction: Direction;
  protocol: 'ICMP' | 'TCP' | 'UDP';
  from: { address: string; port: number };
  to: { address: string; port: number };
};

/** What a filter says to a packet: its first rule that fits, by priority; undefined when none does. */
export function verdictOf(rules: FilterRule[], packet: Matched): RuleSettings['action'] | undefined {
  return rules
    .filter((rule) => rule.direction === packet.direction)
    .flatMap((rule) => rule.inForce ?? [])
    .toSorted((a, b) => a.priority - b.priority)
    .find((rule) => fits(rule, packet))?.action;
}

function fits(rule: RuleSettings, { protocol, from, to }: Matched): boolean {
  if (rule.protocol !== 'ALL' && rule.protocol !== protocol) return false;
  if (!isIn(from.address, rule.sourceCidr) || !isIn(to.address, rule.destinationCidr)) return false;
  return protocol === 'ICMP' || (inRange(from.port, rule.sourcePorts) && inRange(to.port, rule.destinationPorts));
}

function isIn(address: string, cidr: string): boolean {
  const [network = '', length = ''] = cidr.split('/');
  const shift = 32 - Number(length);
  // Shifting by 32 would shift by none.
  return shift === 32 || numberOf(address) >>> shift === numberOf(network) >>> shift;
}

function numberOf(address: string): number {
  return address.split('.').reduce((sum, byte) => ((sum << 8) | Number(byte)) >>> 0, 0);
}

function inRange(port: number, range: string): boolean {
  if (range === '-1/-1') return true;
  const [from = 0, to = 0] = range.split('/').map(Number);
  return from <= port && port <= to;
}
