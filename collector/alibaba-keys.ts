import type { AlibabaKeys } from './acs3.ts';
import { ask } from './http.ts';
import { SwitchError } from './switch.ts';

export interface KeySource {
  /** @throws SwitchError when there are none */
  keys(): Promise<AlibabaKeys>;
  /** They were refused: do not give the same ones again, if there are others to be had. */
  forget(): void;
}

/** An AccessKey pair that does not change. */
export function fixedKeys(id: string, secret: string): KeySource {
  return { keys: () => Promise.resolve({ id, secret }), forget: () => undefined };
}

const RENEW_BEFORE_MS = 5 * 60_000;

/** Keys of the RAM role of the ECS instance, from its metadata service; in its hardened mode, too, which wants a token. */
export class RoleKeys implements KeySource {
  readonly #endpoint: string;
  readonly #now: () => number;
  #kept: { keys: AlibabaKeys; untilMs: number } | undefined;

  /** @param endpoint `http://100.100.100.200` but for tests */
  constructor(endpoint: string, now: () => number) {
    this.#endpoint = endpoint;
    this.#now = now;
  }

  async keys(): Promise<AlibabaKeys> {
    if (this.#kept && this.#now() < this.#kept.untilMs - RENEW_BEFORE_MS) return this.#kept.keys;
    const token = await this.#call('PUT', '/latest/api/token', { 'X-aliyun-ecs-metadata-token-ttl-seconds': '60' });
    const headers: Record<string, string> = token.status === 200 ? { 'X-aliyun-ecs-metadata-token': token.text } : {};
    const roles = '/latest/meta-data/ram/security-credentials/';
    const role = await this.#call('GET', roles, headers);
    const name = role.text.trim();
    if (role.status !== 200 || !/^[\w.-]{1,64}$/.test(name)) {
      throw new SwitchError(
        `the machine has no RAM role (its metadata service answers ${role.status}): attach one to it`,
      );
    }
    const answer = await this.#call('GET', roles + name, headers);
    const keys = parseKeys(answer.text);
    if (answer.status !== 200 || !keys) {
      throw new SwitchError(`the metadata service gives no keys for the role ${name} (${answer.status})`);
    }
    this.#kept = keys;
    return keys.keys;
  }

  forget(): void {
    this.#kept = undefined;
  }

  async #call(method: 'GET' | 'PUT', path: string, headers: Record<string, string>) {
    try {
      return await ask(new URL(path, this.#endpoint), method, headers);
    } catch (error) {
      throw new SwitchError(`the metadata service is out of reach: ${(error as Error).message}`);
    }
  }
}

function parseKeys(text: string): { keys: AlibabaKeys; untilMs: number } | undefined {
  try {
    const { AccessKeyId, AccessKeySecret, SecurityToken, Expiration } = JSON.parse(text) as Record<string, unknown>;
    if (typeof AccessKeyId !== 'string' || typeof AccessKeySecret !== 'string' || typeof SecurityToken !== 'string') {
      return undefined;
    }
    const untilMs = Date.parse(String(Expiration));
    // Without a time that makes sense they are good for this once.
    return {
      keys: { id: AccessKeyId, secret: AccessKeySecret, token: SecurityToken },
      untilMs: Number.isNaN(untilMs) ? 0 : untilMs,
    };
  } catch {
    return undefined;
  }
}
