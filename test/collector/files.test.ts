import { copyFileSync, mkdirSync, readFileSync, readdirSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Disk } from '../../collector/disk.ts';
import { Errors } from '../../collector/errors.ts';
import { formatFileName, parseFileName } from '../../collector/file-name.ts';
import { withoutSecrets } from '../../collector/log.ts';
import { Sessions } from '../../collector/sessions.ts';
import type { ClosedFile } from '../../collector/recording.ts';
import { RecordReader } from '../../shared/pcap/records.ts';
import { entry, folder, of, type Entry } from './entries.ts';
import { ipv4Frame, numbered, vxlan } from './packets.ts';

// Files on disk, without a process around them: time and the disk's moods are set.
function setUp(options: { data?: string; disk?: typeof Disk; budget?: number } = {}) {
  const time = { ms: 1_800_000_000_000 };
  const errors = new Errors(() => new Date(time.ms));
  const data = options.data ?? folder();
  const disk = new (options.disk ?? Disk)(data, options.budget ?? 1e9, errors);
  const sessions = new Sessions({ disk, rotation: { bytes: 1e6, ageMs: 30_000 }, graceMs: 1000 });
  const apply = (...entries: Entry[]) =>
    sessions.apply({ version: 1, writtenAt: new Date(time.ms).toISOString(), sessions: entries }, time.ms);
  const send = (one: Entry, from: number, count: number, bytes = 42) => {
    for (let i = from; i < from + count; i++) {
      sessions.receive(vxlan(one.vni, ipv4Frame(numbered(i, bytes))), one.sources[0]!.address, time.ms * 1000);
    }
  };
  const pass = (ms: number) => {
    for (const end = time.ms + ms; time.ms < end;) {
      time.ms += 200;
      sessions.tick(time.ms);
    }
  };
  const status = (one: Entry) => of({ sessions: sessions.statuses() }, one)!;
  return { time, errors, data, disk, sessions, apply, send, pass, status };
}

const lasting = () => entry({ 'eni-a': '127.0.0.2' }, { until: '2099-01-01T00:00:00Z' });

function numbersIn(file: { path: string }): number[] {
  const numbers: number[] = [];
  const reader = new RecordReader({ packet: (view, at) => void numbers.push(view.getUint32(at + 42)) });
  reader.push(readFileSync(file.path));
  reader.end();
  expect(reader.damage).toBeUndefined();
  return numbers;
}

const count = (length: number) => Array.from({ length }, (_, i) => i);

test('names say what they are made of', () => {
  fc.assert(
    fc.property(
      fc.record({
        vni: fc.integer({ min: 0, max: 0xffffff }),
        source: fc.stringMatching(/^eni-[\w-]{1,20}$/),
        sequence: fc.integer({ min: 1, max: 10_000_000 }),
        startedAt: fc.date({ min: new Date(0), max: new Date('2100-01-01'), noInvalidDate: true }),
      }),
      (name) => {
        expect(parseFileName(formatFileName(name))).toEqual(name);
      },
    ),
  );
  for (const text of ['', 'ledger', '1-eni-a-000001-20261322T060759123Z', '1-eni-a-1-20261122T060759123Z']) {
    expect(parseFileName(text)).toBeUndefined();
  }
});

test('of a file left open, the whole packets are kept, wherever it breaks off', () => {
  const one = lasting();
  const { apply, send, sessions, time, data } = setUp();
  apply(one);
  send(one, 0, 3);
  sessions.close(time.ms);
  const [file] = sessions.closedFiles() as [ClosedFile];
  const whole = readFileSync(file.path);
  const left = file.path.replace(/\.3\.cap$/, '.open');
  expect(whole.length).toBe(24 + 3 * 100);
  for (const length of [0, 10, 24, 30, 123, 124, 125, 140, 223, 224, 323, 324]) {
    const copy = folder();
    mkdirSync(join(copy, 'runs', one.run, one.session), { recursive: true });
    writeFileSync(left.replace(data, copy), whole.subarray(0, length));
    const again = setUp({ data: copy });
    const packets = Math.max(0, Math.floor((length - 24) / 100));
    expect(again.sessions.closedFiles().map(numbersIn)).toEqual(packets === 0 ? [] : [count(packets)]);
    again.apply(one);
    expect(again.status(one)).toMatchObject({ packets, bytes: packets && 24 + packets * 100, files: packets ? 1 : 0 });
    expect(again.disk.used).toBe(again.status(one).bytes);
  }
  // Zeros at the end, as after a power failure.
  const copy = folder();
  mkdirSync(join(copy, 'runs', one.run, one.session), { recursive: true });
  writeFileSync(left.replace(data, copy), Buffer.concat([whole.subarray(0, 224), Buffer.alloc(4096)]));
  expect(setUp({ data: copy }).sessions.closedFiles().map(numbersIn)).toEqual([count(2)]);
});

