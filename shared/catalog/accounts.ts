import type { BlobServiceClient } from '@azure/storage-blob';
import type { CaptureAccount } from '../config.ts';
import type { Clock } from '../clock.ts';
import { Problem } from '../problem.ts';
import { once } from '../once.ts';
import { connectBlobs, errorCodeOf, statusOf, storageCall, type IdentityFor } from '../storage/connect.ts';

/** A blob as it was found: `etag` names the version that the other members describe. Names of its metadata are in lower case. */
export type FoundBlob = { etag: string; bytes: number; modifiedAt: Date; metadata: Readonly<Record<string, string>> };

const linkSeconds = 300;

/** The storage accounts that captures are written to, by name. Reads and links only: files are never changed here. */
export class CaptureAccounts {
  readonly #accounts: ReadonlyMap<
    string,
    { connection: CaptureAccount['connection']; client: () => Promise<BlobServiceClient> }
  >;
  readonly #clock: Clock;

  constructor(accounts: readonly CaptureAccount[], identityFor: IdentityFor, clock: Clock) {
    this.#accounts = new Map(
      accounts.map((a) => [
        a.name,
        { connection: a.connection, client: once(() => connectBlobs(a.connection, identityFor, 'captures')) },
      ]),
    );
    this.#clock = clock;
  }

  get names(): string[] {
    return [...this.#accounts.keys()];
  }

  async find(account: string, container: string, blob: string): Promise<FoundBlob | undefined> {
    const client = await this.#blob(account, container, blob);
    return storageCall('look at a capture', async () => {
      try {
        const found = await client.getProperties();
        return {
          etag: found.etag ?? '',
          bytes: found.contentLength ?? 0,
          modifiedAt: found.lastModified ?? this.#clock.now(),
          metadata: found.metadata ?? {},
        };
      } catch (error) {
        if (statusOf(error) === 404) return undefined;
        throw error;
      }
    });
  }

  /**
   * Whether a file is surely gone: storage knows its container and says that there is no such blob. Throws when that cannot be
   * told: the account is out of reach, refuses, is not configured any more, or has no such container.
   */
  async isGone(account: string, container: string, blob: string, signal: AbortSignal): Promise<boolean> {
    const client = await this.#blob(account, container, blob);
    return storageCall('look for a capture', async () => {
      try {
        await client.getProperties({ abortSignal: signal });
        return false;
      } catch (error) {
        if (errorCodeOf(error) === 'BlobNotFound') return true;
        throw error;
      }
    });
  }

  /** The bytes of exactly that version, in chunks; fails when the blob was rewritten meanwhile. */
  async *read(account: string, container: string, blob: string, etag: string): AsyncGenerator<Uint8Array> {
    const client = await this.#blob(account, container, blob);
    const answer = await storageCall('read a capture', () =>
      client.download(0, undefined, { conditions: { ifMatch: etag }, maxRetryRequests: 5 }),
    );
    if (!answer.readableStreamBody) return;
    for await (const chunk of answer.readableStreamBody) yield chunk as Uint8Array;
  }

  /** One page of a container's blobs in name order, of those that begin with `prefix`; `next` continues it. Undefined when there is no such container. */
  async list(
    account: string,
    container: string,
    next: string | undefined,
    prefix = '',
  ): Promise<{ blobs: { name: string; etag: string; modifiedAt: Date }[]; next: string | undefined } | undefined> {
    const client = (await this.#client(account)).getContainerClient(container);
    return storageCall('list captures', async () => {
      try {
        const pages = client
          .listBlobsFlat(prefix === '' ? {} : { prefix })
          .byPage({ maxPageSize: 5000, ...(next === undefined ? {} : { continuationToken: next }) });
        for await (const page of pages) {
          const blobs = page.segment.blobItems.map((b) => ({
            name: b.name,
            etag: b.properties.etag,
            modifiedAt: b.properties.lastModified,
          }));
          return { blobs, next: page.continuationToken || undefined };
        }
        return { blobs: [], next: undefined };
      } catch (error) {
        if (statusOf(error) === 404) return undefined;
        throw error;
      }
    });
  }

  /**
   * URL of a container that lets its holder add blobs and read them for that long, signed as links are. The container is made, which its
   * holder could not do.
   */
  async uploadUrl(account: string, container: string, seconds: number): Promise<string> {
    const sdk = await import('../storage/sdk.lazy.ts');
    const service = await this.#client(account);
    const client = service.getContainerClient(container);
    await storageCall(`create container ${container}`, () => client.createIfNotExists());
    const now = this.#clock.now();
    const startsOn = new Date(now.getTime() - 60_000);
    const expiresOn = new Date(now.getTime() + seconds * 1000);
    const values = {
      containerName: container,
      permissions: sdk.ContainerSASPermissions.parse('rc'),
      startsOn,
      expiresOn,
    };
    if (this.#accounts.get(account)?.connection.kind === 'connectionString') return client.generateSasUrl(values);
    const key = await storageCall('sign a link', () => service.getUserDelegationKey(startsOn, expiresOn));
    const query = sdk.generateBlobSASQueryParameters({ ...values, protocol: sdk.SASProtocol.Https }, key, account);
    return `${client.url}?${query.toString()}`;
  }

  /** A link that lets its holder read that one blob for five minutes, signed by the app's identity (or by the key, in the sandbox). */
  async link(account: string, container: string, blob: string): Promise<string> {
    const sdk = await import('../storage/sdk.lazy.ts');
    const service = await this.#client(account);
    const client = service.getContainerClient(container).getBlobClient(blob);
    const now = this.#clock.now();
    // A little in the past, since clocks differ.
    const startsOn = new Date(now.getTime() - 60_000);
    const expiresOn = new Date(now.getTime() + linkSeconds * 1000);
    const name =
      blob
        .split('/')
        .at(-1)
        ?.replaceAll(/[^\w.-]/g, '_') ?? 'capture.cap';
    const values = {
      containerName: container,
      blobName: blob,
      permissions: sdk.BlobSASPermissions.parse('r'),
      startsOn,
      expiresOn,
      contentDisposition: `attachment; filename="${name}"`,
    };
    const known = this.#accounts.get(account);
    if (known?.connection.kind === 'connectionString') return client.generateSasUrl({ ...values });
    const key = await storageCall('sign a link', () => service.getUserDelegationKey(startsOn, expiresOn));
    const query = sdk.generateBlobSASQueryParameters({ ...values, protocol: sdk.SASProtocol.Https }, key, account);
    return `${client.url}?${query.toString()}`;
  }

  async #blob(account: string, container: string, blob: string) {
    return (await this.#client(account)).getContainerClient(container).getBlobClient(blob);
  }

  async #client(account: string): Promise<BlobServiceClient> {
    const known = this.#accounts.get(account);
    if (!known)
      throw new Problem('not-found', `Storage account ${account} is not among TRIPCAP_CAPTURE_ACCOUNTS any more`);
    return known.client();
  }
}
