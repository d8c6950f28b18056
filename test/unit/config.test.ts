import { describe, expect, it } from 'vitest';
import { isLoopback, readConfig, settings } from '../../shared/config.ts';

const sub = '11111111-2222-3333-4444-555555555555';
const accountId = (name: string) =>
  `/subscriptions/${sub}/resourceGroups/rg/providers/Microsoft.Storage/storageAccounts/${name}`;
/** Enough to have no problem. */
const fine = { AzureWebJobsStorage: 'UseDevelopmentStorage=true' };

describe('defaults', () => {
  it('are those of the design', () => {
    const config = readConfig(fine);
    expect(config.problems).toEqual([]);
    expect(config).toEqual({
      installation: 'main',
      state: { kind: 'connectionString', value: 'UseDevelopmentStorage=true' },
      captureAccounts: [],
      captureContainer: 'network-watcher-logs',
      azure: undefined,
      alibaba: undefined,
      mirror: undefined,
      rulesFile: 'rules.yaml',
      easyAuth: false,
      schedules: {
        poll: '*/20 * * * * *',
        schedule: '*/15 * * * * *',
        sweep: '0 */5 * * * *',
        retention: '0 30 3 * * *',
      },
      lifetimes: { historyMs: 400 * 86_400_000, rawAlertMs: 90 * 86_400_000 },
      times: {
        startDeadlineMs: 3000,
        acceptedTimeoutMs: 120_000,
        startingTimeoutMs: 300_000,
        startRetryMs: 30_000,
        stopRetryMs: 30_000,
        stoppingAlarmMs: 600_000,
        callTimeoutMs: 10_000,
        fileTimeoutMs: 900_000,
        filesSettleMs: 60_000,
        limitGraceMs: 20_000,
      },
      telemetry: undefined,
      problems: [],
    });
  });

  it('stand for settings that are empty or blank', () => {
    const names = Object.keys(settings).filter((name) => name !== 'AzureWebJobsStorage');
    for (const blank of ['', '  ', undefined]) {
      const env = Object.fromEntries(names.map((name) => [name, blank]));
      expect(readConfig({ ...fine, ...env })).toEqual(readConfig(fine));
    }
  });

  it('leave Azure at its public endpoint', () => {
    expect(readConfig({ ...fine, TRIPCAP_SUBSCRIPTIONS: sub }).azure).toEqual({
      subscriptions: [sub],
      endpoint: 'https://management.azure.com',
      audience: 'https://management.azure.com',
      apiVersion: '2025-07-01',
      clientId: undefined,
    });
  });
});

describe('what is set', () => {
  it('is taken, and trimmed', () => {
    const config = readConfig({
      ...fine,
      TRIPCAP_INSTALLATION: ' blue1 ',
      TRIPCAP_SUBSCRIPTIONS: ` ${sub.toUpperCase()} ,, 00000000-0000-0000-0000-000000000000,`,
      TRIPCAP_ARM_ENDPOINT: 'https://management.chinacloudapi.cn//',
      TRIPCAP_ARM_AUDIENCE: 'https://management.core.chinacloudapi.cn',
      TRIPCAP_ARM_API_VERSION: '2024-01-01-preview',
      TRIPCAP_CLIENT_ID: 'id-1',
      TRIPCAP_RULES_FILE: 'other.yaml',
      TRIPCAP_EASY_AUTH: 'True',
      TRIPCAP_POLL_SCHEDULE: '*/5 * * * * *',
      TRIPCAP_FILE_TIMEOUT_SECONDS: '2.5',
      TRIPCAP_LIMIT_GRACE_SECONDS: '0',
      TRIPCAP_CAPTURE_CONTAINER: 'caps',
    });
    expect(config).toMatchObject({
      installation: 'blue1',
      azure: {
        subscriptions: [sub, '00000000-0000-0000-0000-000000000000'],
        endpoint: 'https://management.chinacloudapi.cn',
        audience: 'https://management.core.chinacloudapi.cn',
        apiVersion: '2024-01-01-preview',
        clientId: 'id-1',
      },
      rulesFile: 'other.yaml',
      easyAuth: true,
      captureContainer: 'caps',
      schedules: { poll: '*/5 * * * * *' },
      times: { fileTimeoutMs: 2500, limitGraceMs: 0 },
      problems: [],
    });
  });

  it('is not changed afterwards', () => {
    expect(Object.isFrozen(readConfig(fine))).toBe(true);
  });

  it('is read from the argument alone', () => {
    process.env['TRIPCAP_INSTALLATION'] = 'fromprocess';
    try {
      expect(readConfig(fine).installation).toBe('main');
    } finally {
      delete process.env['TRIPCAP_INSTALLATION'];
    }
  });
});

