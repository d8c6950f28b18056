import { randomUUID } from 'node:crypto';
import { sign } from './acs3.ts';
import type { KeySource } from './alibaba-keys.ts';
import { ask } from './http.ts';
import { SwitchError, type MirrorSwitch } from './switch.ts';

const VERSION = '2016-04-28';
/** Codes that other keys might not get: expired ones, or those of a role that was allowed too little. */
const REFUSED_KEYS = /^(Invalid(AccessKey|SecurityToken)|SignatureDoesNotMatch|Forbidden|NoPermission)/;

/** Alibaba Cloud's VPC API, of which two operations are needed. */
export class Vpc implements MirrorSwitch {
  readonly #keys: KeySource;
  readonly #endpoint: string | undefined;
  readonly #now: () => number;

  /** @param endpoint `http://…` on this machine or `https://…`; undefined: that of the session's region */
  constructor(keys: KeySource, endpoint: string | undefined, now: () => number) {
    this.#keys = keys;
    this.#endpoint = endpoint;
    this.#now = now;
  }

  async disable(region: string, session: string, token: string): Promise<void> {
    try {
      await this.#call(region, 'UpdateTrafficMirrorSessionAttribute', {
        TrafficMirrorSessionId: session,
        Enabled: 'false',
        ClientToken: token,
      });
    } catch (error) {
      if ((error as SwitchError).code !== 'ResourceNotFound.TrafficMirrorSession') throw error;
    }
  }

  async isEnabled(region: string, session: string): Promise<boolean> {
    const answer = await this.#call(region, 'ListTrafficMirrorSessions', { 'TrafficMirrorSessionIds.1': session });
    const found = answer['TrafficMirrorSessions'];
    if (!Array.isArray(found)) throw new SwitchError('ListTrafficMirrorSessions gave no list');
    return (found as Record<string, unknown>[]).some(
      (one) => one['TrafficMirrorSessionId'] === session && String(one['Enabled']) !== 'false',
    );
  }

  async #call(region: string, action: string, query: Record<string, string>): Promise<Record<string, unknown>> {
    const base = new URL(this.#endpoint ?? endpointOf(region));
    const keys = await this.#keys.keys();
    const { path, headers } = sign(
      {
        host: base.host,
        action,
        version: VERSION,
        query: { RegionId: region, ...query },
        nonce: randomUUID(),
        at: new Date(this.#now()),
      },
      keys,
    );
    let answer: { status: number; text: string };
    try {
      answer = await ask(new URL(path, base), 'POST', headers);
    } catch (error) {
      throw new SwitchError(`${action}: ${base.host} is out of reach: ${(error as Error).message}`);
    }
    const body = parse(answer.text);
    if (answer.status === 200 && body) return body;
    const code = typeof body?.['Code'] === 'string' ? body['Code'] : undefined;
    if (code !== undefined && REFUSED_KEYS.test(code)) this.#keys.forget();
    throw new SwitchError(`${action}: ${answer.status} ${code ?? 'without a code'}`, code);
  }
}

/** As Alibaba Cloud's own SDK has it. */
function endpointOf(region: string): string {
  return region === 'cn-hangzhou' ? 'https://vpc.aliyuncs.com' : `https://vpc.${region}.aliyuncs.com`;
}

function parse(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}
