import { describe, expect, test } from 'vitest';
import {
  literalExpression,
  loopbackExpression,
  parseFilter,
  passes,
  type FilterInput,
} from '../../local/arm/filter.ts';
import { SERVICES, loopbackOf, type BoundService } from '../../local/arm/network.ts';

const services: BoundService[] = [
  { ...SERVICES.api, realVm: '127.0.0.4', realPeer: loopbackOf(SERVICES.api.peer), realPort: 40443 },
  { ...SERVICES.dns, realVm: '127.0.0.4', realPeer: loopbackOf(SERVICES.dns.peer), realPort: 40053 },
  { ...SERVICES.app, realVm: '127.0.0.4', realPeer: loopbackOf(SERVICES.app.peer), realPort: 48080 },
];

function filter(parts: Partial<FilterInput>) {
  const all = { protocol: 'Any', localIPAddress: '', localPort: '', remoteIPAddress: '', remotePort: '' };
  return parseFilter({ ...all, ...parts });
}

function understood(parts: Partial<FilterInput>) {
  const parsed = filter(parts);
  if (!parsed) throw new Error('not understood');
  return parsed;
}

describe('reading filters', () => {
  test.each([
    { remotePort: '443' },
    { remotePort: '80-85' },
    { remotePort: '80;443;' },
    { remotePort: '20;80;443' },
    { remoteIPAddress: '10.0.0.1' },
    { remoteIPAddress: '10.0.0.1-10.0.0.9' },
    { remoteIPAddress: '127.0.0.1;127.0.0.5;' },
    { protocol: 'TCP', localPort: '1-65535' },
  ])('%o is understood', (parts) => expect(filter(parts)).toBeDefined());

  test.each([
    { remotePort: '65536' },
    { remotePort: '85-80' },
    { remotePort: '80-85;90' },
    { remotePort: '80-85-90' },
    { remotePort: '80,443' },
    { remotePort: 'port 80 or 1' },
    { remoteIPAddress: '1.1.1.1-255.255.255' },
    { remoteIPAddress: '10.0.0.0/8' },
    { remoteIPAddress: '10.0.0.1) or (ip' },
    { protocol: 'ICMP' },
  ])('%o is malformed', (parts) => expect(filter(parts)).toBeUndefined());
});

describe('the pcap filter for the emulated network', () => {
  test('without filters has every service and nothing else', () => {
    const expression = loopbackExpression([], services);
    expect(expression.match(/port \d+/g)?.toSorted()).toEqual(
      ['port 40053', 'port 40053', 'port 40443', 'port 40443', 'port 48080', 'port 48080'].toSorted(),
    );
  });

  test('a remote port selects the service, at the port that stands for it', () => {
    const expression = loopbackExpression([understood({ remotePort: '443' })], services);
    expect(expression).toContain('port 40443');
    expect(expression).not.toContain('40053');
  });

  test('an inbound service is selected by its local port', () => {
    const expression = loopbackExpression([understood({ localPort: '8000-9000', protocol: 'TCP' })], services);
    expect(expression).toContain('port 48080');
    // For what the VM calls itself, a local port is the port itself.
    expect(expression).toContain('src portrange 8000-9000');
  });

  test('several filters are alternatives', () => {
    const filters = [understood({ protocol: 'UDP' }), understood({ remoteIPAddress: SERVICES.api.peer })];
    const expression = loopbackExpression(filters, services);
    expect(expression).toContain('40053');
    expect(expression).toContain('40443');
    expect(expression).not.toContain('48080');
  });

  test('an address that nobody has selects nothing', () => {
    expect(loopbackExpression([understood({ localIPAddress: '127.0.0.1' })], services)).toBe('less 1');
  });
});

test('the pcap filter for a real interface is literal', () => {
  expect(literalExpression([])).toBe('');
  expect(literalExpression([understood({ protocol: 'TCP', remotePort: '443' })])).toBe(
    '(tcp and (((dst port 443)) or ((src port 443))))',
  );
  expect(literalExpression([understood({ localIPAddress: '10.0.0.1-10.0.0.3' })])).toContain(
    'ip[12:4] >= 167772161 and ip[12:4] <= 167772163',
  );
});

test('a packet passes by its ends as the VM sees them', () => {
  const ends = {
    protocol: 'TCP',
    localAddress: '10.0.0.4',
    localPort: 50_000,
    remoteAddress: '203.0.113.10',
    remotePort: 443,
  } as const;
  expect(passes([], ends)).toBe(true);
  expect(passes([understood({ remotePort: '80;443;' })], ends)).toBe(true);
  expect(passes([understood({ localPort: '443' })], ends)).toBe(false);
  expect(passes([understood({ protocol: 'UDP' }), understood({ remoteIPAddress: '203.0.113.10' })], ends)).toBe(true);
});
