import { Problem } from '../problem.ts';
import type { Alert } from './alert.ts';
import { parseAlertmanager } from './cloudmonitor/alertmanager.ts';
import { unwrapped } from './cloudmonitor/envelope.ts';
import { parseEvent } from './cloudmonitor/event.ts';
import { parseThreshold } from './cloudmonitor/threshold.ts';
import { parseObject, readText } from './payload.ts';
import { memberOf } from './read.ts';

/** An alert and the part of its notification that is its own: reading that again gives the same alert. */
export type Notice = { alert: Alert; payload: Uint8Array };

const maxAlerts = 50;

/**
 * The alerts of a notification of CloudMonitor, ARMS or EventBridge: one, but for the groups of Alertmanager, of which the first fifty
 * are read (what fires before what is over), and `left` tells how many were not. The form is told by what is in it, not by its content
 * type. Throws Problem `unsupported-schema` for what is none of the forms, and `invalid-payload` (with every fault) for what lacks the
 * few members without which it is no alert.
 */
export function readCloudMonitor(payload: Uint8Array): { notices: Notice[]; left: number } {
  const text = readText(payload).trim();
  if (text === '') throw new Problem('invalid-payload', 'The payload is empty');
  const sent = /^[[{"]/.test(text) ? parseObject(text) : Object.fromEntries(new URLSearchParams(text));
  const members = unwrapped(sent) ?? sent;
  const has = (name: string): boolean => memberOf(members, name) !== undefined;
  const one = (alert: Alert) => ({ notices: [{ alert, payload }], left: 0 });
  if (has('alertState')) return one(parseThreshold(members));
  if (has('alerts')) {
    const all = parseAlertmanager(members);
    const [first, ...others] = all;
    if (first && others.length === 0) return one(first.alert);
    const isFiring = ({ alert }: { alert: Alert }) => alert.condition === 'fired';
    const sorted = [...all.filter(isFiring), ...all.filter((each) => !isFiring(each))];
    const taken = sorted.slice(0, maxAlerts);
    const notices = taken.map(({ alert, alone }) => ({
      alert,
      payload: new TextEncoder().encode(JSON.stringify(alone)),
    }));
    return { notices, left: all.length - notices.length };
  }
  if (has('eventTime')) return one(parseEvent(members));
  throw new Problem(
    'unsupported-schema',
    'This is no notification of CloudMonitor that is known here: give this address to an alert rule as its callback (threshold or event), or to ARMS as a webhook with the body $alertmanager_content',
  );
}
