import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { fixedKeys } from '../../collector/alibaba-keys.ts';
import { sign } from '../../collector/acs3.ts';
import { Disk } from '../../collector/disk.ts';
import { Errors } from '../../collector/errors.ts';
import type { CollectorError } from '../../collector/protocol.ts';
import { Sessions } from '../../collector/sessions.ts';
import { SwitchError, type MirrorSwitch } from '../../collector/switch.ts';
import { Switching } from '../../collector/switching.ts';
import { Vpc } from '../../collector/vpc.ts';
import { until } from '../until.ts';
import { FakeCloud } from './fake-cloud.ts';
import { entry, folder, of, type Entry } from './entries.ts';
import { Collector } from './process.ts';
import { Source, ipv4Frame, numbered, vxlan } from './packets.ts';

// Sessions that go on mirroring when they should have stopped, with nobody but the collector left to end them.
let cloud: FakeCloud;
beforeEach(async () => {
  cloud = new FakeCloud();
  await cloud.start();
});
afterEach(() => cloud.stop());

const listOf = (...sessions: Entry[]) => ({ version: 1 as const, writtenAt: new Date().toISOString(), sessions });

test('with app and storage gone, it switches off by its own role what goes on after its end, and again if it comes back', async () => {
  const data = folder();
  const one = entry({ 'eni-late': '127.0.11.1' }, { until: new Date(Date.now() - 10_000).toISOString() });
  cloud.sessions.set(one.session, true);
  cloud.refusals.push(
    { status: 502, body: '<html>Bad gateway</html>' },
    { status: 400, body: JSON.stringify({ Code: 'IncorrectStatus.TrafficMirrorSession' }) },
  );
  cloud.slowness = 1;
  writeFileSync(join(data, 'sessions.json'), JSON.stringify(listOf(one)));
  const collector = await Collector.start({
    storage: 'UseDevelopmentStorage=true',
    data,
    // Later options win over those of the harness; nobody is at this storage.
    args: ['--storage', 'http://127.0.0.1:9/nobody', '--vpc', cloud.vpcHost, '--metadata', cloud.metadataUrl],
  });
  const from = await Source.open('127.0.11.1', () => collector.port);
  const sending = setInterval(() => void from.sendNumbered(one.vni, 0, 1), 20);
  try {
    await until('it is off', () => cloud.sessions.get(one.session) === false, 10_000);
    await until('it is confirmed', () => collector.output.includes(`${one.session}: is off`), 10_000);
    expect(collector.output).toContain(`${one.session}: still enabled`);
    const updates = cloud.calls.filter(({ action }) => action.startsWith('Update'));
    expect(updates).toHaveLength(3);
    expect(updates[0]?.query).toEqual({
      RegionId: 'cn-hongkong',
      TrafficMirrorSessionId: one.session,
      Enabled: 'false',
      ClientToken: expect.stringMatching(/^[\x21-\x7e]{8,64}$/) as string,
    });
    // The same request each time, so the same token; signed anew, so another nonce.
    expect(new Set(updates.map(({ query }) => JSON.stringify(query))).size).toBe(1);
    expect(new Set(cloud.calls.map(({ nonce }) => nonce)).size).toBe(cloud.calls.length);
    expect(cloud.calls.every(({ signed }) => signed)).toBe(true);

    // Somebody switches it on again: another request, another token.
    cloud.sessions.set(one.session, true);
    await until('it is off again', () => cloud.sessions.get(one.session) === false, 10_000);
    const tokens = cloud.calls
      .filter(({ action, accepted }) => accepted && action.startsWith('Update'))
      .map(({ query }) => query['ClientToken']);
    expect(tokens).toHaveLength(2);
    expect(new Set(tokens).size).toBe(2);
  } finally {
    clearInterval(sending);
  }
  // The role's keys are asked for once, not for every request.
  expect(cloud.metadataCalls).toEqual([
    'PUT /latest/api/token',
    'GET /latest/meta-data/ram/security-credentials/',
    'GET /latest/meta-data/ram/security-credentials/collector-role',
  ]);
  expect(await collector.stop()).toBe(0);
  from.close();
  const status = collector.status()!;
  expect(of(status, one)?.disabledAt).toMatch(/^\d{4}-/);
  expect(status.dropped.afterEnd).toBeGreaterThan(5);
  for (const text of [collector.output, JSON.stringify(status)]) {
    for (const secret of [cloud.keys.secret, cloud.keys.token, 'Signature=']) expect(text).not.toContain(secret);
  }
});

