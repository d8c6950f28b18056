import type { Filter, FilterRule, Session, State, Status } from './state.ts';

/**
 * What happens by itself: objects that are being made, changed or deleted come to rest when their time has come.
 *
 * | status    | by                            | then                          |
 * |-----------|-------------------------------|-------------------------------|
 * | Creating  | a create                      | Created, what is asked counts |
 * | Modifying | any change                    | Created, what is asked counts |
 * | Deleting  | a delete                      | gone                          |
 *
 * GUESS: that lists show what is asked at once, and that until then packets go on by what was in force before.
 */
export function settle(state: State, now: number): void {
  const { content } = state;
  if (content.faults.hold) return;
  let changed = false;
  const isDue = (each: { status: Status; settlesAt: number }) => each.status !== 'Created' && each.settlesAt <= now;
  for (const session of Object.values(content.sessions)) {
    if (!isDue(session)) continue;
    changed = true;
    const gone = settleSession(session);
    if (gone) delete content.sessions[session.id];
  }
  for (const filter of Object.values(content.filters)) {
    const due = filter.rules.filter(isDue);
    if (due.length > 0) changed = true;
    for (const rule of due) settleRule(filter, rule);
    if (!isDue(filter)) continue;
    changed = true;
    if (filter.status === 'Deleting') delete content.filters[filter.id];
    else filter.status = 'Created';
  }
  if (changed) state.save();
}

/** @returns whether it is gone */
function settleSession(session: Session): boolean {
  const { status, withoutEffect } = session;
  delete session.withoutEffect;
  session.status = 'Created';
  if (withoutEffect && session.inForce) session.asked = session.inForce;
  else if (status === 'Deleting') return true;
  session.inForce = session.asked;
  return false;
}

function settleRule(filter: Filter, rule: FilterRule): void {
  if (rule.status === 'Deleting') {
    filter.rules = filter.rules.filter((each) => each !== rule);
    return;
  }
  rule.status = 'Created';
  rule.inForce = rule.asked;
}
