import { Chance, takeTurn } from '../emulator/faults.ts';
import { rulesFor, type CallKind, type FaultAnswer, type Rule } from './faults.ts';
import type { State } from './state.ts';

/** A call as far as faults look at it. */
export type FaultyCall = {
  method: string;
  path: string;
  /** Undefined for a path that is no call of the emulator. */
  kind: CallKind | undefined;
  /** Names of what it is about, from wide to narrow; see faults.ts. */
  names: string[];
};

/** What becomes of a call. */
export type Fate = {
  delayMs: number;
  /** Undefined: the usual answer. */
  answer?: FaultAnswer;
  carriedOut: boolean;
  retryAfterSeconds?: number;
  /** It came although the same call had been told to wait. */
  violation: boolean;
};

const USUAL: Fate = { delayMs: 0, carriedOut: true, violation: false };
const THROTTLED_SECONDS = 10;
const SLOW_MS = 400;
const RANDOM_ANSWERS = ['500', '500-service', '503', '504', '429', 'reset', undefined] as const;

/** Decides which calls go wrong: by rules, and at random. */
export class Injector {
  readonly #state: State;
  readonly #chance = new Chance();

  constructor(state: State) {
    this.#state = state;
  }

  fateOf(call: FaultyCall, now: number): Fate {
    const { faults } = this.#state.content;
    for (const rule of rulesFor(faults, call.names)) {
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
    const answer = RANDOM_ANSWERS[(dice[4] ?? 0) % RANDOM_ANSWERS.length];
    if (!answer) return { ...USUAL, delayMs: SLOW_MS };
    // An answer may be lost on its way to or from the service.
    const carriedOut = (answer === '504' || answer === 'reset') && (dice[5] ?? 0) % 2 === 0;
    return {
      delayMs: 0,
      answer,
      carriedOut,
      violation: false,
      ...(answer === '429' ? { retryAfterSeconds: 1 } : {}),
    };
  }
}

function fits(rule: Rule, call: FaultyCall): boolean {
  const kinds = rule.on === undefined ? undefined : [rule.on].flat();
  const path = rule.path?.toLowerCase();
  return (
    (!kinds || (call.kind !== undefined && kinds.includes(call.kind))) &&
    (path === undefined || call.path.toLowerCase().includes(path))
  );
}

/** What a rule makes of a call that fits it; undefined when it is not its turn yet, or used up. */
function byRule(rule: Rule, key: string, now: number): Fate | undefined {
  const throttling = rule.answer === '429' ? (rule.retryAfterSeconds ?? THROTTLED_SECONDS) : undefined;
  const limit = { ms: (throttling ?? rule.seconds ?? Infinity) * 1000, throttling: throttling !== undefined };
  const turn = takeTurn(rule, { key, now }, limit);
  if (!turn) return undefined;
  const retryAfterSeconds = throttling === undefined ? rule.retryAfterSeconds : Math.ceil((turn.endsAt - now) / 1000);
  return {
    delayMs: rule.delayMs ?? 0,
    ...(rule.answer ? { answer: rule.answer } : {}),
    carriedOut: rule.answer === undefined || rule.carriedOut === true,
    ...(retryAfterSeconds === undefined ? {} : { retryAfterSeconds }),
    violation: turn.violation,
  };
}

function keyOf(call: FaultyCall): string {
  return `${call.method} ${call.path.toLowerCase()}`;
}
