import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { entry, folder, isSettled, of } from './entries.ts';
import { capinfos, hasTshark, tshark } from './oracles.ts';
import { Collector } from './process.ts';
import { Control, storage } from './storage.ts';
import { Source, ipv4Frame, ipv6VlanFrame, numbered, vxlan } from './packets.ts';

// Packets over real UDP from several addresses of loopback; tshark and capinfos read what comes out.

let control: Control;
let collector: Collector;
let connection: string;
const sources: Source[] = [];
const source = async (address: string, of: () => Collector = () => collector): Promise<Source> => {
  const made = await Source.open(address, () => of().port);
  sources.push(made);
  return made;
};
const downloads = folder();

beforeAll(async () => {
  const { service, connectionString } = await storage();
  connection = connectionString;
  control = new Control(service);
  // Says how often to look again.
  await control.announce([]);
  collector = await Collector.start({ storage: connectionString, args: ['--rotate-bytes', '10000'] });
});
afterAll(() => {
  for (const one of sources) one.close();
});

test.skipIf(!hasTshark)('each source has its files, with every packet and nothing of anybody else', async () => {
  const one = entry({ 'eni-one': '127.0.1.1', 'eni-two': '127.0.1.2' });
  const other = entry({ 'eni-one': '127.0.1.1' });
  await control.announce([one, other]);
  await collector.whenKnown(other);
  const before = collector.status()!.dropped;

  const [first, second, stranger] = [await source('127.0.1.1'), await source('127.0.1.2'), await source('127.0.1.3')];
  const sendingFrom = Date.now();
  await first.sendNumbered(one.vni, 1, 40);
  await second.sendNumbered(one.vni, 100, 30);
  await first.sendNumbered(other.vni, 200, 20);
  await second.sendNumbered(other.vni, 300, 5);
  await stranger.sendNumbered(one.vni, 400, 4);
  const sentBy = Date.now();
  await first.sendNumbered(9_999_999, 500, 3);
  await first.send(Buffer.from('hello'));
  const withoutFlag = vxlan(one.vni, ipv4Frame(numbered(600)));
  withoutFlag[0] = 0;
  await first.send(withoutFlag);

  const status = await collector.when(
    'all is uploaded',
    (status) => isSettled(status, one, 70) && isSettled(status, other, 20),
  );
  expect(of(status, one)).toMatchObject({ vni: one.vni, capped: false, packets: 70 });
  expect(Date.now() - Date.parse(of(status, one)?.lastPacketAt ?? '')).toBeLessThan(10_000);
  expect(status.errors).toEqual([]);
  expect(Object.keys((await control.status(collector.id))!)).toEqual(Object.keys(status));
  expect({
    unknownVni: status.dropped.unknownVni - before.unknownVni,
    unknownSource: status.dropped.unknownSource - before.unknownSource,
    malformed: status.dropped.malformed - before.malformed,
  }).toEqual({ unknownVni: 3, unknownSource: 9, malformed: 2 });

  const files = await control.files(one.run, downloads);
  const infos = await capinfos(...files.map(({ path }) => path));
  expect(infos.map(({ packets }) => packets).reduce((a, b) => a + b)).toBe(70);
  for (const info of infos) expect(info).toMatchObject({ linkType: 'ether', type: 'pcap' });
  const bySource = new Map<string, string[]>();
  for (const { name, path, metadata } of files) {
    const eni = /eni-(one|two)/.exec(name)?.[0] ?? '';
    expect(name).toMatch(new RegExp(`^${one.run}/${one.vni}-${eni}-\\d{6}-\\d{8}T\\d{9}Z\\.cap$`));
    expect(metadata).toEqual({
      run: one.run,
      session: one.session,
      vni: String(one.vni),
      source: eni,
      collector: collector.id,
    });
    bySource.set(eni, [...(bySource.get(eni) ?? []), path]);
  }
  const bytes = files.map(({ path }) => statSync(path).size).reduce((a, b) => a + b);
  const packets = await tshark(...(bySource.get('eni-one') ?? []), ...(bySource.get('eni-two') ?? []));
  const count = (from: number, length: number) => Array.from({ length }, (_, i) => from + i);
  expect(packets.map((packet) => packet.number)).toEqual([...count(1, 40), ...count(100, 30)]);
  for (const { time } of packets) {
    // The clock may be off by a few milliseconds, and a busy machine is late.
    expect(time).toBeGreaterThan(sendingFrom / 1000 - 0.01);
    expect(time).toBeLessThan(sentBy / 1000 + 2);
  }
  expect(packets.some(({ time }) => Math.round(time * 1e6) % 1000 !== 0)).toBe(true);
  expect(of(status, one)).toMatchObject({ bytes, files: files.length, uploaded: files.length });
  // Nothing stays behind but the ledger.
  expect(readdirSync(join(collector.data, 'runs', one.run, one.session))).toEqual(['ledger.json']);
});

