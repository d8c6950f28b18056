import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import {
  providerErrors,
  type Observation,
  type PreparedStart,
  type Provider,
  type ProviderName,
  type Session,
} from '../../shared/provider/provider.ts';
import { Emulator as ArmEmulator, NO_STORAGE, SUBSCRIPTION, machine } from '../arm/harness.ts';
import { until } from '../until.ts';
import { errorOf, limits, nextRun, providerAt, soon } from './fake-arm.ts';
import { Mirrored, eni, instance } from './mirror.ts';

/** A cloud as the contract needs it: one that is emulated, with machines of any name. */
type Cloud = AsyncDisposable & {
  name: ProviderName;
  /** A process of the app of its own. */
  provider: () => Provider;
  machine: (name: string) => string;
  /** Other ways to write the id of the machine web01. */
  spellings: string[];
  /** Ids that this cloud has to do with, and cannot capture. */
  refused: string[];
  /** What this cloud does not capture at any price. */
  nonsense: object;
  /** What has to do with the session besides the cloud has heard of it. */
  heard: () => Promise<void>;
  /** What the cloud holds, as it is compared. */
  state: () => Promise<unknown>;
  /** From now on no call is answered. */
  hang: () => Promise<void>;
  /** How the cloud answers from now on: at first not at all, once, then as usual. */
  stumble: () => Promise<void>;
  reset: () => Promise<void>;
};

async function azure(): Promise<Cloud> {
  const emulator = await ArmEmulator.start(NO_STORAGE, ['--no-tcpdump', '--pace', '0.01', '--retry-after', '10']);
  const provider = () => providerAt(emulator.url);
  const id = (name: string) => machine(name).toLowerCase();
  return {
    name: 'azure',
    provider,
    machine: id,
    spellings: [machine('web01'), machine('web01').toUpperCase()],
    refused: [`/subscriptions/${SUBSCRIPTION}`, `${machine('x')}/extensions/agent`],
    nonsense: { azure: { storageLocation: { filePath: 'relative' } } },
    heard: async () => undefined,
    state: () => provider().list(soon()),
    hang: async () => void (await emulator.control({ calls: [{ answer: 'hang' }] })),
    stumble: async () => void (await emulator.control({ calls: [{ answer: '503', times: 1 }] })),
    reset: async () => {
      await emulator.control(null);
      const one = provider();
      for (const { session } of await one.list(soon())) await one.remove(session, soon());
      await until('an empty list', async () => (await one.list(soon())).length === 0);
    },
    [Symbol.asyncDispose]: () => emulator[Symbol.asyncDispose](),
  };
}

async function alibaba(): Promise<Cloud> {
  const world = await Mirrored.start(['--pace', '0.01']);
  await world.collector.report();
  return {
    name: 'alibaba',
    provider: () => world.provider(),
    machine: instance,
    spellings: [instance('web01').toUpperCase(), 'i-web01', 'acs:ecs:cn-hangzhou::instance/i-Web01'],
    refused: [eni('x').replace('eni/', 'disk/'), instance('x').replace('cn-hangzhou', 'us-west-1')],
    nonsense: { alibaba: { priority: 0 } },
    heard: () => world.collector.report(),
    state: () => world.state(),
    hang: () => world.faults({ calls: [{ answer: 'hang' }] }),
    stumble: () => world.faults({ calls: [{ answer: '503', times: 1 }] }),
    reset: async () => {
      await world.reset();
      await world.collector.report();
    },
    [Symbol.asyncDispose]: () => world.cloud[Symbol.asyncDispose](),
  };
}

const isOver = ({ phase }: Observation) => phase === 'ended' || phase === 'ready';

