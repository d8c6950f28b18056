/** What there is in the emulated cloud. Shown in docs/sandbox-alibaba.md. */

/** The account that everything belongs to. */
export const ACCOUNT = '1108034196790001';
export const VPC = 'vpc-shop0001';
export const VSWITCH = 'vsw-shop0001';
export const SECURITY_GROUP = 'sg-shop0001';
export const RESOURCE_GROUP = 'rg-default0001';

export type WorldInstance = {
  id: string;
  name: string;
  /** GUESS: which types support mirroring; the documents have no full list. */
  type: string;
  supportsMirroring: boolean;
  /** Bytes; what a mirrored packet may have with all its headers when the instance is a target. */
  mtu: number;
};

export type WorldInterface = {
  id: string;
  address: string;
  /** Undefined: attached to none. */
  instance?: string;
  type: 'Primary' | 'Secondary';
  status: 'Available' | 'Attaching' | 'InUse';
  /** Belongs to a service of the cloud. */
  managed?: true;
  kind?: 'nat' | 'bond';
  tags: Record<string, string>;
};

export type WorldBalancer = { id: string; address: string; vpc: boolean; classic: boolean };

const PLAIN_MTU = 1500;
const JUMBO_MTU = 8500;

// The first three are those that published samples of alerts name, with 0001 for the masked parts.
export const INSTANCES: WorldInstance[] = [
  instance('i-8psdh7l6lphbn10l0001', 'web01', 'ecs.g7.large'),
  instance('i-j6c9pagb27uzlikj0001', 'web02', 'ecs.g7.large'),
  instance('i-bp1ecr000100015go2go', 'app01', 'ecs.g7.xlarge'),
  { ...instance('i-legacy0001', 'legacy01', 'ecs.t5-lc1m1.small'), supportsMirroring: false },
  { ...instance('i-collector0001', 'collector01', 'ecs.g8i.xlarge'), mtu: JUMBO_MTU },
  instance('i-sensor0001', 'sensor01', 'ecs.g7.large'),
];

// An instance's primary interface is not the first in the list: it must be looked for.
export const INTERFACES: WorldInterface[] = [
  { ...secondary('eni-managed0001', '10.0.2.4', 'i-8psdh7l6lphbn10l0001'), managed: true },
  secondary('eni-8psdh7l6lphbn10l0002', '10.0.1.4', 'i-8psdh7l6lphbn10l0001'),
  primary('eni-8psdh7l6lphbn10l0001', '10.0.0.4', 'i-8psdh7l6lphbn10l0001'),
  primary('eni-j6c9pagb27uzlikj0001', '10.0.0.5', 'i-j6c9pagb27uzlikj0001'),
  { ...secondary('eni-attaching0001', '10.0.1.5', 'i-j6c9pagb27uzlikj0001'), status: 'Attaching' },
  primary('eni-bp1ecr000100015go2go', '10.0.0.6', 'i-bp1ecr000100015go2go'),
  primary('eni-legacy0001', '10.0.0.20', 'i-legacy0001'),
  primary('eni-collector0001', '10.0.9.9', 'i-collector0001'),
  primary('eni-sensor0001', '10.0.9.8', 'i-sensor0001'),
  { id: 'eni-free0001', address: '10.0.1.7', type: 'Secondary', status: 'Available', tags: {} },
  // Its instance is gone.
  secondary('eni-orphan0001', '10.0.1.8', 'i-missingorphan0001'),
  { ...secondary('eni-natgw0001', '10.0.1.9', 'i-bp1ecr000100015go2go'), kind: 'nat' },
  { ...secondary('eni-bond0001', '10.0.1.10', 'i-bp1ecr000100015go2go'), kind: 'bond' },
];

export const BALANCERS: WorldBalancer[] = [
  { id: 'lb-collector0001', address: '10.0.9.10', vpc: true, classic: false },
  { id: 'lb-novpc0001', address: '203.0.113.40', vpc: false, classic: false },
  { id: 'lb-classic0001', address: '10.0.9.11', vpc: true, classic: true },
];

/** GUESS: no document gives the largest packet for a load balancer. */
export const BALANCER_MTU = PLAIN_MTU;

function instance(id: string, name: string, type: string): WorldInstance {
  return { id, name, type, supportsMirroring: true, mtu: PLAIN_MTU };
}

function primary(id: string, address: string, of: string): WorldInterface {
  return { id, address, instance: of, type: 'Primary', status: 'InUse', tags: { env: 'prod' } };
}

function secondary(id: string, address: string, of: string): WorldInterface {
  return { id, address, instance: of, type: 'Secondary', status: 'InUse', tags: {} };
}
