import { describe, expect, it } from 'vitest';
import { MachineDirectory, type ListCompute } from '../../shared/provider/azure/machines.ts';
import { ProviderError } from '../../shared/provider/provider.ts';

const never = new AbortController().signal;
const [a, b] = ['aaaaaaaa-0000-0000-0000-000000000001', 'bbbbbbbb-0000-0000-0000-000000000002'];

type ListedMachine = { name: string; computerName?: string; windows?: boolean; group?: string };
type ListedSet = { name: string; prefix?: string; mode?: string; instances?: string[] };
type Listed = { machines?: ListedMachine[]; sets?: ListedSet[] };

const vmId = (subscription: string, name: string, group = 'shop') =>
  `/subscriptions/${subscription}/resourceGroups/${group}/providers/Microsoft.Compute/virtualMachines/${name}`;
const setId = (subscription: string, name: string) =>
  `/subscriptions/${subscription}/resourceGroups/shop/providers/Microsoft.Compute/virtualMachineScaleSets/${name}`;

/** ARM's lists of two subscriptions, with a log of what was asked; `before` may wait or throw. */
class Arm {
  readonly asked: string[] = [];
  at = Date.parse('2026-11-22T12:00:00Z');
  before: (path: string, signal: AbortSignal) => unknown = () => undefined;
  readonly content: Record<string, Listed>;

  constructor(content: Record<string, Listed>) {
    this.content = content;
  }

  directory(): MachineDirectory {
    return new MachineDirectory({
      subscriptions: Object.keys(this.content),
      list: this.#list,
      now: () => new Date(this.at),
      timeout: (ms) => AbortSignal.timeout(ms),
    });
  }

  count(ending: string): number {
    return this.asked.filter((path) => path.endsWith(ending)).length;
  }

  readonly #list: ListCompute = async (subscription, path, signal) => {
    this.asked.push(path);
    await this.before(path, signal);
    const { machines = [], sets = [] } = this.content[subscription] ?? {};
    if (path === `/subscriptions/${subscription}/providers/Microsoft.Compute/virtualMachines`)
      return machines.map((m) => machine(subscription, m));
    if (path === `/subscriptions/${subscription}/providers/Microsoft.Compute/virtualMachineScaleSets`)
      return sets.map((s) => scaleSet(subscription, s));
    const set = sets.find(
      ({ name }) =>
        path ===
        `${setId(subscription, name)}/virtualMachines`.toLowerCase().replace(/virtualmachines$/, 'virtualMachines'),
    );
    if (!set) throw Object.assign(new Error(`nothing lists ${path}`), { statusCode: 404 });
    return (set.instances ?? []).map((computerName, i) => ({
      id: `${setId(subscription, set.name)}/virtualMachines/${i}`,
      name: `${set.name}_${i}`,
      properties: { osProfile: { computerName } },
    }));
  };
}

function machine(subscription: string, { name, computerName, windows, group }: ListedMachine): unknown {
  const osType = windows ? 'Windows' : 'Linux';
  return {
    id: vmId(subscription, name, group),
    name,
    properties: {
      ...(computerName === undefined ? {} : { osProfile: { computerName } }),
      storageProfile: { osDisk: { osType } },
    },
  };
}

function scaleSet(subscription: string, { name, prefix, mode = 'Uniform' }: ListedSet): unknown {
  const virtualMachineProfile = prefix === undefined ? undefined : { osProfile: { computerNamePrefix: prefix } };
  return { id: setId(subscription, name), name, properties: { orchestrationMode: mode, virtualMachineProfile } };
}

const ids = (...names: string[]) => names.map((name) => vmId(a, name).toLowerCase());

