import { describe, expect, it } from 'vitest';
import { readAlibaba, type AlibabaTexts } from '../../shared/provider/alibaba/settings.ts';

const place = { region: 'cn-hangzhou', mirrorTargetId: 'eni-collector0001', collector: 'mirror-1' };
const fine: AlibabaTexts = {
  account: '1108034196790001',
  regions: JSON.stringify([place]),
  roleArn: 'acs:ram::1108034196790001:role/tripcap',
  providerArn: 'acs:ram::1108034196790001:oidc-provider/entra',
  audience: 'api://AzureADTokenExchange',
  accessKeyId: '',
  accessKeySecret: '',
  endpoint: '',
};
const noSignIn = { roleArn: '', providerArn: '' };

function read(changes: Partial<AlibabaTexts> = {}, clientId?: string) {
  const problems: string[] = [];
  return { config: readAlibaba({ ...fine, ...changes }, clientId, problems), problems };
}
const readPlaces = (places: unknown) => read({ regions: typeof places === 'string' ? places : JSON.stringify(places) });

describe('without an account', () => {
  it('Alibaba Cloud is not used, whatever else is set, and nothing is wrong with that', () => {
    for (const rest of [{}, { regions: '{' }, noSignIn, { endpoint: 'nonsense' }])
      expect(read({ account: '', ...rest })).toEqual({ config: undefined, problems: [] });
  });
});

describe('what is complete', () => {
  it('is taken, with the usual values for what is left out', () => {
    expect(read({}, 'client-1')).toEqual({
      problems: [],
      config: {
        account: '1108034196790001',
        places: [{ ...place, mirrorTargetType: 'NetworkInterface', maxSources: 20 }],
        signIn: {
          kind: 'role',
          roleArn: 'acs:ram::1108034196790001:role/tripcap',
          providerArn: 'acs:ram::1108034196790001:oidc-provider/entra',
          audience: 'api://AzureADTokenExchange',
          clientId: 'client-1',
        },
        endpoint: undefined,
      },
    });
  });

  it('may name several regions, several targets in one, load balancers, filters and larger quotas', () => {
    const places = [
      { ...place, filterId: 'tmf-all_1', maxSources: 200 },
      { ...place, mirrorTargetId: 'eni-collector0002' },
      { region: 'ap-southeast-1', mirrorTargetId: 'lb-1', mirrorTargetType: 'SLB', collector: 'mirror-2' },
    ];
    expect(readPlaces(places)).toMatchObject({
      problems: [],
      config: { places: [places[0], { ...places[1], maxSources: 20 }, { ...places[2], maxSources: 20 }] },
    });
  });

  it('may sign in by an AccessKey pair; the role comes first where both are there', () => {
    const pair = { accessKeyId: 'LTAIx', accessKeySecret: 'hush' };
    expect(read({ ...noSignIn, ...pair }).config?.signIn).toEqual({ kind: 'access-key', id: 'LTAIx', secret: 'hush' });
    expect(read(pair).config?.signIn.kind).toBe('role');
  });

  it.each(['127.0.0.1:8080', '127.255.1.2:1', '127.0.0.1:65535'])('may be an emulator at %s', (endpoint) => {
    expect(read({ endpoint })).toMatchObject({ problems: [], config: { endpoint } });
  });
});

describe('a fault is told, and nothing is mirrored', () => {
  it.each(['abc', '12345', '1'.repeat(21), '1108034196790001 ', 'acs:ram::1108034196790001:root'])(
    'account "%s"',
    (account) => {
      expect(read({ account })).toEqual({
        config: undefined,
        problems: [expect.stringMatching(/^TRIPCAP_ALIBABA_ACCOUNT must be the digits of an account id/)],
      });
    },
  );

  it.each([
    'localhost:8080',
    '10.0.0.1:8080',
    '127.0.0.1',
    '127.0.0.1:0',
    '127.0.0.1:65536',
    '127.0.0.1:123456',
    '127.0.0.256:80',
    '127.1:80',
    'http://127.0.0.1:8080',
    '127.0.0.1:8080/x',
    'vpc.aliyuncs.com:443',
    '127.0.0.1.example.com:80',
  ])('endpoint %s', (endpoint) => {
    expect(read({ endpoint })).toEqual({
      config: undefined,
      problems: [expect.stringMatching(/^TRIPCAP_ALIBABA_ENDPOINT is for emulators/)],
    });
  });

  it.each<[string, Partial<AlibabaTexts>, RegExp]>([
    ['none', noSignIn, /without a way to sign in/],
    ['a role without an identity provider', { providerArn: '' }, /without a way to sign in/],
    ['an identity provider without a role', { roleArn: '' }, /without a way to sign in/],
    ['half a pair', { ...noSignIn, accessKeyId: 'LTAIx' }, /without a way to sign in/],
    ['the other half', { ...noSignIn, accessKeySecret: 'hush' }, /without a way to sign in/],
    ['a role that is none', { roleArn: 'acs:ram::1:user/x' }, /TRIPCAP_ALIBABA_ROLE_ARN must look like/],
    ['an Azure id', { roleArn: '/subscriptions/x' }, /TRIPCAP_ALIBABA_ROLE_ARN must look like/],
    ['an identity provider that is none', { providerArn: 'entra' }, /TRIPCAP_ALIBABA_OIDC_PROVIDER_ARN like/],
  ])('sign-in: %s', (_, changes, message) => {
    expect(read(changes)).toEqual({ config: undefined, problems: [expect.stringMatching(message)] });
  });
});

