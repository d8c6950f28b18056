import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { AppFunction, Core, HttpCookie, HttpRequestData, HttpResponseData } from './core.ts';
import { describe } from './log.ts';
import type { Log } from './log.ts';
import { literalPattern } from './trigger.ts';
import type { Run } from './trigger.ts';

/**
 * HTTP triggers, and the one admin call that is useful by hand.
 *
 * Keys are waived, as Core Tools does: in Azure the platform asks for them. But a function that was given keys asks for
 * one of them, unless its `authLevel` is `anonymous`: in the header `x-functions-key`, or as `?code=`. Left out: running
 * HTTP functions by the admin call, route constraints (read and ignored), default values, HEAD, content negotiation, the
 * 230 s limit of Azure's front end.
 */
export interface HttpRoute {
  fn: AppFunction;
  methods: string[];
  pattern: RegExp;
  /** Names of the parameters, in the order of the pattern's groups. */
  parameters: string[];
  /** Sorts literal before parameter before wildcard, segment by segment. */
  rank: string;
}

export interface HttpServer {
  port: number;
  /** Accepts nothing new; resolves when the requests under way are answered. */
  stop: () => Promise<void>;
  /** Answers everything under way with 500, as the real host does when the worker dies. */
  fail: () => void;
}

const maxBodyBytes = 104_857_600;

/** Compiles a route template: `runs/{id}`, `{x?}`, `{*rest}`, `{id:int}`. */
export function httpRoute(fn: AppFunction, prefix: string): HttpRoute {
  const template = `${prefix}/${typeof fn.trigger['route'] === 'string' ? fn.trigger['route'] : fn.name}`;
  const methods = (fn.trigger['methods'] as string[] | undefined) ?? ['GET', 'POST'];
  const parameters: string[] = [];
  let pattern = '';
  let rank = '';
  for (const segment of template.split('/').filter((part) => part !== '')) {
    const [whole, stars, name, optional] = /^\{(\**)([^:?}]+)(?::[^}]*?)?(\?)?\}$/.exec(segment) ?? [];
    if (whole !== undefined && name !== undefined) {
      parameters.push(name);
      pattern += stars ? '(?:/(.*))?' : optional ? '(?:/([^/]+))?' : '/([^/]+)';
      rank += stars ? '2' : '1';
    } else if (segment.includes('{')) {
      throw new Error(`this host does not understand the route segment "${segment}"`);
    } else {
      pattern += `/${literalPattern(segment)}`;
      rank += '0';
    }
  }
  return {
    fn,
    methods: methods.map((method) => method.toUpperCase()),
    pattern: new RegExp(`^${pattern}/?$`, 'is'),
    parameters,
    rank,
  };
}

