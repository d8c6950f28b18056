import type { Clock } from '../clock.ts';
import type { Log } from '../log.ts';
import type { Launcher } from '../run/launcher.ts';
import type { Table } from '../storage/table.ts';
import { Timetable } from './cron.ts';
import { planSchedule } from './plan.ts';
import type { Rule, RuleSet } from './rule.ts';

export type DueParts = { state: Table; launcher: Launcher; rules: () => Promise<RuleSet>; clock: Clock; log: Log };

/** Up to when a rule's due times are dealt with, and by which timetable. */
type Mark = { until: string; cron: string; timezone: string };

// After a pause only the last due time is made up for, and only within this: packets of hours ago are gone.
const lateMs = 3_600_000;
// What came due within this is not late: every one of it is run.
const freshMs = 60_000;
const mostAtOnce = 60;

/**
 * Starts what has come due since the last look. A run's id derives from rule, due time and target, so that each due time runs
 * once, however many instances look and wherever one of them dies. A rule that is seen for the first time, or whose timetable
 * has changed, starts from now.
 */
export async function startDue(parts: DueParts): Promise<void> {
  const { rules, version } = await parts.rules();
  for (const rule of rules) {
    try {
      await startRule(parts, rule, version);
    } catch (error) {
      // One rule's trouble is no reason to leave the others alone; this one is looked at again with the next tick.
      parts.log.error(`schedule ${rule.name} could not be started`, { error });
    }
  }
}

async function startRule({ state, launcher, clock, log }: DueParts, rule: Rule, version: string): Promise<void> {
  if (!rule.schedule) return;
  const { cron, timezone } = rule.schedule;
  const now = clock.now();
  const mark = (until: Date): Mark => ({ until: until.toISOString(), cron, timezone });
  const row = await state.get<Mark>('schedule', rule.name);
  if (!row || row.value.cron !== cron || row.value.timezone !== timezone) {
    await (row
      ? state.replace('schedule', rule.name, row.etag, mark(now))
      : state.insert('schedule', rule.name, mark(now)));
    return;
  }
  const from = new Date(Math.max(Date.parse(row.value.until), now.getTime() - lateMs));
  const due = new Timetable(cron, timezone).between(from, now, mostAtOnce);
  const last = due.at(-1);
  if (!last) return;
  const fresh = due.filter((at) => now.getTime() - at.getTime() <= freshMs);
  const wanted = fresh.length > 0 ? fresh : [last];
  if (wanted.length < due.length)
    log.warn(
      `schedule ${rule.name}: ${due.length - wanted.length} due times passed while nothing ran; they are not made up for`,
    );
  for (const at of wanted) {
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
    for (const one of ignored) log.warn(`schedule ${rule.name}: ${one.target} ignored (${one.reason}): ${one.detail}`);
  }
  await state.replace('schedule', rule.name, row.etag, mark(last));
}
