import type { Call } from './call.ts';
import { messageOf } from './codes.ts';
import { missing, Refusal } from './refusal.ts';
import { canonicalRequest, isSignedWith, parseAuthorization, sha256, stringToSign, type Signed } from './signature.ts';
import type { State } from './state.ts';

export type Keys = { accessKeyId: string; accessKeySecret: string };

const WINDOW_MS = 15 * 60_000;

/**
 * What the gateway checks of every call before an API sees it: who signed it, that it is signed right and wholly, lately, and
 * for the first time. Nonces are forgotten with the process. GUESS: the order of the checks.
 */
export class FrontDoor {
  readonly #keys: Keys;
  readonly #state: State;
  /** When each was used, Unix milliseconds. */
  readonly #nonces = new Map<string, number>();

  constructor(keys: Keys, state: State) {
    this.#keys = keys;
    this.#state = state;
  }

  /** @throws Refusal when the call may not pass. */
  check(call: Call, now: number): void {
    const { headers } = call;
    if (call.method !== 'GET' && call.method !== 'POST') throw new Refusal('UnsupportedHTTPMethod');
    const signed = parseAuthorization(headers['authorization'] ?? '');
    if (!signed) throw new Refusal('IncompleteSignature');
    const nonce = headers['x-acs-signature-nonce'];
    if (!nonce) throw missing('SignatureNonce');
    checkDate(headers['x-acs-date'], now);
    const secret = this.#secretOf(signed.accessKeyId, headers['x-acs-security-token'], now);
    checkSignature(call, signed, secret);
    this.#checkNonce(`${signed.accessKeyId} ${nonce}`, now);
  }

  #secretOf(accessKeyId: string, securityToken: string | undefined, now: number): string {
    if (accessKeyId === this.#keys.accessKeyId) {
      if (securityToken) throw new Refusal('InvalidSecurityToken.MismatchWithAccessKey');
      return this.#keys.accessKeySecret;
    }
    const key = this.#state.content.temporaryKeys[accessKeyId];
    if (!key) throw new Refusal('InvalidAccessKeyId.NotFound');
    if (!securityToken) throw new Refusal('MissingSecurityToken');
    if (securityToken !== key.securityToken) throw new Refusal('InvalidSecurityToken.MismatchWithAccessKey');
    if (now >= key.expiresAt) throw new Refusal('InvalidSecurityToken.Expired');
    return key.secret;
  }

  #checkNonce(nonce: string, now: number): void {
    // As long as a date may be good: it may lie ahead.
    for (const [old, at] of this.#nonces) {
      if (at >= now - 2 * WINDOW_MS) break;
      this.#nonces.delete(old);
    }
    if (this.#nonces.has(nonce)) throw new Refusal('SignatureNonceUsed');
    this.#nonces.set(nonce, now);
  }
}

function checkDate(text: string | undefined, now: number): void {
  if (!text) throw missing('Timestamp');
  if (!/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/.test(text)) throw new Refusal('InvalidTimeStamp.Format');
  if (!(Math.abs(Date.parse(text) - now) <= WINDOW_MS)) throw new Refusal('InvalidTimeStamp.Expired');
}

/** The real message shows what the server signed, as public logs have it: with a temporary key, its token is in there. */
function checkSignature(call: Call, signed: Signed, secret: string): void {
  const canonical = canonicalRequest(call, signed.signedHeaders);
  const wholly = Object.keys(call.headers)
    .filter((name) => name === 'host' || name.startsWith('x-acs-'))
    .every((name) => signed.signedHeaders.includes(name));
  const ofThisBody = call.headers['x-acs-content-sha256'] === sha256(call.body);
  if (wholly && ofThisBody && isSignedWith(secret, canonical, signed.signature)) return;
  throw new Refusal('SignatureDoesNotMatch', {
    message: `${messageOf('SignatureDoesNotMatch')} server StringToSign is [${stringToSign(canonical)}], server CanonicalRequest is [${canonical}]`,
  });
}
