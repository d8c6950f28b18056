import { beforeAll, describe, expect, it } from 'vitest';
import { startAzurite, startHost, type RunningHost } from '../host/processes.ts';
import { callback, sample } from './cloudmonitor.ts';

// The app itself in the local host, in which a function asks for its keys as in Azure. Two senders, a key each.
const keys = ['key-of-hangzhou', 'key-of-singapore'];
const flags = keys.flatMap((key) => ['--key', `alerts-cloudmonitor=${key}`]);
const form = { 'content-type': 'application/x-www-form-urlencoded; charset=UTF-8' };

/** The header that Easy Auth would set for a signed-in sender of alerts. */
const principal = (role: string) => ({
  'x-ms-client-principal': Buffer.from(JSON.stringify({ claims: [{ typ: 'roles', val: role }] })).toString('base64'),
});

describe.each(['false', 'true'])('with TRIPCAP_EASY_AUTH=%s', (easyAuth) => {
  let host: RunningHost;
  beforeAll(async () => {
    const settings = { AzureWebJobsStorage: await startAzurite(), TRIPCAP_EASY_AUTH: easyAuth };
    host = await startHost({ ...settings, TRIPCAP_POLL_SCHEDULE: '0 0 0 1 1 *' }, { app: 'whole-app', flags });
  });
  const send = (query: string, headers: Record<string, string> = {}, body: Uint8Array | string = callback()) =>
    fetch(`${host.url}/api/alerts/cloudmonitor${query}`, { method: 'POST', headers: { ...form, ...headers }, body });

  it('a sender gets in by its key', async () => {
    for (const key of keys) {
      const answer = await send(`?code=${key}`);
      expect(answer.status).toBe(202);
      expect(await answer.json()).toMatchObject({ externalId: expect.any(String), runs: [], stopped: [] });
    }
    expect((await send('', { 'x-functions-key': 'key-of-hangzhou' })).status).toBe(202);
  });

  it.each(['application/json', 'text/plain', 'application/x-www-form-urlencoded'])(
    'what it sends is told by its content, not by %s',
    async (type) => {
      for (const body of [callback(), sample('event-callback-doc-sample.json')])
        expect((await send('?code=key-of-hangzhou', { 'content-type': type }, body)).status).toBe(202);
    },
  );

  it('nobody gets in without, whoever he is', async () => {
    for (const query of ['', '?code=', '?code=wrong'])
      for (const headers of [{}, principal('Alert')]) expect((await send(query, headers)).status).toBe(401);
  });

  it('its key opens nothing else', async () => {
    const listed = await fetch(`${host.url}/api/runs?code=key-of-hangzhou`);
    expect(listed.status).toBe(easyAuth === 'true' ? 401 : 200);
  });

  it('a bad payload is a 400 with all faults, an endless one a 413', async () => {
    const bad = await send('?code=key-of-hangzhou', {}, 'alertState=MAYBE');
    expect(bad.status).toBe(400);
    expect(bad.headers.get('content-type')).toBe('application/problem+json');
    expect(await bad.json()).toMatchObject({
      code: 'invalid-payload',
      problems: [{ path: 'alertName' }, { path: 'alertState' }, { path: 'timestamp' }],
    });
    expect((await send('?code=key-of-hangzhou', {}, 'x'.repeat(300_000))).status).toBe(413);
  });

  it('no key is in any log or answer', async () => {
    const answers = await Promise.all([
      send('?code=key-of-hangzhou'),
      send('?code=key-of-hangzhou', {}, 'nothing'),
      send('?code=key-of-nobody'),
    ]);
    const texts = await Promise.all(answers.map((answer) => answer.text()));
    expect([...texts, host.output()].join('\n')).not.toMatch(/key-of-|code=/);
    expect(host.output()).toContain('alerts-cloudmonitor');
  });
});

it('without storage a sender is asked to come again', async () => {
  const host = await startHost({}, { app: 'whole-app', flags });
  const url = `${host.url}/api/alerts/cloudmonitor?code=key-of-hangzhou`;
  const answer = await fetch(url, { method: 'POST', headers: form, body: callback() });
  expect(answer.status).toBe(503);
  expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0);
  expect(await answer.json()).toMatchObject({ code: 'storage-unavailable' });
});
