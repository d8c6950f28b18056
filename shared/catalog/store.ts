import { deriveId, isId } from '../id.ts';
import { Problem } from '../problem.ts';
import { listKey, listPage, type ListQuery, type Page } from '../storage/list.ts';
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
export class CaptureStore {
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
    const columns: Columns = {
      ...(capture.runId ? { run: capture.runId } : {}),
      ...(capture.target ? { target: capture.target } : {}),
    };
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
}
