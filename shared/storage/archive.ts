import type { BlobServiceClient, ContainerClient } from '@azure/storage-blob';
import { once } from '../once.ts';
import { errorCodeOf, statusOf, storageCall } from './connect.ts';
import type { Page } from './list.ts';

/** A payload as it is kept. `held`: it says of itself that it must not be removed. */
export type Archived = { name: string; etag: string; writtenAt: Date | undefined; held: boolean };

/** Keeps what is too long or too raw for a table row. */
export interface Archive {
  /** Names follow from what is kept: the same name again is the same text. */
  put(name: string, text: string): Promise<void>;
  get(name: string): Promise<string | undefined>;
  /** One page of what is kept under names that begin so, in the order of names. */
  list(prefix: string, next: string | undefined): Promise<Page<Archived>>;
  /** Removes that version. `held`: storage refuses for good, and says why; `changed`: it was written since. */
  remove(name: string, etag: string): Promise<'removed' | 'gone' | 'changed' | { held: string }>;
  /** What time it is by storage's own clock, and whether all that is kept must not be removed. */
  look(): Promise<{ time: Date; held: boolean }>;
}

export class BlobArchive implements Archive {
  readonly #container: () => Promise<ContainerClient>;

  constructor(connect: () => Promise<BlobServiceClient>, name: string) {
    this.#container = once(async () => {
      const container = (await connect()).getContainerClient(name);
      await storageCall(`create container ${name}`, () => container.createIfNotExists());
      return container;
    });
  }

  /** Makes sure that the container is there; put() does so by itself. */
  async connect(): Promise<void> {
    await this.#container();
  }

  async put(name: string, text: string): Promise<void> {
    const container = await this.#container();
    const blob = container.getBlockBlobClient(name);
    await storageCall('archive a payload', async () => {
      try {
        await blob.upload(text, Buffer.byteLength(text), { blobHTTPHeaders: { blobContentType: 'application/json' } });
      } catch (error) {
        // What storage keeps from being written again, for a legal hold, say, is there already.
        if (errorCodeOf(error) === 'ContainerNotFound') {
          // Somebody has deleted the container: it is made again, if not at once (that takes storage a while) then when asked again.
          await container.createIfNotExists();
          await blob.upload(text, Buffer.byteLength(text), {
            blobHTTPHeaders: { blobContentType: 'application/json' },
          });
        } else if (!isKept(error) || !(await blob.exists())) throw error;
      }
    });
  }

  async get(name: string): Promise<string | undefined> {
    const container = await this.#container();
    return storageCall('read an archived payload', async () => {
      try {
        return (await container.getBlobClient(name).downloadToBuffer()).toString('utf8');
      } catch (error) {
        if (statusOf(error) === 404) return undefined;
        throw error;
      }
    });
  }

  async list(prefix: string, next: string | undefined): Promise<Page<Archived>> {
    const container = await this.#container();
    return storageCall('list archived payloads', async () => {
      const pages = container
        .listBlobsFlat({ prefix, includeLegalHold: true, includeImmutabilityPolicy: true })
        .byPage({ maxPageSize: 100, ...(next === undefined ? {} : { continuationToken: next }) });
      for await (const { segment, continuationToken } of pages) {
        const items = segment.blobItems.map(({ name, properties }) => ({
          name,
          etag: properties.etag,
          writtenAt: properties.lastModified,
          held: properties.legalHold === true || properties.immutabilityPolicyExpiresOn !== undefined,
        }));
        return continuationToken ? { items, next: continuationToken } : { items };
      }
      return { items: [] };
    });
  }

  async remove(name: string, etag: string): Promise<'removed' | 'gone' | 'changed' | { held: string }> {
    const container = await this.#container();
    return storageCall('remove an archived payload', async () => {
      try {
        // Listings write ETags without the quotes that headers have.
        await container.getBlobClient(name).delete({ conditions: { ifMatch: `"${etag.replaceAll('"', '')}"` } });
        return 'removed';
      } catch (error) {
        const code = errorCodeOf(error) ?? String(statusOf(error));
        if (statusOf(error) === 404) return 'gone';
        if (code === 'ConditionNotMet') return 'changed';
        if (isKept(error)) return { held: code };
        throw error;
      }
    });
  }

  async look(): Promise<{ time: Date; held: boolean }> {
    const container = await this.#container();
    const { date, hasLegalHold, hasImmutabilityPolicy } = await storageCall('look at the archive', () =>
      container.getProperties(),
    );
    if (!date) throw new Error('Storage does not say what time it is');
    return { time: date, held: hasLegalHold === true || hasImmutabilityPolicy === true };
  }
}

/** Storage itself keeps the blob as it is: for a legal hold, an immutability policy, a lease, its snapshots. */
function isKept(error: unknown): boolean {
  const status = statusOf(error);
  return status === 409 || status === 412;
}
