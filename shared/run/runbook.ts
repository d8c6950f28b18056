import * as v from 'valibot';
import { randomId, sha256 } from '../id.ts';
import { Problem } from '../problem.ts';
import { limitFaults, toLimits } from '../rule/rule.ts';
import { RunRequest } from '../rule/schema.ts';
import type { CheckCapture } from '../rule/load.ts';
import type { Launcher } from './launcher.ts';
import type { Run } from './run.ts';

/**
 * Starts a run for a runbook or an operator. With an idempotency key the same request gives the same run, and another request
 * under the same key is a 409. Refusals are 409 with `reason` from the closed list, faults of the request 400 with all of them.
 */
export async function startRunbook(
  launcher: Launcher,
  check: CheckCapture,
  body: unknown,
  idempotencyKey: string | undefined,
): Promise<{ run: Run; created: boolean }> {
  const parsed = v.safeParse(RunRequest, body);
  if (!parsed.success) {
    throw invalid(parsed.issues.map((issue) => ({ path: v.getDotPath(issue) ?? '', message: issue.message })));
  }
  const { target, capture = {}, reason, incident } = parsed.output;
  const limits = toLimits(parsed.output.limits);
  const faults = [
    ...limitFaults(parsed.output.limits).map(({ key, message }) => ({ path: `limits.${key}`, message })),
    ...check(capture, limits).map((message) => ({
      path: /^the (duration|size)/.test(message) ? 'limits' : 'capture',
      message,
    })),
  ];
  if (faults.length > 0) throw invalid(faults);
  if (idempotencyKey !== undefined && (idempotencyKey.length === 0 || idempotencyKey.length > 200)) {
    throw new Problem('invalid-request', 'Idempotency-Key must have 1 to 200 characters');
  }
  const answer = typeof target === 'string' ? launcher.target(target) : launcher.target(target.id, target);
  if (answer.kind === 'refused') throw new Problem('refused', answer.detail, { members: { reason: answer.reason } });

  const requestHash = sha256(canonical(parsed.output));
  const launched = await launcher.launch({
    idParts: ['runbook', idempotencyKey ?? randomId()],
    target: answer.id,
    trigger: {
      kind: 'runbook',
      source: 'api',
      ...(reason === undefined ? {} : { reason }),
      ...(incident === undefined ? {} : { incident }),
    },
    capture,
    limits,
    requestHash,
  });
  if (launched.ignored)
    throw new Problem('refused', launched.ignored.detail, { members: { reason: launched.ignored.reason } });
  if (!launched.created && launched.run.requestHash !== requestHash) {
    throw new Problem(
      'idempotency-conflict',
      `Idempotency-Key was used for another request, which made run ${launched.run.id}`,
      { members: { run: launched.run.id } },
    );
  }
  return launched;
}

function invalid(problems: { path: string; message: string }[]): Problem {
  const text = problems.map(({ path, message }) => `${path} ${message}`.trim()).join('; ');
  return new Problem('invalid-request', `The request is not valid: ${text}`.slice(0, 1000), { members: { problems } });
}

/** JSON with the keys in order, so that the order in which a caller wrote them does not count. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_, v: unknown) =>
    typeof v === 'object' && v !== null && !Array.isArray(v)
      ? Object.fromEntries(Object.entries(v).toSorted(([a], [b]) => (a < b ? -1 : 1)))
      : v,
  );
}
