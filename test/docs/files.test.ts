import { existsSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { describe, expect, it } from 'vitest';
import { projectFiles, read, root } from '../markdown.ts';

const files = projectFiles();
const documents = files.filter((path) => path.endsWith('.md'));

describe('links', () => {
  it.each(documents)('those of %s lead somewhere', (path) => {
    // Code is no prose: what looks like a link in it is none.
    const prose = read(path)
      .replaceAll(/^```[\s\S]*?^```/gm, '')
      .replaceAll(/`[^`\n]*`(?!\])/g, '');
    const broken = [...prose.matchAll(/\]\(([^)\s]+)\)/g)]
      .map(([, target = '']) => target)
      .filter((target) => !/^https?:/.test(target))
      .filter((target) => {
        const [file = '', anchor] = target.split('#');
        const to = file === '' ? path : join(dirname(path), file);
        return !existsSync(join(root, to)) || (anchor !== undefined && !anchors(to).includes(anchor));
      });
    expect(broken).toEqual([]);
  });

  it('every page in docs/ is reached from README.md', () => {
    const readme = read('README.md');
    const pages = documents.filter((path) => path.startsWith('docs/') && !path.startsWith('docs/decisions/'));
    expect(pages.filter((path) => !readme.includes(`](${path})`))).toEqual([]);
  });
});

describe('decisions', () => {
  const decisions = documents.filter((path) => path.startsWith('docs/decisions/')).toSorted((a, b) => (a < b ? -1 : 1));

  it('are numbered from 1 without a gap', () => {
    expect(decisions.map((path) => Number(/\/(\d{4})-[a-z0-9-]+\.md$/.exec(path)?.[1]))).toEqual(
      decisions.map((_, i) => i + 1),
    );
  });

  it.each(decisions)('%s has context, decision and consequences, under its number', (path) => {
    const headings = [...read(path).matchAll(/^#+ .*$/gm)].map(([line]) => line);
    expect(headings).toEqual([
      expect.stringMatching(new RegExp(`^# ${Number(/\d{4}/.exec(path)?.[0])}\\. `)),
      '## Context',
      '## Decision',
      '## Consequences',
    ]);
  });
});

describe('a reader of the repository has all that it names', () => {
  const texts = files.filter((path) => !/package-lock|^test\/fixtures\/|\.(?:pcap|pcapng|cap|gz|ico)$/.test(path));

  it('relative paths stay inside', () => {
    const outside = texts.flatMap((path) =>
      [...read(path).matchAll(/(?<![\w/.])(?:\.\.\/)+[\w.-]+/g)]
        .filter(([found]) => relative(root, join(root, dirname(path), found)).startsWith('..'))
        .map(([found]) => `${path}: ${found}`),
    );
    expect(outside).toEqual([]);
  });

  it('files of ours that are named are there', () => {
    // A name that goes on with * or a placeholder stands for several.
    const own =
      /(?<![\w@-]|admin\/)(?:functions|shared|local|docs|scripts)\/[\w-]+(?:[./][\w-]+)*(?![\w*$…{-]|\/[*…])/g;
    const missing = texts.flatMap((path) =>
      [...read(path).matchAll(own)]
        .filter(([found]) => !existsSync(join(root, found)))
        .map(([found]) => `${path}: ${found}`),
    );
    expect(missing).toEqual([]);
  });

  it('no folder of one machine, and no number of a tracker', () => {
    const bound = /(?<![\w.])\/(?:home|root|Users|work|mnt|opt)\/\w+|\b(?:issue|ticket|task) #?\d+/gi;
    const found = texts.flatMap((path) => [...read(path).matchAll(bound)].map(([text]) => `${path}: ${text}`));
    expect(found).toEqual([]);
  });
});

function anchors(path: string): string[] {
  return [...read(path).matchAll(/^#+ (.*)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  );
}
