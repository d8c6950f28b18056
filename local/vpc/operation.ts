import type { Product } from './answer.ts';
import type { Delays } from './delays.ts';
import type { Inventory } from './inventory.ts';
import type { Parameters } from './parameters.ts';
import type { State } from './state.ts';
import type { WorldInterface } from './world.ts';

export type Body = Record<string, unknown>;

export type Context = {
  state: State;
  inventory: Inventory;
  region: string;
  /** The primary address that an interface is described with. */
  addressOf: (of: WorldInterface) => string;
  /** What the audience of a token must be that is exchanged for keys. */
  audience: string;
  delays: Delays;
  now: number;
};

/**
 * A call of an API. `prepare` checks everything and throws a Refusal, or gives what carries it out: a dry run ends between
 * the two.
 */
export type Operation = {
  product: Product;
  action: string;
  region: 'required' | 'optional' | 'none';
  /** Takes a ClientToken. */
  idempotent: boolean;
  /** Takes DryRun. */
  dryRun: boolean;
  /** Changes something, so that there is something to save. */
  effect: boolean;
  prepare: (parameters: Parameters, context: Context) => () => Body;
};

/** A read: nothing to carry out. */
export function read(
  product: Product,
  action: string,
  answer: (parameters: Parameters, context: Context) => Body,
): Operation {
  return {
    product,
    action,
    region: 'required',
    idempotent: false,
    dryRun: false,
    effect: false,
    prepare: (parameters, context) => {
      const body = answer(parameters, context);
      return () => body;
    },
  };
}

/** A change of mirroring. */
export function change(action: string, prepare: Operation['prepare']): Operation {
  return { product: 'Vpc', action, region: 'required', idempotent: true, dryRun: true, effect: true, prepare };
}
