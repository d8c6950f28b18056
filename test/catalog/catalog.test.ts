import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { BlobServiceClient } from '@azure/storage-blob';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CaptureAccounts } from '../../shared/catalog/accounts.ts';
import { Catalog } from '../../shared/catalog/catalog.ts';
import { captureId, CaptureStore } from '../../shared/catalog/store.ts';
import type { Clock } from '../../shared/clock.ts';
import { RunStore } from '../../shared/run/store.ts';
import type { Run } from '../../shared/run/run.ts';
import { connectTable } from '../../shared/storage/connect.ts';
import { AzureTable } from '../../shared/storage/table.ts';
import { startAzurite, type Azurite } from '../azurite.ts';

const container = 'network-watcher-logs';
const account = 'devstoreaccount1';
const noIdentity = () => {
  throw new Error('no identity here');
};
const quiet = { info: () => undefined, warn: () => undefined, error: () => undefined };
const fixture = (name: string) => readFileSync(join(import.meta.dirname, '../fixtures/pcaps', name));

let azurite: Azurite;
let blobs: BlobServiceClient;
let catalog: Catalog;
let captures: CaptureStore;
let runs: RunStore;
let aheadMs = 0;
const clock: Clock = { now: () => new Date(Date.now() + aheadMs), timeout: (ms) => AbortSignal.timeout(ms) };

beforeAll(async () => {
  azurite = await startAzurite();
  blobs = BlobServiceClient.fromConnectionString(azurite.connectionString);
  await blobs.getContainerClient(container).create();
  const connection = { kind: 'connectionString' as const, value: azurite.connectionString };
  const table = (name: string) => new AzureTable(() => connectTable(connection, name, noIdentity));
  captures = new CaptureStore(table('captures'));
  runs = new RunStore(table('runs'));
  const accounts = new CaptureAccounts(
    [{ id: 'x', name: account, regions: ['*'], connectionName: 'X', connection }],
    noIdentity,
    clock,
  );
  catalog = new Catalog({ accounts, captures, runs, state: table('state'), clock, log: quiet });
});
afterAll(() => azurite.stop());

async function upload(blob: string, content: Buffer): Promise<void> {
  await blobs.getContainerClient(container).getBlockBlobClient(blob).upload(content, content.length);
}

const run = (id: string, target: string): Run => ({
  id,
  provider: 'azure',
  target,
  state: 'collecting',
  trigger: { kind: 'runbook' },
  capture: {},
  limits: { durationSeconds: 60, sizeBytes: 1 },
  stopOnResolve: false,
  files: [],
  createdAt: new Date().toISOString(),
  timeline: [],
});

