import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';

export const root = join(import.meta.dirname, '..');

const leftOut = new Set(['node_modules', 'dist', '.git', '.tripcap', 'coverage']);

/** Every file of the project but what was installed, built or captured; paths relative to its root. */
export function projectFiles(folder = root): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (leftOut.has(entry.name) || relative(root, path) === join('test', 'fixtures', 'pcaps')) return [];
    return entry.isDirectory() ? projectFiles(path) : [relative(root, path)];
  });
}

export function read(path: string): string {
  return readFileSync(join(root, path), 'utf8');
}

/** The text under a heading, up to the next one of the same or a higher level. Throws when there is no such heading. */
export function section(path: string, heading: string): string {
  const lines = read(path).split('\n');
  const start = lines.findIndex((line) => line.replace(/^#+ /, '') === heading && line.startsWith('#'));
  if (start < 0) throw new Error(`${path} has no heading "${heading}"`);
  const level = /^#+/.exec(lines[start] ?? '')?.[0].length ?? 0;
  const rest = lines.slice(start + 1);
  const end = rest.findIndex((line) => (/^#+(?= )/.exec(line)?.[0].length ?? 9) <= level);
  return (end < 0 ? rest : rest.slice(0, end)).join('\n');
}

/** The cells of every table row whose first cell is one piece of code; that cell without its backticks. */
export function rows(text: string): string[][] {
  return text
    .split('\n')
    .filter((line) => /^\| `[^`]+` \|/.test(line))
    .map((line) => {
      const [, first = '', ...rest] = line.split(' | ').flatMap((cell, i) => (i === 0 ? ['', cell] : [cell]));
      return [first.replace(/^\| /, ''), ...rest]
        .map((cell) => cell.replace(/ ?\|$/, '').trim())
        .map((cell, i) => (i === 0 ? cell.replaceAll('`', '') : cell));
    });
}

/** The contents of fenced blocks of one language. */
export function fenced(path: string, language: string): string[] {
  return [...read(path).matchAll(new RegExp(`^\`\`\`${language}\n([\\s\\S]*?)^\`\`\``, 'gm'))].map(
    (match) => match[1] ?? '',
  );
}
