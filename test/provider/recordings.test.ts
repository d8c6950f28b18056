import { readdirSync, readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Observation, Session } from '../../shared/provider/provider.ts';
import { errorOf, FakeArm, providerAt, soon, watcherIn, type Call, type Exchange } from './fake-arm.ts';

/**
 * Every exchange of packet captures that is recorded, fed to the provider: it must send what was sent and make of the answer
 * what it says. What is expected is written here from the recorded body alone.
 */

type Recorded = {
  method: string;
  uri: string;
  requestBody: { properties?: Record<string, unknown> } | null;
  status: number;
  responseHeaders: Record<string, string>;
  responseBody: Body | null;
  responseBodyText?: string;
};
type Body = {
  id?: string;
  name?: string;
  status?: string;
  error?: { code?: string; message?: string };
  properties?: Properties;
  value?: { id: string; name: string; properties: Properties & { target: string } }[];
  captureStartTime?: string;
  packetCaptureStatus?: string;
  stopReason?: string;
  packetCaptureError?: string[];
};
type Properties = { provisioningState?: string; storageLocation?: { storagePath?: string; filePath?: string } };

const folder = new URL('../fixtures/arm/recordings/', import.meta.url);
const files = readdirSync(folder).filter((name) => name.endsWith('.json'));
const exchanges = files.flatMap((file) =>
  (JSON.parse(readFileSync(new URL(file, folder), 'utf8')) as Recorded[]).map((exchange, index) => ({
    ...exchange,
    at: `${file} ${index}`,
    path: new URL(exchange.uri).pathname,
  })),
);
type Found = (typeof exchanges)[number];

const kinds = {
  create: ['PUT', /\/packetCaptures\/[^/]+$/i],
  get: ['GET', /\/packetCaptures\/[^/]+$/i],
  list: ['GET', /\/packetCaptures$/i],
  stop: ['POST', /\/packetCaptures\/[^/]+\/stop$/i],
  status: ['POST', /\/packetCaptures\/[^/]+\/queryStatus$/i],
  remove: ['DELETE', /\/packetCaptures\/[^/]+$/i],
  operation: ['GET', /Microsoft\.Network\/locations\/[^/]+\/operations\/[^/]+$/i],
  result: ['GET', /Microsoft\.Network\/locations\/[^/]+\/operationResults\/[^/]+$/i],
} as const;
type Kind = keyof typeof kinds;
const of = (kind: Kind) => exchanges.filter((e) => e.method === kinds[kind][0] && kinds[kind][1].test(e.path));

let arm: FakeArm;
beforeAll(async () => {
  arm = await FakeArm.start();
});
afterAll(() => arm.stop());

/** The recorded answer, its URLs leading to where it is given now. */
const answerOf = ({ status, responseHeaders, responseBody, responseBodyText }: Found): Exchange => ({
  status,
  headers: Object.fromEntries(
    Object.entries(responseHeaders)
      .filter(([name]) => !['content-length', 'transfer-encoding', 'content-encoding'].includes(name))
      .map(([name, value]) => [name, value.replace('https://management.azure.com', arm.url)]),
  ),
  ...(responseBodyText === undefined ? { body: responseBody } : { bodyText: responseBodyText }),
});
const is = (call: Call, { method, path }: Found) => call.method === method && call.url.pathname === path;
const sessionAt = (path: string, more: Partial<Session> = {}): Session => ({
  id: path.replace(/\/(stop|queryStatus)$/i, ''),
  errors: [],
  ...more,
});
const subscription = '00000000-0000-0000-0000-000000000000';
const provider = () => providerAt(arm.url, { subscriptions: [subscription], apiVersion: '2025-07-01' });

/** Answers that exchange as recorded, and everything else with `other`. */
function feed(exchange: Found, other: (call: Call) => Exchange | undefined = () => undefined): void {
  arm.calls = [];
  arm.answer = (call) => (is(call, exchange) ? answerOf(exchange) : other(call));
}

const placeOf = ({ storageLocation }: Properties): Partial<Session> => ({
  ...(storageLocation?.storagePath ? { storagePath: storageLocation.storagePath } : {}),
  ...(storageLocation?.filePath ? { filePath: storageLocation.filePath } : {}),
});

