import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { failure, type Answer } from './answer.ts';
import { noRoute, type Call, type Route } from './api.ts';
import { ownCall } from './control.ts';
import { faultAnswer } from './fault-answers.ts';
import { sendUnusual, type Unusual } from '../emulator/unusual.ts';
import type { Fate, Injector } from './injector.ts';
import type { Inventory } from './inventory.ts';
import { log } from './log.ts';
import type { BoundService } from './network.ts';
import { BROKEN, parseJson, readBody } from './request-body.ts';
import type { RequestLog } from '../emulator/request-log.ts';
import type { LoggedRequest } from './requests.ts';
import type { Router } from './router.ts';
import type { State } from './state.ts';

/** The HTTP side: what ARM's front door checks before a resource provider sees a request, and the faults of calls. */
export type ServerOptions = {
  state: State;
  requests: RequestLog<LoggedRequest>;
  inventory: Inventory;
  routes: Router<Route>;
  injector: Injector;
  services: BoundService[];
};

export function createArmServer(options: ServerOptions): Server {
  return createServer((request, response) => {
    answerTo(request, options).then(
      (answer) => send(response, answer),
      (error: unknown) => {
        log('arm', `${request.method} ${request.url}: ${(error as Error).stack}`);
        // GUESS: the provider's recorded 500 stands for any fault of the emulator.
        send(response, failure(500, 'InternalServerError', 'An error occurred.', []));
      },
    );
  });
}

async function answerTo(request: IncomingMessage, options: ServerOptions): Promise<Answer | Unusual> {
  const url = new URL(request.url ?? '/', `http://${request.headers.host ?? '127.0.0.1'}`);
  const method = request.method ?? 'GET';
  const text = await readBody(request);
  if (url.pathname.startsWith('/_')) return ownCall(method, url.pathname, text, options);

  const { faults } = options.state.content;
  if (faults.delayMs > 0) await sleep(faults.delayMs);
  const { answer, fate } = await faultyCall(method, url, text, request.headers.authorization, options);
  options.requests.add({
    time: new Date().toISOString(),
    method,
    path: url.pathname,
    apiVersion: url.searchParams.get('api-version'),
    status: 'status' in answer ? answer.status : 0,
    ...(fate?.answer ? { fault: fate.answer } : {}),
    ...(fate?.violation ? { violation: true } : {}),
  });
  if (!isOfArm(answer)) return answer;
  return { ...answer, headers: { ...frontDoorHeaders(method, url.pathname), ...answer.headers } };
}

/** The answer to a call, or what a fault makes of it. */
async function faultyCall(
  method: string,
  url: URL,
  text: string | undefined,
  authorization: string | undefined,
  options: ServerOptions,
): Promise<{ answer: Answer | Unusual; fate?: Fate }> {
  const { state, routes, injector } = options;
  if (state.content.faults.down) return { answer: failure(503, 'ServiceUnavailable', 'The service is unavailable.') };
  const path = url.pathname;
  const match = routes.match(method, path);
  const call: Call = {
    path,
    url,
    params: match?.handler ? match.params : {},
    query: url.searchParams,
    body: text === undefined ? undefined : parseJson(text),
    origin: { base: url.origin, apiVersion: url.searchParams.get('api-version') ?? '' },
  };
  const kind = match?.handler.kind;
  const fate = injector.fateOf({ method, path, kind, names: match?.handler.names(call) ?? [] }, Date.now());
  if (fate.delayMs > 0) await sleep(fate.delayMs);
  const usual = fate.carriedOut ? armCall(call, match?.handler, authorization, options.inventory) : undefined;
  const faulty = fate.answer ? faultAnswer(fate.answer, { method, path, kind, ...fate }) : undefined;
  const answer = faulty ?? usual;
  if (!answer) throw new Error('a call that is neither carried out nor answered');
  return { answer, fate };
}

function armCall(
  call: Call,
  route: Route | undefined,
  authorization: string | undefined,
  inventory: Inventory,
): Answer {
  // GUESS: the front door's refusals from here on; their codes and texts are in no recording.
  if (!authorization) {
    const message = "Authentication failed. The 'Authorization' header is missing.";
    return { ...failure(401, 'AuthenticationFailed', message), headers: { 'www-authenticate': 'Bearer' } };
  }
  if (!call.origin.apiVersion) {
    const message = 'The api-version query parameter (?api-version=) is required for all requests.';
    return failure(400, 'MissingApiVersionParameter', message);
  }
  const subscription = call.path.split('/')[2] ?? '';
  if (/^\/subscriptions\//i.test(call.path) && !inventory.hasSubscription(subscription)) {
    return failure(404, 'SubscriptionNotFound', `The subscription '${subscription}' could not be found.`);
  }
  if (call.body === BROKEN) {
    return failure(400, 'InvalidRequestContent', 'The request content was invalid and could not be deserialized.');
  }
  return route ? route.act(call) : noRoute(call.path);
}

/** Ids of the request, and the budget left, as recorded in 2026. The numbers do not count down. */
function frontDoorHeaders(method: string, path: string): Record<string, string> {
  const id = randomUUID();
  const ids = { 'x-ms-request-id': id, 'x-ms-correlation-request-id': id, 'x-ms-arm-service-request-id': randomUUID() };
  const budget = 'x-ms-ratelimit-remaining-subscription';
  // A status query is a POST, but counted as a read.
  if (method === 'GET' || path.toLowerCase().endsWith('/querystatus')) {
    return { ...ids, [`${budget}-global-reads`]: '3749' };
  }
  const kind = method === 'DELETE' ? 'deletes' : 'writes';
  return { ...ids, [`${budget}-${kind}`]: '199', [`${budget}-global-${kind}`]: '2999' };
}

function isOfArm(answer: Answer | Unusual): answer is Answer {
  return 'status' in answer && !('text' in answer);
}

function send(response: ServerResponse, answer: Answer | Unusual): void {
  if ('drop' in answer || 'text' in answer) return sendUnusual(response, answer);
  const { status, headers = {}, body } = answer;
  const text = body === undefined ? '' : JSON.stringify(body);
  response.writeHead(status, {
    ...(body === undefined ? {} : { 'content-type': 'application/json; charset=utf-8' }),
    ...(status === 204 ? {} : { 'content-length': Buffer.byteLength(text) }),
    ...headers,
  });
  response.end(text);
}
