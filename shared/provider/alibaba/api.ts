import { beforeDeadline } from '../../clock.ts';
import type { TokenSource } from '../../identity.ts';
import { once } from '../../once.ts';
import { ProviderError } from '../provider.ts';
import { codeOf, isTransient, toProviderError } from './errors.ts';
import { KeySource, type Keys } from './keys.ts';
import type { AlibabaSignIn } from './settings.ts';
import type * as LazySdk from './vpc.lazy.ts';

export type ApiOptions = {
  signIn: AlibabaSignIn;
  identity: TokenSource;
  /** `host:port` that takes all calls, by plain http. */
  endpoint: string | undefined;
  /** Region whose address exchanges tokens for keys. */
  home: string;
  now: () => Date;
  /** Aborts when that time is up. */
  timeout: (ms: number) => AbortSignal;
};

/** A traffic mirror session as it is listed; of `enabled` and what belongs to it, what was asked for last. */
export type MirrorSession = {
  id: string;
  name: string;
  status: string;
  /** `Normal`, or `FinancialLocked` while the account is in arrears. */
  businessStatus: string;
  enabled: boolean;
  priority: number;
  vni: number;
  filterId: string;
  targetId: string;
  targetType: string;
  sources: string[];
};

export type NewSession = {
  clientToken: string;
  name: string;
  description: string;
  filterId: string;
  targetId: string;
  targetType: 'NetworkInterface' | 'SLB';
  sources: string[];
  vni: number;
  priority: number;
  packetLength?: number | undefined;
  resourceGroupId?: string | undefined;
  tags: { key: string; value: string }[];
};

export type MirrorRule = {
  protocol: 'ALL' | 'TCP' | 'UDP';
  sourceCidrBlock: string;
  destinationCidrBlock: string;
  /** `a/b`; absent for ALL. */
  sourcePortRange?: string;
  destinationPortRange?: string;
};

export type MirrorFilter = { id: string; name: string; status: string; ingressRules: number; egressRules: number };

export type NetworkInterface = {
  id: string;
  instance: string;
  /** Primary IPv4 address. */
  address: string;
  isPrimary: boolean;
  status: string;
  /** Belongs to a service of the cloud. */
  isManaged: boolean;
};

type SessionQuery = { ids?: string[]; name?: string; source?: string; target?: string };

const answerWithinMs = 10_000;
// A call is made again so often for what passes, as long as its caller waits.
const attempts = 4;
const firstPauseMs = 200;
const longestPauseMs = 5 * 60_000;
const pageSize = 100;

/** Calls of VPC (through @alicloud/vpc20160428), ECS and STS, each repeated with the same parameters for what passes. */
export class AlibabaApi {
  readonly #options: ApiOptions;
  readonly #keys: KeySource;
  readonly #sdk = once(() => import('./vpc.lazy.ts'));
  readonly #pausedUntil = new Map<string, number>();