export async function serve(options: {
  port: number;
  routes: HttpRoute[];
  /** Functions that can be run by `POST /admin/functions/NAME`. */
  runs: ReadonlyMap<string, Run>;
  /** Paths answered with the content of a JSON file. */
  jsonFiles: ReadonlyMap<string, string>;
  /** Keys of functions, by their names. */
  keys: ReadonlyMap<string, readonly string[]>;
  invoke: Core['invoke'];
  log: Log;
}): Promise<HttpServer> {
  const { runs, jsonFiles, keys, invoke, log } = options;
  const routes = options.routes.toSorted((a, b) => (a.rank < b.rank ? -1 : a.rank > b.rank ? 1 : 0));
  const open = new Set<ServerResponse>();
  let stopping = false;

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = requestUrl(request);
    if (url === undefined) return send(response, 400);
    const length = Number(request.headers['content-length'] ?? 0);
    if (length > maxBodyBytes) {
      request.resume(); // so that a client still sending gets to read the answer
      return send(response, 500);
    }
    const { method = 'GET' } = request;
    const path = decodePath(url.pathname);
    const jsonFile = jsonFiles.get(path);
    if (jsonFile !== undefined && method === 'GET') return sendFile(response, jsonFile);
    const admin = /^\/admin\/functions\/([^/]+)$/i.exec(path)?.[1];
    if (admin !== undefined) return runByHand(request, response, admin);

    for (const route of routes) {
      const match = route.methods.includes(method) ? route.pattern.exec(path) : null;
      if (match === null) continue;
      if (!hasKey(route.fn, request, url)) {
        request.resume();
        return send(response, 401);
      }
      const params = Object.fromEntries(
        route.parameters.flatMap((name, index) => {
          const value = match[index + 1];
          return value === undefined ? [] : [[name, { value }]];
        }),
      );
      return call(route.fn, request, response, url, params);
    }
    request.resume();
    send(response, 404); // also for a wrong method: the real host never says 405
  }

  function hasKey(fn: AppFunction, request: IncomingMessage, url: URL): boolean {
    const wanted = fn.trigger['authLevel'] === 'anonymous' ? undefined : keys.get(fn.name);
    const given = [request.headers['x-functions-key'], url.searchParams.get('code')];
    return wanted === undefined || given.some((key) => typeof key === 'string' && wanted.includes(key));
  }

  async function call(
    fn: AppFunction,
    request: IncomingMessage,
    response: ServerResponse,
    url: URL,
    nullableParams: HttpRequestData['nullableParams'],
  ): Promise<void> {
    const body = await readBody(request);
    const http: HttpRequestData = {
      method: request.method ?? 'GET',
      url: url.href,
      nullableHeaders: mapValues(request.headers, (value) => ({ value: String(value) })),
      nullableQuery: joinQuery(url.searchParams),
      nullableParams,
      headers: {},
      query: {},
      params: {},
    };
    // As the real host: a body of unknown length (chunked) does not reach the function.
    if (request.headers['content-length'] === undefined && body.length > 0) {
      log('warning', fn.name, 'a body without Content-Length is not passed on');
    } else if (body.length > 0) {
      http.body = { bytes: body };
    }
    let result;
    try {
      result = await invoke(fn, { input: { http }, traceParent: request.headers['traceparent'] as string | undefined });
    } catch {
      return send(response, 500); // logged where it was caught first
    }
    const answer = result.returnValue?.http as HttpResponseData | undefined;
    if (answer === undefined) return send(response, 204);
    const headers: OutgoingHttpHeaders = { ...answer.headers };
    // How the body is framed is the host's business.
    delete headers['content-length'];
    delete headers['transfer-encoding'];
    if (answer.cookies.length > 0) {
      headers['set-cookie'] = [answer.headers['set-cookie'] ?? [], answer.cookies.map(setCookie)].flat();
    }
    send(response, Number(answer.statusCode), headers, answer.body?.bytes);
  }

  async function runByHand(request: IncomingMessage, response: ServerResponse, name: string): Promise<void> {
    const body = (await readBody(request)).toString();
    const run = runs.get(name);
    if (request.method !== 'POST' || run === undefined) return send(response, 404);
    let input: unknown;
    try {
      input = body === '' ? '' : (JSON.parse(body) as { input?: unknown }).input;
    } catch {
      return send(response, 400);
    }
    const text = typeof input === 'string' ? input : JSON.stringify(input ?? '');
    run(text).catch((error: unknown) => log('error', name, `was run by hand and failed: ${describe(error)}`));
    send(response, 202);
  }

  function send(
    response: ServerResponse,
    status: number,
    headers: OutgoingHttpHeaders = {},
    body: Uint8Array = Buffer.alloc(0),
  ): void {
    if (stopping) response.shouldKeepAlive = false;
    const hasNoBody = status === 204 || status === 304;
    response.writeHead(status, hasNoBody ? headers : { ...headers, 'content-length': body.length });
    response.end(body);
  }

  async function sendFile(response: ServerResponse, file: string): Promise<void> {
    const content = await readFile(file).catch(() => undefined);
    if (content === undefined) return send(response, 503);
    send(response, 200, { 'content-type': 'application/json' }, content);
  }

  const server = createServer((request, response) => {
    open.add(response);
    response.on('close', () => open.delete(response));
    handle(request, response).catch((error: unknown) => {
      // A client that went away, or a response that HTTP does not allow. What follows the path may be a key.
      const [path] = (request.url ?? '').split('?', 1);
      log('warning', 'host', `${request.method} ${path} broke off: ${describe(error)}`);
      if (response.headersSent) response.destroy();
      else send(response, 500);
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.port, '127.0.0.1', resolve);
  });

  return {
    port: (server.address() as AddressInfo).port,
    stop() {
      stopping = true;
      return new Promise((resolve) => server.close(() => resolve()));
    },
    fail() {
      for (const response of open) if (!response.headersSent) send(response, 500, { connection: 'close' });
    },
  };
}

function requestUrl(request: IncomingMessage): URL | undefined {
  const { url = '/', headers } = request;
  const host = headers.host ?? `127.0.0.1:${request.socket.localPort}`;
  return url.startsWith('/') && URL.canParse(`http://${host}${url}`) ? new URL(`http://${host}${url}`) : undefined;
}

/** Decodes all but %2F, as ASP.NET Core does; what cannot be decoded stays. (Not measured on the real host.) */
function decodePath(path: string): string {
  try {
    return decodeURIComponent(path.replaceAll(/%(?=2f)/gi, '%25'));
  } catch {
    return path;
  }
}

/** Reads to the end; of a body that turns out too large (no Content-Length) only the start is kept. */
async function readBody(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size <= maxBodyBytes) chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** `?a=1&a=2` becomes one value `1,2`: so does the real host hand it to the library. */
function joinQuery(query: URLSearchParams): HttpRequestData['nullableQuery'] {
  return Object.fromEntries([...new Set(query.keys())].map((key) => [key, { value: query.getAll(key).join(',') }]));
}

function mapValues<T, R>(record: Record<string, T>, change: (value: T) => R): Record<string, R> {
  return Object.fromEntries(Object.entries(record).map(([key, value]) => [key, change(value)]));
}

/** A Set-Cookie header (RFC 6265). The value is percent-encoded, as ASP.NET Core does. */
function setCookie(cookie: HttpCookie): string {
  const parts = [`${cookie.name}=${encodeURIComponent(cookie.value)}`];
  if (cookie.expires) parts.push(`expires=${new Date(cookie.expires.value.seconds * 1000).toUTCString()}`);
  if (cookie.maxAge) parts.push(`max-age=${Math.trunc(cookie.maxAge.value)}`);
  if (cookie.domain) parts.push(`domain=${cookie.domain.value}`);
  if (cookie.path) parts.push(`path=${cookie.path.value}`);
  if (cookie.secure?.value) parts.push('secure');
  if (cookie.sameSite && cookie.sameSite !== 'none') {
    parts.push(`samesite=${cookie.sameSite === 'explicitNone' ? 'none' : cookie.sameSite}`);
  }
  if (cookie.httpOnly?.value) parts.push('httponly');
  return parts.join('; ');
}
