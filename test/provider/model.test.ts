import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { checkCapture } from '../../shared/provider/azure/limits.ts';
import type { AzureProvider } from '../../shared/provider/azure/azure.ts';
import type { CaptureRequest, Session } from '../../shared/provider/provider.ts';
import { STORAGE_ID, SUBSCRIPTION, WATCHER } from '../arm/harness.ts';
import {
  account,
  agent,
  errorOf,
  FakeArm,
  failure,
  limits,
  providerAt,
  soon,
  wanted,
  watcherIn,
  type Call,
  type Exchange,
} from './fake-arm.ts';

/** Everything that a packet capture of api-version 2026-01-01 can be asked for, and what becomes of it on the wire. */

let arm: FakeArm;
let provider: AzureProvider;
beforeAll(async () => {
  arm = await FakeArm.start();
});
afterAll(() => arm.stop());
beforeEach(() => {
  arm.calls = [];
  provider = providerAt(arm.url);
});

const set = `/subscriptions/${SUBSCRIPTION}/resourceGroups/rg-shop/providers/Microsoft.Compute/virtualMachineScaleSets/web`;
const model = (extensions: object[]) => ({
  location: 'West US 2',
  properties: { orchestrationMode: 'Uniform', virtualMachineProfile: { extensionProfile: { extensions } } },
});
const instances = (...ids: string[]) =>
  ids.map((instanceId) => ({ instanceId, id: `${set}/virtualMachines/${instanceId}` }));

/** A region with a watcher, one scale set with its instances, and captures that are taken. */
function world(scaleSet: object | undefined, list: object[] = instances('0', '1', '2')) {
  return ({ method, url }: Call): Exchange | undefined => {
    const path = url.pathname;
    if (method === 'PUT') return { status: 201, body: { properties: { provisioningState: 'Updating' } } };
    if (/\/networkWatchers$/i.test(path)) return { status: 200, body: { value: [watcherIn('westus2')] } };
    if (/\/virtualMachineScaleSets\/web\/virtualMachines$/i.test(path)) {
      // Two pages.
      const next = url.searchParams.get('page') === '2';
      return {
        status: 200,
        body: next ? { value: list.slice(1) } : { value: list.slice(0, 1), nextLink: `${arm.url}${path}?page=2` },
      };
    }
    if (/\/virtualMachineScaleSets\/web(\/virtualMachines\/0)?$/i.test(path) && scaleSet)
      return { status: 200, body: scaleSet };
    return undefined;
  };
}

/** The body of the PUT that such a capture is. */
async function sent(capture: CaptureRequest, target = set, more = limits): Promise<Record<string, unknown>> {
  const prepared = await provider.prepare({ ...wanted(target), capture, limits: more }, soon());
  await provider.start(prepared, soon());
  const put = arm.calls.find((call) => call.method === 'PUT');
  const body = put?.body as { properties: Record<string, unknown> } | undefined;
  return body?.properties ?? {};
}

