import { beginningsOf, parseBlobUrl, toBeginning } from '../catalog/blob-path.ts';
import { deriveId, isId } from '../id.ts';
import { Problem } from '../problem.ts';
import {
  decodeNext,
  encodeNext,
  expireEntry,
  listKey,
  listPage,
  oldEntries,
  type Expiring,
  type ListEntry,
  type ListQuery,
  type Page,
} from '../storage/list.ts';
import type { Columns, Row, Table } from '../storage/table.ts';
import { isFinal, isOpen, type Run, type RunState } from './run.ts';

export type RunFilter = {
  state?: RunState | undefined;
  target?: string | undefined;
  alert?: string | undefined;
  incident?: string | undefined;
};

/** Says that something is still to be done about a run made at `at`. */
export type OpenMark = { id: string; at: Date; etag: string };

/**
 * Runs in a table:
 *   (run id, 'run')          the run itself
 *   ('open', run id)         a mark while something is still to be done about it: what poll walks over, however long the history
 *   ('index', time + id)     the list, newest first, with what can be filtered by
 *   ('path-…', 'run')        which run a file belongs to, by container and blob path, or by the beginning of it
 * Mark and list entry are written before the run, and follow from it.
 */
export class RunStore implements Expiring<Run> {
  readonly #table: Table;

  constructor(table: Table) {
    this.#table = table;
  }

  /**
   * Records a run unless its id is taken. `created` tells which; the run is the one that is stored either way. Mark and list
   * entry are written first, so that no run can be without them; an entry that does not fit its run is passed over in lists.
   */
  async create(run: Run): Promise<{ run: Run; created: boolean }> {
    await Promise.all([
      this.#table.put('open', run.id, { at: run.createdAt }),
      this.#table.put('index', indexKey(run), { id: run.id }, columnsOf(run)),
    ]);
    const created = await this.#table.insert(run.id, 'run', run);
    const stored = created ? run : await this.get(run.id);
    if (!stored) throw new Error(`Run ${run.id} was there and is gone`);
    return { run: stored, created };
  }

  async get(id: string): Promise<Run | undefined> {
    return (await this.#table.get<Run>(id, 'run'))?.value;
  }

  async require(id: string): Promise<Run> {
    const run = isId(id) ? await this.get(id) : undefined;
    if (!run) throw new Problem('not-found', `There is no run ${id.slice(0, 64)}`);
    return run;
  }

  /**
   * Applies a pure change and writes it unless somebody else wrote in between; then the change is applied to what they wrote.
   * Returns the stored run. `change` may throw, and is called again after a lost race.
   */
  async update(id: string, change: (run: Run) => Run): Promise<Run> {
    for (let attempt = 0; attempt < 20; attempt++) {
      const row = await this.#table.get<Run>(id, 'run');
      if (!row) throw new Problem('not-found', `There is no run ${id}`);
      const next = change(row.value);
      const reopened = isOpen(next) && !isOpen(row.value);
      if (next === row.value || JSON.stringify(next) === JSON.stringify(row.value)) return row.value;
      if (reopened) await this.#table.put('open', id, { at: next.createdAt });
      if (await this.#table.replace(id, 'run', row.etag, next)) {
        if (!isOpen(next)) await this.close(id);
        // Again, since a poll that saw the run as it was may have taken the mark off.
        if (reopened) await this.#table.put('open', id, { at: next.createdAt });
        return next;
      }
    }
    throw new Problem('storage-unavailable', `Run ${id} is written by too many at once`, { retryAfterSeconds: 5 });
  }

  /** All runs that something is still to be done about. */
  async open(): Promise<OpenMark[]> {
    const rows = await this.#table.scan<{ at: string }>('open', { limit: 100_000 });
    return rows.map((row) => ({ id: row.row, at: new Date(row.value.at), etag: row.etag }));
  }

  /** Takes the mark off a run that needs nothing more. Looked at mark first, run second, so that a mark written since stays. */
  async close(id: string): Promise<void> {
    const mark = await this.#table.get('open', id);
    const run = await this.get(id);
    if (mark && !(run && isOpen(run))) await this.#table.remove('open', id, mark.etag);
  }

  /** Takes off a mark whose run never came, unless it was written anew. */
  async dropMark(mark: OpenMark): Promise<void> {
    await this.#table.remove('open', mark.id, mark.etag);
  }

  async list(query: ListQuery, filter: RunFilter): Promise<Page<Run>> {
    const where: Columns = {
      ...(filter.target === undefined ? {} : { target: filter.target }),
      ...(filter.alert === undefined ? {} : { alert: filter.alert }),
      ...(filter.incident === undefined ? {} : { incident: filter.incident }),
    };
    if (filter.state !== undefined && !isFinal(filter.state)) return this.#listOpen(query, filter.state, where);
    return listPage<{ id: string }, Run>(this.#table, 'index', query, where, async ({ row, value }) => {
      const run = await this.get(value.id);
      return run && row === indexKey(run) && (filter.state === undefined || run.state === filter.state)
        ? run
        : undefined;
    });
  }