/** What every provider must do. */
describe.each([
  ['azure', azure],
  ['alibaba', alibaba],
])('%s', (_, open) => {
  let cloud: Cloud;
  beforeAll(async () => {
    cloud = await open();
  });
  afterAll(() => cloud[Symbol.asyncDispose]());
  afterEach(() => cloud.reset());

  const wanted = (name: string, runId = nextRun()) => ({ runId, target: cloud.machine(name), capture: {}, limits });
  const prepare = (run: ReturnType<typeof wanted>, provider = cloud.provider()): Promise<PreparedStart> =>
    provider.prepare(run, soon());
  const start = async (run: ReturnType<typeof wanted>, provider = cloud.provider()): Promise<Session> =>
    provider.start(await prepare(run, provider), soon());
  /** Looks until the session is as wished for. */
  async function expectSeen(
    session: Session,
    what: string,
    wished: (seen: Observation) => boolean | Promise<boolean>,
  ): Promise<Session> {
    const provider = cloud.provider();
    let known = session;
    await until(what, async () => {
      const seen = await provider.inspect(known, soon());
      if ('session' in seen) known = seen.session;
      return wished(seen);
    });
    return known;
  }
  /** Does what whoever looks has to do, until it captures. */
  async function running(session: Session): Promise<Session> {
    const provider = cloud.provider();
    await cloud.heard();
    let told = false;
    return expectSeen(session, 'a session that captures', async (seen) => {
      if (seen.phase === 'ready' && seen.waitingFor === undefined && !told) {
        told = true;
        await provider.enable?.(seen.session, limits, soon());
      }
      return seen.phase === 'running';
    });
  }
  const removed = (session: Session, provider = cloud.provider()) =>
    until('the removal', () => provider.remove(session, soon()));

  describe('a target', () => {
    it('has one canonical form, however it is written', () => {
      const id = cloud.machine('web01');
      for (const spelling of [id, ...cloud.spellings])
        expect(cloud.provider().target(spelling)).toEqual({ kind: 'target', id });
    });

    it('of another cloud is none of its business', () => {
      const others = { azure: instance('web01'), alibaba: machine('web01') };
      for (const id of [others[cloud.name], '', 'web01', 'https://example.com/', 'aws:ec2:i-1'])
        expect(cloud.provider().target(id)).toBeUndefined();
    });

    it('that cannot be captured is refused with a reason', () => {
      for (const id of cloud.refused)
        expect(cloud.provider().target(id)).toMatchObject({ kind: 'refused', detail: expect.stringMatching(/\w/) });
    });

    it('is there or not', async () => {
      expect(await cloud.provider().targetExists(cloud.machine('here1'), soon())).toBe(true);
      expect(await cloud.provider().targetExists(cloud.machine('missing1'), soon())).toBe(false);
    });
  });

  it('finds what is wrong with a request, without a call', async () => {
    const provider = cloud.provider();
    await cloud.hang();
    expect(provider.check({}, limits)).toEqual([]);
    const filters = [{ localIPAddress: '10.0.0.999', localPort: '1-0' }];
    expect(provider.check({ filters }, limits)).toEqual([
      expect.stringMatching(/^filters\[0\]\.localIPAddress/),
      expect.stringMatching(/^filters\[0\]\.localPort/),
    ]);
    expect(provider.check(cloud.nonsense, limits)).toHaveLength(1);
    for (const capture of [{ filters }, cloud.nonsense])
      expect(await errorOf(provider.prepare({ ...wanted('check1'), capture }, soon()))).toMatchObject({
        code: 'invalid',
        retry: false,
      });
  });

  it('changes nothing when it looks a start up', async () => {
    const before = await cloud.state();
    await prepare(wanted('calm1'));
    await cloud.provider().load(soon());
    expect(await cloud.state()).toEqual(before);
  });

  it('makes one session of a run, however often and by whom it is started', async () => {
    const run = wanted('once1');
    const [a, b] = [cloud.provider(), cloud.provider()];
    const prepared = await prepare(run, a);
    const first = await a.start(prepared, soon());
    const again = [await a.start(prepared, soon()), await start(run, a), await start(run, b)];
    const meanwhile = await running(first);
    again.push(await start(run, b));
    expect(again.map((one) => one.id)).toEqual(Array(4).fill(first.id));
    expect(meanwhile.id).toBe(first.id);
    const ours = (await b.list(soon())).filter((one) => one.runId !== undefined);
    expect(ours).toMatchObject([{ id: first.id, provider: cloud.name, runId: run.runId }]);
  });

  it('makes a session for every run on a machine', async () => {
    const ids = [await start(wanted('two1')), await start(wanted('two1'))].map((one) => one.id);
    expect(new Set(ids).size).toBe(2);
  });

  it('gets a session to capture, and to end, and out of the cloud', async () => {
    const run = wanted('whole1');
    const provider = cloud.provider();
    const session = await running(await start(run));
    expect(session.status).toBeDefined();
    const stopped = await provider.stop(session, soon());
    await expectSeen(stopped, 'its end', isOver);
    // Stopping what has ended is fine.
    await provider.stop(stopped, soon());
    await expectSeen(stopped, 'its end', isOver);
    await removed(stopped);
    expect(await provider.inspect(stopped, soon())).toEqual({ phase: 'gone' });
    expect(await provider.remove(stopped, soon())).toBe(true);
    await provider.stop(stopped, soon());
    expect((await provider.list(soon())).filter((one) => one.runId !== undefined)).toEqual([]);
  });

  it('knows a session by what is stored of it', async () => {
    const stored = (session: Session) => JSON.parse(JSON.stringify(session)) as Session;
    const session = await running(stored(await start(wanted('stored1'))));
    await cloud.provider().stop(stored(session), soon());
    await expectSeen(stored(session), 'its end', isOver);
    await removed(stored(session));
  });

  it('ends what it lists', async () => {
    const run = wanted('listed1');
    await running(await start(run));
    const provider = cloud.provider();
    const found = (await provider.list(soon())).find((one) => one.runId === run.runId);
    expect(found).toBeDefined();
    if (found) await removed(found.session, provider);
    expect((await provider.list(soon())).filter((one) => one.runId === run.runId)).toEqual([]);
  });

  it('has no trouble with a session that never was', async () => {
    const { session } = await prepare(wanted('never1'));
    const provider = cloud.provider();
    expect(await provider.inspect(session, soon())).toEqual({ phase: 'gone' });
    await provider.stop(session, soon());
    expect(await provider.remove(session, soon())).toBe(true);
  });

  it('says that there is no such machine', async () => {
    const error = await errorOf(prepare(wanted('missing1')));
    expect(error).toMatchObject({
      code: 'target-not-found',
      retry: false,
      next: providerErrors['target-not-found'].next,
    });
  });

  it('ends every call with the time of who asks, and tells it as something that passes', async () => {
    const run = wanted('slow1');
    const prepared = await prepare(run);
    const other = await start(wanted('slow2'));
    const provider = cloud.provider();
    await provider.load(soon());
    await cloud.hang();
    const calls: Record<string, (signal: AbortSignal) => Promise<unknown>> = {
      prepare: (signal) => provider.prepare(wanted('slow3'), signal),
      start: (signal) => provider.start(prepared, signal),
      inspect: (signal) => provider.inspect({ ...other, status: undefined }, signal),
      stop: (signal) => provider.stop(other, signal),
      targetExists: (signal) => provider.targetExists(cloud.machine('slow4'), signal),
      remove: (signal) => provider.remove(other, signal),
      list: (signal) => provider.list(signal),
    };
    await Promise.all(
      Object.entries(calls).map(async ([name, call]) => {
        const since = performance.now();
        const error = await errorOf(call(soon(300)));
        expect([name, error.code, error.retry]).toEqual([name, 'unavailable', true]);
        expect(performance.now() - since).toBeLessThan(3000);
      }),
    );
  });

  it('tells every error by a code of the list, with the next step', async () => {
    const errors = await Promise.all(
      ['missing1', 'missing2']
        .map((name) => errorOf(prepare(wanted(name))))
        .concat(
          errorOf(cloud.provider().targetExists('nonsense', soon())),
          errorOf(cloud.provider().inspect({ id: 'nonsense', errors: [] }, soon())),
          errorOf(cloud.provider().stop({ id: 'nonsense', errors: [] }, soon())),
          errorOf(cloud.provider().remove({ id: 'nonsense', errors: [] }, soon())),
        ),
    );
    for (const { code, retry, next, message } of errors) {
      expect(providerErrors[code].retry).toBe(retry);
      expect(next).not.toBe('');
      expect(message).not.toBe('');
    }
  });

  it('gets over a call that is not answered, or says that it is one to make again', async () => {
    const session = await start(wanted('stumble1'));
    const provider = cloud.provider();
    await cloud.stumble();
    const seen = provider.inspect(session, soon());
    await expect(seen.catch((error: unknown) => error)).resolves.not.toMatchObject({ retry: false });
    await running(session);
  });
});
