import { Problem } from '../shared/problem.ts';
import { endpoint, json } from './http.ts';
import { readListQuery } from './list-query.ts';

endpoint('sessions', ['GET'], 'sessions', 'Read', async (request, app) => {
  const { limit, since, until, next } = readListQuery(request, ['provider', 'region']);
  // A cloud does not tell when a session was made.
  if (since ?? until)
    throw new Problem('unsupported-parameter', 'Sessions cannot be listed by time; list runs instead');
  const sessions = await app.sessions({
    provider: request.query.get('provider') ?? undefined,
    region: request.query.get('region') ?? undefined,
  });
  const sorted = sessions.toSorted((a, b) => (a.id < b.id ? -1 : 1));
  const after = next === undefined ? '' : Buffer.from(next, 'base64url').toString('utf8');
  const rest = sorted.filter((s) => s.id > after);
  const items = rest.slice(0, limit);
  const last = items.at(-1);
  return json(
    200,
    rest.length > items.length && last ? { items, next: Buffer.from(last.id).toString('base64url') } : { items },
  );
});