  /** Open runs are found by their marks: looking for them in the list would read all of history. */
  async #listOpen(query: ListQuery, state: RunState, where: Columns): Promise<Page<Run>> {
    const runs: Run[] = [];
    const ids = (await this.open()).map((mark) => mark.id);
    for (let i = 0; i < ids.length; i += 50) {
      for (const run of await Promise.all(ids.slice(i, i + 50).map((id) => this.get(id)))) {
        if (run?.state === state && Object.entries(where).every(([name, value]) => columnsOf(run)[name] === value))
          runs.push(run);
      }
    }
    const after = query.next === undefined ? '' : decodeNext(query.next);
    const inRange = runs
      .filter((run) => {
        const at = new Date(run.createdAt);
        return (
          indexKey(run) > after &&
          (query.since === undefined || at >= query.since) &&
          (query.until === undefined || at <= query.until)
        );
      })
      .toSorted((a, b) => (indexKey(a) < indexKey(b) ? -1 : 1));
    const items = inRange.slice(0, query.limit);
    const last = items.at(-1);
    return inRange.length > items.length && last ? { items, next: encodeNext(indexKey(last)) } : { items };
  }

  /**
   * Ties a file, or all files whose paths begin so (see toBeginning), to a run before they come. Paths are compared without
   * regard to case, whatever host their URL has.
   */
  async claim(container: string, blob: string, runId: string): Promise<void> {
    await this.#table.put(pathKey(container, blob), 'run', { runId });
  }

  /** The run that a file belongs to: by its whole path, else by the longest beginning of it that was claimed. */
  async claimant(container: string, blob: string): Promise<string | undefined> {
    const whole = await this.#claimed(container, blob);
    if (whole !== undefined) return whole;
    const claims = await Promise.all(beginningsOf(blob).map((beginning) => this.#claimed(container, beginning)));
    return claims.find((runId) => runId !== undefined);
  }

  old(until: Date, next: string | undefined): Promise<Page<ListEntry>> {
    return oldEntries(this.#table, until, next);
  }

  /** Removes an old run with its claims on files; see expireEntry. Its mark, if it has one, is poll's to take away. */
  expire(entry: ListEntry, keep: (run: Run) => Promise<boolean>): Promise<'removed' | 'gone' | 'kept'> {
    return expireEntry<Run>(this.#table, entry, {
      row: 'run',
      keyOf: indexKey,
      companions: (run) => this.#claimsOf(run),
      keep,
    });
  }

  /** The claims that are still this run's: another one may have taken over its path. */
  async #claimsOf(run: Run): Promise<Row<{ runId: string }>[]> {
    const at = run.session?.storagePath === undefined ? undefined : parseBlobUrl(run.session.storagePath);
    if (!at) return [];
    const keys = new Set([at.blob, toBeginning(at.blob)].map((path) => pathKey(at.container, path)));
    const claims = await Promise.all([...keys].map((key) => this.#table.get<{ runId: string }>(key, 'run')));
    return claims.filter((claim) => claim?.value.runId === run.id).filter((claim) => claim !== undefined);
  }

  async #claimed(container: string, path: string): Promise<string | undefined> {
    return (await this.#table.get<{ runId: string }>(pathKey(container, path), 'run'))?.value.runId;
  }
}

function indexKey(run: Run): string {
  return listKey(new Date(run.createdAt), run.id);
}

function columnsOf(run: Run): Columns {
  const { alertId, incident } = run.trigger;
  return {
    target: run.target,
    ...(alertId === undefined ? {} : { alert: alertId }),
    ...(incident === undefined ? {} : { incident }),
  };
}

function pathKey(container: string, blob: string): string {
  return `path-${deriveId(container.toLowerCase(), blob.replace(/^\/+/, '').toLowerCase())}`;
}
