/**
 * Whether the whole of `text` matches `pattern`, in which `*` stands for any letters and `?` for one. Case does not count.
 * Takes time proportional to both lengths at worst, whatever the pattern: backtracking goes to the last `*` only.
 */
export function matchesGlob(pattern: string, text: string): boolean {
  // By letters, not by UTF-16 units.
  const p = Array.from(pattern.toLowerCase());
  const t = Array.from(text.toLowerCase());
  let pi = 0;
  let ti = 0;
  let star = -1;
  let mark = 0;
  while (ti < t.length) {
    if (p[pi] === '*') {
      star = pi++;
      mark = ti;
    } else if (pi < p.length && (p[pi] === '?' || p[pi] === t[ti])) {
      pi++;
      ti++;
    } else if (star >= 0) {
      pi = star + 1;
      ti = ++mark;
    } else return false;
  }
  while (p[pi] === '*') pi++;
  return pi === p.length;
}
