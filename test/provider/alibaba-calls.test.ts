import { channel } from 'node:diagnostics_channel';
import type { ClientRequest } from 'node:http';
import { inspect } from 'node:util';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { ManagedIdentity } from '../../shared/identity.ts';
import type { AlibabaProvider } from '../../shared/provider/alibaba/alibaba.ts';
import { redacted, toProviderError } from '../../shared/provider/alibaba/errors.ts';
import type { AlibabaSignIn } from '../../shared/provider/alibaba/settings.ts';
import type { PreparedStart, Session } from '../../shared/provider/provider.ts';
import { KEYS } from '../vpc/harness.ts';
import { until } from '../until.ts';
import { FakeIdentity } from './fake-identity.ts';
import { errorOf, limits, soon } from './fake-arm.ts';
import { captured, instance, Mirrored, readied, expectPhase, wanted, type LoggedCall } from './mirror.ts';

const audience = 'api://AzureADTokenExchange';
const role: AlibabaSignIn = {
  kind: 'role',
  roleArn: 'acs:ram::1108034196790001:role/tripcap',
  providerArn: 'acs:ram::1108034196790001:oidc-provider/entra',
  audience,
  clientId: undefined,
};

let world: Mirrored;
let fake: FakeIdentity;
beforeAll(async () => {
  world = await Mirrored.start(['--pace', '0', '--audience', audience]);
  fake = await FakeIdentity.start();
});
afterAll(async () => {
  await world.cloud[Symbol.asyncDispose]();
  await fake[Symbol.asyncDispose]();
});
afterEach(async () => {
  fake.status = 200;
  fake.audience = undefined;
  await world.reset();
});

const LIST = 'ListTrafficMirrorSessions';
const named = (calls: LoggedCall[], action: string) => calls.filter((call) => call.action === action);

/** What there must be before a call can be made: a session that is ready, and a run that is prepared. */
type Ground = { session: Session; prepared: PreparedStart };
let grounds = 0;
async function ground(): Promise<Ground> {
  const session = await readied(world, wanted(`ready${grounds}`));
  return { session, prepared: await world.provider().prepare(wanted(`prepared${grounds++}`), soon()) };
}

/** Every call of a provider, with the call of the cloud that it cannot do without. */
const calls = {
  prepare: ['DescribeNetworkInterfaces', (p, _, signal) => p.prepare(wanted('calls1'), signal)],
  start: ['CreateTrafficMirrorSession', (p, { prepared }, signal) => p.start(prepared, signal)],
  inspect: [LIST, (p, { session }, signal) => p.inspect(session, signal)],
  enable: ['UpdateTrafficMirrorSessionAttribute', (p, { session }, signal) => p.enable(session, limits, signal)],
  stop: ['UpdateTrafficMirrorSessionAttribute', (p, { session }, signal) => p.stop(session, signal)],
  targetExists: ['DescribeNetworkInterfaces', (p, _, signal) => p.targetExists(instance('calls1'), signal)],
  list: [LIST, (p, _, signal) => p.list(signal)],
  remove: ['DeleteTrafficMirrorSession', (p, { session }, signal) => p.remove(session, signal)],
} satisfies Record<
  string,
  [action: string, call: (p: AlibabaProvider, ground: Ground, signal: AbortSignal) => Promise<unknown>]
>;
type Name = keyof typeof calls;
const names = Object.keys(calls) as Name[];
const call = (name: Name, on: Ground, signal: AbortSignal, provider = world.provider()): Promise<unknown> =>
  calls[name][1](provider, on, signal);