describe('a file', () => {
  it("of Azure's default path is read once and tells its machine", async () => {
    const blob =
      'subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/Shop/providers/Microsoft.Compute/virtualMachines/Web01/2026/11/22/packetcapture_10_20_30_123.cap';
    const content = fixture('tcpdump/OSPFv3_with_AH.pcap');
    await upload(blob, content);
    const capture = await catalog.add(account, container, blob);
    expect(capture).toMatchObject({
      id: captureId(account, container, blob),
      account,
      container,
      blob,
      bytes: content.length,
      sha256: createHash('sha256').update(content).digest('hex'),
      format: 'pcap',
      target:
        '/subscriptions/00000000-0000-0000-0000-000000000000/resourcegroups/shop/providers/microsoft.compute/virtualmachines/web01',
      verdict: { code: 'captured' },
    });
    expect(capture?.runId).toBeUndefined();
    expect((await captures.list({ limit: 10 }, { target: capture?.target })).items).toEqual([capture]);
  });

  it('belongs to the run that claims its path, whatever the case and a slash in front', async () => {
    const id = '0'.repeat(26);
    await runs.create(run(id, '/target'));
    await runs.claim(container, 'Claimed/By/Run.CAP', id);
    await upload('/claimed/by/run.cap', fixture('tcpdump/DTP.pcap'));
    expect(await catalog.add(account, container, '/claimed/by/run.cap')).toMatchObject({
      runId: id,
      target: '/target',
    });
    expect((await captures.list({ limit: 10 }, { run: id })).items).toHaveLength(1);
  });

  it('that was catalogued before its run was known is tied to it without being read again', async () => {
    const id = '1'.repeat(26);
    await upload('early.cap', fixture('tcpdump/DTP.pcap'));
    const early = await catalog.add(account, container, 'early.cap');
    expect(early?.runId).toBeUndefined();
    await runs.create(run(id, '/target'));
    await runs.claim(container, 'early.cap', id);
    expect(await catalog.add(account, container, 'early.cap')).toEqual({ ...early, runId: id, target: '/target' });
    expect((await captures.list({ limit: 10 }, { run: id })).items).toHaveLength(1);
  });

  it('that is rewritten is catalogued again in place', async () => {
    await upload('rewritten.cap', fixture('tcpdump/DTP.pcap'));
    const first = await catalog.add(account, container, 'rewritten.cap');
    await upload('rewritten.cap', fixture('tcpdump/LACP.pcap'));
    const second = await catalog.add(account, container, 'rewritten.cap');
    expect(second?.id).toBe(first?.id);
    expect(second?.etag).not.toBe(first?.etag);
    expect(second?.sha256).not.toBe(first?.sha256);
    expect((await captures.list({ limit: 100 }, {})).items.filter((c) => c.blob === 'rewritten.cap')).toEqual([second]);
  });

  it.each([
    ['empty', Buffer.alloc(0), 'empty'],
    ['without packets', fixture('tcpdump/DTP.pcap').subarray(0, 24), 'empty'],
    ['cut in a packet', fixture('tcpdump/DTP.pcap').subarray(0, 200), 'damaged'],
    ['of something else', Buffer.from('<html>not found</html>'), 'not-a-capture'],
  ])('that is %s gets an entry that says so', async (name, content, code) => {
    await upload(`bad-${name}.cap`, content);
    expect(await catalog.add(account, container, `bad-${name}.cap`)).toMatchObject({
      bytes: content.length,
      verdict: { code },
    });
  });

  it('of packets in VXLAN tells their networks', async () => {
    await upload('vxlan.cap', fixture('tcpdump/vxlan.pcap'));
    const capture = await catalog.add(account, container, 'vxlan.cap');
    expect(capture?.vxlan).toEqual([{ vni: 100, packets: capture?.protocols['vxlan'] }]);
    await upload('plain.cap', fixture('tcpdump/DTP.pcap'));
    expect(await catalog.add(account, container, 'plain.cap')).not.toHaveProperty('vxlan');
  });

  it('that is not there is no entry and no error', async () => {
    expect(await catalog.add(account, container, 'never/was.cap')).toBeUndefined();
    expect(await catalog.add(account, 'no-such-container', 'never/was.cap')).toBeUndefined();
  });
});

describe('the sweep', () => {
  const sweep = async (handle?: (blob: string) => Promise<void>): Promise<string[]> => {
    const missed: string[] = [];
    await catalog.sweep(account, container, async (blob) => {
      missed.push(blob);
      await (handle ? handle(blob) : catalog.add(account, container, blob));
    });
    return missed;
  };

  it('finds what no event told of, once, and what a new version left behind', async () => {
    aheadMs = 60_000;
    await sweep();
    await upload('missed.cap', fixture('tcpdump/DTP.pcap'));
    aheadMs = 120_000;
    expect(await sweep()).toEqual(['missed.cap']);
    expect(await sweep()).toEqual([]);
    await upload('missed.cap', fixture('tcpdump/LACP.pcap'));
    aheadMs = 180_000;
    expect(await sweep()).toEqual(['missed.cap']);
  });

  it('leaves a file alone whose event may be on its way', async () => {
    aheadMs = 0;
    await upload('just-now.cap', fixture('tcpdump/DTP.pcap'));
    expect(await sweep()).toEqual([]);
    aheadMs = 240_000;
    expect(await sweep()).toEqual(['just-now.cap']);
  });

  it('comes back to a file that could not be catalogued, also much later', async () => {
    await upload('stubborn.cap', fixture('tcpdump/DTP.pcap'));
    aheadMs = 300_000;
    expect(await sweep(() => Promise.reject(new Error('not now')))).toEqual(['stubborn.cap']);
    aheadMs = 300_000 + 3_600_000;
    expect(await sweep(() => Promise.reject(new Error('still not')))).toEqual(['stubborn.cap']);
    aheadMs += 3_600_000;
    expect(await sweep()).toEqual(['stubborn.cap']);
    expect(await sweep()).toEqual([]);
  });

  it('of a container that is not there finds nothing', async () => {
    expect(await catalog.sweep(account, 'no-such-container', () => Promise.resolve())).toBe(0);
  });
});
