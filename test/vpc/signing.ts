import { createHash, createHmac, randomUUID } from 'node:crypto';

/** A client's side of signature version 3, written from the documents and apart from the emulator's. */
export type Keys = { id: string; secret: string; securityToken?: string };

export type Signing = {
  keys: Keys;
  action: string;
  version: string;
  host: string;
  method?: string;
  query: [string, string][];
  body?: string;
  /** Headers in place of, or beside, the usual ones. */
  headers?: Record<string, string>;
  /** Headers that are sent and not signed. */
  unsigned?: Record<string, string>;
};

export function signedHeaders(signing: Signing): Record<string, string> {
  const { keys, action, version, host, query, method = 'POST', body = '' } = signing;
  const headers: Record<string, string> = {
    host,
    'x-acs-action': action,
    'x-acs-version': version,
    'x-acs-date': new Date().toISOString().replace(/\.\d+/, ''),
    'x-acs-signature-nonce': randomUUID(),
    'x-acs-content-sha256': hash(body),
    ...(keys.securityToken ? { 'x-acs-security-token': keys.securityToken, 'x-acs-accesskey-id': keys.id } : {}),
    ...signing.headers,
  };
  const names = Object.keys(headers).toSorted();
  const canonical = [
    method,
    '/',
    query
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, value]) => `${encode(name)}=${encode(value)}`)
      .join('&'),
    ...names.map((name) => `${name}:${headers[name]}`),
    '',
    names.join(';'),
    hash(body),
  ].join('\n');
  const signature = createHmac('sha256', keys.secret)
    .update(`ACS3-HMAC-SHA256\n${hash(canonical)}`)
    .digest('hex');
  return {
    ...headers,
    authorization: `ACS3-HMAC-SHA256 Credential=${keys.id},SignedHeaders=${names.join(';')},Signature=${signature}`,
    ...signing.unsigned,
  };
}

function hash(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

function encode(text: string): string {
  return encodeURIComponent(text).replace(/[!'()*]/g, (each) => `%${each.charCodeAt(0).toString(16).toUpperCase()}`);
}
