import { randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { ringOfFiles, singleFile, type CaptureFiles } from './capture-files.ts';
import { faultsOf, type MachineFaults } from './faults.ts';
import { parseFilter } from './filter.ts';
import { startGenerator } from './generator.ts';
import { log } from './log.ts';
import type { BoundService } from './network.ts';
import type { Recorder, Recording } from './recorder.ts';
import type { Session, State } from './state.ts';
import { ringName } from './storage-path.ts';
import { endLeftover, startTcpdump } from './tcpdump.ts';
import type { Uploads } from './upload.ts';

/**
 * The Network Watcher agent of every emulated VM: records packets, ends a session at its limits, and delivers the files
 * some time after its end. Sessions survive the process: what was running goes on for its remaining time.
 */
export type AgentOptions = {
  directory: string;
  state: State;
  uploads: Uploads;
  services: BoundService[];
  tcpdump: boolean;
  live: string | undefined;
  /** From the end of a session until its file arrives. */
  uploadDelayMs: number;
};

export type Order = Pick<
  Session,
  | 'label'
  | 'names'
  | 'filters'
  | 'snapLength'
  | 'limitBytes'
  | 'limitSeconds'
  | 'ringFiles'
  | 'destination'
  | 'keep'
  | 'startAt'
>;

type Outcome = { stopReason?: string; errors?: string[]; lost?: true };

/** The part of a session that only this process has. */
type Live = { starting: Promise<void>; files?: CaptureFiles; recorder?: Recorder; ended?: Promise<void> };

// Recorded stop reasons.
export const MANUAL: Outcome = { stopReason: 'Manual' };
const TIME_EXCEEDED: Outcome = { stopReason: 'TimeExceeded' };
const AGENT_STOPPED: Outcome = { stopReason: 'Error', errors: ['AgentStopped'] };
// GUESS: what a capture says whose VM is deleted; that its file is lost follows from how it would have been sent.
const MACHINE_GONE: Outcome = { ...AGENT_STOPPED, lost: true };

const UPLOAD_RETRY_MS = 2_000;

export class Agent {
  readonly #options: AgentOptions;
  readonly #live = new Map<string, Live>();
  readonly #uploading = new Set<string>();

  constructor(options: AgentOptions) {
    this.#options = options;
    mkdirSync(this.#directory, { recursive: true });
    for (const session of this.#sessions()) {
      if (session.process) endLeftover(session.process);
      delete session.process;
    }
  }

  accept(order: Order): Session {
    const session: Session = { ...order, id: randomUUID(), phase: 'pending', errors: [], bytes: 0, packets: 0 };
    this.#options.state.content.sessions[session.id] = session;
    return session;
  }

  /** Does what is due. To be called all the time. */
  tick(now: number): void {
    for (const session of this.#sessions()) {
      const faults = this.#faults(session);
      switch (session.phase) {
        case 'pending':
          if (faults.machine !== 'present') void this.end(session.id, MACHINE_GONE);
          else if (session.startAt <= now && faults.create !== 'stuck') this.#begin(session);
          break;
        case 'running':
          this.#continue(session, faults, now);
          break;
        case 'ended':
          if (faults.machine !== 'present') session.lost = true;
          if (faults.upload !== 'never' && (session.uploadAt ?? 0) <= now) void this.#deliver(session, faults);
          break;
        case 'done':
          if (session.released) delete this.#options.state.content.sessions[session.id];
          break;
      }
    }
  }

  /** Ends a session, once; resolves when its files are complete. A machine that nobody reaches does not stop. */
  async end(id: string, outcome: Outcome): Promise<void> {
    const session = this.#options.state.content.sessions[id];
    if (!session || session.phase === 'ended' || session.phase === 'done') return;
    if (session.phase === 'running' && this.#faults(session).machine === 'gone-running') return;
    const live = this.#live.get(id) ?? { starting: Promise.resolve() };
    this.#live.set(id, live);
    live.ended ??= this.#end(session, live, outcome);
    await live.ended;
  }

  /** The capture was deleted: its sessions are forgotten when their files have arrived. */
  release(id: string): void {
    const session = this.#options.state.content.sessions[id];
    if (session) session.released = true;
  }

  /** Stops recording without ending any session: the next process goes on with them. */
  async suspend(): Promise<void> {
    await Promise.all([...this.#live.values()].map(pause));
  }

  get #directory(): string {
    return join(this.#options.directory, 'captures');
  }

  #sessions(): Session[] {
    return Object.values(this.#options.state.content.sessions);
  }

  #faults(session: Session): MachineFaults {
    return faultsOf(this.#options.state.content.faults, session.names);
  }

  #continue(session: Session, faults: MachineFaults, now: number): void {
    switch (faults.machine) {
      case 'gone':
        void this.end(session.id, MACHINE_GONE);
        return;
      case 'gone-running': {
        // Nothing is heard of it any more, and so nothing changes.
        const live = this.#live.get(session.id);
        if (live) void pause(live).then(() => live.files?.close(session.snapLength));
        this.#live.delete(session.id);
        return;
      }
      case 'present':
    }
    if (faults.errors.length > 0) {
      const lost = faults.errors.includes('StorageFailed') ? { lost: true as const } : {};
      void this.end(session.id, { stopReason: 'Error', errors: faults.errors, ...lost });
    } else if (faults.limits === 'normal' && limitAt(session) <= now) {
      void this.end(session.id, TIME_EXCEEDED);
    } else {
      this.#begin(session);
    }
  }

  #begin(session: Session): void {
    if (this.#live.has(session.id)) return;
    const live: Live = { starting: Promise.resolve() };
    this.#live.set(session.id, live);
    live.starting = this.#record(session, live).catch((error: unknown) => {
      log('agent', `${session.label}: ${(error as Error).message}`);
      void this.end(session.id, AGENT_STOPPED);
    });
  }

  async #record(session: Session, live: Live): Promise<void> {
    const { services, live: iface, state } = this.#options;
    const resumed = session.phase === 'running';
    const files = this.#open(session);
    live.files = files;
    session.source ??= this.#options.tcpdump ? 'tcpdump' : 'generator';
    if (session.source === 'tcpdump' && !this.#options.tcpdump) throw new Error('tcpdump is not there any more');
    const recording: Recording = {
      filters: session.filters.flatMap((filter) => parseFilter(filter) ?? []),
      services,
      snapLength: session.snapLength,
      limitSeconds: session.limitSeconds,
      elapsedMs: session.startedAt === undefined ? 0 : Date.now() - session.startedAt,
      onData: (chunk) => {
        if (files.full) return;
        files.write(chunk);
        if (files.full) void this.end(session.id, this.#sizeExceeded(session));
      },
      onDeath: () => void this.end(session.id, AGENT_STOPPED),
    };
    const recorder =
      session.source === 'tcpdump' ? await startTcpdump(recording, { live: iface }) : startGenerator(recording);
    live.recorder = recorder;
    if (recorder.process) session.process = recorder.process;
    session.startedAt ??= Date.now();
    session.phase = 'running';
    state.saveSoon();
    log('agent', `${session.label}: ${resumed ? 'capturing again' : 'capturing'} (${session.source})`);
  }

  #sizeExceeded(session: Session): Outcome {
    const { sizeStopReason } = this.#faults(session);
    return sizeStopReason === null ? {} : { stopReason: sizeStopReason };
  }

  async #end(session: Session, live: Live, outcome: Outcome): Promise<void> {
    const { state, uploadDelayMs } = this.#options;
    await pause(live);
    const files = live.files ?? this.#open(session);
    files.close(session.snapLength);
    session.bytes = files.bytes;
    session.packets = files.packets;
    if (outcome.stopReason !== undefined) session.stopReason = outcome.stopReason;
    session.errors = outcome.errors ?? [];
    if (outcome.lost) session.lost = true;
    session.uploadAt = Date.now() + uploadDelayMs + this.#faults(session).uploadDelayMs;
    session.phase = 'ended';
    delete session.process;
    this.#live.delete(session.id);
    state.saveSoon();
    log('agent', `${session.label}: ended, ${session.stopReason ?? 'no reason'}, ${describe(session)}`);
  }

  #open(session: Session): CaptureFiles {
    const path = (number?: number) => join(this.#directory, localName(session, number));
    if (session.ringFiles === undefined) return singleFile(path(), session.limitBytes);
    const ring = { files: session.ringFiles, limitBytes: session.limitBytes };
    const existing = this.#localFiles(session).map(({ number }) => number);
    return ringOfFiles(path, existing, ring);
  }

  /** The files of a session on the machine, the oldest first; numbered from 1 in a ring. */
  #localFiles(session: Session): { path: string; number: number }[] {
    if (session.ringFiles === undefined) {
      const path = join(this.#directory, localName(session));
      return existsSync(path) ? [{ path, number: 0 }] : [];
    }
    return readdirSync(this.#directory)
      .filter((name) => name.startsWith(`${session.id}_`))
      .map((name) => ({ path: join(this.#directory, name), number: Number(/_(\d+)\.cap$/.exec(name)?.[1]) }))
      .toSorted((a, b) => a.number - b.number);
  }

  /** Delivers the files, or tries again later: storage may be down for a while. */
  async #deliver(session: Session, faults: MachineFaults): Promise<void> {
    if (this.#uploading.has(session.id)) return;
    this.#uploading.add(session.id);
    const files = this.#localFiles(session);
    const delivery = faults.upload === 'never' ? 'normal' : faults.upload;
    try {
      const to = session.lost ? undefined : session.destination;
      for (const { path, number } of files) {
        if (!to) break;
        const blob = number === 0 ? to.blob : ringName(to.blob, number);
        await this.#options.uploads.put(path, { container: to.container, blob }, delivery);
        log('agent', `${describe(session)} uploaded to ${to.container}/${blob}`);
      }
      if (!to) log('agent', `${describe(session)} ${session.lost ? 'lost' : `kept in ${this.#directory}`}`);
      session.phase = 'done';
      this.#options.state.saveSoon();
      if (!session.keep) for (const { path } of files) rmSync(path, { force: true });
    } catch (error) {
      session.uploadAt = Date.now() + UPLOAD_RETRY_MS;
      log('agent', `${session.label}: upload failed, trying again: ${(error as Error).message.split('\n')[0]}`);
    } finally {
      this.#uploading.delete(session.id);
    }
  }
}

async function pause(live: Live): Promise<void> {
  await live.starting;
  await live.recorder?.stop();
}

function localName(session: Session, number?: number): string {
  const name = `${session.id}.cap`;
  return number === undefined ? name : ringName(name, number);
}

function limitAt(session: Session): number {
  return (session.startedAt ?? 0) + session.limitSeconds * 1000;
}

function describe(session: Session): string {
  return `${(session.bytes / 1000).toFixed(1)} kB, ${session.packets} packets`;
}
