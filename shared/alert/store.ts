import { deriveId, isId } from '../id.ts';
import { Problem } from '../problem.ts';
import type { Ignored } from '../rule/plan.ts';
import {
  expireEntry,
  listKey,
  listPage,
  oldEntries,
  type Expiring,
  type ListEntry,
  type ListQuery,
  type Page,
} from '../storage/list.ts';
import type { Table } from '../storage/table.ts';
import type { Alert } from './alert.ts';

export type PlannedRun = { id: string; rule: string; target: string };

/** An alert as it is stored: its firing and its end are one record, since they are one alert. */
export type AlertRecord = {
  id: string;
  source: Alert['source'];
  kind: Alert['kind'];
  externalId: string;
  originId?: string;
  rule: string;
  severity?: string;
  description?: string;
  /** The first hundred. */
  targets: string[];
  targetCount: number;
  firedAt: string;
  /** When this record was first written. */
  receivedAt: string;
  /** The Fired notification came. `planned` is written before anything is started, the rest when it is `done`. */
  fired?: { receivedAt: string; done: boolean; planned: PlannedRun[]; runs: PlannedRun[]; ignored: Ignored[] };
  /** The Resolved notification came, perhaps before the Fired one. `endOf`: what it ended is the alert of that id. */
  resolved?: { receivedAt: string; at: string; stopped: string[]; endOf?: string };
  /** The sender cannot tell whether it fired or ended; why that starts nothing. */
  noData?: { ignored: Ignored[] };
};

/**
 * A notification that was recorded and not yet dealt with: `payload` names it in the archive. `pending`: something could not be
 * found out, so that nobody is at it any more.
 */
export type Unsettled = { payload: string; at: string; pending?: boolean };

const keptTargets = 100;
const relatedCount = 5;

/** The id of a machine has at most some 300 letters; what is longer is none, and need not be kept whole. */
export function clipped(target: string): string {
  // What is not ASCII takes six characters of a row each.
  const most = /^[\u0020-\u007e]*$/.test(target) ? 400 : 60;
  return target.length <= most ? target : `${target.slice(0, most)}…`;
}

export function alertId(alert: Alert): string {
  const which = alert.variant ?? String(alert.firedAt.getTime());
  return deriveId('alert', alert.source, alert.externalId.toLowerCase(), which);
}

/**
 * Alerts in a table:
 *   (alert id, 'alert')         the record
 *   ('index', time + id)        the list, newest first
 *   ('sender-…', time + id)     by the sender's id, the last fired first
 *   ('origin-…', time + id)     by the condition behind it and a target, the last fired first
 *   ('unsettled', id-condition) what was recorded and not yet dealt with: a process that dies half-way leaves it behind
 */
export class AlertStore implements Expiring<AlertRecord> {
  readonly #table: Table;

  constructor(table: Table) {
    this.#table = table;
  }

