import type { TableClient } from '@azure/data-tables';
import { once } from '../once.ts';
import { statusOf, storageCall } from './connect.ts';

/** What a row's columns may hold; they are there to be filtered by. */
export type Columns = Record<string, string>;

/** A stored row: `value` is any JSON. `etag` goes back into replace(), which writes only if nobody else has written since. */
export type Row<T> = { partition: string; row: string; etag: string; value: T };

export type ScanOptions = {
  /** Row keys greater than this one only. */
  after?: string | undefined;
  /** Row keys up to and including this one only. */
  upTo?: string | undefined;
  /** Columns that must have exactly these values. */
  where?: Columns | undefined;
  limit: number;
};

/**
 * Rows of JSON under (partition, row), ordered by row key within a partition. Row and partition keys are of our own making:
 * letters, digits and dashes. All writes are conditional but put(), which is for rows whose content follows from their key.
 */
export interface Table {
  get<T>(partition: string, row: string): Promise<Row<T> | undefined>;
  /** False when the row is there already. */
  insert(partition: string, row: string, value: unknown, columns?: Columns): Promise<boolean>;
  /** False when the row was written since `etag`, or is gone. */
  replace(partition: string, row: string, etag: string, value: unknown, columns?: Columns): Promise<boolean>;
  put(partition: string, row: string, value: unknown, columns?: Columns): Promise<void>;
  /** With an `etag`, only if nobody has written since (else `changed`). What is not there is no error. */
  remove(partition: string, row: string, etag?: string): Promise<'removed' | 'gone' | 'changed'>;
  scan<T>(partition: string, options: ScanOptions): Promise<Row<T>[]>;
}

// A string property holds at most 32 Ki UTF-16 units (64 KiB), a row 1 MiB.
const chunkLength = 32_000;
const maxChunks = 14;

/** The Azure Table Storage implementation. Docs: learn.microsoft.com "Understanding the Table service data model". */
export class AzureTable implements Table {
  readonly #client: () => Promise<TableClient>;

  constructor(connect: () => Promise<TableClient>) {
    this.#client = once(connect);
  }

  /** Makes sure that the table is there; every call does so by itself, the first one late. */
  async connect(): Promise<void> {
    await this.#client();
  }

  async get<T>(partition: string, row: string): Promise<Row<T> | undefined> {
    const client = await this.#client();
    return storageCall('read a row', async () => {
      try {
        return toRow<T>(await client.getEntity(partition, row));
      } catch (error) {
        if (statusOf(error) === 404) return undefined;
        throw error;
      }
    });
  }

  async insert(partition: string, row: string, value: unknown, columns: Columns = {}): Promise<boolean> {
    const client = await this.#client();
    return storageCall('insert a row', () =>
      wins(() => client.createEntity(toEntity(partition, row, value, columns)), 409),
    );
  }

  async replace(partition: string, row: string, etag: string, value: unknown, columns: Columns = {}): Promise<boolean> {
    const client = await this.#client();
    return storageCall('replace a row', () =>
      wins(() => client.updateEntity(toEntity(partition, row, value, columns), 'Replace', { etag }), 412, 404),
    );
  }

  async put(partition: string, row: string, value: unknown, columns: Columns = {}): Promise<void> {
    const client = await this.#client();
    await storageCall('write a row', () => client.upsertEntity(toEntity(partition, row, value, columns), 'Replace'));
  }

  async remove(partition: string, row: string, etag = '*'): Promise<'removed' | 'gone' | 'changed'> {
    const client = await this.#client();
    return storageCall('remove a row', async () => {
      try {
        await client.deleteEntity(partition, row, { etag });
        return 'removed';
      } catch (error) {
        const status = statusOf(error);
        if (status === 404) return 'gone';
        if (status === 412) return 'changed';
        throw error;
      }
    });
  }

  async scan<T>(partition: string, { after, upTo, where = {}, limit }: ScanOptions): Promise<Row<T>[]> {
    const client = await this.#client();
    const conditions = [`PartitionKey eq ${quoted(partition)}`];
    if (after !== undefined) conditions.push(`RowKey gt ${quoted(after)}`);
    if (upTo !== undefined) conditions.push(`RowKey le ${quoted(upTo)}`);
    for (const [name, value] of Object.entries(where)) conditions.push(`${name} eq ${quoted(value)}`);
    const rows: Row<T>[] = [];
    await storageCall('list rows', async () => {
      const pages = client
        .listEntities({ queryOptions: { filter: conditions.join(' and ') } })
        .byPage({ maxPageSize: Math.min(limit, 1000) });
      for await (const page of pages) {
        for (const entity of page) {
          rows.push(toRow<T>(entity));
          if (rows.length === limit) return;
        }
      }
    });
    return rows;
  }
}

/** A string in an OData filter: in quotes, which double inside. */
function quoted(value: string): string {
  return `'${value.replaceAll("'", "''")}'`;
}

async function wins(write: () => Promise<unknown>, ...lostStatuses: number[]): Promise<boolean> {
  try {
    await write();
    return true;
  } catch (error) {
    const status = statusOf(error);
    if (status !== undefined && lostStatuses.includes(status)) return false;
    throw error;
  }
}

type Entity = { partitionKey: string; rowKey: string; [column: string]: string };

function toEntity(partition: string, row: string, value: unknown, columns: Columns): Entity {
  // ASCII only: what is split anywhere between here and the service then cannot fall apart.
  const json = JSON.stringify(value).replaceAll(
    /[\u0080-\uffff]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
  const entity: Entity = { partitionKey: partition, rowKey: row, ...columns };
  const chunks = Math.ceil(json.length / chunkLength);
  if (chunks > maxChunks) {
    throw new RangeError(`A row of ${json.length} characters does not fit; long evidence belongs in a blob`);
  }
  for (let i = 0; i < chunks; i++) entity[`json${i}`] = json.slice(i * chunkLength, (i + 1) * chunkLength);
  return entity;
}

function toRow<T>(entity: {
  partitionKey?: string;
  rowKey?: string;
  etag?: string;
  [column: string]: unknown;
}): Row<T> {
  let json = '';
  for (let i = 0; typeof entity[`json${i}`] === 'string'; i++) json += entity[`json${i}`] as string;
  return {
    partition: entity.partitionKey ?? '',
    row: entity.rowKey ?? '',
    etag: entity.etag ?? '',
    value: JSON.parse(json) as T,
  };
}
