import type { HttpRequest } from '@azure/functions';
import { Problem } from '../shared/problem.ts';
import type { ListQuery } from '../shared/storage/list.ts';

const paging = ['limit', 'since', 'until', 'next', 'code', 'clientId'];

/** What every list takes: limit (1 to 1000, default 100), since, until, next. Other parameters must be among `filters`. */
export function readListQuery(request: HttpRequest, filters: readonly string[]): ListQuery {
  for (const name of request.query.keys()) {
    if (!paging.includes(name) && !filters.includes(name))
      throw new Problem(
        'unsupported-parameter',
        `This list has no parameter "${name.slice(0, 50)}"; it takes ${[...filters, ...paging.slice(0, 4)].join(', ')}`,
      );
  }
  const text = request.query.get('limit');
  const limit = text === null ? 100 : Number(text);
  if (!Number.isInteger(limit) || limit < 1 || limit > 1000)
    throw new Problem('invalid-request', 'limit must be a whole number from 1 to 1000');
  const next = request.query.get('next') ?? undefined;
  return {
    limit,
    since: readTime(request, 'since'),
    until: readTime(request, 'until'),
    ...(next === undefined ? {} : { next }),
  };
}

function readTime(request: HttpRequest, name: 'since' | 'until'): Date | undefined {
  const text = request.query.get(name);
  if (text === null) return undefined;
  const time = new Date(text);
  if (Number.isNaN(time.getTime()) || time.getTime() < 0)
    throw new Problem('invalid-request', `${name} must be a time such as 2026-11-22T13:00:00Z`);
  return time;
}
