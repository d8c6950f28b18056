import { createHash, createHmac } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/**
 * Alibaba Cloud as a collector meets it: the VPC API, which checks signatures by its own code, and the metadata service of the
 * machine, in its hardened mode.
 */
export class FakeCloud {
  readonly keys = { id: 'STS.fake', secret: 'a secret of the role', token: 'a token+of/the=role' };
  /** Sessions, and whether they mirror. */
  readonly sessions = new Map<string, boolean>();
  /** Answers to give instead, first come first served. */
  readonly refusals: { status: number; body: string }[] = [];
  /** How often an accepted change is not to be seen yet. */
  slowness = 0;
  readonly calls: {
    action: string;
    query: Record<string, string>;
    nonce: string;
    signed: boolean;
    accepted: boolean;
  }[] = [];
  metadataCalls: string[] = [];
  readonly #vpc: Server = createServer((request, response) => this.#answer(request, response));
  readonly #metadata: Server = createServer((request, response) => this.#answerMetadata(request, response));

  async start(): Promise<void> {
    for (const server of [this.#vpc, this.#metadata]) {
      await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
    }
  }

  stop(): void {
    for (const server of [this.#vpc, this.#metadata]) {
      server.close();
      server.closeAllConnections();
    }
  }

  get vpcHost(): string {
    return `127.0.0.1:${(this.#vpc.address() as AddressInfo).port}`;
  }

  get metadataUrl(): string {
    return `http://127.0.0.1:${(this.#metadata.address() as AddressInfo).port}`;
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const url = new URL(request.url ?? '', 'http://vpc');
    const query = Object.fromEntries(url.searchParams);
    const action = String(request.headers['x-acs-action']);
    const signed = this.#isSigned(request, url);
    const refusal = signed
      ? this.refusals.shift()
      : { status: 400, body: JSON.stringify({ Code: 'SignatureDoesNotMatch', RequestId: 'R' }) };
    const nonce = String(request.headers['x-acs-signature-nonce']);
    this.calls.push({ action, query, nonce, signed, accepted: !refusal });
    if (refusal) {
      response.writeHead(refusal.status).end(refusal.body);
      return;
    }
    const answer = this.#carryOut(action, query);
    response.writeHead('Code' in answer ? 400 : 200, { 'content-type': 'application/json' });
    response.end(JSON.stringify({ RequestId: 'R', ...answer }));
  }

  #carryOut(action: string, query: Record<string, string>): Record<string, unknown> {
    if (action === 'UpdateTrafficMirrorSessionAttribute') {
      const id = query['TrafficMirrorSessionId'] ?? '';
      if (!this.sessions.has(id)) return { Code: 'ResourceNotFound.TrafficMirrorSession' };
      this.sessions.set(id, query['Enabled'] !== 'false');
      return {};
    }
    const id = query['TrafficMirrorSessionIds.1'] ?? '';
    const isSlow = this.slowness > 0;
    if (isSlow) this.slowness -= 1;
    const found = this.sessions.has(id)
      ? [
          {
            TrafficMirrorSessionId: id,
            Enabled: isSlow || this.sessions.get(id),
            TrafficMirrorSessionStatus: isSlow ? 'Modifying' : 'Created',
          },
        ]
      : [];
    return { TrafficMirrorSessions: found, TotalCount: String(found.length) };
  }

  /** The canonical request is put together from what arrived, not from what the collector thinks it sent. */
  #isSigned(request: IncomingMessage, url: URL): boolean {
    const hash = (text: string) => createHash('sha256').update(text).digest('hex');
    const strict = (text: string) =>
      Array.from(new TextEncoder().encode(text), (byte) =>
        /[A-Za-z0-9_.~-]/.test(String.fromCharCode(byte))
          ? String.fromCharCode(byte)
          : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`,
      ).join('');
    const [, credential, names = '', signature] =
      /^ACS3-HMAC-SHA256 Credential=([^,]+),SignedHeaders=([^,]+),Signature=([0-9a-f]{64})$/.exec(
        request.headers.authorization ?? '',
      ) ?? [];
    const query = [...url.searchParams]
      .map(([name, value]) => [strict(name), strict(value)] as const)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map((pair) => pair.join('='))
      .join('&');
    const headers = names.split(';').map((name) => `${name}:${String(request.headers[name] ?? '').trim()}\n`);
    const canonical = [request.method, url.pathname, query, headers.join(''), names, hash('')].join('\n');
    const expected = createHmac('sha256', this.keys.secret)
      .update(`ACS3-HMAC-SHA256\n${hash(canonical)}`)
      .digest('hex');
    const mustSign = [
      'host',
      'x-acs-action',
      'x-acs-content-sha256',
      'x-acs-date',
      'x-acs-security-token',
      'x-acs-version',
    ];
    return (
      signature === expected &&
      credential === this.keys.id &&
      mustSign.every((name) => names.split(';').includes(name)) &&
      request.headers['x-acs-security-token'] === this.keys.token &&
      request.headers['x-acs-content-sha256'] === hash('') &&
      Math.abs(Date.now() - Date.parse(String(request.headers['x-acs-date']))) < 60_000
    );
  }

  #answerMetadata(request: IncomingMessage, response: ServerResponse): void {
    this.metadataCalls.push(`${request.method} ${request.url}`);
    const token = 'metadata-token';
    if (request.method === 'PUT' && request.url === '/latest/api/token') {
      response.end(request.headers['x-aliyun-ecs-metadata-token-ttl-seconds'] ? token : '');
      return;
    }
    const roles = '/latest/meta-data/ram/security-credentials/';
    if (request.headers['x-aliyun-ecs-metadata-token'] !== token) {
      response.writeHead(403).end();
    } else if (request.url === roles) {
      response.end('collector-role');
    } else if (request.url === `${roles}collector-role`) {
      const { id, secret, token: securityToken } = this.keys;
      response.end(
        JSON.stringify({
          Code: 'Success',
          AccessKeyId: id,
          AccessKeySecret: secret,
          SecurityToken: securityToken,
          Expiration: new Date(Date.now() + 6 * 3_600_000).toISOString(),
        }),
      );
    } else {
      response.writeHead(404).end();
    }
  }
}
