import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { systemClock, type Clock } from '../../shared/clock.ts';
import type { Log } from '../../shared/log.ts';
import { ApplicationInsights, type InsightsParts } from '../../shared/telemetry/insights.ts';
import type { Signal } from '../../shared/telemetry/signals.ts';
import { freePort } from '../sandbox/sandbox.ts';
import { until } from '../until.ts';
import { startCollector, type Collector } from './collector.ts';

// The real SDK against a collector.

let collector: Collector;
beforeAll(async () => {
  collector = await startCollector();
});
afterAll(() => collector.stop());

const at = new Date('2026-03-17T03:00:00Z');

function span(run: string, more: Partial<Extract<Signal, { name: string }>> = {}): Signal {
  const trace = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00';
  return { name: 'tripcap.run', trace, from: at, to: at, ok: true, attributes: { run }, ...more };
}

function insights(more: Partial<InsightsParts> = {}) {
  const logged: string[] = [];
  const log: Log = {
    info: (message) => void logged.push(message),
    warn: (message) => void logged.push(message),
    error: (message) => void logged.push(message),
  };
  const { connectionString } = collector;
  const parts = { connectionString, role: 'app', instance: 'one', identity: undefined, credential: undefined };
  return { logged, sink: new ApplicationInsights({ ...parts, clock: systemClock, log, ...more }) };
}

const sentOf = (prefix: string) =>
  collector.envelopes.filter((e) => String(e.data.baseData.properties?.run).startsWith(prefix));

describe('before it is loaded', () => {
  it('keeps what is told, so many and no more, and sends it afterwards', async () => {
    const { sink, logged } = insights();
    sink.send(Array.from({ length: 700 }, (_, i) => span(`early-${i}`)));
    for (let i = 700; i < 1500; i++) sink.send([span(`early-${i}`)]);
    await sink.load();
    sink.send([span('early-last')]);
    await sink.flush();
    const sent = sentOf('early-').map((e) => e.data.baseData.properties.run);
    expect(sent).toHaveLength(1001);
    expect(sent).toEqual(expect.arrayContaining(['early-0', 'early-999', 'early-last']));
    expect(logged).toEqual([]);
  });

  it('a flush loads it only when there is something to send', async () => {
    const { sink } = insights({ connectionString: 'no connection string, which would be told of' });
    await sink.flush();
    const other = insights();
    other.sink.send([span('flushed')]);
    await other.sink.flush();
    expect(sentOf('flushed')).toHaveLength(1);
  });
});

describe('what is sent', () => {
  it('is sent though whoever was before did not sample, with bounded texts, and bad ends marked', async () => {
    const { sink } = insights();
    sink.send([
      span('long', {
        ok: false,
        to: new Date(at.getTime() + 90_500),
        attributes: { run: 'long', target: 'x'.repeat(9000) },
      }),
      span('lost', { trace: 'no trace' }),
    ]);
    await sink.load();
    await sink.flush();
    const [long] = sentOf('long');
    expect(long).toMatchObject({
      sampleRate: 100,
      time: at.toISOString(),
      tags: {
        'ai.operation.id': '0af7651916cd43dd8448eb211c80319c',
        'ai.operation.parentId': 'b7ad6b7169203331',
        'ai.cloud.role': 'app',
        'ai.cloud.roleInstance': 'one',
      },
      data: { baseData: { success: false, duration: '00:01:30.500', properties: { target: 'x'.repeat(400) } } },
    });
    expect(sentOf('lost')).toHaveLength(1);
  });

  it('carries a token where it has to', async () => {
    const scopes: unknown[] = [];
    const { sink } = insights({
      credential: {
        getToken: (scope) => {
          scopes.push(scope);
          return Promise.resolve({ token: 'the-token', expiresOnTimestamp: Date.now() + 3_600_000 });
        },
      },
    });
    sink.send([span('token')]);
    await sink.load();
    await sink.flush();
    expect(sentOf('token')).toHaveLength(1);
    expect(collector.requests.at(-1)?.authorization).toBe('Bearer the-token');
    expect(new Set(scopes.flat())).toEqual(new Set(['https://monitor.azure.com/.default']));
  });
});

describe('trouble', () => {
  // Nobody waits longer for a flush than the clock says.
  const impatient: Clock = { now: () => new Date(), timeout: () => AbortSignal.timeout(50) };

  it('a collector that is out of reach holds nothing up and is said once', async () => {
    const connectionString = `InstrumentationKey=00000000-0000-0000-0000-000000000000;IngestionEndpoint=http://127.0.0.1:${await freePort()}/`;
    const { sink, logged } = insights({ connectionString, clock: impatient });
    await sink.load();
    const began = performance.now();
    for (let i = 0; i < 10_000; i++) sink.send([span(`nowhere-${i}`)]);
    await sink.flush();
    expect(performance.now() - began).toBeLessThan(2000);
    await until('a word of it', () => logged.length > 0);
    sink.send([span('nowhere')]);
    await sink.flush();
    expect(logged).toHaveLength(1);
    expect(logged[0]).toMatch(/^telemetry cannot be sent; .*ECONNREFUSED/);
  });

  it('no token, no connection string: said once, and nothing is kept', async () => {
    const refused = insights({
      credential: { getToken: () => Promise.reject(new Error('No managed identity')) },
      clock: impatient,
    });
    refused.sink.send([span('refused')]);
    await refused.sink.load();
    await refused.sink.flush();
    await until('a word of it', () => refused.logged.length > 0);
    expect(refused.logged[0]).toContain('No managed identity');

    const broken = insights({ connectionString: 'InstrumentationKey=none' });
    broken.sink.send([span('broken')]);
    await broken.sink.load();
    await broken.sink.flush();
    expect(broken.logged).toHaveLength(1);
    expect(sentOf('refused')).toEqual([]);
  });
});
