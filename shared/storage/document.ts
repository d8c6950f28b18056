import type { BlobServiceClient, ContainerClient } from '@azure/storage-blob';
import { once } from '../once.ts';
import { errorCodeOf, statusOf, storageCall } from './connect.ts';

/** Small documents that several write: who writes says which version it read. */
export interface Documents {
  /** `modifiedAt`: when it was written, by storage's clock. */
  read(name: string): Promise<{ text: string; etag: string; modifiedAt: Date } | undefined>;
  /** `etag` of what was read, undefined when there was nothing. False when somebody else wrote since. */
  write(name: string, text: string, etag: string | undefined): Promise<boolean>;
}

/** Blobs of one container. */
export class BlobDocuments implements Documents {
  readonly #container: () => Promise<ContainerClient>;

  constructor(connect: () => Promise<BlobServiceClient>, name: string) {
    this.#container = once(async () => (await connect()).getContainerClient(name));
  }

  async read(name: string): Promise<{ text: string; etag: string; modifiedAt: Date } | undefined> {
    const blob = (await this.#container()).getBlobClient(name);
    return storageCall(`read ${name}`, async () => {
      try {
        // In one request, since it may be replaced at any time.
        const answer = await blob.download();
        const chunks: Buffer[] = [];
        for await (const chunk of answer.readableStreamBody ?? []) chunks.push(Buffer.from(chunk as Buffer));
        const modifiedAt = answer.lastModified ?? new Date(0);
        return { text: Buffer.concat(chunks).toString('utf8'), etag: answer.etag ?? '', modifiedAt };
      } catch (error) {
        if (statusOf(error) === 404) return undefined;
        throw error;
      }
    });
  }

  async write(name: string, text: string, etag: string | undefined): Promise<boolean> {
    const container = await this.#container();
    const blob = container.getBlockBlobClient(name);
    const upload = () =>
      blob.upload(text, Buffer.byteLength(text), {
        conditions: etag === undefined ? { ifNoneMatch: '*' } : { ifMatch: etag },
        blobHTTPHeaders: { blobContentType: 'application/json' },
      });
    return storageCall(`write ${name}`, async () => {
      try {
        await upload().catch(async (error: unknown) => {
          if (errorCodeOf(error) !== 'ContainerNotFound') throw error;
          await container.createIfNotExists();
          await upload();
        });
        return true;
      } catch (error) {
        const status = statusOf(error);
        if (status === 412 || errorCodeOf(error) === 'BlobAlreadyExists') return false;
        throw error;
      }
    });
  }
}
