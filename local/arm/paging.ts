import { ok, type Answer } from './answer.ts';

/** A list in pages. The link to the next page is a whole URL, as everywhere in ARM; its token is the emulator's own. */
export function page(items: object[], sizeOfPage: number, call: { url: URL }): Answer {
  const token = [...call.url.searchParams].find(([name]) => name.toLowerCase() === '$skiptoken')?.[1];
  const from = token === undefined ? 0 : Number(Buffer.from(token, 'base64url').toString());
  const to = from + sizeOfPage;
  const value = items.slice(from, to);
  if (to >= items.length) return ok({ value });
  const next = new URL(call.url);
  for (const name of [...next.searchParams.keys()]) {
    if (name.toLowerCase() === '$skiptoken') next.searchParams.delete(name);
  }
  next.searchParams.set('$skiptoken', Buffer.from(String(to)).toString('base64url'));
  return ok({ value, nextLink: next.href });
}
