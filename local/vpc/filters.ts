import { listedTime } from './answer.ts';
import { changedRule, newRules, type NewRule } from './filter-rules.ts';
import { newId } from './ids.ts';
import { change, read, type Body, type Context, type Operation } from './operation.ts';
import { page } from './paging.ts';
import type { Parameters } from './parameters.ts';
import { QUOTAS } from './quotas.ts';
import { Refusal } from './refusal.ts';
import { checkService } from './service.ts';
import type { Direction, Filter, FilterRule } from './state.ts';
import { hasTags, listedTags, tagsOf } from './tags-of.ts';
import { RESOURCE_GROUP } from './world.ts';

export const filterOperations: Operation[] = [
  change('CreateTrafficMirrorFilter', create),
  change('UpdateTrafficMirrorFilterAttribute', update),
  change('DeleteTrafficMirrorFilter', remove),
  change('CreateTrafficMirrorFilterRules', createRules),
  change('UpdateTrafficMirrorFilterRuleAttribute', updateRule),
  change('DeleteTrafficMirrorFilterRules', deleteRules),
  read('Vpc', 'ListTrafficMirrorFilters', list),
];

function create(parameters: Parameters, context: Context): () => Body {
  const { filters, faults } = context.state.content;
  const quotas = { ...QUOTAS, ...faults.quotas };
  const labels = labelsOf(parameters);
  const tags = tagsOf(parameters, 'Tag');
  const resourceGroupId = parameters.text('ResourceGroupId') ?? RESOURCE_GROUP;
  checkService(context);
  const rules = newRules(parameters, { existing: [], most: quotas.rulesPerFilter, newFilter: true });
  if (Object.keys(filters).length >= quotas.filters) throw new Refusal('QuotaExceeded.TrafficMirrorFilter');
  return () => {
    const id = newId('tmf');
    const settlesAt = context.delays.created(context.now);
    filters[id] = {
      id,
      name: '',
      description: '',
      ...labels,
      resourceGroupId,
      tags,
      createdAt: context.now,
      status: 'Creating',
      settlesAt,
      rules: rules.map((rule) => made(rule, settlesAt)),
    };
    return { TrafficMirrorFilterId: id, ResourceGroupId: resourceGroupId };
  };
}

/** Names only; done at once. */
function update(parameters: Parameters, context: Context): () => Body {
  const filter = filterOf(parameters, context);
  const labels = labelsOf(parameters);
  checkAtRest(filter);
  return () => {
    Object.assign(filter, labels);
    return {};
  };
}

function remove(parameters: Parameters, context: Context): () => Body {
  const filter = filterOf(parameters, context);
  checkAtRest(filter);
  const used = Object.values(context.state.content.sessions).some((each) => each.asked.filterId === filter.id);
  if (used) throw new Refusal('DependencyViolation.TrafficMirrorSession');
  return () => {
    filter.status = 'Deleting';
    filter.settlesAt = context.delays.deleted(context.now);
    return {};
  };
}

function createRules(parameters: Parameters, context: Context): () => Body {
  const { sessions, faults } = context.state.content;
  const filter = filterOf(parameters, context);
  checkAtRest(filter);
  const ofFilter = Object.values(sessions).filter((each) => each.asked.filterId === filter.id);
  if (ofFilter.some((each) => each.status !== 'Created')) throw new Refusal('IncorrectStatus.TrafficMirrorSession');
  const most = { ...QUOTAS, ...faults.quotas }.rulesPerFilter;
  const rules = newRules(parameters, { existing: filter.rules, most, newFilter: false });
  return () => {
    const settlesAt = context.delays.modified(context.now);
    const added = rules.map((rule) => made(rule, settlesAt));
    filter.rules.push(...added);
    modify(filter, settlesAt);
    const idsOf = (direction: Direction) =>
      added.filter((rule) => rule.direction === direction).map((rule) => ({ InstanceId: rule.id }));
    return { IngressRules: idsOf('ingress'), EgressRules: idsOf('egress') };
  };
}

function updateRule(parameters: Parameters, context: Context): () => Body {
  const id = parameters.required('TrafficMirrorFilterRuleId');
  const filters = Object.values(context.state.content.filters);
  const filter = filters.find((each) => each.rules.some((rule) => rule.id === id));
  const rule = filter?.rules.find((each) => each.id === id);
  if (!filter || !rule) throw new Refusal('ResourceNotFound.TrafficMirrorRule');
  if (rule.status !== 'Created') throw new Refusal('IncorrectStatus.TrafficMirrorRule');
  const asked = changedRule(
    parameters,
    rule,
    filter.rules.filter((each) => each !== rule),
  );
  return () => {
    const settlesAt = context.delays.modified(context.now);
    Object.assign(rule, { asked, status: 'Modifying', settlesAt });
    modify(filter, settlesAt);
    return {};
  };
}

