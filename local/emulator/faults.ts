import { createHash } from 'node:crypto';
import * as v from 'valibot';

/** What the faults of all emulators have in common: how often a rule's turn is, and calls that go wrong at random. */
export const count = v.pipe(v.number(), v.integer(), v.minValue(0));
export const amount = v.pipe(v.number(), v.finite(), v.minValue(0));

/** Members of every rule. */
export const ofRules = {
  carriedOut: v.exactOptional(v.boolean()),
  delayMs: v.exactOptional(amount),
  after: v.exactOptional(count),
  times: v.exactOptional(count),
  seconds: v.exactOptional(amount),
};

export const random = v.nullable(
  v.strictObject({ seed: v.number(), rate: v.pipe(v.number(), v.minValue(0), v.maxValue(1)) }),
);
type Random = NonNullable<v.InferOutput<typeof random>>;

/**
 * How often a rule had its turn: calls that fitted (`seen`) and those that went wrong by it (`hit`, the first of them at
 * `since`); `told` are those that were told to wait.
 */
export type Turns = { seen: number; hit: number; since?: number; told?: string[] };

/** Whether it is the rule's turn on a call that fits it; undefined when it is not yet, or when the rule is used up. */
export function takeTurn(
  rule: Turns & { after?: number; times?: number },
  call: { key: string; now: number },
  limit: { ms: number; throttling: boolean },
): { endsAt: number; /** It came although the same call had been told to wait. */ violation: boolean } | undefined {
  rule.seen += 1;
  if (rule.seen <= (rule.after ?? 0)) return undefined;
  const since = (rule.since ??= call.now);
  const endsAt = since + limit.ms;
  if (call.now >= endsAt || rule.hit >= (rule.times ?? Infinity)) return undefined;
  rule.hit += 1;
  const violation = limit.throttling && rule.told?.includes(call.key) === true;
  if (limit.throttling && !violation) (rule.told ??= []).push(call.key);
  return { endsAt, violation };
}

const MOST_IN_A_ROW = 2;

/** Calls that go wrong at random: the same for the same seed and number of the call. */
export class Chance {
  /** Calls since random faults were set, and how often in a row each call went wrong. */
  #of: { random: Random; calls: number; inARow: Map<string, number> } | undefined;

  /** Bytes to choose by how this call goes wrong; undefined when it does not. */
  roll(random: Random, key: string): Buffer | undefined {
    if (this.#of?.random !== random) this.#of = { random, calls: 0, inARow: new Map() };
    const { inARow } = this.#of;
    const dice = createHash('sha256')
      .update(`${random.seed} ${this.#of.calls++}`)
      .digest();
    const before = inARow.get(key) ?? 0;
    if (dice.readUInt32BE(0) / 2 ** 32 >= random.rate || before >= MOST_IN_A_ROW) {
      inARow.delete(key);
      return undefined;
    }
    inARow.set(key, before + 1);
    return dice;
  }
}
