import { createServer, request as send, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Documents } from '../../shared/storage/document.ts';

/**
 * What a process does to the outside, counted: each call on the cloud and on storage is a step. It dies before its step `n + 1`, or,
 * where that is a call, after the call has gone out and before the answer comes; from then on it does nothing any more.
 */
export class Mortal implements AsyncDisposable {
  readonly #server: Server;
  readonly #death = new AbortController();
  readonly documents: Documents;
  steps = 0;

  private constructor(server: Server, documents: Documents) {
    this.#server = server;
    this.documents = documents;
  }

  static async start(
    cloud: string,
    documents: Documents,
    { dieAfter, unheard }: { dieAfter: number; unheard: boolean },
  ): Promise<Mortal> {
    const step = (): boolean => ++mortal.steps <= dieAfter;
    const storage = async <T>(work: () => Promise<T>): Promise<T> => {
      if (step()) return work();
      mortal.#death.abort();
      throw new Error('this process has died');
    };
    const server = createServer((incoming, response) => {
      const isAlive = step();
      if (!isAlive) mortal.#death.abort();
      // Only the very call that it dies of may still go out.
      if (!isAlive && !(unheard && mortal.steps === dieAfter + 1)) {
        response.destroy();
        return;
      }
      const { method, url, headers } = incoming;
      const outgoing = send(`${cloud}${url}`, { method, headers }, (answer) => {
        if (!isAlive) return void answer.resume();
        response.writeHead(answer.statusCode ?? 0, answer.headers);
        answer.pipe(response);
      });
      outgoing.on('error', () => response.destroy());
      incoming.pipe(outgoing);
      if (!isAlive) response.destroy();
    });
    const mortal = new Mortal(server, {
      read: (name) => storage(() => documents.read(name)),
      write: (name, text, etag) => storage(() => documents.write(name, text, etag)),
    });
    await new Promise<void>((ready) => server.listen(0, '127.0.0.1', ready));
    return mortal;
  }

  /** `host:port` under which this process reaches the cloud. */
  get endpoint(): string {
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  get isDead(): boolean {
    return this.#death.signal.aborted;
  }

  /** Ends with the process. */
  get signal(): AbortSignal {
    return this.#death.signal;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((closed) => this.#server.close(closed));
  }
}
