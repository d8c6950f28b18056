import type { Clock } from '../clock.ts';
import type { Times } from '../config.ts';
import { sha256 } from '../id.ts';
import type { Log } from '../log.ts';
import { computersWanted, planAlert, testIgnored, type Ignored, type Plan } from '../rule/plan.ts';
import type { RuleSet } from '../rule/rule.ts';
import type { Launcher } from '../run/launcher.ts';
import type { Lifecycle } from '../run/lifecycle.ts';
import type { RunStore } from '../run/store.ts';
import type { Archive } from '../storage/archive.ts';
import type { Alert } from './alert.ts';
import { lookUpComputers, type FindMachines } from './computers.ts';
import { readArchived } from './sources.ts';
import { alertId, clipped, type AlertRecord, type AlertStore, type PlannedRun, type Unsettled } from './store.ts';

export type ReceiveParts = {
  alerts: AlertStore;
  archive: Archive;
  runs: RunStore;
  lifecycle: Lifecycle;
  launcher: Launcher;
  machinesNamed: FindMachines;
  rules: () => Promise<RuleSet>;
  clock: Clock;
  times: Times;
  log: Log;
};

/** What a sender is answered. */
export type Receipt = {
  alertId: string;
  externalId: string;
  runs: (PlannedRun & { created: boolean })[];
  stopped: string[];
  ignored: Ignored[];
  /** It is still being dealt with: the answer has what was known when the sender could not wait any longer. */
  pending?: true;
};

/** What became of a notification. `pending`: something could not be found out now, and it is to be dealt with again. */
type Dealt = { receipt: Receipt; pending: boolean };

// What a process that died has left behind is taken up after this, and no longer worth a capture after that.
const takeUpAfterMs = 30_000;
const takeUpBeforeMs = 15 * 60_000;
const takeUpAtOnce = 200;
// Nobody waits for the answer then, but the next poll.
const takeUpLookUpMs = 10_000;

/**
 * Takes in one notification: records it, and starts or stops what it asks for. A repeat gives the same answer with
 * `created: false`. Throws Problem `storage-unavailable` when it cannot be recorded, so that the sender tries again.
 */
export async function receiveAlert(parts: ReceiveParts, alert: Alert, payload: Uint8Array): Promise<Receipt> {
  return dealWithRecorded(parts, alert, await recordAlert(parts, alert, payload), underWay());
}

/** A notification of which payload and mark are stored: it is dealt with, if not by us then by the next poll. */
export type Recorded = { mark: string; value: Unsettled; at: Date };

export async function recordAlert(parts: ReceiveParts, alert: Alert, payload: Uint8Array): Promise<Recorded> {
  const now = parts.clock.now();
  const id = alertId(alert);
  const text = new TextDecoder().decode(payload);
  // A name that follows from the content: a repeat writes the same blob, a different payload never overwrites one.
  const mark = `${id}-${alert.condition}`;
  const name = `${alert.source}/${id}/${sha256(text).slice(0, 16)}.json`;
  const unsettled = { payload: name, at: now.toISOString() };
  await Promise.all([parts.archive.put(name, text), parts.alerts.markUnsettled(mark, unsettled)]);
  return { mark, value: unsettled, at: now };
}

/** What has become of a notification so far. */
export type UnderWay = {
  recorded: boolean;
  started: PlannedRun[];
  created: Set<string>;
  stopped: string[];
  ignored: Ignored[];
};

export function underWay(): UnderWay {
  return { recorded: false, started: [], created: new Set(), stopped: [], ignored: [] };
}

export function receiptSoFar(alert: Alert, { started, created, stopped, ignored }: UnderWay): Receipt {
  return {
    alertId: alertId(alert),
    externalId: alert.externalId,
    runs: started.map((run) => ({ ...run, created: created.has(run.id) })),
    stopped: [...new Set(stopped)],
    ignored: capped(ignored),
  };
}

/** Starts or stops what a recorded notification asks for, and tells `soFar` of it as it goes. */
export async function dealWithRecorded(
  parts: ReceiveParts,
  alert: Alert,
  recorded: Recorded,
  soFar: UnderWay,
): Promise<Receipt> {
  // Half of what the sender may wait: the other half is for the starts.
  return dealWith(parts, alert, recorded, recorded.at, parts.times.startDeadlineMs / 2, soFar);
}