it('there are recordings of every kind', () => {
  const counts = Object.fromEntries(Object.keys(kinds).map((kind) => [kind, of(kind as Kind).length]));
  expect(counts).toEqual({
    create: 13,
    get: 26,
    list: 13,
    stop: 8,
    status: 24,
    remove: 13,
    operation: 64,
    result: 20,
  });
});

describe('create', () => {
  it.each(of('create').map((e) => [e.at, e] as const))('%s', async (_, exchange) => {
    feed(exchange);
    const request = exchange.requestBody?.properties ?? {
      target: `/subscriptions/${subscription}/resourceGroups/g/providers/Microsoft.Compute/virtualMachines/x`,
      storageLocation: { filePath: '/var/captures/x.cap' },
    };
    const session = await provider().start({ session: sessionAt(exchange.path), request }, soon());
    const properties = exchange.responseBody?.properties ?? {};
    expect(session).toMatchObject({ status: properties.provisioningState, ...placeOf(properties) });
    const asked = exchange.responseHeaders['azure-asyncoperation'];
    expect(session.operations?.start).toBe(asked?.replace('https://management.azure.com', arm.url));
    expect(arm.calls).toHaveLength(1);
    // What was sent then is what is sent now.
    if (exchange.requestBody) expect(arm.calls[0]?.body).toEqual(exchange.requestBody);
  });
});

describe('get', () => {
  it.each(of('get').map((e) => [e.at, e] as const))('%s', async (_, exchange) => {
    feed(exchange, () => ({ status: 202, body: { packetCaptureStatus: 'Running', packetCaptureError: [] } }));
    const seen = await provider().inspect(sessionAt(exchange.path), soon());
    if (exchange.status === 404) {
      expect(seen).toEqual({ phase: 'gone' });
      return;
    }
    const properties = exchange.responseBody?.properties ?? {};
    const phase = { Succeeded: 'running', Updating: 'pending' }[properties.provisioningState ?? ''];
    expect(phase).toBeDefined();
    expect(seen).toMatchObject({ phase, session: placeOf(properties) });
  });
});

describe('list', () => {
  it.each(of('list').map((e) => [e.at, e] as const))('%s', async (_, exchange) => {
    const watcher = { ...watcherIn('westus2'), id: exchange.path.replace(/\/packetCaptures$/i, '') };
    feed(exchange, () => ({ status: 200, body: { value: [watcher] } }));
    const items = exchange.responseBody?.value ?? [];
    expect(await provider().list(soon())).toEqual(
      items.map((item) => ({
        provider: 'azure',
        id: item.id,
        name: item.name,
        region: 'westus2',
        target: item.properties.target.toLowerCase(),
        status: item.properties.provisioningState,
        session: { id: item.id, errors: [] },
      })),
    );
    // Captures that failed to start are in it, and are there still.
    for (const item of items.filter(({ properties }) => properties.provisioningState === 'Failed')) {
      arm.answer = ({ method }) => (method === 'GET' ? { status: 200, body: item } : { status: 500 });
      expect(await provider().inspect(sessionAt(item.id), soon())).toMatchObject({
        phase: 'refused',
        detail: expect.stringContaining('without giving a reason'),
      });
    }
  });
});

describe('stop', () => {
  it.each(of('stop').map((e) => [e.at, e] as const))('%s', async (_, exchange) => {
    feed(exchange);
    const session = await provider().stop(sessionAt(exchange.path, { status: 'Running' }), soon());
    const asked = exchange.responseHeaders['azure-asyncoperation'];
    expect(session.operations?.stop).toBe(asked?.replace('https://management.azure.com', arm.url));
    expect(arm.calls).toHaveLength(1);
  });
});