  constructor(options: ApiOptions) {
    this.#options = options;
    this.#keys = new KeySource(
      options.signIn,
      options.identity,
      (request, signal) => this.#assumeRole(request, signal),
      options.now,
    );
  }

  /** Gets the SDK and the keys. */
  async load(signal: AbortSignal): Promise<void> {
    await Promise.all([this.#sdk(), this.#keys.get(signal)]);
  }

  /** All sessions of a region that fit. */
  async sessions(region: string, query: SessionQuery, signal: AbortSignal): Promise<MirrorSession[]> {
    const found: MirrorSession[] = [];
    let nextToken: string | undefined;
    do {
      const body = await this.#vpc(region, 'ListTrafficMirrorSessions', signal, ({ vpc }, client) =>
        client.listTrafficMirrorSessions(
          new vpc.ListTrafficMirrorSessionsRequest({
            regionId: region,
            maxResults: pageSize,
            nextToken,
            trafficMirrorSessionIds: query.ids,
            trafficMirrorSessionName: query.name,
            trafficMirrorSourceId: query.source,
            trafficMirrorTargetId: query.target,
          }),
        ),
      );
      for (const one of body.trafficMirrorSessions ?? []) {
        found.push({
          id: one.trafficMirrorSessionId ?? '',
          name: one.trafficMirrorSessionName ?? '',
          status: one.trafficMirrorSessionStatus ?? 'Unknown',
          businessStatus: one.trafficMirrorSessionBusinessStatus ?? 'Normal',
          enabled: one.enabled === true,
          priority: one.priority ?? 0,
          vni: one.virtualNetworkId ?? 0,
          filterId: one.trafficMirrorFilterId ?? '',
          targetId: one.trafficMirrorTargetId ?? '',
          targetType: one.trafficMirrorTargetType ?? '',
          sources: one.trafficMirrorSourceIds ?? [],
        });
      }
      nextToken = body.nextToken || undefined;
    } while (nextToken !== undefined);
    return found;
  }

  /**
   * Makes a session that is disabled, and gives its id. With the same client token a second call gives the same session.
   * `dryRun`: only checks, and gives no id.
   */
  async createSession(region: string, session: NewSession, signal: AbortSignal, dryRun = false): Promise<string> {
    try {
      const body = await this.#vpc(region, 'CreateTrafficMirrorSession', signal, ({ vpc }, client) =>
        client.createTrafficMirrorSession(
          new vpc.CreateTrafficMirrorSessionRequest({
            regionId: region,
            clientToken: session.clientToken,
            ...(dryRun ? { dryRun } : {}),
            enabled: false,
            trafficMirrorSessionName: session.name,
            trafficMirrorSessionDescription: session.description,
            trafficMirrorFilterId: session.filterId,
            trafficMirrorTargetId: session.targetId,
            trafficMirrorTargetType: session.targetType,
            trafficMirrorSourceIds: session.sources,
            virtualNetworkId: session.vni,
            priority: session.priority,
            packetLength: session.packetLength,
            resourceGroupId: session.resourceGroupId,
            tag: session.tags.map((tag) => new vpc.CreateTrafficMirrorSessionRequestTag(tag)),
          }),
        ),
      );
      return body.trafficMirrorSessionId ?? '';
    } catch (error) {
      if (dryRun && codeOf(error) === 'DryRunOperation') return '';
      throw error;
    }
  }

  /** Enables or disables. All that could fall back to a default is sent along: the documents leave open whether it would. */
  async switchSession(
    region: string,
    session: { id: string; vni: number },
    enabled: boolean,
    clientToken: string,
    signal: AbortSignal,
  ): Promise<void> {
    await this.#vpc(region, 'UpdateTrafficMirrorSessionAttribute', signal, ({ vpc }, client) =>
      client.updateTrafficMirrorSessionAttribute(
        new vpc.UpdateTrafficMirrorSessionAttributeRequest({
          regionId: region,
          clientToken,
          trafficMirrorSessionId: session.id,
          enabled,
          virtualNetworkId: session.vni,
        }),
      ),
    );
  }

  async deleteSession(region: string, id: string, clientToken: string, signal: AbortSignal): Promise<void> {
    await this.#vpc(region, 'DeleteTrafficMirrorSession', signal, ({ vpc }, client) =>
      client.deleteTrafficMirrorSession(
        new vpc.DeleteTrafficMirrorSessionRequest({ regionId: region, clientToken, trafficMirrorSessionId: id }),
      ),
    );
  }

  async filters(
    region: string,
    query: { id: string } | { name: string },
    signal: AbortSignal,
  ): Promise<MirrorFilter[]> {
    const body = await this.#vpc(region, 'ListTrafficMirrorFilters', signal, ({ vpc }, client) =>
      client.listTrafficMirrorFilters(
        new vpc.ListTrafficMirrorFiltersRequest({
          regionId: region,
          maxResults: pageSize,
          ...('id' in query ? { trafficMirrorFilterIds: [query.id] } : { trafficMirrorFilterName: query.name }),
        }),
      ),
    );
    return (body.trafficMirrorFilters ?? []).map((one) => ({
      id: one.trafficMirrorFilterId ?? '',
      name: one.trafficMirrorFilterName ?? '',
      status: one.trafficMirrorFilterStatus ?? 'Unknown',
      ingressRules: one.ingressRules?.length ?? 0,
      egressRules: one.egressRules?.length ?? 0,
    }));
  }

  /** Makes a filter with its rules, all of which accept; the first has the best priority. */
  async createFilter(
    region: string,
    filter: { clientToken: string; name: string; ingress: MirrorRule[]; egress: MirrorRule[] },
    signal: AbortSignal,
  ): Promise<string> {
    const accepting = (rule: MirrorRule, i: number) => ({
      ...rule,
      action: 'accept',
      priority: i + 1,
      ipVersion: 'IPv4',
    });
    const body = await this.#vpc(region, 'CreateTrafficMirrorFilter', signal, ({ vpc }, client) =>
      client.createTrafficMirrorFilter(
        new vpc.CreateTrafficMirrorFilterRequest({
          regionId: region,
          clientToken: filter.clientToken,
          trafficMirrorFilterName: filter.name,
          ingressRules: filter.ingress.map(
            (rule, i) => new vpc.CreateTrafficMirrorFilterRequestIngressRules(accepting(rule, i)),
          ),
          egressRules: filter.egress.map(
            (rule, i) => new vpc.CreateTrafficMirrorFilterRequestEgressRules(accepting(rule, i)),
          ),
        }),
      ),
    );
    return body.trafficMirrorFilterId ?? '';
  }

  async deleteFilter(region: string, id: string, clientToken: string, signal: AbortSignal): Promise<void> {
    await this.#vpc(region, 'DeleteTrafficMirrorFilter', signal, ({ vpc }, client) =>
      client.deleteTrafficMirrorFilter(
        new vpc.DeleteTrafficMirrorFilterRequest({ regionId: region, clientToken, trafficMirrorFilterId: id }),
      ),
    );
  }

  /** The network interfaces of an instance, or those with these ids. */
  async interfaces(
    region: string,
    query: { instance: string } | { ids: string[] },
    signal: AbortSignal,
  ): Promise<NetworkInterface[]> {
    const parameters: Record<string, string> =
      'instance' in query
        ? { InstanceId: query.instance }
        : Object.fromEntries(query.ids.map((id, i) => [`NetworkInterfaceId.${i + 1}`, id]));
    const body = await this.#call(region, 'DescribeNetworkInterfaces', signal, (sdk, keys) => {
      const address = region === 'cn-hangzhou' ? 'ecs-cn-hangzhou.aliyuncs.com' : `ecs.${region}.aliyuncs.com`;
      const query = { RegionId: region, MaxResults: '100', ...parameters };
      return this.#rpc(sdk, region, keys, address, {
        action: 'DescribeNetworkInterfaces',
        version: '2014-05-26',
        query,
      });
    });
    return readInterfaces(body);
  }

  async #assumeRole(query: Record<string, string>, signal: AbortSignal): Promise<unknown> {
    const { home } = this.#options;
    const sdk = await this.#sdk();
    const what = 'sign in to Alibaba Cloud';
    try {
      return await this.#repeated(home, 'AssumeRoleWithOIDC', signal, () =>
        this.#rpc(sdk, home, undefined, `sts.${home}.aliyuncs.com`, {
          action: 'AssumeRoleWithOIDC',
          version: '2015-04-01',
          body: query,
        }),
      );
    } catch (error) {
      throw toProviderError(what, error);
    }
  }

  /** A call of an API whose package is not among ours. */
  async #rpc(
    { core, vpc, RuntimeOptions }: Sdk,
    region: string,
    keys: Keys | undefined,
    address: string,
    call: { action: string; version: string; query?: Record<string, string>; body?: Record<string, string> },
  ): Promise<unknown> {
    const { Params, OpenApiRequest } = core.$OpenApiUtil;
    const { action, version, query, body } = call;
    // The client of VPC is one of any API but for the address.
    const client = new vpc.default(
      this.#clientConfig({ core }, region, keys ?? { id: 'none', secret: 'none' }, address),
    );
    const answer = (await client.callApi(
      new Params({
        action,
        version,
        protocol: 'HTTPS',
        pathname: '/',
        method: 'POST',
        authType: keys ? 'AK' : 'Anonymous',
        style: 'RPC',
        reqBodyType: 'formData',
        bodyType: 'json',
      }),
      new OpenApiRequest({ ...(query ? { query } : {}), ...(body ? { body } : {}) }),
      new RuntimeOptions({}),
    )) as { body?: unknown };
    return answer.body;
  }

  async #vpc<T>(
    region: string,
    action: string,
    signal: AbortSignal,
    call: (sdk: Sdk, client: VpcClient) => Promise<{ body?: T }>,
  ): Promise<T> {
    return this.#call(region, action, signal, async (sdk, keys) => {
      const client = new sdk.vpc.default(this.#clientConfig(sdk, region, keys, undefined));
      const { body } = await call(sdk, client);
      if (body === undefined) throw new SyntaxError('an answer without a body');
      return body;
    });
  }

  async #call<T>(
    region: string,
    action: string,
    signal: AbortSignal,
    call: (sdk: Sdk, keys: Keys) => Promise<T>,
  ): Promise<T> {
    const sdk = await this.#sdk();
    return this.#repeated(region, action, signal, async () => {
      try {
        return await call(sdk, await this.#keys.get(signal));
      } catch (error) {
        const code = codeOf(error) ?? '';
        // Keys that expire may have been taken back: new ones, once.
        if (!/^Invalid(SecurityToken|AccessKeyId)/.test(code) || !this.#keys.forget()) throw error;
        return call(sdk, await this.#keys.get(signal));
      }
    });
  }

  /**
   * Makes a call until it is answered with something that does not pass, a few times at most and only as long as the signal lets it.
   * Who is told to come later is kept from calling until then.
   */
  async #repeated<T>(region: string, action: string, signal: AbortSignal, call: () => Promise<T>): Promise<T> {
    const { now, timeout } = this.#options;
    const key = `${region} ${action}`;
    for (let attempt = 1, pauseMs = firstPauseMs; ; attempt++, pauseMs *= 3) {
      const leftMs = (this.#pausedUntil.get(key) ?? 0) - now().getTime();
      if (leftMs > 0)
        throw new ProviderError(
          'throttled',
          `${action}: Alibaba Cloud asked to wait for another ${Math.ceil(leftMs / 1000)} s`,
        );
      const late = Symbol();
      try {
        const answer = await beforeDeadline<T | typeof late>(call(), late, signal);
        if (answer === late) throw new ProviderError('unavailable', `${action}: no answer in time`);
        return answer as T;
      } catch (error) {
        const { retryAfter } = error as { retryAfter?: unknown };
        if (typeof retryAfter === 'number' && retryAfter > 0)
          this.#pausedUntil.set(key, now().getTime() + Math.min(retryAfter, longestPauseMs));
        if (signal.aborted || attempt >= attempts || !isTransient(error)) throw error;
        const waitMs = typeof retryAfter === 'number' ? retryAfter : pauseMs;
        // Whoever waits for this is told, rather than kept waiting for long.
        if (waitMs > 3000) throw error;
        await aborted(timeout(waitMs), signal);
        if (signal.aborted) throw error;
      }
    }
  }

  #clientConfig({ core }: Pick<Sdk, 'core'>, region: string, keys: Keys, address: string | undefined) {
    const { endpoint } = this.#options;
    const host = endpoint ?? address;
    return new core.$OpenApiUtil.Config({
      accessKeyId: keys.id,
      accessKeySecret: keys.secret,
      ...(keys.token === undefined ? {} : { securityToken: keys.token }),
      regionId: region,
      ...(host === undefined ? {} : { endpoint: host }),
      ...(endpoint === undefined ? {} : { protocol: 'http' }),
      // The smaller of the two is how long an answer may take.
      readTimeout: answerWithinMs,
      connectTimeout: answerWithinMs,
      userAgent: 'tripcap',
    });
  }
}

