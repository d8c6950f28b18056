import { randomUUID } from 'node:crypto';
import type { Unusual } from '../emulator/unusual.ts';
import { failure, type Answer } from './answer.ts';
import type { CallKind, FaultAnswer } from './faults.ts';

/** What a faulty answer may speak of. */
export type Occasion = { method: string; path: string; kind: CallKind | undefined; retryAfterSeconds?: number };

/**
 * The wrong answers. 500, 504 and their bodies are as recorded. GUESS: all others, of which no recording has one; 401, 403
 * and 429 have the codes and texts that Azure's documentation shows.
 */
export function faultAnswer(answer: FaultAnswer, occasion: Occasion): Answer | Unusual {
  const { retryAfterSeconds } = occasion;
  const reply = plain(answer, occasion);
  if (!('status' in reply) || 'text' in reply || retryAfterSeconds === undefined) return reply;
  return { ...reply, headers: { ...reply.headers, 'retry-after': String(retryAfterSeconds) } };
}

function plain(answer: FaultAnswer, { method, path, kind, retryAfterSeconds }: Occasion): Answer | Unusual {
  switch (answer) {
    case '401': {
      const message = 'The access token is invalid.';
      const challenge = `Bearer error="invalid_token", error_description="${message}"`;
      return withHeaders(failure(401, 'InvalidAuthenticationToken', message), { 'www-authenticate': challenge });
    }
    case '403':
      return failure(
        403,
        'AuthorizationFailed',
        `The client '${NOBODY}' with object id '${NOBODY}' does not have authorization to perform action '${actionOf(kind)}' over scope '${path}' or the scope is invalid. If access was recently granted, please refresh your credentials.`,
      );
    case '409':
      return failure(409, BUSY.code, BUSY.message, []);
    case '429-busy':
      return failure(429, BUSY.code, BUSY.message, []);
    case '429':
      return failure(
        429,
        'SubscriptionRequestsThrottled',
        `Number of requests for subscription '${subscriptionOf(path)}' exceeded. Please try again after '${retryAfterSeconds ?? 0}' seconds after additional tokens are available.`,
      );
    case '500':
      return withHeaders(failure(500, 'InternalServerError', encountered(path)), BY_GATEWAY);
    case '500-nested': {
      const details = Array.from({ length: 3 }, () => ({ code: 'InternalServerError', message: encountered(path) }));
      const message = 'Multiple error occurred: . Please see details.';
      return withHeaders(failure(500, 'MultipleErrorsOccurred', message, details), BY_GATEWAY);
    }
    case '500-service': {
      // Recorded with a Location, although there is no operation.
      const location = `https://management.azure.com/subscriptions/${subscriptionOf(path)}/providers/Microsoft.Network/locations/westus2/operationResults/${randomUUID()}`;
      return withHeaders(failure(500, 'InternalServerError', 'An error occurred.', []), {
        ...BY_SERVICE,
        ...(method === 'POST' ? { location } : {}),
      });
    }
    case '503':
      return failure(503, 'ServiceUnavailable', 'The service is unavailable.');
    case '504':
      return withHeaders(failure(504, 'GatewayTimeout', GATEWAY_TIMEOUT), BY_SERVICE);
    case 'html':
      return { status: 502, text: PAGE, contentType: 'text/html' };
    case '200-html':
      return { status: 200, text: PAGE, contentType: 'text/html' };
    case 'empty':
      return { status: 502 };
    case '200-empty':
      return { status: 200 };
    case 'reset':
    case 'hang':
      return { drop: answer };
  }
}

const NOBODY = '00000000-0000-0000-0000-00000000beef';
const BY_GATEWAY = { 'x-ms-failure-cause': 'gateway' };
const BY_SERVICE = { 'x-ms-failure-cause': 'service' };
const GATEWAY_TIMEOUT =
  "The gateway did not receive a response from 'Microsoft.Network' within the specified time period.";
const PAGE = '<html><head><title>502 Bad Gateway</title></head><body><h1>Bad Gateway</h1></body></html>\r\n';
const BUSY = {
  code: 'RetryableErrorDueToAnotherOperation',
  message: 'Operation is holding the resource. The request can be retried.',
};

/** The action that a caller needs for a kind of call, as in Azure's roles. */
function actionOf(kind: CallKind | undefined): string {
  switch (kind) {
    case 'watchers':
      return 'Microsoft.Network/networkWatchers/read';
    case 'machines':
    case 'machine':
      return 'Microsoft.Compute/virtualMachines/read';
    case 'extension':
      return 'Microsoft.Compute/virtualMachines/extensions/read';
    case 'install':
      return 'Microsoft.Compute/virtualMachines/extensions/write';
    case 'scale-sets':
    case 'scale-set':
      return 'Microsoft.Compute/virtualMachineScaleSets/read';
    case 'instances':
      return 'Microsoft.Compute/virtualMachineScaleSets/virtualMachines/read';
    case 'list':
    case 'get':
      return 'Microsoft.Network/networkWatchers/packetCaptures/read';
    case 'create':
      return 'Microsoft.Network/networkWatchers/packetCaptures/write';
    case 'delete':
      return 'Microsoft.Network/networkWatchers/packetCaptures/delete';
    case 'stop':
      return 'Microsoft.Network/networkWatchers/packetCaptures/stop/action';
    case 'status':
      return 'Microsoft.Network/networkWatchers/packetCaptures/queryStatus/action';
    case 'operation':
      return 'Microsoft.Network/locations/operations/read';
    case 'result':
      return 'Microsoft.Network/locations/operationResults/read';
    case undefined:
      return 'Microsoft.Resources/subscriptions/read';
  }
}

function encountered(path: string): string {
  const id = randomUUID();
  const timestamp = new Date().toISOString().replace(/[-:]|\.\d+/g, '');
  return `Encountered internal server error. Diagnostic information: timestamp '${timestamp}', subscription id '${subscriptionOf(path)}', tracking id '${id}', request correlation id '${id}'.`;
}

function subscriptionOf(path: string): string {
  return path.split('/')[2] ?? '';
}

function withHeaders(answer: Answer, headers: Record<string, string>): Answer {
  return { ...answer, headers };
}
