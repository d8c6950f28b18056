import { createHash, createHmac } from 'node:crypto';

/** What signs requests to Alibaba Cloud; with `token` when it is short-lived. */
export type AlibabaKeys = { id: string; secret: string; token?: string | undefined };

export type RpcCall = {
  /** With the port, if it is not the usual one. */
  host: string;
  action: string;
  version: string;
  query: Record<string, string>;
  /** Different for every request, repeats included. */
  nonce: string;
  at: Date;
};

const ALGORITHM = 'ACS3-HMAC-SHA256';

/**
 * Signs a call of an RPC-style API: `POST /?<query>` without a body, everything else in headers (ACS3-HMAC-SHA256, signature
 * version 3).
 */
export function sign(call: RpcCall, keys: AlibabaKeys): { path: string; headers: Record<string, string> } {
  const query = Object.entries(call.query)
    .map(([name, value]) => `${encode(name)}=${encode(value)}`)
    .sort()
    .join('&');
  const bodyHash = sha256('');
  const headers: Record<string, string> = {
    host: call.host,
    'x-acs-action': call.action,
    'x-acs-content-sha256': bodyHash,
    'x-acs-date': call.at.toISOString().replace(/\.\d+Z$/, 'Z'),
    'x-acs-signature-nonce': call.nonce,
    'x-acs-version': call.version,
  };
  if (keys.token !== undefined) {
    headers['x-acs-accesskey-id'] = keys.id;
    headers['x-acs-security-token'] = keys.token;
  }
  const names = Object.keys(headers).sort();
  const canonical = names.map((name) => `${name}:${headers[name]?.trim()}\n`).join('');
  const request = ['POST', '/', query, canonical, names.join(';'), bodyHash].join('\n');
  const signature = createHmac('sha256', keys.secret)
    .update(`${ALGORITHM}\n${sha256(request)}`)
    .digest('hex');
  const authorization = `${ALGORITHM} Credential=${keys.id},SignedHeaders=${names.join(';')},Signature=${signature}`;
  return { path: `/?${query}`, headers: { ...headers, accept: 'application/json', authorization } };
}

/** RFC 3986: also what `encodeURIComponent` leaves as it is. */
function encode(text: string): string {
  return encodeURIComponent(text).replaceAll(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
