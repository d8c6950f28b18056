import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { verdictOf, type Matched } from '../../local/vpc/matching.ts';
import type { FilterRule, RuleSettings } from '../../local/vpc/state.ts';
import { packetsBetween } from '../../local/vpc/traffic.ts';
import { until } from '../until.ts';
import { COLLECTOR, Emulator, hasTshark, Target, vniOf, type Datagram } from './harness.ts';

let cloud: Emulator;
let target: Target;
beforeAll(async () => {
  target = await Target.open();
  cloud = await Emulator.start(['--pace', '0.02', '--target', `${COLLECTOR}=${target.address}`]);
});
afterAll(async () => {
  await cloud[Symbol.asyncDispose]();
  await target[Symbol.asyncDispose]();
});

const enable = (id: string, Enabled: boolean) =>
  cloud.done('UpdateTrafficMirrorSessionAttribute', { TrafficMirrorSessionId: id, Enabled });

describe('mirrored packets', () => {
  test('go on by what was in force until a change is done', async () => {
    const id = await cloud.session({
      Priority: 403,
      VirtualNetworkId: 403,
      Enabled: true,
      TrafficMirrorSourceIds: ['eni-s403'],
    });
    await target.arrived(403, 5);
    await cloud.control({ faults: { hold: true } });
    await enable(id, false);
    const before = target.of(403).length;
    await target.arrived(403, before + 5);
    await cloud.control({ faults: null });
    await cloud.settled(id);
    await expectSilence(403);
  });

  test('stop in arrears and come again when they are paid', async () => {
    await cloud.session({ Priority: 404, VirtualNetworkId: 404, Enabled: true, TrafficMirrorSourceIds: ['eni-s404'] });
    await target.arrived(404, 5);
    await cloud.control({ arrears: true });
    const before = await expectSilence(404);
    await cloud.control({ arrears: false });
    await target.arrived(404, before + 5);
  });

  test('none of a released instance, none through a filter without rules, none while they are held back', async () => {
    const given = { VirtualNetworkId: 405, Enabled: true };
    await cloud.session({ ...given, Priority: 405, TrafficMirrorSourceIds: ['eni-s405'] });
    await cloud.session({
      ...given,
      VirtualNetworkId: 406,
      Priority: 406,
      TrafficMirrorFilterId: 'tmf-empty0001',
      TrafficMirrorSourceIds: ['eni-s406'],
    });
    await target.arrived(405, 5);
    await cloud.control({ faults: { gone: ['i-s405'] } });
    const before = await expectSilence(405);
    await cloud.control({ faults: { gone: [], packets: 'none' } });
    expect(await expectSilence(405)).toBe(before);
    await cloud.control({ faults: null });
    await target.arrived(405, before + 5);
    expect(target.of(406)).toEqual([]);
  });
});

