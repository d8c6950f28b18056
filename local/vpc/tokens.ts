import type { Body } from './operation.ts';
import type { Parameters } from './parameters.ts';
import { Refusal } from './refusal.ts';
import type { State } from './state.ts';

// GUESS: how long a token is remembered; no document says.
const REMEMBERED_MS = 24 * 3_600_000;

/**
 * Client tokens: the same token with the same parameters gives the same result again, without a second effect. Only what
 * succeeded is remembered. GUESS: that a token which was used for one action is taken for another is a mismatch, too.
 */
export class Tokens {
  readonly #state: State;

  constructor(state: State) {
    this.#state = state;
  }

  /** What was answered before; undefined for a call without a token or with a new one. */
  answerBefore(action: string, parameters: Parameters): Body | undefined {
    const token = tokenOf(parameters);
    const used = token === undefined ? undefined : this.#state.content.tokens[token];
    if (!used) return undefined;
    if (used.call !== callOf(action, parameters)) throw new Refusal('IdempotentParameterMismatch');
    return used.body;
  }

  remember(action: string, parameters: Parameters, body: Body, now: number): void {
    const token = tokenOf(parameters);
    if (token === undefined) return;
    const { tokens } = this.#state.content;
    for (const [old, { at }] of Object.entries(tokens)) {
      if (at < now - REMEMBERED_MS) delete tokens[old];
    }
    tokens[token] = { call: callOf(action, parameters), body, at: now };
  }
}

/** At most 64 ASCII characters, in either case different ones. */
function tokenOf(parameters: Parameters): string | undefined {
  const token = parameters.text('ClientToken');
  if (token !== undefined && !/^[\x20-\x7e]{1,64}$/.test(token)) throw new Refusal('IllegalParam.ClientToken');
  return token;
}

function callOf(action: string, parameters: Parameters): string {
  const others = parameters.entries().filter(([name]) => name !== 'ClientToken');
  return JSON.stringify([action, ...others]);
}
