import {
  AnonymousCredential,
  BlobServiceClient,
  ContainerClient,
  type StoragePipelineOptions,
} from '@azure/storage-blob';
import { CAPTURES_CONTAINER, CONTROL_CONTAINER, LIST_BLOB, statusBlob, type FileMetadata } from './protocol.ts';
import { isSafe } from './addresses.ts';

const CALL_MS = 10_000;
const LIST_MAX_BYTES = 4 * 1024 * 1024;
/** Slower than this, an upload is given up and begun anew. */
const SLOWEST_BYTES_PER_MS = 50;
// Whoever calls tries again by itself.
const options: StoragePipelineOptions = { retryOptions: { maxTries: 1 } };

/** `changed`: since it was read last. */
export type ListAnswer = { kind: 'changed'; text: string } | { kind: 'unchanged' } | { kind: 'absent' };

/** Storage as a collector sees it. Every call ends within a known time. */
export class Storage {
  readonly #service: BlobServiceClient;
  readonly #mayCreate: boolean;
  #etag: string | undefined;

  /** @param connection connection string, or URL of the blob service, which may carry a SAS. @throws Error when it is neither */
  constructor(connection: string) {
    this.#mayCreate = !/^https?:/.test(connection);
    if (this.#mayCreate) {
      this.#service = BlobServiceClient.fromConnectionString(connection, options);
    } else {
      if (!URL.canParse(connection) || !isSafe(new URL(connection)))
        throw new Error('the URL of storage must be https');
      this.#service = new BlobServiceClient(connection, new AnonymousCredential(), options);
    }
  }

  async readList(): Promise<ListAnswer> {
    const abortSignal = AbortSignal.timeout(CALL_MS);
    const blob = this.#service.getContainerClient(CONTROL_CONTAINER).getBlobClient(LIST_BLOB);
    try {
      const answer = await blob.download(0, undefined, {
        abortSignal,
        conditions: this.#etag === undefined ? {} : { ifNoneMatch: this.#etag },
      });
      if (!answer.readableStreamBody) throw new Error('an answer without a body');
      const chunks: Buffer[] = [];
      let bytes = 0;
      for await (const chunk of answer.readableStreamBody) {
        bytes += chunk.length;
        if (bytes > LIST_MAX_BYTES) throw new Error(`${LIST_BLOB} is larger than ${LIST_MAX_BYTES} bytes`);
        chunks.push(Buffer.from(chunk as Buffer));
      }
      this.#etag = answer.etag;
      return { kind: 'changed', text: Buffer.concat(chunks).toString('utf8') };
    } catch (error) {
      if (statusOf(error) === 304) return { kind: 'unchanged' };
      if (statusOf(error) === 404) {
        this.#etag = undefined;
        return { kind: 'absent' };
      }
      throw error;
    }
  }

  async writeStatus(collector: string, text: string): Promise<void> {
    const container = this.#service.getContainerClient(CONTROL_CONTAINER);
    const abortSignal = AbortSignal.timeout(CALL_MS);
    await this.#inContainer(container, abortSignal, () =>
      container.getBlockBlobClient(statusBlob(collector)).upload(text, Buffer.byteLength(text), {
        abortSignal,
        blobHTTPHeaders: { blobContentType: 'application/json' },
      }),
    );
  }

  /**
   * Uploads a file under a name that nothing has yet.
   *
   * @param sas URL of the container with a signature; undefined: by the connection
   * @returns `conflict` when something else has the name
   */
  async upload(
    sas: string | undefined,
    name: string,
    path: string,
    bytes: number,
    metadata: FileMetadata,
  ): Promise<'done' | 'conflict'> {
    const container = sas
      ? new ContainerClient(sas, new AnonymousCredential(), options)
      : this.#service.getContainerClient(CAPTURES_CONTAINER);
    const blob = container.getBlockBlobClient(name);
    const abortSignal = AbortSignal.timeout(Math.ceil(60_000 + bytes / SLOWEST_BYTES_PER_MS));
    try {
      await this.#inContainer(container, abortSignal, () =>
        blob.uploadFile(path, {
          abortSignal,
          conditions: { ifNoneMatch: '*' },
          metadata,
          blobHTTPHeaders: { blobContentType: 'application/vnd.tcpdump.pcap' },
        }),
      );
      return 'done';
    } catch (error) {
      if (codeOf(error) !== 'BlobAlreadyExists') throw error;
      // An earlier attempt whose answer was lost.
      const { contentLength } = await blob.getProperties({ abortSignal });
      return contentLength === bytes ? 'done' : 'conflict';
    }
  }

  async #inContainer<T>(container: ContainerClient, abortSignal: AbortSignal, act: () => Promise<T>): Promise<T> {
    try {
      return await act();
    } catch (error) {
      if (!this.#mayCreate || codeOf(error) !== 'ContainerNotFound') throw error;
      await container.createIfNotExists({ abortSignal });
      return act();
    }
  }
}

/** What storage said, or what kept us from it: codes only, since messages may quote a link with its signature. */
export function storageFault(error: unknown): string {
  const { name, code, message } = error as { name?: string; code?: string; message?: string };
  const status = statusOf(error);
  if (status !== undefined) return `${status} ${codeOf(error) ?? ''}`.trim();
  if (name === 'AbortError' || name === 'TimeoutError') return 'no answer in time';
  return code ?? (name === 'RestError' ? 'out of reach' : (message ?? 'unknown'));
}

function statusOf(error: unknown): number | undefined {
  const status = (error as { statusCode?: unknown } | undefined)?.statusCode;
  return typeof status === 'number' ? status : undefined;
}

function codeOf(error: unknown): string | undefined {
  const { code, details } = error as { code?: unknown; details?: { errorCode?: unknown } };
  const found = details?.errorCode ?? code;
  return typeof found === 'string' ? found : undefined;
}
