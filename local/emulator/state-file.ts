import { readFileSync, renameSync, writeFileSync } from 'node:fs';

/** What was saved there, if it is of that version; undefined when nothing was, or something older. */
export function readState<T extends { version: number }>(path: string, version: T['version']): T | undefined {
  try {
    const content = JSON.parse(readFileSync(path, 'utf8')) as T;
    return content.version === version ? content : undefined;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

/** Saves as a whole by writing a new file and renaming it, so that a kill loses nothing. */
export function saveState(path: string, content: object): void {
  const next = `${path}.next`;
  writeFileSync(next, JSON.stringify(content), { mode: 0o600 });
  renameSync(next, path);
}
