import { createHash } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { canonicalRequest, isSignedWith, parseAuthorization } from '../../local/vpc/signature.ts';
import { until } from '../until.ts';
import { Emulator, KEYS, REGION } from './harness.ts';
import { signedHeaders } from './signing.ts';

let cloud: Emulator;
beforeAll(async () => {
  cloud = await Emulator.start();
});
afterAll(() => cloud[Symbol.asyncDispose]());

const STATUS = 'GetTrafficMirrorServiceStatus';
const agoISO = (ms: number) => new Date(Date.now() - ms).toISOString().replace(/\.\d+/, '');

describe("Alibaba's published example", () => {
  const headers = {
    host: 'ecs.cn-shanghai.aliyuncs.com',
    'x-acs-action': 'RunInstances',
    'x-acs-content-sha256': createHash('sha256').digest('hex'),
    'x-acs-date': '2023-10-26T10:22:32Z',
    'x-acs-signature-nonce': '3156853299f313e23d1673dc12e1703d',
    'x-acs-version': '2014-05-26',
  };
  const query: [string, string][] = [
    ['RegionId', 'cn-shanghai'],
    ['ImageId', 'win2019_1809_x64_dtc_zh-cn_40G_alibase_20230811.vhd'],
  ];
  const authorization =
    'ACS3-HMAC-SHA256 Credential=YourAccessKeyId,SignedHeaders=host;x-acs-action;x-acs-content-sha256;x-acs-date;x-acs-signature-nonce;x-acs-version,Signature=06563a9e1b43f5dfe96b81484da74bceab24a1d853912eee15083a6f0f3283c0';

  test('is verified', () => {
    const signed = parseAuthorization(authorization);
    const request = { method: 'POST', path: '/', query, headers, body: Buffer.alloc(0) };
    const canonical = canonicalRequest(request, signed?.signedHeaders ?? []);
    expect(createHash('sha256').update(canonical).digest('hex')).toBe(
      '7ea06492da5221eba5297e897ce16e55f964061054b7695beedaac1145b1e259',
    );
    expect(isSignedWith('YourAccessKeySecret', canonical, signed?.signature ?? '')).toBe(true);
    expect(isSignedWith('YourAccessKeySecret2', canonical, signed?.signature ?? '')).toBe(false);
  });

  test('is what the client of these tests makes', () => {
    const made = signedHeaders({
      keys: { id: 'YourAccessKeyId', secret: 'YourAccessKeySecret' },
      action: 'RunInstances',
      version: '2014-05-26',
      host: headers.host,
      query,
      headers: { 'x-acs-date': headers['x-acs-date'], 'x-acs-signature-nonce': headers['x-acs-signature-nonce'] },
    });
    expect(made['authorization']).toBe(authorization);
  });
});

describe('a call that is signed passes', () => {
  test('by POST, by GET, with a form, with spaces and signs of all kinds', async () => {
    expect((await cloud.call(STATUS)).status).toBe(200);
    expect((await cloud.call(STATUS, {}, { method: 'GET' })).status).toBe(200);
    expect((await cloud.call(STATUS, {}, { form: true })).status).toBe(200);
    const TrafficMirrorFilterName = `é 'a' (b)*!~+&=/?%41`;
    const id = await cloud.filter({ TrafficMirrorFilterName, Tag: [{ Key: 'k 1', Value: 'v*' }] });
    const { TrafficMirrorFilters } = await cloud.done('ListTrafficMirrorFilters', { TrafficMirrorFilterIds: [id] });
    expect(TrafficMirrorFilters[0]).toMatchObject({ TrafficMirrorFilterName, Tags: [{ Key: 'k 1', Value: 'v*' }] });
  });
});

