import { deriveId } from '../id.ts';
import { Problem } from '../problem.ts';
import type { Ignored } from '../rule/plan.ts';
import { listKey, listPage, type ListQuery, type Page } from '../storage/list.ts';
import type { Table } from '../storage/table.ts';
import type { Alert } from './alert.ts';

/** An alert as it is stored: its firing and its end are one record, since they are one alert. */
export type AlertRecord = {
  id: string;
  source: Alert['source'];
  externalId: string;
  originId?: string;
  rule: string;
  severity?: string;
  description?: string;
  targets: string[];
  firedAt: string;
  /** When this record was first written. */
  receivedAt: string;
  /** The Fired notification came, and what it led to; `done` once that is settled. */
  fired?: {
    receivedAt: string;
    done: boolean;
    runs: { id: string; rule: string; target: string }[];
    ignored: Ignored[];
  };
  /** The Resolved notification came, perhaps before the Fired one. */
  resolved?: { receivedAt: string; at: string; stopped: string[] };
};

export function alertId(alert: Alert): string {
  return deriveId('alert', alert.source, alert.externalId.toLowerCase(), String(alert.firedAt.getTime()));
}

/**
 * Alerts in a table:
 *   (alert id, 'alert')        the record
 *   ('index', time + id)       the list, newest first
 *   ('sender-…', alert id)     by the sender's id
 *   ('origin-…', alert id)     by the condition behind it and a target
 */
export class AlertStore {
  readonly #table: Table;

  constructor(table: Table) {
    this.#table = table;
  }

  async get(id: string): Promise<AlertRecord | undefined> {
    return (await this.#table.get<AlertRecord>(id, 'alert'))?.value;
  }

  async require(id: string): Promise<AlertRecord> {
    const alert = /^[0-9a-z]{26}$/.test(id) ? await this.get(id) : undefined;
    if (!alert) throw new Problem('not-found', `There is no alert ${id.slice(0, 64)}`);
    return alert;
  }

  /** Writes what `change` makes of the record (or of a new one), unless it changes nothing; a lost race is run again. */
  async update(alert: Alert, now: Date, change: (record: AlertRecord) => AlertRecord): Promise<AlertRecord> {
    const id = alertId(alert);
    for (let attempt = 0; attempt < 20; attempt++) {
      const row = await this.#table.get<AlertRecord>(id, 'alert');
      const next = change(row?.value ?? toRecord(id, alert, now));
      if (row && next === row.value) return next;
      if (row ? await this.#table.replace(id, 'alert', row.etag, next) : await this.#table.insert(id, 'alert', next)) {
        return next;
      }
    }
    throw new Problem('storage-unavailable', `Alert ${id} is written by too many at once`, { retryAfterSeconds: 5 });
  }

  /** The entries by which a record is listed and found; they follow from it and are safe to write again. */
  async index(record: AlertRecord): Promise<void> {
    await Promise.all([
      this.#table.put('index', listKey(new Date(record.receivedAt), record.id), { id: record.id }),
      ...keysOf(record).map((key) => this.#table.put(key, record.id, {})),
    ]);
  }

  /** Records of the same sender's id, else of the same condition on one of the same targets; the latest fired first. */
  async related(alert: Alert): Promise<AlertRecord[]> {
    const [sender = '', ...origins] = keysOf({ ...alert, targets: alert.targets.map((t) => t.id) });
    const own = await this.#load([sender]);
    return own.length > 0 ? own : this.#load(origins);
  }

  async list(query: ListQuery): Promise<Page<AlertRecord>> {
    return listPage<{ id: string }, AlertRecord>(this.#table, 'index', query, {}, ({ value }) => this.get(value.id));
  }

  async #load(keys: string[]): Promise<AlertRecord[]> {
    const rows = await Promise.all(keys.map((key) => this.#table.scan(key, { limit: 200 })));
    const ids = new Set(rows.flat().map((row) => row.row));
    const records = await Promise.all([...ids].map((id) => this.get(id)));
    return records.filter((record) => record !== undefined).toSorted((a, b) => b.firedAt.localeCompare(a.firedAt));
  }
}

function keysOf(alert: { source: string; externalId: string; originId?: string; targets: string[] }): string[] {
  const sender = `sender-${deriveId(alert.source, alert.externalId.toLowerCase())}`;
  const { originId } = alert;
  if (originId === undefined) return [sender];
  return [sender, ...alert.targets.map((target) => `origin-${deriveId(alert.source, originId, target.toLowerCase())}`)];
}

function toRecord(id: string, alert: Alert, now: Date): AlertRecord {
  return {
    id,
    source: alert.source,
    externalId: alert.externalId,
    ...(alert.originId === undefined ? {} : { originId: alert.originId }),
    rule: alert.rule,
    ...(alert.severity === undefined ? {} : { severity: alert.severity }),
    ...(alert.description === undefined ? {} : { description: alert.description }),
    targets: alert.targets.map((t) => t.id),
    firedAt: alert.firedAt.toISOString(),
    receivedAt: now.toISOString(),
  };
}

/** The record as the API shows it. */
export function toAlertView(record: AlertRecord): Record<string, unknown> {
  const { id, source, externalId, rule, severity, description, targets, firedAt, receivedAt, fired, resolved } = record;
  return {
    id,
    source,
    externalId,
    rule,
    severity,
    description,
    targets,
    condition: resolved ? 'resolved' : 'fired',
    firedAt,
    resolvedAt: resolved?.at,
    receivedAt,
    runs: fired?.runs ?? [],
    stopped: resolved?.stopped ?? [],
    ignored: fired?.ignored ?? [],
  };
}
