import { request } from 'node:http';

/** What the Azure SDKs take as a credential. */
export type TokenSource = { getToken(scopes: string | string[]): Promise<AccessToken> };

type AccessToken = { token: string; expiresOnTimestamp: number };

/**
 * The app's managed identity, as App Service and Functions serve it: GET $IDENTITY_ENDPOINT with the header X-IDENTITY-HEADER.
 * Tokens are kept until five minutes before they expire. `resource` is the scope without `/.default`.
 */
export class ManagedIdentity implements TokenSource {
  readonly #environment: Readonly<Record<string, string | undefined>>;
  readonly #clientId: string | undefined;
  readonly #now: () => number;
  readonly #tokens = new Map<string, AccessToken>();

  constructor(
    environment: Readonly<Record<string, string | undefined>>,
    clientId: string | undefined,
    now: () => number,
  ) {
    this.#environment = environment;
    this.#clientId = clientId;
    this.#now = now;
  }

  async getToken(scopes: string | string[]): Promise<AccessToken> {
    const resource = String(Array.isArray(scopes) ? scopes[0] : scopes).replace(/\/\.default$/, '');
    const kept = this.#tokens.get(resource);
    if (kept && kept.expiresOnTimestamp - this.#now() > 300_000) return kept;
    const token = await this.#ask(resource);
    this.#tokens.set(resource, token);
    return token;
  }

  async #ask(resource: string): Promise<AccessToken> {
    const { IDENTITY_ENDPOINT: endpoint, IDENTITY_HEADER: header } = this.#environment;
    if (!endpoint || !header)
      throw identityError(
        "No managed identity: turn on the app's system-assigned identity, or name a user-assigned one in TRIPCAP_CLIENT_ID",
      );
    const url = new URL(endpoint);
    url.searchParams.set('api-version', '2019-08-01');
    url.searchParams.set('resource', resource);
    if (this.#clientId) url.searchParams.set('client_id', this.#clientId);
    // node:http, because the first use of the global fetch costs some 60 ms more.
    const body = await new Promise<string>((resolve, reject) => {
      const call = request(url, { headers: { 'X-IDENTITY-HEADER': header }, timeout: 10_000 }, (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('error', reject);
        response.on('end', () => {
          if (response.statusCode === 200) resolve(Buffer.concat(chunks).toString('utf8'));
          else reject(identityError(`The managed identity endpoint answered ${response.statusCode} for ${resource}`));
        });
      });
      call.on('timeout', () => call.destroy(identityError('The managed identity endpoint did not answer within 10 s')));
      call.on('error', reject);
      call.end();
    });
    const answer = JSON.parse(body) as { access_token: string; expires_on: string };
    return { token: answer.access_token, expiresOnTimestamp: Number(answer.expires_on) * 1000 };
  }
}

function identityError(message: string): Error {
  return Object.assign(new Error(message), { name: 'IdentityError' });
}
