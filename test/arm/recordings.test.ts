import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Emulator, NO_STORAGE, type Answer } from './harness.ts';
import { recordings, viewOf, type Exchange, type View } from './recordings.ts';
import { Replay } from './replay.ts';

/** Every recorded exchange about packet captures is held against what the emulator does in the same situation. */

const subscriptions = recordings.map((_, position) => `11111111-0000-0000-0000-${String(position).padStart(12, '0')}`);

let emulator: Emulator;
beforeAll(async () => {
  const args = ['--no-tcpdump', '--pace', '0.002', '--retry-after', '10'];
  emulator = await Emulator.start(NO_STORAGE, [...args, '--subscriptions', subscriptions.join(',')]);
  await emulator.control({ upload: 'never' });
});
afterAll(() => emulator[Symbol.asyncDispose]());

/** What is not asked, and why. None of it is about packet captures. */
const EXCUSED: Record<string, string> = {
  'errors 0': 'makes a watcher; the emulator has those that it has',
  'fluentnet-2018-04-storage-account-lifecycle 0': 'makes a watcher',
  'fluentnet-2018-04-storage-account-lifecycle 15': 'deletes a watcher',
  'fluentnet-2018-04-storage-account-lifecycle 16': 'deletes a watcher',
  'java-2020-02-networkwatcher-crud 2': 'deletes a watcher',
  'java-2020-02-networkwatcher-crud 3': 'deletes a watcher',
  'java-2020-02-networkwatcher-crud 4': 'makes a watcher',
  'java-2020-02-networkwatcher-crud 8': 'makes a watcher again',
  'java-2020-02-networkwatcher-crud 10': 'tags a watcher',
  'java-2020-02-networkwatcher-crud 11': 'deletes a watcher',
  'java-2020-02-networkwatcher-crud 12': 'deletes a watcher',
};

const asked: string[] = [];

/** Status, headers and body of an answer and of the recording, but for what changes each time. */
function compared(answer: Answer, exchange: Exchange, replay: Replay): { own: View; recorded: View } {
  asked.push(exchange.at);
  const { status, responseHeaders, responseBody, responseBodyText } = exchange;
  const text = responseBodyText ?? (responseBody === null ? '' : JSON.stringify(replay.translate(responseBody)));
  const recorded = { status, header: (name: string) => responseHeaders[name], text };
  const own = { ...answer, header: (name: string) => answer.headers.get(name) ?? undefined };
  return { own: viewOf(exchange, own), recorded: viewOf(exchange, recorded) };
}

function replayOf(name: string): { replay: Replay; exchanges: Exchange[] } {
  const position = recordings.findIndex((each) => each.name === name);
  const recording = recordings[position];
  if (!recording) throw new Error(`no recording ${name}`);
  return { replay: new Replay(emulator, recording, subscriptions[position] ?? ''), exchanges: recording.exchanges };
}

test.concurrent.each(recordings.map(({ name }) => name).filter((name) => name !== 'errors'))(
  '%s',
  { timeout: 60_000 },
  async (name) => {
    const { replay, exchanges } = replayOf(name);
    await replay.prepare();
    const all: { own: View; recorded: View }[] = [];
    for (const exchange of exchanges.filter(({ at }) => !(at in EXCUSED))) {
      all.push(compared(await replay.ask(exchange), exchange, replay));
    }
    expect(all.map(({ own }) => own)).toEqual(all.map(({ recorded }) => recorded));
    await replay.clear();
  },
);

