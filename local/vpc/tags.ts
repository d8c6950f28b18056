import { change, read, type Body, type Context, type Operation } from './operation.ts';
import { page } from './paging.ts';
import type { Parameters } from './parameters.ts';
import { Refusal } from './refusal.ts';
import { hasTags, tagsOf, type Tags } from './tags-of.ts';

const MOST_RESOURCES = 50;
const MOST_TAGS = 20;
const MOST_READ = 1000;

type Tagged = { id: string; tags: Tags };

/** Tags of sessions and filters. They take neither ClientToken nor DryRun, and are done at once. */
export const tagOperations: Operation[] = [
  tagCall('TagResources', tag),
  tagCall('UnTagResources', untag),
  read('Vpc', 'ListTagResources', list),
];

function tagCall(action: string, prepare: Operation['prepare']): Operation {
  return { ...change(action, prepare), idempotent: false, dryRun: false };
}

function tag(parameters: Parameters, context: Context): () => Body {
  const resources = resourcesOf(parameters, context);
  const tags = tagsOf(parameters, 'Tag');
  if (Object.keys(tags).length === 0) throw new Refusal('MissingParam.Tags');
  const after = resources.map((each) => ({ ...each.tags, ...tags }));
  if (after.some((each) => Object.keys(each).length > MOST_TAGS)) throw new Refusal('QuotaExceeded.TagNum');
  return () => {
    for (const each of resources) Object.assign(each.tags, tags);
    return {};
  };
}

function untag(parameters: Parameters, context: Context): () => Body {
  const resources = resourcesOf(parameters, context);
  const keys = parameters.list('TagKey', MOST_READ);
  if (keys.length > MOST_TAGS) throw new Refusal('SizeLimitExceeded.TagNum');
  const all = parameters.flag('All') ?? false;
  return () => {
    for (const each of resources) {
      // All counts only where no key is given.
      for (const key of keys.length === 0 && all ? Object.keys(each.tags) : keys) delete each.tags[key];
    }
    return {};
  };
}

function list(parameters: Parameters, context: Context): Body {
  const { type, all } = kindOf(parameters, context);
  const ids = parameters.list('ResourceId', MOST_READ);
  if (ids.length > MOST_RESOURCES) throw new Refusal('SizeLimitExceeded.ResourceId');
  const wanted = tagsOf(parameters, 'Tag');
  if (ids.length === 0 && Object.keys(wanted).length === 0) throw new Refusal('BothEmpty.TagsAndResources');
  const entries = all
    .filter((each) => (ids.length === 0 || ids.includes(each.id)) && hasTags(each, wanted))
    .flatMap((each) =>
      Object.entries(each.tags).map(([TagKey, TagValue]) => ({
        ResourceId: each.id,
        ResourceType: type,
        TagKey,
        TagValue,
      })),
    );
  const { items, nextToken } = page(entries, parameters, { least: 1, most: 50, usual: 50 });
  return { NextToken: nextToken, TagResources: { TagResource: items } };
}

function resourcesOf(parameters: Parameters, context: Context): Tagged[] {
  const { all } = kindOf(parameters, context);
  const ids = parameters.requiredList('ResourceId', MOST_READ);
  if (ids.length > MOST_RESOURCES) throw new Refusal('SizeLimitExceeded.ResourceId');
  const resources = ids.map((id) => all.find((each) => each.id === id));
  const found = resources.filter((each) => each !== undefined);
  if (found.length < ids.length) throw new Refusal('InvalidInstanceIds.NotFound');
  return found;
}

function kindOf(parameters: Parameters, { state }: Context): { type: string; all: Tagged[] } {
  const given = parameters.text('ResourceType');
  if (given === undefined) throw new Refusal('MissingParam.ResourceType');
  const type = given.toUpperCase();
  switch (type) {
    case 'TRAFFICMIRRORSESSION':
      return { type, all: Object.values(state.content.sessions) };
    case 'TRAFFICMIRRORFILTER':
      return { type, all: Object.values(state.content.filters) };
    default:
      throw new Refusal('InvalidInstanceType.NotFound');
  }
}
