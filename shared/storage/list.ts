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
