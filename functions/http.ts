import {
  app as host,
  type HttpMethod,
  type HttpRequest,
  type HttpResponseInit,
  type InvocationContext,
} from '@azure/functions';
import type { App } from '../shared/app.ts';
import { Problem } from '../shared/problem.ts';
import { ProviderError } from '../shared/provider/provider.ts';
import { config, inApp } from './app.ts';
import { requireRole, type Role } from './principal.ts';

export type Handler = (request: HttpRequest, app: App) => Promise<HttpResponseInit>;

/** `anyone`: neither key nor role. `key`: a function key, also where Easy Auth is on. */
export type Access = Role | 'anyone' | 'key';

/**
 * Registers one HTTP function. Callers need a function key, or an app role where Easy Auth is on. Whatever a handler throws
 * becomes problem+json; nothing of an unexpected error leaves the app.
 */
export function endpoint(
  name: string,
  methods: HttpMethod[],
  route: string,
  access: Access | ((request: HttpRequest) => Access),
  handler: Handler,
): void {
  const byKey = access === 'key' || (access !== 'anyone' && !config.easyAuth);
  host.http(name, {
    methods,
    route,
    authLevel: byKey ? 'function' : 'anonymous',
    handler: (request, context) => answer(request, context, access, handler),
  });
}

async function answer(
  request: HttpRequest,
  context: InvocationContext,
  access: Access | ((request: HttpRequest) => Access),
  handler: Handler,
): Promise<HttpResponseInit> {
  try {
    const needed = typeof access === 'function' ? access(request) : access;
    if (config.easyAuth && needed !== 'anyone' && needed !== 'key') requireRole(request, needed);
    return await inApp(context, (app) => handler(request, app));
  } catch (error) {
    return toAnswer(error, context);
  }
}

function toAnswer(error: unknown, context: InvocationContext): HttpResponseInit {
  let problem: Problem;
  if (error instanceof Problem) problem = error;
  else if (error instanceof ProviderError)
    problem = new Problem('cloud-unavailable', error.message, {
      retryAfterSeconds: 30,
      members: { reason: error.code },
    });
  else {
    context.error('unexpected error', error);
    problem = new Problem('internal', `Something went wrong; the log of invocation ${context.invocationId} says what`);
  }
  return {
    status: problem.status,
    headers: {
      'content-type': 'application/problem+json',
      ...(problem.retryAfterSeconds === undefined ? {} : { 'retry-after': String(problem.retryAfterSeconds) }),
    },
    body: JSON.stringify(problem.toBody()),
  };
}

/** The body as bytes, not read at all when it says that it is too large. */
export async function readBody(request: HttpRequest, maxBytes: number): Promise<Uint8Array> {
  const length = Number(request.headers.get('content-length') ?? 0);
  if (length > maxBytes)
    throw new Problem('payload-too-large', `The body has ${length} bytes; at most ${maxBytes} are read`);
  return new Uint8Array(await request.arrayBuffer());
}

export function json(status: number, body: unknown, headers: Record<string, string> = {}): HttpResponseInit {
  return { status, headers: { 'content-type': 'application/json', ...headers }, body: JSON.stringify(body) };
}
