import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Emulator, TOOLS, arrived, blobOf, hasTools, machine, timesOf, startStorage, type Storage } from './harness.ts';
import { until } from '../until.ts';

let storage: Storage;
beforeAll(async () => {
  storage = await startStorage();
});
afterAll(() => storage.stop());

const PACE = ['--pace', '0.03'];

describe.concurrent.each([
  { source: `captured packets ${hasTools ? '' : TOOLS}`, args: PACE, skip: !hasTools },
  { source: 'made up packets', args: [...PACE, '--no-tcpdump'], skip: false },
])('$source', ({ args, skip }) => {
  test.skipIf(skip).concurrent('a killed emulator goes on where it was', async () => {
    const first = await Emulator.start(storage.connectionString, args);
    // However slow the restart is, it is not over before that.
    await first.control({ limits: 'ignored' });
    const created = await first.create('survivor', { timeLimitInSeconds: 2 });
    const before = await first.untilStatus('survivor', 'Running');
    await until('a second', () => Date.now() > Date.parse(before.captureStartTime as string) + 1000);
    const killedAt = Date.now() / 1000;
    // Waits until the tcpdump of the killed emulator is gone too.
    await first.stop('SIGKILL');

    await using second = await Emulator.start(storage.connectionString, args, first.data);
    const after = await second.untilStatus('survivor', 'Running');
    const restartedAt = Date.now();
    expect(after).toEqual(before);
    await until('another second', () => Date.now() > restartedAt + 1000);
    await second.control({ limits: 'normal' });
    const file = await arrived(storage, ...blobOf(created.body));
    const seconds = timesOf(file);
    expect(seconds.filter((second) => second < killedAt).length).toBeGreaterThan(5);
    expect(seconds.filter((second) => second > restartedAt / 1000).length).toBeGreaterThan(0);
    expect(await second.status('survivor')).toMatchObject({ stopReason: 'TimeExceeded', packetCaptureError: [] });
  });
});

test.skipIf(!hasTools).concurrent(`a session whose tcpdump is gone ends with an error ${TOOLS}`, async () => {
  const first = await Emulator.start(storage.connectionString, PACE);
  await first.create('orphan');
  await first.untilStatus('orphan', 'Running');
  await first.stop('SIGKILL');
  await using second = await Emulator.start(storage.connectionString, [...PACE, '--no-tcpdump'], first.data);
  const status = await second.untilStatus('orphan', 'Stopped');
  expect(status).toMatchObject({ stopReason: 'Error', packetCaptureError: ['AgentStopped'] });
});

test.concurrent('operations, extensions and the request log survive', async () => {
  const first = await Emulator.start(storage.connectionString, ['--no-tcpdump', '--pace', '0.1']);
  const created = await first.create('known');
  const publisher = 'Microsoft.Azure.NetworkWatcher';
  const properties = { publisher, type: 'NetworkWatcherAgentLinux', typeHandlerVersion: '1.4' };
  await first.arm('PUT', `${machine('noagent')}/extensions/agent`, { properties });
  const poll = new URL(created.headers.get('azure-asyncoperation') ?? '');
  await first.stop('SIGKILL');
  await using second = await Emulator.start(storage.connectionString, ['--no-tcpdump', '--pace', '0.1'], first.data);
  const path = `${second.url}${poll.pathname}${poll.search}`;
  await until('the create', async () => (await second.arm('GET', path)).body.status === 'Succeeded');
  await until('the agent', async () => {
    const { body } = await second.arm('GET', machine('noagent'));
    return body.resources[0].properties.provisioningState === 'Succeeded';
  });
  const requests = (await (await fetch(`${second.url}/_log`)).json()) as { method: string }[];
  expect(requests[0]?.method).toBe('PUT');
});
