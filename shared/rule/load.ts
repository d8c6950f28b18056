import type { Document, LineCounter } from 'yaml';
import * as v from 'valibot';
import { sha256 } from '../id.ts';
import type { CaptureRequest, Limits } from '../provider/provider.ts';
import { Timetable } from './cron.ts';
import { limitFaults, toLimits, type Rule, type RuleProblem, type RuleSet } from './rule.ts';
import { RulesFile } from './schema.ts';
import { parseDuration } from './units.ts';

type Path = (string | number)[];

/** Checks a capture and its limits against what the clouds document; one sentence per fault. */
export type CheckCapture = (capture: CaptureRequest, limits: Limits) => string[];

/**
 * Reads the text of a rules file. Never throws: every fault of the file comes back with its line, and a file with a fault
 * has no rules at all, so that nobody relies on half of them.
 */
export async function loadRules(text: string, check: CheckCapture): Promise<RuleSet> {
  const { LineCounter, parseDocument } = await import('./yaml.lazy.ts');
  const version = sha256(text).slice(0, 12);
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const broken = (problems: RuleProblem[]): RuleSet => ({
    rules: [],
    version,
    problems: problems.toSorted((a, b) => a.line - b.line || a.column - b.column),
  });
  if (document.errors.length > 0) {
    return broken(
      document.errors.map((error) => ({ ...position(lines, error.pos[0]), path: '', message: error.message })),
    );
  }
  let value: unknown;
  try {
    value = document.toJS({ maxAliasCount: 50 });
  } catch (error) {
    return broken([{ line: 1, column: 1, path: '', message: (error as Error).message }]);
  }
  const parsed = v.safeParse(RulesFile, value);
  const problems: RuleProblem[] = [];
  const complain = (path: Path, message: string): void => {
    const at = locate(document, path);
    problems.push({ ...position(lines, at), path: pathText(path), message });
  };
  if (!parsed.success) {
    for (const issue of parsed.issues.flatMap(innermost)) complain(issue.path, issue.message);
    return broken(problems);
  }
  checkMeaning(parsed.output, check, complain);
  return problems.length > 0 ? broken(problems) : { rules: parsed.output.rules.map(toRule), version, problems: [] };
}

/** What a schema cannot say. */
function checkMeaning(file: RulesFile, check: CheckCapture, complain: (path: Path, message: string) => void): void {
  const names = new Map<string, number>();
  file.rules.forEach((rule, i) => {
    const at: Path = ['rules', i];
    const twin = names.get(rule.name);
    if (twin === undefined) names.set(rule.name, i);
    else complain([...at, 'name'], `is the name of rules[${twin}] too; names must differ`);
    if ((rule.when === undefined) === (rule.schedule === undefined)) complain(at, 'needs either when or schedule');
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
    for (const fault of check(rule.capture ?? {}, toLimits(rule.limits)))
      complain([...at, /^the (duration|size)/.test(fault) ? 'limits' : 'capture'], fault);
  });
}

function toRule(rule: RulesFile['rules'][number]): Rule {
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
    const item = typeof key === 'number' ? items[key] : items.find((pair) => keyOf(pair) === key);
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
