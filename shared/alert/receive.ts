import type { Clock } from '../clock.ts';
import { sha256 } from '../id.ts';
import type { Log } from '../log.ts';
import { planAlert, type Ignored, type Plan } from '../rule/plan.ts';
import type { RuleSet } from '../rule/rule.ts';
import type { Launcher } from '../run/launcher.ts';
import type { Lifecycle } from '../run/lifecycle.ts';
import type { RunStore } from '../run/store.ts';
import type { Archive } from '../storage/archive.ts';
import type { Alert } from './alert.ts';
import { alertId, clipped, type AlertRecord, type AlertStore, type PlannedRun } from './store.ts';

export type ReceiveParts = {
  alerts: AlertStore;
  archive: Archive;
  runs: RunStore;
  lifecycle: Lifecycle;
  launcher: Launcher;
  rules: () => Promise<RuleSet>;
  clock: Clock;
  log: Log;
};

/** What a sender is answered. */
export type Receipt = {
  alertId: string;
  externalId: string;
  runs: (PlannedRun & { created: boolean })[];
  stopped: string[];
  ignored: Ignored[];
};

// What a process that died has left behind is taken up after this, and no longer worth a capture after that.
const takeUpAfterMs = 30_000;
const takeUpBeforeMs = 15 * 60_000;

/**
 * Takes in one notification: records it, and starts or stops what it asks for. A repeat gives the same answer with
 * `created: false`. Throws Problem `storage-unavailable` when it cannot be recorded, so that the sender tries again.
 */
export async function receiveAlert(parts: ReceiveParts, alert: Alert, payload: Uint8Array): Promise<Receipt> {
  const now = parts.clock.now();
  const id = alertId(alert);
  const text = new TextDecoder().decode(payload);
  // A name that follows from the content: a repeat writes the same blob, a different payload never overwrites one.
  const mark = `${id}-${alert.condition}`;
  const name = `${alert.source}/${id}/${sha256(text).slice(0, 16)}.json`;
  await Promise.all([
    parts.archive.put(name, text),
    parts.alerts.markUnsettled(mark, { payload: name, at: now.toISOString() }),
  ]);
  return dealWith(parts, alert, mark, now);
}

async function dealWith(parts: ReceiveParts, alert: Alert, mark: string, now: Date): Promise<Receipt> {
  const receipt = await (alert.condition === 'fired'
    ? receiveFired(parts, alert, now)
    : receiveResolved(parts, alert, now));
  await parts.alerts.settle(mark);
  const { runs, stopped, ignored } = receipt;
  const reasons = [...new Set(ignored.map((i) => i.reason))].join(', ');
  const what = `${runs.length} runs, ${stopped.length} stopped${reasons ? `, ignored: ${reasons}` : ''}`;
  parts.log.info(`alert "${alert.rule.slice(0, 100)}" ${alert.condition}: ${what}`, { alert: receipt.alertId });
  return receipt;
}

/** Deals with what was recorded by a process that died before it was done: its sender need not deliver again. */
export async function takeUpUnsettled(parts: ReceiveParts, parse: (payload: Uint8Array) => Alert): Promise<void> {
  const { alerts, archive, clock, log } = parts;
  for (const { mark, value } of await alerts.unsettled(50)) {
    const age = clock.now().getTime() - Date.parse(value.at);
    if (age < takeUpAfterMs) continue;
    try {
      const text = age < takeUpBeforeMs ? await archive.get(value.payload) : undefined;
      if (text === undefined) {
        log.error('an alert was recorded and never dealt with, and is too old now', { alert: mark });
        await alerts.settle(mark);
        continue;
      }
      log.warn('an alert was recorded and not dealt with; taking it up', { alert: mark });
      await dealWith(parts, parse(new TextEncoder().encode(text)), mark, clock.now());
    } catch (error) {
      // The others are not to wait for it; it is tried again until it is too old.
      log.error('an alert cannot be dealt with', { alert: mark, error });
    }
  }
}

