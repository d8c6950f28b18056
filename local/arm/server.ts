import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { failure, type Answer } from './answer.ts';
import { noRoute, type Handler } from './api.ts';
import type { Inventory } from './inventory.ts';
import { log } from './log.ts';
import type { BoundService } from './network.ts';
import type { RequestLog } from './requests.ts';
import type { Router } from './router.ts';
import { NO_FAULTS, type Faults, type State } from './state.ts';

/** The HTTP side: what ARM's front door checks before a resource provider sees a request, and the emulator's own calls. */
export type ServerOptions = {
  state: State;
  requests: RequestLog;
  inventory: Inventory;
  routes: Router<Handler>;
  services: BoundService[];
};

const MAX_BODY_BYTES = 1_048_576;

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

async function answerTo(request: IncomingMessage, options: ServerOptions): Promise<Answer> {
  const url = new URL(request.url ?? '/', `http://${request.headers.host ?? '127.0.0.1'}`);
  const method = request.method ?? 'GET';
  if (url.pathname.startsWith('/_')) return ownCall(method, url.pathname, request, options);

  const { faults } = options.state.content;
  if (faults.delayMs > 0) await sleep(faults.delayMs);
  const answer = await armCall(method, url, request, options);
  options.requests.add({
    time: new Date().toISOString(),
    method,
    path: url.pathname,
    apiVersion: url.searchParams.get('api-version'),
    status: answer.status,
  });
  return { ...answer, headers: { ...frontDoorHeaders(method, url.pathname), ...answer.headers } };
}

async function armCall(
  method: string,
  url: URL,
  request: IncomingMessage,
  { state, inventory, routes }: ServerOptions,
): Promise<Answer> {
  const body = await readBody(request);
  if (state.content.faults.down) {
    return failure(503, 'ServiceUnavailable', 'The service is unavailable.');
  }
  // GUESS: the front door's refusals from here on; their codes and texts are in no recording.
  if (!request.headers.authorization) {
    const refusal = failure(
      401,
      'AuthenticationFailed',
      "Authentication failed. The 'Authorization' header is missing.",
    );
    return { ...refusal, headers: { 'www-authenticate': 'Bearer' } };
  }
  const apiVersion = url.searchParams.get('api-version');
  if (!apiVersion) {
    const message = 'The api-version query parameter (?api-version=) is required for all requests.';
    return failure(400, 'MissingApiVersionParameter', message);
  }
  const subscription = url.pathname.split('/')[2] ?? '';
  if (/^\/subscriptions\//i.test(url.pathname) && !inventory.hasSubscription(subscription)) {
    return failure(404, 'SubscriptionNotFound', `The subscription '${subscription}' could not be found.`);
  }
  const content = body && parse(body);
  if (content === BROKEN) {
    return failure(400, 'InvalidRequestContent', 'The request content was invalid and could not be deserialized.');
  }
  const match = routes.match(method, url.pathname);
  return (match?.handler ?? noRoute)({
    path: url.pathname,
    params: match?.params ?? {},
    query: url.searchParams,
    body: content,
    origin: { base: url.origin, apiVersion },
  });
}

async function ownCall(
  method: string,
  path: string,
  request: IncomingMessage,
  { state, requests, services }: ServerOptions,
): Promise<Answer> {
  switch (`${method} ${path}`) {
    case 'GET /_log':
      return { status: 200, body: requests.entries };
    case 'GET /_traffic':
      return { status: 200, body: services };
    case 'POST /_control': {
      const body = parse((await readBody(request)) ?? '');
      const given = typeof body === 'object' && body !== null ? (body as { faults?: unknown }).faults : undefined;
      const faults = given === null ? NO_FAULTS : { ...state.content.faults, ...(given as Partial<Faults>) };
      if (given === undefined || !wellFormed(faults)) return failure(400, 'BadControl', 'Not a set of known faults.');
      state.content.faults = { ...faults };
      state.save();
      return { status: 200, body: { faults } };
    }
    default:
      return failure(404, 'NotFound', `${method} ${path} is no call of the emulator.`);
  }
}

function wellFormed(faults: Faults): boolean {
  const known = Object.keys(faults).every((name) => Object.hasOwn(NO_FAULTS, name));
  return (
    known &&
    Number.isFinite(faults.delayMs) &&
    faults.delayMs >= 0 &&
    ['normal', 'never'].includes(faults.upload) &&
    ['normal', 'ignored'].includes(faults.limits) &&
    typeof faults.down === 'boolean'
  );
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

function send(response: ServerResponse, { status, headers = {}, body }: Answer): void {
  const text = body === undefined ? '' : JSON.stringify(body);
  response.writeHead(status, {
    ...(body === undefined ? {} : { 'content-type': 'application/json; charset=utf-8' }),
    ...(status === 204 ? {} : { 'content-length': Buffer.byteLength(text) }),
    ...headers,
  });
  response.end(text);
}

async function readBody(request: IncomingMessage): Promise<string | undefined> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    // The rest is read and thrown away: an answer before the end of the request would be lost.
    if (size <= MAX_BODY_BYTES) chunks.push(chunk);
  }
  if (size > MAX_BODY_BYTES) return 'too large';
  return size === 0 ? undefined : Buffer.concat(chunks).toString();
}

const BROKEN = Symbol('not JSON');

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return BROKEN;
  }
}
