import { createHash, hkdfSync, randomBytes } from 'node:crypto';

/**
 * The signatures in the URLs of operations, as recorded since 2024: `t` a time in ticks, `c` a certificate, `s` a signature
 * of 256 bytes, `h` a hash. Each answer signs anew, even with another certificate, so that a URL is 3.3 or 4.3 KB long.
 * What stands for the certificate is noise; what is signed, and how, is the emulator's own.
 */
const CERTIFICATE_BYTES = [1950, 2700];
const SIGNATURE_BYTES = 256;

/** @returns the query that goes behind `api-version` */
export function signature(key: string, path: string, apiVersion: string): string {
  // .NET ticks: 100 ns since the year 1.
  const t = String((BigInt(Date.now()) + 62_135_596_800_000n) * 10_000n);
  const c = randomBytes(CERTIFICATE_BYTES[(randomBytes(1)[0] ?? 0) % CERTIFICATE_BYTES.length] ?? 0).toString(
    'base64url',
  );
  return `t=${t}&c=${c}&s=${sign(key, path, apiVersion, t, c)}&h=${hash(c)}`;
}

/** Whether a URL is one that was handed out, with nothing changed. */
export function isSigned(key: string, path: string, query: URLSearchParams): boolean {
  const [apiVersion, t, c, s, h] = ['api-version', 't', 'c', 's', 'h'].map((name) => query.get(name) ?? '') as [
    string,
    string,
    string,
    string,
    string,
  ];
  return s === sign(key, path, apiVersion, t, c) && h === hash(c);
}

function sign(key: string, path: string, ...parts: string[]): string {
  const what = createHash('sha256')
    .update([path.toLowerCase(), ...parts].join('\n'))
    .digest();
  return Buffer.from(hkdfSync('sha256', key, '', what, SIGNATURE_BYTES)).toString('base64url');
}

function hash(certificate: string): string {
  return createHash('sha256').update(certificate).digest('base64url');
}
