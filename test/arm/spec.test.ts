import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Emulator, NO_STORAGE, STORAGE_ID, WATCHER, machine, scaleSet, type Answer } from './harness.ts';
import { definition, problems } from './swagger.ts';

/** Every answer is one that the published specification allows, and what it does not allow to be asked is refused. */

let emulator: Emulator;
beforeAll(async () => {
  emulator = await Emulator.start(NO_STORAGE, ['--no-tcpdump', '--pace', '0.002']);
});
afterAll(() => emulator[Symbol.asyncDispose]());

const path = (name: string) => `${WATCHER}/packetCaptures/${name}`;

async function checked(method: string, called: string, body?: unknown): Promise<Answer> {
  const answer = await emulator.arm(method, called, body);
  expect(problems(method, called, answer)).toEqual([]);
  return answer;
}

describe('answers', () => {
  const filters = [
    { protocol: 'TCP', remotePort: '80;443;', localIPAddress: '10.0.0.1-10.0.0.9' },
    { protocol: 'UDP', localPort: '53' },
    {},
  ];
  const storageLocation = { storageId: STORAGE_ID };
  const kinds: [string, Record<string, unknown>][] = [
    ['machine', { target: machine('web01'), storageLocation, filters }],
    [
      'two-places',
      { target: machine('web01'), storageLocation: { ...storageLocation, filePath: '/var/captures/a.cap' } },
    ],
    ['set', { target: scaleSet('frontend'), targetType: 'AzureVMSS', storageLocation, scope: { exclude: ['1'] } }],
    ['instance', { target: `${scaleSet('frontend')}/virtualMachines/2`, targetType: 'AzureVMSS', storageLocation }],
    [
      'ring',
      {
        target: machine('web02'),
        storageLocation: { ...storageLocation, localPath: '/var/captures/a.cap' },
        continuousCapture: true,
        captureSettings: { fileCount: 2 },
      },
    ],
    ['refused', { target: machine('noagent'), storageLocation }],
    ['refused-set', { target: scaleSet('noagent'), storageLocation }],
  ];

  test.each(kinds)('a %s from create to delete', async (name, properties) => {
    await checked('PUT', path(name), { properties });
    await emulator.settled(name);
    await checked('GET', path(name));
    await checked('POST', `${path(name)}/queryStatus`);
    const listed = await checked('GET', `${WATCHER}/packetCaptures`);
    expect(listed.body.value.length).toBeGreaterThan(0);
    await checked('POST', `${path(name)}/stop`);
    await emulator.untilStatus(name, 'Stopped');
    await checked('POST', `${path(name)}/queryStatus`);
    await checked('DELETE', path(name));
    await emulator.removed(name);
    await checked('DELETE', path(name));
    await checked('GET', path(name));
  });

  test('instances that are gone', async () => {
    const target = scaleSet('frontend');
    await checked('PUT', path('gone'), { properties: { target, targetType: 'AzureVMSS', storageLocation } });
    await emulator.settled('gone');
    await emulator.control({ machines: { frontend: { machine: 'gone' } } });
    const status = await checked('POST', `${path('gone')}/queryStatus`);
    expect(status.body.packetCaptureError).toHaveLength(3);
    await emulator.control(null);
  });
});

