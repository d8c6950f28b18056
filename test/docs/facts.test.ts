import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { fileVerdicts } from '../../shared/catalog/entry.ts';
import { settings } from '../../shared/config.ts';
import { problemStatus } from '../../shared/problem.ts';
import { alibabaErrors } from '../../shared/provider/alibaba/errors.ts';
import { providerErrors } from '../../shared/provider/provider.ts';
import { ignoredReasons } from '../../shared/rule/plan.ts';
import { runStates, stopReasons, timelineEvents } from '../../shared/run/run.ts';
import { runVerdicts } from '../../shared/run/verdict.ts';
import { fenced, read, root, rows, section } from '../markdown.ts';

// Facts that are written in the code and in the documents: they must agree.

describe('settings', () => {
  it('docs/settings.md has those of the code, with defaults and meanings', () => {
    const text = section('docs/settings.md', 'Settings').split('\n## ')[0] ?? '';
    const inDocs = rows(text).map(([name, value, about]) => [name, value, about]);
    const inCode = Object.entries(settings).map(([name, { default: value, about }]) => [
      name,
      value === undefined ? 'none' : value === '' ? 'empty' : `\`${value}\``,
      about,
    ]);
    expect(inDocs).toEqual(inCode);
  });

  it('the sandbox sets only what there is', () => {
    const set = [...read('local/main.ts').matchAll(/^ +(TRIPCAP_\w+|AzureWebJobs\w+):/gm)].map((match) => match[1]);
    expect(set.length).toBeGreaterThan(10);
    expect(Object.keys(settings)).toEqual(expect.arrayContaining(set));
  });

  it("docs/sandbox.md has the sandbox's values", () => {
    const set = [...read('local/main.ts').matchAll(/^ +(TRIPCAP_\w+): '([^']*)',/gm)].map((m) => [m[1], `\`${m[2]}\``]);
    expect(rows(section('docs/sandbox.md', 'Options')).filter(([name]) => name?.startsWith('TRIPCAP_'))).toEqual(set);
  });

  it('no document names a setting that is none', () => {
    const named = ['README.md', ...docs()].flatMap((path) =>
      [...read(path).matchAll(/\bTRIPCAP_[A-Z_]+[A-Z]\b/g)].map(([name]) => name),
    );
    expect(Object.keys(settings)).toEqual(expect.arrayContaining(named));
  });
});

describe('closed lists', () => {
  const listed = (file: string, heading: string): (string | undefined)[] =>
    rows(section(file, heading)).map(([code]) => code);

  it.each<[string, readonly string[]]>([
    ['Run states', runStates],
    ['Ignored reasons', ignoredReasons],
    ['Stop reasons', stopReasons],
    ['Run verdicts', runVerdicts],
    ['File verdicts', fileVerdicts],
    ['Timeline events', timelineEvents],
  ])('%s', (heading, codes) => {
    expect(listed('docs/api.md', heading)).toEqual([...codes]);
  });

  it('session marks', () => {
    const type = /mark: ((?:'\w+'(?: \| )?)+)/.exec(read('shared/run/sessions.ts'))?.[1] ?? '';
    expect(listed('docs/api.md', '`GET /api/sessions`')).toEqual(
      [...type.matchAll(/'(\w+)'/g)].map((match) => match[1]),
    );
  });

  it('problem codes and their statuses', () => {
    const inDocs = rows(section('docs/errors.md', 'Problems of the API')).map(([code, status]) => [
      code,
      Number(status),
    ]);
    expect(Object.fromEntries(inDocs)).toEqual(problemStatus);
    expect(inDocs).toHaveLength(Object.keys(problemStatus).length);
  });

  it('provider errors, and whether they are tried again', () => {
    const inDocs = rows(section('docs/errors.md', 'Provider errors')).map(([code, retry]) => [code, retry === 'yes']);
    const inCode = Object.entries(providerErrors).map(([code, { retry }]) => [code, retry]);
    expect(inDocs).toEqual(inCode);
  });

  it('codes of Alibaba Cloud, their classes and what they come to', () => {
    const inDocs = rows(section('docs/errors.md', 'Codes of Alibaba Cloud'));
    expect(inDocs).toEqual(
      Object.entries(alibabaErrors).map(([code, meaning]) => [code, meaning.class, `\`${meaning.code}\``]),
    );
  });

  it('what is said never to be given is given nowhere', () => {
    const code = readdirSync(join(root, 'shared'), { recursive: true, encoding: 'utf8' })
      .filter((name) => name.endsWith('.ts'))
      .map((name) => read(join('shared', name)))
      .join('\n');
    const listed = ['Ignored reasons', 'Stop reasons'].flatMap((heading) => rows(section('docs/api.md', heading)));
    const notGiven = listed.filter(([, about]) => about === 'not given today').map(([name]) => name);
    const unused = listed.flatMap(([name = '']) => {
      const uses = code.split(`'${name}'`).length - 1;
      const lists = [ignoredReasons, stopReasons].filter((list) => (list as readonly string[]).includes(name)).length;
      return uses > lists ? [] : [name];
    });
    expect(notGiven).toEqual(unused);
  });
});

