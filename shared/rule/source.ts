import { readFile, stat } from 'node:fs/promises';
import { loadRules, type CheckCapture } from './load.ts';
import type { RuleSet } from './rule.ts';

/** The rules file, read again when it has changed. A file that cannot be read is a problem of the rule set, not an exception. */
export class RulesSource {
  readonly #path: string;
  readonly #check: CheckCapture;
  #kept: { stamp: string; rules: Promise<RuleSet> } | undefined;

  constructor(path: string, check: CheckCapture) {
    this.#path = path;
    this.#check = check;
  }

  async current(): Promise<RuleSet> {
    let stamp: string;
    try {
      const { mtimeMs, size } = await stat(this.#path);
      stamp = `${mtimeMs}-${size}`;
    } catch (error) {
      return unreadable(this.#path, error);
    }
    if (this.#kept?.stamp !== stamp) {
      const rules = readFile(this.#path, 'utf8').then(
        (text) => loadRules(text, this.#check),
        (error: unknown) => unreadable(this.#path, error),
      );
      this.#kept = { stamp, rules };
    }
    return this.#kept.rules;
  }
}

function unreadable(path: string, error: unknown): RuleSet {
  const code = (error as NodeJS.ErrnoException).code ?? 'error';
  return {
    rules: [],
    version: 'none',
    problems: [
      {
        line: 1,
        column: 1,
        path: '',
        message: `The rules file ${path} cannot be read (${code}); set TRIPCAP_RULES_FILE`,
      },
    ],
  };
}
