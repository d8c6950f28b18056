import type { Clock } from '../clock.ts';
import type { Log } from '../log.ts';
import type { Ignored } from '../rule/plan.ts';
import { planAlert, type Plan } from '../rule/plan.ts';
import type { RuleSet } from '../rule/rule.ts';
import type { Launcher } from '../run/launcher.ts';
import type { Lifecycle } from '../run/lifecycle.ts';
import type { RunStore } from '../run/store.ts';
import type { Archive } from '../storage/archive.ts';
import { sha256 } from '../id.ts';
import type { Alert } from './alert.ts';
import { alertId, type AlertRecord, type AlertStore } from './store.ts';

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
  runs: { id: string; rule: string; target: string; created: boolean }[];
  stopped: string[];
  ignored: Ignored[];
};

/**
 * Takes in one notification: records it, and starts or stops what it asks for. A repeat gives the same answer with
 * `created: false`. Throws Problem `storage-unavailable` when it cannot be recorded, so that the sender tries again.
 */
export async function receiveAlert(parts: ReceiveParts, alert: Alert, payload: Uint8Array): Promise<Receipt> {
  const now = parts.clock.now();
  const text = new TextDecoder().decode(payload);
  // A name that follows from the content: a repeat writes the same blob, a different payload never overwrites one.
  const archived = parts.archive.put(`${alert.source}/${alertId(alert)}/${sha256(text).slice(0, 16)}.json`, text);
  const [receipt] = await Promise.all([
    alert.condition === 'fired' ? receiveFired(parts, alert, now) : receiveResolved(parts, alert, now),
    archived,
  ]);
  const { runs, stopped, ignored } = receipt;
  const reasons = ignored.map((i) => i.reason).join(', ');
  parts.log.info(
    `alert "${alert.rule}" ${alert.condition}: ${runs.length} runs, ${stopped.length} stopped${reasons ? `, ignored: ${reasons}` : ''}`,
    { alert: receipt.alertId },
  );
  return receipt;
}

async function receiveFired(parts: ReceiveParts, alert: Alert, now: Date): Promise<Receipt> {
  const { alerts, launcher, lifecycle } = parts;
  const rules = await parts.rules();
  const plan =
    rules.problems.length > 0
      ? nothingInForce(alert, rules)
      : planAlert(alert, rules.rules, (id) => launcher.target(id));
  const idParts = (rule: string, target: string): string[] => [alertId(alert), rule, target];
  // Written before anything is started, so that the alert's end finds its runs even if this process dies half-way.
  const planned = plan.runs.map(({ rule, target }) => ({
    id: launcher.idOf(idParts(rule.name, target)),
    rule: rule.name,
    target,
  }));
  const [record, related] = await Promise.all([
    alerts.update(alert, now, (r) =>
      r.fired?.done
        ? r
        : {
            ...r,
            fired: { receivedAt: r.fired?.receivedAt ?? now.toISOString(), done: false, runs: planned, ignored: [] },
          },
    ),
    alerts.related(alert),
  ]);
  if (record.fired?.done)
    return toReceipt(
      record,
      record.fired.runs.map((run) => ({ ...run, created: false })),
      record.fired.ignored,
    );
  const resolvedBefore = [record, ...related].find(
    (r) =>
      r.resolved !== undefined &&
      (r.id === record.id || (r.fired === undefined && new Date(r.resolved.at) >= alert.firedAt)),
  );
  const indexed = alerts.index(record);

  const ignored = [...plan.ignored];
  const runs: Receipt['runs'] = [];
  await Promise.all([
    indexed,
    ...plan.runs.map(async ({ rule, target }) => {
      if (resolvedBefore && rule.limits.stopOnResolve) {
        ignored.push({
          rule: rule.name,
          target,
          reason: 'resolved',
          detail: 'The alert was resolved before it got here, and the rule stops when it is',
        });
        return;
      }
      const trigger = {
        kind: 'alert' as const,
        source: alert.source,
        alertId: record.id,
        rule: rule.name,
        rulesVersion: rules.version,
        ...(alert.rule ? { reason: `Alert "${alert.rule}" fired` } : {}),
      };
      const launched = await launcher.launch({ idParts: idParts(rule.name, target), target, rule, trigger });
      if (launched.ignored) ignored.push(launched.ignored);
      else runs.push({ id: launched.run.id, rule: rule.name, target, created: launched.created });
    }),
  ]);
  // With the rules broken nothing is settled: a repeat may find them mended.
  const done = rules.problems.length === 0;
  const kept = runs.map(({ id, rule, target }) => ({ id, rule, target }));
  const settled = await alerts.update(alert, now, (r) =>
    r.fired?.done
      ? r
      : { ...r, fired: { receivedAt: r.fired?.receivedAt ?? now.toISOString(), done, runs: kept, ignored } },
  );
  // The end may have come while the runs were being started; whoever brought it could not know them yet.
  if (settled.resolved)
    await stopRuns(
      parts,
      runs.map((run) => run.id),
      lifecycle,
    );
  return toReceipt(settled, runs, ignored);
}

async function receiveResolved(parts: ReceiveParts, alert: Alert, now: Date): Promise<Receipt> {
  const { alerts, lifecycle } = parts;
  const own = await alerts.get(alertId(alert));
  const fired = own?.fired
    ? [own]
    : (await alerts.related(alert))
        .filter((r) => r.fired !== undefined && new Date(r.firedAt) <= (alert.resolvedAt ?? now))
        .slice(0, 1);
  const ids = fired.flatMap((record) => record.fired?.runs.map((run) => run.id) ?? []);
  const stopped = await stopRuns(parts, ids, lifecycle);
  const resolved = { receivedAt: now.toISOString(), at: (alert.resolvedAt ?? now).toISOString(), stopped };
  const mark = (record: AlertRecord): AlertRecord => ({
    ...record,
    resolved: { ...(record.resolved ?? resolved), stopped },
  });
  const target = fired[0];
  // Remembered under its own id when nothing fired before it, else on the alert that it ends.
  const record =
    target === undefined || target.id === alertId(alert)
      ? await alerts.update(alert, now, mark)
      : await alerts.update({ ...alert, externalId: target.externalId, firedAt: new Date(target.firedAt) }, now, mark);
  await alerts.index(record);
  // The firing may have been settled between our looking and our marking.
  const missed = (record.fired?.runs ?? []).map((run) => run.id).filter((id) => !ids.includes(id));
  const late = await stopRuns(parts, missed, lifecycle);
  const detail =
    target === undefined
      ? 'Resolved, and nothing had fired that it ends; it is remembered'
      : 'A resolved alert starts nothing';
  const ignored: Ignored[] =
    alert.targets.length > 0
      ? alert.targets.map((t) => ({ target: t.id, reason: 'resolved', detail }))
      : [{ reason: 'resolved', detail }];
  return { alertId: record.id, externalId: alert.externalId, runs: [], stopped: [...stopped, ...late], ignored };
}

/** Stops those of the runs whose rule says that the alert's end is theirs. */
async function stopRuns({ runs, log }: ReceiveParts, ids: string[], lifecycle: Lifecycle): Promise<string[]> {
  const stopped = await Promise.all(
    ids.map(async (id) => {
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
  return { runs: [], ignored: alert.targets.map((t) => ({ target: t.id, reason: 'no-rule' as const, detail })) };
}

function toReceipt(record: AlertRecord, runs: Receipt['runs'], ignored: Ignored[]): Receipt {
  return { alertId: record.id, externalId: record.externalId, runs, stopped: [], ignored };
}