test('dead between upload, count and deletion, it counts a file once, and numbers go on', () => {
  const one = lasting();
  const first = setUp();
  first.apply(one);
  first.send(one, 0, 5);
  first.sessions.close(first.time.ms);
  const [file] = first.sessions.closedFiles() as [ClosedFile];
  const kept = `${folder()}/kept`;
  copyFileSync(file.path, kept);
  file.recording.uploaded(file);
  const counted = { packets: 5, bytes: 524, files: 1, uploaded: 1 };
  expect(first.status(one)).toMatchObject(counted);

  // It was counted, but the process died before it was deleted.
  copyFileSync(kept, file.path);
  const second = setUp({ data: first.data });
  second.apply(one);
  expect(second.sessions.closedFiles()).toEqual([]);
  expect(second.status(one)).toMatchObject(counted);
  expect(readdirSync(join(first.data, 'runs', one.run, one.session))).toEqual(['ledger.json']);
  second.send(one, 5, 1);
  second.sessions.close(second.time.ms);
  expect(parseFileName(second.sessions.closedFiles()[0]!.name)?.sequence).toBe(2);
});

test('packets are written within a second, and files of age are ended', () => {
  const one = lasting();
  const { apply, send, pass, sessions, data, status } = setUp();
  apply(one);
  send(one, 0, 4);
  const lying = () =>
    readdirSync(join(data, 'runs', one.run, one.session)).map((name) => join(data, 'runs', one.run, one.session, name));
  expect(readFileSync(lying()[0]!)).toHaveLength(0);
  pass(1200);
  expect(numbersIn({ path: lying()[0]! })).toEqual(count(4));
  pass(28_000);
  expect(status(one)).toMatchObject({ openBytes: 424 });
  pass(1000);
  expect(status(one)).toMatchObject({ openBytes: 0, files: 1, uploaded: 0 });
  expect(sessions.closedFiles().map(numbersIn)).toEqual([count(4)]);
  pass(60_000);
  expect(status(one)).toMatchObject({ files: 1 });
});

/** A disk that takes so many bytes at most, part of a write if need be, as a full one does. */
class SmallDisk extends Disk {
  static room = 0;

  override write(file: number, bytes: Uint8Array, from: number, to: number): number {
    if (SmallDisk.room === 0) throw Object.assign(new Error('no room'), { code: 'ENOSPC', syscall: 'write' });
    const taken = Math.min(to - from, SmallDisk.room);
    SmallDisk.room -= taken;
    return super.write(file, bytes, from, from + taken);
  }
}

test('a full disk holds packets up in memory, loses what does not fit there, and all is whole when there is room again', () => {
  const one = lasting();
  const { apply, send, pass, sessions, errors, status } = setUp({ disk: SmallDisk });
  apply(one);
  SmallDisk.room = 500;
  send(one, 0, 10);
  pass(2000);
  expect(errors.list()).toMatchObject([
    { code: 'disk', message: expect.stringMatching(/write: ENOSPC.*make room in/) },
  ]);
  // More than what memory holds; the file should end, but cannot.
  send(one, 10, 1000, 1400);
  pass(60_000);
  const { packets } = status(one);
  expect(packets).toBeGreaterThan(600);
  expect(sessions.dropped.disk).toBe(1010 - packets);
  SmallDisk.room = Infinity;
  pass(2000);
  expect(errors.list()).toEqual([]);
  expect(sessions.closedFiles().map(numbersIn)).toEqual([count(packets)]);
});

