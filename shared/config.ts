import { isIPv4 } from 'node:net';
import { readAlibaba, type AlibabaConfig } from './provider/alibaba/settings.ts';
import { readTelemetry, type TelemetryConfig } from './telemetry/settings.ts';

/**
 * The app's settings, read once from the environment that is passed in. Nothing else reads the environment.
 * Never throws: an entry file that throws would take every function of the app down, so faults are collected in `problems`
 * and shown by GET /health. docs/settings.md lists the same settings.
 */

/** Name of the queue that the start function listens on. */
export const runQueueName = 'tripcap-runs';

/** Containers that collectors upload captures of mirrored traffic to, and in which they and the app speak with each other. */
export {
  CAPTURES_CONTAINER as mirrorContainer,
  CONTROL_CONTAINER as mirrorControlContainer,
} from '../collector/protocol.ts';

/** How to reach a storage account: a connection string (the sandbox), or service URLs with the app's managed identity. */
export type StorageConnection =
  | { kind: 'connectionString'; value: string }
  | { kind: 'identity'; blobUrl: string; queueUrl: string; tableUrl: string; clientId: string | undefined };

/** A storage account that Network Watcher may write to. It must lie in the region of the machines it serves. */
export type CaptureAccount = {
  /** ARM id of the account. */
  id: string;
  /** Name of the account: the last part of the id. */
  name: string;
  /** Regions served, lower case; `*` serves all (Azure wants account and machine in one region; the sandbox does not mind). */
  regions: readonly string[];
  /** Name of the app setting that tells how to reach it. */
  connectionName: string;
  connection: StorageConnection;
};

export type Config = {
  /** Tells this installation's sessions from those of others: lower-case letters and digits. */
  installation: string;
  state: StorageConnection | undefined;
  captureAccounts: readonly CaptureAccount[];
  /** Container that Azure writes captures to when only an account is given. */
  captureContainer: string;
  azure:
    | {
        subscriptions: readonly string[];
        endpoint: string;
        audience: string;
        apiVersion: string;
        clientId: string | undefined;
      }
    | undefined;
  alibaba: AlibabaConfig | undefined;
  /** Where collectors of mirrored traffic write to; absent when there is nothing to mirror. */
  mirror: { account: CaptureAccount } | undefined;
  rulesFile: string;
  /** Easy Auth stands before the app, so that its x-ms-client-principal header can be believed. */
  easyAuth: boolean;
  schedules: { poll: string; schedule: string; sweep: string; retention: string };
  times: Times;
  lifetimes: Lifetimes;
  /** Absent: no telemetry is sent. */
  telemetry: TelemetryConfig | undefined;
  problems: readonly string[];
};

/** How long what is recorded lives, in milliseconds; undefined = for ever. */
export type Lifetimes = {
  /** Runs, alerts, entries of the catalogue and what belongs to them. */
  historyMs: number | undefined;
  /** The payloads of alerts as they came. */
  rawAlertMs: number | undefined;
};

/** All in milliseconds. */
export type Times = {
  /** How long a webhook or runbook call may wait for the cloud before the queue takes over. */
  startDeadlineMs: number;
  /** How long one call on a cloud may take that nobody waits for; a start three times as long. */
  callTimeoutMs: number;
  /** accepted → failed */
  acceptedTimeoutMs: number;
  /** starting → stopping */
  startingTimeoutMs: number;
  /** A session that was asked for and is not there is asked for again after this. */
  startRetryMs: number;
  /** A stop or delete that was asked and shows no effect is asked again after this. */
  stopRetryMs: number;
  /** stopping: from here on the timeline and the log raise an alarm. */
  stoppingAlarmMs: number;
  /** collecting → completed without a file */
  fileTimeoutMs: number;
  /** A run with several files is over when no more of them came for this long. */
  filesSettleMs: number;
  /** How far the cloud may overrun a time limit before we stop the session ourselves. */
  limitGraceMs: number;
};

