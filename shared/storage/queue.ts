import type { QueueClient, QueueServiceClient } from '@azure/storage-queue';
import { once } from '../once.ts';
import { storageCall } from './connect.ts';

/** Sends work that is delivered at least once, not before `delayMs` (at most 7 days). */
export interface WorkQueue {
  send(message: Record<string, string>, delayMs: number): Promise<void>;
}

/** Azure Queue Storage. Messages are base64, which is what the Functions queue trigger expects. */
export class AzureQueue implements WorkQueue {
  readonly #client: () => Promise<QueueClient>;

  constructor(connect: () => Promise<QueueServiceClient>, name: string) {
    this.#client = once(async () => {
      const client = (await connect()).getQueueClient(name);
      await storageCall(`create queue ${name}`, () => client.createIfNotExists());
      return client;
    });
  }

  /** Makes sure that the queue is there; send() does so by itself. */
  async connect(): Promise<void> {
    await this.#client();
  }

  async send(message: Record<string, string>, delayMs: number): Promise<void> {
    const client = await this.#client();
    const text = Buffer.from(JSON.stringify(message)).toString('base64');
    const visibilityTimeout = Math.min(Math.ceil(delayMs / 1000), 7 * 86_400 - 1);
    // The time to live must lie after the moment the message shows; -1 = never expires.
    await storageCall('queue a message', () => client.sendMessage(text, { visibilityTimeout, messageTimeToLive: -1 }));
  }
}
