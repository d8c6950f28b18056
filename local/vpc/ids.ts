import { randomBytes } from 'node:crypto';

/** An id of the cloud's form: `tms-bp1` and 17 more letters and digits. */
export function newId(kind: 'tms' | 'tmf' | 'tmr'): string {
  return `${kind}-bp1${randomBytes(20)
    .toString('base64')
    .replace(/[^a-z0-9]/gi, '')
    .toLowerCase()
    .padEnd(17, '0')
    .slice(0, 17)}`;
}