function deleteRules(parameters: Parameters, context: Context): () => Body {
  const filter = filterOf(parameters, context);
  const ids = parameters.requiredList('TrafficMirrorFilterRuleIds', 100);
  checkAtRest(filter);
  const rules = ids.map((id) => filter.rules.find((rule) => rule.id === id));
  if (rules.some((rule) => !rule)) throw new Refusal('ResourceNotFound.TrafficMirrorRule');
  if (rules.some((rule) => rule?.status !== 'Created')) throw new Refusal('IncorrectStatus.TrafficMirrorRule');
  return () => {
    const settlesAt = context.delays.deleted(context.now);
    for (const rule of rules) Object.assign(rule ?? {}, { status: 'Deleting', settlesAt });
    modify(filter, settlesAt);
    return {};
  };
}

function modify(filter: Filter, settlesAt: number): void {
  filter.status = 'Modifying';
  filter.settlesAt = settlesAt;
}

function list(parameters: Parameters, { state }: Context): Body {
  const ids = parameters.list('TrafficMirrorFilterIds', 100);
  const name = parameters.text('TrafficMirrorFilterName');
  const group = parameters.text('ResourceGroupId');
  const tags = tagsOf(parameters, 'Tags');
  const all = Object.values(state.content.filters).filter(
    (filter) =>
      (ids.length === 0 || ids.includes(filter.id)) &&
      (name === undefined || filter.name === name) &&
      (group === undefined || filter.resourceGroupId === group) &&
      hasTags(filter, tags),
  );
  const { items, nextToken, total, size } = page(all, parameters, { least: 1, most: 100, usual: 10 });
  return {
    NextToken: nextToken,
    TotalCount: String(total),
    MaxResults: size,
    Count: items.length,
    TrafficMirrorFilters: items.map(listed),
  };
}

function listed(filter: Filter): Body {
  const rules = (direction: Direction) =>
    filter.rules.filter((rule) => rule.direction === direction).map((rule) => listedRule(filter, rule));
  return {
    TrafficMirrorFilterId: filter.id,
    TrafficMirrorFilterName: filter.name,
    TrafficMirrorFilterDescription: filter.description,
    TrafficMirrorFilterStatus: filter.status,
    IngressRules: rules('ingress'),
    EgressRules: rules('egress'),
    ResourceGroupId: filter.resourceGroupId,
    Tags: listedTags(filter.tags),
    CreationTime: listedTime(filter.createdAt),
  };
}

function listedRule(filter: Filter, { id, direction, status, asked }: FilterRule): Body {
  return {
    TrafficMirrorFilterId: filter.id,
    TrafficMirrorFilterRuleId: id,
    TrafficMirrorFilterRuleStatus: status,
    TrafficDirection: direction,
    Action: asked.action,
    Priority: asked.priority,
    Protocol: asked.protocol,
    SourceCidrBlock: asked.sourceCidr,
    DestinationCidrBlock: asked.destinationCidr,
    SourcePortRange: asked.sourcePorts,
    DestinationPortRange: asked.destinationPorts,
    IpVersion: 'IPv4',
  };
}

function made({ direction, settings }: NewRule, settlesAt: number): FilterRule {
  return { id: newId('tmr'), direction, status: 'Creating', settlesAt, asked: settings };
}

function labelsOf(parameters: Parameters): { name?: string; description?: string } {
  const name = parameters.label('TrafficMirrorFilterName', 128);
  const description = parameters.label('TrafficMirrorFilterDescription', 256);
  return { ...(name === undefined ? {} : { name }), ...(description === undefined ? {} : { description }) };
}

function filterOf(parameters: Parameters, { state }: Context): Filter {
  const filter = state.content.filters[parameters.required('TrafficMirrorFilterId')];
  if (!filter) throw new Refusal('ResourceNotFound.TrafficMirrorFilter');
  return filter;
}

function checkAtRest(filter: Filter): void {
  if (filter.status !== 'Created') throw new Refusal('IncorrectStatus.TrafficMirrorFilter');
}