async function receiveFired(parts: ReceiveParts, alert: Alert, now: Date): Promise<Receipt> {
  const { alerts, launcher, runs } = parts;
  const rules = await parts.rules();
  const plan =
    rules.problems.length > 0
      ? nothingInForce(alert, rules)
      : planAlert(alert, rules.rules, (id) => launcher.target(id));
  const blank = alerts.blank(alert, now);
  const idParts = (rule: string, target: string): string[] => [blank.id, rule, target];
  // Written before anything is started, so that the alert's end finds its runs even if this process dies half-way.
  const planned = plan.runs.map(({ rule, target }) => ({
    id: launcher.idOf(idParts(rule.name, target)),
    rule: rule.name,
    target,
  }));
  const record = await alerts.update(blank, (r) => {
    if (r.fired?.done) return r;
    return {
      ...r,
      fired: {
        receivedAt: r.fired?.receivedAt ?? now.toISOString(),
        done: false,
        planned: union(r.fired?.planned ?? [], planned),
        runs: [],
        ignored: [],
      },
    };
  });
  if (record.fired?.done) return toReceipt(record, new Set());

  const before = [record, ...(await alerts.related(record))];
  const resolvedBefore = before.some(
    (r) =>
      r.resolved !== undefined &&
      (r.id === record.id || (r.fired === undefined && new Date(r.resolved.at) >= alert.firedAt)),
  );
  const ignored = [...plan.ignored];
  const started: PlannedRun[] = [];
  const created = new Set<string>();
  await Promise.all(
    plan.runs.map(async ({ rule, target }) => {
      const id = launcher.idOf(idParts(rule.name, target));
      if (resolvedBefore && rule.limits.stopOnResolve && !(await runs.get(id))) {
        ignored.push({
          rule: rule.name,
          target,
          reason: 'resolved',
          detail: 'The alert was resolved before it got here, and the rule stops when it is',
        });
        return;
      }
      const reason = alert.rule ? { reason: `Alert "${alert.rule.slice(0, 200)}" fired` } : {};
      const trigger = {
        kind: 'alert' as const,
        source: alert.source,
        alertId: record.id,
        rule: rule.name,
        rulesVersion: rules.version,
        ...reason,
      };
      const launched = await launcher.launch({ idParts: idParts(rule.name, target), target, rule, trigger });
      if (launched.ignored) return void ignored.push(launched.ignored);
      started.push({ id, rule: rule.name, target });
      if (launched.created) created.add(id);
    }),
  );
  // With the rules broken nothing is settled: a repeat may find them mended. Deliveries side by side add up: a run that one of
  // them has started is nobody's "ignored".
  const done = rules.problems.length === 0;
  const settled = await alerts.update(blank, (r) => {
    const all = union(r.fired?.done ? r.fired.runs : [], started);
    const left = (r.fired?.done ? r.fired.ignored : ignored).filter(
      (i) => !all.some((run) => run.rule === i.rule && run.target === i.target),
    );
    return {
      ...r,
      fired: { receivedAt: now.toISOString(), planned, ...r.fired, done, runs: all, ignored: capped(left) },
    };
  });
  // The end may have come while the runs were being started; whoever brought it has marked the record first.
  if (settled.resolved) await stopRuns(parts, settled.fired?.runs ?? []);
  return toReceipt(settled, created);
}

async function receiveResolved(parts: ReceiveParts, alert: Alert, now: Date): Promise<Receipt> {
  const { alerts } = parts;
  const blank = alerts.blank(alert, now);
  const mark = (record: AlertRecord): AlertRecord => ({
    ...record,
    resolved: record.resolved ?? {
      receivedAt: now.toISOString(),
      at: (alert.resolvedAt ?? now).toISOString(),
      stopped: [],
    },
  });
  // Marked first, then looked for: a firing that is just being dealt with sees the mark, or we see what it has planned.
  let own = await alerts.get(blank.id);
  if (!own?.fired) own = await alerts.update(blank, mark);
  const ended = own.fired
    ? own
    : (await alerts.related(own)).find(
        (r) => r.fired !== undefined && new Date(r.firedAt) <= (alert.resolvedAt ?? now),
      );
  const marked = ended === undefined ? own : await alerts.update(ended, mark);
  const stopped = await stopRuns(parts, marked.fired ? union(marked.fired.planned, marked.fired.runs) : []);
  const record = await alerts.update(marked, (r) =>
    r.resolved ? { ...r, resolved: { ...r.resolved, stopped: [...new Set([...r.resolved.stopped, ...stopped])] } } : r,
  );
  const detail =
    ended === undefined
      ? 'Resolved, and nothing had fired that it ends; it is remembered'
      : 'A resolved alert starts nothing';
  const ignored: Ignored[] =
    alert.targets.length > 0
      ? alert.targets.map((t) => ({ target: t.id, reason: 'resolved', detail }))
      : [{ reason: 'resolved', detail }];
  return { alertId: record.id, externalId: alert.externalId, runs: [], stopped, ignored: capped(ignored) };
}

/** Stops those of the runs whose rule says that the alert's end is theirs; tells which ended for it, now or before. */
async function stopRuns({ runs, lifecycle, log }: ReceiveParts, planned: PlannedRun[]): Promise<string[]> {
  const stopped = await Promise.all(
    planned.map(async ({ id }) => {
      const run = await runs.get(id);
      if (!run?.stopOnResolve) return undefined;
      const after = await lifecycle.stop(id, 'alert-resolved', 'The alert was resolved');
      if (after.stop?.reason === 'alert-resolved') return id;
      log.info('resolved too late: the run had ended', { run: id });
      return undefined;
    }),
  );
  return stopped.filter((id) => id !== undefined);
}

function nothingInForce(alert: Alert, rules: RuleSet): Plan {
  const first = rules.problems[0];
  const detail = `The rules file has ${rules.problems.length} problems, so no rule is in force; the first: line ${first?.line}: ${first?.path} ${first?.message}. See GET /api/health`;
  return {
    runs: [],
    ignored: capped(alert.targets.map((t) => ({ target: t.id, reason: 'no-rule' as const, detail }))),
  };
}

function union(a: PlannedRun[], b: PlannedRun[]): PlannedRun[] {
  return [...a, ...b.filter((run) => !a.some((other) => other.id === run.id))];
}

const mostIgnored = 100;

/** An alert may name a thousand machines, and by anything; the answer and the record stay readable. */
function capped(all: Ignored[]): Ignored[] {
  const ignored = all.map((one) => (one.target === undefined ? one : { ...one, target: clipped(one.target) }));
  if (ignored.length <= mostIgnored) return ignored;
  const more = ignored.length - mostIgnored + 1;
  return [
    ...ignored.slice(0, mostIgnored - 1),
    { reason: 'max-targets', detail: `… and ${more} more, not listed one by one` },
  ];
}

function toReceipt(record: AlertRecord, created: ReadonlySet<string>): Receipt {
  const { runs = [], ignored = [] } = record.fired ?? {};
  return {
    alertId: record.id,
    externalId: record.externalId,
    runs: runs.map((run) => ({ ...run, created: created.has(run.id) })),
    stopped: [],
    ignored,
  };
}