  async get(id: string): Promise<AlertRecord | undefined> {
    return (await this.#table.get<AlertRecord>(id, 'alert'))?.value;
  }

  async require(id: string): Promise<AlertRecord> {
    const alert = isId(id) ? await this.get(id) : undefined;
    if (!alert) throw new Problem('not-found', `There is no alert ${id.slice(0, 64)}`);
    return alert;
  }

  /** The record of an alert as it is before anything became of it. */
  blank(alert: Alert, now: Date): AlertRecord {
    return {
      id: alertId(alert),
      source: alert.source,
      kind: alert.kind,
      externalId: alert.externalId,
      ...(alert.originId === undefined ? {} : { originId: alert.originId }),
      rule: alert.rule,
      ...(alert.severity === undefined ? {} : { severity: alert.severity }),
      ...(alert.description === undefined ? {} : { description: alert.description }),
      targets: alert.targets.slice(0, keptTargets).map((t) => clipped(t.id)),
      targetCount: alert.targets.length,
      firedAt: alert.firedAt.toISOString(),
      receivedAt: now.toISOString(),
    };
  }

  /** Writes what `change` makes of the stored record (or of `blank`), unless it changes nothing; a lost race is run again. */
  async update(blank: AlertRecord, change: (record: AlertRecord) => AlertRecord): Promise<AlertRecord> {
    const { id } = blank;
    for (let attempt = 0; attempt < 20; attempt++) {
      const row = await this.#table.get<AlertRecord>(id, 'alert');
      const next = change(row?.value ?? blank);
      if (row && JSON.stringify(next) === JSON.stringify(row.value)) return row.value;
      if (!row) await this.#index(next);
      if (row ? await this.#table.replace(id, 'alert', row.etag, next) : await this.#table.insert(id, 'alert', next)) {
        return next;
      }
    }
    throw new Problem('storage-unavailable', `Alert ${id} is written by too many at once`, { retryAfterSeconds: 5 });
  }

  /** Records of the same sender's id, else of the same condition on one of the same targets; the last fired first. */
  async related(alert: AlertRecord): Promise<AlertRecord[]> {
    const [sender = '', ...origins] = keysOf(alert);
    const own = (await this.#load([sender])).filter((record) => record.id !== alert.id);
    return own.length > 0 ? own : (await this.#load(origins)).filter((record) => record.id !== alert.id);
  }

  async list(query: ListQuery): Promise<Page<AlertRecord>> {
    return listPage<{ id: string }, AlertRecord>(this.#table, 'index', query, {}, async ({ row, value }) => {
      const record = await this.get(value.id);
      return record && row === listKey(new Date(record.receivedAt), record.id) ? record : undefined;
    });
  }

  async markUnsettled(mark: string, unsettled: Unsettled): Promise<void> {
    await this.#table.put('unsettled', mark, unsettled);
  }

  async settle(mark: string): Promise<void> {
    await this.#table.remove('unsettled', mark);
  }

  /** Marks beginning at a place that moves with `turn`, so that none is always behind others that stay. */
  async unsettled(limit: number, turn = 0): Promise<{ mark: string; value: Unsettled }[]> {
    const rows = await this.#table.scan<Unsettled>('unsettled', { limit: 10_000 });
    const first = rows.length <= limit ? 0 : turn % rows.length;
    return [...rows.slice(first), ...rows.slice(0, first)]
      .slice(0, limit)
      .map(({ row, value }) => ({ mark: row, value }));
  }

  old(until: Date, next: string | undefined): Promise<Page<ListEntry>> {
    return oldEntries(this.#table, until, next);
  }

  /** Removes an old alert's record with the rows that it is found by; see expireEntry. */
  expire(entry: ListEntry, keep: (record: AlertRecord) => Promise<boolean>): Promise<'removed' | 'gone' | 'kept'> {
    return expireEntry<AlertRecord>(this.#table, entry, {
      row: 'alert',
      keyOf: (record) => listKey(new Date(record.receivedAt), record.id),
      companions: (record) => {
        const row = listKey(new Date(record.firedAt), record.id);
        return keysOf(record).map((partition) => ({ partition, row, value: { id: record.id } }));
      },
      keep,
    });
  }

  /** Written before the record: no record without its entries; an entry that does not fit its record is passed over. */
  async #index(record: AlertRecord): Promise<void> {
    const fired = listKey(new Date(record.firedAt), record.id);
    await Promise.all([
      this.#table.put('index', listKey(new Date(record.receivedAt), record.id), { id: record.id }),
      ...keysOf(record).map((key) => this.#table.put(key, fired, { id: record.id })),
    ]);
  }

  async #load(keys: string[]): Promise<AlertRecord[]> {
    const rows = await Promise.all(keys.map((key) => this.#table.scan<{ id: string }>(key, { limit: relatedCount })));
    const ids = new Set(rows.flat().map((row) => row.value.id));
    const records = await Promise.all([...ids].map((id) => this.get(id)));
    return records.filter((record) => record !== undefined).toSorted((a, b) => b.firedAt.localeCompare(a.firedAt));
  }
}

const originTargets = 25;

function keysOf(alert: AlertRecord): string[] {
  const sender = `sender-${deriveId(alert.source, alert.externalId.toLowerCase())}`;
  const { originId } = alert;
  if (originId === undefined) return [sender];
  const targets = alert.targets.slice(0, originTargets);
  return [sender, ...targets.map((target) => `origin-${deriveId(alert.source, originId, target.toLowerCase())}`)];
}

/** The record as the API shows it. */
export function toAlertView(record: AlertRecord): Record<string, unknown> {
  const {
    id,
    source,
    kind,
    externalId,
    rule,
    severity,
    description,
    targets,
    targetCount,
    firedAt,
    receivedAt,
    fired,
    resolved,
    noData,
  } = record;
  return {
    id,
    source,
    kind,
    externalId,
    rule,
    severity,
    description,
    targets,
    ...(targetCount > targets.length ? { targetCount } : {}),
    condition: noData ? 'no-data' : resolved ? 'resolved' : 'fired',
    firedAt,
    resolvedAt: resolved?.at,
    endOf: resolved?.endOf,
    receivedAt,
    runs: fired?.runs ?? [],
    stopped: resolved?.stopped ?? [],
    ignored: (noData ?? fired)?.ignored ?? [],
  };
}
