import type { CaptureRequest, Limits } from '../provider/provider.ts';
import { parseDuration, parseSize } from './units.ts';

/** Which alerts, or which schedule, start what capture on which targets within which limits. */
export type Rule = {
  name: string;
  when?: { source: string; alert: string[]; severity: string[]; resourceType: string[] };
  schedule?: { cron: string; timezone: string };
  target: 'alert' | string[];
  capture: CaptureRequest;
  limits: Limits & { stopOnResolve: boolean; cooldownSeconds: number; concurrent: number | undefined };
};

/** The rules in force, or what is wrong with the file. */
export type RuleSet = {
  rules: Rule[];
  /** First 12 hex digits of the file's SHA-256. */ version: string;
  problems: RuleProblem[];
};

/** A fault of a rules file: line and column count from 1; `path` such as rules[0].limits.duration. */
export type RuleProblem = { line: number; column: number; path: string; message: string };

const defaultDurationSeconds = 300;
const defaultSizeBytes = 100 * 1024 * 1024;

type LimitsText = {
  duration?: string | undefined;
  durationSeconds?: number | undefined;
  size?: string | undefined;
  sizeBytes?: number | undefined;
};

/** Limits as written in rules and runbook calls, in numbers and with the defaults. */
export function toLimits(text: LimitsText = {}): Limits {
  return {
    durationSeconds:
      text.durationSeconds ??
      (text.duration === undefined ? defaultDurationSeconds : (parseDuration(text.duration) ?? Number.NaN)),
    sizeBytes: text.sizeBytes ?? (text.size === undefined ? defaultSizeBytes : (parseSize(text.size) ?? Number.NaN)),
  };
}

/** What is wrong with limits that say one thing twice. */
export function limitFaults(text: LimitsText = {}): { key: string; message: string }[] {
  const faults: { key: string; message: string }[] = [];
  if (text.duration !== undefined && text.durationSeconds !== undefined)
    faults.push({ key: 'durationSeconds', message: 'give duration or durationSeconds, not both' });
  if (text.size !== undefined && text.sizeBytes !== undefined)
    faults.push({ key: 'sizeBytes', message: 'give size or sizeBytes, not both' });
  return faults;
}
