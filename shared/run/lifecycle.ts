import { parseBlobUrl, toBeginning, type BlobPath } from '../catalog/blob-path.ts';
import type { Catalog } from '../catalog/catalog.ts';
import type { Capture } from '../catalog/entry.ts';
import { beforeDeadline, type Clock } from '../clock.ts';
import type { Times } from '../config.ts';
import type { Log } from '../log.ts';
import {
  ProviderError,
  type Observation,
  type PreparedStart,
  type Provider,
  type ProviderName,
  type Session,
} from '../provider/provider.ts';
import type { WorkQueue } from '../storage/queue.ts';
import { advance, isFileTimeOver, mostMs, type RunEvent } from './machine.ts';
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
  /** Told of every change of a run after it was written; `before` is absent when the run is new. Must not throw. */
  changed: (after: Run, before?: Run) => void;
};

// All steps of one poll together may take this long.
const pollBudgetMs = 60_000;
const parallelSteps = 8;
const abandonedMs = 10 * 60_000;
// One change is followed for so long; poll is what comes after.
const followMs = 20_000;
// After so many attempts to remove a session somebody should look.
const removalAlarm = 10;
// A file that was seen and is not catalogued after this is handed to the queue again.
const fileRetryMs = 120_000;

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
   * Records a run (once under its id), queues its start, and starts it here if the cloud answers before the deadline; else the
   * queue does. `prepared` is what a look-up a moment ago found, or the error that it met.
   */
  async launch(
    run: Run,
    prepared: PreparedStart | ProviderError,
    deadline: AbortSignal,
  ): Promise<{ run: Run; created: boolean }> {
    const { runs, queue, times, log } = this.#parts;
    const recorded = await runs.create(run);
    if (!recorded.created) return recorded;
    this.#parts.changed(recorded.run);
    await queue.send({ run: run.id }, times.startDeadlineMs + 1000);
    log.info(`run accepted for ${run.target}`, { run: run.id, alert: run.trigger.alertId });
    const start = this.#start(recorded.run, prepared).catch((error: unknown) => {
      log.error('start failed; the queue will try again', { run: run.id, error });
      return recorded.run;
    });
    return { run: await beforeDeadline(start, recorded.run, deadline), created: true };
  }

  /**
   * Moves every open run one step, several at a time; one that hangs holds up nobody but itself. Costs by open runs, not by
   * history. What is not reached within the budget is first next time, since the order begins at a moving place.
   */
  async stepAll(): Promise<{ open: number; alarms: number }> {
    const { runs, clock, log } = this.#parts;
    const marks = await runs.open();
    const first = marks.length === 0 ? 0 : Math.floor(clock.now().getTime() / 1000) % marks.length;
    const waiting = [...marks.slice(first), ...marks.slice(0, first)];
    const budget = clock.timeout(pollBudgetMs);
    let alarms = 0;
    const worker = async (): Promise<void> => {
      for (let mark = waiting.shift(); mark !== undefined && !budget.aborted; mark = waiting.shift()) {
        try {
          const run = await this.step(mark.id);
          // A mark without a run: whoever wrote it died before writing the run.
          if (run === undefined && clock.now().getTime() - mark.at.getTime() > abandonedMs) await runs.dropMark(mark);
          if (run && needsSomebody(run)) alarms++;
        } catch (error) {
          // One run's trouble is no reason to leave the others alone.
          log.error('poll could not move a run on', { run: mark.id, error });
        }
      }
    };
    await Promise.all(Array.from({ length: parallelSteps }, worker));
    if (waiting.length > 0) log.warn(`poll ran out of time with ${waiting.length} of ${marks.length} runs left`);
    return { open: marks.length, alarms };
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

  /**
   * As step(), and goes on where the cloud needs several calls and some seconds for a change; in steps that anybody else may take as
   * well, so that it does not matter when this ends.
   */
  async follow(id: string): Promise<void> {
    const { clock, providers } = this.#parts;
    const enough = clock.timeout(followMs);
    for (;;) {
      const run = await this.step(id);
      const pauseMs = run && providers.get(run.provider)?.lookAgainMs;
      if (!run || pauseMs === undefined || enough.aborted) return;
      if (run.state !== 'starting' && run.state !== 'stopping') return;
      const pause = clock.timeout(pauseMs);
      await new Promise<void>((done) => pause.addEventListener('abort', () => done(), { once: true }));
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
    return isFinal(run.state) ? this.removeAgain(id) : run;
  }

  /** Removes the session of a run that is over, although that was done before or is to wait. */
  async removeAgain(id: string): Promise<Run> {
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
    const { clock, times } = this.#parts;
    const provider = this.#provider(run);
    switch (run.state) {
      case 'accepted': {
        const ticked = await this.#apply(run.id, { type: 'tick' });
        if (ticked.state !== 'accepted') return ticked;
        return this.#start(ticked);
      }
      case 'starting': {
        if (!run.session) throw new Error(`Run ${run.id} is starting without a session`);
        const seen = await provider.inspect(run.session, clock.timeout(times.callTimeoutMs));
        if (seen.phase === 'gone' && this.#since(run.askedAt) >= times.startRetryMs) {
          const ticked = await this.#apply(run.id, { type: 'tick' });
          // Somebody who asked since this look makes it stale: what is there now was not looked at.
          return ticked.state === 'starting' && ticked.askedAt === run.askedAt ? this.#start(ticked) : ticked;
        }
        await this.#apply(run.id, { type: 'observe', seen, looked: run.state });
        const ticked = await this.#apply(run.id, { type: 'tick' });
        if (seen.phase !== 'ready' || ticked.state !== 'starting') return ticked;
        if (seen.waitingFor === undefined) return this.#enable(ticked, provider);
        // Whoever made it may have died before all was told to those who are waited for.
        const isStale = ticked.askedAt === run.askedAt && this.#since(ticked.askedAt) >= times.startRetryMs;
        return isStale ? this.#start(ticked) : this.#apply(run.id, { type: 'delay', detail: seen.waitingFor });
      }
      case 'running':
      case 'stopping': {
        // Whatever the cloud says or fails to say of its state, our clock goes on, and a stop that is due is sent.
        const unheard = await this.#observe(run, provider);
        const ticked = await this.#apply(run.id, { type: 'tick' });
        if (ticked.state === 'stopping') return this.#askStop(ticked, provider);
        if (unheard) throw unheard;
        return ticked;
      }
      case 'collecting': {
        await this.#keepEnded(run, provider);
        await this.#lookForFile(run).catch((error: unknown) =>
          this.#parts.log.warn('could not look for the file', { run: run.id, error }),
        );
        // Before a run is given up on without a file: perhaps there is nothing left that could send one.
        if (run.files.length === 0 && isFileTimeOver(run, clock.now(), times)) {
          const told = await this.#lookForTarget(run);
          if (!told && this.#since(run.stoppedAt) < 2 * times.fileTimeoutMs) return run;
        }
        return this.#apply(run.id, { type: 'tick' });
      }
      case 'completed':
      case 'failed':
        return this.#removeSession(run, provider);
    }
  }

  /** Asks the cloud to start: look up and check, write that it is about to be asked, ask. */
  async #start(run: Run, prepared?: PreparedStart | ProviderError): Promise<Run> {
    const { clock, times, log } = this.#parts;
    const provider = this.#provider(run);
    try {
      if (prepared instanceof ProviderError) throw prepared;
      const start =
        prepared ??
        (await provider.prepare(
          { runId: run.id, target: run.target, capture: run.capture, limits: run.limits },
          clock.timeout(3 * times.callTimeoutMs),
        ));
      const askedBefore = run.askedAt;
      let mine = false;
      let before: Run | undefined;
      const asking = await this.#parts.runs.update(run.id, (current) => {
        before = current;
        // Only one mover asks: the one whose write finds the run as it was read.
        mine = (current.state === 'accepted' || current.state === 'starting') && current.askedAt === askedBefore;
        return mine ? advance(current, { type: 'ask', session: start.session }, clock.now(), times) : current;
      });
      if (!mine) return asking;
      this.#parts.changed(asking, before);
      const session = await provider.start(start, clock.timeout(3 * times.callTimeoutMs));
      log.info(`capture asked for: ${session.id.split('/').at(-1)}`, { run: run.id });
      const asked = await this.#apply(run.id, { type: 'asked', session });
      // Once: what has to be asked for again takes its time, and poll is enough.
      if (asking.firstAskedAt === asking.askedAt) await this.#haveFollowed(asked, provider);
      return asked;
    } catch (error) {
      if (!(error instanceof ProviderError)) throw error;
      return this.#notStarted(run, error);
    }
  }

  /** Tells a session that is there to capture: write that it is about to be told, tell it. */
  async #enable(run: Run, provider: Provider): Promise<Run> {
    const { clock, times, log } = this.#parts;
    // Told already, and it may just not show yet.
    if (!provider.enable || this.#since(run.enableAskedAt) < times.startRetryMs) return run;
    const askedBefore = run.enableAskedAt;
    let mine = false;
    const asking = await this.#parts.runs.update(run.id, (current) => {
      mine = current.state === 'starting' && current.enableAskedAt === askedBefore;
      return mine ? advance(current, { type: 'enable' }, clock.now(), times) : current;
    });
    if (!mine || !asking.session) return asking;
    this.#parts.changed(asking, run);
    try {
      const session = await provider.enable(asking.session, run.limits, clock.timeout(times.callTimeoutMs));
      log.info(`session ${session.id} is told to capture`, { run: run.id });
      const asked = await this.#apply(run.id, { type: 'asked', session });
      // Stopped by somebody meanwhile, who may have come first.
      if (asked.state !== 'starting' && asked.state !== 'running')
        await provider.stop(session, clock.timeout(times.callTimeoutMs));
      return asked;
    } catch (error) {
      if (!(error instanceof ProviderError)) throw error;
      return this.#notStarted(run, error);
    }
  }

  async #notStarted(run: Run, error: ProviderError): Promise<Run> {
    const { code, message, retry, next } = error;
    this.#parts.log.warn(`start: ${message}`, { run: run.id });
    return this.#apply(
      run.id,
      retry ? { type: 'delay', detail: message } : { type: 'refuse', code, detail: message, next },
    );
  }

  /** Where nothing tells that a change is done, poll would be the first to see it: so somebody is to follow it. */
  async #haveFollowed(run: Run, { lookAgainMs }: Provider): Promise<void> {
    if (lookAgainMs !== undefined) await this.#parts.queue.send({ run: run.id }, lookAgainMs);
  }

  /** What has no end of its own is looked at until its files are there: should it capture again, it is stopped again. */
  async #keepEnded(run: Run, provider: Provider): Promise<void> {
    const { clock, times, log } = this.#parts;
    if (!run.session?.endless) return;
    try {
      const seen = await provider.inspect(run.session, clock.timeout(times.callTimeoutMs));
      if (seen.phase !== 'running') return;
      log.warn('the session captures although its run is over; it is stopped again', { run: run.id });
      await provider.stop(seen.session, clock.timeout(times.callTimeoutMs));
    } catch (error) {
      log.warn('could not see that the session is still stopped', { run: run.id, error });
    }
  }

  /** Tells the run what the cloud says of its session; gives back the error when the cloud says nothing. */
  async #observe(run: Run, provider: Provider): Promise<ProviderError | undefined> {
    if (!run.session) return undefined;
    let seen: Observation;
    try {
      seen = await provider.inspect(run.session, this.#parts.clock.timeout(this.#parts.times.callTimeoutMs));
    } catch (error) {
      // Whatever it is, it is no reason for our clock to stand still.
      return error instanceof ProviderError
        ? error
        : new ProviderError('unavailable', 'The state could not be read', error);
    }
    await this.#apply(run.id, { type: 'observe', seen, looked: run.state });
    return undefined;
  }

  /** Asks for the end, again from time to time; once the alarm was raised, by removing the session, which ends it as well. */
  async #askStop(run: Run, provider: Provider): Promise<Run> {
    const { clock, times } = this.#parts;
    if (!run.session || (run.stopAskedAt !== undefined && this.#since(run.stopAskedAt) < times.stopRetryMs)) return run;
    let session = run.session;
    if (run.alarmedAt !== undefined) await provider.remove(session, clock.timeout(times.callTimeoutMs));
    else session = await provider.stop(session, clock.timeout(times.callTimeoutMs));
    const asked = await this.#apply(run.id, { type: 'stop-asked', session });
    await this.#haveFollowed(asked, provider);
    return asked;
  }

  /**
   * The event of a file can be lost, so awaited files are also looked for where they must come. Reading them is left to the
   * queue, and what was handed over is not looked for again at once.
   */
  async #lookForFile(run: Run): Promise<void> {
    const { accounts, catalog, runs, queue, times, log } = this.#parts;
    if (!run.session?.storagePath) {
      // A session whose path is still unknown ended before it was read once: ask again.
      if (run.session && expectsFile(run)) await this.#learnPath(run);
      return;
    }
    const at = claimOf(run.session);
    if (!at) return;
    // The claim follows the path's being known in a second write, which a crash may have kept from happening.
    if ((await runs.claimant(at.container, at.blob)) === undefined) await runs.claim(at.container, at.blob, run.id);
    const { account, manyFiles } = run.session;
    const retryMs = Math.min(fileRetryMs, times.fileTimeoutMs / 4, manyFiles ? times.filesSettleMs / 2 : fileRetryMs);
    if (run.fileSeenAt !== undefined && this.#since(run.fileSeenAt) < retryMs) return;
    for (const name of account !== undefined && accounts.includes(account) ? [account] : accounts) {
      try {
        const found = manyFiles
          ? await catalog.missing(name, at.container, at.blob, run)
          : (await catalog.exists(name, at.container, at.blob))
            ? [at.blob]
            : [];
        if (found.length === 0) continue;
        await this.#apply(run.id, { type: 'file-seen' });
        for (const blob of found) await queue.send({ account: name, container: at.container, blob }, 0);
      } catch (error) {
        // Another account may well be to be had.
        log.warn(`could not look for the file in ${name}`, { run: run.id, error });
      }
    }
  }

  /** Whether the machine is there was told; that it is gone is noted. */
  async #lookForTarget(run: Run): Promise<boolean> {
    const { clock, times, log } = this.#parts;
    try {
      const there = await this.#provider(run).targetExists(run.target, clock.timeout(times.callTimeoutMs));
      if (!there) await this.#apply(run.id, { type: 'target-gone' });
      return true;
    } catch (error) {
      log.warn('could not see whether the machine is still there', { run: run.id, error });
      return !(error instanceof ProviderError && error.retry);
    }
  }

  async #learnPath(run: Run): Promise<void> {
    if (!run.session) return;
    const { status: _, ...unread } = run.session;
    const seen = await this.#provider(run).inspect(unread, this.#parts.clock.timeout(this.#parts.times.callTimeoutMs));
    if ('session' in seen && seen.session.storagePath)
      await this.#apply(run.id, { type: 'asked', session: { ...seen.session, status: run.session.status } });
  }

  async #removeSession(run: Run, provider: Provider): Promise<Run> {
    const { clock, times, log } = this.#parts;
    if (!run.session) return this.#apply(run.id, { type: 'removed' });
    const { removal } = run;
    // Asked again ever more rarely: a cloud that refuses for good must not cost a call per poll for ever.
    const waitMs = Math.min(times.stopRetryMs * Math.max(1, removal?.attempts ?? 0), 3_600_000);
    if (removal !== undefined && removal.attempts > 0 && this.#since(removal.askedAt) < waitMs) return run;
    const asked = await this.#apply(run.id, { type: 'removal-asked' });
    if (asked.removal?.attempts === removalAlarm)
      log.error('the session is still in the cloud after many attempts to remove it; look at it in the portal', {
        run: run.id,
      });
    return (await provider.remove(run.session, clock.timeout(times.callTimeoutMs)))
      ? this.#apply(run.id, { type: 'removed' })
      : asked;
  }

  /** Applies an event, and ties the run's file to it as soon as its path is known. */
  async #apply(id: string, event: RunEvent): Promise<Run> {
    const { runs, queue, clock, times, log } = this.#parts;
    let before: Run | undefined;
    const after = await runs.update(id, (run) => {
      before = run;
      return advance(run, event, clock.now(), times);
    });
    if (after.session?.storagePath !== undefined && before?.session?.storagePath !== after.session.storagePath) {
      const at = claimOf(after.session);
      if (at) await runs.claim(at.container, at.blob, id);
    }
    if (before !== undefined && before !== after) this.#parts.changed(after, before);
    if (before && before.state !== after.state) {
      log.info(`run ${before.state} -> ${after.state}${after.verdict ? `: ${after.verdict.summary}` : ''}`, {
        run: id,
      });
      // Our own end of its time; poll is the safety net behind it.
      if (after.state === 'running') await queue.send({ run: id }, Math.max(0, timeLeftMs(after, clock.now(), times)));
    }
    if (before?.alarmedAt !== after.alarmedAt)
      log.error('a stop is not confirmed; the session may still be capturing', { run: id });
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

/** Where the files of a session will lie: one path, or how the paths of all of them begin. */
function claimOf({ storagePath, manyFiles }: Session): BlobPath | undefined {
  const at = storagePath === undefined ? undefined : parseBlobUrl(storagePath);
  return at && manyFiles ? { ...at, blob: toBeginning(at.blob) } : at;
}

function timeLeftMs(run: Run, now: Date, times: Times): number {
  return Date.parse(run.startedAt ?? run.createdAt) + mostMs(run, times) - now.getTime();
}

function needsSomebody(run: Run): boolean {
  return (
    (run.state === 'stopping' && run.alarmedAt !== undefined) ||
    (!run.removal?.done && (run.removal?.attempts ?? 0) >= removalAlarm)
  );
}

function toFile(capture: Capture): RunFile {
  return { id: capture.id, packets: capture.packets, bytes: capture.bytes, verdict: capture.verdict.code };
}
