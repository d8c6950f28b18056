import { BlobServiceClient, type ContainerClient } from '@azure/storage-blob';
import { TableClient, type TableEntityResult } from '@azure/data-tables';
import { afterAll, beforeAll } from 'vitest';
import { CaptureAccounts } from '../../shared/catalog/accounts.ts';
import type { Lifetimes } from '../../shared/config.ts';
import type { LogDetails } from '../../shared/log.ts';
import { once } from '../../shared/once.ts';
import { retain, type RetentionOutcome } from '../../shared/retention/retention.ts';
import { Admission } from '../../shared/run/admission.ts';
import { BlobArchive } from '../../shared/storage/archive.ts';
import { connectBlobs } from '../../shared/storage/connect.ts';
import { connectionStringFor } from '../azurite.ts';
import {
  account,
  blobUrl,
  connection,
  container,
  hours,
  noIdentity,
  notification,
  tapped,
  upload,
  useAzurite,
  World,
  type Process,
  type Tap,
} from '../run/world.ts';
import { StorageProxy } from './storage-proxy.ts';

export const days = 24 * hours;
export const usual: Lifetimes = { historyMs: 400 * days, rawAlertMs: 90 * days };

export const nothing = { 'capture entries': 0, runs: 0, 'raw alerts': 0, alerts: 0, 'cool-downs': 0, schedules: 0 };

let proxy: StorageProxy;

/** Azurite for a test file, and a proxy before its blobs. */
export function useStorage(): void {
  useAzurite();
  beforeAll(async () => {
    proxy = await StorageProxy.start(Number(new URL(blobUrl('x')).port));
  });
  afterAll(() => proxy.stop());
}

/** A world in which years pass, for storage too: what storage dates by itself (blobs) is as old as the world. */
export class Years extends World {
  readonly proxy = proxy;
  lifetimes = usual;
  /** What log lines gave as the reason. */
  readonly errors: string[] = [];
  override accounts = [account];

  /** The archive, behind the proxy. */
  readonly proxied = new BlobArchive(
    once(() => connectBlobs(throughProxy(), noIdentity, 'state')),
    `archive-${this.name}`,
  );
  readonly #clients = ['state', 'runs', 'alerts', 'captures'].map((kind) =>
    TableClient.fromConnectionString(connection().value, `t${this.name}${kind}`, { allowInsecureConnection: true }),
  );

  constructor() {
    super();
    this.clock.advance(Date.now() - this.clock.now().getTime());
    proxy.held.clear();
    proxy.written.clear();
    proxy.containerHeld = false;
    proxy.refuses = undefined;
    proxy.requests.length = 0;
    proxy.now = () => this.clock.now();
  }

  /** What the retention timer does, in a process of its own. */
  retain(tap: Tap = () => undefined): Promise<RetentionOutcome> {
    const app = this.process(tap);
    const { clock, lifetimes, rules, problems } = this;
    const note = (level: 'info' | 'warn' | 'error') => (message: string, details?: LogDetails) => {
      this.logged.push({ level, message });
      if (details?.error instanceof Error) this.errors.push(details.error.message);
    };
    const state = tapped('state', this.tables.state, tap);
    return retain({
      runs: app.runs,
      alerts: app.alerts,
      captures: app.captures,
      accounts: new CaptureAccounts(
        this.accounts.map((name) => ({
          id: name,
          name,
          regions: ['*'],
          connectionName: name,
          connection: throughProxy(),
        })),
        noIdentity,
        clock,
      ),
      archive: tapped('archive', this.proxied, tap),
      admission: new Admission(state, app.runs),
      state,
      rules: () => Promise.resolve({ rules, version: 'v1', problems }),
      lifetimes,
      clock,
      log: { info: note('info'), warn: note('warn'), error: note('error') },
    });
  }

  /** The archive's container, as somebody else sees it. */
  get payloads(): ContainerClient {
    return blobs().getContainerClient(`archive-${this.name}`);
  }

  async payloadNames(): Promise<string[]> {
    const names: string[] = [];
    for await (const blob of this.payloads.listBlobsFlat()) names.push(blob.name);
    return names;
  }

  /** Every row that there is: `table:partition/row`. */
  async rows(): Promise<string[]> {
    await Promise.all(Object.values(this.tables).map((table) => table.scan('none', { limit: 1 })));
    const rows: string[] = [];
    for (const table of this.#clients) {
      const kind = table.tableName.slice(`t${this.name}`.length);
      for await (const { partitionKey, rowKey } of table.listEntities()) rows.push(`${kind}:${partitionKey}/${rowKey}`);
    }
    return rows;
  }

  /** All rows and payloads as they are now; gives back what puts back those that are gone since. */
  async remember(): Promise<() => Promise<void>> {
    const entities: { table: TableClient; entity: TableEntityResult<Record<string, unknown>> }[] = [];
    for (const table of this.#clients)
      for await (const entity of table.listEntities<Record<string, unknown>>()) entities.push({ table, entity });
    const names = await this.payloadNames();
    return async () => {
      await Promise.all(
        entities.map(({ table, entity }) =>
          table.upsertEntity(
            { ...entity, partitionKey: entity.partitionKey ?? '', rowKey: entity.rowKey ?? '' },
            'Replace',
          ),
        ),
      );
      await Promise.all(names.map((name) => this.payloads.getBlockBlobClient(name).upload('{}', 2)));
    };
  }

  /** An alert whose run has come to its end, with its file in the catalogue. Gives the ids. */
  async captured(
    name: string,
    content: Buffer,
  ): Promise<{ app: Process; alert: string; run: string; capture: string; blob: string }> {
    const app = this.process();
    const blob = `${this.name}/${name}.cap`;
    this.cloud.fresh = { storagePath: blobUrl(blob) };
    const firedAt = this.clock.now().toISOString();
    const { alertId, runs } = await app.receive(notification({ id: `/alerts/${name}`, firedAt, origin: `o-${name}` }));
    for (const payload of await this.payloadNames())
      if (payload.includes(alertId)) proxy.written.set(payload, this.clock.now());
    const run = runs[0]?.id ?? '';
    await upload(blob, content);
    this.clock.advance(90_000);
    await app.poll();
    const capture = await app.lifecycle.addFile(account, container, blob);
    await app.settle();
    return { app, alert: alertId, run, capture: capture?.id ?? '', blob };
  }
}

export async function removeFile(blob: string): Promise<void> {
  await blobs().getContainerClient(container).getBlobClient(blob).delete();
}

function throughProxy() {
  return { kind: 'connectionString' as const, value: connectionStringFor({ blob: proxy.port }) };
}

function blobs(): BlobServiceClient {
  return BlobServiceClient.fromConnectionString(connection().value);
}