type Sdk = typeof LazySdk;
type VpcClient = InstanceType<Sdk['vpc']['default']>;

/** Done when one of the signals aborts. */
function aborted(...signals: AbortSignal[]): Promise<void> {
  return new Promise((done) => {
    for (const signal of signals) {
      if (signal.aborted) done();
      else signal.addEventListener('abort', () => done(), { once: true });
    }
  });
}

type ListedInterface = {
  NetworkInterfaceId?: string;
  InstanceId?: string;
  PrivateIpAddress?: string;
  Type?: string;
  Status?: string;
  ServiceManaged?: boolean;
};

function readInterfaces(body: unknown): NetworkInterface[] {
  const sets = (body as { NetworkInterfaceSets?: { NetworkInterfaceSet?: ListedInterface[] } } | undefined)
    ?.NetworkInterfaceSets?.NetworkInterfaceSet;
  if (!Array.isArray(sets)) throw new SyntaxError('DescribeNetworkInterfaces gave no list');
  return sets.map((one) => ({
    id: one.NetworkInterfaceId ?? '',
    instance: one.InstanceId ?? '',
    address: one.PrivateIpAddress ?? '',
    isPrimary: one.Type === 'Primary',
    status: one.Status ?? '',
    isManaged: one.ServiceManaged === true,
  }));
}