describe('what passes', () => {
  const faults = [
    { answer: '500' },
    { answer: '503' },
    { answer: 'html' },
    { answer: 'empty' },
    { answer: 'reset' },
    { code: 'OperationConflict' },
    { code: 'TaskConflict' },
    { code: 'LastTokenProcessing' },
    { code: 'SystemBusy' },
    { code: 'SignatureNonceUsed' },
  ];
  it.each(names)('is tried again by %s', async (name) => {
    const isOnce = name === 'start' || name === 'remove';
    const on = await ground();
    // What can be done once only is tried with what is worst.
    for (const fault of isOnce ? faults.slice(4, 5) : faults) {
      await world.faults({ calls: [{ on: calls[name][0], times: 2, ...fault }] });
      await expect(call(name, on, soon())).resolves.toBeDefined();
    }
  });

  it.each(['500', 'html', 'empty', 'reset'])('and does not (%s) is given up', async (answer) => {
    const on = await ground();
    await world.faults({ calls: [{ answer }] });
    const { calls: made } = await world.callsOf(async () => {
      const errors = await Promise.all(names.map((name) => errorOf(call(name, on, soon()))));
      for (const error of errors) expect(error).toMatchObject({ code: 'unavailable', retry: true });
    });
    expect(named(made, 'DescribeNetworkInterfaces')).toHaveLength(2 * 4);
  });

  it('includes a cloud that is down', async () => {
    const on = await ground();
    await world.faults({ down: true });
    const errors = await Promise.all(names.map((name) => errorOf(call(name, on, soon()))));
    for (const error of errors) expect(error).toMatchObject({ code: 'unavailable', retry: true });
  });

  it('includes a cloud that nobody reaches', async () => {
    const nowhere = world.provider({ endpoint: '127.0.0.1:9' });
    const error = await errorOf(call('inspect', await ground(), soon(), nowhere));
    expect(error).toMatchObject({ code: 'unavailable', message: 'look at the mirror session: ECONNREFUSED' });
  });
});

describe('the caller’s time', () => {
  it.each(names)('ends %s that gets no answer', async (name) => {
    const on = await ground();
    await world.faults({ calls: [{ answer: 'hang' }] });
    const since = performance.now();
    expect(await errorOf(call(name, on, soon(200)))).toMatchObject({
      code: 'unavailable',
      retry: true,
      message: expect.stringMatching(/no answer in time/),
    });
    expect(performance.now() - since).toBeLessThan(1500);
  });

  it('that is over lets nobody ask for anything', async () => {
    const on = await ground();
    const { calls: made } = await world.callsOf(async () => {
      for (const name of names)
        expect(await errorOf(call(name, on, AbortSignal.abort()))).toMatchObject({ code: 'unavailable', retry: true });
    });
    expect(made).toEqual([]);
  });
});

describe('a cloud that asks to slow down', () => {
  const real = () => world.provider({ timeout: (ms) => AbortSignal.timeout(ms) });
  const violations = async () => (await world.cloud.own('/_control')).violations;

  it.each(['Throttling', 'Throttling.User', 'Throttling.Api', 'Rejected.Throttling'])(
    'is not asked before its time: %s',
    async (code) => {
      const session = await readied(world, wanted('throttled1'));
      await world.faults({ calls: [{ on: LIST, code, retryAfterMs: 300 }] });
      const provider = real();
      const told = [provider.inspect(session, soon()), provider.list(soon())];
      await until('the first answer', async () => (await world.cloud.own('/_control')).faults.calls[0].hit > 0);
      await new Promise((resolve) => setTimeout(resolve, 50));
      // These come while the others wait.
      const { calls: made } = await world.callsOf(async () => {
        await Promise.all([...told, ...Array.from({ length: 5 }, () => provider.inspect(session, soon()))]);
      });
      expect(made.every((one) => one.status === 200)).toBe(true);
      expect(await violations()).toBe(0);
    },
  );

  it('for longer than anybody waits is told so at once, also to others', async () => {
    const session = await readied(world, wanted('throttled2'));
    await world.faults({ calls: [{ on: LIST, code: 'Throttling.User', retryAfterMs: 60_000 }] });
    const provider = real();
    const since = performance.now();
    const { calls: made } = await world.callsOf(async () => {
      const first = await errorOf(provider.inspect(session, soon()));
      expect(first).toMatchObject({
        code: 'throttled',
        retry: true,
        message: expect.stringMatching(/Throttling\.User/),
      });
      const next = await errorOf(provider.list(soon()));
      expect(next).toMatchObject({ code: 'throttled', message: expect.stringMatching(/wait for another \d+ s/) });
      // Another call is not meant.
      await provider.enable(session, limits, soon());
    });
    expect(performance.now() - since).toBeLessThan(2000);
    expect(named(made, LIST)).toHaveLength(1);
    expect(await violations()).toBe(0);
  });

  it('is heard through a whole run', async () => {
    await world.faults({
      calls: [
        'CreateTrafficMirrorSession',
        'UpdateTrafficMirrorSessionAttribute',
        'DeleteTrafficMirrorSession',
        LIST,
      ].map((on) => ({ on, code: 'Throttling.User', retryAfterMs: 150 })),
    });
    const provider = real();
    const session = await captured(world, wanted('throttled3'), provider);
    await provider.stop(session, soon());
    await until('the removal', () => provider.remove(session, soon()));
    expect(await violations()).toBe(0);
  });
});

