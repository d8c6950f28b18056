import { parseBlobUrl } from '../catalog/blob-path.ts';
import type { Catalog } from '../catalog/catalog.ts';
import type { Capture } from '../catalog/entry.ts';
import type { Clock } from '../clock.ts';
import type { Times } from '../config.ts';
import type { Log } from '../log.ts';
import { ProviderError, type PreparedStart, type Provider, type ProviderName } from '../provider/provider.ts';
import type { WorkQueue } from '../storage/queue.ts';
import { advance, type RunEvent } from './machine.ts';
import { expectsFile, isFinal, isOpen, type Run, type RunFile, type StopReason } from './run.ts';
import type { RunStore } from './store.ts';

export type LifecycleParts = {
  runs: RunStore;
  providers: ReadonlyMap<ProviderName, Provider>;
  catalog: Catalog;
  /** Storage accounts in which files may appear. */
  accounts: readonly string[];
  queue: WorkQueue;
  clock: Clock;
  times: Times;
  log: Log;
};

// Calls on a cloud that nobody waits for may take this long.
const callTimeoutMs = 30_000;
const parallelSteps = 8;
const abandonedMs = 10 * 60_000;

/**
 * Moves runs on. Every effect is preceded by a conditional write that says it is about to happen, so that whoever comes after a
 * crash (queue message, poll) knows what may have been asked of the cloud, and two movers of one run do not both ask.
 */
export class Lifecycle {
  readonly #parts: LifecycleParts;

  constructor(parts: LifecycleParts) {
    this.#parts = parts;
  }

