import { createHash, createHmac, timingSafeEqual } from 'node:crypto';

/**
 * Signature version 3 of Alibaba Cloud (ACS3-HMAC-SHA256): the canonical request is the method, the path, the sorted query,
 * the signed headers, their names and the hash of the body; what is signed is the algorithm's name and that request's hash.
 */
export type Signed = { accessKeyId: string; signedHeaders: string[]; signature: string };

const ALGORITHM = 'ACS3-HMAC-SHA256';

const AUTHORIZATION = /^ACS3-HMAC-SHA256 Credential=([^,\s]+),\s*SignedHeaders=([^,\s]+),\s*Signature=([0-9a-f]{64})$/;

export type SignedRequest = {
  method: string;
  path: string;
  /** Decoded, in any order. */
  query: Iterable<[string, string]>;
  /** By lower-cased name. */
  headers: Record<string, string | undefined>;
  body: Buffer;
};

/** Undefined for what is no authorization of this version. */
export function parseAuthorization(text: string): Signed | undefined {
  const [, accessKeyId, names, signature] = AUTHORIZATION.exec(text) ?? [];
  if (!accessKeyId || !names || !signature) return undefined;
  return { accessKeyId, signedHeaders: names.split(';'), signature };
}

export function canonicalRequest(request: SignedRequest, signedHeaders: string[]): string {
  // Sorted by name, before encoding: `Tag` comes before `Tag.1`.
  const query = [...request.query]
    .toSorted(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
    .map(([name, value]) => `${encode(name)}=${encode(value)}`)
    .join('&');
  const headers = signedHeaders.map((name) => `${name}:${(request.headers[name] ?? '').trim()}\n`).join('');
  return [request.method, request.path, query, headers, signedHeaders.join(';'), sha256(request.body)].join('\n');
}

/** What a signature is made of. */
export function stringToSign(canonical: string): string {
  return `${ALGORITHM}\n${sha256(canonical)}`;
}

export function isSignedWith(secret: string, canonical: string, signature: string): boolean {
  const expected = createHmac('sha256', secret).update(stringToSign(canonical)).digest();
  return timingSafeEqual(expected, Buffer.from(signature, 'hex'));
}

export function sha256(data: string | Buffer): string {
  return createHash('sha256').update(data).digest('hex');
}

/** RFC 3986. */
function encode(text: string): string {
  return encodeURIComponent(text).replace(
    /[!'()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  );
}