describe('a scale set', () => {
  it('is captured on all of its instances, and may give several files', async () => {
    arm.answer = world(model([agent]));
    const { session } = await provider.prepare(wanted(set), soon());
    expect(session.manyFiles).toBe(true);
    expect(session.account).toBe(account.name);
    expect(await sent({})).toEqual({
      target: set.toLowerCase(),
      targetType: 'AzureVMSS',
      scope: { include: [], exclude: [] },
      bytesToCapturePerPacket: 0,
      totalBytesPerSession: limits.sizeBytes,
      timeLimitInSeconds: limits.durationSeconds,
      storageLocation: { storageId: STORAGE_ID },
      filters: [],
    });
  });

  it('is captured on the instances of the scope, by whichever id they are named', async () => {
    arm.answer = world(model([agent]));
    const scope = { include: ['0', `${set}/virtualMachines/2`, '0'], exclude: ['1'] };
    expect(await sent({ azure: { scope } })).toMatchObject({ scope: { include: ['0', '2'], exclude: ['1'] } });
  });

  it('without the instances of the scope is refused, though the service would take it and capture nothing', async () => {
    arm.answer = world(model([agent]));
    const capture = { azure: { scope: { include: ['0', '7', '9'] } } };
    const error = await errorOf(provider.prepare({ ...wanted(set), capture }, soon()));
    expect(error).toMatchObject({ code: 'invalid', message: 'Scale set web has no instance 7, 9' });
  });

  it('has its agent in the model', async () => {
    arm.answer = world(model([]));
    expect(await errorOf(provider.prepare(wanted(set), soon()))).toMatchObject({
      code: 'agent-missing',
      message: expect.stringContaining('Scale set web has no Network Watcher agent extension in its model'),
    });
    arm.answer = world(model([{ properties: { ...agent.properties, provisioningState: 'Failed' } }]));
    expect((await errorOf(provider.prepare(wanted(set), soon()))).code).toBe('agent-failed');
  });

  it('in flexible orchestration without a model is tried', async () => {
    arm.answer = world({ location: 'westus2', properties: { orchestrationMode: 'Flexible' } });
    await expect(provider.prepare(wanted(set), soon())).resolves.toBeDefined();
  });

  it('that is not there: which', async () => {
    arm.answer = world(undefined);
    expect(await errorOf(provider.prepare(wanted(set), soon()))).toMatchObject({
      code: 'target-not-found',
      message: 'Scale set web was not found in resource group rg-shop',
    });
  });

  it('one instance is a target of its own: one file', async () => {
    arm.answer = world(model([agent]));
    const { session } = await provider.prepare(wanted(`${set}/virtualMachines/0`), soon());
    expect(session.manyFiles).toBeUndefined();
    const properties = await sent({}, `${set}/virtualMachines/0`);
    expect(properties).toMatchObject({ target: `${set}/virtualMachines/0`.toLowerCase(), targetType: 'AzureVMSS' });
    expect(properties).not.toHaveProperty('scope');
    expect(await errorOf(provider.prepare(wanted(`${set}/virtualMachines/7`), soon()))).toMatchObject({
      code: 'target-not-found',
      message: 'Scale set instance 7 of web was not found in resource group rg-shop',
    });
  });

  it('a scope is for scale sets alone', async () => {
    arm.answer = world(model([agent]));
    const capture = { azure: { scope: { include: ['0'] } } };
    const error = await errorOf(provider.prepare({ ...wanted(`${set}/virtualMachines/0`), capture }, soon()));
    expect(error).toMatchObject({ code: 'invalid', message: expect.stringContaining('the target is none') });
    const both = { azure: { scope: { include: ['0'], exclude: ['0'] } } };
    const twice = await errorOf(provider.prepare({ ...wanted(set), capture: both }, soon()));
    expect(twice.message).toContain('both includes and excludes instance 0');
  });

  it.each([
    [['x is stopped'], 'azure.scope.include must name'],
    [['../0'], 'azure.scope.include must name'],
    [[''], 'azure.scope.include must name'],
  ])('instances are named by id: %j', (include, message) => {
    expect(checkCapture({ azure: { scope: { include } } }, limits)).toEqual([expect.stringContaining(message)]);
  });
});