describe('secrets', () => {
  /** Nothing of it may be in what an error shows, however one looks at it. */
  const secrets = () => [KEYS.secret, 'other-secret', KEYS.id, fake.secret, 'CAIS', 'STS.', 'eyJ', ...fake.tokens];
  const expectNone = (error: Error, extra: string[] = []) => {
    const shown = [inspect(error, { depth: 10 }), error.message, String((error as { next?: string }).next)].join('\n');
    for (const secret of [...secrets(), ...extra]) expect(shown).not.toContain(secret);
    expect(error.message).not.toMatch(/https?:\/\/\S*\?|canonical|x-acs-|string ?to ?sign|signature=(?!\*)/i);
  };

  it('are in no error about a signature, which repeats what was signed', async () => {
    const wrong = world.provider({ signIn: { kind: 'access-key', id: KEYS.id, secret: 'other-secret' } });
    const error = await errorOf(wrong.list(soon()));
    expect(error).toMatchObject({
      code: 'unauthenticated',
      retry: false,
      message: expect.stringMatching(/SignatureDoesNotMatch: .*\(what was signed is left out\)$/),
      next: 'Correct the secret of the AccessKey.',
    });
    expectNone(error);
  });

  it('are in no error of any other kind', async () => {
    const session = await readied(world, wanted('secret1'));
    const other = { kind: 'access-key', id: 'LTAIother', secret: 'other-secret' } as const;
    for (const fault of [{ answer: 'html' }, { answer: 'reset' }, { code: 'Forbidden.RAM' }, { answer: 'hang' }]) {
      await world.faults({ calls: [{ on: LIST, ...fault }] });
      const signedIn = world.provider({ signIn: role, identity: fake.identity() });
      expectNone(await errorOf(signedIn.inspect(session, soon(600))));
    }
    expectNone(await errorOf(world.provider({ endpoint: '127.0.0.1:9' }).inspect(session, soon())));
    expectNone(await errorOf(world.provider({ signIn: other }).targetExists(instance('a'), soon())), ['LTAIother']);
  });

  it.each([
    'code: 400, Specified signature is not matched with our calculation. server string to sign is:POST&%2F&AccessKeyId%3DLTAItest%26Signature',
    'Specified signature does not match our calculation. server StringToSign is [ACS3-HMAC-SHA256\nabc], server CanonicalRequest is [POST\n/\nx-acs-security-token:CAISabc]',
    'server CanonicalRequest is [x-acs-security-token:CAISabc]',
    'ConnectTimeout: Connect http://127.0.0.1:8080/?AccessKeyId=LTAItest&Signature=x failed.',
    'POST http://vpc.aliyuncs.com/?SecurityToken=CAISabc failed.',
    'bad header Signature=abc, SecurityToken: CAISabc and "AccessKeyId":"LTAItest"',
  ])('are taken out of %j', (text) => {
    expect(redacted(text)).not.toMatch(/LTAItest|CAISabc|Signature=[a-z]|\/\?/);
    expectNone(toProviderError('call', Object.assign(new Error(text), { name: 'RequestTimeoutError' })));
    expectNone(toProviderError('call', Object.assign(new Error(text), { code: 'Strange', statusCode: 400 })));
  });
});