/** Switching on a clock that moves only when somebody waits. */
function setUp(mirror: MirrorSwitch, ...entries: Entry[]) {
  const time = { now: Date.now() };
  const errors = new Errors(() => new Date(time.now));
  const disk = new Disk(folder(), 1e9, errors);
  const sessions = new Sessions({ disk, rotation: { bytes: 1e6, ageMs: 30_000 }, graceMs: 30_000 });
  sessions.apply(listOf(...entries), time.now);
  const waits: number[] = [];
  /** What was wrong at each wait. */
  const seen: CollectorError[] = [];
  const reports: number[] = [];
  const switching = new Switching({
    sessions,
    mirror,
    errors,
    graceMs: 30_000,
    now: () => time.now,
    report: async () => void reports.push(mirror instanceof Mirror ? mirror.tokens.length : -1),
    delay: async (ms) => {
      waits.push(ms);
      time.now += ms;
      seen.push(...errors.list());
      await delay(1);
    },
  });
  const packet = (one: Entry) =>
    sessions.receive(vxlan(one.vni, ipv4Frame(numbered(1))), one.sources[0]!.address, time.now * 1000);
  return { time, errors, sessions, switching, waits, seen, reports, packet };
}

/** A mirror that does what a test says, and remembers what it was asked. */
class Mirror implements MirrorSwitch {
  readonly tokens: string[] = [];
  looks = 0;
  onDisable: () => void = () => undefined;
  enabled: () => boolean = () => false;

  async disable(_region: string, _session: string, token: string): Promise<void> {
    this.tokens.push(token);
    this.onDisable();
  }

  async isEnabled(): Promise<boolean> {
    this.looks += 1;
    return this.enabled();
  }
}

const ended = () => ({ until: new Date(Date.now() - 20_000).toISOString() });

test('packets within the grace after the end are no reason, later ones are', async () => {
  const one = entry({ 'eni-a': '127.0.0.2' }, ended());
  const mirror = new Mirror();
  const { time, switching, packet, sessions } = setUp(mirror, one);
  packet(one);
  switching.tick(time.now);
  expect(mirror.tokens).toHaveLength(0);
  time.now += 15_000;
  // No packet has come since, so nothing needs switching off.
  switching.tick(time.now);
  expect(mirror.tokens).toHaveLength(0);
  packet(one);
  switching.tick(time.now);
  await until('it is off', () => of({ sessions: sessions.statuses() }, one)?.disabledAt !== undefined);
  expect(mirror.tokens).toHaveLength(1);
  // Those that were under way come for a while.
  time.now += 10_000;
  packet(one);
  switching.tick(time.now);
  time.now += 25_000;
  packet(one);
  switching.tick(time.now);
  await until('it is off again', () => mirror.tokens.length === 2);
  expect(new Set(mirror.tokens).size).toBe(2);
});

test('the first packet beyond the limit of bytes is reason enough', async () => {
  const one = entry({ 'eni-a': '127.0.0.2' }, { maxBytes: 300 });
  const mirror = new Mirror();
  const { time, reports, switching, packet } = setUp(mirror, one);
  packet(one);
  packet(one);
  switching.tick(time.now);
  expect(mirror.tokens).toHaveLength(0);
  packet(one);
  switching.tick(time.now);
  await until('it is off', () => mirror.looks === 1);
  // Before it is switched off it is said why.
  expect(reports).toEqual([0]);
});

test('refused, it tries ever more slowly with one token, says what to do, and goes on until it works', async () => {
  const one = entry({ 'eni-a': '127.0.0.2' }, { until: new Date(Date.now() - 60_000).toISOString() });
  const mirror = new Mirror();
  let refusals = 12;
  mirror.onDisable = () => {
    if (refusals-- > 0)
      throw new SwitchError('UpdateTrafficMirrorSessionAttribute: 403 Forbidden.RAM', 'Forbidden.RAM');
  };
  const { time, switching, packet, waits, errors, seen } = setUp(mirror, one);
  packet(one);
  switching.tick(time.now);
  await until('it is off', () => mirror.looks === 1);
  expect(seen[0]).toMatchObject({
    code: 'switch',
    message: expect.stringMatching(/403 Forbidden.RAM.*by hand/),
  });
  expect(mirror.tokens).toHaveLength(13);
  expect(new Set(mirror.tokens).size).toBe(1);
  expect(waits).toEqual([500, 1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000, 60_000, 60_000, 60_000]);
  await until('all is well', () => errors.list().length === 0);

  // Another process makes the same request.
  const again = new Mirror();
  const next = setUp(again, one);
  next.packet(one);
  next.switching.tick(next.time.now);
  await until('it is off', () => again.looks === 1);
  expect(again.tokens[0]).toBe(mirror.tokens[0]);
});

