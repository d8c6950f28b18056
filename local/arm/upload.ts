import { isIP } from 'node:net';
import type { BlobServiceClient } from '@azure/storage-blob';

export type Destination = { container: string; blob: string };

/**
 * The container and blob that a storage path names. The host does not matter: everything goes to the one account the
 * emulator has. In the path-style URLs of a storage emulator the first segment is the account.
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

/** Puts a file where it belongs; the container is created if it is missing. */
export async function upload(storage: BlobServiceClient, path: string, to: Destination): Promise<void> {
  const container = storage.getContainerClient(to.container);
  await container.createIfNotExists();
  await container.getBlockBlobClient(to.blob).uploadFile(path);
}
