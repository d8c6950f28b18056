import { Problem } from '../problem.ts';
import type { Columns, Row, Table } from './table.ts';

/** What every list of the API takes. */
export type ListQuery = {
  limit: number;
  since?: Date | undefined;
  until?: Date | undefined;
  next?: string | undefined;
};

export type Page<T> = { items: T[]; next?: string };

// Row keys sort ascending, lists show the newest first: the time counts down.
const lastMs = 9_999_999_999_999;

/** Row key under which `id` stands in a list that runs from new to old. */
export function listKey(at: Date, id: string): string {
  return `${String(lastMs - at.getTime()).padStart(13, '0')}-${id}`;
}

/**
 * Reads one page of a time-ordered partition, newest first. `load` turns an index row into the item, or undefined when it
 * does not belong in the answer. At most `scanLimit` rows are looked at per call: a page can be short and still have `next`.
 */
export async function listPage<V, T>(
  table: Table,
  partition: string,
  query: ListQuery,
  where: Columns,
  load: (row: Row<V>) => Promise<T | undefined>,
): Promise<Page<T>> {
  const scanLimit = 5000;
  let after =
    query.next === undefined
      ? query.until && `${String(lastMs - query.until.getTime()).padStart(13, '0')}-`
      : decodeNext(query.next);
  const upTo = query.since && `${String(lastMs - query.since.getTime()).padStart(13, '0')}-~`;
  const items: T[] = [];
  for (let scanned = 0; scanned < scanLimit;) {
    const wanted = query.limit - items.length;
    const rows = await table.scan<V>(partition, { after, upTo, where, limit: wanted + 1 });
    const taken = rows.slice(0, wanted);
    for (let i = 0; i < taken.length; i += 50) {
      const loaded = await Promise.all(taken.slice(i, i + 50).map(load));
      items.push(...loaded.filter((item) => item !== undefined));
    }
    scanned += rows.length;
    if (rows.length <= wanted) return { items };
    after = taken.at(-1)?.row;
    if (items.length >= query.limit) break;
  }
  return after === undefined ? { items } : { items, next: encodeNext(after) };
}

/** An entry of a list: it names the record that it stands for. */
export type ListEntry = Row<{ id: string }>;

/** A list whose entries of long ago can be removed together with what they stand for. */
export interface Expiring<T> {
  /** Entries made at `until` or before, the newest of them first. */
  old(until: Date, next: string | undefined): Promise<Page<ListEntry>>;
  /** Removes an entry and its record, unless `keep` says that it stays or somebody writes it meanwhile. */
  expire(entry: ListEntry, keep: (record: T) => Promise<boolean>): Promise<'removed' | 'gone' | 'kept'>;
}

const entriesPerPage = 100;

/** One page of the entries in `index` that were made at `until` or before. */
export async function oldEntries(table: Table, until: Date, next: string | undefined): Promise<Page<ListEntry>> {
  const first = listKey(until, '');
  // A page may have been left off when things were to live shorter than they are now.
  const after = next !== undefined && next > first ? next : first;
  const items = await table.scan<{ id: string }>('index', { after, limit: entriesPerPage });
  const last = items.at(-1);
  return last && items.length === entriesPerPage ? { items, next: last.row } : { items };
}

/** A row that exists because of a record; with an `etag`, it is that only as long as nobody else writes it. */
type Companion = { partition: string; row: string; value: unknown; columns?: Columns; etag?: string };

/**
 * Removes what a list entry stands for: the rows that exist because of the record, then the record if nobody has written it
 * since it was read (else those rows are put back), and the entry last. Whoever dies between leaves the entry behind, by
 * which the next one finds what is left. An entry whose record is gone, or has its place elsewhere in the list, goes alone.
 */
export async function expireEntry<T>(
  table: Table,
  entry: ListEntry,
  record: {
    row: string;
    keyOf: (record: T) => string;
    companions: (record: T) => Promise<Companion[]> | Companion[];
    keep: (record: T) => Promise<boolean>;
  },
): Promise<'removed' | 'gone' | 'kept'> {
  const { id } = entry.value;
  const found = await table.get<T>(id, record.row);
  const key = found && record.keyOf(found.value);
  // A record whose time cannot be read has no place that could be told from this one.
  if (key !== undefined && !/^\d{13}-/.test(key)) return 'kept';
  let outcome: 'removed' | 'gone' = 'gone';
  if (found && key === entry.row) {
    if (await record.keep(found.value)) return 'kept';
    const companions = await record.companions(found.value);
    await Promise.all(companions.map(({ partition, row, etag }) => table.remove(partition, row, etag)));
    const removed = await table.remove(id, record.row, found.etag);
    if (removed === 'changed') {
      await Promise.all(companions.map((c) => table.insert(c.partition, c.row, c.value, c.columns)));
      return 'kept';
    }
    outcome = removed;
  }
  await table.remove(entry.partition, entry.row, entry.etag);
  return outcome;
}

/** The token by which a list goes on after the row of this key. */
export function encodeNext(key: string): string {
  return Buffer.from(key).toString('base64url');
}

export function decodeNext(next: string): string {
  const key = Buffer.from(next, 'base64url').toString('utf8');
  if (!/^\d{13}-[0-9a-z-]+$/.test(key))
    throw new Problem('invalid-request', '"next" is not a token of this list; take it from the page before');
  return key;
}
