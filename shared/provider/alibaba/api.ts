import { Calls, type CallOptions } from './calls.ts';
import { codeOf } from './errors.ts';

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

const pageSize = 100;

/** What is called of VPC (through @alicloud/vpc20160428) and ECS, with answers in our own words. */
export class AlibabaApi {
  readonly #calls: Calls;

  constructor(options: CallOptions) {
    this.#calls = new Calls(options);
  }

  /** Gets what the first call would otherwise wait for. */
  load(): Promise<void> {
    return this.#calls.load();
  }

  /** All sessions of a region that fit. */
  async sessions(region: string, query: SessionQuery, signal: AbortSignal): Promise<MirrorSession[]> {
    const found: MirrorSession[] = [];
    let nextToken: string | undefined;
    do {
      const body = await this.#calls.vpc(region, 'ListTrafficMirrorSessions', signal, ({ vpc }, client) =>
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
      const body = await this.#calls.vpc(region, 'CreateTrafficMirrorSession', signal, ({ vpc }, client) =>
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
      return idOf(body.trafficMirrorSessionId);
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
    await this.#calls.vpc(region, 'UpdateTrafficMirrorSessionAttribute', signal, ({ vpc }, client) =>
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
    await this.#calls.vpc(region, 'DeleteTrafficMirrorSession', signal, ({ vpc }, client) =>
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
    const body = await this.#calls.vpc(region, 'ListTrafficMirrorFilters', signal, ({ vpc }, client) =>
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
    const body = await this.#calls.vpc(region, 'CreateTrafficMirrorFilter', signal, ({ vpc }, client) =>
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
    return idOf(body.trafficMirrorFilterId);
  }

  async deleteFilter(region: string, id: string, clientToken: string, signal: AbortSignal): Promise<void> {
    await this.#calls.vpc(region, 'DeleteTrafficMirrorFilter', signal, ({ vpc }, client) =>
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
    const address = region === 'cn-hangzhou' ? 'ecs-cn-hangzhou.aliyuncs.com' : `ecs.${region}.aliyuncs.com`;
    const call = {
      address,
      action: 'DescribeNetworkInterfaces',
      version: '2014-05-26',
      query: { RegionId: region, MaxResults: '100', ...parameters },
    };
    return readInterfaces(await this.#calls.plain(region, call, signal));
  }
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

/** An answer without the id that was asked for is none: what came of the call is found out by making it again. */
function idOf(id: string | undefined): string {
  if (!id) throw new SyntaxError('an answer without an id');
  return id;
}