describe.concurrent('mirrored packets, several sessions at once', () => {
  test('come while the session is enabled, from the address that stands for the source', async () => {
    const id = await cloud.session({
      Priority: 401,
      VirtualNetworkId: 401,
      TrafficMirrorSourceIds: ['eni-j6c9pagb27uzlikj0001'],
    });
    expect(target.of(401)).toEqual([]);
    await enable(id, true);
    await cloud.settled(id);
    const began = Date.now();
    const first = await target.arrived(401, 1);
    expect(new Set(first.map((each) => each.from))).toEqual(new Set(['127.0.0.5']));
    await target.arrived(401, 45);
    const perSecond = (target.of(401).length * 1000) / (Date.now() - began);
    expect(perSecond).toBeGreaterThan(15);
    expect(perSecond).toBeLessThan(90);
    const state = (await cloud.own('/_state')).sessions.find((each: any) => each.id === id);
    expect(state).toMatchObject({ status: 'Created', enabled: true, mirroring: true, vni: 401 });
    expect(state.sent.packets).toBeGreaterThanOrEqual(45);

    await enable(id, false);
    await cloud.settled(id);
    await expectSilence(401);
  });

  test('a deleted session mirrors no more', async () => {
    const id = await cloud.session({
      Priority: 402,
      VirtualNetworkId: 402,
      Enabled: true,
      TrafficMirrorSourceIds: ['eni-s402'],
    });
    await target.arrived(402, 5);
    await cloud.remove(id);
    await expectSilence(402);
  });

  test('of two sources in one session are told apart by their address; a target may move', async () => {
    await using other = await Target.open();
    const { TrafficMirrorSourceIds: sources } = await cloud.listed('tms-prepared0001');
    expect(sources).toHaveLength(2);
    await cloud.control({ targets: { 'eni-sensor0001': other.address } });
    const id = 'tms-prepared0001';
    await enable(id, true);
    await cloud.settled(id);
    await until('both', () => new Set(target.of(1000).map((each) => each.from)).size === 2);
    expect(new Set(target.of(1000).map((each) => each.from))).toEqual(new Set(['127.0.0.4', '127.0.0.5']));
    await enable(id, false);
    await cloud.settled(id);
    // The foreign session, enabled all the time, goes to the target that moved.
    await other.arrived(4242, 5);
    expect(target.of(4242)).toEqual([]);
  });

  test('each is mirrored once: the better session takes what its filter fits', async () => {
    // The foreign session has priority 1 and accepts TCP.
    const source = { TrafficMirrorSourceIds: ['eni-bp1ecr000100015go2go'], Enabled: true };
    await cloud.session({ ...source, Priority: 411, VirtualNetworkId: 411 });
    await target.arrived(411, 8);
    expect(new Set(target.of(411).map(({ data }) => protocolOf(data)))).toEqual(new Set([1, 17]));
  });

  test('a drop of the better session takes packets away from the others', async () => {
    const everything = { Action: 'accept', Protocol: 'ALL', Priority: 2 };
    const filter = await cloud.filter({
      IngressRules: [{ Action: 'drop', Protocol: 'TCP', Priority: 1 }],
      EgressRules: [everything],
    });
    const source = { TrafficMirrorSourceIds: ['eni-s421'], Enabled: true };
    await cloud.session({ ...source, Priority: 422, VirtualNetworkId: 422 });
    await target.arrived(422, 3);
    await cloud.session({ ...source, Priority: 421, VirtualNetworkId: 421, TrafficMirrorFilterId: filter });
    const since = target.of(422).length;
    await until('a second of both', () => target.of(421).length > 30 && target.of(422).length > since + 2);
    const address = (await cloud.own('/_state')).sources.find((each: any) => each.id === 'eni-s421').address;
    // All that leaves is accepted by the first; what comes in is dropped when it is TCP, else falls through.
    expect(new Set(target.of(421).map(({ data }) => sourceOf(data)))).toEqual(new Set([address]));
    expect(
      new Set(
        target
          .of(422)
          .slice(since + 1)
          .map(({ data }) => protocolOf(data)),
      ),
    ).not.toContain(6);
  });

  test('are cut to the packet length', async () => {
    const given = { Enabled: true, PacketLength: 100, TrafficMirrorSourceIds: ['eni-s431'] };
    await cloud.session({ ...given, Priority: 431, VirtualNetworkId: 431 });
    await until('a large packet', () => target.of(431).some(({ data }) => ipLengthOf(data) === 1500));
    const sizes = target.of(431).map(({ data }) => [data.length - 8 - 14, ipLengthOf(data)]);
    expect(sizes.every(([captured = 0, original = 0]) => captured === Math.min(original, 100))).toBe(true);
  });

  test('are cut to what fits the target', async () => {
    await cloud.control({ targets: { 'lb-collector0001': target.address } });
    await cloud.session({
      Enabled: true,
      Priority: 432,
      VirtualNetworkId: 432,
      TrafficMirrorSourceIds: ['eni-s432'],
      TrafficMirrorTargetType: 'SLB',
      TrafficMirrorTargetId: 'lb-collector0001',
    });
    await until('a large packet', () => target.of(432).some(({ data }) => ipLengthOf(data) === 1500));
    const largest = Math.max(...target.of(432).map(({ data }) => data.length - 8 - 14));
    expect(largest).toBe(1450);
  });

  test.skipIf(!hasTshark)(
    'tshark reads them as VXLAN with whole conversations in it (apt-get install tshark)',
    async () => {
      await cloud.session({
        Priority: 441,
        VirtualNetworkId: 16_777_215,
        Enabled: true,
        TrafficMirrorSourceIds: ['eni-s441'],
      });
      await target.arrived(16_777_215, 85);
      const packets = tshark(target.of(16_777_215), [
        'vxlan.vni',
        'vxlan.flag_i',
        'ip.src',
        'eth.src',
        'frame.protocols',
        'ip.checksum.status',
        'tcp.checksum.status',
        'udp.checksum.status',
        'dns.qry.name',
        'http.host',
        'tls.handshake.extensions_server_name',
        'icmp.type',
        'tcp.analysis.flags',
        '_ws.malformed',
      ]);
      const { address } = (await cloud.own('/_state')).sources.find((each: any) => each.id === 'eni-s441');
      expect(new Set(packets.map((each) => each['vxlan.vni']))).toEqual(new Set(['16777215']));
      for (const each of packets) {
        // The outer headers are the test's own, with checksums that nobody counts.
        expect(each['ip.checksum.status']?.split(',').at(-1)).toBe('1');
        expect([each['tcp.checksum.status'], each['_ws.malformed']]).toEqual([expect.stringMatching(/^1?$/), '']);
        expect(each['udp.checksum.status']?.split(',').at(-1)).toMatch(/^[13]$/);
      }
      const innerSources = new Set(packets.map((each) => each['ip.src']?.split(',').at(-1)));
      expect(innerSources).toContain(address);
      expect(innerSources.size).toBeGreaterThan(4);
      const seen = (name: string) => new Set(packets.map((each) => each[name]).filter(Boolean));
      expect(seen('dns.qry.name').size).toBeGreaterThan(1);
      expect(seen('http.host')).toEqual(new Set(['shop.example.com', 'app.example.com']));
      expect(seen('tls.handshake.extensions_server_name').size).toBeGreaterThan(1);
      expect(seen('icmp.type')).toEqual(new Set(['0', '8']));
    },
  );
});