test('told to end on a full disk, it keeps what is whole and counts the rest', () => {
  const one = lasting();
  const { apply, send, sessions, status, time, disk } = setUp({ disk: SmallDisk });
  apply(one);
  SmallDisk.room = 270;
  send(one, 0, 10);
  sessions.close(time.ms);
  expect(sessions.closedFiles().map(numbersIn)).toEqual([count(2)]);
  expect(status(one)).toMatchObject({ packets: 2, bytes: 224, openBytes: 0, files: 1 });
  expect(sessions.dropped.disk).toBe(8);
  expect(disk.used).toBe(224);
});

test('with no room for a single packet there is no file', () => {
  const one = lasting();
  const { apply, send, sessions, status, time, data } = setUp({ disk: SmallDisk });
  apply(one);
  SmallDisk.room = 30;
  send(one, 0, 3);
  sessions.close(time.ms);
  expect(sessions.closedFiles()).toEqual([]);
  expect(status(one)).toMatchObject({ packets: 0, bytes: 0, files: 0 });
  expect(readdirSync(join(data, 'runs', one.run, one.session))).toEqual([]);
});

test('what files that wait may use is never exceeded, and is free again when they have gone', () => {
  const one = lasting();
  const { apply, send, pass, sessions, errors, disk } = setUp({ budget: 1000 });
  apply(one);
  send(one, 0, 20);
  expect(disk.used).toBe(924);
  expect(sessions.dropped.disk).toBe(11);
  expect(errors.list()).toMatchObject([{ code: 'disk' }]);
  sessions.close(Date.now());
  for (const file of sessions.closedFiles()) file.recording.uploaded(file);
  pass(200);
  expect(errors.list()).toEqual([]);
  send(one, 20, 1);
  expect(disk.used).toBe(124);
});

test('folders of sessions that are long over go, those with files stay', () => {
  const [gone, waiting, listed] = [lasting(), lasting(), lasting()];
  const { apply, send, sessions, data, time, pass } = setUp();
  apply(gone, waiting, listed);
  for (const one of [gone, waiting, listed]) send(one, 0, 1);
  sessions.close(time.ms);
  for (const file of sessions.closedFiles()) if (file.recording.run !== waiting.run) file.recording.uploaded(file);
  apply(listed);
  pass(200);
  for (const one of [gone, waiting, listed]) utimesSync(join(data, 'runs', one.run, one.session), 1, 1);
  sessions.prune(time.ms);
  const left = (one: Entry) => readdirSync(join(data, 'runs', one.run));
  expect([left(gone), left(waiting), left(listed)]).toEqual([[], [waiting.session], [listed.session]]);
});

test('at its limit, a session is so over restarts, until more is allowed', () => {
  const one = { ...lasting(), maxBytes: 350 };
  const first = setUp();
  first.apply(one);
  first.send(one, 0, 5);
  expect(first.status(one)).toMatchObject({ packets: 3, bytes: 324, capped: true, openBytes: 0 });
  expect(first.sessions.dropped.overCap).toBe(2);
  const second = setUp({ data: first.data });
  second.apply(one);
  expect(second.status(one)).toMatchObject({ packets: 3, capped: true });
  // Small enough to fit, but what is over is over.
  second.sessions.receive(vxlan(one.vni, Buffer.alloc(14)), one.sources[0]!.address, second.time.ms * 1000);
  expect(second.sessions.dropped.overCap).toBe(1);
  second.apply({ ...one, maxBytes: 1000 });
  second.send(one, 5, 1);
  expect(second.status(one)).toMatchObject({ packets: 4, capped: false });
});

test('signatures and keys never reach the log', () => {
  const text = withoutSecrets(
    'GET https://a.blob.core.windows.net/c?sv=1&sig=SECRET%3D&se=2 AccountKey=SECRET;x Signature=SECRET, SecurityToken=SECRET\nnext',
  );
  expect(text).not.toContain('SECRET');
  expect(text).toContain('sv=1&sig=…&se=2');
  expect(text).not.toContain('\n');
});