/** Every setting with its default and meaning; undefined = no default. `…` stands for a connection's name. */
export const settings = {
  AzureWebJobsStorage: {
    default: undefined,
    about: "Storage account of the app's state (tables, queues, raw alerts).",
  },
  TRIPCAP_INSTALLATION: {
    default: 'main',
    about: 'Name of this installation in the names of its sessions; 1 to 12 lower-case letters and digits.',
  },
  TRIPCAP_SUBSCRIPTIONS: {
    default: '',
    about: 'Subscription ids whose machines may be captured, separated by commas.',
  },
  TRIPCAP_CAPTURE_ACCOUNTS: {
    default: '[]',
    about: 'JSON array of {"id","regions","connection"}: the storage accounts that captures are written to.',
  },
  TRIPCAP_CAPTURE_CONTAINER: { default: 'network-watcher-logs', about: 'Container in which Azure files captures.' },
  TRIPCAP_ARM_ENDPOINT: {
    default: 'https://management.azure.com',
    about: 'Azure Resource Manager; another one for a sovereign cloud. Plain http only on loopback.',
  },
  TRIPCAP_ARM_AUDIENCE: {
    default: '',
    about: 'Resource that tokens are asked for, where it differs from the endpoint.',
  },
  TRIPCAP_ARM_API_VERSION: { default: '2025-07-01', about: 'api-version of the packet capture calls.' },
  TRIPCAP_CLIENT_ID: {
    default: '',
    about: 'Client id of a user-assigned managed identity; empty for the system-assigned one.',
  },
  TRIPCAP_ALIBABA_ACCOUNT: {
    default: '',
    about: 'Id of the Alibaba Cloud account whose instances may be mirrored; empty: Alibaba Cloud is not used.',
  },
  TRIPCAP_ALIBABA_REGIONS: {
    default: '[]',
    about:
      'JSON array of {"region","mirrorTargetId","mirrorTargetType","collector","filterId","maxSources"}: the regions, and where mirrored packets go in each (several of one region are taken in order, as there is room).',
  },
  TRIPCAP_ALIBABA_ROLE_ARN: {
    default: '',
    about: "RAM role that the managed identity's token is exchanged for.",
  },
  TRIPCAP_ALIBABA_OIDC_PROVIDER_ARN: {
    default: '',
    about: 'RAM identity provider that trusts the issuer of that token.',
  },
  TRIPCAP_ALIBABA_OIDC_AUDIENCE: {
    default: 'api://AzureADTokenExchange',
    about: 'Resource that the token is asked for: the audience that the role demands.',
  },
  TRIPCAP_ALIBABA_ACCESS_KEY_ID: { default: '', about: 'AccessKey in place of the role, where there is no other way.' },
  TRIPCAP_ALIBABA_ACCESS_KEY_SECRET: { default: '', about: 'Its secret; by a Key Vault reference.' },
  TRIPCAP_ALIBABA_ENDPOINT: {
    default: '',
    about: "HOST:PORT on loopback of an emulator that takes all calls in place of the cloud's addresses.",
  },
  TRIPCAP_MIRROR_ACCOUNT: {
    default: '',
    about:
      'Name of the one of TRIPCAP_CAPTURE_ACCOUNTS that collectors of mirrored traffic write to; may be left out when there is only one.',
  },
  TRIPCAP_RULES_FILE: { default: 'rules.yaml', about: "Rules file, relative to the app's folder." },
  TRIPCAP_EASY_AUTH: {
    default: 'false',
    about:
      'true when App Service authentication stands before the app: callers need an Entra role in place of a function key.',
  },
  TRIPCAP_POLL_SCHEDULE: { default: '*/20 * * * * *', about: 'How often open runs are polled (NCRONTAB).' },
  TRIPCAP_SCHEDULE_SCHEDULE: {
    default: '*/15 * * * * *',
    about: 'How often scheduled rules are looked at (NCRONTAB).',
  },
  TRIPCAP_SWEEP_SCHEDULE: {
    default: '0 */5 * * * *',
    about: 'How often containers are searched for files whose event was missed (NCRONTAB).',
  },
  TRIPCAP_HISTORY_DAYS: {
    default: '400',
    about: 'Runs, alerts and entries of the catalogue are removed when they are older than this; whole days, or never.',
  },
  TRIPCAP_RAW_ALERT_DAYS: {
    default: '90',
    about: 'Payloads of alerts as they came are removed when they are older than this; whole days, or never.',
  },
  TRIPCAP_RETENTION_SCHEDULE: {
    default: '0 30 3 * * *',
    about: 'How often what has outlived its time is looked for (NCRONTAB).',
  },
  TRIPCAP_START_DEADLINE_SECONDS: {
    default: '3',
    about: 'How long a request waits for the cloud before the queue takes over.',
  },
  TRIPCAP_CALL_TIMEOUT_SECONDS: {
    default: '10',
    about: 'How long a call on the cloud may take that no request waits for; a start may take three times as long.',
  },
  TRIPCAP_ACCEPTED_TIMEOUT_SECONDS: { default: '120', about: 'accepted fails after this.' },
  TRIPCAP_STARTING_TIMEOUT_SECONDS: { default: '300', about: 'starting is stopped after this.' },
  TRIPCAP_START_RETRY_SECONDS: { default: '30', about: 'A session that is not there is asked for again after this.' },
  TRIPCAP_STOP_RETRY_SECONDS: { default: '30', about: 'A stop or delete without effect is asked again after this.' },
  TRIPCAP_STOPPING_ALARM_SECONDS: { default: '600', about: 'A stop that is not confirmed raises an alarm after this.' },
  TRIPCAP_FILE_TIMEOUT_SECONDS: { default: '900', about: 'A file that has not come after this is given up on.' },
  TRIPCAP_FILES_SETTLE_SECONDS: {
    default: '60',
    about: 'A run with several files (scale sets, continuous captures) is completed when no more came for this long.',
  },
  TRIPCAP_LIMIT_GRACE_SECONDS: {
    default: '20',
    about: 'A session that overruns its time limit by this is stopped by us.',
  },
  APPLICATIONINSIGHTS_CONNECTION_STRING: {
    default: '',
    about: 'Connection string of Application Insights; empty: no telemetry is sent.',
  },
  APPLICATIONINSIGHTS_AUTHENTICATION_STRING: {
    default: '',
    about: 'Authorization=AAD, or Authorization=AAD;ClientId=…: telemetry is sent with tokens of the managed identity.',
  },
} as const;