describe('faults', () => {
  it('are collected, all of them, and never thrown', () => {
    const { problems } = readConfig({
      TRIPCAP_INSTALLATION: 'Not Allowed',
      TRIPCAP_SUBSCRIPTIONS: 'one,two',
      TRIPCAP_CAPTURE_ACCOUNTS: '{"not":"a list"}',
      TRIPCAP_ARM_ENDPOINT: 'http://management.azure.com',
      TRIPCAP_ARM_API_VERSION: 'latest',
      TRIPCAP_START_DEADLINE_SECONDS: 'soon',
      TRIPCAP_ACCEPTED_TIMEOUT_SECONDS: '-1',
      TRIPCAP_STARTING_TIMEOUT_SECONDS: '86401',
      TRIPCAP_START_RETRY_SECONDS: 'NaN',
      TRIPCAP_STOP_RETRY_SECONDS: 'Infinity',
      TRIPCAP_STOPPING_ALARM_SECONDS: '10 min',
      TRIPCAP_FILE_TIMEOUT_SECONDS: '1,5',
      TRIPCAP_LIMIT_GRACE_SECONDS: 'x',
    });
    const named = problems.map((problem) => /^\w+/.exec(problem)?.[0] ?? '');
    expect(named.toSorted()).toEqual(
      [
        'AzureWebJobsStorage',
        'TRIPCAP_INSTALLATION',
        'TRIPCAP_SUBSCRIPTIONS',
        'TRIPCAP_SUBSCRIPTIONS',
        'TRIPCAP_CAPTURE_ACCOUNTS',
        'TRIPCAP_ARM_ENDPOINT',
        'TRIPCAP_ARM_API_VERSION',
        'TRIPCAP_START_DEADLINE_SECONDS',
        'TRIPCAP_ACCEPTED_TIMEOUT_SECONDS',
        'TRIPCAP_STARTING_TIMEOUT_SECONDS',
        'TRIPCAP_START_RETRY_SECONDS',
        'TRIPCAP_STOP_RETRY_SECONDS',
        'TRIPCAP_STOPPING_ALARM_SECONDS',
        'TRIPCAP_FILE_TIMEOUT_SECONDS',
        'TRIPCAP_LIMIT_GRACE_SECONDS',
      ].toSorted(),
    );
  });

  it('leave the defaults in force', () => {
    const config = readConfig({
      ...fine,
      TRIPCAP_SUBSCRIPTIONS: sub,
      TRIPCAP_INSTALLATION: 'x'.repeat(13),
      TRIPCAP_ARM_API_VERSION: '2025',
      TRIPCAP_FILE_TIMEOUT_SECONDS: 'x',
    });
    expect(config.problems).toHaveLength(3);
    expect(config.installation).toBe('main');
    expect(config.azure?.apiVersion).toBe('2025-07-01');
    expect(config.times.fileTimeoutMs).toBe(900_000);
  });

  it.each(['A', 'a-b', 'a b', 'x'.repeat(13), 'ü', 'a_b'])(
    'the installation cannot be "%s"',
    (TRIPCAP_INSTALLATION) => {
      expect(readConfig({ ...fine, TRIPCAP_INSTALLATION }).problems).toHaveLength(1);
    },
  );
});

