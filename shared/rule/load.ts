import type { Document, LineCounter } from 'yaml';
import * as v from 'valibot';
import { severities } from '../alert/alert.ts';
import { sha256 } from '../id.ts';
import type { CaptureRequest, Limits } from '../provider/provider.ts';
import { Timetable } from './cron.ts';
import { limitFaults, toLimits, type Rule as LoadedRule, type RuleProblem, type RuleSet } from './rule.ts';
import { Rule, RulesFile } from './schema.ts';
import { parseDuration } from './units.ts';

type Path = (string | number)[];
type RuleText = v.InferOutput<typeof Rule>;

/** Checks a capture and its limits against what the clouds document; one sentence per fault. */
export type CheckCapture = (capture: CaptureRequest, limits: Limits) => string[];

const maxFileLength = 256 * 1024;
const maxProblems = 100;
const maxMessageLength = 300;

/**
 * Reads the text of a rules file. Never throws: every fault of the file comes back with its line (the first hundred), and a file
 * with a fault has no rules at all, so that nobody relies on half of them.
 */
export async function loadRules(text: string, check: CheckCapture): Promise<RuleSet> {
  const { LineCounter, parseDocument, visit } = await import('./yaml.lazy.ts');
  const version = sha256(text).slice(0, 12);
  const broken = (problems: RuleProblem[]): RuleSet => ({
    rules: [],
    version,
    problems: problems.toSorted((a, b) => a.line - b.line || a.column - b.column),
  });
  if (text.length > maxFileLength)
    return broken([
      {
        line: 1,
        column: 1,
        path: '',
        message: `The file has ${text.length} characters; at most ${maxFileLength} are read`,
      },
    ]);
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  if (document.errors.length > 0) {
    return broken(
      document.errors
        .slice(0, maxProblems)
        .map((error) => ({ ...position(lines, error.pos[0]), path: '', message: cut(error.message) })),
    );
  }
  let value: unknown;
  try {
    value = document.toJS({ maxAliasCount: 50 });
  } catch (error) {
    // An alias of nothing, or too many of them.
    let at = 0;
    visit(document, { Alias: (_, alias) => void (at ||= alias.range?.[0] ?? 0) });
    return broken([{ ...position(lines, at), path: '', message: cut((error as Error).message) }]);
  }
  const problems: RuleProblem[] = [];
  const complain = (path: Path, message: string): void => {
    if (problems.length < maxProblems)
      problems.push({ ...position(lines, locate(document, path)), path: pathText(path), message: cut(message) });
  };
  // Keys that every object has by itself would slip through the schema.
  visit(document, {
    Pair: (_, { key }) => {
      const name = (key as { value?: unknown; range?: number[] } | undefined)?.value;
      if (name !== '__proto__' && name !== 'constructor' && name !== 'prototype') return;
      problems.push({
        ...position(lines, (key as { range?: number[] }).range?.[0] ?? 0),
        path: name,
        message: 'is not a known key',
      });
    },
  });
  const rules = checkShape(value, complain);
  checkMeaning(rules, check, complain);
  return problems.length > 0
    ? broken(problems)
    : { rules: rules.map(({ rule }) => toRule(rule)), version, problems: [] };
}

/** The file against its schema, each rule by itself, so that a fault in one does not hide those of the others. */
function checkShape(
  value: unknown,
  complain: (path: Path, message: string) => void,
): { rule: RuleText; index: number }[] {
  const list = (value as { rules?: unknown } | null | undefined)?.rules;
  const separate = Array.isArray(list);
  const file = v.safeParse(RulesFile, separate ? { ...(value as object), rules: [] } : value);
  for (const issue of (file.issues ?? []).flatMap(innermost)) complain(issue.path, issue.message);
  return (separate ? (list as unknown[]) : []).flatMap((raw, index) => {
    const parsed = v.safeParse(Rule, raw);
    const lists = Object.entries((raw ?? {}) as object).filter(
      ([key, part]) => mappings.has(key) && Array.isArray(part),
    );
    for (const [key] of lists) complain(['rules', index, key], 'must be a mapping, not a list');
    for (const issue of (parsed.issues ?? []).flatMap(innermost))
      complain(['rules', index, ...issue.path], issue.message);
    return parsed.success ? [{ rule: parsed.output, index }] : [];
  });
}

const mappings = new Set(['when', 'schedule', 'capture', 'limits']);

