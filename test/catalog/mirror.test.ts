import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { BlobServiceClient, type ContainerClient } from '@azure/storage-blob';
import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import type { FileMetadata } from '../../collector/protocol.ts';
import { createApp } from '../../shared/app.ts';
import { CaptureAccounts } from '../../shared/catalog/accounts.ts';
import { Catalog } from '../../shared/catalog/catalog.ts';
import { readMetadata } from '../../shared/catalog/mirror.ts';
import { CaptureStore } from '../../shared/catalog/store.ts';
import type { Clock } from '../../shared/clock.ts';
import { mirrorContainer, readConfig } from '../../shared/config.ts';
import { randomId } from '../../shared/id.ts';
import { RunStore } from '../../shared/run/store.ts';
import type { Run } from '../../shared/run/run.ts';
import { connectTable } from '../../shared/storage/connect.ts';
import { AzureTable } from '../../shared/storage/table.ts';
import { startAzurite, startHost } from '../host/processes.ts';
import { until } from '../until.ts';

const account = 'devstoreaccount1';
const target = 'acs:ecs:cn-hongkong:1108034196790001:instance/i-web01';
const packets = readFileSync(join(import.meta.dirname, '../fixtures/pcaps/tcpdump/DTP.pcap'));
const quiet = { info: () => undefined, warn: () => undefined, error: () => undefined };
const noIdentity = () => {
  throw new Error('no identity here');
};

let storage: string;
let container: ContainerClient;
let runs: RunStore;
let captures: CaptureStore;
let catalog: Catalog;
/** A catalogue that knows the same files and runs, and of no claim. */
let forgetful: Catalog;
let unclaimed: RunStore;

beforeAll(async () => {
  storage = await startAzurite();
  container = BlobServiceClient.fromConnectionString(storage).getContainerClient(mirrorContainer);
  const connection = { kind: 'connectionString' as const, value: storage };
  const table = (name: string) => new AzureTable(() => connectTable(connection, name, noIdentity));
  const clock: Clock = { now: () => new Date(), timeout: (ms) => AbortSignal.timeout(ms) };
  const accounts = new CaptureAccounts(
    [{ id: 'x', name: account, regions: ['*'], connectionName: 'X', connection }],
    noIdentity,
    clock,
  );
  runs = new RunStore(table('tripcapruns'));
  captures = new CaptureStore(table('tripcapcaptures'));
  const parts = { accounts, captures, state: table('tripcapstate'), clock, log: quiet };
  catalog = new Catalog({ ...parts, runs });
  unclaimed = new RunStore(table('unclaimed'));
  forgetful = new Catalog({ ...parts, runs: unclaimed });
});

async function makeRun(id = randomId()): Promise<string> {
  const run: Run = {
    id,
    provider: 'alibaba',
    target,
    state: 'collecting',
    trigger: { kind: 'runbook' },
    capture: {},
    limits: { durationSeconds: 60, sizeBytes: 1 },
    stopOnResolve: false,
    files: [],
    createdAt: new Date().toISOString(),
    timeline: [],
  };
  await Promise.all([runs.create(run), unclaimed.create(run)]);
  return id;
}

const metadataOf = (run: string): FileMetadata => ({
  run,
  session: 'tms-j6c1',
  vni: '4711',
  source: 'eni-j6c2',
  collector: 'collector-1',
});
const mirror = { session: 'tms-j6c1', vni: 4711, source: 'eni-j6c2', collector: 'collector-1' };
const blobOf = (run: string, sequence = 1) =>
  `${run}/4711-eni-j6c2-${String(sequence).padStart(6, '0')}-20261122T060759123Z.cap`;

async function upload(blob: string, metadata: Record<string, string>): Promise<void> {
  await container.createIfNotExists();
  await container.getBlockBlobClient(blob).upload(packets, packets.length, { metadata });
}
const listed = async (run: string) => (await captures.list({ limit: 100 }, { run })).items.map(({ blob }) => blob);

