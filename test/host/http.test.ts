import { writeFileSync, mkdtempSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import type { ClientRequest } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startHost } from './processes.ts';
import type { RunningHost } from './processes.ts';
import { until } from '../until.ts';

describe('keys', () => {
  let host: RunningHost;
  beforeAll(async () => {
    const keys = ['echo=first', 'echo=s=econd', 'length=other', 'open=unused'];
    host = await startHost({}, { flags: keys.flatMap((key) => ['--key', key]) });
  });
  const status = async (path: string, headers: Record<string, string> = {}) =>
    (await fetch(`${host.url}/api${path}`, { headers })).status;

  test('a function that was given some asks for one of them, in the query or the header', async () => {
    expect(await status('/echo/1?code=first')).toBe(201);
    expect(await status('/echo/1?a=b&code=s%3Decond')).toBe(201);
    expect(await status('/echo/1', { 'x-functions-key': 'first' })).toBe(201);
    expect(await status('/echo/1?code=wrong', { 'x-functions-key': 'first' })).toBe(201);
  });

  test.each([
    ['/echo/1', {}],
    ['/echo/1?code=', {}],
    ['/echo/1?code=other', {}],
    ['/echo/1?Code=first', {}],
    ['/echo/1', { 'x-functions-key': 'First' }],
  ])('%s with %j is 401 with an empty body, and no call', async (path, headers) => {
    const answer = await fetch(`${host.url}/api${path}`, { method: 'POST', body: 'x'.repeat(100_000), headers });
    expect([answer.status, await answer.text()]).toEqual([401, '']);
  });

  test('a function that was given none, or takes anybody, does not ask', async () => {
    expect(await status('/numbers/7')).toBe(200);
    expect(await status('/open')).toBe(200);
  });

  test('none of them is in the log, however a request breaks off', async () => {
    const sent = request(`${host.url}/api/length?code=other`, { method: 'POST', headers: { 'content-length': '9' } });
    sent.on('error', () => undefined);
    sent.write('1', () => sent.destroy());
    await until('the log', () => /POST \/api\/length broke off/.test(host.output()));
    expect(host.output()).not.toMatch(/code=|econd|other/);
  });
});

