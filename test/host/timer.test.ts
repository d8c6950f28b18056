import { BlobServiceClient } from '@azure/storage-blob';
import { beforeAll, describe, expect, test } from 'vitest';
import { startAzurite, startHost } from './processes.ts';
import { until } from '../until.ts';
import type { RunningHost } from './processes.ts';

describe('the timer trigger', () => {
  const lastMs = Date.now() - 3_600_000;
  let storage: string;
  let host: RunningHost;

  beforeAll(async () => {
    storage = await startAzurite();
    // As if a host had run an hour ago and then been stopped.
    const container = BlobServiceClient.fromConnectionString(storage).getContainerClient('azure-webjobs-hosts');
    await container.create();
    const last = new Date(lastMs).toISOString();
    const status = JSON.stringify({ Last: last, Next: new Date(lastMs + 60_000).toISOString(), LastUpdated: last });
    await container
      .getBlockBlobClient('timers/test-fixture-app/Host.Functions.everyMinute/status')
      .upload(status, status.length);
    host = await startHost({
      AzureWebJobsStorage: storage,
      TICK_SCHEDULE: '*/1 * * * * *',
      'AzureWebJobs.yearly.Disabled': 'true',
    });
  });

  test('fires every second, and tells nothing of the past', async () => {
    const calls = await host.called('tick', 4);
    const seconds = calls.map((call) => Math.floor(call.at / 1000));
    expect(new Set(seconds).size).toBe(calls.length);
    expect(seconds.at(-1)! - seconds[0]!).toBeLessThanOrEqual(calls.length); // one late tick is forgiven
    for (const call of calls) {
      expect(call['timer']).toEqual({ schedule: { adjustForDST: true }, scheduleStatus: null, isPastDue: false });
      expect(call.metadata).toBeUndefined();
    }
  });

  test('does not overlap itself', async () => {
    const calls = await host.called('slowTick', 4);
    const phases = calls.map((call) => call['phase']);
    expect(phases.slice(0, 4)).toEqual(['start', 'end', 'start', 'end']);
  });

  test('comes again after a failure', async () => {
    await host.called('failingTick', 2);
    expect(host.output()).toMatch(/error failingTick: failed after .*thrown by the timer/);
  });

  test('makes up for a missed run once, with the old status, and keeps the new one', async () => {
    const [call] = await host.called('everyMinute', 1);
    expect(call!['timer']).toMatchObject({
      isPastDue: true,
      scheduleStatus: { last: new Date(lastMs).toISOString(), next: new Date(lastMs + 60_000).toISOString() },
    });
    const blob = BlobServiceClient.fromConnectionString(storage)
      .getContainerClient('azure-webjobs-hosts')
      .getBlobClient('timers/test-fixture-app/Host.Functions.everyMinute/status');
    await until('the new status', async () => {
      const status = JSON.parse((await blob.downloadToBuffer()).toString()) as { Last: string };
      return Date.parse(status.Last) > lastMs + 3_500_000;
    });
  });

  test('a disabled timer cannot be run by hand either', async () => {
    const answer = await fetch(`${host.url}/admin/functions/yearly`, { method: 'POST', body: '{}' });
    expect(answer.status).toBe(404);
  });
});
