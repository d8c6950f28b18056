import { isIPv4 } from 'node:net';
import type { Parameters } from './parameters.ts';
import { illegal, missing, Refusal } from './refusal.ts';
import type { Direction, FilterRule, RuleSettings } from './state.ts';

/** Reading and checking of filter rules. */
const MOST_PRIORITY = 16_777_216;
const MOST_AT_ONCE = 10;
const ANY_PORT = '-1/-1';
const ANY_ADDRESS = '0.0.0.0/0';

export type NewRule = { direction: Direction; settings: RuleSettings };

/** What new rules join. */
export type Company = {
  existing: FilterRule[];
  most: number;
  /** The filter is new, too: decides between the two codes that a wrong CIDR block has. */
  newFilter: boolean;
};

export function newRules(parameters: Parameters, { existing, most, newFilter }: Company): NewRule[] {
  const given = [...ofDirection(parameters, 'ingress', newFilter), ...ofDirection(parameters, 'egress', newFilter)];
  if (existing.length + given.length > most) throw new Refusal('QuotaExceeded.TrafficMirrorRulesPerFilter');
  const rules: NewRule[] = [];
  for (const { direction, settings } of given) {
    const others = [...existing.map((each) => ({ direction: each.direction, settings: each.asked })), ...rules].filter(
      (each) => each.direction === direction,
    );
    // GUESS: a rule without a priority gets the next one.
    const priority = settings.priority ?? Math.max(0, ...others.map((each) => each.settings.priority)) + 1;
    if (others.some((each) => each.settings.priority === priority)) throw new Refusal('DuplicatedParam.Priority');
    rules.push({ direction, settings: { ...settings, priority } });
  }
  return rules;
}

type Given = { direction: Direction; settings: Omit<RuleSettings, 'priority'> & { priority?: number } };

function ofDirection(parameters: Parameters, direction: Direction, newFilter: boolean): Given[] {
  const list = direction === 'ingress' ? 'IngressRules' : 'EgressRules';
  const given = parameters.objects(list);
  if (given.length > MOST_AT_ONCE) throw new Refusal('QuotaExceeded.TrafficMirrorRulesPerFilter');
  return given.map((each) => {
    if ((each.text('IpVersion') ?? 'IPv4') !== 'IPv4') throw new Refusal('UnsupportedFeature.IpVersion');
    const action = each.text('Action');
    const protocol = each.text('Protocol');
    if (action === undefined) throw missing(`${list}.Action`);
    if (protocol === undefined) throw missing(`${list}.Protocol`);
    const priority = each.integer('Priority', 1, MOST_PRIORITY);
    const settings = {
      action: actionOf(action),
      protocol: protocolOf(protocol),
      sourceCidr: cidrOf(
        each.text('SourceCidrBlock'),
        newFilter ? 'IllegalParamFormat.SrcCidrBlock' : 'IllegalParam.CidrBlock',
      ),
      destinationCidr: cidrOf(
        each.text('DestinationCidrBlock'),
        newFilter ? 'IllegalParamFormat.DstCidrBlock' : 'IllegalParam.CidrBlock',
      ),
      sourcePorts: portsOf('SourcePortRange', each.text('SourcePortRange'), protocol),
      destinationPorts: portsOf('DestinationPortRange', each.text('DestinationPortRange'), protocol),
    };
    return { direction, settings: { ...settings, ...(priority === undefined ? {} : { priority }) } };
  });
}

/** What a rule is to be after an update; what is not given stays. */
export function changedRule(parameters: Parameters, rule: FilterRule, others: FilterRule[]): RuleSettings {
  const { asked } = rule;
  const given = (name: string) => parameters.text(name);
  const protocol = protocolOf(given('Protocol') ?? asked.protocol);
  const priority = parameters.integer('Priority', 1, MOST_PRIORITY) ?? asked.priority;
  const hasPorts = protocol === 'TCP' || protocol === 'UDP';
  const settings: RuleSettings = {
    action: actionOf(given('RuleAction') ?? asked.action),
    priority,
    protocol,
    sourceCidr: cidrOf(given('SourceCidrBlock') ?? asked.sourceCidr, 'IllegalParam.CidrBlock'),
    destinationCidr: cidrOf(given('DestinationCidrBlock') ?? asked.destinationCidr, 'IllegalParam.CidrBlock'),
    sourcePorts: portsOf(
      'SourcePortRange',
      given('SourcePortRange') ?? (hasPorts ? asked.sourcePorts : undefined),
      protocol,
    ),
    destinationPorts: portsOf(
      'DestinationPortRange',
      given('DestinationPortRange') ?? (hasPorts ? asked.destinationPorts : undefined),
      protocol,
    ),
  };
  const taken = others.some((each) => each.direction === rule.direction && each.asked.priority === priority);
  if (taken) throw new Refusal('DuplicatedParam.Priority');
  return settings;
}

function actionOf(text: string): RuleSettings['action'] {
  if (text !== 'accept' && text !== 'drop') throw illegal('Action');
  return text;
}

function protocolOf(text: string): RuleSettings['protocol'] {
  if (text !== 'ALL' && text !== 'ICMP' && text !== 'TCP' && text !== 'UDP') throw illegal('Protocol');
  return text;
}

function cidrOf(text: string | undefined, code: string): string {
  if (text === undefined) return ANY_ADDRESS;
  const [address = '', length = '', ...more] = text.split('/');
  const fits = isIPv4(address) && /^\d{1,2}$/.test(length) && Number(length) <= 32 && more.length === 0;
  if (!fits) throw new Refusal(code);
  return text;
}

/** `a/b` with ports from 1 to 65535; only TCP and UDP have some. */
function portsOf(name: string, text: string | undefined, protocol: string): string {
  if (text === undefined || text === ANY_PORT) return ANY_PORT;
  const [, from, to] = /^(\d{1,5})\/(\d{1,5})$/.exec(text) ?? [];
  const hasPorts = protocol === 'TCP' || protocol === 'UDP';
  if (!hasPorts || Number(from) < 1 || !(Number(from) <= Number(to)) || Number(to) > 65_535) throw illegal(name);
  return text;
}
