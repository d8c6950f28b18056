import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { BALANCERS, INSTANCES, INTERFACES } from '../../local/vpc/world.ts';
import { Emulator, type Value } from './harness.ts';

let cloud: Emulator;
beforeAll(async () => {
  cloud = await Emulator.start();
});
afterAll(() => cloud[Symbol.asyncDispose]());

const describeAll = (given: Record<string, Value>) =>
  cloud.done('DescribeNetworkInterfaces', given, { product: 'Ecs' });
const found = async (given: Record<string, Value>) =>
  (await describeAll(given)).NetworkInterfaceSets.NetworkInterfaceSet.map((each: any) => each.NetworkInterfaceId);

describe('DescribeNetworkInterfaces', () => {
  test('of the instance that the sample alert names: the primary one is not the first', async () => {
    const body = await describeAll({ InstanceId: 'i-8psdh7l6lphbn10l0001' });
    const all = body.NetworkInterfaceSets.NetworkInterfaceSet;
    expect(all.map((each: any) => [each.Type, each.ServiceManaged])).toEqual([
      ['Secondary', true],
      ['Secondary', false],
      ['Primary', false],
    ]);
    expect(all[2]).toMatchObject({
      NetworkInterfaceId: 'eni-8psdh7l6lphbn10l0001',
      InstanceId: 'i-8psdh7l6lphbn10l0001',
      Status: 'InUse',
      PrivateIpAddress: '10.0.0.4',
      PrivateIpSets: { PrivateIpSet: [{ PrivateIpAddress: '10.0.0.4', Primary: true }] },
      MacAddress: '00:16:3e:00:00:04',
      SecurityGroupIds: { SecurityGroupId: ['sg-shop0001'] },
      Attachment: { InstanceId: 'i-8psdh7l6lphbn10l0001' },
      Tags: { Tag: [{ TagKey: 'env', TagValue: 'prod' }] },
    });
    expect(body).toMatchObject({ TotalCount: 3, NextToken: '' });
  });

  test.each<[string, Record<string, Value>, string[]]>([
    ['an address', { PrimaryIpAddress: '10.0.0.5' }, ['eni-j6c9pagb27uzlikj0001']],
    ['another address', { PrivateIpAddress: ['10.0.0.6'] }, ['eni-bp1ecr000100015go2go']],
    ['an id', { NetworkInterfaceId: ['eni-free0001'] }, ['eni-free0001']],
    ['a status', { Status: 'Attaching' }, ['eni-attaching0001']],
    ['belonging to a service', { ServiceManaged: true }, ['eni-managed0001']],
    ['an instance that is not there', { InstanceId: 'i-missing7' }, []],
    ['an instance that nobody listed', { InstanceId: 'i-other7' }, ['eni-other7']],
    ['a type', { InstanceId: 'i-8psdh7l6lphbn10l0001', Type: 'Primary' }, ['eni-8psdh7l6lphbn10l0001']],
  ])('by %s', async (_, given, ids) => {
    expect(await found(given)).toEqual(ids);
  });

  test('in pages', async () => {
    const first = await describeAll({ MaxResults: 10 });
    expect(first.NetworkInterfaceSets.NetworkInterfaceSet).toHaveLength(10);
    const rest = await found({ MaxResults: 10, NextToken: first.NextToken });
    expect(rest).toHaveLength(INTERFACES.length - 10);
    expect((await cloud.call('DescribeNetworkInterfaces', { MaxResults: 9 }, { product: 'Ecs' })).body.Code).toBe(
      'IllegalParam.MaxResults',
    );
  });

  test('a made-up instance is the same each time, with an address of its own', async () => {
    const of = async (id: string) =>
      (await describeAll({ InstanceId: id })).NetworkInterfaceSets.NetworkInterfaceSet[0];
    expect(await of('i-a1')).toEqual(await of('i-a1'));
    expect((await of('i-a1')).PrivateIpAddress).not.toBe((await of('i-a2')).PrivateIpAddress);
    expect(await of('i-managed7')).toMatchObject({ ServiceManaged: true });
    expect(await of('i-attaching7')).toMatchObject({ Status: 'Attaching' });
  });

  test('a released instance has none', async () => {
    await cloud.control({ faults: { gone: ['i-j6c9pagb27uzlikj0001'] } });
    expect(await found({ InstanceId: 'i-j6c9pagb27uzlikj0001' })).toEqual([]);
    await cloud.control({ faults: null });
  });

  test('with --loopback, by the addresses that packets really come from', async () => {
    await using local = await Emulator.start(['--loopback']);
    const given = { PrimaryIpAddress: '127.0.0.4' };
    const body = await local.done('DescribeNetworkInterfaces', given, { product: 'Ecs' });
    expect(body.NetworkInterfaceSets.NetworkInterfaceSet).toMatchObject([
      {
        NetworkInterfaceId: 'eni-8psdh7l6lphbn10l0001',
        PrivateIpAddress: '127.0.0.4',
        PrivateIpSets: { PrivateIpSet: [{ PrivateIpAddress: '127.0.0.4' }] },
        MacAddress: '00:16:3e:00:00:04',
      },
    ]);
  });
});

test('addresses and ids of the world are there once', () => {
  const addresses = [...INTERFACES, ...BALANCERS].map((each) => each.address.slice(each.address.indexOf('.')));
  expect(new Set(addresses).size).toBe(addresses.length);
  expect(addresses).not.toContain('.0.0.1');
  const ids = [...INSTANCES, ...INTERFACES, ...BALANCERS].map((each) => each.id);
  expect(new Set(ids).size).toBe(ids.length);
});