describe('sign-in by role', () => {
  const provider = (options: Parameters<Mirrored['provider']>[0] = {}) =>
    world.provider({ signIn: role, identity: fake.identity(), ...options });
  const STS = 'AssumeRoleWithOIDC';

  it('exchanges the managed identity’s token for keys, once for ten calls at once', async () => {
    const one = provider();
    const { calls: made } = await world.callsOf(() => Promise.all(Array.from({ length: 10 }, () => one.list(soon()))));
    expect(named(made, STS)).toMatchObject([
      { parameters: { RoleArn: role.roleArn, OIDCProviderArn: role.providerArn, RoleSessionName: 'tripcap' } },
    ]);
    const signers = new Set(named(made, LIST).map((each) => each.accessKeyId));
    expect([...signers]).toEqual([expect.stringMatching(/^STS\./)]);
    expect(fake.asked.at(-1)).toBe(audience);
  });

  it('is done ahead by load()', async () => {
    const one = provider();
    await one.load(soon());
    const { calls: made } = await world.callsOf(() => one.list(soon()));
    expect(named(made, STS)).toEqual([]);
  });

  it('is renewed before the keys expire', async () => {
    let now = Date.now();
    const one = provider({ now: () => new Date(now) });
    const exchanges = async () => named((await world.callsOf(() => one.list(soon()))).calls, STS).length;
    expect(await exchanges()).toBe(1);
    now += 44 * 60_000;
    expect(await exchanges()).toBe(0);
    now += 2 * 60_000;
    expect(await exchanges()).toBe(1);
  });

  it('goes on with the keys that it has while there are no new ones, as long as they last', async () => {
    let now = Date.now();
    const one = provider({ now: () => new Date(now) });
    await one.list(soon());
    await world.faults({ calls: [{ on: STS, answer: '503' }] });
    now += 50 * 60_000;
    await one.list(soon());
    now += 11 * 60_000;
    expect(await errorOf(one.list(soon()))).toMatchObject({ code: 'unavailable', retry: true });
    await world.faults(null);
    await one.list(soon());
  });

  it('is renewed once when the keys are taken back in the middle of a run', async () => {
    const one = provider();
    const session = await readied(world, wanted('expired1'), one);
    await world.control({ expireKeys: true });
    const { calls: made } = await world.callsOf(async () => {
      await Promise.all([
        one.enable(session, limits, soon()),
        ...Array.from({ length: 9 }, () => one.inspect(session, soon())),
      ]);
      await expectPhase(one, session, 'running');
    });
    expect(named(made, STS)).toHaveLength(1);
    expect(made.some((each) => each.code === 'InvalidSecurityToken.Expired')).toBe(true);
  });

  it.each<[string, () => void, string, boolean, RegExp, RegExp]>([
    [
      'with the wrong audience',
      () => (fake.audience = 'sts.example'),
      'unauthenticated',
      false,
      /AuthenticationFail\.NoPermission/,
      /trust policy \(issuer, audience, subject\).*docs\/permissions\.md/,
    ],
    [
      'when the managed identity gives no token',
      () => (fake.status = 500),
      'unauthenticated',
      false,
      /no token of the managed identity for api:\/\/AzureADTokenExchange: .*answered 500/,
      /managed identity.*TRIPCAP_CLIENT_ID/,
    ],
  ])('%s fails with the next step', async (_, spoil, code, retry, detail, next) => {
    spoil();
    const one = provider();
    for (const failing of [one.list(soon()), one.load(soon())])
      expect(await errorOf(failing)).toMatchObject({
        code,
        retry,
        message: expect.stringMatching(detail),
        next: expect.stringMatching(next),
      });
    // And goes on as soon as that is mended.
    fake.audience = undefined;
    fake.status = 200;
    await provider().list(soon());
  });

  it.each([
    ['AuthenticationFail.OIDCToken.Expired', 'unauthenticated', false],
    ['EntityNotExist.Role', 'unauthenticated', false],
    ['AuthenticationFail.NoPermission', 'unauthenticated', false],
    ['Throttling.User', 'throttled', true],
    ['InternalError', 'unavailable', true],
  ])('that is refused with %s is %s', async (code, told, retry) => {
    await world.faults({ calls: [{ on: STS, code, ...(code === 'InternalError' ? {} : { retryAfterMs: 9000 }) }] });
    const error = await errorOf(provider().list(soon()));
    expect(error).toMatchObject({ code: told, retry, message: expect.stringContaining(code) });
    expect(error.next).not.toBe('');
  });

  it('without a managed identity says so', async () => {
    const one = provider({ identity: new ManagedIdentity({}, undefined, Date.now) });
    expect(await errorOf(one.list(soon()))).toMatchObject({
      code: 'unauthenticated',
      retry: false,
      message: expect.stringMatching(/No managed identity: turn on/),
    });
  });

  it('whose endpoint does not answer is tried again', async () => {
    const environment = { IDENTITY_ENDPOINT: 'http://127.0.0.1:9/msi', IDENTITY_HEADER: 'x' };
    const one = provider({ identity: new ManagedIdentity(environment, undefined, Date.now) });
    expect(await errorOf(one.list(soon()))).toMatchObject({ code: 'unavailable', retry: true });
  });

  it('asks no more often than it must when it fails', async () => {
    await world.faults({ calls: [{ on: STS, answer: '500' }] });
    const { calls: made } = await world.callsOf(() => errorOf(provider().list(soon())));
    expect(named(made, STS)).toHaveLength(4);
  });
});

