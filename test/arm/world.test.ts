import { readFileSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { worldOf } from '../../local/arm/world.ts';
import { Emulator, NO_STORAGE, SUBSCRIPTION, WATCHER, ask, machine, scaleSet } from './harness.ts';

const OTHER = '22222222-0000-0000-0000-000000000000';

let emulator: Emulator;
beforeAll(async () => {
  const subscriptions = ['--subscriptions', `${SUBSCRIPTION},${OTHER}`];
  emulator = await Emulator.start(NO_STORAGE, ['--no-tcpdump', '--pace', '0.002', ...subscriptions]);
});
afterAll(() => emulator[Symbol.asyncDispose]());
afterEach(() => emulator.control(null));

const compute = (subscription: string) => `/subscriptions/${subscription}/providers/Microsoft.Compute`;
const watchers = (subscription: string) => `/subscriptions/${subscription}/providers/Microsoft.Network/networkWatchers`;

/** All pages of a list. */
async function pages(path: string): Promise<any[][]> {
  const found: any[][] = [];
  let next: string | undefined = path;
  while (next) {
    const { status, body }: { status: number; body: any } = await emulator.arm('GET', next);
    expect(status).toBe(200);
    found.push(body.value);
    next = body.nextLink;
  }
  return found;
}
const all = async (path: string) => (await pages(path)).flat();

describe('subscriptions', () => {
  test('each has watchers of its own, not all under the usual name', async () => {
    const where = async (subscription: string) =>
      (await all(watchers(subscription))).map(({ id, location }: any) => {
        const [, , , , group, , , , name] = id.split('/');
        return `${location} ${group}/${name}`;
      });
    expect(await where(SUBSCRIPTION)).toEqual([
      'westus2 NetworkWatcherRG/NetworkWatcher_westus2',
      'westeurope rg-network-ops/nw-weu-ops',
      'eastus NetworkWatcherRG/NetworkWatcher_eastus',
    ]);
    expect(await where(OTHER)).toEqual([
      'westus2 rg-lab-net/lab-watcher-west',
      'northeurope NetworkWatcherRG/NetworkWatcher_northeurope',
    ]);
  });

  test('a capture of one is none of the other', async () => {
    await emulator.create('here');
    const there = WATCHER.replace(SUBSCRIPTION, OTHER);
    expect((await emulator.arm('GET', `${there}/packetCaptures/here`)).body.error.code).toBe('ResourceNotFound');
    const lab = (await all(watchers(OTHER)))[0].id;
    expect(await all(`${lab}/packetCaptures`)).toEqual([]);
  });

  test('one that is not known is not found', async () => {
    const answer = await emulator.arm('GET', watchers('99999999-0000-0000-0000-000000000000'));
    expect([answer.status, answer.body.error.code]).toEqual([404, 'SubscriptionNotFound']);
  });
});

describe('machines', () => {
  test('come in pages, with their computer names', async () => {
    const found = await pages(`${compute(SUBSCRIPTION)}/virtualMachines`);
    expect(found.map((page) => page.length)).toEqual([2, 2, 2]);
    const names = found.flat().map(({ id, properties }: any) => [id.split('/')[4], properties.osProfile.computerName]);
    expect(names).toEqual([
      ['rg-shop', 'web01'],
      ['rg-shop', 'web02'],
      ['rg-shop', 'db01'],
      ['rg-blue', 'orders'],
      ['rg-green', 'orders'],
      ['rg-office', 'DESK-0117'],
    ]);
    expect(await all(`${compute(OTHER)}/virtualMachines`)).toHaveLength(2);
    const group = `/subscriptions/${SUBSCRIPTION}/resourceGroups/rg-shop/providers/Microsoft.Compute`;
    expect(await all(`${group}/virtualMachines`)).toHaveLength(3);
  });

  test('are linked to by whole URLs that keep the api-version', async () => {
    const { body } = await emulator.arm('GET', `${compute(SUBSCRIPTION)}/virtualMachines`, undefined, '2024-07-01');
    const next = new URL(body.nextLink);
    expect(next.origin).toBe(emulator.url);
    expect(next.searchParams.get('api-version')).toBe('2024-07-01');
  });

  test.each([
    ['any-other', 200, 'Linux', 1],
    ['some-windows', 200, 'Windows', 1],
    ['some-noagent', 200, 'Linux', undefined],
    ['missing-one', 404, undefined, undefined],
  ])('%s is as its name says', async (name, status, os, extensions) => {
    const { status: own, body } = await emulator.arm('GET', machine(name));
    expect([own, body.properties?.storageProfile.osDisk.osType, body.resources?.length]).toEqual([
      status,
      os,
      extensions,
    ]);
    if (status === 404) expect(body.error.code).toBe('ResourceNotFound');
  });

  test('one that is gone is neither found nor listed', async () => {
    await emulator.control({ machines: { web02: { machine: 'gone' } } });
    expect((await emulator.arm('GET', machine('web02'))).status).toBe(404);
    const names = (await all(`${compute(SUBSCRIPTION)}/virtualMachines`)).map((vm: any) => vm.name);
    expect(names).not.toContain('web02');
    expect(names).toContain('web01');
  });

  test('an instance view is given when it is asked for', async () => {
    const url = `${emulator.url}${machine('web01')}?api-version=2024-07-01&$expand=instanceView`;
    const { body } = await ask(url, { headers: { authorization: 'Bearer any' } });
    expect(body.properties.instanceView.statuses.at(-1).code).toBe('PowerState/running');
  });
});

describe('extensions', () => {
  const agent = (of: string) => `${machine(of)}/extensions/AzureNetworkWatcherExtension`;
  const body = {
    location: 'westus2',
    properties: {
      publisher: 'Microsoft.Azure.NetworkWatcher',
      type: 'NetworkWatcherAgentLinux',
      typeHandlerVersion: '1.4',
    },
  };

  test('an agent that is put on a machine makes captures possible', async () => {
    await emulator.create('before', { target: machine('vm-noagent') });
    expect((await emulator.settled('before')).properties.provisioningState).toBe('Failed');
    await emulator.control({ hold: true });
    const put = await emulator.arm('PUT', agent('vm-noagent'), body);
    expect([put.status, put.body.properties.provisioningState]).toEqual([201, 'Creating']);
    const operation = put.headers.get('azure-asyncoperation') ?? '';
    expect((await emulator.arm('GET', operation)).body).toMatchObject({ status: 'InProgress' });
    await emulator.create('too-early', { target: machine('vm-noagent') });
    await emulator.control({ hold: false });
    expect((await emulator.over(operation)).body).toMatchObject({ status: 'Succeeded', endTime: expect.any(String) });
    await emulator.create('after', { target: machine('vm-noagent') });
    expect((await emulator.settled('too-early')).properties.provisioningState).toBe('Failed');
    expect((await emulator.settled('after')).properties.provisioningState).toBe('Succeeded');
    const again = await emulator.arm('PUT', agent('vm-noagent'), body);
    expect([again.status, again.body.properties.provisioningState]).toEqual([200, 'Updating']);
  });

  test('an agent that failed fails again', async () => {
    const put = await emulator.arm('PUT', agent('vm-agentfailed'), body);
    const over = await emulator.over(put.headers.get('azure-asyncoperation') ?? '');
    expect(over.body).toMatchObject({ status: 'Failed', error: { code: 'VMExtensionProvisioningError' } });
    expect((await emulator.arm('GET', agent('vm-agentfailed'))).body.properties.provisioningState).toBe('Failed');
  });

  test.each(['publisher', 'type', 'typeHandlerVersion'])('without a %s it is refused', async (name) => {
    const properties = { ...body.properties, [name]: undefined };
    const answer = await emulator.arm('PUT', agent('web01'), { ...body, properties });
    expect([answer.status, answer.body.error.target]).toEqual([400, name]);
  });
});

describe('scale sets', () => {
  test('come in pages', async () => {
    const found = await pages(`${compute(SUBSCRIPTION)}/virtualMachineScaleSets`);
    expect(found.map((page) => page.map(({ name }: any) => name))).toEqual([['frontend', 'batch'], ['kiosk']]);
    expect((await all(`${compute(OTHER)}/virtualMachineScaleSets`)).map(({ name }: any) => name)).toEqual(['probe']);
  });

  test('tell their model, with or without an agent', async () => {
    const { body } = await emulator.arm('GET', scaleSet('frontend'));
    const { orchestrationMode, virtualMachineProfile } = body.properties;
    expect([body.location, orchestrationMode]).toEqual(['westus2', 'Uniform']);
    expect(virtualMachineProfile.osProfile.computerNamePrefix).toBe('frontend');
    expect(virtualMachineProfile.extensionProfile.extensions[0].properties).toMatchObject({
      publisher: 'Microsoft.Azure.NetworkWatcher',
      type: 'NetworkWatcherAgentLinux',
    });
    const batch = await emulator.arm('GET', scaleSet('batch'));
    expect(batch.body.properties.virtualMachineProfile.extensionProfile).toBeUndefined();
    expect((await emulator.arm('GET', scaleSet('missing'))).status).toBe(404);
  });

  test('list their instances in pages, by number, with computer names', async () => {
    const found = await pages(`${scaleSet('frontend')}/virtualMachines`);
    const names = found.map((page) =>
      page.map((each: any) => [each.instanceId, each.properties.osProfile.computerName]),
    );
    expect(names).toEqual([
      [
        ['0', 'frontend000000'],
        ['1', 'frontend000001'],
      ],
      [['2', 'frontend000002']],
    ]);
    const one = await emulator.arm('GET', `${scaleSet('frontend')}/virtualMachines/2`);
    expect(one.body.id).toBe(`${scaleSet('frontend')}/virtualMachines/2`);
    expect((await emulator.arm('GET', `${scaleSet('frontend')}/virtualMachines/7`)).status).toBe(404);
  });
});

test('the world is as the document shows it', () => {
  const text = readFileSync('docs/sandbox.md', 'utf8');
  for (const world of [worldOf(0), worldOf(1)]) {
    for (const { resourceGroup, name } of world.watchers) expect(text).toContain(`\`${resourceGroup}/${name}\``);
    for (const { resourceGroup, name, region } of [...world.machines, ...world.scaleSets]) {
      const row = text.split('\n').find((line) => line.includes(`\`${resourceGroup}/${name}\``));
      expect(row).toContain(`| ${region} |`);
    }
    for (const { name, instances } of world.scaleSets) {
      expect(text).toMatch(new RegExp(`/${name}\`.*\\| ${instances.join(', ')} \\|`));
    }
  }
});

test('every list can be had in pages', async () => {
  await emulator.create('one', { timeLimitInSeconds: 1 });
  await emulator.create('two', { timeLimitInSeconds: 1 });
  await emulator.control({ pageSize: 1 });
  expect(await pages(watchers(SUBSCRIPTION))).toHaveLength(3);
  const found = await pages(`${WATCHER}/packetCaptures`);
  expect(found.map((page) => page.length)).toEqual(found.map(() => 1));
  expect(found.flat().map(({ name }: any) => name)).toEqual(expect.arrayContaining(['one', 'two']));
});
