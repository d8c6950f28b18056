import type { Alert } from '../alert/alert.ts';
import type { TargetAnswer } from '../provider/provider.ts';
import { matchesGlob } from './glob.ts';
import type { Rule } from './rule.ts';

/** Why something that came in starts nothing. A closed list: clients switch on it. */
export const ignoredReasons = [
  'no-rule',
  'resolved',
  'test',
  'unsupported-target',
  'unknown-target',
  'subscription-not-configured',
  'ambiguous-target',
  'cooldown',
  'concurrency',
  'rate',
  'budget',
  'max-targets',
] as const;

export type Ignored = { rule?: string; target?: string; reason: (typeof ignoredReasons)[number]; detail: string };

export type Plan = { runs: { rule: Rule; target: string }[]; ignored: Ignored[] };

/** How many targets one alert or schedule may start captures on, per rule. */
const maxTargets = 25;

/** What an alert asks for by the rules: pure, so that a rules file can be tried out on alerts of the past. */
export function planAlert(alert: Alert, rules: readonly Rule[], resolve: (id: string) => TargetAnswer): Plan {
  const plan: Plan = { runs: [], ignored: [] };
  const answered = new Set<string>();
  const matching = rules.filter((rule) => matchesAlert(rule, alert));
  for (const rule of matching) {
    const wanted =
      rule.target === 'alert'
        ? alert.targets.filter((t) => matchesType(rule, t.resourceType)).map((t) => t.id)
        : rule.target;
    for (const id of wanted) answered.add(id);
    addTargets(plan, rule, wanted, resolve);
  }
  if (alert.targets.length === 0 && matching.some((rule) => rule.target === 'alert')) {
    plan.ignored.push({ reason: 'unknown-target', detail: 'The alert names no target' });
  } else if (alert.targets.length === 0 && matching.length === 0) {
    plan.ignored.push({ reason: 'no-rule', detail: noRule(alert) });
  }
  // Rules with lists of their own have answered for the whole alert.
  if (matching.length > 0 && matching.every((rule) => rule.target !== 'alert')) return plan;
  for (const { id } of alert.targets) {
    if (answered.has(id)) continue;
    const answer = resolve(id);
    if (answer.kind === 'refused') plan.ignored.push({ target: id, reason: answer.reason, detail: answer.detail });
    else plan.ignored.push({ target: answer.id, reason: 'no-rule', detail: noRule(alert) });
  }
  return plan;
}

/** What a scheduled rule asks for when it comes due. */
export function planSchedule(rule: Rule, resolve: (id: string) => TargetAnswer): Plan {
  const plan: Plan = { runs: [], ignored: [] };
  if (rule.target !== 'alert') addTargets(plan, rule, rule.target, resolve);
  return plan;
}

function addTargets(plan: Plan, rule: Rule, ids: readonly string[], resolve: (id: string) => TargetAnswer): void {
  let count = 0;
  const seen = new Set<string>();
  for (const id of ids) {
    const answer = resolve(id);
    if (answer.kind === 'refused') {
      plan.ignored.push({ rule: rule.name, target: id, reason: answer.reason, detail: answer.detail });
      continue;
    }
    if (seen.has(answer.id)) continue;
    seen.add(answer.id);
    if (++count > maxTargets)
      plan.ignored.push({
        rule: rule.name,
        target: answer.id,
        reason: 'max-targets',
        detail: `A rule starts captures on at most ${maxTargets} targets at once`,
      });
    else plan.runs.push({ rule, target: answer.id });
  }
}

function matchesAlert(rule: Rule, alert: Alert): boolean {
  const { when } = rule;
  if (when === undefined || when.source !== alert.source) return false;
  if (when.alert.length > 0 && !when.alert.some((pattern) => matchesGlob(pattern, alert.rule))) return false;
  if (when.severity.length > 0 && !when.severity.some((s) => s.toLowerCase() === alert.severity?.toLowerCase()))
    return false;
  return when.resourceType.length === 0 || alert.targets.some((t) => matchesType(rule, t.resourceType));
}

/** `virtualMachines` and `Microsoft.Compute/virtualMachines` both name the type. */
function matchesType(rule: Rule, resourceType: string): boolean {
  const types = rule.when?.resourceType ?? [];
  const short = resourceType.slice(resourceType.indexOf('/') + 1);
  return (
    types.length === 0 || types.some((pattern) => matchesGlob(pattern, resourceType) || matchesGlob(pattern, short))
  );
}

function noRule(alert: Alert): string {
  return `No rule matches alert "${alert.rule.slice(0, 100)}"${alert.severity ? ` of severity ${alert.severity}` : ''}`;
}