describe("a file's metadata", () => {
  const id = 'a'.repeat(26);

  it('of a collector is taken as it is', () => {
    expect(readMetadata(metadataOf(id))).toEqual({ run: id, mirror });
    expect(readMetadata({ ...metadataOf(id), vni: '0' }).mirror?.vni).toBe(0);
    expect(readMetadata({ ...metadataOf(id), vni: '16777215' }).mirror?.vni).toBe(0xffffff);
    const longest = { session: 's'.repeat(64), source: 's'.repeat(64), collector: '-'.repeat(63) };
    expect(readMetadata({ ...metadataOf(id), ...longest }).mirror).toEqual({ ...longest, vni: 4711 });
  });

  it('that is not there says nothing', () => {
    expect(readMetadata({})).toEqual({ run: undefined, mirror: undefined });
  });

  it.each([
    '',
    'A'.repeat(26),
    'a'.repeat(25),
    'a'.repeat(27),
    `${'a'.repeat(25)}/`,
    `${'a'.repeat(26)}\n`,
    'a'.repeat(8000),
  ])('names no run by %j', (run) => expect(readMetadata(metadataOf(run))).toEqual({ run: undefined, mirror }));

  it.each<Partial<FileMetadata>>([
    { session: '' },
    { session: 's'.repeat(65) },
    { session: 'tms-1<script>' },
    { source: 'eni 1' },
    { source: 'eni-\u00e9' },
    { collector: 'c'.repeat(8000) },
    { collector: '../x' },
    { vni: '16777216' },
    { vni: '-1' },
    { vni: '1.5' },
    { vni: '0x10' },
    { vni: ' 7' },
    { vni: '' },
    { vni: '1e3' },
    { vni: '000000007' },
  ])('with %j is of no mirror', (changed) => {
    expect(readMetadata({ ...metadataOf(id), ...changed })).toEqual({ run: id, mirror: undefined });
  });

  it.each(['session', 'vni', 'source', 'collector'] as const)('without %s is of no mirror', (name) => {
    const { [name]: _, ...others } = metadataOf(id);
    expect(readMetadata(others)).toEqual({ run: id, mirror: undefined });
  });
});

describe('a mirrored file', () => {
  it('belongs to the run that its metadata names, wherever it lies', async () => {
    const run = await makeRun();
    await upload(`elsewhere/${run}.cap`, metadataOf(run));
    const capture = await catalog.add(account, mirrorContainer, `elsewhere/${run}.cap`);
    expect(capture).toMatchObject({ runId: run, target, mirror, container: mirrorContainer });
    expect(await listed(run)).toEqual([capture!.blob]);
  });

  it('has the names of its metadata in lower case, however they were written', async () => {
    const run = await makeRun();
    await upload(blobOf(run), { Run: run, Session: 'tms-1', VNI: '7', Source: 'eni-1', Collector: 'c' });
    const capture = await catalog.add(account, mirrorContainer, blobOf(run));
    expect(capture).toMatchObject({
      runId: run,
      mirror: { session: 'tms-1', vni: 7, source: 'eni-1', collector: 'c' },
    });
  });

  it.each([
    ['is not there', randomId()],
    ['is no id', '../../runs'],
    ['is a row of the table that is no run', 'open'],
  ])('of a run that %s belongs to none, and is of a mirror all the same', async (what, run) => {
    const blob = `${what}.cap`;
    await upload(blob, metadataOf(run));
    const capture = await catalog.add(account, mirrorContainer, blob);
    expect(capture).toMatchObject({ mirror, verdict: { code: 'captured' } });
    expect(capture).not.toHaveProperty('runId');
    expect(capture).not.toHaveProperty('target');
  });

  it('without metadata belongs to the run that claims its folder', async () => {
    const run = await makeRun();
    await runs.claim(mirrorContainer, `${run}/`, run);
    await upload(blobOf(run), {});
    const capture = await catalog.add(account, mirrorContainer, blobOf(run));
    expect(capture).toMatchObject({ runId: run, target });
    expect(capture).not.toHaveProperty('mirror');
  });

  it('belongs to the run that claims its path, whatever else its metadata says', async () => {
    const [claiming, named] = [await makeRun(), await makeRun()];
    await runs.claim(mirrorContainer, `${claiming}/`, claiming);
    await upload(blobOf(claiming), metadataOf(named));
    expect(await catalog.add(account, mirrorContainer, blobOf(claiming))).toMatchObject({ runId: claiming, mirror });
    expect(await listed(named)).toEqual([]);
  });
});

