import { describe, expect, it } from 'vitest';
import { notification } from '../run/world.ts';
import { useStorage, Years } from './years.ts';

useStorage();

describe('removing a row', () => {
  it('tells whether it was there, and leaves it when it was written since', async () => {
    const { state } = new Years().tables;
    await state.put('p', 'a', { n: 1 });
    const first = await state.get('p', 'a');
    await state.put('p', 'a', { n: 2 });
    expect(await state.remove('p', 'a', first?.etag)).toBe('changed');
    expect((await state.get('p', 'a'))?.value).toEqual({ n: 2 });
    const second = await state.get('p', 'a');
    expect(await state.remove('p', 'a', second?.etag)).toBe('removed');
    expect(await state.remove('p', 'a', second?.etag)).toBe('gone');
    expect(await state.remove('p', 'a')).toBe('gone');
  });
});

describe('the archive', () => {
  it('lists what it keeps, by pages and by the beginning of names, and removes that version only', async () => {
    const { archive } = new Years();
    expect(await archive.list('', undefined)).toEqual({ items: [] });
    for (let i = 0; i < 120; i++) await archive.put(`a/${String(i).padStart(3, '0')}`, '{}');
    await archive.put('b/1', '{}');
    const first = await archive.list('', undefined);
    expect(first.items).toHaveLength(100);
    const rest = await archive.list('', first.next);
    expect(rest.next).toBeUndefined();
    expect([...first.items, ...rest.items].map(({ name }) => name)).toHaveLength(121);
    const [only] = (await archive.list('b/', undefined)).items;
    expect(only).toMatchObject({ name: 'b/1', held: false, writtenAt: expect.any(Date) });
    await archive.put('b/1', '{"again":true}');
    expect(await archive.remove('b/1', only?.etag ?? '')).toBe('changed');
    const [again] = (await archive.list('b/', undefined)).items;
    expect(await archive.remove('b/1', again?.etag ?? '')).toBe('removed');
    // Azurite does not tell a version that is gone from one that was replaced.
    expect(['gone', 'changed']).toContain(await archive.remove('b/1', again?.etag ?? ''));
  });

  it('takes what is there and under legal hold for kept, and nothing else', async () => {
    const { proxied, proxy } = new Years();
    await proxied.put('a', '{}');
    proxy.refuses = (method) => (method === 'PUT' ? { status: 409, code: 'BlobImmutableDueToLegalHold' } : undefined);
    await proxied.put('a', '{}');
    await expect(proxied.put('b', '{}')).rejects.toMatchObject({ statusCode: 409 });
    proxy.refuses = (method) => (method === 'PUT' ? { status: 403, code: 'AuthorizationFailure' } : undefined);
    await expect(proxied.put('a', '{}')).rejects.toMatchObject({ code: 'storage-unavailable' });
    proxy.refuses = (method) => (method === 'PUT' ? { status: 400, code: 'InvalidHeaderValue' } : undefined);
    await expect(proxied.put('a', '{}')).rejects.toMatchObject({ statusCode: 400 });
  });

  it("knows storage's time", async () => {
    const { archive } = new Years();
    const { time, held } = await archive.look();
    expect(Math.abs(time.getTime() - Date.now())).toBeLessThan(5000);
    expect(held).toBe(false);
  });
});

describe('the timer', () => {
  it('is told when storage cannot be asked for its time, and nothing is removed', async () => {
    const years = new Years();
    await years.process().receive(notification({ id: '/alerts/1' }));
    const rows = await years.rows();
    years.proxy.refuses = () => ({ status: 403, code: 'AuthorizationPermissionMismatch' });
    years.clock.advance(1e12);
    await expect(years.retain()).rejects.toMatchObject({ code: 'storage-unavailable' });
    expect(await years.rows()).toEqual(rows);
  });
});
