import { Chance, takeTurn } from '../emulator/faults.ts';
import type { FaultAnswer, Rule } from './faults.ts';
import type { State } from './state.ts';

/** A call as far as faults look at it. */
export type FaultyCall = { action: string; parameters: [string, string][] };

/** What becomes of a call. */
export type Fate = {
  delayMs: number;
  /** With neither, the usual answer. */
  answer?: FaultAnswer;
  code?: { code: string; status?: number; message?: string };
  carriedOut: boolean;
  retryAfterMs?: number;
  /** It came although the same call had been told to wait. */
  violation: boolean;
};

const USUAL: Fate = { delayMs: 0, carriedOut: true, violation: false };
const THROTTLED_MS = 1000;
const SLOW_MS = 400;
const RANDOM_ANSWERS = ['500', '503', 'html', 'empty', 'reset', 'throttled', 'slow'] as const;

/** Decides which calls go wrong: by rules, and at random. */
export class Injector {
  readonly #state: State;
  readonly #chance = new Chance();

  constructor(state: State) {
    this.#state = state;
  }

  fateOf(call: FaultyCall, now: number): Fate {
    const { faults } = this.#state.content;
    for (const rule of faults.calls) {
      const fate = fits(rule, call) ? byRule(rule, keyOf(call), now) : undefined;
      if (!fate) continue;
      if (fate.violation) this.#state.content.violations += 1;
      this.#state.save();
      return fate;
    }
    return faults.random ? this.#byChance(faults.random, call) : USUAL;
  }

  #byChance(random: { seed: number; rate: number }, call: FaultyCall): Fate {
    const dice = this.#chance.roll(random, keyOf(call));
    if (!dice) return USUAL;
    const answer = RANDOM_ANSWERS[(dice[4] ?? 0) % RANDOM_ANSWERS.length] ?? 'slow';
    if (answer === 'slow') return { ...USUAL, delayMs: SLOW_MS };
    if (answer === 'throttled') {
      return { ...USUAL, carriedOut: false, code: { code: 'Throttling.User' }, retryAfterMs: THROTTLED_MS };
    }
    // An answer may be lost on its way to or from the service.
    const carriedOut = answer !== '500' && (dice[5] ?? 0) % 2 === 0;
    return { ...USUAL, answer, carriedOut };
  }
}

function fits(rule: Rule, call: FaultyCall): boolean {
  const actions = rule.on === undefined ? undefined : [rule.on].flat();
  const { where } = rule;
  return (
    (!actions || actions.includes(call.action)) &&
    (where === undefined || call.parameters.some(([, value]) => value.includes(where)))
  );
}

/** What a rule makes of a call that fits it; undefined when it is not its turn yet, or used up. */
function byRule(rule: Rule, key: string, now: number): Fate | undefined {
  const throttling = rule.code?.includes('Throttling') === true;
  const ms = throttling ? (rule.retryAfterMs ?? THROTTLED_MS) : (rule.seconds ?? Infinity) * 1000;
  const turn = takeTurn(rule, { key, now }, { ms, throttling });
  if (!turn) return undefined;
  const { code, status, message, answer } = rule;
  const retryAfterMs = throttling ? Math.ceil(turn.endsAt - now) : rule.retryAfterMs;
  return {
    delayMs: rule.delayMs ?? 0,
    ...(answer ? { answer } : {}),
    ...(code === undefined
      ? {}
      : { code: { code, ...(status === undefined ? {} : { status }), ...(message === undefined ? {} : { message }) } }),
    carriedOut: (answer === undefined && code === undefined) || rule.carriedOut === true,
    ...(retryAfterMs === undefined ? {} : { retryAfterMs }),
    violation: turn.violation,
  };
}

/** Retries have another nonce and date, but the same action and parameters. */
function keyOf(call: FaultyCall): string {
  return JSON.stringify([call.action, ...call.parameters.filter(([name]) => name !== 'ClientToken')]);
}
