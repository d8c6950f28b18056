import { createHash, randomBytes } from 'node:crypto';

const alphabet = '0123456789abcdefghjkmnpqrstvwxyz';

/**
 * An opaque id of 26 letters and digits (130 bits, lower case, URL-safe, fit for table keys and ARM names), derived from its parts:
 * the same parts always give the same id, so that a repeat finds what the first attempt made.
 */
export function deriveId(...parts: string[]): string {
  // The length in front of each part keeps ('a', 'bc') apart from ('ab', 'c').
  const hash = createHash('sha256');
  for (const part of parts) hash.update(`${part.length}:${part};`);
  return encode(hash.digest());
}

/** A random id of the same form. */
export function randomId(): string {
  return encode(randomBytes(17));
}

/** Whether a text from outside has the form of an id; what has not names nothing here. */
export function isId(text: string): boolean {
  return /^[0-9a-z]{26}$/.test(text);
}

/** Lower-case hex SHA-256 of a text in UTF-8. */
export function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

function encode(bytes: Buffer): string {
  let text = '';
  let bits = 0;
  let value = 0;
  for (const byte of bytes) {
    value = (value << 8) | byte;
    bits += 8;
    while (bits >= 5 && text.length < 26) {
      bits -= 5;
      text += alphabet[(value >>> bits) & 31];
    }
    value &= (1 << bits) - 1;
  }
  return text;
}
