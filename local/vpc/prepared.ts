import type { Filter, FilterRule, Session, SessionSettings } from './state.ts';
import { RESOURCE_GROUP } from './world.ts';

/** Filters and sessions that somebody made before. Shown in docs/sandbox-alibaba.md. */
export function preparedFilters(now: number): Filter[] {
  const rule = (id: string, direction: FilterRule['direction'], protocol: 'ALL' | 'TCP'): FilterRule => {
    const asked = {
      action: 'accept' as const,
      priority: 1,
      protocol,
      sourceCidr: '0.0.0.0/0',
      destinationCidr: '0.0.0.0/0',
      sourcePorts: '-1/-1',
      destinationPorts: '-1/-1',
    };
    return { id, direction, status: 'Created', settlesAt: now, asked, inForce: asked };
  };
  return [
    filter(now, 'tmf-all0001', 'all-traffic', [
      rule('tmr-allin0001', 'ingress', 'ALL'),
      rule('tmr-allout0001', 'egress', 'ALL'),
    ]),
    // Mirrors nothing.
    filter(now, 'tmf-empty0001', 'no-rules', []),
    filter(now, 'tmf-ids0001', 'ids', [
      rule('tmr-idsin0001', 'ingress', 'TCP'),
      rule('tmr-idsout0001', 'egress', 'TCP'),
    ]),
  ];
}

export function preparedSessions(now: number): Session[] {
  return [
    session(now, 'tms-prepared0001', 'prepared', {
      enabled: false,
      filterId: 'tmf-all0001',
      targetId: 'eni-collector0001',
      targetType: 'NetworkInterface',
      priority: 100,
      vni: 1000,
      packetLength: 1500,
      sources: ['eni-8psdh7l6lphbn10l0001', 'eni-j6c9pagb27uzlikj0001'],
    }),
    // Not ours: it takes the TCP packets of its source away from every other session.
    session(now, 'tms-foreign0001', 'ids-permanent', {
      enabled: true,
      filterId: 'tmf-ids0001',
      targetId: 'eni-sensor0001',
      targetType: 'NetworkInterface',
      priority: 1,
      vni: 4242,
      packetLength: 1500,
      sources: ['eni-bp1ecr000100015go2go'],
    }),
  ];
}

function filter(now: number, id: string, name: string, rules: FilterRule[]): Filter {
  return { ...common(now, id, name), rules };
}

function session(now: number, id: string, name: string, asked: SessionSettings): Session {
  return { ...common(now, id, name), asked, inForce: asked };
}

function common(now: number, id: string, name: string) {
  const status = 'Created' as const;
  return {
    id,
    name,
    description: '',
    resourceGroupId: RESOURCE_GROUP,
    tags: {},
    createdAt: now,
    status,
    settlesAt: now,
  };
}
