import type { Parameters } from './parameters.ts';
import { Refusal } from './refusal.ts';

export type Tags = Record<string, string>;

const MOST = 20;

/** The tags of a request, `Tag.1.Key` and `Tag.1.Value`. @throws Refusal when one is malformed or there are too many */
export function tagsOf(parameters: Parameters, name: 'Tag' | 'Tags'): Tags {
  const given = parameters.objects(name);
  if (given.length > MOST) throw new Refusal('SizeLimitExceeded.TagNum');
  const tags: Tags = {};
  for (const each of given) {
    const key = each.text('Key');
    const value = each.text('Value') ?? '';
    if (key === undefined) throw new Refusal('MissingParameter.TagKey');
    if (key.length > 128 || /^(?:aliyun|acs:)/i.test(key) || /https?:\/\//i.test(key)) {
      throw new Refusal('InvalidTagKey');
    }
    if (value.length > 128 || /https?:\/\//i.test(value)) throw new Refusal('InvalidTagValue');
    if (key in tags) throw new Refusal('Forbidden.TagKey.Duplicated');
    tags[key] = value;
  }
  return tags;
}

/** Whether an object has all tags that are asked for; an empty value fits any. */
export function hasTags(of: { tags: Tags }, wanted: Tags): boolean {
  return Object.entries(wanted).every(([key, value]) => key in of.tags && (value === '' || of.tags[key] === value));
}

export function listedTags(tags: Tags): { Key: string; Value: string }[] {
  return Object.entries(tags).map(([Key, Value]) => ({ Key, Value }));
}
