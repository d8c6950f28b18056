import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { Emulator, NO_STORAGE, WATCHER, ask, machine } from './harness.ts';

let emulator: Emulator;
beforeAll(async () => {
  emulator = await Emulator.start(NO_STORAGE, ['--no-tcpdump', '--pace', '0.002']);
});
afterAll(() => emulator[Symbol.asyncDispose]());
afterEach(() => emulator.control(null));

const capture = (name: string) => `${WATCHER}/packetCaptures/${name}`;

test('paths match in any letter case', async () => {
  expect((await emulator.arm('GET', WATCHER.toUpperCase())).status).toBe(200);
});

test('no authorization, no api-version, no such path', async () => {
  expect((await ask(`${emulator.url}${WATCHER}?api-version=2026-01-01`, {})).status).toBe(401);
  const unversioned = await ask(`${emulator.url}${WATCHER}`, { headers: { authorization: 'Bearer any' } });
  expect(unversioned.body.error.code).toBe('MissingApiVersionParameter');
  expect(unversioned.status).toBe(400);
  expect((await emulator.arm('GET', '/providers/unknown')).status).toBe(404);
});

test('a name that is taken', async () => {
  await emulator.create('twice', { timeLimitInSeconds: 1 });
  expect((await emulator.create('TWICE')).status).toBe(409);
  await emulator.control({ nameTaken: 400 });
  expect((await emulator.create('twice')).status).toBe(400);
});

test.each(['', '-a', 'a-', 'a b', 'x'.repeat(65)])('the name "%s"', async (name) => {
  expect([400, 404]).toContain((await emulator.create(encodeURIComponent(name))).status);
});

test.each(['missing', 'noagent', 'agentfailed'])('a machine that is %s: the create fails, and stays', async (name) => {
  const created = await emulator.create(`on-${name}`, { target: machine(`a-${name}`) });
  expect(created.status).toBe(201);
  const last = await emulator.over(created.headers.get('azure-asyncoperation') ?? '');
  expect(last.body.status).toBe('Failed');
  expect(Object.keys(last.body.error)).toEqual(['code', 'message', 'details']);
  const listed = (await emulator.arm('GET', `${WATCHER}/packetCaptures`)).body.value;
  const kept = listed.find((each: any) => each.name === `on-${name}`);
  expect(kept.properties.provisioningState).toBe('Failed');
  expect(JSON.stringify(kept)).not.toContain(last.body.error.code);
});

test('operations whose URL was changed', async () => {
  await emulator.create('linked', { timeLimitInSeconds: 1 });
  const stop = await emulator.arm('POST', `${capture('linked')}/stop`);
  const [one = '', other = ''] = [stop.headers.get('location'), stop.headers.get('azure-asyncoperation')].map(String);
  for (const link of [one, other]) {
    expect(link.length).toBeGreaterThan(3000);
    expect(link.length).toBeLessThan(4500);
    expect([...new URL(link).searchParams.keys()]).toEqual(['api-version', 't', 'c', 's', 'h']);
    for (const name of ['api-version', 't', 'c', 's', 'h']) {
      const changed = new URL(link);
      changed.searchParams.set(name, `${changed.searchParams.get(name)}x`);
      expect([name, (await emulator.arm('GET', changed.href)).status]).toEqual([name, 403]);
    }
    expect((await emulator.arm('GET', link)).status).toBeLessThan(300);
  }
  expect(new URL(one).searchParams.get('s')).not.toBe(new URL(other).searchParams.get('s'));
});