  /**
   * Records a run (once under its id), queues its start, and starts it here if the cloud answers in time; else the queue does.
   * `prepared` is what a look-up a moment ago found, or the error that it met.
   */
  async launch(run: Run, prepared?: PreparedStart | ProviderError): Promise<{ run: Run; created: boolean }> {
    const { runs, queue, times, clock, log } = this.#parts;
    const recorded = await runs.create(run);
    if (!recorded.created) return recorded;
    // Should this process die before these two: poll finds the run by its mark, and an accepted run is indexed again.
    await Promise.all([runs.index(run), queue.send({ run: run.id }, times.startDeadlineMs + 1000)]);
    log.info(`run accepted for ${run.target}`, { run: run.id, alert: run.trigger.alertId });
    const start = this.#start(recorded.run, prepared).catch((error: unknown) => {
      log.error('start failed; the queue will try again', { run: run.id, error });
      return recorded.run;
    });
    return { run: await beforeDeadline(start, recorded.run, clock.timeout(times.startDeadlineMs)), created: true };
  }

  /** Moves every open run one step. Costs by open runs, not by history. Says how many are open. */
  async stepAll(): Promise<number> {
    const { runs, clock, log } = this.#parts;
    const marks = await runs.open();
    for (let i = 0; i < marks.length; i += parallelSteps) {
      await Promise.all(
        marks.slice(i, i + parallelSteps).map(async ({ id, at }) => {
          try {
            const run = await this.step(id);
            // A mark without a run: whoever wrote it died before writing the run.
            if (run === undefined && clock.now().getTime() - at.getTime() > abandonedMs) await runs.close(id);
          } catch (error) {
            // One run's trouble is no reason to leave the others alone.
            log.error('poll could not move a run on', { run: id, error });
          }
        }),
      );
    }
    return marks.length;
  }

  /** Moves a run one step, whatever it needs. Safe to call at any time and from several places at once. */
  async step(id: string): Promise<Run | undefined> {
    const { runs, log } = this.#parts;
    const run = await runs.get(id);
    if (!run) return undefined;
    if (!isOpen(run)) {
      await runs.close(id);
      return run;
    }
    try {
      return await this.#stepOf(run);
    } catch (error) {
      if (!(error instanceof ProviderError)) throw error;
      log.warn(`${run.state}: ${error.message}`, { run: id, error: error.cause });
      // The cloud is not to be had, but our own clock goes on.
      return this.#apply(id, { type: 'tick' });
    }
  }

  /** Ends a run. Ending what has ended changes nothing. The cloud is asked at once if it answers in time, else by poll. */
  async stop(id: string, reason: StopReason, detail?: string): Promise<Run> {
    const { clock, times, log } = this.#parts;
    const run = await this.#apply(id, { type: 'stop', reason, ...(detail === undefined ? {} : { detail }) });
    if (run.state !== 'stopping') return run;
    const stopping = this.step(id).catch((error: unknown) => {
      log.warn('stop not sent; poll will try again', { run: id, error });
      return run;
    });
    return (await beforeDeadline(stopping, run, clock.timeout(times.startDeadlineMs))) ?? run;
  }

  /** Takes the run's session out of the cloud; an open run is stopped first. Files and history stay. */
  async remove(id: string): Promise<Run> {
    const run = await this.stop(id, 'operator', 'Its removal was asked for');
    if (!isFinal(run.state)) return run;
    const reopened = await this.#apply(id, { type: 'remove-again' });
    return isOpen(reopened) ? ((await this.step(id)) ?? reopened) : reopened;
  }

  /** Catalogues a file and tells the run that claims it. */
  async addFile(account: string, container: string, blob: string): Promise<Capture | undefined> {
    const { catalog, runs } = this.#parts;
    const capture = await catalog.add(account, container, blob);
    if (capture?.runId === undefined || !(await runs.get(capture.runId))) return capture;
    const run = await this.#apply(capture.runId, { type: 'file', file: toFile(capture) });
    // Completed with the session still in the cloud: remove it now, poll need not come first.
    if (isFinal(run.state) && isOpen(run) && run.removal === undefined) await this.step(run.id);
    return capture;
  }

  async #stepOf(run: Run): Promise<Run> {
    const { runs, clock } = this.#parts;
    const provider = this.#provider(run);
    const signal = clock.timeout(callTimeoutMs);
    switch (run.state) {
      case 'accepted': {
        const ticked = await this.#apply(run.id, { type: 'tick' });
        if (ticked.state !== 'accepted') return ticked;
        await runs.index(run);
        return this.#start(ticked);
      }
      case 'starting': {
        if (!run.session) throw new Error(`Run ${run.id} is starting without a session`);
        const seen = await provider.inspect(run.session, signal);
        if (seen.phase === 'gone' && this.#since(run.askedAt) >= this.#parts.times.startRetryMs) {
          const ticked = await this.#apply(run.id, { type: 'tick' });
          return ticked.state === 'starting' ? this.#start(ticked) : ticked;
        }
        await this.#apply(run.id, { type: 'observe', seen });
        return this.#apply(run.id, { type: 'tick' });
      }
      case 'running': {
        if (run.session)
          await this.#apply(run.id, { type: 'observe', seen: await provider.inspect(run.session, signal) });
        const ticked = await this.#apply(run.id, { type: 'tick' });
        return ticked.state === 'stopping' ? this.#askStop(ticked, provider, signal) : ticked;
      }
      case 'stopping': {
        if (!run.session) return run;
        const observed = await this.#apply(run.id, {
          type: 'observe',
          seen: await provider.inspect(run.session, signal),
        });
        if (observed.state !== 'stopping') return observed;
        await this.#apply(run.id, { type: 'tick' });
        return this.#askStop(observed, provider, signal);
      }
      case 'collecting': {
        await this.#lookForFile(run);
        return this.#apply(run.id, { type: 'tick' });
      }
      case 'completed':
      case 'failed':
        return this.#removeSession(run, provider, signal);
    }
  }

  /** Asks the cloud to start: look up and check, write that it is about to be asked, ask. */
  async #start(run: Run, prepared?: PreparedStart | ProviderError): Promise<Run> {
    const { clock, queue, times, log } = this.#parts;
    const provider = this.#provider(run);
    const signal = clock.timeout(callTimeoutMs);
    try {
      if (prepared instanceof ProviderError) throw prepared;
      const start =
        prepared ??
        (await provider.prepare(
          { runId: run.id, target: run.target, capture: run.capture, limits: run.limits },
          signal,
        ));
      const askedBefore = run.askedAt;
      let mine = false;
      const asking = await this.#parts.runs.update(run.id, (current) => {
        // Only one mover asks: the one whose write finds the run as it was read.
        mine = (current.state === 'accepted' || current.state === 'starting') && current.askedAt === askedBefore;
        return mine ? advance(current, { type: 'ask', session: start.session }, clock.now(), times) : current;
      });
      if (!mine) return asking;
      const [session] = await Promise.all([
        provider.start(start, signal),
        queue.send({ run: run.id }, run.limits.durationSeconds * 1000 + times.limitGraceMs),
      ]);
      log.info(`capture asked for: ${session.id.split('/').at(-1)}`, { run: run.id });
      return await this.#apply(run.id, { type: 'asked', session });
    } catch (error) {
      if (!(error instanceof ProviderError)) throw error;
      log.warn(`start: ${error.message}`, { run: run.id });
      return this.#apply(
        run.id,
        error.retry
          ? { type: 'delay', detail: error.message }
          : { type: 'refuse', code: error.code, detail: error.message },
      );
    }
  }

  async #askStop(run: Run, provider: Provider, signal: AbortSignal): Promise<Run> {
    if (!run.session || (run.stopAskedAt !== undefined && this.#since(run.stopAskedAt) < this.#parts.times.stopRetryMs))
      return run;
    await provider.stop(run.session, signal);
    return this.#apply(run.id, { type: 'stop-asked' });
  }

  /** The event of a file can be lost, so an awaited file is also looked for where it must come. */
  async #lookForFile(run: Run): Promise<void> {
    const { accounts } = this.#parts;
    if (!run.session?.storagePath) {
      // A session whose path is still unknown ended before it was read once: ask again.
      if (run.session && expectsFile(run)) await this.#learnPath(run);
      return;
    }
    const at = parseBlobUrl(run.session.storagePath);
    if (!at) return;
    // The claim follows the path's being known in a second write, which a crash may have kept from happening.
    if ((await this.#parts.runs.claimant(at.container, at.blob)) === undefined)
      await this.#parts.runs.claim(at.container, at.blob, run.id);
    for (const account of accounts) await this.addFile(account, at.container, at.blob);
  }

  async #learnPath(run: Run): Promise<void> {
    if (!run.session) return;
    const { status: _, ...unread } = run.session;
    const seen = await this.#provider(run).inspect(unread, this.#parts.clock.timeout(callTimeoutMs));
    if ('session' in seen && seen.session.storagePath)
      await this.#apply(run.id, { type: 'asked', session: { ...seen.session, status: run.session.status } });
  }

  async #removeSession(run: Run, provider: Provider, signal: AbortSignal): Promise<Run> {
    if (!run.session) return this.#apply(run.id, { type: 'removed' });
    const { removal } = run;
    // Asked again ever more rarely: a cloud that refuses for good must not cost a call per poll for ever.
    const waitMs = Math.min(this.#parts.times.stopRetryMs * Math.max(1, removal?.attempts ?? 0), 3_600_000);
    if (removal !== undefined && removal.attempts > 0 && this.#since(removal.askedAt) < waitMs) return run;
    await this.#apply(run.id, { type: 'removal-asked' });
    return (await provider.remove(run.session, signal)) ? this.#apply(run.id, { type: 'removed' }) : run;
  }

  /** Applies an event, and ties the run's file to it as soon as its path is known. */
  async #apply(id: string, event: RunEvent): Promise<Run> {
    const { runs, clock, times, log } = this.#parts;
    let before: Run | undefined;
    const after = await runs.update(id, (run) => {
      before = run;
      return advance(run, event, clock.now(), times);
    });
    if (after.session?.storagePath !== undefined && before?.session?.storagePath !== after.session.storagePath) {
      const at = parseBlobUrl(after.session.storagePath);
      if (at) await runs.claim(at.container, at.blob, id);
    }
    if (before && before.state !== after.state)
      log.info(`run ${before.state} -> ${after.state}${after.verdict ? `: ${after.verdict.summary}` : ''}`, {
        run: id,
      });
    return after;
  }

  #provider(run: Run): Provider {
    const provider = this.#parts.providers.get(run.provider);
    if (!provider) throw new ProviderError('invalid', `The provider ${run.provider} is not configured any more`);
    return provider;
  }

  #since(at: string | undefined): number {
    return at === undefined ? Number.POSITIVE_INFINITY : this.#parts.clock.now().getTime() - Date.parse(at);
  }
}

function toFile(capture: Capture): RunFile {
  return { id: capture.id, packets: capture.packets, bytes: capture.bytes, verdict: capture.verdict.code };
}

/** What `work` gives if it is done before the signal aborts, else `fallback`; the work goes on either way. */
async function beforeDeadline<T>(work: Promise<T>, fallback: T, signal: AbortSignal): Promise<T> {
  return Promise.race([
    work,
    new Promise<T>((resolve) => {
      if (signal.aborted) resolve(fallback);
      else signal.addEventListener('abort', () => resolve(fallback), { once: true });
    }),
  ]);
}
