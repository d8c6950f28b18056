import { NO_SUCH_TARGET_TYPE } from './codes.ts';
import type { Inventory } from './inventory.ts';
import type { Quotas } from './quotas.ts';
import { Refusal } from './refusal.ts';
import type { Filter, Session, SessionSettings, TargetType } from './state.ts';
import type { WorldInterface } from './world.ts';

/** What sessions must fulfil together: targets, sources, quotas, priorities. GUESS: the order of the checks. */
export type Others = { sessions: Session[]; filters: Record<string, Filter>; quotas: Quotas };

/** @throws Refusal when the target cannot be one. */
export function checkTarget(
  inventory: Inventory,
  { type, id, creating }: { type: string; id: string; creating: boolean },
): TargetType {
  switch (type) {
    case 'NetworkInterface':
      checkTargetInterface(inventory, id, creating);
      return type;
    case 'SLB':
      checkBalancer(inventory, id);
      return type;
    case 'GatewayLoadBalancerEndpoint':
      throw new Refusal('OperationDenied.TargetTypeNotSupportGatewayLoadBalancerEndpoint');
    default:
      throw new Refusal('OperationDenied.UnsupportedTargetType', { message: NO_SUCH_TARGET_TYPE });
  }
}

function checkTargetInterface(inventory: Inventory, id: string, creating: boolean): void {
  const found = inventory.interface(id);
  // The first code is documented of a create only.
  if (!found) throw new Refusal(creating ? 'ResourceNotFound.TargetInstance' : 'ResourceNotFound.NetworkInterface');
  if (found.kind === 'bond') throw new Refusal('OperationDenied.TargetTypeNotSupportBondEni');
  checkUsable(inventory, found);
}

function checkBalancer(inventory: Inventory, id: string): void {
  if (!id.startsWith('lb-')) throw new Refusal('InvalidLoadBalancerId.NotFound');
  const found = inventory.balancer(id);
  if (!found) throw new Refusal('ResourceNotFound.Slb');
  if (!found.vpc) throw new Refusal('OperationDenied.SlbNotInVpc');
  if (found.classic) throw new Refusal('OperationDenied.ClassicSLB');
}

/** @throws Refusal when an interface cannot be a source of a session with this target. */
export function checkSources(inventory: Inventory, ids: string[], targetType: TargetType): void {
  if (new Set(ids).size < ids.length) throw new Refusal('DuplicatedParam.SourceInstanceIds');
  for (const id of ids) {
    const found = inventory.interface(id);
    if (!found) throw new Refusal('ResourceNotFound.NetworkInterface');
    if (found.kind === 'bond') throw new Refusal('OperationUnsupported.BondingNetworkInterface');
    checkUsable(inventory, found);
    const instance = found.instance && inventory.instance(found.instance);
    if (instance && !instance.supportsMirroring) throw new Refusal('OperationDenied.EcsNotSupportTrafficMirror');
    if (found.kind === 'nat' && targetType !== 'SLB') throw new Refusal('OperationDenied.UnsupportedTargetType');
  }
}

function checkUsable(inventory: Inventory, found: WorldInterface): void {
  // GUESS: the code; that managed interfaces can be neither source nor target is documented.
  if (found.managed) throw new Refusal('OperationFailed.NotSupportBizType');
  if (found.instance === undefined) throw new Refusal('OperationDenied.FreeNetworkInterface');
  if (found.status !== 'InUse') throw new Refusal('IncorrectStatus.NetworkInterface');
  if (!inventory.instance(found.instance)) throw new Refusal('ResourceNotFound.EcsInstance');
}

/** @throws Refusal when the filter is not there or not at rest. */
export function checkFilter(id: string, { filters }: Others): void {
  const filter = filters[id];
  if (!filter) throw new Refusal('ResourceNotFound.TrafficMirrorFilter');
  if (filter.status !== 'Created') throw new Refusal('IncorrectStatus.TrafficMirrorFilter');
}

/** @param others all sessions but the one that is asked for */
export function checkTogether(asked: SessionSettings, { sessions, quotas }: Others): void {
  checkRoles(asked, sessions);
  if (asked.sources.length > quotas.sourcesPerSession) throw new Refusal('QuotaExceeded.SourceNumPerSession');
  const ofFilter = sessions.filter((each) => each.asked.filterId === asked.filterId);
  if (ofFilter.length >= quotas.sessionsPerFilter) throw new Refusal('QuotaExceeded.FilterRelatedSession');
  for (const source of asked.sources) {
    const ofSource = sessions.filter((each) => each.asked.sources.includes(source));
    if (ofSource.length >= quotas.sessionsPerSource) throw new Refusal('QuotaExceeded.NetworkInterfaceRelatedSession');
  }
  const ofTarget = sessions.filter((each) => each.asked.targetId === asked.targetId);
  const balancer = asked.targetType === 'SLB';
  if (balancer && ofTarget.length >= quotas.sessionsPerBalancer) throw new Refusal('QuotaExceeded.SlbRelatedSession');
  // GUESS: sources are counted whether or not their session is enabled, and once per session.
  const sources = ofTarget.reduce((sum, each) => sum + each.asked.sources.length, asked.sources.length);
  const most = balancer ? quotas.sourcesPerBalancer : quotas.sourcesPerInterface;
  if (sources > most) throw new Refusal('QuotaExceeded.SourceNumPerTarget');
}

/** One interface is not both source and target, in whichever sessions. */
function checkRoles(asked: SessionSettings, sessions: Session[]): void {
  const targets = new Set([asked, ...sessions.map((each) => each.asked)].map(({ targetId }) => targetId));
  const sources = new Set([asked, ...sessions.map((each) => each.asked)].flatMap((each) => each.sources));
  if (sources.has(asked.targetId) || asked.sources.some((source) => targets.has(source))) {
    throw new Refusal('OperationDenied.DuplicateRole');
  }
}