describe('a continuous capture', () => {
  const ring = (azure: CaptureRequest['azure']): CaptureRequest => ({ azure: { continuousCapture: true, ...azure } });
  const properties = async (capture: CaptureRequest, more = limits) => {
    arm.answer = world(model([agent]));
    return sent(capture, `${set}/virtualMachines/0`, more);
  };

  it('has the limits of its ring in place of those of one file', async () => {
    const sentProperties = await properties(ring({}), { durationSeconds: 600, sizeBytes: 1000 * 2 ** 20 });
    expect(sentProperties).toMatchObject({
      continuousCapture: true,
      captureSettings: { fileCount: 10, fileSizeInBytes: 104_857_600, sessionTimeLimitInSeconds: 600 },
    });
    expect(sentProperties).not.toHaveProperty('totalBytesPerSession');
    expect(sentProperties).not.toHaveProperty('timeLimitInSeconds');
  });

  it.each([
    [{ fileCount: 4 }, 1_000_000, { fileCount: 4, fileSizeInBytes: 250_000 }],
    [{ fileSizeInBytes: 300_000 }, 1_000_000, { fileCount: 3, fileSizeInBytes: 300_000 }],
    [{ fileCount: 2, fileSizeInBytes: 10 }, 1_000_000, { fileCount: 2, fileSizeInBytes: 10 }],
    [{}, 5_000_000, { fileCount: 1, fileSizeInBytes: 5_000_000 }],
    [{ fileSizeInBytes: 1 }, 4_000_000_000, { fileCount: 10_000, fileSizeInBytes: 1 }],
  ])('%j within %d bytes: %j', async (captureSettings, sizeBytes, expected) => {
    expect(await properties(ring({ captureSettings }), { ...limits, sizeBytes })).toMatchObject({
      captureSettings: expected,
    });
  });

  it('false is passed on, null and nothing are an ordinary capture', async () => {
    expect(await properties({ azure: { continuousCapture: false } })).toMatchObject({
      continuousCapture: false,
      captureSettings: {},
    });
    arm.calls = [];
    expect(await properties({ azure: { continuousCapture: null } })).not.toHaveProperty('captureSettings');
  });

  it('may give several files, and may leave them on the machine', async () => {
    arm.answer = world(model([agent]));
    const localPath = '/var/captures/{run}.cap';
    const run = { ...wanted(`${set}/virtualMachines/0`), capture: ring({ storageLocation: { localPath } }) };
    const { session, request } = await provider.prepare(run, soon());
    expect(session).toMatchObject({ manyFiles: true, filePath: `/var/captures/${run.runId}.cap` });
    expect(request).toMatchObject({ storageLocation: { localPath: `/var/captures/${run.runId}.cap` } });
  });

  const week = { durationSeconds: 604_800, sizeBytes: 1_000_000 };
  it.each<[string, CaptureRequest, typeof limits, string | undefined]>([
    ['seven days', ring({}), week, undefined],
    ['more', ring({}), { ...week, durationSeconds: 604_801 }, '7 days (604800 s)'],
    ['an ordinary one of seven days', {}, week, '5 hours (18000 s)'],
    ['filePath', ring({ storageLocation: { filePath: '/var/captures/a.cap' } }), limits, 'takes localPath'],
    [
      'localPath of an ordinary one',
      { azure: { storageLocation: { localPath: '/var/captures/a.cap' } } },
      limits,
      'takes filePath',
    ],
    [
      'settings of an ordinary one',
      { azure: { captureSettings: { fileCount: 1 } } },
      limits,
      'set azure.continuousCapture',
    ],
    ['no files', ring({ captureSettings: { fileCount: 0 } }), limits, 'fileCount must be from 1 to 10000; it is 0'],
    ['too many files', ring({ captureSettings: { fileCount: 10_001 } }), limits, 'fileCount must be from 1 to 10000'],
    [
      'files too large',
      ring({ captureSettings: { fileSizeInBytes: 2 ** 32 } }),
      { ...limits, sizeBytes: 4_294_967_295 },
      'fileSizeInBytes must be',
    ],
    [
      'more than the size',
      ring({ captureSettings: { fileCount: 2, fileSizeInBytes: 600_000 } }),
      limits,
      'allow 2 files of 600000 bytes, more than the size limit of 1000000',
    ],
    [
      'longer than the duration',
      ring({ captureSettings: { sessionTimeLimitInSeconds: 61 } }),
      limits,
      'longer than the duration (60 s)',
    ],
    [
      'a wrong path',
      ring({ storageLocation: { localPath: '/tmp/a.cap' } }),
      limits,
      'localPath must start with /var/captures/',
    ],
  ])('%s', (_, capture, within, message) => {
    const faults = checkCapture(capture, within);
    if (message === undefined) expect(faults).toEqual([]);
    else expect(faults.join('\n')).toContain(message);
  });
});

describe('filters and storage', () => {
  it('several filters, ranges and lists go as they are', async () => {
    arm.answer = world(model([agent]));
    const filters = [
      { protocol: 'TCP' as const, remoteIPAddress: '10.0.0.4;10.0.0.7;', remotePort: '20;80;443' },
      { protocol: 'UDP' as const, localIPAddress: '127.0.0.1-127.0.0.255', localPort: '1-65535' },
      { localPort: '53' },
    ];
    expect(await sent({ filters })).toMatchObject({
      filters: [filters[0], filters[1], { protocol: 'Any', localPort: '53' }],
    });
  });

  it('storage and a file on the machine together', async () => {
    arm.answer = world(model([agent]));
    const storageLocation = { storageId: STORAGE_ID, filePath: 'C:\\Captures\\a.cap' };
    expect(await sent({ azure: { storageLocation } })).toMatchObject({ storageLocation });
  });
});