/** What a schema cannot say. */
function checkMeaning(
  rules: { rule: RuleText; index: number }[],
  check: CheckCapture,
  complain: (path: Path, message: string) => void,
): void {
  const names = new Map<string, number>();
  for (const { rule, index } of rules) {
    const at: Path = ['rules', index];
    const twin = names.get(rule.name);
    if (twin === undefined) names.set(rule.name, index);
    else complain([...at, 'name'], `is the name of rules[${twin}] too; names must differ`);
    if ((rule.when === undefined) === (rule.schedule === undefined)) complain(at, 'needs either when or schedule');
    for (const { path, message } of severityFaults(rule.when)) complain([...at, 'when', ...path], message);
    if (rule.target === 'alert' && rule.schedule !== undefined)
      complain([...at, 'target'], 'a scheduled rule has no alert: list the ids of its targets');
    if (rule.schedule !== undefined) {
      if (rule.limits?.stopOnResolve) complain([...at, 'limits', 'stopOnResolve'], 'a schedule never resolves');
      try {
        new Timetable(rule.schedule.cron, rule.schedule.timezone ?? 'UTC');
      } catch (error) {
        complain([...at, 'schedule'], (error as Error).message);
      }
    }
    for (const fault of limitFaults(rule.limits)) complain([...at, 'limits', fault.key], fault.message);
    for (const fault of check(rule.capture ?? {}, toLimits(rule.limits))) {
      complain([...at, /^the (duration|size)/.test(fault) ? 'limits' : 'capture'], fault);
    }
    const path = rule.capture?.azure?.storageLocation?.storagePath;
    if (path !== undefined && !path.includes('{run}')) {
      complain(
        [...at, 'capture', 'azure', 'storageLocation', 'storagePath'],
        'must contain {run}, or each run would overwrite the file of the one before',
      );
    }
  }
}

/** Each source has severities of its own; a rule that asks for those of another would never match. */
function severityFaults(when: RuleText['when']): { path: Path; message: string }[] {
  if (when?.severity === undefined) return [];
  const { source, severity } = when;
  const known: readonly string[] = severities[source];
  const message = `is no severity of ${source}: it has ${known.join(', ')}`;
  if (!Array.isArray(severity)) return known.includes(severity) ? [] : [{ path: ['severity'], message }];
  return severity.flatMap((one, i) => (known.includes(one) ? [] : [{ path: ['severity', i], message }]));
}

function toRule(rule: RuleText): LoadedRule {
  const list = (value: string | string[] | undefined): string[] => (value === undefined ? [] : [value].flat());
  return {
    name: rule.name,
    ...(rule.when
      ? {
          when: {
            source: rule.when.source,
            alert: list(rule.when.alert),
            severity: list(rule.when.severity),
            resourceType: list(rule.when.resourceType),
          },
        }
      : {}),
    ...(rule.schedule ? { schedule: { cron: rule.schedule.cron, timezone: rule.schedule.timezone ?? 'UTC' } } : {}),
    target: rule.target,
    capture: rule.capture ?? {},
    limits: {
      ...toLimits(rule.limits),
      stopOnResolve: rule.limits?.stopOnResolve ?? false,
      cooldownSeconds: rule.limits?.cooldown === undefined ? 0 : (parseDuration(rule.limits.cooldown) ?? 0),
      concurrent: rule.limits?.concurrent,
    },
  };
}

/** A fault inside a union is told by the branch that got furthest, not as "no branch fits". */
function innermost(issue: v.BaseIssue<unknown>): { path: Path; message: string }[] {
  const path = (issue.path ?? []).map((item) => item.key as string | number);
  const deeper = (issue.issues ?? []).filter((inner) => (inner.path?.length ?? 0) > 0);
  if (deeper.length === 0) return [{ path, message: issue.message }];
  return deeper.flatMap(innermost).map((inner) => ({ path: [...path, ...inner.path], message: inner.message }));
}

/** Offset of the node at `path`, or of the deepest one on the way that exists; of the key where the fault is the key. */
function locate(document: Document, path: Path): number {
  for (let depth = path.length; depth > 0; depth--) {
    const key = path[depth - 1];
    const parent = depth === 1 ? document.contents : document.getIn(path.slice(0, depth - 1), true);
    const items = (parent as { items?: unknown[] } | undefined)?.items;
    if (items === undefined) continue;
    const item = typeof key === 'number' ? items[key] : items.find((pair) => String(keyOf(pair)) === key);
    const node = item as { key?: { range?: number[] }; range?: number[] } | undefined;
    const range = node?.key?.range ?? node?.range;
    if (range?.[0] !== undefined) return range[0];
  }
  return document.contents?.range?.[0] ?? 0;
}

function keyOf(pair: unknown): unknown {
  return (pair as { key?: { value?: unknown } } | undefined)?.key?.value;
}

function position(lines: LineCounter, offset: number): { line: number; column: number } {
  const { line, col } = lines.linePos(offset);
  return { line: Math.max(line, 1), column: Math.max(col, 1) };
}

function pathText(path: Path): string {
  return path.reduce<string>(
    (text, key) => (typeof key === 'number' ? `${text}[${key}]` : text === '' ? key : `${text}.${key}`),
    '',
  );
}

function cut(message: string): string {
  return message.length <= maxMessageLength ? message : `${message.slice(0, maxMessageLength)}…`;
}
