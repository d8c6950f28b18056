import { BlobServiceClient } from '@azure/storage-blob';
import type { ContainerClient } from '@azure/storage-blob';
import type { AppFunction, TypedData } from './core.ts';
import { listenQueue, queueService } from './queue.ts';
import { connectionString, triggerOption } from './settings.ts';
import { functionId, hostContainer, literalPattern, outage, pause } from './trigger.ts';
import type { Host, Run } from './trigger.ts';

/**
 * Blob triggers. There is no Event Grid here: whatever the `source`, containers are listed again and again, and an ETag
 * not seen before is an event. So, unlike Event Grid, every append and every change of metadata is one too, and an event
 * is neither lost (but see `dropEvents`) nor doubled.
 *
 * From there on as the real host: an event becomes a message on an internal queue, and its receipt is written when the
 * message is on the queue, not when the function has succeeded. Five tries, then the poison queue.
 */
export interface BlobTrigger {
  fn: AppFunction;
  /** Name of the app setting: what a function bound to an SDK type gets to see. */
  connection: string;
  container: ContainerClient;
  /** The part of every blob name before the first placeholder. */
  prefix: string;
  /** The placeholders' values, or undefined if this blob is not meant. */
  match: (blobName: string) => Record<string, string> | undefined;
}

/** The message on the internal queue and, in the end, on the poison queue. */
interface BlobEvent {
  FunctionId: string;
  BlobType: string;
  ContainerName: string;
  BlobName: string;
  ETag: string;
}

const scanIntervalMs = 500;
const poisonQueueName = 'webjobs-blobtrigger-poison';

/** Reads a trigger's options; throws if they cannot be used. */
export function blobTrigger(fn: AppFunction, host: Host): BlobTrigger {
  const path = triggerOption(fn, 'path', host.env);
  const connection = triggerOption(fn, 'connection', host.env);
  const [containerName = '', ...rest] = path.split('/');
  if (containerName === '' || containerName.includes('{')) throw new Error(`"${path}" does not begin with a container`);
  const template = rest.join('/') || '{name}';
  return {
    fn,
    connection,
    container: blobService(connectionString(connection, host.env)).getContainerClient(containerName),
    prefix: template.split('{', 1)[0] ?? '',
    match: blobPattern(template),
  };
}

function blobService(connection: string): BlobServiceClient {
  return BlobServiceClient.fromConnectionString(connection, { retryOptions: { maxTries: 1 } });
}

/** `{name}` takes in slashes, as it does in the real host; `{*name}` is the same here. */
function blobPattern(template: string): BlobTrigger['match'] {
  const names: string[] = [];
  const pattern = template
    .split(/(\{[^}]+\})/)
    .map((part) => {
      if (!part.startsWith('{')) return literalPattern(part);
      names.push(part.slice(1, -1).replace(/^\*/, ''));
      return '(.+)';
    })
    .join('');
  const regExp = new RegExp(`^${pattern}$`, 's');
  return (blobName) => {
    const match = regExp.exec(blobName);
    return match === null ? undefined : Object.fromEntries(names.map((name, index) => [name, match[index + 1] ?? '']));
  };
}

