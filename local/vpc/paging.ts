import type { Parameters } from './parameters.ts';
import { Refusal } from './refusal.ts';

export type Page<T> = { items: T[]; nextToken: string; total: number; size: number };

/** A page of a list: at most MaxResults, from NextToken on. The token is the emulator's own; empty = the last page. */
export function page<T>(
  all: T[],
  parameters: Parameters,
  { least, most, usual }: { least: number; most: number; usual: number },
): Page<T> {
  const size = parameters.integer('MaxResults', least, most) ?? usual;
  const token = parameters.text('NextToken');
  const from = token === undefined ? 0 : positionOf(token);
  const items = all.slice(from, from + size);
  const nextToken = from + size < all.length ? Buffer.from(`from ${from + size}`).toString('base64url') : '';
  return { items, nextToken, total: all.length, size };
}

function positionOf(token: string): number {
  const match = /^from (\d{1,9})$/.exec(Buffer.from(token, 'base64url').toString());
  if (!match) throw new Refusal('IllegalParam.NextToken');
  return Number(match[1]);
}
