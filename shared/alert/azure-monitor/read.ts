import * as v from 'valibot';
import { isoTimeOf, longestText, validTime } from '../read.ts';

const american = /^\d{1,2}\/\d{1,2}\/\d{4} \d{1,2}:\d\d(:\d\d)?( [AP]M)?$/i;
const americanWithZone = /^\d{1,2}\/\d{1,2}\/\d{4} \d{1,2}:\d\d(:\d\d)?( [AP]M)? [-+]\d\d:\d\d$/i;

/** A time as Azure Monitor writes it: ISO 8601, or `3/22/2019 1:36:31 PM`; UTC unless it says otherwise. */
export function timeOf(value: unknown): Date | undefined {
  if (typeof value !== 'string') return undefined;
  if (americanWithZone.test(value)) return validTime(new Date(value));
  return american.test(value) ? validTime(new Date(`${value} UTC`)) : isoTimeOf(value);
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
