import type { Columns, Row, ScanOptions, Table } from '../shared/storage/table.ts';

type Stored = { etag: string; json: string; columns: Columns };

/** A table in memory, for tests of many runs; test/storage/table.test.ts holds it to the same contract as the real one. */
export class MemoryTable implements Table {
  readonly #partitions = new Map<string, Map<string, Stored>>();
  #writes = 0;

  async get<T>(partition: string, row: string): Promise<Row<T> | undefined> {
    const stored = this.#partitions.get(partition)?.get(row);
    return stored && toRow<T>(partition, row, stored);
  }

  async insert(partition: string, row: string, value: unknown, columns: Columns = {}): Promise<boolean> {
    if (this.#partitions.get(partition)?.has(row)) return false;
    this.#write(partition, row, value, columns);
    return true;
  }

  async replace(partition: string, row: string, etag: string, value: unknown, columns: Columns = {}): Promise<boolean> {
    if (this.#partitions.get(partition)?.get(row)?.etag !== etag) return false;
    this.#write(partition, row, value, columns);
    return true;
  }

  async put(partition: string, row: string, value: unknown, columns: Columns = {}): Promise<void> {
    this.#write(partition, row, value, columns);
  }

  async remove(partition: string, row: string, etag?: string): Promise<'removed' | 'gone' | 'changed'> {
    const stored = this.#partitions.get(partition)?.get(row);
    if (!stored) return 'gone';
    if (etag !== undefined && stored.etag !== etag) return 'changed';
    this.#partitions.get(partition)?.delete(row);
    return 'removed';
  }

  async scan<T>(partition: string, { after, upTo, where = {}, limit }: ScanOptions): Promise<Row<T>[]> {
    return [...(this.#partitions.get(partition) ?? [])]
      .filter(([row]) => (after === undefined || row > after) && (upTo === undefined || row <= upTo))
      .filter(([, { columns }]) => Object.entries(where).every(([name, value]) => columns[name] === value))
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .slice(0, limit)
      .map(([row, stored]) => toRow<T>(partition, row, stored));
  }

  #write(partition: string, row: string, value: unknown, columns: Columns): void {
    const json = JSON.stringify(value);
    // The real one holds 14 columns of 32,000 ASCII characters.
    if (json.length > 448_000) throw new RangeError(`A row of ${json.length} characters does not fit`);
    const rows = this.#partitions.get(partition) ?? new Map<string, Stored>();
    this.#partitions.set(partition, rows);
    rows.set(row, { etag: String(++this.#writes), json, columns });
  }
}

function toRow<T>(partition: string, row: string, { etag, json }: Stored): Row<T> {
  return { partition, row, etag, value: JSON.parse(json) as T };
}