/** Reads datagrams as if they had been captured on their way, with outer headers made here. */
function tshark(datagrams: Datagram[], fields: string[]): Record<string, string>[] {
  const folder = mkdtempSync(join(tmpdir(), 'vpc-pcap-'));
  const file = join(folder, 'mirrored.pcap');
  writeFileSync(file, Buffer.concat([pcapHeader(), ...datagrams.map(pcapRecord)]));
  const options = ['ip', 'tcp', 'udp'].flatMap((each) => ['-o', `${each}.check_checksum:TRUE`]);
  const { stdout } = spawnSync(
    'tshark',
    [
      '-r',
      file,
      '-d',
      'udp.port==4789,vxlan',
      ...options,
      '-T',
      'fields',
      '-E',
      'separator=|',
      ...fields.flatMap((each) => ['-e', each]),
    ],
    { encoding: 'utf8' },
  );
  rmSync(folder, { recursive: true });
  const lines = stdout.trimEnd().split('\n');
  expect(lines).toHaveLength(datagrams.length);
  return lines.map((line) => Object.fromEntries(line.split('|').map((value, i) => [fields[i], value])));
}

function pcapHeader(): Buffer {
  const header = Buffer.alloc(24);
  header.writeUInt32LE(0xa1b2c3d4, 0);
  header.writeUInt16LE(2, 4);
  header.writeUInt16LE(4, 6);
  header.writeUInt32LE(65_535, 16);
  header.writeUInt32LE(101, 20); // raw IP
  return header;
}

function pcapRecord({ data }: Datagram, i: number): Buffer {
  const record = Buffer.alloc(16 + 28);
  record.writeUInt32LE(i, 0);
  record.writeUInt32LE(28 + data.length, 8);
  record.writeUInt32LE(28 + data.length, 12);
  const ip = record.subarray(16);
  ip[0] = 0x45;
  ip.writeUInt16BE(28 + data.length, 2);
  ip[8] = 64;
  ip[9] = 17;
  ip.set([10, 0, 0, 1, 10, 0, 0, 2], 12);
  ip.writeUInt16BE(40_000, 20);
  ip.writeUInt16BE(4789, 22);
  ip.writeUInt16BE(8 + data.length, 24);
  return Buffer.concat([record, data]);
}

