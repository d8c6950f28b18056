import { randomInt } from 'node:crypto';
import { listedTime } from './answer.ts';
import { newId } from './ids.ts';
import { change, read, type Body, type Context, type Operation } from './operation.ts';
import { page } from './paging.ts';
import type { Parameters } from './parameters.ts';
import { QUOTAS } from './quotas.ts';
import { Refusal } from './refusal.ts';
import { checkService } from './service.ts';
import { checkFilter, checkSources, checkTarget, checkTogether, type Others } from './session-checks.ts';
import type { Session, SessionSettings } from './state.ts';
import { hasTags, listedTags, tagsOf } from './tags-of.ts';
import { RESOURCE_GROUP } from './world.ts';

const MOST_SOURCES = 30;
const MOST_VNI = 16_777_215;
const MOST_PRIORITY = 32_766;

export const sessionOperations: Operation[] = [
  change('CreateTrafficMirrorSession', create),
  change('UpdateTrafficMirrorSessionAttribute', update),
  change('DeleteTrafficMirrorSession', remove),
  change('AddSourcesToTrafficMirrorSession', addSources),
  change('RemoveSourcesFromTrafficMirrorSession', removeSources),
  read('Vpc', 'ListTrafficMirrorSessions', list),
];

function create(parameters: Parameters, context: Context): () => Body {
  const { content } = context.state;
  const type = parameters.required('TrafficMirrorTargetType');
  const targetId = parameters.required('TrafficMirrorTargetId');
  const filterId = parameters.required('TrafficMirrorFilterId');
  const sources = parameters.requiredList('TrafficMirrorSourceIds', MOST_SOURCES);
  parameters.required('Priority');
  const given = settingsOf(parameters);
  const labels = labelsOf(parameters);
  const tags = tagsOf(parameters, 'Tag');
  const resourceGroupId = parameters.text('ResourceGroupId') ?? RESOURCE_GROUP;
  checkService(context);
  const others = othersThan(undefined, context);
  checkFilter(filterId, others);
  const targetType = checkTarget(context.inventory, { type, id: targetId, creating: true });
  checkSources(context.inventory, sources, targetType);
  const asked: SessionSettings = {
    enabled: false,
    packetLength: 1500,
    vni: randomInt(1, MOST_VNI + 1),
    priority: 1,
    ...given,
    filterId,
    targetId,
    targetType,
    sources,
  };
  if (others.sessions.length >= others.quotas.sessions) throw new Refusal('QuotaExceeded.SessionNum');
  checkTogether(asked, others);
  if (others.sessions.some((each) => each.asked.priority === asked.priority)) {
    throw new Refusal('IllegalParam.Priority');
  }
  return () => {
    const id = newId('tms');
    content.sessions[id] = {
      id,
      name: '',
      description: '',
      ...labels,
      resourceGroupId,
      tags,
      createdAt: context.now,
      status: 'Creating',
      settlesAt: context.delays.created(context.now),
      asked,
    };
    return { TrafficMirrorSessionId: id, ResourceGroupId: resourceGroupId };
  };
}

function update(parameters: Parameters, context: Context): () => Body {
  const { faults } = context.state.content;
  const session = sessionOf(parameters, context);
  const labels = labelsOf(parameters);
  // GUESS: what is left out stays as it is; the documents give defaults for the update, too, which the fault shows.
  const omitted = faults.omitted === 'reset' ? { enabled: false, vni: randomInt(1, MOST_VNI + 1) } : {};
  const asked: SessionSettings = { ...session.asked, ...omitted, ...settingsOf(parameters) };
  const filterId = parameters.text('TrafficMirrorFilterId');
  const targetId = parameters.text('TrafficMirrorTargetId');
  const type = parameters.text('TrafficMirrorTargetType');
  checkService(context);
  checkAtRest(session);
  const others = othersThan(session, context);
  if (filterId !== undefined) asked.filterId = filterId;
  checkFilter(asked.filterId, others);
  if (targetId !== undefined || type !== undefined) {
    asked.targetId = targetId ?? asked.targetId;
    const target = { type: type ?? asked.targetType, id: asked.targetId, creating: false };
    asked.targetType = checkTarget(context.inventory, target);
    checkSources(context.inventory, asked.sources, asked.targetType);
  }
  // GUESS: what is not changed is not checked again, so that a session can be switched off whatever became of its parts.
  if (asked.filterId !== session.asked.filterId || asked.targetId !== session.asked.targetId) {
    checkTogether(asked, others);
  }
  if (others.sessions.some((each) => each.asked.priority === asked.priority)) {
    throw new Refusal('DuplicatedParam.Priority');
  }
  return () => {
    Object.assign(session, labels);
    modify(session, asked, context);
    if (faults.update === 'no-effect') session.withoutEffect = true;
    return {};
  };
}

function remove(parameters: Parameters, context: Context): () => Body {
  const session = sessionOf(parameters, context);
  checkAtRest(session);
  const filter = context.state.content.filters[session.asked.filterId];
  if (filter && filter.status !== 'Created') throw new Refusal('IncorrectStatus.TrafficMirrorFilter');
  return () => {
    session.status = 'Deleting';
    session.settlesAt = context.delays.deleted(context.now);
    if (context.state.content.faults.delete === 'no-effect') session.withoutEffect = true;
    return {};
  };
}

