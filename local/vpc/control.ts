import type { Answer } from './answer.ts';
import { noFaults, parseControl, type Control } from './faults.ts';
import { loopbackOf, type Inventory } from './inventory.ts';
import type { Mirror } from './mirror.ts';
import type { RequestLog } from '../emulator/request-log.ts';
import type { LoggedRequest } from './requests.ts';
import { settle } from './settle.ts';
import type { State } from './state.ts';

export type OwnCalls = { state: State; requests: RequestLog<LoggedRequest>; inventory: Inventory; mirror: Mirror };

/** The emulator's own calls, which no cloud has: faults, arrears, targets, the request log, and what is mirrored. */
export function ownCall(method: string, path: string, text: string, own: OwnCalls): Answer {
  const { state, requests } = own;
  switch (`${method} ${path}`) {
    case 'GET /_log':
      return answer(200, requests.entries);
    case 'GET /_state':
      return answer(200, stateOf(own));
    case 'GET /_control':
      return answer(200, settings(state));
    case 'POST /_control': {
      const given = parseControl(parseJson(text));
      if (typeof given === 'string') return answer(400, { error: given });
      apply(state, given, Date.now());
      return answer(200, settings(state));
    }
    default:
      return answer(404, { error: `${method} ${path} is no call of the emulator.` });
  }
}

function apply(state: State, given: Control, now: number): void {
  const { content } = state;
  if (given.faults === null) {
    content.faults = noFaults();
    content.violations = 0;
  } else if (given.faults) {
    content.faults = { ...content.faults, ...given.faults };
  }
  for (const [id, address] of Object.entries(given.targets ?? {})) {
    if (address === null) delete content.targets[id];
    else content.targets[id] = address;
  }
  if (given.open !== undefined) content.open = given.open;
  if (given.arrears !== undefined) setArrears(state, given.arrears);
  if (given.expireKeys) {
    for (const key of Object.values(content.temporaryKeys)) key.expiresAt = Math.min(key.expiresAt, now);
  }
  settle(state, now);
  state.save();
}

/**
 * Enabled sessions are switched off; when the debt is paid they come on again by themselves. GUESS: that lists show them as
 * not enabled in between.
 */
function setArrears({ content }: State, arrears: boolean): void {
  if (content.arrears === arrears) return;
  content.arrears = arrears;
  for (const session of Object.values(content.sessions)) {
    if (arrears ? !session.asked.enabled : !session.lockedOn) continue;
    if (arrears) session.lockedOn = true;
    else delete session.lockedOn;
    session.asked = { ...session.asked, enabled: !arrears };
    if (session.inForce) session.inForce = { ...session.inForce, enabled: !arrears };
  }
}

function settings({ content }: State): object {
  const { faults, violations, targets, arrears, open } = content;
  return { faults, violations, targets, arrears, open };
}

function stateOf({ state, inventory, mirror }: OwnCalls): object {
  const { sessions, filters, targets, arrears, open } = state.content;
  const sources = new Set(Object.values(sessions).flatMap((session) => session.asked.sources));
  return {
    open,
    arrears,
    targets,
    sessions: Object.values(sessions).map((session) => ({
      id: session.id,
      name: session.name,
      status: session.status,
      ...session.asked,
      /** Packets are mirrored now, if the source has any. */
      mirroring: session.inForce?.enabled === true,
      /** Since this process began. */
      sent: mirror.sent(session.id),
    })),
    filters: Object.values(filters).map(({ id, name, status, rules }) => ({ id, name, status, rules: rules.length })),
    sources: [...sources].flatMap((id) => {
      const found = inventory.interface(id);
      return found ? [{ id, address: found.address, sentFrom: loopbackOf(found.address) }] : [];
    }),
  };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function answer(status: number, body: object): Answer {
  return { status, headers: {}, body: body as Record<string, unknown> };
}
