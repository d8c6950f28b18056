import { createServer, request, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** What a blob service answers in place of its own answer, by its error code. */
export type Refusal = { status: number; code: string };

/**
 * Stands before Azurite's blob service and adds what Azurite does not have: a clock that can be set, legal holds, and refusals.
 * Requests are signed without regard to the host, so that they pass through as they are.
 */
export class StorageProxy {
  /** The time in the Date header of every answer; the real one unless set. */
  now: (() => Date) | undefined;
  /** When blobs were written, by name; others as Azurite says. */
  readonly written = new Map<string, Date>();
  /** Blobs under legal hold, by name. */
  readonly held = new Set<string>();
  /** The whole container is. */
  containerHeld = false;
  /** In place of carrying a request out; `hang` never answers. */
  refuses: ((method: string, path: string) => Refusal | 'hang' | undefined) | undefined;
  readonly requests: { method: string; path: string }[] = [];
  readonly #server = createServer((req, res) => this.#handle(req, res));
  readonly #upstreamPort: number;

  private constructor(upstreamPort: number) {
    this.#upstreamPort = upstreamPort;
  }

  static async start(upstreamPort: number): Promise<StorageProxy> {
    const proxy = new StorageProxy(upstreamPort);
    await new Promise<void>((listening) => proxy.#server.listen(0, '127.0.0.1', listening));
    return proxy;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((closed) => this.#server.close(closed));
  }

  count(method: string, part: string): number {
    return this.requests.filter((r) => r.method === method && r.path.includes(part)).length;
  }

  #handle(req: IncomingMessage, res: ServerResponse): void {
    const method = req.method ?? '';
    const path = decodeURIComponent(req.url?.split('?')[0] ?? '');
    this.requests.push({ method, path });
    const isHeld = this.containerHeld || [...this.held].some((name) => path.endsWith(name));
    const refusal =
      this.refuses?.(method, path) ??
      (method === 'DELETE' && isHeld ? { status: 409, code: 'BlobImmutableDueToLegalHold' } : undefined);
    if (refusal === 'hang') return;
    if (refusal) {
      res.writeHead(refusal.status, { 'x-ms-error-code': refusal.code, 'content-type': 'application/xml' });
      res.end(method === 'HEAD' ? undefined : `<?xml version="1.0"?><Error><Code>${refusal.code}</Code></Error>`);
      return;
    }
    const upstream = request(
      { host: '127.0.0.1', port: this.#upstreamPort, method, path: req.url, headers: req.headers },
      (answer) => {
        const chunks: Buffer[] = [];
        answer.on('data', (chunk: Buffer) => chunks.push(chunk));
        answer.on('end', () => {
          const headers = { ...answer.headers };
          if (this.now) headers['date'] = this.now().toUTCString();
          if (this.containerHeld && req.url?.includes('restype=container')) headers['x-ms-has-legal-hold'] = 'true';
          const body = req.url?.includes('comp=list') ? this.#marked(Buffer.concat(chunks)) : Buffer.concat(chunks);
          delete headers['transfer-encoding'];
          if (method !== 'HEAD') headers['content-length'] = String(body.length);
          res.writeHead(answer.statusCode ?? 500, headers);
          res.end(body);
        });
      },
    );
    upstream.on('error', () => res.destroy());
    req.pipe(upstream);
  }

  /** A listing in which blobs say when they were written, and whether they are under hold. */
  #marked(listing: Buffer): Buffer {
    const text = listing.toString().replaceAll(/<Blob><Name>([^<]*)<\/Name>.*?<\/Blob>/gs, (blob, name: string) => {
      const written = this.written.get(name);
      const dated = written ? blob.replace(/<Last-Modified>[^<]*/, `<Last-Modified>${written.toUTCString()}`) : blob;
      return this.held.has(name) ? dated.replace('<Properties>', '<Properties><LegalHold>true</LegalHold>') : dated;
    });
    return Buffer.from(text);
  }
}
