import { createHash } from 'node:crypto';
import type { Errors } from './errors.ts';
import { log } from './log.ts';
import type { Recording } from './recording.ts';
import type { Sessions } from './sessions.ts';
import { SwitchError, type MirrorSwitch } from './switch.ts';

const FIRST_DELAY_MS = 500;
const LONGEST_DELAY_MS = 60_000;
/** How long an accepted request may take to show. */
const EFFECT_MS = 60_000;

export type SwitchingOptions = {
  sessions: Sessions;
  mirror: MirrorSwitch;
  errors: Errors;
  /** How long after it was switched off packets of a session may still be under way. */
  graceMs: number;
  now: () => number;
  /** Reports how things are, or gives up soon: whoever sees the session off is to know why. */
  report: () => Promise<void>;
  /** @throws an AbortError when there is no more waiting, since the process ends */
  delay: (ms: number) => Promise<void>;
};

/**
 * Switches sessions off that go on mirroring when they should have stopped: the app would have done so, but may be gone. Goes on
 * until the cloud says that the session is off, or the list does not want it off any more.
 */
export class Switching {
  readonly #options: SwitchingOptions;
  readonly #busy = new Set<Recording>();
  readonly #offAt = new WeakMap<Recording, number>();

  constructor(options: SwitchingOptions) {
    this.#options = options;
  }

  /** Starts what is due. */
  tick(nowMs: number): void {
    const { sessions, graceMs, errors } = this.#options;
    for (const recording of sessions.overdue(nowMs)) {
      const offAt = this.#offAt.get(recording);
      const late = offAt !== undefined && (recording.overdueMs ?? 0) < offAt + graceMs;
      if (late || this.#busy.has(recording)) continue;
      this.#busy.add(recording);
      void this.#switchOff(recording)
        .catch((error: unknown) => {
          if ((error as Error).name !== 'AbortError') errors.set('switch', String(error), recording.session);
        })
        .finally(() => this.#busy.delete(recording));
    }
  }

  async #switchOff(recording: Recording): Promise<void> {
    const { mirror, sessions, errors, now, delay } = this.#options;
    const { session, run, ledger, entry } = recording;
    if (!entry) return;
    await this.#options.report();
    const isWanted = () => sessions.isOver(recording, now());
    log(`${session}: packets still come, so it is switched off`);
    while (isWanted()) {
      const token = tokenOf(run, session, ledger.switchRound);
      if (!(await this.#insist(session, 'to disable it', isWanted, () => mirror.disable(entry.region, session, token))))
        break;
      log(`${session}: the request to disable it was accepted`);
      const until = now() + EFFECT_MS;
      for (let wait = FIRST_DELAY_MS; now() < until; wait = Math.min(2 * wait, 10_000)) {
        const answer = await this.#insist(session, 'to look at it', isWanted, () =>
          mirror.isEnabled(entry.region, session),
        );
        if (answer?.value === false) {
          this.#isOff(recording);
          return;
        }
        if (!answer) break;
        log(`${session}: still enabled`);
        await delay(wait);
      }
      // The request was accepted and had no effect, or somebody switched it on again: the same token would do nothing more.
      ledger.switchRound += 1;
      recording.remember();
    }
    log(`${session}: need not be switched off any more`);
    errors.clear('switch', session);
  }

  #isOff(recording: Recording): void {
    const { errors, now } = this.#options;
    recording.ledger.disabledAt = new Date(now()).toISOString();
    // Should it come on again, that is another request.
    recording.ledger.switchRound += 1;
    recording.remember();
    recording.overdueMs = undefined;
    this.#offAt.set(recording, now());
    errors.clear('switch', recording.session);
    log(`${recording.session}: is off`);
  }

  /** Tries until it works; undefined when it is not wanted any more. */
  async #insist<T>(
    session: string,
    what: string,
    isWanted: () => boolean,
    act: () => Promise<T>,
  ): Promise<{ value: T } | undefined> {
    const { errors, delay } = this.#options;
    for (let attempt = 1, wait = FIRST_DELAY_MS; isWanted(); attempt++, wait = Math.min(2 * wait, LONGEST_DELAY_MS)) {
      try {
        return { value: await act() };
      } catch (error) {
        if (!(error instanceof SwitchError)) throw error;
        log(`${session}: attempt ${attempt} ${what} failed: ${error.message}`);
        errors.set(
          'switch',
          `${session} still mirrors and cannot be switched off (${error.message}); tried again and again. Disable it by hand, and ` +
            "see that the collector's role may call ListTrafficMirrorSessions and UpdateTrafficMirrorSessionAttribute",
          session,
        );
        await delay(wait);
      }
    }
    return undefined;
  }
}

/** At most 64 ASCII characters, the same for the same request whatever process makes it. */
function tokenOf(run: string, session: string, round: number): string {
  const hash = createHash('sha256').update(`${run}/${session}/${round}`).digest('hex');
  return `tripcap-off-${hash.slice(0, 40)}`;
}