/** Waits until nothing came for longer than traffic ever pauses, and says how many came before. */
async function expectSilence(vni: number): Promise<number> {
  let count = -1;
  let since = 0;
  await until(`silence of ${vni}`, () => {
    if (target.of(vni).length !== count) [count, since] = [target.of(vni).length, Date.now()];
    return Date.now() - since > 600;
  });
  return count;
}

const ETHERNET = 8 + 14;
function protocolOf(data: Buffer): number {
  return data[ETHERNET + 9] ?? 0;
}
function ipLengthOf(data: Buffer): number {
  return data.readUInt16BE(ETHERNET + 2);
}
function sourceOf(data: Buffer): string {
  return data.subarray(ETHERNET + 12, ETHERNET + 16).join('.');
}

describe('rules of a filter', () => {
  const packet: Matched = {
    direction: 'egress',
    protocol: 'TCP',
    from: { address: '10.0.0.4', port: 50_000 },
    to: { address: '203.0.113.10', port: 443 },
  };
  const rule = (more: Partial<RuleSettings>, direction: FilterRule['direction'] = 'egress'): FilterRule => {
    const settings: RuleSettings = {
      action: 'accept',
      priority: 1,
      protocol: 'ALL',
      sourceCidr: '0.0.0.0/0',
      destinationCidr: '0.0.0.0/0',
      sourcePorts: '-1/-1',
      destinationPorts: '-1/-1',
      ...more,
    };
    return { id: 'tmr-x', direction, status: 'Created', settlesAt: 0, asked: settings, inForce: settings };
  };

  test.each<[string, Partial<RuleSettings>, boolean]>([
    ['everything', {}, true],
    ['its protocol', { protocol: 'TCP' }, true],
    ['another protocol', { protocol: 'UDP' }, false],
    ['its networks', { sourceCidr: '10.0.0.0/24', destinationCidr: '203.0.113.10/32' }, true],
    ['the neighbouring network', { sourceCidr: '10.0.1.0/24' }, false],
    ['a network that is given by one of its addresses', { sourceCidr: '10.0.0.77/24' }, true],
    ['half of all addresses', { destinationCidr: '128.0.0.0/1' }, true],
    ['the other half', { destinationCidr: '0.0.0.0/1' }, false],
    ['its ports', { sourcePorts: '50000/50000', destinationPorts: '400/443' }, true],
    ['other ports', { destinationPorts: '444/65535' }, false],
  ])('fit by %s', (_, more, fits) => {
    expect(verdictOf([rule(more)], packet)).toBe(fits ? 'accept' : undefined);
  });

  test('the better priority decides, in its direction', () => {
    const drop = rule({ action: 'drop', priority: 2 });
    expect(verdictOf([drop, rule({ priority: 1 })], packet)).toBe('accept');
    expect(verdictOf([drop, rule({ priority: 3 })], packet)).toBe('drop');
    expect(verdictOf([rule({}, 'ingress')], packet)).toBeUndefined();
  });

  test('a rule that is not made yet does not count', () => {
    const { inForce: _, ...made } = rule({});
    expect(verdictOf([made], packet)).toBeUndefined();
  });

  test('ports mean nothing to a ping', () => {
    expect(verdictOf([rule({ destinationPorts: '1/1' })], { ...packet, protocol: 'ICMP' })).toBe('accept');
  });
});

test('traffic is the same however it is asked for', () => {
  const source = { address: '10.0.0.4', mac: '00:16:3e:00:00:04' };
  const whole = packetsBetween(source, 5_000_000, 5_003_000);
  const parts = Array.from({ length: 30 }, (_, i) =>
    packetsBetween(source, 5_000_000 + i * 100, 5_000_100 + i * 100),
  ).flat();
  expect(parts).toEqual(whole);
  expect(whole.length / 3).toBeGreaterThan(20);
  expect(whole.length / 3).toBeLessThan(55);
  expect(whole.every((each, i) => i === 0 || each.atMs >= (whole[i - 1]?.atMs ?? 0))).toBe(true);
  expect(vniOf(Buffer.from([8, 0, 0, 0, 0, 1, 2, 0]))).toBe(258);
});
