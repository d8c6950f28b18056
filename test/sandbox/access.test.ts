import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { alertFor, anyMachine, machine, startSandbox, type Sandbox } from './sandbox.ts';

let sandbox: Sandbox;
beforeAll(async () => {
  sandbox = await startSandbox(anyMachine, { TRIPCAP_EASY_AUTH: 'true' });
});
afterAll(() => sandbox.stop());

/** The header that App Service authentication sets for a signed-in caller. */
function principal(...roles: string[]): Record<string, string> {
  const claims = [{ typ: 'name', val: 'somebody' }, ...roles.map((val) => ({ typ: 'roles', val }))];
  const json = JSON.stringify({ auth_typ: 'aad', name_typ: 'name', role_typ: 'roles', claims });
  return { 'x-ms-client-principal': Buffer.from(json).toString('base64') };
}

const send = (headers: Record<string, string>) =>
  sandbox.call('/alerts/azure-monitor', {
    method: 'POST',
    json: alertFor('ffffffff-0000-0000-0000-000000000001', [machine('missing09')]),
    headers,
  });

describe('with Easy Auth before the app', () => {
  it('nobody gets in without a principal, but everybody may ask how the app is', async () => {
    expect((await sandbox.call('/health')).status).toBe(200);
    for (const path of ['/runs', '/captures', '/alerts', '/sessions', '/runs/x', '/captures/x/file']) {
      const answer = await sandbox.call(path);
      expect({ path, status: answer.status, code: answer.body.code }).toEqual({
        path,
        status: 401,
        code: 'unauthenticated',
      });
    }
    expect((await send({})).status).toBe(401);
    expect((await sandbox.call('/runs', { headers: { 'x-ms-client-principal': 'bm90IGpzb24' } })).status).toBe(401);
  });

  it('each role opens what it is for', async () => {
    const status = async (path: string, role: string, method = 'GET') =>
      (await sandbox.call(path, { method, headers: principal(role), ...(method === 'POST' ? { json: {} } : {}) }))
        .status;
    expect(await status('/runs', 'Read')).toBe(200);
    expect(await status('/runs', 'Operate')).toBe(200);
    expect(await status('/runs', 'Evidence')).toBe(200);
    expect(await status('/runs', 'Alert')).toBe(403);
    expect(await status('/runs', 'Read', 'POST')).toBe(403);
    expect(await status('/runs', 'Operate', 'POST')).toBe(400);
    expect(await status('/runs/0123456789abcdefghjkmnpqrs/stop', 'Read', 'POST')).toBe(403);
    expect(await status('/runs/0123456789abcdefghjkmnpqrs', 'Read', 'DELETE')).toBe(403);
    expect(await status('/captures/0123456789abcdefghjkmnpqrs/file', 'Read')).toBe(403);
    expect(await status('/captures/0123456789abcdefghjkmnpqrs/file', 'Evidence')).toBe(404);
    expect((await send(principal('Read'))).status).toBe(403);
    expect((await send(principal('Alert'))).status).toBe(202);
    expect((await send(principal('ActionGroupsSecureWebhook'))).status).toBe(202);
  });
});

describe('without Easy Auth', () => {
  it('a principal that somebody sends along counts for nothing', async () => {
    const open = await startSandbox(anyMachine);
    try {
      expect((await open.call('/runs', { headers: principal('none') })).status).toBe(200);
    } finally {
      await open.stop();
    }
  });
});