describe('what an operation says', () => {
  const session: Session = { id: `${WATCHER}/packetCaptures/tripcap-main-x`, errors: [] };
  // As long as real ones are.
  const operation = (n: number) =>
    `${arm.url}/subscriptions/s/providers/Microsoft.Network/locations/westus2/operations/${n}?c=${'A'.repeat(3200)}&s=${'b'.repeat(700)}`;
  const request = { target: 'x', storageLocation: { filePath: '/var/captures/x.cap' } };
  const failed = (error?: object): Exchange => ({
    status: 200,
    body: { status: 'Failed', ...(error ? { error } : {}) },
  });

  /** A capture whose create ends as told. */
  const refusing =
    (operationAnswer: Exchange, statusErrors: string[] = []) =>
    ({ method, url }: Call): Exchange | undefined => {
      if (method === 'PUT')
        return {
          status: 201,
          headers: { 'azure-asyncoperation': operation(1) },
          body: { properties: { provisioningState: 'Updating' } },
        };
      if (url.pathname.includes('/operations/')) return operationAnswer;
      if (method === 'POST')
        return statusErrors.length > 0
          ? { status: 200, body: { packetCaptureStatus: 'Stopped', packetCaptureError: statusErrors } }
          : failure(500, 'InternalServerError');
      return { status: 200, body: { properties: { provisioningState: 'Failed' } } };
    };
  const error = { code: 'InternalServerError', message: 'An error occurred.', details: [] };

  it.each<[string, Exchange, string[], string | RegExp]>([
    ['its reason', failed(error), [], 'InternalServerError: An error occurred.'],
    [
      'its reason and the status',
      failed(error),
      ['AgentStopped'],
      'InternalServerError: An error occurred.; AgentStopped',
    ],
    ['no reason', failed(), [], 'The operation ended Failed'],
    ['nothing: 404', failure(404, 'NotFound'), [], /without giving a reason/],
    ['nothing: 202 null', { status: 202, bodyText: 'null' }, ['AgentStopped'], 'AgentStopped'],
    ['nothing: HTML', { status: 200, bodyText: '<html></html>' }, [], /without giving a reason/],
  ])('a create that failed: %s', async (_, operationAnswer, errors, detail) => {
    arm.answer = refusing(operationAnswer, errors);
    const started = await provider.start({ session, request }, soon());
    expect(started.operations?.start).toHaveLength(operation(1).length);
    const seen = await provider.inspect(started, soon());
    expect(seen).toMatchObject({
      phase: 'refused',
      detail: typeof detail === 'string' ? detail : expect.stringMatching(detail),
    });
  });

  it('is asked for again after a 504 on the way', async () => {
    arm.answer = refusing(failure(504, 'GatewayTimeout'), ['AgentStopped']);
    const started = await provider.start({ session, request }, soon());
    expect((await errorOf(provider.inspect(started, soon()))).code).toBe('unavailable');
    arm.answer = refusing(failed(error), ['AgentStopped']);
    expect(await provider.inspect(started, soon())).toMatchObject({
      phase: 'refused',
      detail: 'InternalServerError: An error occurred.; AgentStopped',
    });
  });

  it('is not asked for at another host: a token would go with it', async () => {
    arm.answer = refusing(failed(error));
    const other = await FakeArm.start();
    try {
      const elsewhere = { ...session, operations: { start: `${other.url}/operations/1` } };
      expect(await provider.inspect(elsewhere, soon())).toMatchObject({
        detail: expect.stringContaining('without giving a reason'),
      });
      expect(other.calls).toEqual([]);
    } finally {
      other.stop();
    }
  });

  it('a stop that failed inside a 200, while the capture goes on', async () => {
    let outcome: Exchange = { status: 200, body: { status: 'InProgress' } };
    arm.answer = ({ url }) => {
      if (url.pathname.endsWith('/stop'))
        return { status: 202, headers: { 'azure-asyncoperation': operation(2), location: operation(3) } };
      if (url.pathname.includes('/operations/')) return outcome;
      return { status: 202, headers: { location: operation(4) }, body: { packetCaptureStatus: 'Running' } };
    };
    const asked = await provider.stop({ ...session, status: 'Running', operations: { start: operation(1) } }, soon());
    expect(Object.keys(asked.operations ?? {})).toEqual(['start', 'stop']);
    expect(await provider.inspect(asked, soon())).not.toHaveProperty('stopFailed');
    outcome = failure(504, 'GatewayTimeout');
    expect(await provider.inspect(asked, soon())).not.toHaveProperty('stopFailed');
    outcome = failed(error);
    expect(await provider.inspect(asked, soon())).toMatchObject({
      phase: 'running',
      stopFailed: 'InternalServerError: An error occurred.',
    });
  });
});

