import { endpoint, json } from './http.ts';

endpoint('health', ['GET'], 'health', 'anyone', async (_, app) => {
  const health = await app.health();
  return json(
    health.status === 'unavailable' ? 503 : 200,
    health,
    health.status === 'unavailable' ? { 'retry-after': '15' } : {},
  );
});
