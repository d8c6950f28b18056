import { beforeDeadline, type Clock } from '../clock.ts';
import type { Times } from '../config.ts';
import { deriveId } from '../id.ts';
import {
  ProviderError,
  type CaptureRequest,
  type Limits,
  type PreparedStart,
  type Provider,
  type ProviderName,
  type TargetAnswer,
} from '../provider/provider.ts';
import type { Ignored } from '../rule/plan.ts';
import type { Rule } from '../rule/rule.ts';
import type { Admission } from './admission.ts';
import type { Lifecycle } from './lifecycle.ts';
import type { Run, Trigger } from './run.ts';
import type { RunStore } from './store.ts';

export type LauncherParts = {
  runs: RunStore;
  admission: Admission;
  lifecycle: Lifecycle;
  providers: ReadonlyMap<ProviderName, Provider>;
  clock: Clock;
  times: Times;
  /** W3C traceparent of what is being done at this moment. */
  trace: () => string | undefined;
};

/** What is to be captured; `idParts` make the run's id, so that the same request gives the same run. `target` is canonical. */
export type LaunchRequest = { idParts: string[]; target: string; trigger: Trigger; requestHash?: string } & (
  | { rule: Rule }
  | { rule?: undefined; capture: CaptureRequest; limits: Limits }
);

export type Launched = { run: Run; created: boolean; ignored?: undefined } | { ignored: Ignored };

/** The one way in for alerts, schedules and runbooks: look the target up, ask for admission, record and start. */
export class Launcher {
  readonly #parts: LauncherParts;

  constructor(parts: LauncherParts) {
    this.#parts = parts;
  }

  /** The canonical form of a target, of any configured cloud or of the one that is named, or why it cannot be captured. */
  target(id: string, where: { provider?: ProviderName; region?: string | undefined } = {}): TargetAnswer {
    for (const provider of this.#parts.providers.values()) {
      if (where.provider !== undefined && where.provider !== provider.name) continue;
      const answer = provider.target(id, where.region);
      if (answer) return answer;
    }
    return {
      kind: 'refused',
      reason: 'unsupported-target',
      detail: `"${id.slice(0, 200)}" is not the id of a machine of a configured cloud`,
    };
  }

  /** The id that a run made of these parts has. */
  idOf(idParts: string[]): string {
    return deriveId('run', ...idParts);
  }

  async launch(request: LaunchRequest): Promise<Launched> {
    const { runs, admission, lifecycle, clock, times } = this.#parts;
    const { target, rule, trigger } = request;
    const id = this.idOf(request.idParts);
    const existing = await runs.get(id);
    if (existing) return { run: existing, created: false };
    const provider = this.#providerOf(target);
    const capture = rule ? rule.capture : request.capture;
    const limits: Limits = rule
      ? { durationSeconds: rule.limits.durationSeconds, sizeBytes: rule.limits.sizeBytes }
      : request.limits;
    const deadline = clock.timeout(times.startDeadlineMs);
    // Half of what the caller may wait: the other half is for the start itself.
    const prepared = await prepare(
      provider,
      { runId: id, target, capture, limits },
      clock.timeout(times.startDeadlineMs / 2),
    );
    if (prepared instanceof ProviderError && prepared.code === 'target-not-found') {
      return {
        ignored: { ...(rule ? { rule: rule.name } : {}), target, reason: 'unknown-target', detail: prepared.message },
      };
    }
    const now = clock.now();
    const trace = this.#parts.trace();
    const refusal = rule && (await admission.refusal(rule, target, id, now));
    if (refusal) return { ignored: refusal };
    const run: Run = {
      id,
      provider: provider.name,
      target,
      state: 'accepted',
      trigger,
      capture,
      limits,
      stopOnResolve: rule?.limits.stopOnResolve ?? false,
      ...(trace === undefined ? {} : { trace }),
      ...(request.requestHash === undefined ? {} : { requestHash: request.requestHash }),
      files: [],
      createdAt: now.toISOString(),
      timeline: [{ at: now.toISOString(), event: 'created', ...(trigger.reason ? { detail: trigger.reason } : {}) }],
    };
    return lifecycle.launch(run, prepared, deadline);
  }

  #providerOf(target: string): Provider {
    for (const provider of this.#parts.providers.values()) {
      if (provider.target(target)?.kind === 'target') return provider;
    }
    throw new ProviderError('invalid', `No provider takes ${target}`);
  }
}

/** What the look-up found in time, or the error that it met: a cloud that is out of reach is no reason to lose the run. */
async function prepare(
  provider: Provider,
  run: Parameters<Provider['prepare']>[0],
  signal: AbortSignal,
): Promise<PreparedStart | ProviderError> {
  const looking = provider.prepare(run, signal).catch((error: unknown) => {
    if (error instanceof ProviderError) return error;
    throw error;
  });
  return beforeDeadline(looking, new ProviderError('unavailable', 'Looking the machine up: no answer in time'), signal);
}
