import { memberOf } from '../read.ts';
import { fieldOf, objectOf } from './read.ts';

/**
 * What a CloudEvents envelope (cloudevents.io, JSON format, with the attributes that EventBridge adds) is about: its `data`. Data that has
 * not the members of an event itself, such as the content of an ECS event, gets them of the envelope. Written without a sample of
 * EventBridge at hand, so it takes what is there. Undefined for what is no envelope.
 */
export function unwrapped(payload: Record<string, unknown>): Record<string, unknown> | undefined {
  if (memberOf(payload, 'specversion') === undefined) return undefined;
  const data = objectOf(memberOf(payload, 'data'));
  if (data === undefined) return undefined;
  if (['alertState', 'alerts', 'eventTime'].some((name) => memberOf(data, name) !== undefined)) return data;
  const of = (name: string): string | undefined => fieldOf(payload, name);
  return {
    id: of('id'),
    name: of('type'),
    eventTime: of('time') ?? null,
    resourceId: of('subject'),
    userId: of('aliyunaccountid'),
    regionId: of('aliyunregionid'),
    content: data,
    ...data,
  };
}
