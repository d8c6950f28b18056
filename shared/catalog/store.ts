import { deriveId, isId } from '../id.ts';
import { Problem } from '../problem.ts';
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
import type { Columns, Table } from '../storage/table.ts';
import type { Capture } from './entry.ts';

type Stored = { capture: Capture; listedAt: string; modifiedAt: string };

/** The id of a file's entry: derived from where the file lies, so that it stays when the blob is rewritten. */
export function captureId(account: string, container: string, blob: string): string {
  return deriveId('capture', account, container, blob);
}

/**
 * Catalogue entries in a table:
 *   (capture id, 'capture')   the entry
 *   ('index', time + id)      the list, newest first, with what can be filtered by
 *   ('run-…', time + id)      the list of one run's files
 */
export class CaptureStore implements Expiring<Capture> {
  readonly #table: Table;

  constructor(table: Table) {
    this.#table = table;
  }

  async get(id: string): Promise<Capture | undefined> {
    return (await this.#table.get<Stored>(id, 'capture'))?.value.capture;
  }

  async require(id: string): Promise<Capture> {
    const capture = isId(id) ? await this.get(id) : undefined;
    if (!capture) throw new Problem('not-found', `There is no capture ${id.slice(0, 64)}`);
    return capture;
  }

  /** Writes an entry, unless a newer version of the blob was catalogued meanwhile. Its place in the lists stays the first one. */
  async save(capture: Capture, modifiedAt: Date): Promise<void> {
    const columns = columnsOf(capture);
    for (let attempt = 0; attempt < 20; attempt++) {
      const row = await this.#table.get<Stored>(capture.id, 'capture');
      if (row && new Date(row.value.modifiedAt) > modifiedAt) return;
      const listedAt = row?.value.listedAt ?? capture.catalogedAt;
      const stored: Stored = { capture, listedAt, modifiedAt: modifiedAt.toISOString() };
      const key = listKey(new Date(listedAt), capture.id);
      // The list first, so that no entry can be without its place in it.
      await Promise.all([
        this.#table.put('index', key, { id: capture.id }, columns),
        ...(capture.runId ? [this.#table.put(`run-${capture.runId}`, key, { id: capture.id }, columns)] : []),
      ]);
      const won = row
        ? await this.#table.replace(capture.id, 'capture', row.etag, stored)
        : await this.#table.insert(capture.id, 'capture', stored);
      if (won) return;
    }
    throw new Problem('storage-unavailable', `Capture ${capture.id} is written by too many at once`, {
      retryAfterSeconds: 5,
    });
  }

  /** Newest first. A file that a later run has taken over is not listed under the earlier one any more. */
  async list(
    query: ListQuery,
    filter: { run?: string | undefined; target?: string | undefined },
  ): Promise<Page<Capture>> {
    const where: Columns = filter.target === undefined ? {} : { target: filter.target };
    const partition = filter.run === undefined ? 'index' : `run-${filter.run}`;
    return listPage<{ id: string }, Capture>(this.#table, partition, query, where, async ({ row, value }) => {
      const stored = (await this.#table.get<Stored>(value.id, 'capture'))?.value;
      if (!stored || row !== listKey(new Date(stored.listedAt), value.id)) return undefined;
      const { capture } = stored;
      return (filter.run === undefined || capture.runId === filter.run) &&
        (filter.target === undefined || capture.target === filter.target)
        ? capture
        : undefined;
    });
  }

  old(until: Date, next: string | undefined): Promise<Page<ListEntry>> {
    return oldEntries(this.#table, until, next);
  }

  /** Removes an old entry with all that was made of its file; see expireEntry. The one place where captures are removed. */
  expire(entry: ListEntry, keep: (capture: Capture) => Promise<boolean>): Promise<'removed' | 'gone' | 'kept'> {
    return expireEntry<Stored>(this.#table, entry, {
      row: 'capture',
      keyOf: ({ capture, listedAt }) => listKey(new Date(listedAt), capture.id),
      companions: ({ capture }) =>
        capture.runId === undefined
          ? []
          : [
              {
                partition: `run-${capture.runId}`,
                row: entry.row,
                value: { id: capture.id },
                columns: columnsOf(capture),
              },
            ],
      keep: ({ capture }) => keep(capture),
    });
  }

  /**
   * Takes away what is left of a run's list when no entry belongs to the run any more: rows of files that a later run has taken
   * over. False when there are entries, or rows written after `until`, whose entries may be about to follow.
   */
  async releaseRun(runId: string, until: Date): Promise<boolean> {
    const partition = `run-${runId}`;
    const rows = await this.#table.scan<{ id: string }>(partition, { limit: 1000 });
    const newest = rows[0];
    if (newest && newest.row < listKey(until, '')) return false;
    for (const { value } of rows) if ((await this.get(value.id))?.runId === runId) return false;
    await Promise.all(rows.map(({ row, etag }) => this.#table.remove(partition, row, etag)));
    return rows.length < 1000;
  }
}

function columnsOf(capture: Capture): Columns {
  return {
    ...(capture.runId ? { run: capture.runId } : {}),
    ...(capture.target ? { target: capture.target } : {}),
  };
}