describe('the HTTP trigger', () => {
  const folder = mkdtempSync(join(tmpdir(), 'host-'));
  const file = join(folder, 'sandbox.json');
  let host: RunningHost;
  beforeAll(async () => {
    host = await startHost({ 'AzureWebJobs.off.Disabled': 'true' }, { flags: ['--json', `/_sandbox=${file}`] });
  });
  afterAll(() => rmSync(folder, { recursive: true }));
  const get = (path: string, init?: RequestInit) => fetch(`${host.url}${path}`, init);
  const text = async (path: string) => (await get(path)).text();

  test('hands over method, URL, params, joined query, headers and body', async () => {
    const answer = await get('/API/Echo/a%20b%2Fc/d?a=1&a=2&b=x%20y', {
      method: 'POST',
      body: 'grüezi',
      headers: { 'X-MS-Client-Principal-Name': 'somebody' },
    });
    expect(answer.status).toBe(201);
    expect(await answer.json()).toMatchObject({
      method: 'POST',
      url: `${host.url}/API/Echo/a%20b%2Fc/d?a=1&a=2&b=x%20y`,
      params: { id: 'a b%2Fc', part: 'd' },
      query: { a: '1,2', b: 'x y' },
      all: ['1,2'],
      header: 'somebody',
      body: 'grüezi',
    });
  });

  test('answers with status, headers, cookies and the right length', async () => {
    const answer = await get('/api/echo/1');
    expect(answer.status).toBe(201);
    expect(answer.headers.get('x-answer')).toBe('yes');
    expect(answer.headers.get('content-type')).toBe('application/json');
    expect(answer.headers.getSetCookie()).toEqual(['a=b%20c; max-age=60; samesite=lax; httponly', 'd=e']);
    expect(await answer.json()).toMatchObject({ params: { id: '1' }, query: {}, body: '' });
  });

  test('continues the trace of the caller', async () => {
    const trace = '0af7651916cd43dd8448eb211c80319c';
    const answer = await get('/api/echo/1', { headers: { traceparent: `00-${trace}-b7ad6b7169203331-01` } });
    const { traceParent } = (await answer.json()) as { traceParent: string };
    expect(traceParent).toMatch(new RegExp(`^00-${trace}-(?!b7ad6b7169203331)[0-9a-f]{16}-01$`));
  });

  test.each([
    ['/api/echo/literal', 'literal'],
    ['/api/files/a/b.txt', 'a/b.txt'],
    ['/api/files', 'nothing'],
    ['/api/numbers/7/', '7'],
  ])('routes %s', async (path, body) => expect(await text(path)).toBe(body));

  test('carries bytes unchanged', async () => {
    const bytes = new Uint8Array([0, 255, 128, 10, 13]);
    const answer = await get('/api/binary', { method: 'POST', body: bytes });
    expect(new Uint8Array(await answer.arrayBuffer())).toEqual(bytes);
  });

  test.each([
    ['an unknown route', 'GET', '/api/unknown', 404],
    ['the wrong method', 'DELETE', '/api/echo/1', 404],
    ['outside the prefix', 'GET', '/echo/1', 404],
    ['a disabled function', 'GET', '/api/off', 404],
    ['a handler that throws', 'GET', '/api/throws', 500],
    ['an answer that is no object', 'GET', '/api/text', 500],
    ['registration after the start', 'GET', '/api/late', 500],
    ['no answer', 'GET', '/api/nothing', 204],
  ])('%s: %s %s is %i with an empty body', async (_, method, path, status) => {
    const answer = await get(path, { method });
    expect([answer.status, await answer.text()]).toEqual([status, '']);
  });

  /** A POST whose body is up to `write`; resolves to status and body of the answer. */
  const post = (path: string, headers: Record<string, string>, write: (sent: ClientRequest) => void) =>
    new Promise<[number | undefined, string]>((resolve, reject) => {
      const sent = request(`${host.url}${path}`, { method: 'POST', headers }, (answer) => {
        let body = '';
        answer.on('data', (chunk) => (body += String(chunk)));
        answer.on('end', () => {
          resolve([answer.statusCode, body]);
          sent.destroy();
        });
      });
      sent.on('error', reject);
      write(sent);
    });

  test('a body over 100 MiB is 500 at once, and no call', async () => {
    // The body itself is never sent.
    const answer = await post('/api/length', { 'content-length': '104857601' }, (sent) => sent.flushHeaders());
    expect(answer).toEqual([500, '']);
    expect(host.output()).not.toContain('info  length:');
  });

  test('a body without a length does not reach the function', async () => {
    expect(await post('/api/length', { 'content-length': '3' }, (sent) => sent.end('abc'))).toEqual([200, '3']);
    expect(await post('/api/length', { 'transfer-encoding': 'chunked' }, (sent) => sent.end('abc'))).toEqual([
      200,
      '0',
    ]);
  });

  test('hooks see and change an invocation', async () => {
    expect(await (await get('/api/hooked')).json()).toEqual({ result: 'plain', seen: true });
  });

  test('serves a JSON file as it is now', async () => {
    expect((await get('/_sandbox')).status).toBe(503);
    writeFileSync(file, '{"api":1}');
    expect(await (await get('/_sandbox')).json()).toEqual({ api: 1 });
    writeFileSync(file, '{"api":2}');
    const answer = await get('/_sandbox');
    expect(answer.headers.get('content-type')).toBe('application/json');
    expect(await answer.json()).toEqual({ api: 2 });
  });

  test('runs a timer by hand; other names are 404', async () => {
    const admin = (name: string, body?: string) =>
      get(`/admin/functions/${name}`, { method: 'POST', ...(body !== undefined && { body }) });
    expect((await admin('yearly', '{"input":""}')).status).toBe(202);
    const [call] = await host.called('yearly', 1);
    expect(call).toMatchObject({ timer: { isPastDue: false, schedule: { adjustForDST: true } } });
    expect((await admin('unknown', '{}')).status).toBe(404);
    expect((await admin('yearly', '{')).status).toBe(400);
  });

  test('a function whose binding cannot be used leaves the others alone', () => {
    expect(host.output()).toMatch(/error work: is in error: .*the app setting WORK_QUEUE is missing/);
    expect(host.output()).toMatch(/error content: is in error: .*the app setting Store .* is missing/);
    expect(host.output()).toMatch(/error tick: is in error/);
  });
});
