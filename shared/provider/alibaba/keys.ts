import type { TokenSource } from '../../identity.ts';
import { ProviderError } from '../provider.ts';
import type { AlibabaSignIn } from './settings.ts';

/** What signs a call; `token` belongs to keys that expire. */
export type Keys = { id: string; secret: string; token?: string };

/** Exchanges an identity token for keys of a role; the cloud's answer as it is. */
export type AssumeRole = (request: {
  OIDCProviderArn: string;
  RoleArn: string;
  RoleSessionName: string;
  OIDCToken: string;
}) => Promise<unknown>;

type Kept = { keys: Keys; until: number };

// The cloud gives them an hour; whoever renews in time is not held up by it.
const renewBeforeMs = 15 * 60_000;
const waitBelowMs = 60_000;
const sessionName = 'tripcap';

/** Where keys come from: an AccessKey pair, or a role that the managed identity may assume. Never the SDK's own search for some. */
export class KeySource {
  readonly #signIn: AlibabaSignIn;
  readonly #identity: TokenSource;
  readonly #assumeRole: AssumeRole;
  readonly #now: () => Date;
  #kept: Kept | undefined;
  #asking: Promise<Kept> | undefined;

  constructor(signIn: AlibabaSignIn, identity: TokenSource, assumeRole: AssumeRole, now: () => Date) {
    this.#signIn = signIn;
    this.#identity = identity;
    this.#assumeRole = assumeRole;
    this.#now = now;
  }

  async get(): Promise<Keys> {
    if (this.#signIn.kind === 'access-key') return { id: this.#signIn.id, secret: this.#signIn.secret };
    const now = this.#now().getTime();
    const left = (this.#kept?.until ?? 0) - now;
    if (this.#kept && left > renewBeforeMs) return this.#kept.keys;
    this.#asking ??= this.#renew(this.#signIn).finally(() => (this.#asking = undefined));
    if (this.#kept && left > waitBelowMs) {
      // It is tried again with the next call.
      this.#asking.catch(() => undefined);
      return this.#kept.keys;
    }
    try {
      return (await this.#asking).keys;
    } catch (error) {
      // The old ones are good for a while yet.
      if (this.#kept && left > 0) return this.#kept.keys;
      throw error;
    }
  }

  /** These were refused: the next ones are new, if there are others to be had. True when there may be. */
  forget(refused: Keys): boolean {
    if (this.#kept?.keys === refused) this.#kept = undefined;
    return this.#signIn.kind === 'role';
  }

  async #renew(role: AlibabaSignIn & { kind: 'role' }): Promise<Kept> {
    const answer = await this.#assumeRole({
      OIDCProviderArn: role.providerArn,
      RoleArn: role.roleArn,
      RoleSessionName: sessionName,
      OIDCToken: await this.#tokenFor(role.audience),
    });
    this.#kept = readKeys(answer, this.#now().getTime());
    return this.#kept;
  }

  async #tokenFor(audience: string): Promise<string> {
    try {
      return (await this.#identity.getToken(`${audience}/.default`)).token;
    } catch (error) {
      const { name, message } = error as Error;
      throw new ProviderError(
        name === 'IdentityError' ? 'unauthenticated' : 'unavailable',
        `sign in to Alibaba Cloud: no token of the managed identity for ${audience}: ${message}`,
        error,
      );
    }
  }
}

function readKeys(answer: unknown, now: number): Kept {
  const { AccessKeyId, AccessKeySecret, SecurityToken, Expiration } = ((answer as { Credentials?: unknown } | undefined)
    ?.Credentials ?? {}) as Record<string, unknown>;
  if (typeof AccessKeyId !== 'string' || typeof AccessKeySecret !== 'string' || typeof SecurityToken !== 'string')
    throw new ProviderError('unavailable', 'sign in to Alibaba Cloud: the answer to AssumeRoleWithOIDC has no keys');
  const until = Date.parse(String(Expiration));
  return {
    keys: { id: AccessKeyId, secret: AccessKeySecret, token: SecurityToken },
    // Without a time that makes sense they are good for this once.
    until: Number.isNaN(until) ? now : until,
  };
}