// A hundred years.
const mostDays = 36_500;

type Environment = Readonly<Record<string, string | undefined>>;

export function readConfig(env: Environment): Config {
  const problems: string[] = [];
  const text = (name: Exclude<keyof typeof settings, 'AzureWebJobsStorage'>): string =>
    env[name]?.trim() || settings[name].default;
  const seconds = (name: Exclude<keyof typeof settings, 'AzureWebJobsStorage'>): number => {
    const value = Number(text(name));
    if (Number.isFinite(value) && value >= 0 && value <= 86_400) return value * 1000;
    problems.push(`${name} must be a number of seconds from 0 to 86400; it is "${text(name)}"`);
    return Number(settings[name].default) * 1000;
  };
  // What is no number of days is no leave to remove anything.
  const days = (name: 'TRIPCAP_HISTORY_DAYS' | 'TRIPCAP_RAW_ALERT_DAYS'): number | undefined => {
    const value = text(name);
    if (value.toLowerCase() === 'never') return undefined;
    if (/^[1-9]\d*$/.test(value) && Number(value) <= mostDays) return Number(value) * 86_400_000;
    problems.push(
      `${name} must be a whole number of days from 1 to ${mostDays}, or never; it is "${value}", so nothing is removed`,
    );
    return undefined;
  };

  let installation = text('TRIPCAP_INSTALLATION');
  if (!/^[a-z0-9]{1,12}$/.test(installation)) {
    problems.push(`TRIPCAP_INSTALLATION must be 1 to 12 lower-case letters and digits; it is "${installation}"`);
    installation = settings.TRIPCAP_INSTALLATION.default;
  }
  const easyAuth = text('TRIPCAP_EASY_AUTH').toLowerCase();
  if (easyAuth !== 'true' && easyAuth !== 'false')
    problems.push(`TRIPCAP_EASY_AUTH must be true or false; it is "${easyAuth}"`);
  const clientId = text('TRIPCAP_CLIENT_ID') || undefined;
  const captureAccounts = readCaptureAccounts(text('TRIPCAP_CAPTURE_ACCOUNTS'), env, problems);
  const alibaba = readAlibaba(
    {
      account: text('TRIPCAP_ALIBABA_ACCOUNT'),
      regions: text('TRIPCAP_ALIBABA_REGIONS'),
      roleArn: text('TRIPCAP_ALIBABA_ROLE_ARN'),
      providerArn: text('TRIPCAP_ALIBABA_OIDC_PROVIDER_ARN'),
      audience: text('TRIPCAP_ALIBABA_OIDC_AUDIENCE'),
      accessKeyId: text('TRIPCAP_ALIBABA_ACCESS_KEY_ID'),
      accessKeySecret: text('TRIPCAP_ALIBABA_ACCESS_KEY_SECRET'),
      endpoint: text('TRIPCAP_ALIBABA_ENDPOINT'),
    },
    clientId,
    problems,
  );
  const mirror = alibaba && readMirror(text('TRIPCAP_MIRROR_ACCOUNT'), captureAccounts, problems);
  const config: Config = {
    installation,
    state: readConnection(env, 'AzureWebJobsStorage', problems),
    captureAccounts,
    captureContainer: text('TRIPCAP_CAPTURE_CONTAINER'),
    azure: readAzure(
      text('TRIPCAP_SUBSCRIPTIONS'),
      text('TRIPCAP_ARM_ENDPOINT'),
      text('TRIPCAP_ARM_AUDIENCE'),
      text('TRIPCAP_ARM_API_VERSION'),
      clientId,
      problems,
    ),
    // Without a place for its packets there is nothing to mirror for.
    alibaba: mirror && alibaba,
    mirror,
    rulesFile: text('TRIPCAP_RULES_FILE'),
    easyAuth: easyAuth === 'true',
    schedules: {
      poll: text('TRIPCAP_POLL_SCHEDULE'),
      schedule: text('TRIPCAP_SCHEDULE_SCHEDULE'),
      sweep: text('TRIPCAP_SWEEP_SCHEDULE'),
      retention: text('TRIPCAP_RETENTION_SCHEDULE'),
    },
    times: {
      startDeadlineMs: seconds('TRIPCAP_START_DEADLINE_SECONDS'),
      callTimeoutMs: seconds('TRIPCAP_CALL_TIMEOUT_SECONDS'),
      acceptedTimeoutMs: seconds('TRIPCAP_ACCEPTED_TIMEOUT_SECONDS'),
      startingTimeoutMs: seconds('TRIPCAP_STARTING_TIMEOUT_SECONDS'),
      startRetryMs: seconds('TRIPCAP_START_RETRY_SECONDS'),
      stopRetryMs: seconds('TRIPCAP_STOP_RETRY_SECONDS'),
      stoppingAlarmMs: seconds('TRIPCAP_STOPPING_ALARM_SECONDS'),
      fileTimeoutMs: seconds('TRIPCAP_FILE_TIMEOUT_SECONDS'),
      filesSettleMs: seconds('TRIPCAP_FILES_SETTLE_SECONDS'),
      limitGraceMs: seconds('TRIPCAP_LIMIT_GRACE_SECONDS'),
    },
    lifetimes: { historyMs: days('TRIPCAP_HISTORY_DAYS'), rawAlertMs: days('TRIPCAP_RAW_ALERT_DAYS') },
    telemetry: readTelemetry(
      text('APPLICATIONINSIGHTS_CONNECTION_STRING'),
      text('APPLICATIONINSIGHTS_AUTHENTICATION_STRING'),
      env,
      problems,
    ),
    problems,
  };
  return Object.freeze(config);
}

