import * as v from 'valibot';
import type { Alert, AlertTarget } from '../alert.ts';
import { joinedId, listOf, memberOf, readPayload, textsOf } from '../read.ts';
import { fieldOf, objectOf, required } from './read.ts';
import { acsIdOf, distinct, isMachine, machineAmong, ownerOf } from './targets.ts';

const Event = v.object({
  name: v.string('is missing, and so are id and ruleName: nothing tells which event this is'),
  eventTime: required.time,
});

/**
 * A system event (help.aliyun.com "callback for event-triggered alerts", "ECS system events"). Each is an alert of its own and none
 * ends. Two rules that send the same event make two alerts, since a rule here may ask for one of them by name.
 */
export function parseEvent(payload: Record<string, unknown>): Alert {
  const text = (name: string): string | undefined => fieldOf(payload, name);
  const [id, ruleName, eventName] = [text('id') ?? text('traceId'), text('ruleName'), text('name')];
  const needed = { name: eventName ?? ruleName ?? id, eventTime: text('eventTime') };
  const { name, eventTime } = readPayload(Event, needed, 'an event of CloudMonitor');
  const ids = [text('userId'), ruleName, id ?? name, id === undefined ? text('resourceId') : undefined];
  const severity = text('level');
  const state = fieldOf(objectOf(memberOf(payload, 'content')), 'state') ?? text('status');
  return {
    source: 'cloudmonitor',
    kind: 'event',
    externalId: joinedId(ids.filter((one) => one !== undefined)),
    rule: ruleName ?? eventName ?? '',
    condition: 'fired',
    ...(severity === undefined ? {} : { severity }),
    firedAt: eventTime,
    targets: targetsOf(payload),
    description: [name, state].filter(Boolean).join(': ').slice(0, 1000),
  };
}

/** What the event happened to, if that is a machine; else the machine that its content names; else what it happened to all the same. */
function targetsOf(payload: Record<string, unknown>): AlertTarget[] {
  const text = (name: string): string | undefined => fieldOf(payload, name);
  const owner = ownerOf(text('regionId'), text('userId'));
  const resource = text('resourceId');
  const own = resource === undefined ? undefined : (acsIdOf(resource, owner) ?? resource);
  if (own !== undefined && isMachine(own)) return distinct([own]);
  const content = objectOf(memberOf(payload, 'content')) ?? {};
  const named = Object.keys(content).flatMap((name): [string, string][] => {
    const value = fieldOf(content, name);
    return value === undefined ? [] : [[name, value]];
  });
  const listed = textsOf(listOf(memberOf(content, 'instanceIds'))).map((id): [string, string][] => [
    ['instanceId', id],
  ]);
  const candidates = [own === undefined ? [] : [['resourceId', own] as const], named, ...listed];
  const machines = candidates.flatMap((one) => machineAmong(one, owner, false) ?? []);
  if (machines.length > 0) return distinct(machines.slice(0, 1000));
  return own === undefined ? [] : distinct([own]);
}
