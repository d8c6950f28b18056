// Completes package-lock.json after an `npm install` behind a registry mirror that lacks the optional packages of other
// platforms: npm leaves out what it cannot look up, and `npm ci` then refuses the lock file. Run it after such an install.
import { readFileSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';

type Entry = { version?: string; license?: string; dev?: boolean; optionalDependencies?: Record<string, string> };

const file = resolve(import.meta.dirname, '../package-lock.json');
const lock = JSON.parse(readFileSync(file, 'utf8')) as { packages: Record<string, Entry> };
const platform =
  /(?:^|[-/])(android|darwin|freebsd|linux|openharmony|win32|netbsd|openbsd|sunos|aix)-(\w+?)(?:-(eabi|gnueabihf|musleabihf|gnu|musl|msvc))?$/;
let added = 0;
for (const [where, entry] of Object.entries(lock.packages)) {
  for (const [name, range] of Object.entries(entry.optionalDependencies ?? {})) {
    const path = `node_modules/${name}`;
    const match = platform.exec(name);
    if (!match || lock.packages[path] || lock.packages[`${where}/${path}`]) continue;
    const [, os, cpu, abi = ''] = match;
    const libc =
      os !== 'linux' ? undefined : abi.startsWith('musl') ? 'musl' : abi.startsWith('gnu') ? 'glibc' : undefined;
    const missing = {
      version: range.replace(/^[\^~]/, ''),
      cpu: [cpu],
      ...(entry.dev ? { dev: true } : {}),
      ...(libc ? { libc: [libc] } : {}),
      license: entry.license,
      optional: true,
      os: [os],
    };
    lock.packages[path] = missing as Entry;
    added++;
  }
}
const sorted = Object.entries(lock.packages).sort(([a], [b]) => a.localeCompare(b, 'en'));
writeFileSync(file, `${JSON.stringify({ ...lock, packages: Object.fromEntries(sorted) }, null, 2)}\n`);
console.log(`${added} packages of other platforms added`);
