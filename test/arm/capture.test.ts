import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { SERVICES } from '../../local/arm/network.ts';
import {
  Emulator,
  TOOLS,
  WATCHER,
  arrived,
  ask,
  blobOf,
  exists,
  hasTools,
  packetsOf,
  portsOf,
  startStorage,
  type Storage,
} from './harness.ts';
import { connectionStringFor } from '../azurite.ts';
import { freePort } from '../sandbox/sandbox.ts';
import { until } from '../until.ts';

let storage: Storage;
beforeAll(async () => {
  storage = await startStorage();
});
afterAll(() => storage.stop());

/** The same promises hold for captured packets and for made up ones. */
const sources = [
  { source: `captured packets ${hasTools ? '' : TOOLS}`, args: [], skip: !hasTools },
  { source: 'made up packets', args: ['--no-tcpdump'], skip: false },
];

describe.concurrent.each(sources)('$source', ({ args, skip }) => {
  let emulator: Emulator;
  /** The port on which a service is seen in a file. */
  let port: (service: keyof typeof SERVICES) => number;
  beforeAll(async () => {
    if (skip) return;
    emulator = await Emulator.start(storage.connectionString, ['--pace', '0.03', ...args]);
    const bound = (await ask(`${emulator.url}/_traffic`, {})).body;
    const real = (name: string): number => bound.find((service: any) => service.name === name).realPort;
    port = (service) => (bound.length === 0 ? SERVICES[service].port : real(service));
  });
  afterAll(async () => {
    if (!skip) await emulator[Symbol.asyncDispose]();
  });

  /** Starts a capture, and answers its file when that has arrived. */
  async function captured(name: string, properties: Record<string, unknown>): Promise<Buffer> {
    const created = await emulator.create(name, properties);
    expect(created.status).toBe(201);
    return arrived(storage, ...blobOf(created.body));
  }

  const everyPacketHas = (file: Buffer, allowed: number[]) =>
    packetsOf(file).every(({ data }) => portsOf(data).some((each) => allowed.includes(each)));

  test.skipIf(skip).concurrent('two seconds of traffic, of the emulator and nobody else', async () => {
    const file = await captured('whole', { timeLimitInSeconds: 2 });
    const all = (Object.keys(SERVICES) as (keyof typeof SERVICES)[]).map(port);
    expect(everyPacketHas(file, all)).toBe(true);
    const seen = new Set(packetsOf(file).flatMap(({ data }) => portsOf(data)));
    expect(all.filter((each) => !seen.has(each))).toEqual([]);
  });

  test.skipIf(skip).concurrent('one second has packets too', async () => {
    expect(packetsOf(await captured('short', { timeLimitInSeconds: 1 })).length).toBeGreaterThan(5);
  });

  test.skipIf(skip).concurrent('a snap length cuts packets', async () => {
    const packets = packetsOf(await captured('snap', { timeLimitInSeconds: 2, bytesToCapturePerPacket: 64 }));
    expect(Math.max(...packets.map((packet) => packet.capturedBytes))).toBe(64);
    expect(Math.max(...packets.map((packet) => packet.originalBytes))).toBeGreaterThan(500);
  });

  test.skipIf(skip).concurrent('a size limit ends the capture at a packet', async () => {
    const file = await captured('size', { timeLimitInSeconds: 60, totalBytesPerSession: 5000 });
    expect(file.length).toBeLessThanOrEqual(5000);
    expect(packetsOf(file).length).toBeGreaterThan(3);
    expect((await emulator.status('size')).stopReason).toBe('MaxSizeReached');
  });

  test.skipIf(skip).concurrent('a filter for remote port 443 gives only that', async () => {
    const filters = [{ protocol: 'TCP', remotePort: '443' }];
    const file = await captured('https', { timeLimitInSeconds: 2, filters });
    expect(packetsOf(file).length).toBeGreaterThan(5);
    expect(everyPacketHas(file, [port('api')])).toBe(true);
  });

  test.skipIf(skip).concurrent('a filter that nothing passes gives an empty file', async () => {
    const filters = [{ remoteIPAddress: '192.0.2.1' }];
    expect(packetsOf(await captured('nothing', { timeLimitInSeconds: 1, filters }))).toEqual([]);
  });

  test.skipIf(skip).concurrent('the file arrives after the end, and not before', async () => {
    const created = await emulator.create('stopped');
    await emulator.untilStatus('stopped', 'Running');
    expect(await exists(storage, ...blobOf(created.body))).toBe(false);
    await emulator.arm('POST', `${WATCHER}/packetCaptures/stopped/stop`);
    expect((await emulator.untilStatus('stopped', 'Stopped')).stopReason).toBe('Manual');
    await arrived(storage, ...blobOf(created.body));
  });

  test.skipIf(skip).concurrent('a deleted capture leaves its file', async () => {
    const created = await emulator.create('deleted');
    await emulator.untilStatus('deleted', 'Running');
    await emulator.arm('DELETE', `${WATCHER}/packetCaptures/deleted`);
    await arrived(storage, ...blobOf(created.body));
    expect((await emulator.arm('GET', `${WATCHER}/packetCaptures/deleted`)).status).toBe(404);
  });

  test.skipIf(skip).concurrent("the caller's own path is used as it is", async () => {
    const storagePath = 'http://127.0.0.1:10000/devstoreaccount1/my-files/Some/Name.cap';
    const storageId = '/subscriptions/s/resourceGroups/g/providers/Microsoft.Storage/storageAccounts/other';
    await emulator.create('own', { timeLimitInSeconds: 1, storageLocation: { storageId, storagePath } });
    expect((await arrived(storage, 'my-files', 'Some/Name.cap')).length).toBeGreaterThan(24);
  });

  test.skipIf(skip || !hasTools).concurrent(`capinfos and tshark find no fault ${TOOLS}`, async () => {
    const path = join(emulator.data, 'checked.cap');
    writeFileSync(path, await captured('checked', { timeLimitInSeconds: 2 }));
    expect(spawnSync('capinfos', ['-c', path], { encoding: 'utf8' }).stdout).toMatch(/Number of packets:\s+[1-9]/);
    const fields = ['dns.qry.name', 'tls.handshake.extensions_server_name', 'tcp.analysis.flags'];
    // The kernel leaves checksums to the network card that the loopback interface does not have.
    const layers = args.length > 0 ? ['ip', 'tcp', 'udp'] : [];
    fields.push(...layers.map((layer) => `${layer}.checksum.status`));
    const lines = spawnSync(
      'tshark',
      [
        ...['-r', path, '-T', 'fields', '-E', 'separator=|'],
        ...['-d', `udp.port==${port('dns')},dns`, '-d', `tcp.port==${port('api')},tls`],
        ...layers.flatMap((layer) => ['-o', `${layer}.check_checksum:TRUE`]),
        ...fields.flatMap((field) => ['-e', field]),
      ],
      { encoding: 'utf8' },
    ).stdout.split('\n');
    const seen = lines.map((line) => line.split('|'));
    expect(seen.some(([name]) => name?.includes('example'))).toBe(true);
    expect(seen.some(([, server]) => server?.includes('example'))).toBe(true);
    if (args.length === 0) return;
    expect(seen.filter(([, , flags]) => flags)).toEqual([]);
    // 0 is a wrong checksum.
    expect(seen.filter(([, , , ...checksums]) => checksums.includes('0'))).toEqual([]);
    expect(seen.some(([, , , ...checksums]) => checksums.includes('1'))).toBe(true);
  });
});

test.concurrent('a file waits while it is held back, and while storage is down', async () => {
  const port = await freePort();
  const down = connectionStringFor({ blob: port });
  await using emulator = await Emulator.start(down, ['--no-tcpdump', '--pace', '0.01']);
  await emulator.control({ upload: 'never' });
  const created = await emulator.create('late', { timeLimitInSeconds: 1 });
  await emulator.untilStatus('late', 'Stopped');
  const held = Date.now() + 600;
  await until('a while', () => Date.now() > held);
  expect(emulator.said()).not.toContain('upload');
  await emulator.control({ upload: 'normal' });
  await until('a failed upload', () => emulator.said().includes('upload failed'));
  // Storage is there again.
  const back = createServer((socket) => {
    const onward = connect(storage.port, '127.0.0.1').on('error', () => socket.destroy());
    socket
      .on('error', () => onward.destroy())
      .pipe(onward)
      .pipe(socket);
  }).listen(port, '127.0.0.1');
  await arrived(storage, ...blobOf(created.body));
  back.close();
});
