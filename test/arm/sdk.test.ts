import { NetworkManagementClient } from '@azure/arm-network';
import { expect, test } from 'vitest';
import { Emulator, NO_STORAGE, STORAGE_ID, SUBSCRIPTION, machine } from './harness.ts';

test('the real client drives a capture from create to delete', { timeout: 25_000 }, async () => {
  await using emulator = await Emulator.start(NO_STORAGE, ['--no-tcpdump', '--pace', '0.03', '--retry-after', '1']);
  const client = new NetworkManagementClient({ getToken: async () => null }, SUBSCRIPTION, {
    endpoint: emulator.url,
    allowInsecureConnection: true,
  });
  // The client sends no token over plain http by itself.
  client.pipeline.removePolicy({ name: 'bearerTokenAuthenticationPolicy' });
  const authorize = { name: 'authorize', sendRequest: authorized };
  client.pipeline.addPolicy(authorize, { phase: 'Sign' });

  const watchers = [];
  for await (const watcher of client.networkWatchers.listAll()) watchers.push(watcher);
  const [, resourceGroup = '', name = ''] =
    /resourceGroups\/([^/]+)\/.*\/([^/]+)$/.exec(watchers.find((each) => each.location === 'westeurope')?.id ?? '') ??
    [];
  expect([resourceGroup, name]).toEqual(['rg-network-ops', 'nw-weu-ops']);

  const created = await client.packetCaptures.create(resourceGroup, name, 'by-sdk', {
    target: machine('db01'),
    targetType: 'AzureVM',
    storageLocation: { storageId: STORAGE_ID },
    filters: [{ protocol: 'TCP', remotePort: '443' }],
  });
  expect(created).toMatchObject({ provisioningState: 'Succeeded', timeLimitInSeconds: 18_000 });
  const running = await client.packetCaptures.getStatus(resourceGroup, name, 'by-sdk');
  expect(running.packetCaptureStatus).toBe('Running');
  expect(running.captureStartTime?.getTime()).toBeGreaterThan(Date.now() - 60_000);
  await client.packetCaptures.stop(resourceGroup, name, 'by-sdk');
  const stopped = await client.packetCaptures.getStatus(resourceGroup, name, 'by-sdk');
  expect(stopped).toMatchObject({ packetCaptureStatus: 'Stopped', stopReason: 'Manual' });
  await client.packetCaptures.delete(resourceGroup, name, 'by-sdk');
  const left = [];
  for await (const capture of client.packetCaptures.list(resourceGroup, name)) left.push(capture);
  expect(left).toEqual([]);
  await expect(client.packetCaptures.get(resourceGroup, name, 'by-sdk')).rejects.toMatchObject({ statusCode: 404 });
});

type Policy = Parameters<NetworkManagementClient['pipeline']['addPolicy']>[0];

const authorized: Policy['sendRequest'] = (request, next) => {
  request.headers.set('authorization', 'Bearer any');
  return next(request);
};
