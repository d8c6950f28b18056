import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { json } from 'node:stream/consumers';
import { BlobServiceClient, type ContainerClient } from '@azure/storage-blob';
import { afterAll } from 'vitest';
import type { Status } from '../../collector/protocol.ts';
import { startAzurite } from '../azurite.ts';
import type { Entry } from './entries.ts';

const cleanUps: (() => Promise<void> | void)[] = [];
afterAll(async () => {
  for (const cleanUp of cleanUps) await cleanUp();
});

export async function storage() {
  const azurite = await startAzurite();
  cleanUps.push(() => azurite.stop());
  const service = BlobServiceClient.fromConnectionString(azurite.connectionString);
  return { ...azurite, service };
}

/** The app's side of the control container. */
export class Control {
  readonly service: BlobServiceClient;

  constructor(service: BlobServiceClient) {
    this.service = service;
  }

  async write(content: unknown): Promise<void> {
    const container = this.service.getContainerClient('mirror-control');
    await container.createIfNotExists();
    const text = typeof content === 'string' ? content : JSON.stringify(content);
    await container.getBlockBlobClient('sessions.json').upload(text, Buffer.byteLength(text));
  }

  async announce(sessions: Entry[], more: Record<string, unknown> = {}): Promise<void> {
    await this.write({
      version: 1,
      writtenAt: new Date().toISOString(),
      pollSeconds: 0.2,
      notKnownYet: { nested: true },
      sessions,
      ...more,
    });
  }

  async status(id: string): Promise<Status | undefined> {
    const blob = this.service.getContainerClient('mirror-control').getBlobClient(`status-${id}.json`);
    try {
      // In one request: it is replaced all the time.
      const { readableStreamBody } = await blob.download();
      return (await json(readableStreamBody!)) as Status;
    } catch (error) {
      if ((error as { statusCode?: number }).statusCode === 404) return undefined;
      throw error;
    }
  }

  get captures(): ContainerClient {
    return this.service.getContainerClient('mirror-captures');
  }

  /** Files of a run, in the order of names, downloaded. */
  async files(run: string, to: string): Promise<{ name: string; path: string; metadata: Record<string, string> }[]> {
    const found = [];
    for await (const blob of this.captures.listBlobsFlat({ prefix: `${run}/`, includeMetadata: true })) {
      const path = join(to, blob.name.replaceAll('/', '_'));
      writeFileSync(path, await this.captures.getBlobClient(blob.name).downloadToBuffer());
      found.push({ name: blob.name, path, metadata: blob.metadata ?? {} });
    }
    return found;
  }
}

/** A way to storage that can be cut. */
export class Wire {
  readonly #to: number;
  #server: Server | undefined;
  readonly #sockets = new Set<Socket>();
  port = 0;

  constructor(to: number) {
    this.#to = to;
    cleanUps.push(() => this.cut());
  }

  async mend(): Promise<void> {
    this.#server = createServer((near) => {
      const far = connect(this.#to, '127.0.0.1');
      for (const socket of [near, far]) {
        this.#sockets.add(socket);
        socket.on('error', () => undefined);
        socket.on('close', () => this.#sockets.delete(socket));
      }
      near.pipe(far).pipe(near);
    });
    this.#server.listen(this.port, '127.0.0.1');
    await once(this.#server, 'listening');
    this.port = (this.#server.address() as AddressInfo).port;
  }

  cut(): void {
    this.#server?.close();
    for (const socket of this.#sockets) socket.destroy();
  }
}