describe('places', () => {
  it.each<[unknown, RegExp]>([
    ['{', /not valid JSON/],
    ['', /not valid JSON/],
    ['{}', /must be a list of at least one/],
    ['[]', /must be a list of at least one/],
    ['null', /must be a list of at least one/],
    ['[null]', /\[0\]\.region/],
    ['["cn-hangzhou"]', /\[0\]\.region/],
    [[{ ...place, region: 'Hangzhou' }], /\[0\]\.region/],
    [[{ ...place, region: 'cn-hangzhou.example.com/' }], /\[0\]\.region/],
    [[{ ...place, region: 5 }], /\[0\]\.region/],
    [[{ ...place, mirrorTargetId: undefined }], /\[0\]\.mirrorTargetId must be the id of a NetworkInterface/],
    [[{ ...place, mirrorTargetId: 'lb-1' }], /\[0\]\.mirrorTargetId must be the id of a NetworkInterface/],
    [[{ ...place, mirrorTargetId: 'i-1' }], /\[0\]\.mirrorTargetId/],
    [[{ ...place, mirrorTargetType: 'SLB' }], /\[0\]\.mirrorTargetId must be the id of a SLB/],
    [[{ ...place, mirrorTargetType: 'GatewayLoadBalancer' }], /\[0\]\.mirrorTargetType/],
    [[{ ...place, collector: undefined }], /\[0\]\.collector/],
    [[{ ...place, collector: 'a/b' }], /\[0\]\.collector/],
    [[{ ...place, collector: '' }], /\[0\]\.collector/],
    [[{ ...place, collector: 'mirror_2' }], /\[0\]\.collector/],
    [[{ ...place, collector: 'x'.repeat(64) }], /\[0\]\.collector/],
    [[{ ...place, filterId: 'tms-1' }], /\[0\]\.filterId/],
    [[{ ...place, filterId: null }], /\[0\]\.filterId/],
    [[{ ...place, maxSources: 0 }], /\[0\]\.maxSources/],
    [[{ ...place, maxSources: 1.5 }], /\[0\]\.maxSources/],
    [[{ ...place, maxSources: '20' }], /\[0\]\.maxSources/],
  ])('%j is a problem', (places, message) => {
    const { problems, config } = readPlaces(places);
    expect(problems).toEqual([expect.stringMatching(message)]);
    expect(problems[0]).toMatch(/^TRIPCAP_ALIBABA_REGIONS: /);
    expect(config?.places).toEqual([]);
  });

  it('that are right stay beside those that are wrong, and each fault is told', () => {
    const { problems, config } = readPlaces([
      { ...place, region: '?' },
      place,
      { ...place, region: 'cn-beijing', collector: 'again' },
      { ...place, region: 'cn-beijing', mirrorTargetId: 'eni-2', maxSources: -1 },
      { ...place, region: 'cn-shanghai', mirrorTargetId: 'eni-3' },
    ]);
    expect(problems).toEqual([
      expect.stringContaining('[0].region'),
      'TRIPCAP_ALIBABA_REGIONS: eni-collector0001 is listed twice',
      expect.stringContaining('[3].maxSources'),
    ]);
    expect(config?.places.map(({ region, collector }) => [region, collector])).toEqual([
      ['cn-hangzhou', 'mirror-1'],
      ['cn-shanghai', 'mirror-1'],
    ]);
  });
});

it('no problem repeats a secret', () => {
  const secret = 'very-secret-0001';
  const placesOfSecrets = Object.keys(place).map((name) => ({ ...place, [name]: `?${secret}` }));
  const faults: Partial<AlibabaTexts>[] = [
    { ...noSignIn, accessKeyId: secret },
    { ...noSignIn, accessKeySecret: secret },
    { roleArn: secret, accessKeyId: secret, accessKeySecret: secret },
    { providerArn: secret, accessKeySecret: secret },
    { endpoint: `https://user:${secret}@vpc.aliyuncs.com`, accessKeySecret: secret },
    { regions: `{"sas":"${secret}"`, accessKeySecret: secret },
    ...placesOfSecrets.map((each) => ({ regions: JSON.stringify([each]) })),
  ];
  for (const fault of faults) {
    const { problems } = read(fault);
    expect(problems.length).toBeGreaterThan(0);
    expect(problems.join('\n')).not.toContain(secret);
  }
});
