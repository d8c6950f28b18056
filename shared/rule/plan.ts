import { computerTypes, namesOfType, type Alert, type AlertTarget } from '../alert/alert.ts';
import type { TargetAnswer } from '../provider/provider.ts';
import { matchesGlob } from './glob.ts';
import type { Rule } from './rule.ts';

/** Why something that came in starts nothing. A closed list: clients switch on it. */
export const ignoredReasons = [
  'no-rule',
  'resolved',
  'no-data',
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

/** What becomes of a test of an action group. */
export const testIgnored: Ignored = {
  reason: 'test',
  detail: 'This is the test of an action group: alerts get here. A test starts nothing',
};

export type Plan = { runs: { rule: Rule; target: string }[]; ignored: Ignored[] };

/** How many targets one alert or schedule may start captures on, per rule. */
const maxTargets = 25;

/**
 * What an alert asks for by the rules: pure, so that a rules file can be tried out on alerts of the past. Computer names were
 * looked up before (see computersWanted) and carry their answers.
 */
export function planAlert(alert: Alert, rules: readonly Rule[], resolve: (id: string) => TargetAnswer): Plan {
  if (alert.test) return { runs: [], ignored: [testIgnored] };
  const plan: Plan = { runs: [], ignored: [] };
  const answered = new Set<string>();
  const matching = rules.filter((rule) => matchesAlert(rule, alert));
  const answerOf = (target: AlertTarget): Answer => {
    const answer = target.answer ?? (target.computer ? notLookedUp : resolve(target.id));
    if (answer.kind === 'target' || target.hint === undefined) return answer;
    return { ...answer, detail: `${answer.detail}. ${target.hint}` };
  };
  for (const rule of matching) {
    if (rule.target === 'alert') {
      const wanted = alert.targets.filter((t) => matchesType(rule, t));
      for (const { id } of wanted) answered.add(id);
      addTargets(
        plan,
        rule,
        wanted.map((t) => [t.id, answerOf(t)]),
      );
    } else {
      for (const id of rule.target) answered.add(id);
      addTargets(
        plan,
        rule,
        rule.target.map((id) => [id, resolve(id)]),
      );
    }
  }
  if (alert.targets.length === 0 && matching.some((rule) => rule.target === 'alert')) {
    plan.ignored.push({
      reason: 'unknown-target',
      detail: 'The alert names no machine: give the rule a list of targets',
    });
  } else if (alert.targets.length === 0 && matching.length === 0) {
    plan.ignored.push({ reason: 'no-rule', detail: noRule(alert) });
  }
  // Rules with lists of their own have answered for the whole alert.
  if (matching.length > 0 && matching.every((rule) => rule.target !== 'alert')) return plan;
  for (const target of alert.targets) {
    const { id } = target;
    if (answered.has(id)) continue;
    // A computer name that nobody wants is not looked up, and a machine for all that is known.
    const answer: Answer = target.computer && !target.answer ? { kind: 'target', id } : answerOf(target);
    if (answer.kind === 'refused') plan.ignored.push({ target: id, reason: answer.reason, detail: answer.detail });
    else plan.ignored.push({ target: answer.id, reason: 'no-rule', detail: noRule(alert) });
  }
  return plan;
}

/** The computer names that have to be looked up before planAlert: those that some rule would capture. */
export function computersWanted(alert: Alert, rules: readonly Rule[]): AlertTarget[] {
  if (alert.test) return [];
  const taking = rules.filter((rule) => rule.target === 'alert' && matchesAlert(rule, alert));
  return alert.targets.filter((t) => t.computer && !t.answer && taking.some((rule) => matchesType(rule, t)));
}

/** What a scheduled rule asks for when it comes due. */
export function planSchedule(rule: Rule, resolve: (id: string) => TargetAnswer): Plan {
  const plan: Plan = { runs: [], ignored: [] };
  if (rule.target === 'alert') return plan;
  addTargets(
    plan,
    rule,
    rule.target.map((id) => [id, resolve(id)]),
  );
  return plan;
}

/** As of a target, but also refused for its place in a long list. */
type Answer = NonNullable<AlertTarget['answer']>;

const notLookedUp: Answer = {
  kind: 'refused',
  reason: 'unknown-target',
  detail: 'This is the name of a computer, and it was not looked up which machine has it',
};

function addTargets(plan: Plan, rule: Rule, targets: readonly (readonly [id: string, answer: Answer])[]): void {
  let count = 0;
  const seen = new Set<string>();
  for (const [id, answer] of targets) {
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
  return when.resourceType.length === 0 || alert.targets.some((t) => matchesType(rule, t));
}

/** `virtualMachines` and `Microsoft.Compute/virtualMachines` both name the type (see namesOfType). What a computer name stands for may be of two. */
function matchesType(rule: Rule, target: AlertTarget): boolean {
  const patterns = rule.when?.resourceType ?? [];
  const types = target.computer && target.answer?.kind !== 'target' ? computerTypes : [target.resourceType];
  return (
    patterns.length === 0 ||
    types.flatMap(namesOfType).some((name) => patterns.some((pattern) => matchesGlob(pattern, name)))
  );
}

function noRule(alert: Alert): string {
  return `No rule matches alert "${alert.rule.slice(0, 100)}"${alert.severity ? ` of severity ${alert.severity}` : ''}`;
}
