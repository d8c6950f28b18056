import type { Clock } from '../clock.ts';
import type { Log } from '../log.ts';
import type { Launcher } from '../run/launcher.ts';
import type { Table } from '../storage/table.ts';
import { Timetable } from './cron.ts';
import { planSchedule } from './plan.ts';
import type { RuleSet } from './rule.ts';

export type DueParts = { state: Table; launcher: Launcher; rules: () => Promise<RuleSet>; clock: Clock; log: Log };

// After a longer pause only what came due within the last hour is made up for, and no more than this many per rule.
const catchUpMs = 3_600_000;
const catchUpRuns = 10;

/**
 * Starts what has come due since the last look. A run's id derives from rule, due time and target, so that each due time runs
 * once, however many instances look and wherever one of them dies. A rule that is seen for the first time starts from now.
 */
export async function startDue({ state, launcher, rules, clock, log }: DueParts): Promise<void> {
  const { rules: all, version } = await rules();
  for (const rule of all) {
    if (!rule.schedule) continue;
    const now = clock.now();
    const row = await state.get<{ until: string }>('schedule', rule.name);
    if (!row) {
      await state.insert('schedule', rule.name, { until: now.toISOString() });
      continue;
    }
    const from = new Date(Math.max(Date.parse(row.value.until), now.getTime() - catchUpMs));
    const due = new Timetable(rule.schedule.cron, rule.schedule.timezone).between(from, now, catchUpRuns);
    if (due.length === 0) continue;
    for (const at of due) {
      const plan = planSchedule(rule, (id) => launcher.target(id));
      const ignored = [...plan.ignored];
      await Promise.all(
        plan.runs.map(async ({ target }) => {
          const trigger = {
            kind: 'schedule' as const,
            source: 'schedule',
            rule: rule.name,
            rulesVersion: version,
            reason: `Due at ${at.toISOString()}`,
          };
          const launched = await launcher.launch({
            idParts: ['schedule', rule.name, at.toISOString(), target],
            target,
            rule,
            trigger,
          });
          if (launched.ignored) ignored.push(launched.ignored);
        }),
      );
      for (const one of ignored)
        log.warn(`schedule ${rule.name}: ${one.target} ignored (${one.reason}): ${one.detail}`);
    }
    await state.replace('schedule', rule.name, row.etag, { until: due.at(-1)?.toISOString() });
  }
}