describe('an AccessKey', () => {
  it.each([
    ['that there is not', { id: 'LTAInone', secret: 'x' }, /InvalidAccessKeyId\.NotFound/, /Correct the AccessKey/],
    ['with another secret', { id: KEYS.id, secret: 'x' }, /SignatureDoesNotMatch/, /Correct the secret/],
  ])('%s is no way in', async (_, keys, detail, next) => {
    const { value: error, calls: made } = await world.callsOf(() =>
      errorOf(world.provider({ signIn: { kind: 'access-key', ...keys } }).list(soon())),
    );
    expect(error).toMatchObject({
      code: 'unauthenticated',
      retry: false,
      message: expect.stringMatching(detail),
      next: expect.stringMatching(next),
    });
    expect(made).toHaveLength(1);
  });
});

describe('the SDK', () => {
  const strange = {
    ALIBABA_CLOUD_ACCESS_KEY_ID: 'LTAIenvironment',
    ALIBABA_CLOUD_ACCESS_KEY_SECRET: 'environment',
    ALIBABA_CLOUD_SECURITY_TOKEN: 'environment',
    ALIBABA_CLOUD_ROLE_ARN: 'acs:ram::1:role/environment',
    ALIBABA_CLOUD_OIDC_PROVIDER_ARN: 'acs:ram::1:oidc-provider/environment',
    ALIBABA_CLOUD_OIDC_TOKEN_FILE: '/nowhere',
    ALIBABA_CLOUD_ECS_METADATA: 'environment',
    ALIBABA_CLOUD_CREDENTIALS_URI: 'http://127.0.0.1:9/credentials',
  };
  const before = Object.fromEntries(Object.keys(strange).map((name) => [name, process.env[name]]));
  afterEach(() => {
    for (const [name, value] of Object.entries(before)) {
      if (value === undefined) delete process.env[name];
      else process.env[name] = value;
    }
  });

  it('looks for keys nowhere by itself: not in the environment, not at the metadata service', async () => {
    Object.assign(process.env, strange);
    const hosts = new Set<string>();
    const requests = channel('http.client.request.start');
    const see = (message: unknown) => {
      const { request } = message as { request: ClientRequest };
      hosts.add(request.host);
    };
    requests.subscribe(see);
    try {
      const session = await captured(world, wanted('env1'));
      const { calls: made } = await world.callsOf(async () => {
        await world.provider().stop(session, soon());
        await world.provider({ signIn: role, identity: fake.identity() }).list(soon());
        fake.status = 500;
        // Also when there are none to be had.
        await errorOf(world.provider({ signIn: role, identity: fake.identity() }).list(soon()));
      });
      const signers = made.map((one) => one.accessKeyId).filter((id) => id !== undefined);
      expect(signers.every((id) => id === KEYS.id || id.startsWith('STS.'))).toBe(true);
    } finally {
      requests.unsubscribe(see);
    }
    expect([...hosts]).toEqual(['127.0.0.1']);
  });
});
