import * as v from 'valibot';
import { isObject, jsonInside } from '../payload.ts';
import { isoTimeOf, memberOf, textOf } from '../read.ts';

/** A member as text. CloudMonitor writes the word `null` for what it does not have, and numbers as either. */
export function fieldOf(value: unknown, name: string): string | undefined {
  const member = memberOf(value, name);
  const text = typeof member === 'number' ? String(member) : textOf(member)?.trim();
  return text === undefined || text === '' || text === 'null' ? undefined : text;
}

/** An object, or the JSON text of one. */
export function objectOf(value: unknown): Record<string, unknown> | undefined {
  const inside = typeof value === 'string' ? jsonInside(value) : value;
  return isObject(inside) ? inside : undefined;
}

const basicIso = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)([.]\d{1,9})?(?:(Z)|([-+]\d\d):?(\d\d))?$/i;
// September 2001: no alert is older.
const earliestMs = 1e12;

/** A time as Alibaba Cloud writes it: seconds or milliseconds since 1970, `20230217T103516.475+0800`, or ISO 8601; UTC unless it says otherwise. */
export function timeOf(text: string): Date | undefined {
  const time = /^\d{10}(\d{3})?$/.test(text)
    ? new Date(Number(text) * (text.length === 10 ? 1000 : 1))
    : isoTimeOf(
        text.replace(
          basicIso,
          (_, y, mo, d, h, mi, s, fraction = '', z = '', zh = '', zm = '') =>
            `${y}-${mo}-${d}T${h}:${mi}:${s}${fraction}${z || (zh && `${zh}:${zm}`)}`,
        ),
      );
  return time && time.getTime() >= earliestMs ? time : undefined;
}

/** What cannot be done without, of a field as fieldOf() gives it. */
export const required = {
  id: v.string('is missing'),
  time: v.pipe(
    v.string('is missing'),
    v.check((text) => timeOf(text) !== undefined, 'is not a time'),
    v.transform((text) => timeOf(text) ?? new Date(Number.NaN)),
  ),
};
