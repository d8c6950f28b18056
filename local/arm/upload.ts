import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import type { BlobServiceClient } from '@azure/storage-blob';

export type Destination = { container: string; blob: string };

/**
 * The container and blob that a storage path names; a blob that ends in `/` is a folder. The host does not matter:
 * everything goes to the one account the emulator has. In the path-style URLs of a storage emulator the first segment is
 * the account.
 *
 * @returns undefined when the path names no blob
 */
export function destinationOf(storagePath: string): Destination | undefined {
  const url = new URL(storagePath);
  const pathStyle = isIP(url.hostname) > 0 || url.hostname === 'localhost';
  const path = decodeURIComponent(url.pathname).slice(1);
  const inAccount = pathStyle ? path.slice(path.indexOf('/') + 1) : path;
  const slash = inAccount.indexOf('/');
  const container = inAccount.slice(0, Math.max(slash, 0));
  const blob = inAccount.slice(slash + 1);
  return container && blob ? { container, blob } : undefined;
}

/** What arrives: the file, or on purpose something else. */
export type Delivery = 'normal' | 'damaged' | 'garbage' | 'empty';

/** The account that files go to. Its client is loaded when the first file goes there: most of a start would be that. */
export class Uploads {
  readonly #connectionString: string;
  #client: Promise<BlobServiceClient> | undefined;

  constructor(connectionString: string) {
    this.#connectionString = connectionString;
  }

  /** Puts a file where it belongs; the container is created if it is missing. */
  async put(path: string, to: Destination, delivery: Delivery): Promise<void> {
    this.#client ??= import('@azure/storage-blob').then((blobs) =>
      blobs.BlobServiceClient.fromConnectionString(this.#connectionString, { retryOptions: { maxTries: 1 } }),
    );
    const container = (await this.#client).getContainerClient(to.container);
    await container.createIfNotExists();
    const blob = container.getBlockBlobClient(to.blob);
    if (delivery === 'normal') await blob.uploadFile(path);
    else await blob.uploadData(spoiled(path, delivery));
  }
}

function spoiled(path: string, delivery: Exclude<Delivery, 'normal'>): Buffer {
  switch (delivery) {
    case 'damaged':
      // Within the last packet, or within the file's header where there is none.
      return readFileSync(path).subarray(0, -7);
    case 'garbage':
      return Buffer.from('This is not a capture file.\n'.repeat(20));
    case 'empty':
      return Buffer.alloc(0);
  }
}