function readAzure(
  subscriptionList: string,
  endpoint: string,
  audience: string,
  apiVersion: string,
  clientId: string | undefined,
  problems: string[],
): Config['azure'] {
  const listed = subscriptionList.split(',').map((s) => s.trim().toLowerCase());
  const subscriptions = [...new Set(listed.filter(Boolean))];
  if (subscriptions.length === 0) return undefined;
  for (const s of subscriptions) {
    if (!/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(s))
      problems.push(`TRIPCAP_SUBSCRIPTIONS: "${s}" is not a subscription id`);
  }
  if (!/^20\d\d-\d\d-\d\d(-preview)?$/.test(apiVersion)) {
    problems.push(`TRIPCAP_ARM_API_VERSION must look like 2025-07-01; it is "${apiVersion}"`);
    apiVersion = settings.TRIPCAP_ARM_API_VERSION.default;
  }
  const url = URL.canParse(endpoint) ? new URL(endpoint) : undefined;
  if (url?.protocol !== 'https:' && !(url?.protocol === 'http:' && isLoopback(url.hostname))) {
    problems.push(`TRIPCAP_ARM_ENDPOINT must be an https URL (plain http only on loopback); it is "${endpoint}"`);
    return undefined;
  }
  const origin = endpoint.replace(/\/+$/, '');
  return { subscriptions, endpoint: origin, audience: audience || origin, apiVersion, clientId };
}

