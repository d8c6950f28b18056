import { parsePayload } from '../shared/alert/payload.ts';
import { Problem } from '../shared/problem.ts';
import { runStates, toView, type RunState } from '../shared/run/run.ts';
import { endpoint, json, readBody } from './http.ts';
import { readListQuery } from './list-query.ts';

const maxRequestBytes = 64 * 1024;

endpoint(
  'runs',
  ['GET', 'POST'],
  'runs',
  (request) => (request.method === 'POST' ? 'Operate' : 'Read'),
  async (request, app) => {
    if (request.method === 'POST') {
      const body = parsePayload(await readBody(request, maxRequestBytes));
      const { run, created } = await app.startRunbook(body, request.headers.get('idempotency-key') ?? undefined);
      return json(created ? 201 : 200, toView(run), { location: `/api/runs/${run.id}` });
    }
    const query = readListQuery(request, ['state', 'target', 'alert', 'incident']);
    const state = request.query.get('state') ?? undefined;
    if (state !== undefined && !isRunState(state))
      throw new Problem('invalid-request', `state must be one of ${runStates.join(', ')}`);
    const page = await app.runs.list(query, {
      state,
      target: request.query.get('target')?.toLowerCase() ?? undefined,
      alert: request.query.get('alert') ?? undefined,
      incident: request.query.get('incident') ?? undefined,
    });
    return json(200, { ...page, items: page.items.map(toView) });
  },
);

endpoint(
  'run',
  ['GET', 'DELETE'],
  'runs/{id}',
  (request) => (request.method === 'DELETE' ? 'Operate' : 'Read'),
  async (request, app) => {
    const id = request.params['id'] ?? '';
    if (request.method === 'DELETE') return json(202, toView(await app.removeRun(id)));
    return json(200, toView(await app.runs.require(id)));
  },
);

endpoint('run-stop', ['POST'], 'runs/{id}/stop', 'Operate', async (request, app) =>
  json(202, toView(await app.stopRun(request.params['id'] ?? ''))),
);

function isRunState(text: string): text is RunState {
  return (runStates as readonly string[]).includes(text);
}
