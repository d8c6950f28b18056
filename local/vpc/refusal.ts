import { isKnown, messageOf, statusOf } from './codes.ts';

/** A call that is refused with a code of the cloud; thrown where the reason is found, answered by the server. */
export class Refusal extends Error {
  readonly code: string;
  readonly status: number;
  /** What a 403 says of the missing permission. */
  readonly detail: Record<string, unknown> | undefined;

  /** Message and status are those that are documented for the code, unless given. */
  constructor(code: string, given: { message?: string; status?: number; detail?: Record<string, unknown> } = {}) {
    super(given.message ?? messageOf(code));
    this.code = code;
    this.status = given.status ?? statusOf(code);
    this.detail = given.detail;
  }
}

/** GUESS: the gateway's code for a parameter that is not there; seen of other products. */
export function missing(name: string): Refusal {
  return new Refusal(`Missing${name}`, { message: `${name} is mandatory for this action.` });
}

/** GUESS: the code for a value that does not fit, named as IllegalParam.ClientToken and IllegalParam.Priority are. */
export function illegal(name: string): Refusal {
  const code = `IllegalParam.${name}`;
  return new Refusal(code, isKnown(code) ? {} : { message: `The specified ${name} is invalid.` });
}