describe('the endpoint of ARM', () => {
  const read = (TRIPCAP_ARM_ENDPOINT: string) =>
    readConfig({ ...fine, TRIPCAP_SUBSCRIPTIONS: sub, TRIPCAP_ARM_ENDPOINT });

  it.each([
    'https://management.azure.com',
    'http://127.0.0.1:8080',
    'http://127.1.2.3',
    'http://localhost:7071',
    'http://[::1]:80',
  ])('may be %s', (endpoint) => {
    expect(read(endpoint).problems).toEqual([]);
    expect(read(endpoint).azure?.endpoint).toBe(endpoint);
  });

  it.each([
    'http://management.azure.com',
    'http://10.0.0.1',
    'http://localhost.example.com',
    'http://[::2]',
    'http://0.0.0.0',
    'ftp://127.0.0.1',
    'management.azure.com',
    '//management.azure.com',
  ])('cannot be %s, and then there is no Azure at all', (endpoint) => {
    const config = read(endpoint);
    expect(config.problems).toEqual([expect.stringContaining('TRIPCAP_ARM_ENDPOINT')]);
    expect(config.azure).toBeUndefined();
  });

  it.each(['http://127.0.0.1.example.com', 'http://127.evil.example'])('cannot be %s', (endpoint) => {
    expect(read(endpoint).problems).toHaveLength(1);
  });

  it('127.evil.example is not loopback', () => {
    expect(isLoopback('127.evil.example')).toBe(false);
  });
});

describe('subscriptions', () => {
  it('are taken once each', () => {
    const config = readConfig({ ...fine, TRIPCAP_SUBSCRIPTIONS: `${sub},${sub.toUpperCase()},${sub}` });
    expect(config.azure?.subscriptions).toEqual([sub]);
  });
});

describe('connections', () => {
  it('a connection string comes first', () => {
    expect(
      readConfig({ AzureWebJobsStorage: ' UseDevelopmentStorage=true ', AzureWebJobsStorage__accountName: 'x' }).state,
    ).toEqual({ kind: 'connectionString', value: 'UseDevelopmentStorage=true' });
  });

  it('an account name stands for the three URLs, with the identity of the app', () => {
    expect(readConfig({ AzureWebJobsStorage__accountName: 'state1' }).state).toEqual({
      kind: 'identity',
      blobUrl: 'https://state1.blob.core.windows.net',
      queueUrl: 'https://state1.queue.core.windows.net',
      tableUrl: 'https://state1.table.core.windows.net',
      clientId: undefined,
    });
  });

  it('URLs of services win over the account name, and a client id is kept', () => {
    expect(
      readConfig({
        AzureWebJobsStorage__accountName: 'state1',
        AzureWebJobsStorage__tableServiceUri: 'https://elsewhere.example/table/',
        AzureWebJobsStorage__clientId: 'id-1',
      }).state,
    ).toMatchObject({
      blobUrl: 'https://state1.blob.core.windows.net',
      tableUrl: 'https://elsewhere.example/table',
      clientId: 'id-1',
    });
  });

  it.each(['blobServiceUri', 'serviceUri'])('the URLs of queues and tables follow from %s', (name) => {
    expect(
      readConfig({ [`AzureWebJobsStorage__${name}`]: 'https://state1.blob.core.chinacloudapi.cn/' }).state,
    ).toMatchObject({
      blobUrl: 'https://state1.blob.core.chinacloudapi.cn',
      queueUrl: 'https://state1.queue.core.chinacloudapi.cn',
      tableUrl: 'https://state1.table.core.chinacloudapi.cn',
    });
  });

  it('without one there is a problem that says what to set', () => {
    const config = readConfig({});
    expect(config.state).toBeUndefined();
    expect(config.problems).toEqual([expect.stringContaining('AzureWebJobsStorage__accountName')]);
  });
});

describe('lifetimes', () => {
  const read = (value: string) =>
    readConfig({ ...fine, TRIPCAP_HISTORY_DAYS: value, TRIPCAP_RAW_ALERT_DAYS: value }).lifetimes;

  it.each([
    ['1', 86_400_000],
    [' 30 ', 30 * 86_400_000],
    ['36500', 36_500 * 86_400_000],
    ['never', undefined],
    ['NEVER', undefined],
  ])('"%s" is taken', (value, ms) => {
    expect(read(value)).toEqual({ historyMs: ms, rawAlertMs: ms });
    expect(readConfig({ ...fine, TRIPCAP_HISTORY_DAYS: value }).problems).toEqual([]);
  });

  it.each([
    '0',
    '00',
    '-1',
    '0.5',
    '1.0',
    '1e3',
    'NaN',
    'Infinity',
    '""',
    'null',
    'off',
    '٣',
    '30 days',
    '30d',
    '36501',
  ])('"%s" is a problem, and nothing has a lifetime then', (value) => {
    expect(read(value)).toEqual({ historyMs: undefined, rawAlertMs: undefined });
    const { problems, lifetimes } = readConfig({ ...fine, TRIPCAP_RAW_ALERT_DAYS: value });
    expect(problems).toEqual([expect.stringMatching(/^TRIPCAP_RAW_ALERT_DAYS .* so nothing is removed$/)]);
    expect(lifetimes.historyMs).toBe(400 * 86_400_000);
  });
});

