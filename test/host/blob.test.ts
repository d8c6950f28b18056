import { BlobServiceClient } from '@azure/storage-blob';
import type { ContainerClient } from '@azure/storage-blob';
import { QueueServiceClient } from '@azure/storage-queue';
import { beforeAll, describe, expect, test } from 'vitest';
import { startAzurite, startHost } from './processes.ts';
import { until } from '../until.ts';
import type { RunningHost } from './processes.ts';

/** The tests build on each other: the last ones restart the host on what the first ones left. */
describe('the blob trigger', () => {
  let env: Record<string, string>;
  let captures: ContainerClient;
  let uploads: ContainerClient;
  let queues: QueueServiceClient;
  let host: RunningHost;
  const upload = (container: ContainerClient, name: string, text: string) =>
    container.getBlockBlobClient(name).upload(text, Buffer.byteLength(text), { metadata: { origin: 'test' } });
  const names = async () => (await host.calls('named')).map((call) => (call['blob'] as { BlobName: string }).BlobName);

  beforeAll(async () => {
    const storage = await startAzurite();
    const blobs = BlobServiceClient.fromConnectionString(storage);
    captures = blobs.getContainerClient('captures');
    uploads = blobs.getContainerClient('uploads');
    queues = QueueServiceClient.fromConnectionString(storage);
    env = { AzureWebJobsStorage: storage, Store: storage, WORK_QUEUE: 'work', TICK_SCHEDULE: '0 0 0 1 1 *' };
    host = await startHost(env); // before the containers exist
    await Promise.all([captures.create(), uploads.create()]);
  });

  test('with an SDK binding: names instead of content', async () => {
    await upload(captures, 'a/one.cap', 'first');
    const [call] = await host.called('named', 1);
    expect(call!['blob']).toEqual({ Connection: 'Store', ContainerName: 'captures', BlobName: 'a/one.cap' });
    expect(call!.metadata).toMatchObject({
      blobTrigger: 'captures/a/one.cap',
      uri: captures.getBlobClient('a/one.cap').url,
      properties: { length: 5, contentType: 'application/octet-stream' },
      metadata: { origin: 'test' },
      name: 'a/one.cap',
    });
  });

  test('without: the content, for the blobs that are meant', async () => {
    await upload(uploads, 'elsewhere.txt', 'no folder');
    await upload(uploads, 'in/two.txt', 'content');
    const calls = await host.called('content', 1);
    expect(calls).toHaveLength(1);
    expect(calls[0]).toMatchObject({ content: 'content', metadata: { folder: 'in', name: 'two' } });
  });

  test('a rewritten blob fires again', async () => {
    await upload(captures, 'a/one.cap', 'second');
    const calls = await host.called('named', 2);
    expect(calls.map((call) => (call.metadata['properties'] as { length: number }).length)).toEqual([5, 6]);
  });

  test('after five failures the event is on the poison queue', async () => {
    const { etag } = await upload(captures, 'a/bad', 'x');
    const poison = await until('the poison queue', async () => {
      const queue = queues.getQueueClient('webjobs-blobtrigger-poison');
      return (await queue.exists()) && (await queue.receiveMessages()).receivedMessageItems[0];
    });
    expect(JSON.parse(Buffer.from(poison.messageText, 'base64').toString())).toEqual({
      FunctionId: 'Host.Functions.named',
      BlobType: 'BlockBlob',
      ContainerName: 'captures',
      BlobName: 'a/bad',
      ETag: etag!.replaceAll('"', ''),
    });
    expect((await names()).filter((name) => name === 'a/bad')).toHaveLength(5);
  });

  test('can be run by hand', async () => {
    const before = (await host.calls('content')).length;
    const body = JSON.stringify({ input: 'uploads/in/two.txt' });
    expect((await fetch(`${host.url}/admin/functions/content`, { method: 'POST', body })).status).toBe(202);
    const calls = await host.called('content', before + 1);
    expect(calls.at(-1)!['content']).toBe('content');
  });

  test('a restart fires nothing again, and finds what came meanwhile', async () => {
    expect(await host.stop()).toBe(0);
    await upload(captures, 'z/while-down.cap', 'x');
    host = await startHost(env);
    await host.called('named', 1); // z comes last in the listing: what is old would have come before
    await upload(captures, 'z/later.cap', 'x');
    await host.called('named', 2);
    expect(await names()).toEqual(['z/while-down.cap', 'z/later.cap']);
  });

  test('dropped events stay lost', async () => {
    expect(await host.stop()).toBe(0);
    host = await startHost(env, { flags: ['--drop-blob-events'] });
    await upload(captures, 'a/dropped.cap', 'x');
    const receipts = BlobServiceClient.fromConnectionString(env['Store']!).getContainerClient('azure-webjobs-hosts');
    await until('the receipt', async () => {
      const prefix = 'blobreceipts/test-fixture-app/Host.Functions.named/';
      for await (const receipt of receipts.listBlobsFlat({ prefix })) {
        if (receipt.name.endsWith('captures/a/dropped.cap')) return true;
      }
      return false;
    });
    expect(await host.stop()).toBe(0);
    host = await startHost(env);
    await upload(captures, 'z/last.cap', 'x');
    await host.called('named', 1);
    expect(await names()).toEqual(['z/last.cap']);
  });
});
