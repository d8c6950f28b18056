import type { RuleSet } from '../rule/rule.ts';
import type { Page } from '../storage/list.ts';
import type { Row, Table } from '../storage/table.ts';
import { isOld } from './age.ts';
import { walkOver, type Fate, type Walker } from './walk.ts';

/** The times in the rows of cool-downs and of schedules. */
type Mark = { at?: string; until?: string };

const rowsPerPage = 500;

/** Cool-downs that have been over for long. */
export function expireCooldowns(state: Table, until: Date): Walker {
  return walkOver(rowsOf(state, 'cooldown'), (mark) => expireMark(state, until, mark), nameOf);
}

/**
 * How far the schedules of rules had come that are no more. That of a rule in force stays, however rarely it is due; and while the
 * rules file has faults, nobody knows which rules there are.
 */
export function expireSchedules(state: Table, until: Date, { rules, problems }: RuleSet): Walker {
  const names = new Set(rules.map((rule) => rule.name));
  const decide = async (mark: Row<Mark>): Promise<Fate> =>
    problems.length > 0 || names.has(mark.row) ? 'kept' : expireMark(state, until, mark);
  return walkOver(rowsOf(state, 'schedule'), decide, nameOf);
}

function nameOf({ row }: Row<Mark>): string {
  return row;
}

function rowsOf(state: Table, partition: string): (next: string | undefined) => Promise<Page<Row<Mark>>> {
  return async (next) => {
    const items = await state.scan<Mark>(partition, { after: next, limit: rowsPerPage });
    const last = items.at(-1);
    return last && items.length === rowsPerPage ? { items, next: last.row } : { items };
  };
}

async function expireMark(state: Table, until: Date, { partition, row, etag, value }: Row<Mark>): Promise<Fate> {
  if (!isOld(until, [value.at, value.until])) return 'kept';
  const outcome = await state.remove(partition, row, etag);
  return outcome === 'changed' ? 'kept' : outcome;
}