/** What a recorded status must be taken for. */
function expectStatus(seen: Observation, body: Body): void {
  const instances = (body.packetCaptureError ?? []).every((error) => error.includes('virtualMachineScaleSets'));
  const causes: Record<string, string> = {
    Manual: 'stopped',
    TimeExceeded: 'time-limit',
    Error: 'error',
    '3 VM Instance(s) stopped due to TimeExceeded Reasons. ': 'time-limit',
  };
  const startedAt = new Date((body.captureStartTime ?? '').replace(/(\.\d{3})\d*Z$/, '$1Z'));
  const session = { status: body.packetCaptureStatus, errors: body.packetCaptureError };
  if (body.packetCaptureStatus === 'Running') {
    expect(seen).toMatchObject({ phase: 'running', startedAt, session });
    return;
  }
  const cause = body.stopReason === undefined && instances ? 'error' : causes[body.stopReason ?? ''];
  expect(cause).toBeDefined();
  expect(seen).toMatchObject({ phase: 'ended', startedAt, session, cause });
}

describe('queryStatus', () => {
  it.each(of('status').map((e) => [e.at, e] as const))('%s', async (_, exchange) => {
    feed(exchange);
    const seen = await provider().inspect(sessionAt(exchange.path, { status: 'Succeeded' }), soon());
    expectStatus(seen, exchange.responseBody ?? {});
    expect(arm.calls).toHaveLength(1);
  });
});

describe('delete', () => {
  it.each(of('remove').map((e) => [e.at, e] as const))('%s', async (_, exchange) => {
    feed(exchange);
    expect(await provider().remove(sessionAt(exchange.path), soon())).toBe(exchange.status === 204);
    expect(arm.calls).toHaveLength(1);
  });
});

describe('polls of operations and results', () => {
  const polls = [...of('operation'), ...of('result')];
  it.each(polls.map((e) => [e.at, e] as const))('%s', async (_, exchange) => {
    const stopped = { status: 'Running', operations: { stop: `${arm.url}${exchange.path}?c=1` } };
    const status: Exchange = { status: 202, body: { packetCaptureStatus: 'Running', packetCaptureError: [] } };
    feed(exchange, ({ method }) => (method === 'POST' ? status : undefined));
    const id = `/subscriptions/${subscription}/resourceGroups/g/providers/Microsoft.Network/networkWatchers/n/packetCaptures/c`;
    const seen = await provider().inspect(sessionAt(id, stopped), soon());
    const { responseBody: body } = exchange;
    // An operation that failed is told; one that is under way, or over, or not to be told, changes nothing.
    const failed = body?.status === 'Failed' ? `${body.error?.code}: ${body.error?.message}` : undefined;
    expect(seen.phase).toBe('running');
    expect((seen as { stopFailed?: string }).stopFailed).toBe(failed);
    expect(arm.calls.map((call) => call.method)).toEqual(['POST', 'GET']);
    // As the answer to a status question, a poll that answers 202 null is no news, and one with a status is that status.
    if (body?.packetCaptureStatus !== undefined || exchange.status === 202) {
      arm.answer = () => answerOf(exchange);
      const again = await provider().inspect(sessionAt(id, { status: 'Succeeded' }), soon());
      if (body?.packetCaptureStatus === undefined) expect(again.phase).toBe('running');
      else expectStatus(again, body);
    }
  });
});

describe('errors, as the answer to every call', () => {
  const errors = exchanges.filter((e) => e.at.startsWith('errors.json') && e.status >= 400);
  it.each(errors.map((e) => [`${e.status} ${e.at}`, e] as const))('%s', async (_, exchange) => {
    arm.answer = () => ({ ...answerOf(exchange) });
    const session = sessionAt(
      exchange.path.includes('/packetCaptures/') ? exchange.path : `${watcherIn('w').id}/packetCaptures/c`,
    );
    if (exchange.status === 404) {
      expect(await provider().inspect(session, soon())).toEqual({ phase: 'gone' });
      return;
    }
    const expected = exchange.status >= 500 ? 'unavailable' : 'invalid';
    const met = [
      await errorOf(provider().inspect({ ...session, status: 'Running' }, soon())),
      await errorOf(provider().stop(session, soon())),
      await errorOf(provider().remove(session, soon())),
      await errorOf(provider().start({ session, request: { target: 'x', storageLocation: {} } }, soon())),
    ];
    expect(met.map(({ code }) => code)).toEqual(met.map(() => expected));
    const text = exchange.responseBody?.error?.code;
    if (text) for (const { message } of met) expect(message).toContain(text);
  });
});
