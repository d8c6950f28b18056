import { accessSync, constants, mkdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { RoleKeys, fixedKeys } from './alibaba-keys.ts';
import { CurrentList } from './current-list.ts';
import { Disk } from './disk.ts';
import { Errors } from './errors.ts';
import { log, withoutSecrets } from './log.ts';
import { USAGE, readOptions } from './options.ts';
import { PacketClock } from './packet-clock.ts';
import type { SessionList, Status } from './protocol.ts';
import { Sessions } from './sessions.ts';
import { bind, bufferProblem, kernelDrops } from './socket.ts';
import { Storage, storageFault } from './storage.ts';
import { Switching } from './switching.ts';
import { Uploader } from './uploader.ts';
import { Vpc } from './vpc.ts';
import { writeWhole } from './whole-file.ts';

/**
 * The collector: receives mirrored packets as VXLAN over UDP, and makes capture files in blob storage of them, for the sessions
 * that the app has announced. What it reads and writes there: protocol.ts.
 */
const TICK_MS = 200;
const POLL_MS = 5000;
const UPLOAD_PAUSE_MS = 250;
const LONGEST_UPLOAD_PAUSE_MS = 30_000;
const PRUNE_MS = 3_600_000;
/** How long a report may hold up what cannot wait. */
const LONGEST_REPORT_MS = 1000;
/** Of the ten seconds that an end may take. */
const LAST_UPLOADS_MS = 7000;
const LAST_STATUS_MS = 1000;

// A log that nobody reads any more is no reason to end.
process.stdout.on('error', () => undefined);

const startedAt = new Date().toISOString();
const options = orExit(2, () => readOptions(process.argv.slice(2), process.env));
const errors = new Errors(() => new Date());
const storage = orExit(2, () => new Storage(options.storage));
const data = orExit(1, () => prepareFolder(options.data));
const mirror = new Vpc(
  options.accessKey
    ? fixedKeys(options.accessKey.id, options.accessKey.secret)
    : new RoleKeys(options.metadata, Date.now),
  options.vpc,
  Date.now,
);
const ending = new AbortController();
const pause = (ms: number): Promise<void> => sleep(ms, undefined, { signal: ending.signal });
const clock = new PacketClock();

// The port first: whoever has it already may be at work in the same folder.
const socket = await bind(options.port, options.host).catch((error: NodeJS.ErrnoException) =>
  exit(1, `UDP port ${options.port} of ${options.host} cannot be used (${error.code}): is another collector running?`),
);
// From here to the first packet nothing waits, so that none comes before it is known where it belongs.
const disk = new Disk(data, options.diskBytes, errors);
const rotation = { bytes: options.rotateBytes, ageMs: options.rotateMs };
const sessions = orExit(1, () => new Sessions({ disk, rotation, graceMs: options.graceMs }));
const current = new CurrentList(data, errors);
const uploader = new Uploader(storage, options.id, errors);
const switching = new Switching({
  sessions,
  mirror,
  errors,
  graceMs: options.graceMs,
  now: Date.now,
  report: () => Promise.race([writeStatus(), pause(LONGEST_REPORT_MS)]),
  delay: pause,
});
const recalled = current.recall();
if (recalled) useList(recalled);
socket.on('message', (datagram, { address }) => sessions.receive(datagram, address, clock.micros()));
socket.on('error', (error) => log(`socket: ${error.message}`));
const shortBuffer = bufferProblem(socket);
if (shortBuffer) log(shortBuffer);
const { address, port } = socket.address();
process.stdout.write(`ready udp://${address === '0.0.0.0' ? '127.0.0.1' : address}:${port}\n`);

let uploadPauseMs = UPLOAD_PAUSE_MS;
const ticking = setInterval(tick, TICK_MS);
const pruning = setInterval(() => sessions.prune(Date.now()), PRUNE_MS);
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => ending.abort());
await Promise.all([untilEnd(report), untilEnd(bringUp)]);
await end();

function tick(): void {
  clock.adjust();
  const nowMs = Date.now();
  sessions.tick(nowMs);
  switching.tick(nowMs);
}

function useList(list: SessionList): void {
  uploader.sas = list.upload?.sas;
  sessions.apply(list, Date.now());
}

/** Reads the list and reports, in this order, so that a new session is reported as soon as it is known. */
async function report(): Promise<void> {
  const list = await current.refresh(storage);
  if (list) useList(list);
  sessions.dropped.kernel = kernelDrops(socket);
  await writeStatus();
  const { pollSeconds } = current.list ?? {};
  await pause(pollSeconds === undefined ? POLL_MS : pollSeconds * 1000);
}

async function writeStatus(): Promise<void> {
  const status: Status = {
    version: 1,
    collector: options.id,
    at: new Date().toISOString(),
    startedAt,
    sessions: sessions.statuses(),
    dropped: { ...sessions.dropped },
    errors: errors.list(),
  };
  const text = JSON.stringify(status, null, 2);
  try {
    // For whoever is on the machine, and as a sign of life.
    writeWhole(join(data, 'status.json'), text);
  } catch {
    // The disk's troubles are reported where packets are written.
  }
  try {
    await storage.writeStatus(options.id, text);
    errors.clear('storage', 'status');
  } catch (error) {
    errors.set('storage', `The status cannot be written (${storageFault(error)}); look at --storage`, 'status');
  }
}

async function bringUp(): Promise<void> {
  const worked = await uploader.upload(() => sessions.closedFiles());
  uploadPauseMs = worked ? UPLOAD_PAUSE_MS : Math.min(2 * uploadPauseMs, LONGEST_UPLOAD_PAUSE_MS);
  await pause(uploadPauseMs);
}

async function untilEnd(step: () => Promise<void>): Promise<void> {
  const ended = new Promise<void>((done) => ending.signal.addEventListener('abort', () => done(), { once: true }));
  while (!ending.signal.aborted) {
    // What is under way goes on, but the end does not wait for it.
    await Promise.race([step().catch(ignoreAbort), ended]);
  }
}

function ignoreAbort(error: unknown): void {
  if (!ending.signal.aborted) throw error;
}

/** Closes and uploads what there is; what does not go up in time stays for the next start. */
async function end(): Promise<void> {
  clearInterval(ticking);
  clearInterval(pruning);
  sessions.dropped.kernel = kernelDrops(socket);
  socket.close();
  sessions.close(Date.now());
  const late = (ms: number) => sleep(ms, undefined, { ref: false });
  await Promise.race([uploader.upload(() => sessions.closedFiles()), late(LAST_UPLOADS_MS)]);
  const left = sessions.closedFiles().length;
  if (left > 0) log(`${left} files could not be uploaded in time: they wait in ${data} for the next start`);
  await Promise.race([writeStatus(), late(LAST_STATUS_MS)]);
  process.exit(0);
}

function prepareFolder(folder: string): string {
  const path = resolve(folder);
  mkdirSync(path, { recursive: true });
  accessSync(path, constants.R_OK | constants.W_OK);
  return path;
}

function orExit<T>(status: number, make: () => T): T {
  try {
    return make();
  } catch (error) {
    return exit(status, (error as Error).message);
  }
}

function exit(status: number, message: string): never {
  process.stderr.write(`collector: ${withoutSecrets(message)}\n${status === 2 ? `${USAGE}\n` : ''}`);
  process.exit(status);
}
