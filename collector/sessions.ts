import { readdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Dropped, SessionList, SessionStatus } from './protocol.ts';
import { Recording, type ClosedFile, type RecordingOptions, type Stream } from './recording.ts';
import { networkOf } from './vxlan.ts';

/** How long the ledger of a session is kept that no list names any more. */
const LEDGER_KEPT_MS = 7 * 24 * 3_600_000;

/** Sorts packets into recordings, by the list in force. */
export class Sessions {
  readonly dropped: Dropped;
  readonly #options: RecordingOptions;
  readonly #recordings = new Map<string, Recording>();
  /** Where a packet belongs: by VNI, then by source address. */
  #streams = new Map<number, Map<string, Stream>>();

  /** Finds the files that an earlier process left. */
  constructor(options: Omit<RecordingOptions, 'dropped'>) {
    this.dropped = {
      unknownVni: 0,
      unknownSource: 0,
      afterEnd: 0,
      malformed: 0,
      overCap: 0,
      disk: 0,
      kernel: 0,
    };
    this.#options = { ...options, dropped: this.dropped };
    for (const { run, session } of this.#foldersOnDisk()) {
      const recording = new Recording(this.#options, run, session);
      if (!recording.idle) this.#recordings.set(keyOf(recording), recording);
    }
  }

  /** Takes over a list. Sessions that are not in it any more end now; their files go up all the same. */
  apply(list: SessionList, nowMs: number): void {
    const entries = new Map(list.sessions.map((entry) => [keyOf(entry), entry]));
    for (const [key, entry] of entries) {
      if (!this.#recordings.has(key)) {
        this.#recordings.set(key, new Recording(this.#options, entry.run, entry.session));
      }
    }
    for (const [key, recording] of this.#recordings) recording.apply(entries.get(key), nowMs);

    this.#streams = new Map();
    const byEnd = list.sessions.toSorted((a, b) => Date.parse(a.until) - Date.parse(b.until));
    for (const entry of byEnd) {
      const bySource = this.#streams.get(entry.vni) ?? new Map<string, Stream>();
      this.#streams.set(entry.vni, bySource);
      const recording = this.#recordings.get(keyOf(entry));
      for (const { eni, address } of entry.sources) {
        const stream = recording?.stream(eni);
        if (stream) bySource.set(address, stream);
      }
    }
  }

  /** @param address the sender's, which tells sources of one session apart */
  receive(datagram: Buffer, address: string, timeUs: number): void {
    const vni = networkOf(datagram);
    if (vni < 0) {
      this.dropped.malformed += 1;
      return;
    }
    const bySource = this.#streams.get(vni);
    if (!bySource) {
      this.dropped.unknownVni += 1;
      return;
    }
    const stream = bySource.get(address);
    if (!stream) {
      this.dropped.unknownSource += 1;
      return;
    }
    stream.recording.take(stream, datagram, timeUs);
  }

  tick(nowMs: number): void {
    this.#options.disk.review();
    for (const [key, recording] of this.#recordings) {
      recording.tick(nowMs);
      if (recording.idle) this.#recordings.delete(key);
    }
  }

  /** Ends all files, whatever the disk says. */
  close(nowMs: number): void {
    for (const recording of this.#recordings.values()) recording.close(nowMs, true);
  }

  closedFiles(): ClosedFile[] {
    return [...this.#recordings.values()].flatMap(({ closed }) => closed);
  }

  /** Recordings whose packets come although they should have stopped. */
  overdue(nowMs: number): Recording[] {
    return [...this.#recordings.values()].filter((one) => one.overdueMs !== undefined && this.isOver(one, nowMs));
  }

  /** Whether the list still says so: it knows the recording, its end has come, and no other run goes on with its session. */
  isOver(recording: Recording, nowMs: number): boolean {
    if (!recording.entry || !recording.isOver(nowMs)) return false;
    return ![...this.#recordings.values()].some(
      (other) => other.entry && other.session === recording.session && !other.isOver(nowMs),
    );
  }

  statuses(): SessionStatus[] {
    return [...this.#recordings.values()].map((recording) => recording.status());
  }

  /** Removes folders of sessions that are long over. */
  prune(nowMs: number): void {
    for (const { run, session } of this.#foldersOnDisk()) {
      if (this.#recordings.has(keyOf({ run, session }))) continue;
      const folder = join(this.#options.disk.directory, 'runs', run, session);
      const isOld = nowMs - statSync(folder).mtimeMs > LEDGER_KEPT_MS;
      // A folder with files in it is one that could not be read at the start.
      if (isOld && readdirSync(folder).every((name) => name.startsWith('ledger.json')))
        rmSync(folder, { recursive: true });
    }
  }

  #foldersOnDisk(): { run: string; session: string }[] {
    const runs = join(this.#options.disk.directory, 'runs');
    return subfolders(runs).flatMap((run) => subfolders(join(runs, run)).map((session) => ({ run, session })));
  }
}

function keyOf({ run, session }: { run: string; session: string }): string {
  return `${run}/${session}`;
}

function subfolders(directory: string): string[] {
  try {
    return readdirSync(directory, { withFileTypes: true }).flatMap((one) => (one.isDirectory() ? [one.name] : []));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}
