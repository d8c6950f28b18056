import * as v from 'valibot';
import { Problem } from '../../problem.ts';

// Senders add, drop and change members at will. What an alert cannot do without is in a schema; everything else is read by these,
// to which a member of another type is one that is not there.

const longestText = 2048;

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
const american = /^\d{1,2}\/\d{1,2}\/\d{4} \d{1,2}:\d\d(:\d\d)?( [AP]M)?$/i;
const americanWithZone = /^\d{1,2}\/\d{1,2}\/\d{4} \d{1,2}:\d\d(:\d\d)?( [AP]M)? [-+]\d\d:\d\d$/i;

/** A time as Azure Monitor writes it: ISO 8601, or `3/22/2019 1:36:31 PM`; UTC unless it says otherwise. */
export function timeOf(value: unknown): Date | undefined {
  if (typeof value !== 'string') return undefined;
  let text: string;
  if (isoWithZone.test(value) || americanWithZone.test(value)) text = value;
  else if (iso.test(value)) text = `${value}Z`;
  else if (american.test(value)) text = `${value} UTC`;
  else return undefined;
  const time = new Date(text);
  return Number.isNaN(time.getTime()) ? undefined : time;
}

const words = new Map<string, 'fired' | 'resolved'>([
  ['fired', 'fired'],
  ['activated', 'fired'],
  ['resolved', 'resolved'],
  ['deactivated', 'resolved'],
]);

/** What cannot be done without: an id, a time, and whether it begins or ends. */
export const required = {
  id: v.pipe(v.string(), v.nonEmpty('must not be empty'), v.maxLength(longestText)),
  time: v.pipe(
    v.string(),
    v.maxLength(64),
    v.check((text) => timeOf(text) !== undefined, 'is not a time'),
    v.transform((text) => timeOf(text) ?? new Date(Number.NaN)),
  ),
  /** Budgets give none: they only ever fire. */
  condition: v.pipe(
    v.nullish(v.string(), 'Fired'),
    v.check((text) => words.has(text.toLowerCase()), 'is neither Fired nor Resolved'),
    v.transform((text) => words.get(text.toLowerCase()) ?? 'fired'),
  ),
};

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
