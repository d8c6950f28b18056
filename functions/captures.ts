import { isId } from '../shared/id.ts';
import { endpoint, json } from './http.ts';
import { readListQuery } from './list-query.ts';

endpoint('captures', ['GET'], 'captures', 'Read', async (request, app) => {
  const query = readListQuery(request, ['run', 'target']);
  const run = request.query.get('run') ?? undefined;
  if (run !== undefined && !isId(run)) return json(200, { items: [] });
  const page = await app.captures.list(query, {
    run,
    target: request.query.get('target')?.toLowerCase() ?? undefined,
  });
  return json(200, page);
});

endpoint('capture', ['GET'], 'captures/{id}', 'Read', async (request, app) =>
  json(200, await app.captures.require(request.params['id'] ?? '')),
);

endpoint('capture-file', ['GET'], 'captures/{id}/file', 'Evidence', async (request, app) => ({
  status: 302,
  headers: { location: await app.fileLink(request.params['id'] ?? ''), 'cache-control': 'no-store' },
}));