describe('capture accounts', () => {
  const read = (accounts: unknown, env: Record<string, string> = { LOGS: 'UseDevelopmentStorage=true' }) =>
    readConfig({
      ...fine,
      ...env,
      TRIPCAP_CAPTURE_ACCOUNTS: typeof accounts === 'string' ? accounts : JSON.stringify(accounts),
    });

  it('have id, name, regions and connection', () => {
    const config = read([{ id: accountId('LogsWest'), regions: ['WestUS2', 'westus3'], connection: 'LOGS' }]);
    expect(config.problems).toEqual([]);
    expect(config.captureAccounts).toEqual([
      {
        id: accountId('LogsWest'),
        name: 'logswest',
        regions: ['westus2', 'westus3'],
        connectionName: 'LOGS',
        connection: { kind: 'connectionString', value: 'UseDevelopmentStorage=true' },
      },
    ]);
  });

  it('may be reached with the identity', () => {
    const config = read([{ id: accountId('logs'), regions: ['*'], connection: 'LOGS' }], { LOGS__accountName: 'logs' });
    expect(config.captureAccounts[0]?.connection).toMatchObject({
      kind: 'identity',
      blobUrl: 'https://logs.blob.core.windows.net',
    });
  });

  it('cannot share a region', () => {
    const config = read([
      { id: accountId('one'), regions: ['westus2', 'eastus'], connection: 'LOGS' },
      { id: accountId('two'), regions: ['WestUS2'], connection: 'LOGS' },
    ]);
    expect(config.problems).toEqual(['TRIPCAP_CAPTURE_ACCOUNTS: region westus2 is served by both one and two']);
    expect(config.captureAccounts.map((account) => account.name)).toEqual(['one']);
  });

  it('may name a region as the portal does', () => {
    const config = read([{ id: accountId('one'), regions: ['West US 2'], connection: 'LOGS' }]);
    expect(config.captureAccounts[0]?.regions).toEqual(['westus2']);
  });

  it.each([
    ['{', /not valid JSON/],
    ['{}', /must be an array/],
    ['null', /must be an array/],
    ['[null]', /\[0\]\.id/],
    ['[5]', /\[0\]\.id/],
    [[{ id: 'logs', regions: ['a'], connection: 'LOGS' }], /\[0\]\.id/],
    [[{ id: accountId('Lo_gs'), regions: ['a'], connection: 'LOGS' }], /\[0\]\.id/],
    [[{ id: accountId('logs'), connection: 'LOGS' }], /\[0\]\.regions/],
    [[{ id: accountId('logs'), regions: [], connection: 'LOGS' }], /\[0\]\.regions/],
    [[{ id: accountId('logs'), regions: 'westus2', connection: 'LOGS' }], /\[0\]\.regions/],
    [[{ id: accountId('logs'), regions: [1], connection: 'LOGS' }], /\[0\]\.regions/],
    [[{ id: accountId('logs'), regions: ['a'] }], /\[0\]\.connection/],
    [[{ id: accountId('logs'), regions: ['a'], connection: 'DefaultEndpointsProtocol=https;' }], /\[0\]\.connection/],
    [[{ id: accountId('logs'), regions: ['a'], connection: 'NOWHERE' }], /NOWHERE is missing/],
  ])('%j is a problem', (accounts, message) => {
    const config = read(accounts);
    expect(config.problems).toEqual([expect.stringMatching(message)]);
    expect(config.captureAccounts).toEqual([]);
  });

  it('keep those that are right beside those that are wrong, and tell each fault', () => {
    const config = read([
      { id: 'bad', regions: ['a'], connection: 'LOGS' },
      { id: accountId('good'), regions: ['b'], connection: 'LOGS' },
      { id: accountId('bad'), regions: [], connection: 'LOGS' },
    ]);
    expect(config.problems).toHaveLength(2);
    expect(config.captureAccounts.map((account) => account.name)).toEqual(['good']);
  });
});

