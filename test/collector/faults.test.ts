import { once } from 'node:events';
import { readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { basename, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { ContainerSASPermissions, SASProtocol } from '@azure/storage-blob';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { Disk } from '../../collector/disk.ts';
import { Errors } from '../../collector/errors.ts';
import { FLUSH_MS } from '../../collector/open-file.ts';
import { Sessions } from '../../collector/sessions.ts';
import { connectionStringFor } from '../azurite.ts';
import { until } from '../until.ts';
import { entry, folder, isSettled, of } from './entries.ts';
import { hasTshark, tshark } from './oracles.ts';
import { Collector } from './process.ts';
import { Control, Wire, storage } from './storage.ts';
import { Source, ipv4Frame, numbered, vxlan } from './packets.ts';

// What must not lose packets, or must say that it does: killed processes, storage that is away, a disk without room.
let control: Control;
let connection: string;
let wire: Wire;
const downloads = folder();
const sources: Source[] = [];

beforeAll(async () => {
  const { service, blobPort } = await storage();
  control = new Control(service);
  // Says how often to look again.
  await control.announce([]);
  wire = new Wire(blobPort);
  await wire.mend();
  connection = connectionStringFor({ blob: wire.port });
});
afterAll(() => {
  for (const one of sources) one.close();
});

test
  .skipIf(!hasTshark)
  .concurrent(
    'killed at any moment, it loses what was in memory and nothing else, and nothing comes twice',
    async () => {
      const options = {
        storage: connection,
        id: 'killed',
        args: ['--rotate-bytes', '20000', '--rotate-seconds', '0.3'],
      };
      let collector = await Collector.start(options);
      const { port, data } = collector;
      const one = entry({ 'eni-killed': '127.0.8.1' });
      await control.announce([one]);
      await collector.whenKnown(one);

      const from = await Source.open('127.0.8.1', () => port);
      sources.push(from);
      const sentAt: number[] = [];
      let sending = true;
      const sender = (async () => {
        while (sending) {
          for (let i = 0; i < 5; i++) {
            sentAt.push(Date.now());
            await from.sendNumbered(one.vni, sentAt.length - 1, 1, 200);
          }
          await delay(10);
        }
      })();

      const gaps: { from: number; to: number }[] = [];
      for (let round = 0; round < 3; round++) {
        // Random on purpose: whatever it is at, it must come out right.
        await delay(200 + Math.random() * 900);
        const killedAt = Date.now();
        await collector.kill();
        collector = await Collector.start({ ...options, data, port });
        gaps.push({ from: killedAt - FLUSH_MS, to: Date.now() });
      }
      await delay(200);
      sending = false;
      await sender;
      const seen = await collector.when('all is uploaded', (status) => {
        const found = of(status, one);
        const quiet = Date.now() - Date.parse(found?.lastPacketAt ?? '') > 500;
        return quiet && isSettled(status, one, found?.packets ?? -1);
      });
      await collector.stop();

      const files = await control.files(one.run, downloads);
      const sequences = files.map(({ name }) => /-(\d{6,})-/.exec(name)?.[1]);
      expect(new Set(sequences).size).toBe(files.length);
      const numbers = (await tshark(...files.map(({ path }) => path))).map((packet) => packet.number);
      expect(numbers.length).toBeGreaterThan(200);
      expect(new Set(numbers).size).toBe(numbers.length);
      // A tick of 200 ms looks whether a flush is due; a busy machine is late.
      const slackMs = 600;
      const came = new Set(numbers);
      const strangers = sentAt.filter(
        (at, number) => !came.has(number) && !gaps.some((gap) => at > gap.from - slackMs && at < gap.to + 100),
      );
      expect(strangers).toEqual([]);
      const bytes = files.map(({ path }) => statSync(path).size).reduce((a, b) => a + b);
      expect(of(seen, one)).toMatchObject({ packets: numbers.length, files: files.length, bytes });
    },
  );

test.concurrent('told to end while storage hangs, it ends within ten seconds and keeps its files', async () => {
  const data = folder();
  const one = entry({ 'eni-hang': '127.0.13.1' });
  writeFileSync(
    join(data, 'sessions.json'),
    JSON.stringify({ version: 1, writtenAt: new Date().toISOString(), sessions: [one] }),
  );
  const silent = createServer(() => undefined).listen(0, '127.0.0.1');
  await once(silent, 'listening');
  const { port } = silent.address() as AddressInfo;
  const collector = await Collector.start({ storage: connectionStringFor({ blob: port }), data });
  const from = await Source.open('127.0.13.1', () => collector.port);
  sources.push(from);
  await from.sendNumbered(one.vni, 0, 5);
  await until('it writes', () => readdirSync(data).includes('runs'));
  const asked = Date.now();
  expect(await collector.stop()).toBe(0);
  expect(Date.now() - asked).toBeLessThan(10_000);
  expect(readdirSync(join(data, 'runs', one.run, one.session))).toEqual([expect.stringMatching(/\.5\.cap$/)]);
  silent.closeAllConnections();
  silent.close();
});

test('without storage it goes on until the disk has no more room for it, says so, and makes up for it later', async () => {
  const budget = 20_000;
  const options = {
    storage: connection,
    id: 'alone',
    args: ['--disk-bytes', String(budget), '--rotate-bytes', '5000'],
  };
  let collector = await Collector.start(options);
  const one = entry({ 'eni-alone': '127.0.9.1' });
  await control.announce([one]);
  await collector.whenKnown(one);
  const from = await Source.open('127.0.9.1', () => collector.port);
  sources.push(from);

  wire.cut();
  await from.sendNumbered(one.vni, 0, 250, 42);
  const away = await collector.when(
    'the disk is full',
    (status) => of(status, one)?.openBytes === 0 && status.errors.length >= 4,
  );
  const kept = of(away, one)!.packets;
  expect(kept + away.dropped.disk).toBe(250);
  expect(away.errors.map(({ code }) => code).sort()).toEqual(['disk', 'storage', 'storage', 'upload']);
  expect(collector.output).toMatch(/error \(disk\): .*--disk-bytes/);
  const here = readdirSync(join(collector.data, 'runs', one.run, one.session)).filter((name) => name.endsWith('.cap'));
  const size = here
    .map((name) => statSync(join(collector.data, 'runs', one.run, one.session, name)).size)
    .reduce((a, b) => a + b);
  expect(size).toBe(of(away, one)!.bytes);
  expect(size).toBeLessThanOrEqual(budget);
  expect(size).toBeGreaterThan(budget - 200);

  // Told to end, it does so; the next one finds list and files, and knows where it was.
  expect(await collector.stop()).toBe(0);
  expect(collector.output).toContain('could not be uploaded in time');
  collector = await Collector.start({ ...options, data: collector.data });
  const again = await collector.when('it reports', () => true);
  expect(of(again, one)).toMatchObject({ packets: kept, uploaded: 0 });
  await wire.mend();
  await collector.when('all is uploaded', (status) => isSettled(status, one, kept), 15_000);
  await from.sendNumbered(one.vni, 1000, 5, 42);
  const back = await collector.when('it goes on', (status) => isSettled(status, one, kept + 5));
  expect(back.errors).toEqual([]);
  const sequences = (await control.files(one.run, downloads)).map(({ name }) => Number(/-(\d{6,})-/.exec(name)?.[1]));
  expect(sequences).toEqual(sequences.map((_, i) => i + 1));
  await collector.stop();
});

test('with signatures in place of keys, it uploads with the one in the list, and names none', async () => {
  const container = (name: string, letters: string, minutes: number) => {
    const client = control.service.getContainerClient(name);
    return client.generateSasUrl({
      permissions: ContainerSASPermissions.parse(letters),
      protocol: SASProtocol.HttpsAndHttp,
      startsOn: new Date(Date.now() - 3_600_000),
      expiresOn: new Date(Date.now() + minutes * 60_000),
    });
  };
  await control.captures.createIfNotExists();
  await control.service.getContainerClient('mirror-control').createIfNotExists();
  const controlSas = new URL(await container('mirror-control', 'rcw', 60)).search;
  const expired = await container('mirror-captures', 'rc', -1);
  const good = await container('mirror-captures', 'rc', 10);
  const service = `${control.service.url}${controlSas}`;
  const collector = await Collector.start({
    storage: 'UseDevelopmentStorage=true',
    args: ['--storage', service],
    id: 'signed',
  });
  const one = entry({ 'eni-signed': '127.0.10.1' });
  await control.announce([one], { upload: { sas: expired } });
  await collector.whenKnown(one);
  const from = await Source.open('127.0.10.1', () => collector.port);
  sources.push(from);
  await from.sendNumbered(one.vni, 0, 6);
  const refused = await collector.when('a refusal', ({ errors }) => errors.length > 0);
  expect(refused.errors).toMatchObject([{ code: 'upload' }]);
  expect(refused.errors[0]?.message).toMatch(/^Storage refuses files \(403 .*the SAS in the list/);

  await control.announce([one], { upload: { sas: good } });
  const status = await collector.when('all is uploaded', (status) => isSettled(status, one, 6), 15_000);
  expect(status.errors).toEqual([]);
  await collector.stop();
  for (const url of [service, expired, good]) {
    const secret = new URL(url).searchParams.get('sig')!;
    for (const text of [collector.output, JSON.stringify(status), JSON.stringify(refused)]) {
      expect(text).not.toContain(secret);
      expect(text).not.toContain(encodeURIComponent(secret));
    }
  }
  // The list lies on disk with its signature, for nobody else to read.
  expect(readFileSync(join(collector.data, 'sessions.json'), 'utf8')).toContain('sig=');
  expect(statSync(join(collector.data, 'sessions.json')).mode & 0o077).toBe(0);
});

test('what is in storage already is not uploaded again, nor is anything else under its name overwritten', async () => {
  const data = folder();
  const one = entry({ 'eni-there': '127.0.12.1' });
  const sessions = new Sessions({
    disk: new Disk(data, 1e9, new Errors(() => new Date())),
    rotation: { bytes: 300, ageMs: 60_000 },
    graceMs: 1000,
  });
  sessions.apply({ version: 1, writtenAt: new Date().toISOString(), sessions: [one] }, Date.now());
  for (let i = 0; i < 6; i++)
    sessions.receive(vxlan(one.vni, ipv4Frame(numbered(i, 42))), '127.0.12.1', Date.now() * 1000);
  sessions.close(Date.now());
  const [same, other, fresh] = sessions
    .closedFiles()
    .map(({ name, path }) => ({ name: `${one.run}/${name}.cap`, path }));
  await control.captures.createIfNotExists();
  // The first as if the answer to its upload had been lost, the second as if somebody else had taken its name.
  await control.captures.getBlockBlobClient(same!.name).uploadFile(same!.path);
  await control.captures.getBlockBlobClient(other!.name).upload('something else', 14);

  const collector = await Collector.start({ storage: connection, data, id: 'twice' });
  await control.announce([one]);
  const status = await collector.when('two are there', (status) => of(status, one)?.uploaded === 2);
  expect(of(status, one)).toMatchObject({ files: 3, packets: 6 });
  const later = await collector.when('the conflict is told', ({ errors }) => errors.length > 0);
  expect(later.errors).toMatchObject([{ code: 'upload', message: expect.stringContaining(other!.name) }]);
  expect(readdirSync(join(data, 'runs', one.run, one.session)).sort()).toEqual([basename(other!.path), 'ledger.json']);
  expect(await control.captures.getBlobClient(other!.name).downloadToBuffer()).toHaveLength(14);
  expect((await control.files(one.run, downloads)).map(({ name }) => name)).toContain(fresh!.name);
  await collector.stop();
});
