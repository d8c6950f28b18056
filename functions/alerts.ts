import { maxPayloadBytes } from '../shared/alert/payload.ts';
import { toAlertView } from '../shared/alert/store.ts';
import { endpoint, json, readBody } from './http.ts';
import { readListQuery } from './list-query.ts';

endpoint('alerts-azure-monitor', ['POST'], 'alerts/azure-monitor', 'Alert', async (request, app) =>
  json(202, await app.receiveAzureMonitor(await readBody(request, maxPayloadBytes))),
);

// CloudMonitor signs nothing that could be checked and knows no Entra: a key of its own is all that it can show.
endpoint('alerts-cloudmonitor', ['POST'], 'alerts/cloudmonitor', 'key', async (request, app) =>
  json(202, await app.receiveCloudMonitor(await readBody(request, maxPayloadBytes))),
);

endpoint('alerts', ['GET'], 'alerts', 'Read', async (request, app) => {
  const page = await app.alerts.list(readListQuery(request, []));
  return json(200, { ...page, items: page.items.map(toAlertView) });
});

endpoint('alert', ['GET'], 'alerts/{id}', 'Read', async (request, app) =>
  json(200, toAlertView(await app.alerts.require(request.params['id'] ?? ''))),
);
