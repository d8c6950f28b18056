import * as v from 'valibot';
import { isSafe } from './addresses.ts';
import type { SessionList } from './protocol.ts';

const time = v.pipe(
  v.string(),
  v.check((text) => !Number.isNaN(Date.parse(text)), 'must be an ISO 8601 time'),
);
// Ids become parts of paths and of host names, so they are held to their alphabets.
const id = (pattern: RegExp, what: string) => v.pipe(v.string(), v.regex(pattern, `must be ${what}`));

const Entry = v.object({
  run: id(/^[0-9a-z]{26}$/, 'a run id of 26 letters and digits'),
  session: id(/^tms-[\w-]{1,60}$/, 'an id that begins with tms-'),
  region: id(/^[a-z][a-z0-9-]{1,40}$/, 'a region such as cn-hongkong'),
  vni: v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(0xffffff)),
  sources: v.pipe(
    v.array(
      v.object({ eni: id(/^eni-[\w-]{1,60}$/, 'an id that begins with eni-'), address: v.pipe(v.string(), v.ipv4()) }),
    ),
    v.maxLength(500),
  ),
  maxBytes: v.pipe(v.number(), v.safeInteger(), v.minValue(0)),
  until: time,
});

const List = v.object({
  version: v.literal(1),
  writtenAt: time,
  pollSeconds: v.optional(v.pipe(v.number(), v.minValue(0.1), v.maxValue(60))),
  upload: v.optional(
    v.object({ sas: v.optional(v.pipe(v.string(), v.check(isSas, 'must be an https URL with a signature'))) }),
  ),
  sessions: v.pipe(
    v.array(Entry),
    v.maxLength(1000),
    v.check(
      (entries) => new Set(entries.map(({ run, session }) => `${run}/${session}`)).size === entries.length,
      'names a session of a run twice',
    ),
  ),
});

/** Reads a list. @returns what is wrong with it, without quoting it, if anything is */
export function parseList(text: string): SessionList | { problem: string } {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return { problem: 'it is not JSON' };
  }
  const parsed = v.safeParse(List, json, { abortEarly: true });
  if (parsed.success) return parsed.output;
  const [issue] = parsed.issues;
  const path = v.getDotPath(issue) ?? '';
  // Only messages of our own: those of the library quote what they found, which might be a SAS.
  const message = issue.message.startsWith('Invalid') ? `is not ${issue.expected ?? 'as it should be'}` : issue.message;
  return { problem: `${path || 'it'} ${message}` };
}

function isSas(text: string): boolean {
  return URL.canParse(text) && new URL(text).searchParams.has('sig') && isSafe(new URL(text));
}
