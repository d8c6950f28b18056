import { failure, ok, type Answer } from './answer.ts';
import { afterControl } from './faults.ts';
import type { BoundService } from './network.ts';
import { parseJson } from './request-body.ts';
import type { RequestLog } from '../emulator/request-log.ts';
import type { LoggedRequest } from './requests.ts';
import type { State } from './state.ts';

/** The emulator's own calls, which no cloud has: faults, the request log, the addresses of the emulated network. */
export function ownCall(
  method: string,
  path: string,
  text: string | undefined,
  { state, requests, services }: { state: State; requests: RequestLog<LoggedRequest>; services: BoundService[] },
): Answer {
  const { content } = state;
  switch (`${method} ${path}`) {
    case 'GET /_log':
      return ok(requests.entries);
    case 'GET /_traffic':
      return ok(services);
    case 'GET /_control':
      return ok({ faults: content.faults, violations: content.violations });
    case 'POST /_control': {
      const body = parseJson(text ?? '');
      const faults = afterControl(content.faults, body);
      if (typeof faults === 'string') return failure(400, 'BadControl', faults);
      content.faults = faults;
      if ((body as { faults: unknown }).faults === null) content.violations = 0;
      state.save();
      return ok({ faults, violations: content.violations });
    }
    default:
      return failure(404, 'NotFound', `${method} ${path} is no call of the emulator.`);
  }
}
