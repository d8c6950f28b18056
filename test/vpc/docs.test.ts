import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { ANSWERS, control, givenRule, noFaults } from '../../local/vpc/faults.ts';
import { preparedFilters, preparedSessions } from '../../local/vpc/prepared.ts';
import { QUOTAS } from '../../local/vpc/quotas.ts';
import { BALANCERS, INSTANCES, INTERFACES } from '../../local/vpc/world.ts';

const PAGE = readFileSync('docs/sandbox-alibaba.md', 'utf8');

/** What stands under a heading, up to the next one of any level. */
function section(heading: string): string {
  return PAGE.split(/^#+ /m).find((part) => part.startsWith(`${heading}\n`)) ?? '';
}

/** The cells of every table row that begins with one piece of code; that cell without its backticks. */
function rows(text: string): string[][] {
  const lines = text.split('\n').filter((line) => /^\| `[^`]+` \|/.test(line));
  return lines.map((line) =>
    line
      .slice(2, -2)
      .split(' | ')
      .map((cell, i) => (i === 0 ? cell.slice(1, -1) : cell)),
  );
}

describe('the page of the emulator has', () => {
  test('the members of the control call', () => {
    expect(new Set(rows(section('Control')).map(([name]) => name))).toEqual(new Set(Object.keys(control.entries)));
  });

  test('all faults, with their usual values', () => {
    const listed = rows(section('Faults')).map(([name, values = '']) => [
      name,
      JSON.parse(/`(.+?)`/.exec(values)?.[1] ?? ''),
    ]);
    expect(Object.fromEntries(listed)).toEqual(noFaults());
  });

  test('the members of a rule, and its answers', () => {
    const text = section('Calls that go wrong');
    const listed = rows(text).flatMap(([name]) => name ?? []);
    // Two in one row.
    expect([...listed, 'status', 'message'].toSorted()).toEqual(Object.keys(givenRule.entries).toSorted());
    const answers = rows(text).find(([name]) => name === 'answer')?.[1] ?? '';
    expect([...answers.matchAll(/`"(\w+)"`/g)].map(([, each]) => each)).toEqual([...ANSWERS]);
  });

  test('the quotas', () => {
    const listed = rows(section('Quotas')).map(([name, usual]) => [name, Number(usual)]);
    expect(Object.fromEntries(listed)).toEqual(QUOTAS);
  });

  test('everything of the world, with its address', () => {
    const text = section('What there is');
    for (const { id } of [...INSTANCES, ...BALANCERS, ...preparedFilters(0), ...preparedSessions(0)]) {
      expect(text).toContain(`\`${id}\``);
    }
    for (const { id, address } of INTERFACES) expect(text).toContain(`\`${id}\` ${address}`);
  });
});
