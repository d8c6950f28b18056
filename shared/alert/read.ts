import * as v from 'valibot';
import { sha256 } from '../id.ts';
import { Problem } from '../problem.ts';

// Senders add, drop and change members at will. What an alert cannot do without is in a schema; everything else is read by these,
// to which a member of another type is one that is not there.

/** What is longer is of no use. */
export const longestText = 2048;

/** A text, cut where it is longer than anything of use. */
export function textOf(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value.slice(0, longestText) : undefined;
}

/** The texts of a list; everything else in it is left out. */
export function textsOf(value: unknown): string[] {
  return listOf(value).flatMap((one) => textOf(one) ?? []);
}

export function listOf(value: unknown): unknown[] {
  return Array.isArray(value) ? value : [];
}

/** A member of an object, whatever the case of its name: the kinds of alerts differ in it. */
export function memberOf(value: unknown, name: string): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
  const wanted = name.toLowerCase();
  return Object.entries(value).find(([key]) => key.toLowerCase() === wanted)?.[1];
}

/** A member of members: `at(context, 'authorization', 'scope')`. */
export function at(value: unknown, ...path: string[]): unknown {
  return path.reduce(memberOf, value);
}

const iso = /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d([.]\d{1,9})?)?$/;
const isoWithZone = /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d([.]\d{1,9})?)?(Z|[-+]\d\d:\d\d)$/i;

/** A time in ISO 8601; UTC unless it says otherwise. */
export function isoTimeOf(value: string): Date | undefined {
  if (isoWithZone.test(value)) return validTime(new Date(value));
  return iso.test(value) ? validTime(new Date(`${value}Z`)) : undefined;
}

export function validTime(time: Date): Date | undefined {
  return Number.isNaN(time.getTime()) ? undefined : time;
}

/** What the schema makes of a payload; Problem `invalid-payload` with all faults when it cannot. */
export function readPayload<S extends v.GenericSchema>(
  schema: S,
  payload: Record<string, unknown>,
  what: string,
): v.InferOutput<S> {
  const parsed = v.safeParse(schema, payload);
  if (parsed.success) return parsed.output;
  const problems = parsed.issues
    .slice(0, 50)
    .map((issue) => ({ path: v.getDotPath(issue) ?? '', message: issue.message.slice(0, 200) }));
  throw new Problem('invalid-payload', `Not ${what}: ${problems[0]?.path} ${problems[0]?.message}`, {
    members: { problems },
  });
}

/** An id of several parts; of a long one the end is replaced by its hash. */
export function joinedId(parts: string[]): string {
  const text = parts.join('|');
  return text.length <= 1000 ? text : `${text.slice(0, 900)}|${sha256(text)}`;
}
