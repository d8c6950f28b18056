import { Problem } from '../problem.ts';
import type { Page } from '../storage/list.ts';

/** What became of one thing. `gone`: somebody else had removed it; `held`: storage refuses to let go of it, and says why. */
export type Fate = 'removed' | 'gone' | 'kept' | { held: string };

/** What came of one walk. */
export type Walk = {
  removed: number;
  held: number;
  heldFor: ReadonlySet<string>;
  failed: number;
  /** The time was up before the end; the next walk goes on at `next`, or begins again. */
  unfinished: boolean;
  next: string | undefined;
};

/** Walks from where an earlier walk has ended, or from the beginning, until the time is up. `complain` hears what goes wrong. */
export type Walker = (
  from: string | undefined,
  budget: AbortSignal,
  complain: (error: unknown) => void,
) => Promise<Walk>;

const atOnce = 16;

/**
 * Walks over pages of things and decides each one's fate, several at a time; never more than a page is in memory. What goes
 * wrong with one thing is counted (and told, the first time), and the thing stays; only storage out of reach ends the walk. A
 * few things are dealt with however little time there is. `keyOf`: pages can go on after any thing, by its key.
 */
export function walkOver<T>(
  pages: (next: string | undefined) => Promise<Page<T>>,
  decide: (item: T) => Promise<Fate>,
  keyOf?: (item: T) => string,
): Walker {
  return async (from, budget, complain) => {
    const heldFor = new Set<string>();
    const sum = { removed: 0, held: 0, heldFor, failed: 0 };
    const fateOf = async (item: T): Promise<Fate> => {
      try {
        return await decide(item);
      } catch (error) {
        if (error instanceof Problem && error.code === 'storage-unavailable') throw error;
        if (sum.failed++ === 0) complain(error);
        return 'kept';
      }
    };
    let next = from;
    do {
      const page = await pages(next);
      for (let i = 0; i < page.items.length; i += atOnce) {
        const some = page.items.slice(i, i + atOnce);
        for (const fate of await Promise.all(some.map(fateOf))) {
          if (fate === 'removed') sum.removed++;
          if (typeof fate === 'object') {
            sum.held++;
            heldFor.add(fate.held);
          }
        }
        const last = some.at(-1);
        if (budget.aborted && last && i + atOnce < page.items.length) {
          // Without keys, those of this page that were dealt with are gone, or are looked at once more.
          return { ...sum, unfinished: true, next: keyOf ? keyOf(last) : next };
        }
      }
      next = page.next;
      if (budget.aborted && next !== undefined) return { ...sum, unfinished: true, next };
    } while (next !== undefined);
    return { ...sum, unfinished: false, next };
  };
}
