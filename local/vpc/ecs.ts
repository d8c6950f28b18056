import { macOf } from './inventory.ts';
import { read, type Body, type Context, type Operation } from './operation.ts';
import { page } from './paging.ts';
import type { Parameters } from './parameters.ts';
import { ACCOUNT, RESOURCE_GROUP, SECURITY_GROUP, VPC, VSWITCH, type WorldInterface } from './world.ts';

/** Of the API of instances (Ecs 2014-05-26) only what leads from an instance to its network interfaces. */
export const ecsOperations: Operation[] = [read('Ecs', 'DescribeNetworkInterfaces', describe)];

const MOST_IDS = 100;

function describe(parameters: Parameters, context: Context): Body {
  const { inventory, addressOf } = context;
  const instance = parameters.text('InstanceId');
  const ids = parameters.list('NetworkInterfaceId', MOST_IDS);
  const addresses = parameters.list('PrivateIpAddress', MOST_IDS);
  const managed = parameters.flag('ServiceManaged');
  const tags = parameters.objects('Tag');
  const plain: [string, (each: WorldInterface) => string | undefined][] = [
    ['PrimaryIpAddress', addressOf],
    ['Status', (each) => each.status],
    ['Type', (each) => each.type],
    ['VpcId', () => VPC],
    ['VSwitchId', () => VSWITCH],
    // Documented to find secondary interfaces only.
    ['SecurityGroupId', (each) => (each.type === 'Secondary' ? SECURITY_GROUP : undefined)],
  ];
  // GUESS: what is asked for and is not there leaves the list empty.
  const found = candidates(instance, ids, inventory).filter(
    (each) =>
      (instance === undefined || each.instance === instance) &&
      (ids.length === 0 || ids.includes(each.id)) &&
      (addresses.length === 0 || addresses.includes(addressOf(each))) &&
      (managed === undefined || managed === (each.managed ?? false)) &&
      tags.every((tag) => each.tags[tag.required('Key')] === tag.text('Value')) &&
      plain.every(([name, of]) => parameters.text(name) === undefined || parameters.text(name) === of(each)),
  );
  const { items, nextToken, total, size } = page(found, parameters, { least: 10, most: 500, usual: 10 });
  return {
    TotalCount: total,
    NextToken: nextToken,
    PageNumber: 1,
    PageSize: size,
    NetworkInterfaceSets: { NetworkInterfaceSet: items.map((each) => described(each, context)) },
  };
}

/** Made-up ones are there only when they are asked for. */
function candidates(instance: string | undefined, ids: string[], inventory: Context['inventory']): WorldInterface[] {
  if (instance !== undefined) return inventory.interfacesOf(instance);
  if (ids.length > 0) return ids.map((id) => inventory.interface(id)).filter((each) => each !== undefined);
  return inventory.interfaces();
}

function described(each: WorldInterface, { region, addressOf }: Context): Body {
  const instance = each.instance ?? '';
  const address = addressOf(each);
  return {
    NetworkInterfaceId: each.id,
    NetworkInterfaceName: each.id,
    InstanceId: instance,
    Type: each.type,
    Status: each.status,
    PrivateIpAddress: address,
    PrivateIpSets: { PrivateIpSet: [{ PrivateIpAddress: address, Primary: true, AssociatedPublicIp: {} }] },
    MacAddress: macOf(each.address),
    VpcId: VPC,
    VSwitchId: VSWITCH,
    ZoneId: `${region}-h`,
    SecurityGroupIds: { SecurityGroupId: [SECURITY_GROUP] },
    OwnerId: ACCOUNT,
    ResourceGroupId: RESOURCE_GROUP,
    ServiceManaged: each.managed ?? false,
    ...(each.managed ? { ServiceID: 12_345_678_910 } : {}),
    Attachment: instance ? { InstanceId: instance } : {},
    AssociatedPublicIp: {},
    Description: '',
    CreationTime: '2025-12-25T12:31:31Z',
    Tags: { Tag: Object.entries(each.tags).map(([TagKey, TagValue]) => ({ TagKey, TagValue })) },
  };
}
