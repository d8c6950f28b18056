import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { ManagedIdentity } from '../../shared/identity.ts';

/** The managed identity endpoint of an app, which gives JSON web tokens for any audience. */
export class FakeIdentity implements AsyncDisposable {
  readonly #server: Server;
  /** Resources that tokens were asked for. */
  readonly asked: string[] = [];
  readonly tokens: string[] = [];
  /** HTTP status of the next answers. */
  status = 200;
  /** In place of the resource that is asked for. */
  audience: string | undefined;
  readonly secret = 'identity-header-secret';

  private constructor(server: Server) {
    this.#server = server;
  }

  static async start(): Promise<FakeIdentity> {
    const server = createServer((request, response) => {
      const url = new URL(request.url ?? '/', 'http://127.0.0.1');
      const resource = url.searchParams.get('resource') ?? '';
      fake.asked.push(resource);
      const isAllowed = request.headers['x-identity-header'] === fake.secret;
      const token = tokenFor(fake.audience ?? resource);
      fake.tokens.push(token);
      response
        .writeHead(isAllowed ? fake.status : 401)
        .end(JSON.stringify({ access_token: token, expires_on: String(Math.floor(Date.now() / 1000) + 86_400) }));
    });
    const fake = new FakeIdentity(server);
    await new Promise<void>((ready) => server.listen(0, '127.0.0.1', ready));
    return fake;
  }

  /** As the app has it. */
  identity(now: () => number = Date.now): ManagedIdentity {
    const endpoint = `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/msi/token`;
    return new ManagedIdentity({ IDENTITY_ENDPOINT: endpoint, IDENTITY_HEADER: this.secret }, undefined, now);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((closed) => this.#server.close(closed));
  }
}

function tokenFor(audience: string): string {
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const claims = { aud: audience, iss: 'https://sts.windows.net/tenant/', sub: 'identity', exp: 4_000_000_000 };
  return `${part({ alg: 'RS256', typ: 'JWT' })}.${part(claims)}.c2lnbmF0dXJl`;
}
