import { isIPv4 } from 'node:net';

/** Where mirrored packets go in a region. Of several in one region the first is taken that has room. */
export type MirrorPlace = {
  /** Such as `cn-hangzhou`. */
  region: string;
  /** The network interface of the collector, or the load balancer before it. */
  mirrorTargetId: string;
  mirrorTargetType: 'NetworkInterface' | 'SLB';
  /** Name of the collector there: it reports in `status-<collector>.json`. */
  collector: string;
  /** Filter for captures without filters of their own; absent: one that accepts everything is made. */
  filterId?: string | undefined;
  /** How many sources the target may have at once: a quota of its type of instance. */
  maxSources: number;
};

/** What calls are signed with. */
export type AlibabaSignIn =
  | { kind: 'access-key'; id: string; secret: string }
  /** The managed identity's token, exchanged for keys of a RAM role that live an hour. */
  | { kind: 'role'; roleArn: string; providerArn: string; audience: string; clientId: string | undefined };

export type AlibabaConfig = {
  /** Id of the account whose instances may be mirrored. */
  account: string;
  places: readonly MirrorPlace[];
  signIn: AlibabaSignIn;
  /** `host:port` on loopback that takes all calls in place of the cloud's own addresses, by plain http. */
  endpoint: string | undefined;
};

/** The texts of the settings that are named so, in the order of docs/settings.md. */
export type AlibabaTexts = {
  account: string;
  regions: string;
  roleArn: string;
  providerArn: string;
  audience: string;
  accessKeyId: string;
  accessKeySecret: string;
  endpoint: string;
};

/** Sources that an interface may have as a target: what a small instance may have before the quota is raised. */
const usualMaxSources = 20;

/** Undefined when Alibaba Cloud is not configured, or not so that it could be used. No problem repeats a secret. */
export function readAlibaba(
  texts: AlibabaTexts,
  clientId: string | undefined,
  problems: string[],
): AlibabaConfig | undefined {
  const { account, endpoint } = texts;
  if (account === '') return undefined;
  if (!/^\d{6,20}$/.test(account)) {
    problems.push(`TRIPCAP_ALIBABA_ACCOUNT must be the digits of an account id; it is "${account.slice(0, 40)}"`);
    return undefined;
  }
  if (endpoint !== '' && !isLocal(endpoint)) {
    problems.push('TRIPCAP_ALIBABA_ENDPOINT is for emulators and must be 127.x.y.z:PORT; leave it out for the cloud');
    return undefined;
  }
  const places = readPlaces(texts.regions, problems);
  const signIn = readSignIn(texts, clientId, problems);
  return signIn && { account, places, signIn, endpoint: endpoint || undefined };
}

function readSignIn(texts: AlibabaTexts, clientId: string | undefined, problems: string[]): AlibabaSignIn | undefined {
  const { roleArn, providerArn, audience, accessKeyId, accessKeySecret } = texts;
  if (roleArn !== '' && providerArn !== '') {
    if (/^acs:ram::\d+:role\/\S+$/.test(roleArn) && /^acs:ram::\d+:oidc-provider\/\S+$/.test(providerArn))
      return { kind: 'role', roleArn, providerArn, audience, clientId };
    problems.push(
      'TRIPCAP_ALIBABA_ROLE_ARN must look like acs:ram::<account>:role/<name>, TRIPCAP_ALIBABA_OIDC_PROVIDER_ARN like acs:ram::<account>:oidc-provider/<name>',
    );
    return undefined;
  }
  if (accessKeyId !== '' && accessKeySecret !== '')
    return { kind: 'access-key', id: accessKeyId, secret: accessKeySecret };
  problems.push(
    'Alibaba Cloud is configured without a way to sign in: set TRIPCAP_ALIBABA_ROLE_ARN and TRIPCAP_ALIBABA_OIDC_PROVIDER_ARN (or an AccessKey pair)',
  );
  return undefined;
}

function readPlaces(json: string, problems: string[]): MirrorPlace[] {
  const complain = (what: string): [] => {
    problems.push(`TRIPCAP_ALIBABA_REGIONS: ${what}`);
    return [];
  };
  let list: unknown;
  try {
    list = JSON.parse(json);
  } catch {
    return complain('not valid JSON');
  }
  if (!Array.isArray(list) || list.length === 0)
    return complain('must be a list of at least one {"region","mirrorTargetId","collector"}');
  const targets = new Set<string>();
  return list.flatMap((item: unknown, index): MirrorPlace[] => {
    const {
      region,
      mirrorTargetId,
      mirrorTargetType = 'NetworkInterface',
      collector,
      filterId,
      maxSources = usualMaxSources,
    } = (item ?? {}) as Record<string, unknown>;
    if (typeof region !== 'string' || !/^[a-z]{2,8}(-[a-z0-9]+)+$/.test(region))
      return complain(`[${index}].region must be a region id such as cn-hangzhou`);
    if (mirrorTargetType !== 'NetworkInterface' && mirrorTargetType !== 'SLB')
      return complain(`[${index}].mirrorTargetType must be NetworkInterface or SLB`);
    const isTarget = mirrorTargetType === 'SLB' ? /^lb-[\w-]+$/ : /^eni-[\w-]+$/;
    if (typeof mirrorTargetId !== 'string' || !isTarget.test(mirrorTargetId))
      return complain(`[${index}].mirrorTargetId must be the id of a ${mirrorTargetType} (eni-… or lb-…)`);
    if (targets.has(mirrorTargetId)) return complain(`${mirrorTargetId} is listed twice`);
    targets.add(mirrorTargetId);
    // It is part of the name of a blob.
    if (typeof collector !== 'string' || !/^[A-Za-z0-9-]{1,63}$/.test(collector))
      return complain(`[${index}].collector must be a name of letters, digits and -`);
    if (filterId !== undefined && (typeof filterId !== 'string' || !/^tmf-[\w-]+$/.test(filterId)))
      return complain(`[${index}].filterId must be the id of a traffic mirror filter (tmf-…)`);
    if (typeof maxSources !== 'number' || !Number.isInteger(maxSources) || maxSources < 1)
      return complain(`[${index}].maxSources must be a whole number of at least 1`);
    return [
      {
        region,
        mirrorTargetId,
        mirrorTargetType,
        collector,
        ...(filterId === undefined ? {} : { filterId }),
        maxSources,
      },
    ];
  });
}

function isLocal(endpoint: string): boolean {
  const [, host = '', port = ''] = /^([\d.]+):(\d{1,5})$/.exec(endpoint) ?? [];
  return isIPv4(host) && host.startsWith('127.') && Number(port) > 0 && Number(port) < 65_536;
}