test('accepted without effect, it asks again under another token', async () => {
  const one = entry({ 'eni-a': '127.0.0.2' }, { until: new Date(Date.now() - 60_000).toISOString() });
  const mirror = new Mirror();
  mirror.enabled = () => mirror.tokens.length < 2;
  const { time, switching, packet } = setUp(mirror, one);
  packet(one);
  switching.tick(time.now);
  await until('it is asked twice', () => mirror.tokens.length === 2);
  expect(new Set(mirror.tokens).size).toBe(2);
  expect(mirror.looks).toBeGreaterThan(5);
});

test('packets that were late before the end was moved are no reason', async () => {
  const one = entry({ 'eni-a': '127.0.0.2' }, { until: new Date(Date.now() - 60_000).toISOString() });
  const mirror = new Mirror();
  const { time, switching, packet, sessions } = setUp(mirror, one);
  packet(one);
  sessions.apply(listOf({ ...one, until: new Date(time.now + 10_000).toISOString() }), time.now);
  time.now += 60_000;
  switching.tick(time.now);
  await delay(20);
  expect(mirror.tokens).toHaveLength(0);
});

test.each(['the next run has taken the session over', 'the session has left the list'])(
  'it leaves a session alone when %s',
  async (why) => {
    const one = entry({ 'eni-a': '127.0.0.2' }, { until: new Date(Date.now() - 60_000).toISOString() });
    const next = entry({ 'eni-a': '127.0.0.2' }, { session: one.session, vni: one.vni, until: '2099-01-01T00:00:00Z' });
    const mirror = new Mirror();
    mirror.onDisable = () => {
      throw new SwitchError('UpdateTrafficMirrorSessionAttribute: 503 without a code');
    };
    const { time, switching, packet, sessions, errors } = setUp(mirror, one);
    packet(one);
    switching.tick(time.now);
    await until('it tries', () => mirror.tokens.length > 2);
    sessions.apply(why.startsWith('the next') ? listOf(one, next) : listOf(), time.now);
    await until('it gives up', () => errors.list().length === 0);
    const tries = mirror.tokens.length;
    if (why.startsWith('the next')) packet(one);
    switching.tick(time.now);
    await delay(20);
    expect(mirror.tokens).toHaveLength(tries);
  },
);

test('a session that the cloud does not know is off', async () => {
  const vpc = new Vpc(
    { keys: async () => ({ ...cloud.keys }), forget: () => undefined },
    `http://${cloud.vpcHost}`,
    Date.now,
  );
  await vpc.disable('cn-hongkong', 'tms-gone', 'token');
  expect(await vpc.isEnabled('cn-hongkong', 'tms-gone')).toBe(false);
  expect(cloud.calls.map(({ signed }) => signed)).toEqual([true, true]);
});

test('refused keys are asked for anew', async () => {
  let forgotten = 0;
  const old = { ...cloud.keys, secret: 'an old one' };
  const keys = { keys: async () => (forgotten ? cloud.keys : old), forget: () => void (forgotten += 1) };
  const vpc = new Vpc(keys, `http://${cloud.vpcHost}`, Date.now);
  await expect(vpc.isEnabled('cn-hongkong', 'tms-a')).rejects.toMatchObject({ code: 'SignatureDoesNotMatch' });
  expect(await vpc.isEnabled('cn-hongkong', 'tms-a')).toBe(false);
});

test('without a security token nothing of one is signed', async () => {
  const keys = await fixedKeys('AK', 'secret').keys();
  const { path, headers } = sign(
    {
      host: 'vpc.example',
      action: 'A',
      version: 'V',
      query: { 'b!': "x y*'()é", a: '1' },
      nonce: 'n',
      at: new Date(0),
    },
    keys,
  );
  expect(path).toBe('/?a=1&b%21=x%20y%2A%27%28%29%C3%A9');
  expect(headers['authorization']).toMatch(
    /^ACS3-HMAC-SHA256 Credential=AK,SignedHeaders=host;x-acs-action;x-acs-content-sha256;x-acs-date;x-acs-signature-nonce;x-acs-version,Signature=[0-9a-f]{64}$/,
  );
});
