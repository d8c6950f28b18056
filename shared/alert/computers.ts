import { beforeDeadline } from '../clock.ts';
import type { Log } from '../log.ts';
import {
  ProviderError,
  providerErrors,
  type Provider,
  type ProviderName,
  type TargetAnswer,
} from '../provider/provider.ts';
import { resourceTypeOf, type Alert, type AlertTarget } from './alert.ts';

/** The canonical ids of all machines with a computer name; throws ProviderError when it cannot be told that there are none. */
export type FindMachines = (name: string, signal: AbortSignal) => Promise<string[]>;

/** Looks in every cloud. One that cannot be asked does not hide what another has, but then nothing found is not "none". */
export function inAllClouds(providers: ReadonlyMap<ProviderName, Provider>): FindMachines {
  return async (name, signal) => {
    const answers = await Promise.allSettled([...providers.values()].map((p) => p.machinesNamed(name, signal)));
    const found = answers.flatMap((answer) => (answer.status === 'fulfilled' ? answer.value : []));
    const failed = answers.find((answer) => answer.status === 'rejected');
    if (found.length === 0 && failed) throw failed.reason;
    return [...new Set(found)];
  };
}

export type LookUpParts = {
  machinesNamed: FindMachines;
  /** The canonical form of an id, or why it cannot be captured. */
  target: (id: string) => TargetAnswer;
  log: Log;
};

const maxLookUps = 25;
const shownMachines = 3;

/**
 * The alert with the answers for the wanted computer names. `pending`: some could not be looked up now, and may be later. The
 * signal ends the waiting; what was found until then counts.
 */
export async function lookUpComputers(
  parts: LookUpParts,
  alert: Alert,
  wanted: readonly AlertTarget[],
  signal: AbortSignal,
): Promise<{ alert: Alert; pending: boolean }> {
  const answers = new Map<AlertTarget, { answer: NonNullable<AlertTarget['answer']>; passing: boolean }>();
  const tooMany = {
    kind: 'refused' as const,
    reason: 'max-targets' as const,
    detail: `At most ${maxLookUps} computer names of an alert are looked up`,
  };
  await Promise.all(
    wanted.map(async (target, i) => {
      answers.set(
        target,
        i < maxLookUps ? await lookUp(parts, target.id, signal) : { answer: tooMany, passing: false },
      );
    }),
  );
  const targets = alert.targets.map((target) => {
    const answer = answers.get(target)?.answer;
    if (!answer) return target;
    return { ...target, answer, ...(answer.kind === 'target' ? { resourceType: resourceTypeOf(answer.id) } : {}) };
  });
  return { alert: { ...alert, targets }, pending: [...answers.values()].some((one) => one.passing) };
}

async function lookUp(
  { machinesNamed, target, log }: LookUpParts,
  name: string,
  signal: AbortSignal,
): Promise<{ answer: TargetAnswer; passing: boolean }> {
  const settled = (answer: TargetAnswer) => ({ answer, passing: false });
  const none = (detail: string): TargetAnswer => ({ kind: 'refused', reason: 'unknown-target', detail });
  const late = new ProviderError('unavailable', 'no answer in time');
  const looking = machinesNamed(name, signal).catch((error: unknown) => {
    if (error instanceof ProviderError) return error;
    log.error(`computer name ${name} could not be looked up`, { error });
    return new ProviderError('unavailable', 'the look-up failed', error);
  });
  const found = await beforeDeadline(looking, late, signal);
  if (found instanceof ProviderError) {
    const { code, message, retry } = found;
    return retry
      ? {
          answer: none(
            `Computer name ${name} could not be looked up now (${message}); it is tried again for a quarter of an hour`,
          ),
          passing: true,
        }
      : settled(none(`Computer name ${name} could not be looked up (${message}). ${providerErrors[code].next}`));
  }
  const [first, ...others] = found;
  if (first === undefined)
    return settled(none(`No machine of the configured subscriptions has the computer name ${name}`));
  if (others.length === 0) return settled(target(first));
  const shown = found.slice(0, shownMachines).join(', ');
  const more = found.length > shownMachines ? ` and ${found.length - shownMachines} more` : '';
  return settled({
    kind: 'refused',
    reason: 'ambiguous-target',
    detail: `${found.length} machines have the computer name ${name}: ${shown}${more}. Split the alert rule by the dimension _ResourceId`,
  });
}
