import { QueueServiceClient } from '@azure/storage-queue';
import type { DequeuedMessageItem, QueueClient } from '@azure/storage-queue';
import type { AppFunction, TypedData } from './core.ts';
import { describe } from './log.ts';
import type { Log } from './log.ts';
import { connectionString, triggerOption } from './settings.ts';
import type { Settings } from './settings.ts';
import { outage, pause } from './trigger.ts';
import type { Host, Listener } from './trigger.ts';

const minPollingMs = 100;

/** A queue trigger. Differs from the real host: the queue is created if it is missing. */
export function startQueue(fn: AppFunction, host: Host): Listener {
  const queueName = triggerOption(fn, 'queueName', host.env).toLowerCase();
  const service = queueService(connectionString(triggerOption(fn, 'connection', host.env), host.env));
  const listening = listenQueue({
    ...host.settings.queues,
    service,
    queueName,
    // A poison queue has none of its own; what fails there comes back when its lease ends.
    poisonQueueName: queueName.endsWith('-poison') ? undefined : `${queueName}-poison`,
    source: fn.name,
    log: host.log,
    process: (text, message) =>
      host.invoke(fn, {
        input: { string: text },
        metadata: {
          QueueTrigger: { string: text },
          Id: { string: message.messageId },
          DequeueCount: { json: String(message.dequeueCount) },
          ExpirationTime: { json: JSON.stringify(message.expiresOn) },
          InsertionTime: { json: JSON.stringify(message.insertedOn) },
          NextVisibleTime: { json: JSON.stringify(message.nextVisibleOn) },
          PopReceipt: { string: message.popReceipt },
          ...messageProperties(text),
        },
      }),
  });
  return {
    run: async (input) => {
      const metadata = { QueueTrigger: { string: input }, ...messageProperties(input) };
      await host.invoke(fn, { input: { string: input }, metadata });
    },
    stop: listening.stop,
  };
}

/** A client that does not retry by itself: whoever polls comes again anyway. */
export function queueService(connection: string): QueueServiceClient {
  return QueueServiceClient.fromConnectionString(connection, { retryOptions: { maxTries: 1 } });
}

/** The top-level properties of a JSON message are part of its trigger metadata. */
function messageProperties(text: string): Record<string, TypedData> {
  try {
    const message: unknown = JSON.parse(text);
    if (typeof message !== 'object' || message === null || Array.isArray(message)) return {};
    return Object.fromEntries(
      Object.entries(message).map(([key, value]) => [
        key,
        { string: typeof value === 'string' ? value : JSON.stringify(value) },
      ]),
    );
  } catch {
    return {};
  }
}

type Listening = Settings['queues'] & {
  service: QueueServiceClient;
  queueName: string;
  poisonQueueName: string | undefined;
  /** Name for the log. */
  source: string;
  log: Log;
  /** Resolves: the message is deleted. Rejects: it comes back, and after `maxDequeueCount` tries goes to the poison queue. */
  process(text: string, message: DequeuedMessageItem): Promise<unknown>;
  /** How long a message is ours; renewed at half of it while it is worked on. The real host's is 10 minutes. */
  leaseSeconds?: number;
};

/** Works off a queue until stopped. Storage that fails is logged and tried again, for ever. */
export function listenQueue(options: Listening): { stop: () => Promise<void> } {
  const { service, queueName, poisonQueueName, source, log, leaseSeconds = 600 } = options;
  const queue = service.getQueueClient(queueName);
  const storage = outage(`queue ${queueName}`, source, log);
  const running = new Set<Promise<void>>();
  const stopping = new AbortController();

  async function poll(): Promise<void> {
    let exists = false;
    let waitMs = minPollingMs;
    while (!stopping.signal.aborted) {
      let received: DequeuedMessageItem[] = [];
      try {
        if (!exists) await queue.createIfNotExists();
        exists = true;
        // Not aborted by stop(): messages taken but never seen would stay invisible for a whole lease.
        const answer = await queue.receiveMessages({
          numberOfMessages: options.batchSize,
          visibilityTimeout: leaseSeconds,
        });
        received = answer.receivedMessageItems;
        storage.up();
      } catch (error) {
        exists = false; // it may have been deleted
        storage.down(error);
      }
      for (const message of received) {
        const work = handle(message).finally(() => running.delete(work));
        running.add(work);
      }
      if (received.length > 0) {
        waitMs = minPollingMs;
      } else {
        await pause(waitMs, stopping.signal);
        waitMs = Math.min(waitMs * 2, options.maxPollingMs);
      }
      while (running.size > options.newBatchThreshold) await Promise.race(running);
    }
    await Promise.all(running);
  }

  /** Never rejects. */
  async function handle(message: DequeuedMessageItem): Promise<void> {
    const lease = holdLease(queue, message, leaseSeconds);
    const text = decode(message.messageText, options.messageEncoding);
    let succeeded = false;
    // More tries than allowed: the process died during the last one.
    if (text !== undefined && message.dequeueCount <= options.maxDequeueCount) {
      try {
        await options.process(text, message);
        succeeded = true;
      } catch (error) {
        log('warning', source, `try ${message.dequeueCount} of message ${message.messageId} failed: ${String(error)}`);
      }
    }
    const popReceipt = await lease.end();
    const isPoison = text === undefined || message.dequeueCount >= options.maxDequeueCount;
    try {
      if (!succeeded && poisonQueueName === undefined) return;
      if (!succeeded && !isPoison) {
        await queue.updateMessage(message.messageId, popReceipt, undefined, options.visibilityTimeoutSeconds);
        return;
      }
      if (!succeeded) await moveToPoison(message);
      await queue.deleteMessage(message.messageId, popReceipt);
    } catch (error) {
      log('warning', source, `message ${message.messageId} will come again: ${describe(error)}`);
    }
  }

  async function moveToPoison(message: DequeuedMessageItem): Promise<void> {
    const poison = service.getQueueClient(poisonQueueName!);
    await poison.createIfNotExists();
    await poison.sendMessage(message.messageText);
    log('error', source, `message ${message.messageId} was moved to queue ${poisonQueueName}`);
  }

  const polling = poll();
  return {
    stop() {
      stopping.abort();
      return polling;
    },
  };
}

/** Keeps a message invisible to others until `end`, which tells the receipt that is valid then. */
function holdLease(queue: QueueClient, message: DequeuedMessageItem, leaseSeconds: number): { end(): Promise<string> } {
  let receipt = Promise.resolve(message.popReceipt);
  const renew = async (current: string): Promise<string> => {
    try {
      const answer = await queue.updateMessage(message.messageId, current, undefined, leaseSeconds);
      return answer.popReceipt ?? current;
    } catch {
      return current; // tried again at the next renewal; lost for good, the message is simply worked on twice
    }
  };
  const timer = setInterval(() => void (receipt = receipt.then(renew)), (leaseSeconds * 1000) / 2);
  return {
    end() {
      clearInterval(timer);
      return receipt;
    },
  };
}

/** Undefined if it is not what the encoding promises: such a message goes to the poison queue without a try. */
function decode(text: string, encoding: 'base64' | 'none'): string | undefined {
  if (encoding === 'none') return text;
  const bytes = Buffer.from(text, 'base64');
  return bytes.toString('base64') === text ? bytes.toString('utf8') : undefined;
}