test.skipIf(!hasTshark)('a packet that the mirror cut shows how long it was', async () => {
  const one = entry({ 'eni-cut': '127.0.2.1' });
  await control.announce([one]);
  await collector.whenKnown(one);
  const from = await source('127.0.2.1');
  const long = ipv4Frame(numbered(1, 1472));
  const tagged = ipv6VlanFrame(numbered(2, 1400));
  await from.send(vxlan(one.vni, long));
  await from.send(vxlan(one.vni, long.subarray(0, 1464)));
  await from.send(vxlan(one.vni, tagged.subarray(0, 100)));
  // Padded to the 60 bytes that a frame must have.
  await from.send(vxlan(one.vni, Buffer.concat([ipv4Frame(Buffer.alloc(4)), Buffer.alloc(14)])));
  // Cut before anything tells its length.
  await from.send(vxlan(one.vni, long.subarray(0, 15)));
  await collector.when('five packets', (status) => isSettled(status, one, 5));
  const [file] = await control.files(one.run, downloads);
  expect((await tshark(file!.path)).map(({ length, captured }) => [captured, length])).toEqual([
    [1514, 1514],
    [1464, 1514],
    [100, 1466],
    [60, 60],
    [15, 15],
  ]);
});

test.skipIf(!hasTshark)('files end when they are full, and none is larger', async () => {
  const one = entry({ 'eni-full': '127.0.3.1' });
  await control.announce([one]);
  await collector.whenKnown(one);
  const from = await source('127.0.3.1');
  await from.sendNumbered(one.vni, 0, 100, 500);
  await collector.when('all is uploaded', (status) => isSettled(status, one, 100));
  const files = await control.files(one.run, downloads);
  // 17 records of 16 + 42 + 500 bytes behind a header of 24.
  const sizes = files.map(({ path }) => statSync(path).size);
  expect(sizes[0]).toBe(9_510);
  expect(Math.max(...sizes)).toBe(9_510);
  expect(files.map(({ name }) => Number(/-(\d{6})-/.exec(name)?.[1]))).toEqual(files.map((_, i) => i + 1));
  const numbers = (await tshark(...files.map(({ path }) => path))).map((packet) => packet.number);
  expect(numbers).toEqual(Array.from({ length: 100 }, (_, i) => i));
});

test('the limit of bytes holds over all files and sources, and over a restart', async () => {
  const options = { storage: connection, args: ['--rotate-bytes', '3000'] };
  let limited = await Collector.start({ ...options, id: 'limited' });
  // Files of 24 bytes of header and records of 16 + 14 + 20 + 8 + 42 = 100 bytes.
  const one = entry({ 'eni-a': '127.0.4.1', 'eni-b': '127.0.4.2' }, { maxBytes: 4_072 });
  await control.announce([one]);
  await limited.whenKnown(one);
  const [a, b] = [await source('127.0.4.1', () => limited), await source('127.0.4.2', () => limited)];
  await a.sendNumbered(one.vni, 0, 30, 42);
  await limited.when('thirty packets', (status) => isSettled(status, one, 30));

  await limited.stop();
  limited = await Collector.start({ ...options, id: 'limited', data: limited.data });
  await limited.when('the new one is here', (status) => of(status, one)?.packets === 30);
  await b.sendNumbered(one.vni, 100, 50, 42);
  const status = await limited.when(
    'the rest is uploaded',
    (status) => of(status, one)?.capped === true && status.dropped.overCap > 0 && isSettled(status, one, 40),
  );
  expect(of(status, one)).toMatchObject({ packets: 40, files: 3, bytes: 4_072 });
  expect(status.dropped.overCap).toBe(40);
  const sizes = (await control.files(one.run, downloads)).map(({ path }) => statSync(path).size);
  expect(sizes.reduce((sum, size) => sum + size, 0)).toBe(4_072);

  // What was refused stays refused, unless the app allows more.
  await control.announce([{ ...one, maxBytes: 10_000 }]);
  await limited.when('it may go on', (status) => of(status, one)?.capped === false);
  await b.sendNumbered(one.vni, 200, 1, 42);
  await limited.when('it goes on', (status) => isSettled(status, one, 41));
  await limited.stop();
});

