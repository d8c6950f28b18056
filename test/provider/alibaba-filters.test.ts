import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { MirrorRule } from '../../shared/provider/alibaba/api.ts';
import { everything, toRules, type FilterRules } from '../../shared/provider/alibaba/filters.ts';
import type { CaptureFilter } from '../../shared/provider/provider.ts';

/** A packet as the machine sees it that is captured. */
type Packet = {
  way: 'in' | 'out';
  protocol: 'TCP' | 'UDP' | 'ICMP';
  local: { address: number; port: number };
  remote: { address: number; port: number };
};

const toText = (address: number) => [24, 16, 8, 0].map((shift) => (address >>> shift) & 255).join('.');
const toNumber = (text: string) => text.split('.').reduce((sum, byte) => sum * 256 + Number(byte), 0);

/** What the filters of a capture mean, by their documentation: whether one of them lets the packet through. */
function isWanted(filters: CaptureFilter[], { protocol, local, remote }: Packet): boolean {
  const isIn = (text: string | undefined, value: number, read: (part: string) => number): boolean => {
    if (!text) return true;
    const [from, to] = text.split('-');
    if (to !== undefined) return read(from ?? '') <= value && value <= read(to);
    return text.split(';').some((part) => part !== '' && read(part) === value);
  };
  return filters.some((filter) => {
    if (filter.protocol !== undefined && filter.protocol !== 'Any' && filter.protocol !== protocol) return false;
    if (!isIn(filter.localIPAddress, local.address, toNumber)) return false;
    if (!isIn(filter.remoteIPAddress, remote.address, toNumber)) return false;
    if (!filter.localPort && !filter.remotePort) return true;
    // What has no ports has not the port that is asked for.
    return (
      protocol !== 'ICMP' && isIn(filter.localPort, local.port, Number) && isIn(filter.remotePort, remote.port, Number)
    );
  });
}

/** What the cloud's rules mean, by its documentation: whether one of its direction accepts the packet. */
function isMirrored({ ingress, egress }: FilterRules, { way, protocol, local, remote }: Packet): boolean {
  const [rules, from, to] = way === 'in' ? [ingress, remote, local] : [egress, local, remote];
  const bits = (address: number) => address.toString(2).padStart(32, '0');
  const isIn = (address: number, cidr: string): boolean => {
    const [network = '', length] = cidr.split('/');
    return bits(address).slice(0, Number(length)) === bits(toNumber(network)).slice(0, Number(length));
  };
  const hasPort = (port: number, range = '-1/-1'): boolean => {
    if (range === '-1/-1') return true;
    const [least = 0, most = 0] = range.split('/').map(Number);
    return least <= port && port <= most;
  };
  return rules.some(
    (rule) =>
      (rule.protocol === 'ALL' || rule.protocol === protocol) &&
      isIn(from.address, rule.sourceCidrBlock) &&
      isIn(to.address, rule.destinationCidrBlock) &&
      (protocol === 'ICMP' ||
        (hasPort(from.port, rule.sourcePortRange) && hasPort(to.port, rule.destinationPortRange))),
  );
}

