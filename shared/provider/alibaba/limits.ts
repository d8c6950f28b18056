import { checkFilterValues } from '../filter-values.ts';
import type { CaptureFilter, CaptureRequest, Limits } from '../provider.ts';
import { toRules } from './filters.ts';

// Of a filter, in each direction.
const mostRules = 10;
/** Of packets that are mirrored, in bytes. */
export const packetLengths = { least: 64, usual: 1500, most: 8500 };
// Two are our own.
const mostTags = 18;

type Alibaba = NonNullable<CaptureRequest['alibaba']>;

/**
 * What VPC traffic mirroring documents as its limits (CreateTrafficMirrorSession, Vpc 2016-04-28), checked before any call, so that a
 * fault in a rule is found when the rule is read. One sentence per fault.
 */
export function checkMirror({ alibaba, filters = [] }: CaptureRequest): string[] {
  const faults = checkFilterValues(filters);
  if (alibaba === undefined) return faults;
  const within = (name: 'priority' | 'virtualNetworkId' | 'packetLength', least: number, most: number): void => {
    const value = alibaba[name];
    if (value !== undefined && (!Number.isInteger(value) || value < least || value > most))
      faults.push(`alibaba.${name} must be from ${least} to ${most}; it is ${value}`);
  };
  within('priority', 1, 32_766);
  // 0 is allowed, and looks like none at all.
  within('virtualNetworkId', 1, 16_777_215);
  within('packetLength', packetLengths.least, packetLengths.most);
  const like = (name: 'sessionId' | 'filterId', prefix: string): void => {
    const value = alibaba[name];
    if (value !== undefined && !new RegExp(`^${prefix}-[\\w-]{1,64}$`).test(value))
      faults.push(`alibaba.${name} must be an id that begins with ${prefix}-; it is "${value.slice(0, 80)}"`);
  };
  like('sessionId', 'tms');
  like('filterId', 'tmf');
  const { description, mirrorTargetId, mirrorTargetType = 'NetworkInterface' } = alibaba;
  if (
    description !== undefined &&
    (description.length < 1 || description.length > 256 || /^https?:\/\//i.test(description))
  )
    faults.push('alibaba.description must have 1 to 256 characters and not begin with http:// or https://');
  const prefix = mirrorTargetType === 'SLB' ? 'lb' : 'eni';
  if (mirrorTargetId !== undefined && !new RegExp(`^${prefix}-[\\w-]{1,64}$`).test(mirrorTargetId))
    faults.push(`alibaba.mirrorTargetId must be the id of a ${mirrorTargetType} and begin with ${prefix}-`);
  if (mirrorTargetId === undefined && alibaba.mirrorTargetType !== undefined)
    faults.push('alibaba.mirrorTargetType says of what kind alibaba.mirrorTargetId is, which is missing');
  if (alibaba.filterId !== undefined && filters.length > 0)
    faults.push('alibaba.filterId and filters both say what is captured: leave one of them out');
  faults.push(...tagFaults(alibaba), ...modeFaults(alibaba, filters.length > 0));
  return faults;
}

/** What is wrong besides, when the target is one of Alibaba Cloud. */
export function checkForMirror(capture: CaptureRequest, { sizeBytes, durationSeconds }: Limits): string[] {
  const { filters = [] } = capture;
  const faults = [...checkMirror(capture), ...portFaults(filters)];
  // A file has a header of 24 bytes.
  if (!Number.isInteger(sizeBytes) || sizeBytes < 1)
    faults.push(`the size must be at least 1 byte; it is ${sizeBytes}`);
  if (!Number.isInteger(durationSeconds) || durationSeconds < 1)
    faults.push(`the duration must be at least 1 second; it is ${durationSeconds} s`);
  const { ingress } = toRules(checkFilterValues(filters).length > 0 ? [] : filters);
  if (ingress.length > mostRules)
    faults.push(
      `the filters make ${ingress.length} mirror rules each way, and ${mostRules} is the most: use fewer values, or ranges that are whole CIDR blocks`,
    );
  return faults;
}

function portFaults(filters: readonly CaptureFilter[]): string[] {
  return filters.flatMap((filter, i) =>
    (['localPort', 'remotePort'] as const)
      .filter((name) => (filter[name] ?? '').split(';').some((part) => /^0+(-0+)?$/.test(part)))
      .map((name) => `filters[${i}].${name} is port 0, which traffic mirroring does not know`),
  );
}

function modeFaults({ mode, ...asked }: Alibaba, hasFilters: boolean): string[] {
  if (mode !== 'enable') return asked.sessionId === undefined ? [] : ['alibaba.sessionId is for alibaba.mode enable'];
  const fixed = (
    [
      'filterId',
      'mirrorTargetId',
      'mirrorTargetType',
      'priority',
      'virtualNetworkId',
      'packetLength',
      'description',
      'resourceGroupId',
      'tags',
    ] as const
  ).filter((name) => asked[name] !== undefined);
  const faults =
    fixed.length === 0
      ? []
      : [
          `a session that is only enabled has its own ${fixed.join(', ')}: leave out alibaba.${fixed.join(', alibaba.')}`,
        ];
  if (hasFilters) faults.push('a session that is only enabled has its own filter: leave out filters');
  return faults;
}

function tagFaults({ tags = [] }: Alibaba): string[] {
  if (tags.length > mostTags) return [`alibaba.tags may be at most ${mostTags}; there are ${tags.length}`];
  const keys = tags.map(({ key }) => key);
  const twice = keys.find((key, i) => keys.indexOf(key) !== i);
  const faults = twice === undefined ? [] : [`alibaba.tags has the key "${twice}" twice`];
  const wrong = (text: string): boolean =>
    text.length > 128 || /^(aliyun|acs:)/i.test(text) || /https?:\/\//i.test(text);
  for (const { key, value } of tags) {
    if (key === '' || wrong(key) || wrong(value) || /^tripcap/i.test(key))
      faults.push(
        `alibaba.tags: key and value of "${key.slice(0, 40)}" must have at most 128 characters, the key at least 1, and neither begin with aliyun, acs: or hold http:// or https:// (keys that begin with tripcap are ours)`,
      );
  }
  return faults;
}
