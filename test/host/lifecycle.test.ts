import { describe, expect, test } from 'vitest';
import { startHost } from './processes.ts';
import { until } from '../until.ts';

describe('the life of a host', () => {
  test('SIGTERM lets a request in flight finish, runs the hooks, and ends with 0', async () => {
    const host = await startHost();
    const answer = fetch(`${host.url}/api/slow`);
    await host.called('slow', 1);
    const exitCode = host.stop();
    await until('the end of listening', () =>
      fetch(`${host.url}/api/calls/slow`).then(
        () => false,
        () => true,
      ),
    );
    expect(await (await answer).text()).toBe('slept');
    expect(await exitCode).toBe(0);
    expect(host.output()).toContain('fixture: appTerminate hook');
  });

  test('an unhandled rejection answers 500 to what is under way and ends with 1', async () => {
    const host = await startHost();
    const answer = await fetch(`${host.url}/api/dies`);
    expect([answer.status, await answer.text()]).toEqual([500, '']);
    expect(await host.exitCode()).toBe(1);
    expect(host.output()).toContain('nobody handles this');
  });

  test('an entry file that throws leaves a host without functions', async () => {
    const host = await startHost({}, { app: 'throwing-app' });
    expect((await fetch(`${host.url}/api/early`)).status).toBe(404);
    expect(host.output()).toContain('thrown while loading');
    expect(await host.stop()).toBe(0);
  });
});
