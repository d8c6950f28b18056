import * as v from 'valibot';
import { severities, type AlertSource } from '../alert/alert.ts';

/**
 * The schema of rules.yaml and of the body of POST /runs. Unknown keys are refused, each by name.
 * rules.schema.json is generated from it by `npm run schema`.
 */

const unknownKey = v.never('is not a known key');

const strict = <E extends v.ObjectEntries>(entries: E) => v.objectWithRest(entries, unknownKey);

const name = v.pipe(
  v.string(),
  v.regex(
    /^[a-z0-9][a-z0-9-]{0,62}$/,
    'must be 1 to 63 lower-case letters, digits and dashes, and begin with a letter or digit',
  ),
);
const pattern = v.pipe(v.string(), v.nonEmpty('must not be empty'), v.maxLength(256));
const oneOrMore = <S extends v.GenericSchema>(schema: S) =>
  v.union([schema, v.pipe(v.array(schema), v.minLength(1, 'must not be empty'))]);
const address = v.pipe(v.string(), v.maxLength(1024));
const targetId = v.pipe(v.string(), v.nonEmpty('must not be empty'), v.maxLength(1024));

const positive = v.pipe(v.number(), v.integer('must be a whole number'), v.minValue(1, 'must be at least 1'));
const instances = v.pipe(v.array(targetId), v.maxLength(1000));

const Filter = strict({
  protocol: v.optional(v.picklist(['TCP', 'UDP', 'Any'])),
  localIPAddress: v.optional(address),
  localPort: v.optional(address),
  remoteIPAddress: v.optional(address),
  remotePort: v.optional(address),
});

const Capture = strict({
  filters: v.optional(v.pipe(v.array(Filter), v.maxLength(100))),
  bytesToCapturePerPacket: v.optional(v.pipe(v.number(), v.integer('must be a whole number'), v.minValue(0))),
  azure: v.optional(
    strict({
      scope: v.optional(strict({ include: v.optional(instances), exclude: v.optional(instances) })),
      storageLocation: v.optional(
        strict({
          storageId: v.optional(v.string()),
          storagePath: v.optional(v.string()),
          filePath: v.optional(v.string()),
          localPath: v.optional(v.string()),
        }),
      ),
      continuousCapture: v.optional(v.nullable(v.boolean())),
      captureSettings: v.optional(
        strict({
          fileCount: v.optional(positive),
          fileSizeInBytes: v.optional(positive),
          sessionTimeLimitInSeconds: v.optional(positive),
        }),
      ),
    }),
  ),
  alibaba: v.optional(
    strict({
      mode: v.optional(v.picklist(['create', 'enable'])),
      sessionId: v.optional(v.string()),
      filterId: v.optional(v.string()),
      mirrorTargetId: v.optional(v.string()),
      mirrorTargetType: v.optional(v.picklist(['NetworkInterface', 'SLB'])),
      priority: v.optional(positive),
      virtualNetworkId: v.optional(positive),
      packetLength: v.optional(positive),
      description: v.optional(v.string()),
      resourceGroupId: v.optional(v.string()),
      tags: v.optional(v.array(strict({ key: v.string(), value: v.string() }))),
    }),
  ),
});

const duration = v.pipe(
  v.string(),
  v.regex(/^\d{1,9}(s|m|h|d)$/, 'must be a whole number with s, m, h or d, such as 90s or 5m'),
);
const size = v.pipe(
  v.string(),
  v.regex(
    /^\d{1,12}(B|KB|MB|GB|KiB|MiB|GiB)$/,
    'must be a whole number with B, KB, MB, GB, KiB, MiB or GiB, such as 100MiB',
  ),
);
const length = {
  duration: v.optional(duration),
  durationSeconds: v.optional(positive),
  size: v.optional(size),
  sizeBytes: v.optional(positive),
};

const RunLimits = strict(length);

const RuleLimits = strict({
  ...length,
  stopOnResolve: v.optional(v.boolean()),
  cooldown: v.optional(duration),
  concurrent: v.optional(v.pipe(positive, v.maxValue(100, 'must be at most 100'))),
});

const When = strict({
  source: v.picklist(Object.keys(severities) as AlertSource[]),
  alert: v.optional(oneOrMore(pattern)),
  // Which of them a source has, a schema cannot say: see load.ts.
  severity: v.optional(oneOrMore(v.picklist(Object.values(severities).flat()))),
  resourceType: v.optional(oneOrMore(pattern)),
});

const Schedule = strict({ cron: v.string(), timezone: v.optional(v.string()) });

export const Rule = strict({
  name,
  when: v.optional(When),
  schedule: v.optional(Schedule),
  target: v.union(
    [
      v.literal('alert'),
      v.pipe(v.array(targetId), v.minLength(1, 'must not be empty'), v.maxLength(25, 'must name at most 25 machines')),
    ],
    'must be "alert" or a list of ids',
  ),
  capture: v.optional(Capture),
  limits: v.optional(RuleLimits),
});

export const RulesFile = strict({ version: v.literal(1, 'must be 1'), rules: v.array(Rule) });
export type RulesFile = v.InferOutput<typeof RulesFile>;

export const RunRequest = strict({
  target: v.union([
    targetId,
    strict({ provider: v.picklist(['azure', 'alibaba']), region: v.optional(v.string()), id: targetId }),
  ]),
  capture: v.optional(Capture),
  limits: v.optional(RunLimits),
  reason: v.optional(v.pipe(v.string(), v.maxLength(1000))),
  incident: v.optional(v.pipe(v.string(), v.maxLength(200))),
});
export type RunRequest = v.InferOutput<typeof RunRequest>;
