import { change, read, type Body, type Context, type Operation } from './operation.ts';
import type { Parameters } from './parameters.ts';
import { Refusal } from './refusal.ts';

/** The service of a region: it must be opened once, and cannot be closed again (but by the control call). */
export const serviceOperations: Operation[] = [
  { ...change('OpenTrafficMirrorService', open), region: 'optional', dryRun: false },
  { ...read('Vpc', 'GetTrafficMirrorServiceStatus', status), region: 'optional' },
];

function open(_: Parameters, { state }: Context): () => Body {
  // GUESS: status and text; that the code is an error is how a public client of the API reads it.
  if (state.content.open) throw new Refusal('ORDER.OPEND', { message: 'The service is already open.' });
  return () => {
    state.content.open = true;
    return { Code: '200', Message: 'successful' };
  };
}

function status(_: Parameters, { state }: Context): Body {
  return { Enabled: state.content.open };
}

/** @throws Refusal when the service is not open, or locked because of arrears. */
export function checkService({ state }: Context): void {
  if (!state.content.open) throw new Refusal('OptInRequired.TrafficMirror');
  if (state.content.arrears) throw new Refusal('IncorrectBusinessStatus.TrafficMirror');
}
