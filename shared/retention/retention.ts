import type { Lifetimes } from '../config.ts';
import type { RuleSet } from '../rule/rule.ts';
import type { Table } from '../storage/table.ts';
import { expireAlerts, expirePayloads, type AlertParts } from './alerts.ts';
import { expireCaptures, type CaptureParts } from './captures.ts';
import { expireCooldowns, expireSchedules } from './marks.ts';
import { expireRuns, type RunParts } from './runs.ts';
import type { Walk, Walker } from './walk.ts';

export type RetentionParts = CaptureParts &
  RunParts &
  AlertParts & { state: Table; rules: () => Promise<RuleSet>; lifetimes: Lifetimes };

/** What has a lifetime, in the order in which it goes: entries hold up their runs; runs and payloads hold up their alerts. */
const kinds = ['capture entries', 'runs', 'raw alerts', 'alerts', 'cool-downs', 'schedules'] as const;
type Kind = (typeof kinds)[number];

export type RetentionOutcome = {
  removed: Record<Kind, number>;
  /** What storage itself refuses to let go of. */
  held: number;
  /** The time was up; the next time goes on there. */
  unfinished: Kind[];
  /** Something went wrong there, and the log says what. */
  failed: Kind[];
};

// All of it together: well below the ten minutes of `functionTimeout` in host.json.
const budgetMs = 5 * 60_000;
const mostAheadMs = 15 * 60_000;

/**
 * Removes what has outlived its lifetime. It can be killed at any point, can run twice at once, and keeps to its budget: what is
 * left is found again the next time. Trouble with one kind does not keep the others from being dealt with.
 *
 * Ages are reckoned by the app's clock, which must not be ahead of storage's: to a clock that has jumped, everything is old. What
 * the app itself has recorded (heartbeats, runs) is no witness, since the same clock has dated it.
 */
export async function retain(parts: RetentionParts): Promise<RetentionOutcome> {
  const { archive, lifetimes, clock, log } = parts;
  const removed = { 'capture entries': 0, runs: 0, 'raw alerts': 0, alerts: 0, 'cool-downs': 0, schedules: 0 };
  const outcome: RetentionOutcome = { removed, held: 0, unfinished: [], failed: [] };
  if (lifetimes.historyMs === undefined && lifetimes.rawAlertMs === undefined) {
    log.info('retention: by the settings everything lives for ever');
    return outcome;
  }
  const now = clock.now();
  const { time } = await archive.look();
  if (now.getTime() - time.getTime() > mostAheadMs) {
    log.error(
      `retention: nothing is removed, since a clock is wrong: here it is ${now.toISOString()}, in storage ${time.toISOString()}. Correct it, or restart the app on another machine`,
    );
    return { ...outcome, failed: [...kinds] };
  }
  const endsAt = now.getTime() + budgetMs;
  for (const [i, kind] of kinds.entries()) {
    try {
      const walker = await walkerOf(kind, parts, now);
      if (!walker) continue;
      // What one kind does not need of its share is for the others.
      const share = Math.max(0, endsAt - clock.now().getTime()) / (kinds.length - i);
      const walked = await goOn(kind, walker, parts, clock.timeout(Math.floor(share)));
      outcome.removed[kind] = walked.removed;
      outcome.held += walked.held;
      if (walked.unfinished) outcome.unfinished.push(kind);
      if (walked.failed > 0) outcome.failed.push(kind);
      if (walked.held > 0)
        log.warn(`retention: storage holds ${walked.held} ${kind} (${[...walked.heldFor].join(', ')}); they stay`);
    } catch (error) {
      outcome.failed.push(kind);
      log.error(`retention: ${kind} could not be gone through; they are looked at again the next time`, { error });
    }
  }
  log.info(summaryOf(outcome));
  return outcome;
}

/** How to go through a kind; undefined when it lives for ever. */
async function walkerOf(kind: Kind, parts: RetentionParts, now: Date): Promise<Walker | undefined> {
  const { lifetimes, state } = parts;
  const history = before(now, lifetimes.historyMs);
  const payloads = before(now, lifetimes.rawAlertMs);
  switch (kind) {
    case 'capture entries':
      return history && expireCaptures(parts, history);
    case 'runs':
      return history && expireRuns(parts, history, now);
    case 'raw alerts':
      return payloads && expirePayloads(parts, payloads);
    case 'alerts':
      return history && expireAlerts(parts, history, payloads);
    case 'cool-downs':
      return history && expireCooldowns(state, history);
    case 'schedules':
      return history && expireSchedules(state, history, await parts.rules());
  }
}

/** Goes on where the time was up the last time. A walk that fails or is killed begins anew the next time. */
async function goOn(kind: Kind, walker: Walker, parts: RetentionParts, budget: AbortSignal): Promise<Walk> {
  const { state, log } = parts;
  const row = kind.replaceAll(' ', '-');
  const left = await state.get<{ next?: string }>('retention', row);
  if (left) await state.remove('retention', row);
  const walked = await walker(left?.value.next, budget, (error) =>
    log.error(`retention: one of the ${kind} could not be dealt with and stays`, { error }),
  );
  if (walked.unfinished) await state.put('retention', row, { next: walked.next });
  return walked;
}

function before(now: Date, lifetimeMs: number | undefined): Date | undefined {
  return lifetimeMs === undefined ? undefined : new Date(Math.max(0, now.getTime() - lifetimeMs));
}

function summaryOf({ removed, held, unfinished, failed }: RetentionOutcome): string {
  const counts = kinds.map((kind) => `${removed[kind]} ${kind}`).join(', ');
  return [
    `retention: removed ${counts}`,
    held > 0 && `kept ${held} held`,
    unfinished.length > 0 && `not finished with ${unfinished.join(', ')}`,
    failed.length > 0 && `trouble with ${failed.join(', ')}`,
  ]
    .filter(Boolean)
    .join('; ');
}