describe('routes', () => {
  const source = readdirSync(join(root, 'functions'))
    .filter((name) => name.endsWith('.ts') && name !== 'http.ts')
    .map((name) => read(join('functions', name)))
    .join('\n');
  const calls = [
    ...source.matchAll(
      /endpoint\(\s*'[\w-]+',\s*\[([^\]]+)\],\s*'([^']+)',\s*(?:'(\w+)'|\(request\) => \(request\.method === '(\w+)' \? '(\w+)' : '(\w+)'\)),/g,
    ),
  ];
  const inCode = calls.flatMap(([, methods = '', route, role, special, specialRole, otherRole]) =>
    [...methods.matchAll(/'(\w+)'/g)].map(([, method]) => [
      `${method} /api/${route}`,
      role ?? (method === special ? specialRole : otherRole),
    ]),
  );

  it('each registration is understood by this test', () => {
    expect(calls).toHaveLength(source.split('endpoint(').length - 1);
    expect(calls.length).toBeGreaterThan(8);
  });

  it('README.md has them all, with their roles', () => {
    const inDocs = rows(section('README.md', 'The API')).map(([call, role]) => [call, role]);
    expect(inDocs).toHaveLength(inCode.length);
    expect(inDocs).toEqual(expect.arrayContaining(inCode));
  });

  it('docs/api.md has them all, with their roles', () => {
    const inDocs = [
      ...read('docs/api.md').matchAll(/^### `(\w+ \/api\/\S+)`\n\n(?:Role: (\w+)\.|Open to (anyone)\.)/gm),
    ];
    const described = inDocs.map(([, call, role, open]) => [call, role ?? open]);
    expect(described).toHaveLength(inCode.length);
    expect(described).toEqual(expect.arrayContaining(inCode));
  });
});

describe('commands', () => {
  const { scripts } = JSON.parse(read('package.json')) as { scripts: Record<string, string> };

  it('the two that a newcomer needs stand in README.md as they are', () => {
    expect(fenced('README.md', 'sh')).toEqual(
      expect.arrayContaining(['npm ci && npm start\n', 'npm ci && npm test\n']),
    );
  });

  it('every npm script that a document or .ci/run names exists', () => {
    const named = ['README.md', 'CONTRIBUTING.md', '.ci/run', ...docs()].flatMap((path) =>
      [...read(path).matchAll(/npm run (?:-s )?([\w:]+)/g)].map(([, name]) => name),
    );
    expect(Object.keys(scripts)).toEqual(expect.arrayContaining(named));
  });

  it('.ci/run runs the test command of README.md', () => {
    expect(read('.ci/run')).toContain('(npm ci && npm test)');
  });
});

describe('examples', () => {
  it.each(['README.md', ...docs()])('the JSON in %s is JSON', (path) => {
    const read = () => fenced(path, 'json').map((text) => JSON.parse(text) as unknown);
    expect(read).not.toThrow();
  });
});

function docs(): string[] {
  return readdirSync(join(root, 'docs'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.md'))
    .map((name) => join('docs', name));
}
