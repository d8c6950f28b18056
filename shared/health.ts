import type { Clock } from './clock.ts';
import type { Config } from './config.ts';
import { Problem } from './problem.ts';
import { Timetable } from './rule/cron.ts';
import type { RuleProblem, RuleSet } from './rule/rule.ts';
import type { Table } from './storage/table.ts';

export type Health = {
  status: 'ok' | 'degraded' | 'unavailable';
  /** Why it is not ok, in words. */
  problems: string[];
  rules: { version: string; count: number; problems: RuleProblem[]; next: { rule: string; at: string }[] };
  storage: 'ok' | 'unavailable';
  poll?: { at: string; open: number; alarms: number };
};

const silentPollMs = 5 * 60_000;

/** How the app is. A bad rules file or setting makes it degraded, only storage out of reach makes it unavailable. */
export async function readHealth(parts: {
  config: Config;
  rules: () => Promise<RuleSet>;
  state: Table;
  clock: Clock;
  startedAt: Date;
}): Promise<Health> {
  const { config, state, clock, startedAt } = parts;
  const { rules, version, problems: ruleProblems } = await parts.rules();
  const problems = [...config.problems];
  if (!config.azure) problems.push('TRIPCAP_SUBSCRIPTIONS is not set: nothing can be captured');
  if (config.azure && config.captureAccounts.length === 0)
    problems.push('TRIPCAP_CAPTURE_ACCOUNTS names no account: captures have nowhere to go');
  if (ruleProblems.length > 0) problems.push(`The rules file has ${ruleProblems.length} problems; no rule is in force`);
  for (const [name, cron] of Object.entries(config.schedules)) {
    try {
      new Timetable(cron, 'UTC');
    } catch (error) {
      problems.push(
        `TRIPCAP_${name.toUpperCase()}_SCHEDULE "${cron.slice(0, 50)}": ${(error as Error).message}; the function does not run`,
      );
    }
  }
  const next = rules.flatMap(({ name, schedule }) => {
    const at = schedule && new Timetable(schedule.cron, schedule.timezone).next(clock.now());
    return at ? [{ rule: name, at: at.toISOString() }] : [];
  });
  const about = { problems, rules: { version, count: rules.length, problems: ruleProblems, next } };
  try {
    const poll = (await state.get<{ at: string; open: number; alarms: number }>('heartbeat', 'poll'))?.value;
    const silentSince = poll ? new Date(poll.at) : startedAt;
    if (clock.now().getTime() - silentSince.getTime() > silentPollMs) {
      problems.push(`Open runs have not been polled since ${silentSince.toISOString()}`);
    }
    if (poll && poll.alarms > 0)
      problems.push(`${poll.alarms} runs need somebody to look: their sessions are not confirmed to have ended`);
    return { status: problems.length === 0 ? 'ok' : 'degraded', ...about, storage: 'ok', ...(poll ? { poll } : {}) };
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    problems.push(error.message);
    return { status: 'unavailable', ...about, storage: 'unavailable' };
  }
}