test('a session ends at its time, and the same pair of VNI and source then belongs to the next run', async () => {
  const first = entry({ 'eni-next': '127.0.5.1' });
  await control.announce([first]);
  await collector.whenKnown(first);
  const from = await source('127.0.5.1');
  await from.sendNumbered(first.vni, 0, 10);
  await collector.when('ten packets', (status) => of(status, first)?.packets === 10);
  const over = { ...first, until: new Date(Date.now() - 1).toISOString() };
  await control.announce([over]);
  const ended = await collector.when('it has ended', (status) => isSettled(status, first, 10));
  await from.sendNumbered(first.vni, 10, 3);
  await collector.when('late packets', (status) => status.dropped.afterEnd === ended.dropped.afterEnd + 3);

  const second = entry({ 'eni-next': '127.0.5.1' }, { vni: first.vni, session: first.session });
  await control.announce([second, over]);
  await collector.whenKnown(second);
  await from.sendNumbered(first.vni, 20, 7);
  const status = await collector.when('seven', (status) => isSettled(status, second, 7));
  expect(of(status, first)).toMatchObject({ packets: 10 });

  // Taken out of the list, it is forgotten once its files are up; its packets are nobody's.
  await control.announce([over]);
  const gone = await collector.when('it is gone', (status) => of(status, second) === undefined);
  await from.sendNumbered(first.vni, 30, 2);
  await collector.when('nothing for it', (status) => status.dropped.afterEnd === gone.dropped.afterEnd + 2);
});

test('a bad list changes nothing and is reported until a good one comes', async () => {
  const one = entry({ 'eni-list': '127.0.6.1' });
  await control.announce([one], { upload: { sas: 'http://example.com/?sig=secret' } });
  const said = (what: string) =>
    collector.when(what, ({ errors }) => errors.some(({ code, message }) => code === 'list' && message.includes(what)));
  const refused = await said('upload.sas must be an https URL with a signature');
  expect(JSON.stringify(refused)).not.toContain('secret');
  await control.write('{"version":1,');
  await said('it is not JSON');
  await control.announce([{ ...one, run: `${'../'.repeat(4)}etc/passwd` }]);
  await said('sessions.0.run must be a run id');
  await control.announce([one, one]);
  await said('sessions names a session of a run twice');
  await control.announce([one]);
  await collector.when('no error', ({ errors }) => errors.every(({ code }) => code !== 'list'));
  await control.service.getContainerClient('mirror-control').getBlobClient('sessions.json').delete();
  await said('is gone');
  const from = await source('127.0.6.1');
  await from.sendNumbered(one.vni, 0, 3);
  await collector.when('three packets', (status) => isSettled(status, one, 3));
});

test('what cannot work is refused at once, with the reason', async () => {
  const second = Collector.launch({ storage: connection, port: collector.port });
  const noFolder = Collector.launch({ storage: connection, data: '/etc/hostname/nowhere' });
  const http = Collector.launch({ storage: 'http://example.com/?sig=secret' });
  expect(await second.exit).toBe(1);
  expect(second.output).toContain('is another collector running?');
  expect(await noFolder.exit).toBe(1);
  expect(noFolder.output).toContain('/etc/hostname/nowhere');
  expect(await http.exit).toBe(2);
  expect(http.output).toContain('the URL of storage must be https');
  expect(http.output).not.toContain('secret');
});

test('told to end, it uploads what it has and ends', async () => {
  const one = entry({ 'eni-end': '127.0.7.1' });
  await control.announce([one]);
  await collector.whenKnown(one);
  const from = await source('127.0.7.1');
  await from.sendNumbered(one.vni, 0, 8);
  const asked = Date.now();
  expect(await collector.stop()).toBe(0);
  expect(Date.now() - asked).toBeLessThan(10_000);
  const status = await control.status(collector.id);
  expect(isSettled(status!, one, 8)).toBe(true);
  expect(await control.files(one.run, downloads)).toHaveLength(1);
});