// Few values, so that packets often are on the border of what a filter names.
const address = fc.oneof(
  fc.integer({ min: 0, max: 40 }).map((n) => toNumber('10.0.0.0') + n),
  fc.constantFrom(0, 1, toNumber('127.255.255.255'), toNumber('128.0.0.0'), 2 ** 32 - 1),
);
const port = fc.oneof(fc.integer({ min: 1, max: 20 }), fc.constantFrom(65_534, 65_535));
function values(one: fc.Arbitrary<number>, write: (value: number) => string): fc.Arbitrary<string> {
  const text = one.map(write);
  return fc.oneof(
    text,
    fc.tuple(one, one).map((pair) =>
      pair
        .toSorted((a, b) => a - b)
        .map(write)
        .join('-'),
    ),
    fc.array(text, { minLength: 1, maxLength: 3 }).map((list) => list.join(';')),
    fc.array(text, { minLength: 1, maxLength: 3 }).map((list) => `${list.join(';')};`),
    fc.constant(''),
  );
}
const filter: fc.Arbitrary<CaptureFilter> = fc.record(
  {
    protocol: fc.constantFrom('TCP', 'UDP', 'Any'),
    localIPAddress: values(address, toText),
    remoteIPAddress: values(address, toText),
    localPort: values(port, String),
    remotePort: values(port, String),
  },
  { requiredKeys: [] },
);
const end = fc.record({ address, port });
const packet: fc.Arbitrary<Packet> = fc.record({
  way: fc.constantFrom('in', 'out'),
  protocol: fc.constantFrom('TCP', 'UDP', 'ICMP'),
  local: end,
  remote: end,
});

describe('rules', () => {
  it('accept exactly the packets that the filters let through', () => {
    let wanted = 0;
    fc.assert(
      fc.property(
        fc.array(filter, { minLength: 1, maxLength: 3 }),
        fc.array(packet, { minLength: 20, maxLength: 20 }),
        (filters, packets) => {
          const rules = toRules(filters);
          for (const one of packets) {
            if (isWanted(filters, one)) wanted++;
            if (isWanted(filters, one) !== isMirrored(rules, one))
              throw new Error(`${JSON.stringify(one)} is ${isMirrored(rules, one) ? '' : 'not '}mirrored`);
          }
        },
      ),
      { numRuns: 400 },
    );
    expect(wanted).toBeGreaterThan(50);
  });

  it('are as many one way as the other, and have ports only where there are some', () => {
    fc.assert(
      fc.property(fc.array(filter, { maxLength: 3 }), (filters) => {
        const { ingress, egress } = toRules(filters);
        expect(egress).toHaveLength(ingress.length);
        for (const rule of [...ingress, ...egress]) {
          expect(rule.sourcePortRange === undefined).toBe(rule.protocol === 'ALL');
          expect(rule.destinationPortRange === undefined).toBe(rule.protocol === 'ALL');
        }
      }),
    );
  });

  it('are the fewest blocks of a range', () => {
    const blocks = (range: string) => toRules([{ localIPAddress: range }]).ingress.map((r) => r.destinationCidrBlock);
    expect(blocks('0.0.0.0-255.255.255.255')).toEqual(['0.0.0.0/0']);
    expect(blocks('10.0.0.0-10.255.255.255')).toEqual(['10.0.0.0/8']);
    expect(blocks('10.0.0.4-10.0.0.9')).toEqual(['10.0.0.4/30', '10.0.0.8/31']);
    expect(blocks('255.255.255.255')).toEqual(['255.255.255.255/32']);
    fc.assert(
      fc.property(address, address, (a, b) => {
        const sizes = blocks(
          [a, b]
            .toSorted((x, y) => x - y)
            .map(toText)
            .join('-'),
        ).map((block) => 2 ** (32 - Number(block.split('/')[1])));
        expect(sizes.reduce((sum, size) => sum + size, 0)).toBe(Math.abs(a - b) + 1);
        // They grow, then shrink, with no size more than once each way: fewer cannot make it up.
        expect(sizes.every((size, i) => i < 2 || size !== sizes[i - 1] || size !== sizes[i - 2])).toBe(true);
      }),
    );
  });

  it('begin at port 1: there is no port 0', () => {
    const rule: MirrorRule | undefined = toRules([{ protocol: 'TCP', localPort: '0-1023' }]).ingress[0];
    expect(rule?.destinationPortRange).toBe('1/1023');
  });

  it('accept everything where nothing is asked for', () => {
    for (const rules of [everything, toRules([{}])]) {
      const lost = fc.sample(packet, 500).filter((one) => !isMirrored(rules, one));
      expect(lost).toEqual([]);
    }
  });
});