describe('a mirrored file that was catalogued before its run was known', () => {
  let run: string;
  let blob: string;
  let early: Awaited<ReturnType<Catalog['add']>>;
  beforeEach(async () => {
    run = randomId();
    blob = blobOf(run);
    await upload(blob, metadataOf(run));
    early = await catalog.add(account, mirrorContainer, blob);
    expect(early).not.toHaveProperty('runId');
  });
  const again = () => catalog.add(account, mirrorContainer, blob);
  const missing = (told = true) => {
    const files = told && early ? [{ id: early.id }] : [];
    return catalog.missing(account, mirrorContainer, `${run}/`, { id: run, files });
  };

  it('is tied to it by its metadata, and missing until then', async () => {
    expect(await missing()).toEqual([blob]);
    await makeRun(run);
    expect(await missing()).toEqual([blob]);
    expect(await again()).toEqual({ ...early, runId: run, target });
    expect(await missing()).toEqual([]);
    // Whoever stored the entry may have died before telling the run.
    expect(await missing(false)).toEqual([blob]);
    expect(await listed(run)).toEqual([blob]);
  });

  it('goes to the run that claims its path, and stays there', async () => {
    await makeRun(run);
    const other = await makeRun();
    expect(await again()).toMatchObject({ runId: run });
    await runs.claim(mirrorContainer, `${run}/`, other);
    expect(await again()).toMatchObject({ runId: other });
    expect(await again()).toMatchObject({ runId: other });
    // A claim that is not there any more takes nothing away, and makes no room for the metadata.
    expect(await forgetful.add(account, mirrorContainer, blob)).toMatchObject({ runId: other });
    expect(await again()).toMatchObject({ runId: other });
    expect([await listed(run), await listed(other)]).toEqual([[], [blob]]);
  });

  it('has one run by either tie, which are of one mind', async () => {
    await makeRun(run);
    await runs.claim(mirrorContainer, `${run}/`, run);
    const tied = await again();
    expect(tied).toEqual({ ...early, runId: run, target });
    expect(await forgetful.add(account, mirrorContainer, blob)).toEqual(tied);
    expect(await again()).toEqual(tied);
    expect(await missing()).toEqual([]);
  });

  it('is asked for anew when it is rewritten: then its new metadata counts', async () => {
    await makeRun(run);
    expect(await again()).toMatchObject({ runId: run });
    const other = await makeRun();
    await upload(blob, { ...metadataOf(other), vni: '5' });
    expect(await again()).toMatchObject({ runId: other, mirror: { vni: 5 } });
    await upload(blob, {});
    const last = await again();
    expect(last).not.toHaveProperty('runId');
    expect(last).not.toHaveProperty('mirror');
  });
});

describe('the app', () => {
  const settings = () => ({
    AzureWebJobsStorage: storage,
    Store: storage,
    TRIPCAP_CAPTURE_ACCOUNTS: JSON.stringify([
      {
        id: `/subscriptions/0/resourceGroups/rg/providers/Microsoft.Storage/storageAccounts/${account}`,
        regions: ['*'],
        connection: 'Store',
      },
    ]),
    TRIPCAP_ALIBABA_ACCOUNT: '1108034196790001',
    TRIPCAP_ALIBABA_REGIONS: JSON.stringify([
      {
        region: 'cn-hongkong',
        mirrorTargetId: 'eni-1',
        mirrorTargetType: 'NetworkInterface',
        collector: 'collector-1',
      },
    ]),
    TRIPCAP_ALIBABA_ACCESS_KEY_ID: 'LTAIx',
    TRIPCAP_ALIBABA_ACCESS_KEY_SECRET: 'hush',
    // Nobody is there: neither triggers nor sweeps ask the cloud for files.
    TRIPCAP_ALIBABA_ENDPOINT: '127.0.0.1:9',
  });

  it('sweeps the container of collectors, once it is there', async () => {
    const { problems, ...config } = readConfig(settings());
    expect(problems.filter((problem) => !problem.includes('rules'))).toEqual([]);
    let aheadMs = 60_000;
    const clock: Clock = { now: () => new Date(Date.now() + aheadMs), timeout: (ms) => AbortSignal.timeout(ms) };
    const said: string[] = [];
    const log = { ...quiet, warn: (text: string) => said.push(text), error: (text: string) => said.push(text) };
    const app = createApp({ ...config, problems, alibaba: undefined }, {}, clock, log, () => undefined);
    const run = await makeRun();
    await upload(blobOf(run), metadataOf(run));
    await app.sweep();
    expect(await listed(run)).toEqual([blobOf(run)]);
    expect(said.filter((text) => text.includes(`${account}/${mirrorContainer}`))).toEqual([
      expect.stringMatching(/^sweep: \d+ files in devstoreaccount1\/mirror-captures had not been catalogued/),
    ]);
    expect((await app.runs.require(run)).files).toHaveLength(1);
    aheadMs += 1000;
    said.length = 0;
    await app.sweep();
    expect(said).toEqual([]);
  });

  it('catalogues files of collectors as they come, whether or not their container is there when it starts', async () => {
    storage = await startAzurite();
    container = BlobServiceClient.fromConnectionString(storage).getContainerClient(mirrorContainer);
    const host = await startHost({ ...settings(), TRIPCAP_POLL_SCHEDULE: '0 0 0 1 1 *' }, { app: 'whole-app' });
    const blob = blobOf(randomId());
    await upload(blob, metadataOf(randomId()));
    const found = await until('its entry', async () => {
      const answer = (await (await fetch(`${host.url}/api/captures`)).json()) as { items: { blob: string }[] };
      return answer.items.find((item) => item.blob === blob);
    });
    expect(found).toMatchObject({ account, container: mirrorContainer, mirror, packets: expect.any(Number) });
    expect(host.output()).toContain('catalog-mirror-captures');
    await host.stop();
  });
});