describe('a call that is not signed as it should be is refused', () => {
  const expectRefused = async (status: number, code: string, ...call: Parameters<Emulator['call']>) => {
    const answer = await cloud.call(...call);
    expect([answer.status, answer.body.Code]).toEqual([status, code]);
    expect(answer.body).toEqual({
      RequestId: expect.stringMatching(/^[0-9A-F-]{36}$/),
      HostId: new URL(cloud.url).host,
      Code: code,
      Message: expect.stringMatching(/./),
      Recommend: expect.stringContaining(`?q=${code}&product=Vpc&requestId=${answer.body.RequestId}`),
    });
    expect(answer.headers['x-acs-request-id']).toBe(answer.body.RequestId);
    return answer.body.Message as string;
  };

  test.each<[number, string, string, Parameters<Emulator['call']>[2]]>([
    [404, 'InvalidAccessKeyId.NotFound', 'by an unknown key', { keys: { id: 'LTAIother', secret: 'x' } }],
    [400, 'SignatureDoesNotMatch', 'by another secret', { keys: { ...KEYS, secret: 'wrong' } }],
    [400, 'IncompleteSignature', 'not at all', { unsigned: { authorization: '' } }],
    [400, 'IncompleteSignature', 'with another algorithm', { unsigned: { authorization: 'acs LTAItest:abc' } }],
    [400, 'SignatureDoesNotMatch', 'in part', { unsigned: { 'x-acs-extra': '1' } }],
    [400, 'SignatureDoesNotMatch', 'with another body', { body: 'a=b', headers: { 'x-acs-content-sha256': 'e3b0' } }],
    [400, 'InvalidTimeStamp.Expired', '16 minutes ago', { headers: { 'x-acs-date': agoISO(16 * 60_000) } }],
    [400, 'InvalidTimeStamp.Expired', 'in 16 minutes', { headers: { 'x-acs-date': agoISO(-16 * 60_000) } }],
    [400, 'InvalidTimeStamp.Format', 'at no time', { headers: { 'x-acs-date': 'yesterday' } }],
    [400, 'MissingSignatureNonce', 'without a nonce', { headers: { 'x-acs-signature-nonce': '' } }],
    [400, 'UnsupportedHTTPMethod', 'by PUT', { method: 'PUT' }],
    [404, 'InvalidAction.NotFound', 'with an unknown action', { action: 'MirrorEverything' }],
    [400, 'InvalidVersion', 'with an unknown version', { version: '2099-01-01' }],
  ])('%i %s: signed %s', async (status, code, _, options) => {
    await expectRefused(status, code, STATUS, {}, options);
  });

  test('a nonce is good for one call', async () => {
    const headers = { 'x-acs-signature-nonce': 'once-only' };
    expect((await cloud.call(STATUS, {}, { headers })).status).toBe(200);
    const message = await expectRefused(400, 'SignatureNonceUsed', STATUS, {}, { headers });
    expect(message).toBe('Specified signature nonce was used already.');
  });

  test('the message shows what the server signed', async () => {
    const message = await expectRefused(
      400,
      'SignatureDoesNotMatch',
      STATUS,
      {},
      { keys: { ...KEYS, secret: 'wrong' } },
    );
    expect(message).toMatch(
      /^Specified signature does not match our calculation\. server StringToSign is \[ACS3-HMAC-/,
    );
    expect(message).toContain(`server CanonicalRequest is [POST\n/\nRegionId=${REGION}\nhost:`);
  });

  test('another region than its own', async () => {
    await expectRefused(400, 'UnsupportedRegion', 'ListTrafficMirrorSessions', { RegionId: 'us-east-1' });
  });
});

describe('temporary keys for a token of identity', () => {
  const encoded = (part: object) => Buffer.from(JSON.stringify(part)).toString('base64url');
  const claims = { aud: 'sts.aliyuncs.com', iss: 'https://sts.windows.net/tenant/', sub: 'app' };
  const tokenWith = (part: object) => `${encoded({ alg: 'RS256' })}.${encoded({ ...claims, ...part })}.c2ln`;
  const ask = {
    OIDCProviderArn: 'acs:ram::1:oidc-provider/azure',
    RoleArn: 'acs:ram::1:role/mirror',
    RoleSessionName: 'tripcap',
  };
  /** Unsigned, action and version in the query, as the documents have it. */
  const assume = async (given: Record<string, string>) => {
    const response = await fetch(`${cloud.url}/?Version=2015-04-01&Action=AssumeRoleWithOIDC&Format=JSON`, {
      method: 'POST',
      body: new URLSearchParams({ ...ask, OIDCToken: tokenWith({}), ...given }),
    });
    return { status: response.status, body: (await response.json()) as any };
  };

  test('sign calls with their security token, until they expire', async () => {
    const { status, body } = await assume({ DurationSeconds: '900' });
    expect(status).toBe(200);
    const { AccessKeyId: id, AccessKeySecret: secret, SecurityToken: securityToken, Expiration } = body.Credentials;
    expect(Date.parse(Expiration) - Date.now()).toBeGreaterThan(890_000);
    expect(Date.parse(Expiration) - Date.now()).toBeLessThanOrEqual(900_000);
    const codeWith = async (keys: { id: string; secret: string; securityToken?: string }) =>
      (await cloud.call(STATUS, {}, { keys })).body.Code;
    expect(await codeWith({ id, secret, securityToken })).toBeUndefined();
    expect(await codeWith({ id, secret })).toBe('MissingSecurityToken');
    expect(await codeWith({ id, secret, securityToken: `${securityToken}x` })).toBe(
      'InvalidSecurityToken.MismatchWithAccessKey',
    );
    expect(await codeWith({ ...KEYS, securityToken })).toBe('InvalidSecurityToken.MismatchWithAccessKey');
    await cloud.control({ expireKeys: true });
    expect(await codeWith({ id, secret, securityToken })).toBe('InvalidSecurityToken.Expired');
  });

  test.each<[string, string, Record<string, string>]>([
    ['AuthenticationFail.NoPermission', 'for somebody else', { OIDCToken: tokenWith({ aud: 'api://other' }) }],
    ['AuthenticationFail.OIDCToken.Expired', 'of yesterday', { OIDCToken: tokenWith({ exp: Date.now() / 1000 - 1 }) }],
    ['AuthenticationFail.OIDCToken.Invalid', 'that is none', { OIDCToken: 'opaque' }],
    ['IllegalParam.DurationSeconds', 'for too short', { DurationSeconds: '60' }],
    ['IllegalParam.RoleArn', 'of no role', { RoleArn: 'mirror' }],
    ['MissingOIDCProviderArn', 'of nobody', { OIDCProviderArn: '' }],
  ])('%s: a token %s', async (code, _, given) => {
    const { status, body } = await assume(given);
    expect(status).toBeGreaterThanOrEqual(400);
    expect(body.Code).toBe(code);
  });

  test('the request log has no token of identity', async () => {
    const token = tokenWith({ sub: 'not-to-be-logged' });
    await assume({ OIDCToken: token });
    const entry = await until('the entry', async () =>
      (await cloud.own('/_log')).findLast((each: any) => each.action === 'AssumeRoleWithOIDC'),
    );
    expect(entry).toMatchObject({ version: '2015-04-01', status: 200, parameters: ask });
    expect(JSON.stringify(await cloud.own('/_log'))).not.toContain(token);
  });
});
