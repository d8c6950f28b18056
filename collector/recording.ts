import { mkdirSync, readdirSync, renameSync, statSync, unlinkSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { Disk } from './disk.ts';
import { formatFileName, parseFileName } from './file-name.ts';
import { type Ledger, readLedger, writeLedger } from './ledger.ts';
import { log } from './log.ts';
import { OpenFile, recordBytes } from './open-file.ts';
import { FILE_HEADER_BYTES, repair } from './pcap.ts';
import type { Dropped, ExpectedSession, SessionStatus } from './protocol.ts';

export type RecordingOptions = {
  disk: Disk;
  /** When a file is full, or old enough, for the next one to be begun. */
  rotation: { bytes: number; ageMs: number };
  /** How long after its end a session's packets are nothing to worry about. */
  graceMs: number;
  /** Counted up. */
  dropped: Dropped;
};

/** A file that is whole and waits for upload. */
export type ClosedFile = {
  recording: Recording;
  path: string;
  name: string;
  vni: number;
  source: string;
  bytes: number;
  packets: number;
};

/** The packets of one source, in one file after another. */
export type Stream = { readonly recording: Recording; readonly source: string; file: OpenFile | undefined };

const OPEN = '.open';
const CLOSED = '.cap';

/**
 * All files of one session of one run. What counts for its limits is every file that it ever had: those here are looked at when the
 * process starts, those in storage are in the ledger.
 */
export class Recording {
  readonly run: string;
  readonly session: string;
  readonly closed: ClosedFile[] = [];
  /** What the list says of it; undefined when it is there only to have its files uploaded. */
  entry: ExpectedSession | undefined;
  /** When the last packet came that should have come no more: the session needs switching off. */
  overdueMs: number | undefined;
  readonly ledger: Ledger;
  readonly #directory: string;
  readonly #disk: Disk;
  readonly #options: RecordingOptions;
  readonly #streams = new Map<string, Stream>();
  #untilMs = 0;
  #maxBytes = 0;
  #capped = false;
  #lastPacketMs: number | undefined;
  #unsaved = false;
  #vni = 0;
  #packets: number;
  #bytes: number;
  #files: number;

  /** Finds what an earlier process left, and ends the files that it was writing. */
  constructor(options: RecordingOptions, run: string, session: string) {
    this.#options = options;
    this.#disk = options.disk;
    this.run = run;
    this.session = session;
    this.#directory = join(options.disk.directory, 'runs', run, session);
    this.ledger = readLedger(this.#directory);
    const { files, bytes, packets } = this.ledger.uploaded;
    this.#files = files;
    this.#bytes = bytes;
    this.#packets = packets;
    for (const name of filesIn(this.#directory)) {
      try {
        this.#recover(name);
      } catch (error) {
        log(`${join(this.#directory, name)} is left alone: ${(error as Error).message}`);
      }
    }
  }

  #recover(name: string): void {
    const path = join(this.#directory, name);
    const [base = '', middle] = name.split('.');
    const said = parseFileName(base);
    if (!said) return;
    if (base === this.ledger.last) return unlinkSync(path);
    this.#vni = said.vni;
    this.ledger.next[said.source] = Math.max(this.#nextSequence(said.source), said.sequence + 1);
    const found = { recording: this, name: base, vni: said.vni, source: said.source };
    if (name.endsWith(OPEN)) {
      const { bytes, packets } = repair(path);
      if (packets === 0) return unlinkSync(path);
      const closed = join(this.#directory, `${base}.${packets}${CLOSED}`);
      renameSync(path, closed);
      log(`${base} was left open; ${packets} packets are whole`);
      this.#found({ ...found, path: closed, bytes, packets });
    } else if (name.endsWith(CLOSED)) {
      this.#found({ ...found, path, bytes: statSync(path).size, packets: Number(middle) });
    }
  }

  #found(file: ClosedFile): void {
    this.closed.push(file);
    this.#files += 1;
    this.#bytes += file.bytes;
    this.#packets += file.packets;
    this.#disk.used += file.bytes;
  }

  #nextSequence(source: string): number {
    return this.ledger.next[source] ?? 1;
  }

  /** Takes over what the list says now; undefined when it says nothing any more. */
  apply(entry: ExpectedSession | undefined, nowMs: number): void {
    const stays = new Set(entry?.sources.map(({ eni }) => eni));
    for (const [source, stream] of this.#streams) {
      if (stays.has(source) && entry?.vni === this.#vni) continue;
      this.#finish(stream, nowMs, true);
      this.#streams.delete(source);
    }
    this.entry = entry;
    if (!entry) return;
    this.#vni = entry.vni;
    this.#untilMs = Date.parse(entry.until);
    this.#maxBytes = entry.maxBytes;
    this.#capped = this.ledger.cappedAt !== undefined && entry.maxBytes <= this.ledger.cappedAt;
    // What came too late for an earlier end did not come too late for this one.
    if (!this.isOver(nowMs)) this.overdueMs = undefined;
    for (const { eni } of entry.sources) {
      if (!this.#streams.has(eni)) this.#streams.set(eni, { recording: this, source: eni, file: undefined });
    }
  }

  stream(source: string): Stream | undefined {
    return this.#streams.get(source);
  }

  /** Its packets should have stopped by now. */
  isOver(nowMs: number): boolean {
    return this.#capped || nowMs >= this.#untilMs + this.#options.graceMs;
  }

  /** Nothing is left to be done for it. */
  get idle(): boolean {
    return this.entry === undefined && this.closed.length === 0 && this.#openBytes() === 0;
  }

  /** Writes a packet, or counts why not. */
  take(stream: Stream, datagram: Buffer, timeUs: number): void {
    const { rotation, graceMs, dropped } = this.#options;
    const nowMs = timeUs / 1000;
    if (nowMs >= this.#untilMs) {
      dropped.afterEnd += 1;
      if (nowMs >= this.#untilMs + graceMs) this.overdueMs = nowMs;
      return;
    }
    const size = recordBytes(datagram);
    if (stream.file && stream.file.bytes + size > rotation.bytes && !this.#finish(stream, nowMs, false)) {
      dropped.disk += 1;
      return;
    }
    const more = stream.file ? size : size + FILE_HEADER_BYTES;
    if (this.#capped || this.#bytes + more > this.#maxBytes) {
      dropped.overCap += 1;
      this.overdueMs = nowMs;
      if (!this.#capped) this.#cap(nowMs);
      return;
    }
    const file = this.#disk.hasRoom(more) ? (stream.file ?? this.#begin(stream, nowMs)) : undefined;
    if (!file?.append(datagram, timeUs)) {
      dropped.disk += 1;
      return;
    }
    this.#bytes += size;
    this.#disk.used += size;
    this.#packets += 1;
    this.#lastPacketMs = nowMs;
  }

  #cap(nowMs: number): void {
    this.#capped = true;
    this.ledger.cappedAt = this.#maxBytes;
    log(`${this.session}: ${this.#bytes} bytes written, the next packet would exceed its limit of ${this.#maxBytes}`);
    this.close(nowMs, false);
    this.remember();
  }

  #begin(stream: Stream, nowMs: number): OpenFile | undefined {
    const { source } = stream;
    const sequence = this.#nextSequence(source);
    const name = formatFileName({ vni: this.#vni, source, sequence, startedAt: new Date(nowMs) });
    stream.file = this.#disk.attempt(nowMs, () => {
      mkdirSync(this.#directory, { recursive: true });
      return new OpenFile(this.#disk, join(this.#directory, name + OPEN), nowMs);
    });
    if (!stream.file) return undefined;
    this.ledger.next[source] = sequence + 1;
    this.#files += 1;
    this.#bytes += FILE_HEADER_BYTES;
    this.#disk.used += FILE_HEADER_BYTES;
    return stream.file;
  }

  /** Does what is due: flushes files, ends old ones, and all of them at the end of the session. */
  tick(nowMs: number): void {
    if (this.#unsaved) this.remember();
    if (this.#capped || nowMs >= this.#untilMs) {
      this.close(nowMs, false);
      return;
    }
    for (const stream of this.#streams.values()) {
      if (!stream.file) continue;
      if (Math.abs(nowMs - stream.file.openedMs) >= this.#options.rotation.ageMs) this.#finish(stream, nowMs, false);
      else stream.file.flushIfDue(nowMs);
    }
  }

  /** Ends all files. @param force also if the disk refuses: what it refused is lost */
  close(nowMs: number, force: boolean): void {
    for (const stream of this.#streams.values()) this.#finish(stream, nowMs, force);
  }

  /** @returns false if the disk refuses, so that the file goes on */
  #finish(stream: Stream, nowMs: number, force: boolean): boolean {
    const { file, source } = stream;
    if (!file) return true;
    if (!file.flush(nowMs) && !force) return false;
    stream.file = undefined;
    const { bytes, packets } = file;
    const name = basename(file.path, OPEN);
    let path = file.path;
    let left = { bytes, packets };
    try {
      left = file.close();
      if (left.packets === 0) {
        unlinkSync(path);
      } else {
        const closed = join(this.#directory, `${name}.${left.packets}${CLOSED}`);
        renameSync(path, closed);
        path = closed;
      }
    } catch (error) {
      // It goes up under its right name all the same; and if the process dies first, the next one finds it open.
      log(`${path} keeps its name: ${(error as Error).message}`);
    }
    this.#options.dropped.disk += packets - left.packets;
    this.#packets -= packets - left.packets;
    this.#forgetBytes(bytes - left.bytes);
    if (left.packets === 0) {
      this.#files -= 1;
      this.#forgetBytes(left.bytes);
    } else {
      this.closed.push({ recording: this, path, name, vni: this.#vni, source, ...left });
    }
    return true;
  }

  #forgetBytes(bytes: number): void {
    this.#bytes -= bytes;
    this.#disk.used -= bytes;
  }

  /** A file is in storage: it is counted, and deleted here. */
  uploaded(file: ClosedFile): void {
    const { uploaded } = this.ledger;
    uploaded.files += 1;
    uploaded.bytes += file.bytes;
    uploaded.packets += file.packets;
    this.ledger.last = file.name;
    this.closed.splice(this.closed.indexOf(file), 1);
    // Counted first: if the process dies now, the file is known not to count again. On a full disk only the deletion makes room to count.
    this.remember();
    try {
      unlinkSync(file.path);
    } catch (error) {
      log(`${file.path} is in storage but cannot be deleted: ${(error as Error).message}`);
    }
    if (this.#unsaved) this.remember();
    this.#disk.used -= file.bytes;
  }

  /** Writes the ledger; tried again at the next tick if the disk refuses. */
  remember(): void {
    this.#unsaved = true;
    try {
      mkdirSync(this.#directory, { recursive: true });
      writeLedger(this.#directory, this.ledger);
      this.#unsaved = false;
    } catch {
      // The disk's troubles are reported where packets are written.
    }
  }

  status(): SessionStatus {
    const { disabledAt, uploaded } = this.ledger;
    return {
      run: this.run,
      session: this.session,
      vni: this.#vni,
      packets: this.#packets,
      bytes: this.#bytes,
      files: this.#files,
      openBytes: this.#openBytes(),
      uploaded: uploaded.files,
      capped: this.#capped,
      ...(disabledAt === undefined ? {} : { disabledAt }),
      ...(this.#lastPacketMs === undefined ? {} : { lastPacketAt: new Date(this.#lastPacketMs).toISOString() }),
    };
  }

  #openBytes(): number {
    let bytes = 0;
    for (const { file } of this.#streams.values()) bytes += file?.bytes ?? 0;
    return bytes;
  }
}

function filesIn(directory: string): string[] {
  try {
    return readdirSync(directory).sort();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') log(`${directory}: ${(error as Error).message}`);
    return [];
  }
}
