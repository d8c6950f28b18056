import { randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { BlobServiceClient } from '@azure/storage-blob';
import { parseFilter } from './filter.ts';
import { startGenerator } from './generator.ts';
import { log } from './log.ts';
import type { BoundService } from './network.ts';
import { PcapFile } from './pcap.ts';
import type { Recorder, Recording } from './recorder.ts';
import type { Session, State } from './state.ts';
import { endLeftover, startTcpdump } from './tcpdump.ts';
import { upload } from './upload.ts';

/**
 * The Network Watcher agent of every emulated VM: records packets, ends a session at its limits, and delivers the file
 * some time after its end. Sessions survive the process: what was running goes on for its remaining time.
 */
export type AgentOptions = {
  directory: string;
  state: State;
  storage: BlobServiceClient;
  services: BoundService[];
  tcpdump: boolean;
  live: string | undefined;
  /** From the end of a session until its file arrives. */
  uploadDelayMs: number;
};

export type Order = Pick<
  Session,
  'label' | 'filters' | 'snapLength' | 'limitBytes' | 'limitSeconds' | 'destination' | 'keep' | 'startAt'
>;

type Outcome = { stopReason: string; errors?: string[] };

/** The part of a session that only this process has. */
type Live = { starting: Promise<void>; file?: PcapFile; recorder?: Recorder; ended?: Promise<void> };

// Recorded stop reasons, but for the last one. GUESS: what a capture that reached its size says; no source shows it.
export const MANUAL: Outcome = { stopReason: 'Manual' };
const TIME_EXCEEDED: Outcome = { stopReason: 'TimeExceeded' };
const AGENT_STOPPED: Outcome = { stopReason: 'Error', errors: ['AgentStopped'] };
const SIZE_EXCEEDED: Outcome = { stopReason: 'MaxSizeReached' };

const UPLOAD_RETRY_MS = 2_000;

export class Agent {
  readonly #options: AgentOptions;
  readonly #live = new Map<string, Live>();
  readonly #uploading = new Set<string>();

  constructor(options: AgentOptions) {
    this.#options = options;
    mkdirSync(join(options.directory, 'captures'), { recursive: true });
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
    const { faults, sessions } = this.#options.state.content;
    for (const session of this.#sessions()) {
      switch (session.phase) {
        case 'pending':
          if (session.startAt <= now) this.#begin(session);
          break;
        case 'running':
          if (faults.limits === 'normal' && limitAt(session) <= now) void this.end(session.id, TIME_EXCEEDED);
          else this.#begin(session);
          break;
        case 'ended':
          if (faults.upload === 'normal' && (session.uploadAt ?? 0) <= now) void this.#deliver(session);
          break;
        case 'done':
          if (session.released) delete sessions[session.id];
          break;
      }
    }
  }

  /** Ends a session, once; resolves when its file is complete. */
  async end(id: string, outcome: Outcome): Promise<void> {
    const session = this.#options.state.content.sessions[id];
    if (!session || session.phase === 'ended' || session.phase === 'done') return;
    const live = this.#live.get(id) ?? { starting: Promise.resolve() };
    this.#live.set(id, live);
    live.ended ??= this.#end(session, live, outcome);
    await live.ended;
  }

  /** Stops recording without ending any session: the next process goes on with them. */
  async suspend(): Promise<void> {
    await Promise.all(
      [...this.#live.values()].map(async (live) => {
        await live.starting;
        await live.recorder?.stop();
      }),
    );
  }

  #sessions(): Session[] {
    return Object.values(this.#options.state.content.sessions);
  }

  #path(session: Session): string {
    return join(this.#options.directory, 'captures', `${session.id}.cap`);
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
    const file = new PcapFile(this.#path(session), session.limitBytes);
    live.file = file;
    session.source ??= this.#options.tcpdump ? 'tcpdump' : 'generator';
    if (session.source === 'tcpdump' && !this.#options.tcpdump) throw new Error('tcpdump is not there any more');
    const recording: Recording = {
      filters: session.filters.flatMap((filter) => parseFilter(filter) ?? []),
      services,
      snapLength: session.snapLength,
      limitSeconds: session.limitSeconds,
      elapsedMs: session.startedAt === undefined ? 0 : Date.now() - session.startedAt,
      onData: (chunk) => {
        if (file.full) return;
        file.write(chunk);
        if (file.full) void this.end(session.id, SIZE_EXCEEDED);
      },
      onDeath: () => void this.end(session.id, AGENT_STOPPED),
    };
    const recorder =
      session.source === 'tcpdump' ? await startTcpdump(recording, { live: iface }) : startGenerator(recording);
    live.recorder = recorder;
    if (recorder.process) session.process = recorder.process;
    session.startedAt ??= Date.now();
    session.phase = 'running';
    state.save();
    log('agent', `${session.label}: ${resumed ? 'capturing again' : 'capturing'} (${session.source})`);
  }

  async #end(session: Session, live: Live, outcome: Outcome): Promise<void> {
    const { state, uploadDelayMs } = this.#options;
    await live.starting;
    await live.recorder?.stop();
    live.file ??= new PcapFile(this.#path(session), session.limitBytes);
    live.file.close(session.snapLength);
    session.bytes = live.file.bytes;
    session.packets = live.file.packets;
    session.stopReason = outcome.stopReason;
    session.errors = outcome.errors ?? [];
    session.uploadAt = Date.now() + uploadDelayMs;
    session.phase = 'ended';
    delete session.process;
    this.#live.delete(session.id);
    state.save();
    log('agent', `${session.label}: ended, ${session.stopReason}, ${describe(session)}`);
  }

  /** Delivers the file, or tries again later: storage may be down for a while. */
  async #deliver(session: Session): Promise<void> {
    if (this.#uploading.has(session.id)) return;
    this.#uploading.add(session.id);
    const path = this.#path(session);
    try {
      const to = session.destination;
      if (to && existsSync(path)) {
        await upload(this.#options.storage, path, to);
        log('agent', `${describe(session)} uploaded to ${to.container}/${to.blob}`);
      } else {
        log('agent', `${describe(session)} kept in ${path}`);
      }
      session.phase = 'done';
      this.#options.state.save();
      if (!session.keep) rmSync(path, { force: true });
    } catch (error) {
      session.uploadAt = Date.now() + UPLOAD_RETRY_MS;
      log('agent', `${session.label}: upload failed, trying again: ${(error as Error).message.split('\n')[0]}`);
    } finally {
      this.#uploading.delete(session.id);
    }
  }
}

function limitAt(session: Session): number {
  return (session.startedAt ?? 0) + session.limitSeconds * 1000;
}

function describe(session: Session): string {
  return `${(session.bytes / 1000).toFixed(1)} kB, ${session.packets} packets`;
}