describe('whether a target is there', () => {
  it.each<[string, Exchange, boolean | string]>([
    ['there', { status: 200, body: {} }, true],
    ['not there', failure(404, 'ResourceNotFound'), false],
    ['its group is not there', failure(404, 'ResourceGroupNotFound'), false],
    ['its subscription is not to be seen', failure(404, 'SubscriptionNotFound'), 'forbidden'],
    ['not to be told', failure(503, 'ServiceUnavailable'), 'unavailable'],
  ])('%s', async (_, exchange, expected) => {
    arm.answer = () => exchange;
    const asked = provider.targetExists(set.toLowerCase(), soon());
    if (typeof expected === 'boolean') expect(await asked).toBe(expected);
    else expect((await errorOf(asked)).code).toBe(expected);
  });
});

describe('several subscriptions and regions', () => {
  const second = '22222222-3333-4444-5555-666666666666';
  const vm = (subscription: string, name: string) =>
    `/subscriptions/${subscription}/resourcegroups/rg/providers/microsoft.compute/virtualmachines/${name}`;
  const locations: Record<string, string> = { west: 'westus2', north: 'northeurope', east: 'East US' };
  const watchers: Record<string, object[]> = {
    [SUBSCRIPTION]: [watcherIn('westus2'), watcherIn('northeurope', 'net-ops')],
    [second]: [
      { ...watcherIn('eastus', 'shared'), id: watcherIn('eastus', 'shared').id.replace(SUBSCRIPTION, second) },
    ],
  };
  const accountOf = (name: string, ...regions: string[]) => ({
    ...account,
    name,
    id: account.id.replace(account.name, name),
    regions,
  });
  const wide = () =>
    providerAt(arm.url, {
      subscriptions: [SUBSCRIPTION, second],
      captureAccounts: [
        accountOf('capwest', 'westus2'),
        accountOf('capeurope', 'northeurope', 'westeurope'),
        accountOf('capeast', 'eastus'),
      ],
    });
  beforeEach(() => {
    arm.answer = ({ url }) => {
      const subscription = url.pathname.split('/')[2] ?? '';
      if (/\/networkWatchers$/i.test(url.pathname))
        return { status: 200, body: { value: watchers[subscription] ?? [] } };
      const name = url.pathname.split('/').at(-1) ?? '';
      return locations[name] ? { status: 200, body: { location: locations[name], resources: [agent] } } : undefined;
    };
  });

  it.each([
    [vm(SUBSCRIPTION, 'west'), `/subscriptions/${SUBSCRIPTION}/resourceGroups/NetworkWatcherRG/`, 'capwest'],
    [vm(SUBSCRIPTION, 'north'), `/subscriptions/${SUBSCRIPTION}/resourceGroups/net-ops/`, 'capeurope'],
    [vm(second, 'east'), `/subscriptions/${second}/resourceGroups/shared/`, 'capeast'],
  ])('%s: the watcher and the account of its region', async (target, watcher, name) => {
    const { session, request } = await wide().prepare(wanted(target), soon());
    expect(session.id.startsWith(watcher)).toBe(true);
    expect(session.account).toBe(name);
    expect(request).toMatchObject({ storageLocation: { storageId: expect.stringContaining(`/${name}`) } });
  });

  it('a watcher of one subscription is of no use to another', async () => {
    expect(await errorOf(wide().prepare(wanted(vm(second, 'west')), soon()))).toMatchObject({
      code: 'no-watcher',
      message: `Subscription ${second} has no network watcher in westus2`,
    });
  });

  it('a subscription that cannot be read is no trouble to the others', async () => {
    const before = arm.answer;
    arm.answer = (call) => (call.url.pathname.includes(second) ? failure(403, 'AuthorizationFailed') : before(call));
    const provider = wide();
    await expect(provider.load(soon())).rejects.toMatchObject({ code: 'forbidden' });
    await expect(provider.prepare(wanted(vm(SUBSCRIPTION, 'west')), soon())).resolves.toBeDefined();
    expect((await errorOf(provider.prepare(wanted(vm(second, 'east')), soon()))).code).toBe('forbidden');
  });

  it('one that is asked to slow down is no trouble to the others, either', async () => {
    const before = arm.answer;
    arm.answer = (call) => (call.url.pathname.includes(second) ? failure(429, 'TooManyRequests') : before(call));
    const provider = wide();
    expect((await errorOf(provider.prepare(wanted(vm(second, 'east')), soon()))).code).toBe('throttled');
    await expect(provider.prepare(wanted(vm(SUBSCRIPTION, 'west')), soon())).resolves.toBeDefined();
  });
});

