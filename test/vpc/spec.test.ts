import { readFileSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { ALL, COLLECTOR, Emulator, REGION, type Value } from './harness.ts';

/**
 * The emulator against Alibaba's own API metadata (Vpc 2016-04-28, state of 2024-06-24; spec.json keeps of it what is asked,
 * answered and refused).
 */
type Shape = string | Shape[] | { [name: string]: Shape };
type Spec = {
  parameters: { name: string; required: boolean }[];
  answer: Record<string, Shape>;
  errors: { status: number; code: string; message: string }[];
};
const SPEC = Object.entries(JSON.parse(readFileSync('test/vpc/spec.json', 'utf8')) as Record<string, Spec>);

let cloud: Emulator;
beforeAll(async () => {
  cloud = await Emulator.start();
});
afterAll(() => cloud[Symbol.asyncDispose]());
afterEach(() => cloud.control({ faults: null }));

/** A call of each operation that succeeds. */
const SOURCES = ['eni-spec'];
const RULES = [{ Action: 'accept', Protocol: 'TCP', Priority: 5 }];
const CALLS: [action: string, given: () => Promise<Record<string, Value>>][] = [
  ['OpenTrafficMirrorService', async () => (await cloud.control({ open: false }), {})],
  ['GetTrafficMirrorServiceStatus', async () => ({})],
  ['CreateTrafficMirrorFilter', async () => ({ IngressRules: RULES })],
  [
    'CreateTrafficMirrorFilterRules',
    async () => ({ TrafficMirrorFilterId: await cloud.filter(), IngressRules: RULES, EgressRules: RULES }),
  ],
  ['UpdateTrafficMirrorFilterAttribute', async () => ({ TrafficMirrorFilterId: await cloud.filter() })],
  [
    'UpdateTrafficMirrorFilterRuleAttribute',
    async () => ({ TrafficMirrorFilterRuleId: (await rule()).TrafficMirrorFilterRuleId }),
  ],
  [
    'DeleteTrafficMirrorFilterRules',
    async () => {
      const { TrafficMirrorFilterId, TrafficMirrorFilterRuleId } = await rule();
      return { TrafficMirrorFilterId, TrafficMirrorFilterRuleIds: [TrafficMirrorFilterRuleId] };
    },
  ],
  ['DeleteTrafficMirrorFilter', async () => ({ TrafficMirrorFilterId: await cloud.filter() })],
  [
    'ListTrafficMirrorFilters',
    async () => (
      await cloud.filter({ IngressRules: RULES, EgressRules: RULES, Tag: [{ Key: 'a', Value: 'b' }] }),
      { Tags: [{ Key: 'a', Value: 'b' }] }
    ),
  ],
  [
    'CreateTrafficMirrorSession',
    async () => ({
      TrafficMirrorFilterId: ALL,
      TrafficMirrorTargetId: COLLECTOR,
      TrafficMirrorTargetType: 'NetworkInterface',
      TrafficMirrorSourceIds: SOURCES,
      Priority: 499,
    }),
  ],
  ['UpdateTrafficMirrorSessionAttribute', async () => ({ TrafficMirrorSessionId: await session() })],
  [
    'AddSourcesToTrafficMirrorSession',
    async () => ({ TrafficMirrorSessionId: await session(), TrafficMirrorSourceIds: ['eni-more'] }),
  ],
  [
    'RemoveSourcesFromTrafficMirrorSession',
    async () => ({ TrafficMirrorSessionId: await session(), TrafficMirrorSourceIds: [`eni-two${sessions}`] }),
  ],
  ['DeleteTrafficMirrorSession', async () => ({ TrafficMirrorSessionId: await session() })],
  ['ListTrafficMirrorSessions', async () => ({ TrafficMirrorSessionIds: [await session()] })],
  [
    'TagResources',
    async () => ({
      ResourceType: 'TRAFFICMIRRORSESSION',
      ResourceId: [await session()],
      Tag: [{ Key: 'a', Value: 'b' }],
    }),
  ],
  [
    'UnTagResources',
    async () => ({ ResourceType: 'TRAFFICMIRRORSESSION', ResourceId: [await session()], TagKey: ['a'] }),
  ],
  ['ListTagResources', async () => ({ ResourceType: 'TRAFFICMIRRORSESSION', ResourceId: [await session()] })],
];

let sessions = 0;
function session(): Promise<string> {
  sessions += 1;
  return cloud.session({
    Priority: 500 + sessions,
    TrafficMirrorTargetId: `eni-target${sessions}`,
    TrafficMirrorSourceIds: [`eni-one${sessions}`, `eni-two${sessions}`],
    Tag: [{ Key: 'x', Value: 'y' }],
  });
}

async function rule(): Promise<any> {
  const id = await cloud.filter({ IngressRules: RULES });
  return (await cloud.filterSettled(id)).IngressRules[0];
}

/** Of lists, the first entry counts. */
function shapeOf(value: unknown): Shape {
  if (Array.isArray(value)) return value.length === 0 ? [] : [shapeOf(value[0])];
  if (typeof value !== 'object' || value === null) return typeof value === 'number' ? 'integer' : typeof value;
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, shapeOf(each)]));
}

test('every documented operation is there', () => {
  expect(CALLS.map(([action]) => action).toSorted()).toEqual(SPEC.map(([action]) => action).toSorted());
});

const callOf = (action: string) => CALLS.find(([name]) => name === action)?.[1]() ?? Promise.resolve({});

test.each(SPEC)('%s answers with the documented members', async (action, { answer }) => {
  expect(shapeOf(await cloud.done(action, await callOf(action)))).toMatchObject(answer);
});

const WANTING = SPEC.map(([action, { parameters }]) => ({
  action,
  required: parameters.filter((each) => each.required).map((each) => each.name),
})).filter((each) => each.required.length > 0);

test.each(WANTING)('$action wants what is required', async ({ action, required }) => {
  const all: Record<string, Value> = { RegionId: REGION, ...(await callOf(action)) };
  for (const name of required) {
    const { [name]: _, ...others } = all;
    const { status, body } = await cloud.call(action, { ...others, ...(name === 'RegionId' ? { RegionId: '' } : {}) });
    // Two calls on tags have codes of their own for this.
    expect([name, status, body.Code]).toEqual([
      name,
      400,
      expect.stringMatching(new RegExp(`^Missing(?:Param\\.)?${name}s?$`)),
    ]);
  }
});

test.each(SPEC.filter(([, { errors }]) => errors.length > 0))(
  '%s: each documented error can be had, with its text',
  async (action, { errors }) => {
    for (const { status, code, message } of errors) {
      await cloud.control({ faults: { calls: [{ on: action, code, times: 1 }] } });
      const answered = await cloud.call(action);
      expect(answered.body.Code).toBe(code);
      // Codes that the metadata has twice, with two statuses or texts: one of them is usual.
      const several = SPEC.flatMap(([, spec]) => spec.errors.filter((each) => each.code === code));
      const texts = several.map((each) => each.message.replace('%s', 'network interface'));
      if (message !== '%s') expect(texts).toContain(answered.body.Message);
      const statuses = [status, ...several.map((each) => each.status), ...(code.startsWith('Forbidden') ? [403] : [])];
      expect(statuses).toContain(answered.status);
    }
  },
);
