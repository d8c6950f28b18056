import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { connectQueues, connectTable } from '../../shared/storage/connect.ts';
import { listKey, listPage } from '../../shared/storage/list.ts';
import { AzureQueue } from '../../shared/storage/queue.ts';
import { AzureTable, type Table } from '../../shared/storage/table.ts';
import { startAzurite, type Azurite } from '../azurite.ts';
import { MemoryTable } from '../memory-table.ts';

/** What every table must do. */
function tableContract(open: () => Table): void {
  it('inserts once', async () => {
    const table = open();
    expect(await table.insert('insert', 'a', { n: 1 })).toBe(true);
    expect(await table.insert('insert', 'a', { n: 2 })).toBe(false);
    expect((await table.get('insert', 'a'))?.value).toEqual({ n: 1 });
    expect(await table.get('insert', 'b')).toBeUndefined();
  });

  it('has one winner among inserts and among replaces side by side', async () => {
    const table = open();
    const inserts = await Promise.all(Array.from({ length: 10 }, (_, n) => table.insert('race', 'a', { n })));
    expect(inserts.filter(Boolean)).toHaveLength(1);
    const row = await table.get('race', 'a');
    const replaces = await Promise.all(
      Array.from({ length: 10 }, (_, n) => table.replace('race', 'a', row?.etag ?? '', { n })),
    );
    expect(replaces.filter(Boolean)).toHaveLength(1);
  });

  it('does not replace what is gone, and removes what is not there without complaint', async () => {
    const table = open();
    await table.put('gone', 'a', {});
    const row = await table.get('gone', 'a');
    await table.remove('gone', 'a');
    await table.remove('gone', 'a');
    expect(await table.replace('gone', 'a', row?.etag ?? '', {})).toBe(false);
  });

  it('keeps values of any length up to the row, in every script', async () => {
    const table = open();
    const value = { text: `${'ä€😀'.repeat(15_000)}'"\\\u0000`, list: [1, null, true, { deep: [] }] };
    await table.put('long', 'a', value);
    // Not toEqual: nobody wants to read the difference.
    expect(JSON.stringify((await table.get('long', 'a'))?.value) === JSON.stringify(value)).toBe(true);
    // A shorter value leaves nothing of the longer one behind.
    await table.put('long', 'a', { text: 'short' });
    expect((await table.get('long', 'a'))?.value).toEqual({ text: 'short' });
    await expect(table.put('long', 'b', { text: 'x'.repeat(500_000) })).rejects.toThrow(RangeError);
  });

  it('scans in order, within bounds, by column, quotes and all', async () => {
    const table = open();
    for (const name of ['c', 'a', 'b', 'd'])
      await table.put('scan', name, { name }, { colour: name < 'c' ? "o'red" : 'blue' });
    const names = async (options: object) =>
      (await table.scan<{ name: string }>('scan', { limit: 10, ...options })).map((row) => row.value.name).join('');
    expect(await names({})).toBe('abcd');
    expect(await names({ after: 'a', upTo: 'c' })).toBe('bc');
    expect(await names({ where: { colour: "o'red" } })).toBe('ab');
    expect(await names({ where: { colour: "x' or 'a' eq 'a" } })).toBe('');
    expect(await names({ limit: 3 })).toBe('abc');
    expect(await table.scan('nothing', { limit: 5 })).toEqual([]);
  });
}

let azurite: Azurite;
const connection = () => ({ kind: 'connectionString' as const, value: azurite.connectionString });
const noIdentity = () => {
  throw new Error('no identity here');
};
beforeAll(async () => {
  azurite = await startAzurite();
});
afterAll(() => azurite.stop());

const openTable = () => new AzureTable(() => connectTable(connection(), 'contract', noIdentity));

describe('Azure Table Storage', () => {
  tableContract(openTable);

  it('out of reach is one problem, soon', async () => {
    const nobody = {
      kind: 'connectionString' as const,
      value: azurite.connectionString.replace(
        /TableEndpoint=http:\/\/127\.0\.0\.1:\d+/,
        'TableEndpoint=http://127.0.0.1:9',
      ),
    };
    const table = new AzureTable(() => connectTable(nobody, 'contract', noIdentity));
    await expect(table.get('a', 'b')).rejects.toMatchObject({
      code: 'storage-unavailable',
      status: 503,
      retryAfterSeconds: 15,
    });
  });
});

describe('the table in memory', () => {
  const table = new MemoryTable();
  tableContract(() => table);
});

describe('a list', () => {
  it('runs from new to old, within since and until, by pages that neither repeat nor leave out', async () => {
    const table = openTable();
    const start = Date.parse('2026-11-22T12:00:00Z');
    for (let i = 0; i < 25; i++)
      await table.put('list', listKey(new Date(start + i * 1000), `id${i}`), { i }, { parity: i % 2 ? 'odd' : 'even' });
    const page = (query: object, where = {}) =>
      listPage<{ i: number }, number>(table, 'list', { limit: 7, ...query }, where, async (row) => row.value.i);
    const seen: number[] = [];
    let next: string | undefined;
    do {
      const answer = await page({ next });
      seen.push(...answer.items);
      next = answer.next;
    } while (next !== undefined);
    expect(seen).toEqual(Array.from({ length: 25 }, (_, i) => 24 - i));
    const at = (i: number) => new Date(start + i * 1000);
    expect((await page({ since: at(3), until: at(6) })).items).toEqual([6, 5, 4, 3]);
    expect((await page({ limit: 3 }, { parity: 'odd' })).items).toEqual([23, 21, 19]);
    expect(await page({ limit: 25 })).toEqual({ items: seen });
    await expect(page({ next: 'bm90IGEgdG9rZW4' })).rejects.toMatchObject({ code: 'invalid-request' });
  });

  it('goes on looking when what it loads does not belong', async () => {
    const table = openTable();
    for (let i = 0; i < 40; i++) await table.put('sparse', listKey(new Date(i * 1000), `id${i}`), { i });
    const answer = await listPage<{ i: number }, number>(table, 'sparse', { limit: 3 }, {}, async (row) =>
      row.value.i % 10 === 0 ? row.value.i : undefined,
    );
    expect(answer.items).toEqual([30, 20, 10]);
  });
});

describe('Azure Queue Storage', () => {
  it('delivers what the Functions trigger reads, after its delay', async () => {
    const queues = await connectQueues(connection(), noIdentity);
    const queue = new AzureQueue(async () => queues, 'contract');
    await queue.send({ run: 'now' }, 0);
    await queue.send({ run: 'later' }, 600_000);
    const { receivedMessageItems } = await queues.getQueueClient('contract').receiveMessages({ numberOfMessages: 10 });
    expect(receivedMessageItems.map((m) => JSON.parse(Buffer.from(m.messageText, 'base64').toString()))).toEqual([
      { run: 'now' },
    ]);
  });
});