/** @param dropEvents loses every event for good, as a missing Event Grid subscription would */
export function startBlobs(
  triggers: BlobTrigger[],
  host: Host,
  dropEvents: boolean,
): { runs: Map<string, Run>; stop: () => Promise<void> } {
  const connection = connectionString('AzureWebJobsStorage', host.env);
  const { hostId, queues, blobParallelism } = host.settings;
  const receipts = blobService(connection).getContainerClient(hostContainer);
  const service = queueService(connection);
  const queueName = `azure-webjobs-blobtrigger-${hostId}`;
  const queue = service.getQueueClient(queueName);
  const byId = new Map(triggers.map((trigger) => [functionId(trigger.fn.name), trigger]));
  const stopping = new AbortController();

  async function watch(id: string, trigger: BlobTrigger): Promise<void> {
    const storage = outage(`container ${trigger.container.containerName}`, trigger.fn.name, host.log);
    const receiptPrefix = `blobreceipts/${hostId}/${id}/`;
    let seen: Set<string> | undefined;
    while (!stopping.signal.aborted) {
      const startedAt = performance.now();
      try {
        seen ??= await readReceipts(receiptPrefix);
        await scan(id, trigger, receiptPrefix, seen);
        storage.up();
      } catch (error) {
        // A container that is not there yet is nothing to talk about.
        if (errorCode(error) !== 'ContainerNotFound') storage.down(error);
      }
      // A container that takes long to list is listed less often.
      await pause(Math.max(scanIntervalMs, 4 * (performance.now() - startedAt)), stopping.signal);
    }
  }

  /** One host at a time is taken for granted: after the start, memory knows all receipts. */
  async function readReceipts(prefix: string): Promise<Set<string>> {
    await Promise.all([receipts.createIfNotExists(), queue.createIfNotExists()]);
    const names = new Set<string>();
    for await (const receipt of receipts.listBlobsFlat({ prefix })) names.add(receipt.name);
    return names;
  }

  async function scan(id: string, trigger: BlobTrigger, receiptPrefix: string, seen: Set<string>): Promise<void> {
    const { containerName } = trigger.container;
    for await (const blob of trigger.container.listBlobsFlat({ prefix: trigger.prefix })) {
      if (stopping.signal.aborted) return;
      const etag = unquoted(blob.properties.etag);
      const receipt = `${receiptPrefix}${etag}/${containerName}/${blob.name}`;
      if (seen.has(receipt) || trigger.match(blob.name) === undefined) continue;
      const event: BlobEvent = {
        FunctionId: id,
        BlobType: blob.properties.blobType ?? 'BlockBlob',
        ContainerName: containerName,
        BlobName: blob.name,
        ETag: etag,
      };
      if (!dropEvents) await queue.sendMessage(Buffer.from(JSON.stringify(event)).toString('base64'));
      await receipts.getBlockBlobClient(receipt).upload('', 0);
      seen.add(receipt);
    }
  }

  async function run(trigger: BlobTrigger, blobName: string, etag?: string): Promise<void> {
    const { fn, connection: connectionName, container } = trigger;
    const captures = trigger.match(blobName) ?? {};
    const blob = container.getBlobClient(blobName);
    let properties;
    try {
      properties = await blob.getProperties();
    } catch (error) {
      if ((error as { statusCode?: number }).statusCode !== 404) throw error;
      host.log('information', fn.name, `blob ${container.containerName}/${blobName} is gone`);
      return;
    }
    // Rewritten meanwhile: the new ETag is an event of its own.
    if (etag !== undefined && unquoted(properties.etag) !== etag) return;
    const input = isDeferred(fn)
      ? modelBindingData({
          Connection: connectionName,
          ContainerName: container.containerName,
          BlobName: blobName,
        })
      : { bytes: await blob.downloadToBuffer() };
    await host.invoke(fn, {
      input,
      metadata: {
        BlobTrigger: { string: `${container.containerName}/${blobName}` },
        Uri: { json: JSON.stringify(blob.url) },
        Properties: {
          // Only what is likely to be asked for.
          json: JSON.stringify({
            Length: properties.contentLength,
            ContentType: properties.contentType,
            ETag: properties.etag,
            LastModified: properties.lastModified,
          }),
        },
        Metadata: { json: JSON.stringify(properties.metadata ?? {}) },
        ...Object.fromEntries(Object.entries(captures).map(([name, value]) => [name, { string: value }])),
      },
    });
  }

  const batchSize = Math.min(32, Math.ceil(blobParallelism / 2));
  const listening = listenQueue({
    ...queues,
    service,
    queueName,
    poisonQueueName,
    batchSize,
    newBatchThreshold: blobParallelism - batchSize,
    maxPollingMs: scanIntervalMs,
    // host.json's are for queue triggers.
    visibilityTimeoutSeconds: 0,
    maxDequeueCount: 5,
    messageEncoding: 'base64',
    source: 'blobs',
    log: host.log,
    process: async (text) => {
      const event = JSON.parse(text) as BlobEvent;
      const trigger = byId.get(event.FunctionId); // gone or disabled by now: the event is dropped
      if (trigger !== undefined) await run(trigger, event.BlobName, event.ETag);
    },
  });
  const watching = [...byId].map(([id, trigger]) => watch(id, trigger));

  return {
    runs: new Map(
      triggers.map((trigger) => [
        trigger.fn.name,
        (input: string) => run(trigger, input.slice(input.indexOf('/') + 1)), // "container/name"
      ]),
    ),
    async stop() {
      stopping.abort();
      await Promise.all([listening.stop(), ...watching]);
    },
  };
}

/** `sdkBinding: true`: the function gets a client made by the app's own factory, and the content stays where it is. */
function isDeferred(fn: AppFunction): boolean {
  const properties = fn.trigger['properties'] as { supportsDeferredBinding?: string } | undefined;
  return properties?.supportsDeferredBinding === 'true';
}

function modelBindingData(content: { Connection: string; ContainerName: string; BlobName: string }): TypedData {
  return {
    modelBindingData: {
      version: '1.0',
      source: 'AzureStorageBlobs',
      contentType: 'application/json',
      content: Buffer.from(JSON.stringify(content)),
    },
  };
}

/** Listings give ETags without quotes, headers with them. */
function unquoted(etag: string | undefined): string {
  return (etag ?? '').replaceAll('"', '');
}

function errorCode(error: unknown): string | undefined {
  return (error as { code?: string }).code;
}
