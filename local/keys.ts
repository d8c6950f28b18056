import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** What opens this sandbox's own doors, and nothing else. */
export type Keys = {
  accessKeyId: string;
  accessKeySecret: string;
  /** What a sender of CloudMonitor alerts must show. */
  cloudmonitor: string;
};

/** The keys of a data folder, drawn by lot where it has none yet; only its owner may read them. */
export function keysOf(data: string): Keys {
  const file = join(data, 'keys.json');
  const keys: Keys = {
    accessKeyId: `LTAI${randomBytes(10).toString('hex')}`,
    accessKeySecret: randomBytes(15).toString('hex'),
    cloudmonitor: randomBytes(20).toString('hex'),
    ...read(file),
  };
  writeFileSync(file, JSON.stringify(keys, null, 2), { mode: 0o600 });
  return keys;
}

function read(file: string): Partial<Keys> {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as Partial<Keys>;
  } catch {
    // A new folder.
    return {};
  }
}