async function dealWith(
  parts: ReceiveParts,
  alert: Alert,
  { mark, value }: { mark: string; value: Unsettled },
  now: Date,
  lookUpMs: number,
  soFar: UnderWay,
): Promise<Receipt> {
  const { receipt, pending } = await receive(parts, alert, now, lookUpMs, soFar);
  if (!pending) await parts.alerts.settle(mark);
  else if (!value.pending) await parts.alerts.markUnsettled(mark, { ...value, pending });
  const { runs, stopped, ignored } = receipt;
  const reasons = [...new Set(ignored.map((i) => i.reason))].join(', ');
  const what = `${runs.length} runs, ${stopped.length} stopped${reasons ? `, ignored: ${reasons}` : ''}${pending ? '; it is tried again' : ''}`;
  parts.log.info(`alert "${alert.rule.slice(0, 100)}" ${alert.condition}: ${what}`, { alert: receipt.alertId });
  return receipt;
}

/**
 * Deals with what was recorded and not settled: by a process that died before it was done, or because machines could not be
 * looked up. Its sender need not deliver again.
 */
export async function takeUpUnsettled(parts: ReceiveParts): Promise<void> {
  const { alerts, archive, clock, log } = parts;
  // All at once: none is to wait for another's look-ups, and poll not for the sum of them.
  await Promise.all(
    (await alerts.unsettled(takeUpAtOnce, Math.floor(clock.now().getTime() / 1000))).map(async ({ mark, value }) => {
      const age = clock.now().getTime() - Date.parse(value.at);
      if (age < takeUpAfterMs && !value.pending) return;
      try {
        const text = age < takeUpBeforeMs ? await archive.get(value.payload) : undefined;
        if (text === undefined) {
          const why = value.pending ? 'machines of an alert could not be looked up' : 'an alert was never dealt with';
          log.error(`${why}; it was recorded, and is too old now`, { alert: mark });
          await alerts.settle(mark);
          return;
        }
        log.warn('an alert was recorded and is not settled; taking it up', { alert: mark });
        const alert = readArchived(value.payload, new TextEncoder().encode(text));
        await dealWith(parts, alert, { mark, value }, clock.now(), takeUpLookUpMs, underWay());
      } catch (error) {
        // It is tried again until it is too old.
        log.error('an alert cannot be dealt with', { alert: mark, error });
      }
    }),
  );
}

async function receive(
  parts: ReceiveParts,
  alert: Alert,
  now: Date,
  lookUpMs: number,
  soFar: UnderWay,
): Promise<Dealt> {
  switch (alert.condition) {
    case 'fired':
      return receiveFired(parts, alert, now, lookUpMs, soFar);
    case 'resolved':
      return receiveResolved(parts, alert, now, soFar);
    case 'no-data':
      return receiveNoData(parts, alert, now);
  }
}

