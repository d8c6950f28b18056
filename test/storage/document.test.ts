import { BlobServiceClient } from '@azure/storage-blob';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { once } from '../../shared/once.ts';
import { connectBlobs } from '../../shared/storage/connect.ts';
import { BlobDocuments, type Documents } from '../../shared/storage/document.ts';
import { connectionStringFor, startAzurite, type Azurite } from '../azurite.ts';
import { MemoryDocuments } from '../memory-documents.ts';

/** What documents must do, wherever they are. */
function documentsContract(open: () => Documents): void {
  it('is nothing before it is written', async () => {
    expect(await open().read('absent')).toBeUndefined();
  });

  it('is written once by whoever saw nothing', async () => {
    const documents = open();
    expect(await documents.write('first', 'a', undefined)).toBe(true);
    expect(await documents.write('first', 'b', undefined)).toBe(false);
    expect(await documents.read('first')).toMatchObject({ text: 'a' });
  });

  it('is replaced by whoever saw what is there, once', async () => {
    const documents = open();
    await documents.write('replaced', 'a', undefined);
    const seen = await documents.read('replaced');
    expect(await documents.write('replaced', 'b', seen?.etag)).toBe(true);
    expect(await documents.write('replaced', 'c', seen?.etag)).toBe(false);
    const then = await documents.read('replaced');
    expect(then?.text).toBe('b');
    expect(then?.etag).not.toBe(seen?.etag);
  });

  it('tells when it was written, to the second', async () => {
    const documents = open();
    const before = Math.floor(Date.now() / 1000) * 1000;
    await documents.write('dated', 'a', undefined);
    const modifiedAt = (await documents.read('dated'))?.modifiedAt.getTime() ?? 0;
    expect(modifiedAt).toBeGreaterThanOrEqual(before);
    expect(modifiedAt).toBeLessThanOrEqual(Date.now());
  });

  it('counts as written although the text is the same', async () => {
    const documents = open();
    await documents.write('same', 'a', undefined);
    const seen = await documents.read('same');
    expect(await documents.write('same', 'a', seen?.etag)).toBe(true);
    expect(await documents.write('same', 'a', seen?.etag)).toBe(false);
  });

  it('is not brought back by whoever saw it before it went', async () => {
    expect(await open().write('gone', 'a', '"0x8D0000000000000"')).toBe(false);
    expect(await open().read('gone')).toBeUndefined();
  });

  it('has one winner among writers side by side', async () => {
    const documents = open();
    const write = (etag: string | undefined) =>
      Promise.all(Array.from({ length: 10 }, (_, n) => documents.write('race', String(n), etag)));
    expect((await write(undefined)).filter(Boolean)).toHaveLength(1);
    const seen = await documents.read('race');
    expect((await write(seen?.etag)).filter(Boolean)).toHaveLength(1);
  });

  it('loses no change when every writer reads again after it lost', async () => {
    const documents = open();
    const add = async (n: number): Promise<void> => {
      for (;;) {
        const seen = await documents.read('sum');
        const numbers = seen ? (JSON.parse(seen.text) as number[]) : [];
        if (await documents.write('sum', JSON.stringify([...numbers, n]), seen?.etag)) return;
      }
    };
    await Promise.all(Array.from({ length: 8 }, (_, n) => add(n)));
    const all = JSON.parse((await documents.read('sum'))?.text ?? '') as number[];
    expect(all.toSorted((a, b) => a - b)).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
  });

  it('keeps any text, of any length', async () => {
    const documents = open();
    for (const [name, text] of Object.entries({ none: '', words: 'ä€😀\r\n\u0000', long: 'ä'.repeat(300_000) })) {
      expect(await documents.write(name, text, undefined)).toBe(true);
      expect((await documents.read(name))?.text === text).toBe(true);
    }
  });
}

describe('in memory', () => {
  const documents = new MemoryDocuments();
  documentsContract(() => documents);
});

describe('in blobs', () => {
  let azurite: Azurite;
  beforeAll(async () => {
    azurite = await startAzurite();
  });
  afterAll(() => azurite.stop());

  const noIdentity = (): never => {
    throw new Error('no identity here');
  };
  const blobsOf = (connectionString: string, name: string) =>
    new BlobDocuments(
      once(() => connectBlobs({ kind: 'connectionString', value: connectionString }, noIdentity, 'state')),
      name,
    );

  documentsContract(() => blobsOf(azurite.connectionString, 'documents'));

  it('makes its container with the first write, however many come first', async () => {
    const documents = blobsOf(azurite.connectionString, 'fresh');
    expect(await documents.read('a')).toBeUndefined();
    const written = await Promise.all(['a', 'b', 'c'].map((name) => documents.write(name, name, undefined)));
    expect(written).toEqual([true, true, true]);
    const blob = BlobServiceClient.fromConnectionString(azurite.connectionString).getContainerClient('fresh');
    expect((await blob.getBlobClient('a').getProperties()).contentType).toBe('application/json');
  });

  it('says that storage is away', async () => {
    const documents = blobsOf(connectionStringFor({ blob: 9 }), 'away');
    for (const call of [documents.read('a'), documents.write('a', 'b', undefined)])
      await expect(call).rejects.toMatchObject({ code: 'storage-unavailable', message: expect.stringContaining('a') });
  });
});
