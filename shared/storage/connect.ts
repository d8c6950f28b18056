import type { BlobServiceClient } from '@azure/storage-blob';
import type { QueueServiceClient } from '@azure/storage-queue';
import type { TableClient } from '@azure/data-tables';
import type { StorageConnection } from '../config.ts';
import type { TokenSource } from '../identity.ts';
import { Problem } from '../problem.ts';

/** Makes the credential of the app's managed identity (or of the user-assigned one named). */
export type IdentityFor = (clientId: string | undefined) => TokenSource;

// Short: a webhook has to answer within seconds, and every caller of storage (sender, queue, timer) tries again by itself.
const tableRetry = { maxRetries: 1, retryDelayInMs: 200, maxRetryDelayInMs: 500 };
const tryTimeoutMs = 3000;
const stateRetry = { maxTries: 2, retryDelayInMs: 200, maxRetryDelayInMs: 500, tryTimeoutInMs: tryTimeoutMs };
// Captures are large and nobody waits for their being read.
const captureRetry = { maxTries: 4, retryDelayInMs: 500, maxRetryDelayInMs: 5000, tryTimeoutInMs: 10 * 60_000 };

/** URL of an account's blob service. */
export function blobServiceUrl(connection: StorageConnection, account: string): string {
  if (connection.kind === 'identity') return connection.blobUrl;
  const told = /(?:^|;)BlobEndpoint=([^;]+)/i.exec(connection.value)?.[1]?.replace(/\/+$/, '');
  return told ?? `https://${account}.blob.core.windows.net`;
}

export async function connectTable(
  connection: StorageConnection,
  name: string,
  identityFor: IdentityFor,
): Promise<TableClient> {
  const { TableClient } = await import('./sdk.lazy.ts');
  const client =
    connection.kind === 'connectionString'
      ? TableClient.fromConnectionString(connection.value, name, {
          allowInsecureConnection: true,
          retryOptions: tableRetry,
        })
      : new TableClient(connection.tableUrl, name, identityFor(connection.clientId), { retryOptions: tableRetry });
  client.pipeline.addPolicy({
    name: 'tryTimeout',
    sendRequest: (request, next) => {
      request.timeout = tryTimeoutMs;
      return next(request);
    },
  });
  await storageCall(`create table ${name}`, () => client.createTable());
  return client;
}

export async function connectQueues(
  connection: StorageConnection,
  identityFor: IdentityFor,
): Promise<QueueServiceClient> {
  const { QueueServiceClient } = await import('./sdk.lazy.ts');
  return connection.kind === 'connectionString'
    ? QueueServiceClient.fromConnectionString(connection.value, { retryOptions: stateRetry })
    : new QueueServiceClient(connection.queueUrl, identityFor(connection.clientId), { retryOptions: stateRetry });
}

export async function connectBlobs(
  connection: StorageConnection,
  identityFor: IdentityFor,
  use: 'state' | 'captures',
): Promise<BlobServiceClient> {
  const pipelineRetry = use === 'state' ? stateRetry : captureRetry;
  const { BlobServiceClient } = await import('./sdk.lazy.ts');
  return connection.kind === 'connectionString'
    ? BlobServiceClient.fromConnectionString(connection.value, { retryOptions: pipelineRetry })
    : new BlobServiceClient(connection.blobUrl, identityFor(connection.clientId), { retryOptions: pipelineRetry });
}

/** Runs a call on storage; whatever keeps us from storage becomes the one problem that callers answer with 503. */
export async function storageCall<T>(what: string, call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    const why = outage(error);
    if (why === undefined) throw error;
    throw new Problem('storage-unavailable', `Storage is ${why}; tried to ${what}`, {
      retryAfterSeconds: 15,
      cause: error,
    });
  }
}

/** What keeps us from storage, in words; undefined for an answer of storage, or an error of ours. */
function outage(error: unknown): string | undefined {
  const status = statusOf(error);
  if (status === 401 || status === 403)
    return "refused: the app's identity needs the data roles of the storage account";
  if (status === 429 || (status !== undefined && status >= 500)) return `failing (${status})`;
  if (status !== undefined) return undefined;
  const { name, message } = error as Error;
  if (name === 'IdentityError') return `refused: ${message}`;
  return name === 'RestError' || name === 'AbortError' || name === 'TimeoutError' ? 'out of reach' : undefined;
}

/** HTTP status of a storage error; undefined when no answer came. */
export function statusOf(error: unknown): number | undefined {
  const status = (error as { statusCode?: unknown } | undefined)?.statusCode;
  return typeof status === 'number' ? status : undefined;
}

/** Storage's own code of a blob error, such as BlobNotFound; answers to HEAD have it in a header only. */
export function errorCodeOf(error: unknown): string | undefined {
  const code = (error as { details?: { errorCode?: unknown } } | undefined)?.details?.errorCode;
  return typeof code === 'string' ? code : undefined;
}
