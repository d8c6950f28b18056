import type { BlobServiceClient, ContainerClient } from '@azure/storage-blob';
import { once } from '../once.ts';
import { statusOf, storageCall } from './connect.ts';

/** Keeps what is too long or too raw for a table row. */
export interface Archive {
  put(name: string, text: string): Promise<void>;
  get(name: string): Promise<string | undefined>;
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
    await storageCall('archive a payload', () =>
      blob.upload(text, Buffer.byteLength(text), { blobHTTPHeaders: { blobContentType: 'application/json' } }),
    );
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
}