describe('a name', () => {
  const named = (machines: ListedMachine[], name: string) =>
    new Arm({ [a]: { machines } }).directory().named(name, never);

  it.each([
    ['web01', 'the computer name', { name: 'vm-1', computerName: 'WEB01' }],
    ['WEB01', 'the computer name in another case', { name: 'vm-1', computerName: 'web01' }],
    ['vm-1', 'the name of the resource', { name: 'VM-1', computerName: 'web01' }],
    ['web01.contoso.local', 'a full name', { name: 'vm-1', computerName: 'web01' }],
    ['web01.contoso.local.', 'a full name with its dot', { name: 'vm-1', computerName: 'web01' }],
    ['web01', 'the first label of a full computer name', { name: 'vm-1', computerName: 'web01.contoso.local' }],
    ['vm-1.contoso.local', 'the name of a resource with a domain', { name: 'vm-1', computerName: 'web01' }],
    ['vm-1', 'a machine of which ARM knows no computer name', { name: 'vm-1' }],
    ['accounting-prod', '15 of more letters', { name: 'accounting-production', windows: true }],
    [
      'accounting-production.contoso.local',
      'more than 15 letters',
      { name: 'vm-1', computerName: 'accounting-prod', windows: true },
    ],
  ] as [string, string, ListedMachine][])('%s is found: %s', async (name, _, machine) => {
    expect(await named([machine, { name: 'other', computerName: 'other' }], name)).toEqual(ids(machine.name));
  });

  it.each([
    ['web0', { name: 'vm-1', computerName: 'web01' }],
    ['web011', { name: 'vm-1', computerName: 'web01' }],
    ['accounting-prod', { name: 'accounting-production' }],
    ['accounting-production', { name: 'accounting-protection', windows: true }],
    ['web01', { name: 'web0', windows: true }],
    ['web0', { name: 'web01', windows: true }],
    ['10.0.0.4', { name: '10', computerName: '10' }],
    ['', { name: 'vm-1', computerName: 'web01' }],
  ] as [string, ListedMachine][])('%j is not found: %j', async (name, machine) => {
    expect(await named([machine], name)).toEqual([]);
  });

  it('that several machines have is that of all of them', async () => {
    const machines = [
      { name: 'a', computerName: 'web01' },
      { name: 'web01', group: 'other' },
      { name: 'b', computerName: 'Web01' },
    ];
    expect((await named(machines, 'web01')).toSorted()).toEqual(
      [vmId(a, 'web01', 'other').toLowerCase(), ...ids('a', 'b')].toSorted(),
    );
  });

  it.each([
    [
      'whole before its first label',
      'web01.b.local',
      [
        { name: 'x', computerName: 'web01' },
        { name: 'y', computerName: 'web01.b.local' },
      ],
      'y',
    ],
    [
      "the computer's own before that of its resource",
      'web01',
      [
        { name: 'web01', computerName: 'old' },
        { name: 'y', computerName: 'web01' },
      ],
      'y',
    ],
  ])('counts %s', async (_, name, machines, expected) => {
    expect(await named(machines, name)).toEqual(ids(expected));
  });

  it('is looked for in every subscription', async () => {
    const arm = new Arm({
      [a]: { machines: [{ name: 'web01' }] },
      [b]: { machines: [{ name: 'web01' }, { name: 'db01' }] },
    });
    const directory = arm.directory();
    expect((await directory.named('web01', never)).toSorted()).toEqual(
      [vmId(a, 'web01'), vmId(b, 'web01')].map((id) => id.toLowerCase()),
    );
    expect(await directory.named('db01', never)).toEqual([vmId(b, 'db01').toLowerCase()]);
  });

  it('is not found by what lists hold that is no machine', async () => {
    const arm = new Arm({ [a]: {} });
    const odd = [null, 5, 'x', {}, { id: 'x' }, { name: 'web01' }, { id: 'y', name: 'web02', properties: null }];
    const directory = new MachineDirectory({
      subscriptions: [a],
      list: () => Promise.resolve(odd),
      now: () => new Date(arm.at),
      timeout: (ms) => AbortSignal.timeout(ms),
    });
    expect(await directory.named('web01', never)).toEqual([]);
    expect(await directory.named('web02', never)).toEqual(['y']);
  });
});

describe('instances of scale sets', () => {
  const sets = [
    { name: 'pool', prefix: 'aks-Pool-', instances: ['aks-pool-000000', 'aks-pool-000001'] },
    { name: 'other', prefix: 'other', instances: ['other000000'] },
    { name: 'flexible', prefix: 'aks-pool-', mode: 'Flexible' },
    { name: 'bare' },
  ];

  it('are found under the sets whose prefix the name has', async () => {
    const arm = new Arm({ [a]: { sets } });
    const instance = `${setId(a, 'pool')}/virtualMachines/1`.toLowerCase();
    expect(await arm.directory().named('AKS-pool-000001.internal', never)).toEqual([instance]);
    expect(arm.asked.filter((path) => path.includes('virtualmachinescalesets/'))).toEqual([
      `${setId(a, 'pool').toLowerCase()}/virtualMachines`,
    ]);
  });

  it('are kept, and looked for again when the name is new', async () => {
    const arm = new Arm({ [a]: { sets: structuredClone(sets) } });
    const directory = arm.directory();
    await directory.named('aks-pool-000000', never);
    await directory.named('aks-pool-000001', never);
    expect(await directory.named('aks-pool-000002', never)).toEqual([]);
    expect(arm.asked).toHaveLength(3);
    arm.content[a]?.sets?.[0]?.instances?.push('aks-pool-000002');
    arm.at += 31_000;
    expect(await directory.named('aks-pool-000002', never)).toEqual([
      `${setId(a, 'pool')}/virtualMachines/2`.toLowerCase(),
    ]);
  });

  it('that cannot be listed do not hide a machine, but an absent one', async () => {
    const arm = new Arm({ [a]: { machines: [{ name: 'aks-pool-x' }], sets } });
    arm.before = (path) => {
      if (path.includes('/pool/')) throw Object.assign(new Error('no'), { statusCode: 429 });
    };
    const directory = arm.directory();
    expect(await directory.named('aks-pool-x', never)).toEqual(ids('aks-pool-x'));
    await expect(directory.named('aks-pool-y', never)).rejects.toMatchObject({ code: 'throttled' });
  });
});

