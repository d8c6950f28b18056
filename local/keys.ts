import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** What opens the sandbox's own Alibaba Cloud, and nothing else. */
export type Keys = { accessKeyId: string; accessKeySecret: string };

/** The keys of a data folder, drawn by lot when it is new; only its owner may read them. */
export function keysOf(data: string): Keys {
  const file = join(data, 'keys.json');
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as Keys;
  } catch {
    const keys: Keys = {
      accessKeyId: `LTAI${randomBytes(10).toString('hex')}`,
      accessKeySecret: randomBytes(15).toString('hex'),
    };
    writeFileSync(file, JSON.stringify(keys, null, 2), { mode: 0o600 });
    return keys;
  }
}