async function receiveFired(
  parts: ReceiveParts,
  sent: Alert,
  now: Date,
  lookUpMs: number,
  { started, created, ignored }: UnderWay,
): Promise<Dealt> {
  const { alerts, launcher, runs, clock } = parts;
  const rules = await parts.rules();
  const inForce = rules.problems.length === 0;
  const blank = alerts.blank(sent, now);
  const target = (id: string) => launcher.target(id);
  const wanted = inForce ? computersWanted(sent, rules.rules) : [];
  let alert = sent;
  let pending = false;
  if (wanted.length > 0) {
    // A repeat of what was dealt with asks no cloud.
    const known = await alerts.get(blank.id);
    if (known?.fired?.done) return { receipt: toReceipt(known, new Set()), pending };
    const signal = clock.timeout(lookUpMs);
    ({ alert, pending } = await lookUpComputers({ ...parts, target }, sent, wanted, signal));
  }
  const plan = inForce || alert.test ? planAlert(alert, rules.rules, target) : nothingInForce(alert, rules);
  const idParts = (rule: string, id: string): string[] => [blank.id, rule, id];
  // Written before anything is started, so that the alert's end finds its runs even if this process dies half-way.
  const planned = plan.runs.map((run) => ({
    id: launcher.idOf(idParts(run.rule.name, run.target)),
    rule: run.rule.name,
    target: run.target,
  }));
  const record = await alerts.update(blank, (r) => {
    if (r.fired?.done) return r;
    return {
      ...r,
      fired: {
        receivedAt: r.fired?.receivedAt ?? now.toISOString(),
        done: false,
        planned: union(r.fired?.planned ?? [], planned),
        runs: r.fired?.runs ?? [],
        ignored: r.fired?.ignored ?? [],
      },
    };
  });
  if (record.fired?.done) return { receipt: toReceipt(record, new Set()), pending: false };

  const before = [record, ...(await alerts.related(record))];
  const resolvedBefore = before.some(
    (r) =>
      r.resolved !== undefined &&
      (r.id === record.id ||
        alert.variant !== undefined ||
        (r.fired === undefined && new Date(r.resolved.at) >= alert.firedAt)),
  );
  // What was refused when this alert was last looked at stays refused, however late this is.
  const refused = record.fired?.ignored ?? [];
  ignored.push(...plan.ignored);
  await Promise.all(
    plan.runs.map(async ({ rule, target }) => {
      const id = launcher.idOf(idParts(rule.name, target));
      const before = refused.find((i) => i.rule === rule.name && i.target === target);
      if (before) return void ignored.push(before);
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
  // With the rules broken, or a machine not looked up, it is not done: a repeat may find more. Deliveries side by side add up: a run
  // that one of them has started is nobody's "ignored", and one that got further than this stays.
  const done = (inForce || alert.test === true) && !pending;
  const settled = await alerts.update(blank, (r) => {
    const all = union(r.fired?.runs ?? [], started);
    const left = (r.fired?.done ? r.fired.ignored : ignored).filter(
      (i) => !all.some((run) => run.rule === i.rule && run.target === i.target),
    );
    return {
      ...r,
      fired: {
        receivedAt: now.toISOString(),
        planned,
        ...r.fired,
        done: done || r.fired?.done === true,
        runs: all,
        ignored: capped(left),
      },
    };
  });
  // The end may have come while the runs were being started; whoever brought it has marked the record first.
  if (settled.resolved) await stopRuns(parts, settled.fired?.runs ?? []);
  return { receipt: toReceipt(settled, created), pending: pending && settled.fired?.done !== true };
}

async function receiveResolved(parts: ReceiveParts, alert: Alert, now: Date, soFar: UnderWay): Promise<Dealt> {
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
  if (!own?.fired || alert.variant !== undefined) own = await alerts.update(blank, mark);
  const ended = await endedBy(parts, alert, own, now);
  const marked = await Promise.all(ended.map((record) => alerts.update(record, mark)));
  const first = marked[0] ?? own;
  if (first.id !== own.id && !own.fired) {
    const endOf = first.id;
    await alerts.update(own, (r) => (r.resolved ? { ...r, resolved: { ...r.resolved, endOf } } : r));
  }
  await Promise.all(
    marked.map(async (record) => {
      const stopped = await stopRuns(parts, record.fired ? union(record.fired.planned, record.fired.runs) : []);
      soFar.stopped.push(...stopped);
      const all = (before: string[]): string[] => [...new Set([...before, ...stopped])];
      await alerts.update(record, (r) =>
        r.resolved ? { ...r, resolved: { ...r.resolved, stopped: all(r.resolved.stopped) } } : r,
      );
    }),
  );
  const stopped = [...new Set(soFar.stopped)];
  const detail =
    ended.length === 0
      ? 'Resolved, and nothing had fired that it ends; it is remembered'
      : 'A resolved alert starts nothing';
  const ignored = alert.test ? [testIgnored] : capped(forEachTarget(alert, 'resolved', detail));
  return { receipt: { alertId: first.id, externalId: alert.externalId, runs: [], stopped, ignored }, pending: false };
}

/** The firings that an end is the end of: its own, else the last before it; of an occurrence that was sent as several alerts, all. */
async function endedBy({ alerts }: ReceiveParts, alert: Alert, own: AlertRecord, now: Date): Promise<AlertRecord[]> {
  if (own.fired && alert.variant === undefined) return [own];
  const fired = [own, ...(await alerts.related(own))].filter((r) => r.fired !== undefined);
  if (alert.variant !== undefined) return fired;
  return fired.filter((r) => new Date(r.firedAt) <= (alert.resolvedAt ?? now)).slice(0, 1);
}

/** Recorded as an alert by itself, which nobody takes for a firing or an end. */
async function receiveNoData({ alerts }: ReceiveParts, alert: Alert, now: Date): Promise<Dealt> {
  const detail = 'There is not enough data to tell whether the alarm goes on: it starts and stops nothing';
  const ignored = capped(forEachTarget(alert, 'no-data', detail));
  const { id } = await alerts.update(alerts.blank(alert, now), (r) => ({ ...r, noData: { ignored } }));
  return { receipt: { alertId: id, externalId: alert.externalId, runs: [], stopped: [], ignored }, pending: false };
}

function forEachTarget(alert: Alert, reason: Ignored['reason'], detail: string): Ignored[] {
  if (alert.targets.length === 0) return [{ reason, detail }];
  return alert.targets.map((t) => ({ target: t.id, reason, detail }));
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
  return { runs: [], ignored: capped(forEachTarget(alert, 'no-rule', detail)) };
}

function union(a: PlannedRun[], b: PlannedRun[]): PlannedRun[] {
  return [...a, ...b.filter((run) => !a.some((other) => other.id === run.id))];
}

const mostIgnored = 100;

/** An alert may name a thousand machines, and by anything; the answer and the record stay readable. */
export function capped(all: Ignored[]): Ignored[] {
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