describe('mirroring', () => {
  const cloud = {
    TRIPCAP_ALIBABA_ACCOUNT: '1108034196790001',
    TRIPCAP_ALIBABA_REGIONS: '[{"region":"cn-hangzhou","mirrorTargetId":"eni-1","collector":"mirror-1"}]',
    TRIPCAP_ALIBABA_ACCESS_KEY_ID: ' LTAIx ',
    TRIPCAP_ALIBABA_ACCESS_KEY_SECRET: 'hush',
    TRIPCAP_ALIBABA_ENDPOINT: '127.0.0.1:8080',
  };
  const role = {
    TRIPCAP_ALIBABA_ROLE_ARN: 'acs:ram::1108034196790001:role/tripcap',
    TRIPCAP_ALIBABA_OIDC_PROVIDER_ARN: 'acs:ram::1108034196790001:oidc-provider/entra',
  };
  const accounts = (...names: string[]) => ({
    LOGS: 'UseDevelopmentStorage=true',
    TRIPCAP_CAPTURE_ACCOUNTS: JSON.stringify(
      names.map((name) => ({ id: accountId(name), regions: [name], connection: 'LOGS' })),
    ),
  });

  it('goes to the only capture account that there is', () => {
    const config = readConfig({ ...fine, ...accounts('one'), ...cloud });
    expect(config).toMatchObject({
      problems: [],
      mirror: { account: { name: 'one' } },
      alibaba: {
        account: '1108034196790001',
        places: [{ region: 'cn-hangzhou', mirrorTargetId: 'eni-1', collector: 'mirror-1' }],
        signIn: { kind: 'access-key', id: 'LTAIx', secret: 'hush' },
        endpoint: '127.0.0.1:8080',
      },
    });
  });

  it('goes to the one that is named, whatever its letter case', () => {
    const config = readConfig({ ...fine, ...accounts('one', 'two'), ...cloud, TRIPCAP_MIRROR_ACCOUNT: 'TWO' });
    expect(config).toMatchObject({ problems: [], mirror: { account: { name: 'two' } } });
  });

  it('signs in with the identity of the app, for the usual audience or another one', () => {
    const signIn = (env: Record<string, string> = {}) =>
      readConfig({ ...fine, ...accounts('one'), ...cloud, ...role, ...env }).alibaba?.signIn;
    expect(signIn()).toEqual({
      kind: 'role',
      roleArn: role.TRIPCAP_ALIBABA_ROLE_ARN,
      providerArn: role.TRIPCAP_ALIBABA_OIDC_PROVIDER_ARN,
      audience: 'api://AzureADTokenExchange',
      clientId: undefined,
    });
    expect(signIn({ TRIPCAP_CLIENT_ID: 'id-1', TRIPCAP_ALIBABA_OIDC_AUDIENCE: 'api://mine' })).toMatchObject({
      audience: 'api://mine',
      clientId: 'id-1',
    });
  });

  it.each<[string, Record<string, string>, RegExp]>([
    ['there is no capture account', accounts(), /TRIPCAP_MIRROR_ACCOUNT must name one of .*nothing is mirrored/],
    ['there are several and none is named', accounts('one', 'two'), /TRIPCAP_MIRROR_ACCOUNT must name one/],
    [
      'none has that name',
      { ...accounts('one'), TRIPCAP_MIRROR_ACCOUNT: 'other' },
      /TRIPCAP_MIRROR_ACCOUNT is "other", which is none/,
    ],
  ])('does not take place when %s, and that is told', (_, env, message) => {
    const config = readConfig({ ...fine, ...cloud, ...env });
    expect(config.problems).toEqual([expect.stringMatching(message)]);
    expect(config.alibaba).toBeUndefined();
    expect(config.mirror).toBeUndefined();
  });

  it('that is not asked for needs no account', () => {
    expect(readConfig({ ...fine, ...accounts('one', 'two') })).toMatchObject({ problems: [], alibaba: undefined });
  });

  it('with faults tells them and no secret', () => {
    const config = readConfig({ ...fine, ...accounts('one'), ...cloud, TRIPCAP_ALIBABA_ENDPOINT: 'vpc.aliyuncs.com' });
    expect(config.problems).toEqual([expect.stringContaining('TRIPCAP_ALIBABA_ENDPOINT')]);
    expect(config.problems.join()).not.toContain('hush');
    expect(config.alibaba).toBeUndefined();
  });
});