describe('computer names', () => {
  const path = (name: string) =>
    `/subscriptions/${SUBSCRIPTION}/resourceGroups/RG/providers/Microsoft.Compute/virtualMachines/${name}`;
  it('are looked for in every subscription, page after page', async () => {
    const items = [
      { id: path('a'), name: 'a', properties: { osProfile: { computerName: 'WEB01' } } },
      { id: path('b'), name: 'b', properties: { osProfile: { computerName: 'web02' } } },
    ];
    arm.answer = ({ url }) => {
      if (!/\/virtualMachines$/i.test(url.pathname)) return { status: 200, body: { value: [] } };
      const second = url.searchParams.get('$skiptoken') === '2';
      const nextLink = `${arm.url}${url.pathname}?api-version=2024-07-01&$skiptoken=2`;
      return { status: 200, body: second ? { value: items.slice(1) } : { value: items.slice(0, 1), nextLink } };
    };
    expect(await provider.machinesNamed('web02.contoso.local', soon())).toEqual([path('b').toLowerCase()]);
    expect(await provider.machinesNamed('db77', soon())).toEqual([]);
    // Kept for a while: two lists, one of them of two pages.
    expect(arm.calls).toHaveLength(3);
  });

  it('that cannot be looked for are an error', async () => {
    arm.answer = () => failure(403, 'AuthorizationFailed');
    expect((await errorOf(provider.machinesNamed('web02', soon()))).code).toBe('forbidden');
  });

  it('are not looked for at another host', async () => {
    const other = await FakeArm.start();
    arm.answer = () => ({ status: 200, body: { value: [], nextLink: `${other.url}/x` } });
    try {
      expect((await errorOf(provider.machinesNamed('web02', soon()))).code).toBe('invalid');
      expect(other.calls).toEqual([]);
    } finally {
      other.stop();
    }
  });
});

describe('a sovereign cloud', () => {
  it.each([
    ['https://management.usgovcloudapi.net', undefined, 'https://management.usgovcloudapi.net/.default'],
    [
      'https://management.chinacloudapi.cn',
      'https://management.core.chinacloudapi.cn/',
      'https://management.core.chinacloudapi.cn//.default',
    ],
  ])('%s: its own endpoint and audience', async (endpoint, audience, scope) => {
    const asked: (string | string[])[] = [];
    const elsewhere = providerAt(endpoint, {
      audience: audience ?? endpoint,
      credential: {
        getToken: (scopes) => {
          asked.push(scopes);
          return Promise.reject(Object.assign(new Error('enough'), { name: 'IdentityError' }));
        },
      },
    });
    expect((await errorOf(elsewhere.load(soon()))).code).toBe('unauthenticated');
    expect(asked.flat()).toEqual([scope]);
  });
});