export function isLoopback(hostname: string): boolean {
  return hostname === 'localhost' || hostname === '[::1]' || (isIPv4(hostname) && hostname.startsWith('127.'));
}

function readCaptureAccounts(json: string, env: Environment, problems: string[]): CaptureAccount[] {
  const complain = (what: string): CaptureAccount[] => {
    problems.push(`TRIPCAP_CAPTURE_ACCOUNTS: ${what}`);
    return [];
  };
  let list: unknown;
  try {
    list = JSON.parse(json);
  } catch {
    return complain('not valid JSON');
  }
  if (!Array.isArray(list)) return complain('must be an array');
  const regionOwner = new Map<string, string>();
  const names = new Set<string>();
  return list.flatMap((item: unknown, index): CaptureAccount[] => {
    const { id, regions, connection: connectionName } = (item ?? {}) as Record<string, unknown>;
    const name = typeof id === 'string' ? accountName(id) : undefined;
    if (typeof id !== 'string' || name === undefined)
      return complain(`[${index}].id must be the ARM id of a storage account`);
    if (!Array.isArray(regions) || regions.length === 0 || !regions.every((r) => typeof r === 'string')) {
      return complain(`[${index}].regions must be a list of region names`);
    }
    if (typeof connectionName !== 'string' || !/^\w+$/.test(connectionName)) {
      return complain(`[${index}].connection must be the name of an app setting`);
    }
    if (names.has(name)) return complain(`account ${name} is listed twice; list it once with all of its regions`);
    names.add(name);
    const connection = readConnection(env, connectionName, problems);
    if (connection === undefined) return [];
    const served = regions.map(toRegion);
    for (const region of served) {
      const owner = regionOwner.get(region);
      if (owner !== undefined) return complain(`region ${region} is served by both ${owner} and ${name}`);
      regionOwner.set(region, name);
    }
    return [{ id, name, regions: served, connectionName, connection }];
  });
}

function readMirror(name: string, accounts: readonly CaptureAccount[], problems: string[]): Config['mirror'] {
  const account =
    name === '' && accounts.length === 1 ? accounts[0] : accounts.find((a) => a.name === name.toLowerCase());
  if (account) return { account };
  const which = name === '' ? 'must name one' : `is "${name}", which is none`;
  problems.push(`TRIPCAP_MIRROR_ACCOUNT ${which} of TRIPCAP_CAPTURE_ACCOUNTS; nothing is mirrored`);
  return undefined;
}

function accountName(id: string): string | undefined {
  const pattern =
    /^\/subscriptions\/[^/]+\/resourcegroups\/[^/]+\/providers\/microsoft\.storage\/storageaccounts\/([a-z0-9]{3,24})$/i;
  return pattern.exec(id)?.[1]?.toLowerCase();
}

/** `West US 2` and `westus2` are the same region. */
export function toRegion(location: string | undefined): string {
  return (location ?? '').toLowerCase().replaceAll(' ', '');
}

/** The two forms that the Functions host understands: NAME = connection string, or NAME__accountName / NAME__blobServiceUri … with identity. */
function readConnection(env: Environment, name: string, problems: string[]): StorageConnection | undefined {
  const value = env[name]?.trim();
  if (value) return { kind: 'connectionString', value };
  const account = env[`${name}__accountName`]?.trim();
  const url = (service: 'blob' | 'queue' | 'table'): string | undefined =>
    env[`${name}__${service}ServiceUri`]?.trim().replace(/\/+$/, '') ||
    (account && `https://${account}.${service}.core.windows.net`) ||
    undefined;
  const blobUrl = url('blob') ?? (env[`${name}__serviceUri`]?.trim().replace(/\/+$/, '') || undefined);
  if (blobUrl === undefined) {
    problems.push(
      `${name} is missing: set ${name}__accountName or ${name}__blobServiceUri (managed identity), or a connection string for local use`,
    );
    return undefined;
  }
  const other = (service: 'queue' | 'table'): string => url(service) ?? blobUrl.replace('.blob.', `.${service}.`);
  const clientId = env[`${name}__clientId`]?.trim() || undefined;
  return { kind: 'identity', blobUrl, queueUrl: other('queue'), tableUrl: other('table'), clientId };
}