describe('lists', () => {
  it('are kept for five minutes, and asked for again at most every thirty seconds for a name that is not there', async () => {
    const arm = new Arm({ [a]: { machines: [{ name: 'web01' }] } });
    const directory = arm.directory();
    const lists = () => arm.count('/virtualMachines');
    await directory.named('web01', never);
    arm.at += 299_000;
    await directory.named('web01', never);
    expect(lists()).toBe(1);
    arm.at += 2_000;
    await directory.named('web01', never);
    expect(lists()).toBe(2);

    arm.content[a] = { machines: [{ name: 'web02' }] };
    arm.at += 29_000;
    expect(await directory.named('web02', never)).toEqual([]);
    expect(lists()).toBe(2);
    arm.at += 2_000;
    expect(await directory.named('web02', never)).toEqual(ids('web02'));
    expect(await directory.named('web03', never)).toEqual([]);
    expect(lists()).toBe(3);
  });

  it('are asked for once by many at a time', async () => {
    const arm = new Arm({ [a]: { machines: [{ name: 'web01' }] } });
    const directory = arm.directory();
    const found = await Promise.all(Array.from({ length: 25 }, (_, i) => directory.named(`web0${i % 2}`, never)));
    expect(found.filter((one) => one.length === 1)).toHaveLength(12);
    expect(arm.count('/virtualMachines')).toBe(1);
  });

  it('that a caller ran out of time for are gone on with, and are there for whoever asks next', async () => {
    const arm = new Arm({ [a]: { machines: [{ name: 'web01' }] } });
    const directory = arm.directory();
    const slow = Promise.withResolvers<void>();
    arm.before = () => slow.promise;
    const hasty = new AbortController();
    const first = directory.named('web01', hasty.signal);
    const others = [1, 2, 3].map(() => directory.named('web01', never));
    hasty.abort();
    await expect(first).rejects.toMatchObject({ code: 'unavailable', retry: true });
    slow.resolve();
    expect(await Promise.all(others)).toEqual([ids('web01'), ids('web01'), ids('web01')]);
    expect(await directory.named('web01', never)).toEqual(ids('web01'));
    expect(arm.count('/virtualMachines')).toBe(1);
  });
});

it('machines are found where the scale sets may not be listed', async () => {
  const arm = new Arm({ [a]: { machines: [{ name: 'web01' }] } });
  arm.before = (path) => {
    if (path.endsWith('/virtualMachineScaleSets')) throw Object.assign(new Error('no'), { statusCode: 403 });
  };
  expect(await arm.directory().named('web01', never)).toEqual(ids('web01'));
  await expect(arm.directory().named('db01', never)).rejects.toMatchObject({ code: 'forbidden' });
});

describe('a subscription that cannot be read', () => {
  const refusing = (statusCode: number, of = b) => {
    const arm = new Arm({ [a]: { machines: [{ name: 'web01' }] }, [b]: { machines: [{ name: 'db01' }] } });
    arm.before = (path) => {
      if (path.includes(of)) throw Object.assign(new Error('no'), { statusCode });
    };
    return arm;
  };

  it('does not hide what others have', async () => {
    expect(await refusing(403).directory().named('web01', never)).toEqual(ids('web01'));
  });

  it.each([
    [403, 'forbidden', false],
    [401, 'unauthenticated', false],
    [429, 'throttled', true],
    [503, 'unavailable', true],
  ])('makes of "none" an error: %i is %s', async (status, code, retry) => {
    const arm = refusing(status);
    const error = await arm
      .directory()
      .named('web02', never)
      .catch((e: unknown) => e);
    expect(error).toBeInstanceOf(ProviderError);
    expect(error).toMatchObject({ code, retry, message: expect.stringContaining(b) });
    // Nor is it asked twice for one name.
    expect(arm.asked.filter((path) => path.includes(b) && path.endsWith('/virtualMachines'))).toHaveLength(1);
  });

  it('is asked again by the next caller', async () => {
    const arm = refusing(503);
    const directory = arm.directory();
    await expect(directory.named('db01', never)).rejects.toThrow(ProviderError);
    arm.before = () => undefined;
    expect(await directory.named('db01', never)).toEqual([vmId(b, 'db01').toLowerCase()]);
  });

  it('for good gives way to one that cannot be read now: that is worth another attempt', async () => {
    const arm = refusing(403, a);
    const forbidden = arm.before;
    arm.before = (path, signal) => {
      if (path.includes(b)) throw Object.assign(new Error('no'), { statusCode: 503 });
      return forbidden(path, signal);
    };
    await expect(arm.directory().named('web02', never)).rejects.toMatchObject({ code: 'unavailable' });
  });
});
