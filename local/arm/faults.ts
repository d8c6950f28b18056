import * as v from 'valibot';
import { amount, count, ofRules, random, type Turns } from '../emulator/faults.ts';

/**
 * What goes wrong on purpose, set by `POST /_control {"faults":{…}}` and explained in docs/sandbox.md. Faults of captures
 * apply to all of them, or by name to those of one machine, scale set or instance (`frontend/1`).
 */
export const CALL_KINDS = [
  'watchers',
  'machines',
  'machine',
  'extension',
  'install',
  'scale-sets',
  'scale-set',
  'instances',
  'list',
  'get',
  'create',
  'delete',
  'stop',
  'status',
  'operation',
  'result',
] as const;
export type CallKind = (typeof CALL_KINDS)[number];

export const ANSWERS = [
  '401',
  '403',
  '409',
  '429',
  '429-busy',
  '500',
  '500-service',
  '500-nested',
  '503',
  '504',
  'html',
  'empty',
  '200-html',
  '200-empty',
  'reset',
  'hang',
] as const;
export type FaultAnswer = (typeof ANSWERS)[number];

const kind = v.picklist(CALL_KINDS);

export const givenRule = v.strictObject({
  on: v.exactOptional(v.union([kind, v.array(kind)])),
  path: v.exactOptional(v.string()),
  answer: v.exactOptional(v.picklist(ANSWERS)),
  ...ofRules,
  retryAfterSeconds: v.exactOptional(count),
});

/** How some calls go wrong. */
export type Rule = v.InferOutput<typeof givenRule> & Turns;

const rule = v.pipe(
  givenRule,
  v.transform((given): Rule => ({ ...given, seen: 0, hit: 0 })),
);

const ofMachines = {
  create: v.exactOptional(
    v.union([v.picklist(['normal', 'fail', 'stuck']), v.strictObject({ code: v.string(), message: v.string() })]),
  ),
  stop: v.exactOptional(v.picklist(['normal', 'fail', 'no-effect'])),
  delete: v.exactOptional(v.picklist(['normal', 'fail'])),
  hold: v.exactOptional(v.boolean()),
  operationSeconds: v.exactOptional(v.nullable(amount)),
  errors: v.exactOptional(v.array(v.string())),
  limits: v.exactOptional(v.picklist(['normal', 'ignored'])),
  sizeStopReason: v.exactOptional(v.nullable(v.string())),
  upload: v.exactOptional(v.picklist(['normal', 'never', 'damaged', 'garbage', 'empty'])),
  uploadDelayMs: v.exactOptional(amount),
  status: v.exactOptional(v.picklist(['normal', 'null'])),
  startTime: v.exactOptional(v.picklist(['normal', 'old', 'absurd', 'missing'])),
  machine: v.exactOptional(v.picklist(['present', 'gone', 'gone-running'])),
  nameTaken: v.exactOptional(v.picklist([409, 400])),
  calls: v.exactOptional(v.array(rule)),
};
const machine = v.strictObject(ofMachines);
type Some = v.InferOutput<typeof machine>;

/** Those that apply to one machine. */
export type MachineFaults = Required<Some>;

const cloud = v.strictObject({
  ...ofMachines,
  delayMs: v.exactOptional(amount),
  down: v.exactOptional(v.boolean()),
  random: v.exactOptional(random),
  sessionLimit: v.exactOptional(count),
  pageSize: v.exactOptional(count),
  machines: v.exactOptional(v.record(v.string(), v.nullable(machine))),
});

export type Faults = Required<Omit<v.InferOutput<typeof cloud>, 'machines'>> & { machines: Record<string, Some> };

export function noFaults(): Faults {
  return {
    create: 'normal',
    stop: 'normal',
    delete: 'normal',
    hold: false,
    operationSeconds: null,
    errors: [],
    limits: 'normal',
    // GUESS: what a capture that reached its size says; no source shows it.
    sizeStopReason: 'MaxSizeReached',
    upload: 'normal',
    uploadDelayMs: 0,
    status: 'normal',
    startTime: 'normal',
    machine: 'present',
    nameTaken: 409,
    calls: [],
    delayMs: 0,
    down: false,
    random: null,
    sessionLimit: 10_000,
    pageSize: 0,
    machines: {},
  };
}

const control = v.strictObject({ faults: v.nullable(cloud) });

/** The faults in force after a control call, or what is wrong with the call. @param body parsed JSON */
export function afterControl(now: Faults, body: unknown): Faults | string {
  const parsed = v.safeParse(control, body);
  if (!parsed.success) {
    return parsed.issues.map((issue) => `${v.getDotPath(issue) ?? 'body'}: ${issue.message}`).join('; ');
  }
  if (parsed.output.faults === null) return noFaults();
  const { machines = {}, ...others } = parsed.output.faults;
  const merged = { ...now.machines };
  for (const [name, faults] of Object.entries(machines)) {
    if (faults) merged[name.toLowerCase()] = faults;
    else delete merged[name.toLowerCase()];
  }
  return { ...now, ...others, machines: merged };
}

/** The faults of a machine. @param names of what it is part of, from wide to narrow: `['frontend', 'frontend/1']` */
export function faultsOf(faults: Faults, names: string[]): MachineFaults {
  return Object.assign({}, faults, ...narrower(faults, names)) as MachineFaults;
}

/** All rules for a call, the narrowest first. */
export function rulesFor(faults: Faults, names: string[]): Rule[] {
  return [
    ...narrower(faults, names)
      .toReversed()
      .flatMap((each) => each.calls ?? []),
    ...faults.calls,
  ];
}

function narrower(faults: Faults, names: string[]): Some[] {
  return names.flatMap((name) => faults.machines[name.toLowerCase()] ?? []);
}