function addSources(parameters: Parameters, context: Context): () => Body {
  const session = sessionOf(parameters, context);
  const added = parameters.requiredList('TrafficMirrorSourceIds', MOST_SOURCES);
  checkService(context);
  checkAtRest(session);
  checkSources(context.inventory, added, session.asked.targetType);
  if (added.some((id) => session.asked.sources.includes(id))) {
    throw new Refusal('ResourceAlreadyAssociated.TrafficMirrorSource');
  }
  const asked = { ...session.asked, sources: [...session.asked.sources, ...added] };
  checkTogether(asked, othersThan(session, context));
  return () => {
    modify(session, asked, context);
    return {};
  };
}

function removeSources(parameters: Parameters, context: Context): () => Body {
  const session = sessionOf(parameters, context);
  const removed = parameters.requiredList('TrafficMirrorSourceIds', MOST_SOURCES);
  checkService(context);
  checkAtRest(session);
  checkSources(context.inventory, removed, session.asked.targetType);
  if (removed.some((id) => !session.asked.sources.includes(id))) {
    throw new Refusal('ResourceNotAssociated.TrafficMirrorSource');
  }
  const asked = { ...session.asked, sources: session.asked.sources.filter((id) => !removed.includes(id)) };
  return () => {
    modify(session, asked, context);
    return {};
  };
}

function modify(session: Session, asked: SessionSettings, { delays, now }: Context): void {
  session.asked = asked;
  session.status = 'Modifying';
  session.settlesAt = delays.modified(now);
}

function list(parameters: Parameters, { state, now }: Context): Body {
  const { sessions, faults } = state.content;
  const ids = parameters.list('TrafficMirrorSessionIds', 100);
  const wanted: Partial<Record<keyof SessionSettings, unknown>> = {
    enabled: parameters.flag('Enabled'),
    priority: parameters.integer('Priority', 1, MOST_PRIORITY),
    vni: parameters.integer('VirtualNetworkId', 0, MOST_VNI),
    filterId: parameters.text('TrafficMirrorFilterId'),
    targetId: parameters.text('TrafficMirrorTargetId'),
  };
  const source = parameters.text('TrafficMirrorSourceId');
  // GUESS: the whole name.
  const name = parameters.text('TrafficMirrorSessionName');
  const group = parameters.text('ResourceGroupId');
  const tags = tagsOf(parameters, 'Tags');
  const all = Object.values(sessions).filter(
    (session) =>
      now >= session.createdAt + faults.listDelayMs &&
      (ids.length === 0 || ids.includes(session.id)) &&
      Object.entries(wanted).every(
        ([key, value]) => value === undefined || session.asked[key as keyof SessionSettings] === value,
      ) &&
      (source === undefined || session.asked.sources.includes(source)) &&
      (name === undefined || session.name === name) &&
      (group === undefined || session.resourceGroupId === group) &&
      hasTags(session, tags),
  );
  const { items, nextToken, total } = page(all, parameters, { least: 1, most: 100, usual: 10 });
  return {
    NextToken: nextToken,
    TotalCount: String(total),
    TrafficMirrorSessions: items.map((session) => listed(session, state.content.arrears)),
  };
}

function listed(session: Session, arrears: boolean): Body {
  const { asked } = session;
  return {
    TrafficMirrorSessionId: session.id,
    TrafficMirrorSessionName: session.name,
    TrafficMirrorSessionDescription: session.description,
    TrafficMirrorSessionStatus: session.status,
    TrafficMirrorSessionBusinessStatus: arrears ? 'FinancialLocked' : 'Normal',
    Enabled: asked.enabled,
    Priority: asked.priority,
    VirtualNetworkId: asked.vni,
    PacketLength: asked.packetLength,
    TrafficMirrorFilterId: asked.filterId,
    TrafficMirrorTargetId: asked.targetId,
    TrafficMirrorTargetType: asked.targetType,
    TrafficMirrorSourceIds: asked.sources,
    ResourceGroupId: session.resourceGroupId,
    Tags: listedTags(session.tags),
    CreationTime: listedTime(session.createdAt),
  };
}

/** The settings that are given, checked each by itself. */
function settingsOf(parameters: Parameters): Partial<SessionSettings> {
  const enabled = parameters.flag('Enabled');
  const vni = parameters.integer('VirtualNetworkId', 0, MOST_VNI);
  const packetLength = parameters.integer('PacketLength', 64, 8500);
  const priority = parameters.integer('Priority', 1, MOST_PRIORITY);
  return {
    ...(enabled === undefined ? {} : { enabled }),
    ...(vni === undefined ? {} : { vni }),
    ...(packetLength === undefined ? {} : { packetLength }),
    ...(priority === undefined ? {} : { priority }),
  };
}

function labelsOf(parameters: Parameters): { name?: string; description?: string } {
  const name = parameters.label('TrafficMirrorSessionName', 128);
  const description = parameters.label('TrafficMirrorSessionDescription', 256);
  return { ...(name === undefined ? {} : { name }), ...(description === undefined ? {} : { description }) };
}

function sessionOf(parameters: Parameters, { state }: Context): Session {
  const id = parameters.required('TrafficMirrorSessionId');
  const session = state.content.sessions[id];
  if (!session) throw new Refusal('ResourceNotFound.TrafficMirrorSession');
  return session;
}

/** One change at a time. */
function checkAtRest(session: Session): void {
  if (session.status !== 'Created') throw new Refusal('IncorrectStatus.TrafficMirrorSession');
}

function othersThan(session: Session | undefined, { state }: Context): Others {
  const { sessions, filters, faults } = state.content;
  return {
    sessions: Object.values(sessions).filter((each) => each !== session),
    filters,
    quotas: { ...QUOTAS, ...faults.quotas },
  };
}