/** Some were recorded for other calls of Network Watcher; here a packet capture's take their place. */
describe('errors', () => {
  let replay: Replay;
  let exchanges: Exchange[];
  beforeAll(async () => {
    ({ replay, exchanges } = replayOf('errors'));
    await replay.prepare();
  });
  afterAll(() => emulator.control({ calls: [], machines: { 'vm-cm1': null } }));
  const at = (position: number) => exchanges[position] as Exchange;
  const fail = (on: string, answer: string) => emulator.control({ calls: [{ on, answer, times: 1 }] });
  const expectAs = (answer: Answer, position: number) => {
    const { own, recorded } = compared(answer, at(position), replay);
    expect(own).toEqual(recorded);
  };

  test('a capture that is not there', async () => {
    expectAs(await replay.ask(at(1)), 1);
    expectAs(await replay.ask(at(9)), 9);
  });

  test('500 of the front door', async () => {
    await fail('watchers', '500');
    expectAs(await replay.ask(at(2)), 2);
  });

  test('500 with several errors in it', async () => {
    await fail('result', '500-nested');
    expectAs(await replay.ask({ ...at(9), path: at(3).path }), 3);
  });

  test('504 while polling, and an operation that fails', async () => {
    await replay.make('cm1');
    await emulator.control({ machines: { 'vm-cm1': { stop: 'fail', hold: true } } });
    const stop = await emulator.arm('POST', replay.capture('cm1/stop'));
    expectAs(stop, 4);
    const operation = stop.headers.get('azure-asyncoperation') ?? '';
    await fail('operation', '504');
    expectAs(await emulator.arm('GET', operation), 5);
    expectAs(await emulator.arm('GET', operation), 6);
    await emulator.control({ machines: { 'vm-cm1': { stop: 'fail' } } });
    expectAs(await emulator.over(operation), 7);
  });

  test('500 of the service, with a Location', async () => {
    await fail('status', '500-service');
    expectAs(await emulator.arm('POST', replay.capture('cm1/queryStatus')), 8);
  });

  test('an extension without a type', async () => {
    expectAs(await replay.ask(at(10)), 10);
  });
});

/** What shows in several answers only. */
test('etags and ids fit together', async () => {
  const watcher = `/subscriptions/${subscriptions[0]}/resourceGroups/rg-network-ops/providers/Microsoft.Network/networkWatchers/nw-weu-ops`;
  const target = `/subscriptions/${subscriptions[0]}/resourceGroups/rg-shop/providers/Microsoft.Compute/virtualMachines/db01`;
  const path = `${watcher}/packetCaptures/etags`;
  const properties = { target, storageLocation: { filePath: '/var/captures/x.cap' } };
  const created = await emulator.arm('PUT', path, { properties });
  const operation = created.headers.get('azure-asyncoperation') ?? '';
  expect(operation).toContain(`/operations/${created.headers.get('x-ms-request-id')}?`);
  await emulator.over(operation);

  // The etag is the watcher's, and new after each change of a child.
  const got = await emulator.arm('GET', path);
  expect(got.headers.get('etag')).toBe(got.body.etag);
  expect(got.body.etag).not.toBe(created.body.etag);
  expect((await emulator.arm('GET', watcher)).body.etag).toBe(got.body.etag);

  // The result of a status query repeats its answer, and the capture remembers the operation.
  const asked = await emulator.arm('POST', `${path}/queryStatus`);
  const result = await emulator.over(asked.headers.get('location') ?? '');
  expect(result.body).toEqual(asked.body);
  for (const id of ['x-ms-request-id', 'x-ms-correlation-request-id', 'x-ms-arm-service-request-id']) {
    expect(result.headers.get(id)).toBe(asked.headers.get(id));
  }
  const { queryPacketCaptureLastOperationId } = (await emulator.arm('GET', path)).body.properties;
  expect(queryPacketCaptureLastOperationId).toBe(asked.headers.get('x-ms-request-id'));
});

test('nothing that is recorded of packet captures was left out', () => {
  const all = recordings.flatMap(({ exchanges }) => exchanges);
  const missed = all.filter(({ at }) => !asked.includes(at));
  expect(missed.map(({ at }) => at)).toEqual(Object.keys(EXCUSED));
  expect(missed.filter(({ path }) => path.includes('/packetCaptures'))).toEqual([]);
  expect(all.filter(({ path }) => path.includes('/packetCaptures')).length).toBeGreaterThan(80);
});
