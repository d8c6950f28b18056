import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { matchesGlob } from '../../shared/rule/glob.ts';

describe('matchesGlob', () => {
  it.each([
    ['Network Out*', 'Network Out Total > 3', true],
    ['network out*', 'NETWORK OUT', true],
    ['*out', 'Network Out', true],
    ['*', '', true],
    ['', '', true],
    ['', 'a', false],
    ['?', '', false],
    ['a?c', 'abc', true],
    ['a?c', 'ac', false],
    ['a*b*c', 'a--b--c', true],
    ['a*b*c', 'a--c--b', false],
    ['*a*', 'bbb', false],
    ['**', 'anything', true],
    ['a/*', 'a/b/c', true],
    ['a.c', 'abc', false],
    ['[ab]', 'a', false],
    ['[ab]', '[AB]', true],
    ['a*', 'ba', false],
    ['*.cap', 'x.cap.cap', true],
    ['a\\*', 'a\\z', true],
  ])('%j on %j: %s', (pattern, text, expected) => {
    expect(matchesGlob(pattern, text)).toBe(expected);
  });

  it.each(['🔥', '𝔸'])('? stands for the one letter %s', (letter) => {
    expect(matchesGlob('?', letter)).toBe(true);
  });

  it('agrees with a slow and simple reference', () => {
    expect.hasAssertions();
    const pattern = fc.string({ unit: fc.constantFrom('a', 'b', 'B', '.', '*', '?'), maxLength: 8 });
    const text = fc.string({ unit: fc.constantFrom('a', 'A', 'b', '.', '*'), maxLength: 10 });
    fc.assert(
      fc.property(pattern, text, (p, t) => {
        expect(matchesGlob(p, t)).toBe(reference(p.toLowerCase(), t.toLowerCase()));
      }),
      { numRuns: 3000 },
    );
  });

  it('matches what was made from the pattern', () => {
    expect.hasAssertions();
    const part = fc.record({ put: fc.string(), wild: fc.constantFrom('*', '') });
    fc.assert(
      fc.property(fc.array(part, { maxLength: 6 }), (parts) => {
        const plain = parts.map((p) => (p.wild === '*' ? '*' : p.put.replace(/[*?]/g, 'x'))).join('');
        const text = parts.map((p) => (p.wild === '*' ? p.put : p.put.replace(/[*?]/g, 'x'))).join('');
        expect(matchesGlob(plain, text)).toBe(true);
      }),
    );
  });

  it.each([
    ['*a'.repeat(100) + '*b', 'a'.repeat(10_000)],
    ['*a*a*a*a*a*a*a*a*a*a*a*b', 'a'.repeat(60)],
    ['*'.repeat(10_000), 'a'.repeat(10_000)],
    ['?*'.repeat(2000) + 'b', 'a'.repeat(10_000)],
  ])('takes no more than a moment for a hostile pattern (%#)', (pattern, text) => {
    const started = performance.now();
    matchesGlob(pattern, text);
    expect(performance.now() - started).toBeLessThan(500);
  });
});

function reference(p: string, t: string): boolean {
  if (p === '') return t === '';
  if (p[0] === '*') return reference(p.slice(1), t) || (t !== '' && reference(p, t.slice(1)));
  return t !== '' && (p[0] === '?' || p[0] === t[0]) && reference(p.slice(1), t.slice(1));
}
