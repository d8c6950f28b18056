import { setTimeout as delay } from 'node:timers/promises';
import { QueueServiceClient } from '@azure/storage-queue';
import { beforeAll, describe, expect, test } from 'vitest';
import { listenQueue, queueService } from '../../local/host/queue.ts';
import { startAzurite, startHost } from './processes.ts';
import { until } from '../until.ts';
import type { RunningHost } from './processes.ts';

describe('the queue trigger', () => {
  let storage: string;
  let service: QueueServiceClient;
  let host: RunningHost;
  const encode = (message: unknown) => Buffer.from(JSON.stringify(message)).toString('base64');
  const send = (message: unknown, visibilityTimeout = 0) =>
    service.getQueueClient('work').sendMessage(encode(message), { visibilityTimeout });
  const callsFor = (n: number, count: number) =>
    until(`${count} calls for message ${n}`, async () => {
      const calls = (await host.calls('work')).filter((call) => (call['message'] as { n: number }).n === n);
      return calls.length >= count && calls;
    });
  const poisoned = () =>
    until('the poison queue', async () => {
      const queue = service.getQueueClient('work-poison');
      if (!(await queue.exists())) return false;
      return (await queue.receiveMessages({ visibilityTimeout: 1 })).receivedMessageItems[0];
    });

  beforeAll(async () => {
    storage = await startAzurite();
    service = QueueServiceClient.fromConnectionString(storage);
    host = await startHost({
      AzureWebJobsStorage: storage,
      Store: storage,
      WORK_QUEUE: 'work',
      TICK_SCHEDULE: '0 0 0 1 1 *',
    });
    await until('the queue', () => service.getQueueClient('work').exists());
  });

  test('hands over the message and its metadata, then deletes it', async () => {
    const sent = await send({ n: 1, Nested: { Deep: true } });
    const [call] = await callsFor(1, 1);
    expect(call!['message']).toEqual({ n: 1, Nested: { Deep: true } });
    expect(call!.metadata).toMatchObject({
      id: sent.messageId,
      dequeueCount: 1,
      queueTrigger: { n: 1, nested: { deep: true } },
      n: 1,
      nested: { deep: true },
      popReceipt: expect.any(String),
    });
    expect(Date.parse(String(call!.metadata['insertionTime']))).toBeGreaterThan(Date.now() - 60_000);
    await until('an empty queue', async () => {
      const { approximateMessagesCount } = await service.getQueueClient('work').getProperties();
      return approximateMessagesCount === 0;
    });
  });

  test('tries a failed message again after the visibility timeout', async () => {
    await send({ n: 2, fail: 1 });
    const calls = await callsFor(2, 2);
    expect(calls.map((call) => call.metadata['dequeueCount'])).toEqual([1, 2]);
    expect(calls[1]!.at - calls[0]!.at).toBeGreaterThanOrEqual(900);
  });

  test('a delayed message comes when it is due', async () => {
    const sentAt = Date.now();
    await send({ n: 3 }, 2);
    const [call] = await callsFor(3, 1);
    expect(call!.at - sentAt).toBeGreaterThanOrEqual(1900);
    expect(call!.at - sentAt).toBeLessThan(6000);
  });

  test('messages are worked on side by side', async () => {
    await Promise.all([send({ n: 4, sleepMs: 2000 }), send({ n: 5, sleepMs: 2000 })]);
    const [first] = await callsFor(4, 1);
    const [second] = await callsFor(5, 1);
    expect(Math.abs(first!.at - second!.at)).toBeLessThan(1900);
  });

  test('after the last try a message goes to the poison queue as it was', async () => {
    await send({ n: 6, fail: 99 });
    const poison = await poisoned();
    expect(poison.messageText).toBe(encode({ n: 6, fail: 99 }));
    expect(await callsFor(6, 3)).toHaveLength(3);
    await service.getQueueClient('work-poison').clearMessages();
  });

  test('what is not base64 is poison without a try', async () => {
    await service.getQueueClient('work').sendMessage('not base64!');
    expect((await poisoned()).messageText).toBe('not base64!');
  });

  test('can be run by hand', async () => {
    const body = JSON.stringify({ input: '{"n":7}' });
    expect((await fetch(`${host.url}/admin/functions/work`, { method: 'POST', body })).status).toBe(202);
    await callsFor(7, 1);
  });

  test('a message is kept from others while it is worked on, and its work ends before stop() does', async () => {
    const tries: number[] = [];
    let done = false;
    const listening = listenQueue({
      service: queueService(storage),
      queueName: 'long',
      poisonQueueName: undefined,
      batchSize: 1,
      newBatchThreshold: 4,
      maxPollingMs: 200,
      visibilityTimeoutSeconds: 0,
      maxDequeueCount: 5,
      messageEncoding: 'none',
      source: 'test',
      log: () => undefined,
      leaseSeconds: 2,
      process: async (_, message) => {
        tries.push(message.dequeueCount);
        await delay(3500); // longer than a lease
        done = true;
      },
    });
    const queue = service.getQueueClient('long');
    await until('the queue', () => queue.exists());
    await queue.sendMessage('x');
    await until('the work', () => tries.length > 0);
    await until('the work to be longer than a lease', () => done);
    await listening.stop();
    expect(tries).toEqual([1]);
    expect((await queue.getProperties()).approximateMessagesCount).toBe(0);
  });

  test('storage that cannot be reached is logged once and does no harm', async () => {
    const nowhere = storage.replace(/QueueEndpoint=http:\/\/127.0.0.1:\d+/, 'QueueEndpoint=http://127.0.0.1:9');
    const other = await startHost({ Store: nowhere, WORK_QUEUE: 'work', TICK_SCHEDULE: '*/1 * * * * *' });
    await other.called('tick', 2); // long enough for several polls
    expect(other.output().match(/queue work cannot be reached/g)).toHaveLength(1);
    expect(await other.stop()).toBe(0);
  });
});