describe('requests', () => {
  const whole = { target: machine('web01'), storageLocation: { filePath: '/var/captures/x.cap' } };
  const settings = { continuousCapture: true, storageLocation: { localPath: '/var/captures/x.cap' } };
  const numbers = (of: string) =>
    Object.entries(definition(of).properties ?? {}).filter(([, { type }]) => type === 'integer');
  /** Name, value, and a body that has it there. */
  const cases = (values: (schema: { minimum?: number; maximum?: number }) => unknown[]) => [
    ...numbers('PacketCaptureParameters').flatMap(([name, schema]) =>
      values(schema).map((value) => [name, value, { ...whole, [name]: value }] as const),
    ),
    ...numbers('PacketCaptureSettings').flatMap(([name, schema]) =>
      values(schema).map(
        (value) => [name, value, { ...whole, ...settings, captureSettings: { [name]: value } }] as const,
      ),
    ),
  ];
  const beyond = cases(({ minimum = 0, maximum = 0 }) => [minimum - 1, maximum + 1, 1.5, '7']);
  const within = cases(({ minimum, maximum }) => [minimum, maximum]);

  test('the specification has limits for six numbers', () => expect(beyond).toHaveLength(24));

  test.each(beyond)('a %s of %o is refused', async (name, _, properties) => {
    const answer = await checked('PUT', path('refused'), { properties });
    expect(answer.status).toBe(400);
    expect(answer.body.error.target).toBe(name);
    expect((await emulator.arm('GET', path('refused'))).status).toBe(404);
  });

  test.each(within)('a %s of %o is taken', async (name, value, properties) => {
    const answer = await checked('PUT', path(`${name}-${String(value)}`), { properties });
    expect(answer.status).toBe(201);
    const echoed = { ...answer.body.properties, ...answer.body.properties.captureSettings };
    expect(echoed[name]).toBe(value);
    await emulator.arm('DELETE', path(`${name}-${String(value)}`));
  });

  test.each(definition('PacketCaptureParameters').required ?? [])('without a %s it is refused', async (name) => {
    const answer = await checked('PUT', path('refused'), { properties: { ...whole, [name]: undefined } });
    expect(answer.status).toBe(400);
    expect(answer.body.error.target).toBe(name);
  });

  test.each([
    ['storageLocation', { storageLocation: {} }],
    ['target', { target: 'web01' }],
    ['targetType', { targetType: 'AzureVMSS' }],
    ['targetType', { targetType: 'Host' }],
    ['filePath', { continuousCapture: true }],
    ['filePath', { storageLocation: { filePath: '/var/captures/x' } }],
    ['localPath', { storageLocation: { localPath: '/var/captures/x.cap' } }],
    ['storagePath', { storageLocation: { storagePath: 'not a URL', filePath: '/var/captures/x.cap' } }],
    ['filters', { filters: 'all' }],
    ['protocol', { filters: [{ protocol: 'ICMP' }] }],
    ['localPort', { filters: [{ localPort: 80 }] }],
    ['continuousCapture', { continuousCapture: 'yes' }],
    ['scope', { scope: [] }],
  ])('a bad %s is refused: %o', async (name, properties) => {
    const answer = await checked('PUT', path('refused'), { properties: { ...whole, ...properties } });
    expect(answer.status).toBe(400);
    expect(answer.body.error.target).toBe(name);
  });

  test.each([
    ['properties', {}],
    ['body', []],
  ])('a body without %s is refused', async (name, body) => {
    const answer = await checked('PUT', path('refused'), body);
    expect([answer.status, answer.body.error.target]).toEqual([400, name]);
  });

  test('defaults are those of the specification', async () => {
    const answer = await checked('PUT', path('defaults'), { properties: whole });
    for (const [name, schema] of numbers('PacketCaptureParameters')) {
      expect([name, answer.body.properties[name]]).toEqual([name, schema.default]);
    }
    const ring = await checked('PUT', path('ring-defaults'), { properties: { ...whole, ...settings } });
    for (const [name, schema] of numbers('PacketCaptureSettings')) {
      expect([name, ring.body.properties.captureSettings[name]]).toEqual([name, schema.default]);
    }
  });

  test('a malformed range is stored, and the create fails', async () => {
    const filters = [{ remoteIPAddress: '1.1.1.1-255.255.255' }];
    const answer = await checked('PUT', path('malformed'), { properties: { ...whole, filters } });
    expect(answer.body.properties.filters[0].remoteIPAddress).toBe('1.1.1.1-255.255.255');
    expect((await emulator.settled('malformed')).properties.provisioningState).toBe('Failed');
  });
});
