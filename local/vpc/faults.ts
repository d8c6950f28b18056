import * as v from 'valibot';
import { amount, count, ofRules, random, type Turns } from '../emulator/faults.ts';
import { QUOTAS, type Quotas } from './quotas.ts';

/** What goes wrong on purpose, set by `POST /_control {"faults":{…}}` and explained in docs/sandbox-alibaba.md. */
export const ANSWERS = ['500', '503', 'html', 'empty', 'reset', 'hang'] as const;
export type FaultAnswer = (typeof ANSWERS)[number];

export const givenRule = v.strictObject({
  on: v.exactOptional(v.union([v.string(), v.array(v.string())])),
  where: v.exactOptional(v.string()),
  code: v.exactOptional(v.string()),
  status: v.exactOptional(v.pipe(v.number(), v.integer(), v.minValue(400), v.maxValue(599))),
  message: v.exactOptional(v.string()),
  answer: v.exactOptional(v.picklist(ANSWERS)),
  ...ofRules,
  retryAfterMs: v.exactOptional(count),
});

/** How some calls go wrong. */
export type Rule = v.InferOutput<typeof givenRule> & Turns;

const rule = v.pipe(
  givenRule,
  v.check((given) => given.code === undefined || given.answer === undefined, 'code and answer exclude each other'),
  v.transform((given): Rule => ({ ...given, seen: 0, hit: 0 })),
);

const quotas = v.strictObject(
  Object.fromEntries(Object.keys(QUOTAS).map((name) => [name, v.exactOptional(count)])) as Record<
    keyof Quotas,
    v.ExactOptionalSchema<typeof count, undefined>
  >,
);

const faults = v.strictObject({
  calls: v.exactOptional(v.array(rule)),
  delayMs: v.exactOptional(amount),
  down: v.exactOptional(v.boolean()),
  random: v.exactOptional(random),
  hold: v.exactOptional(v.boolean()),
  settleSeconds: v.exactOptional(v.nullable(amount)),
  update: v.exactOptional(v.picklist(['normal', 'no-effect'])),
  delete: v.exactOptional(v.picklist(['normal', 'no-effect'])),
  omitted: v.exactOptional(v.picklist(['kept', 'reset'])),
  listDelayMs: v.exactOptional(amount),
  packets: v.exactOptional(v.picklist(['normal', 'none'])),
  gone: v.exactOptional(v.array(v.string())),
  quotas: v.exactOptional(quotas),
});

export type Faults = Required<v.InferOutput<typeof faults>>;

export function noFaults(): Faults {
  return {
    calls: [],
    delayMs: 0,
    down: false,
    random: null,
    hold: false,
    settleSeconds: null,
    update: 'normal',
    delete: 'normal',
    omitted: 'kept',
    listDelayMs: 0,
    packets: 'normal',
    gone: [],
    quotas: {},
  };
}

/** The addresses that packets go to; loopback, so that nothing leaves this machine. */
const address = v.pipe(v.string(), v.regex(/^127(?:\.\d{1,3}){3}:\d{1,5}$/, 'an address is 127.x.y.z:port'));

export const control = v.strictObject({
  faults: v.exactOptional(v.nullable(faults)),
  targets: v.exactOptional(v.record(v.string(), v.nullable(address))),
  arrears: v.exactOptional(v.boolean()),
  open: v.exactOptional(v.boolean()),
  expireKeys: v.exactOptional(v.literal(true)),
});

export type Control = v.InferOutput<typeof control>;

/** A control call, or what is wrong with it. @param body parsed JSON */
export function parseControl(body: unknown): Control | string {
  const parsed = v.safeParse(control, body);
  if (parsed.success) return parsed.output;
  return parsed.issues.map((issue) => `${v.getDotPath(issue) ?? 'body'}: ${issue.message}`).join('; ');
}

export function isTargetAddress(text: string): boolean {
  return v.safeParse(address, text).success;
}
