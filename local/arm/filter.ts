import { isIPv4 } from 'node:net';
import { VM_ADDRESS, type BoundService, type Protocol } from './network.ts';

/** A packet capture filter as ARM takes it; `""` = anything. */
export type FilterInput = {
  protocol: string;
  localIPAddress: string;
  localPort: string;
  remoteIPAddress: string;
  remotePort: string;
};

/** Inclusive ranges of numbers (ports, or IPv4 addresses as 32-bit numbers); `undefined` = anything. */
type Ranges = [number, number][] | undefined;

/** A filter understood. GUESS: several filters of one capture are alternatives (or), which no source states. */
export type Filter = {
  protocol: Protocol | 'Any';
  localAddress: Ranges;
  localPort: Ranges;
  remoteAddress: Ranges;
  remotePort: Ranges;
};

/** Both ends of a packet, seen from the VM. */
export type Ends = {
  protocol: Protocol;
  localAddress: string;
  localPort: number;
  remoteAddress: string;
  remotePort: number;
};

/**
 * Reads the documented notations: a single value, one range `a-b`, or a list `a;b;` with or without the last `;`.
 * Ranges and lists do not mix. GUESS: addresses are IPv4 without CIDR; the documentation mentions nothing else.
 *
 * @returns undefined when any part is malformed
 */
export function parseFilter(input: FilterInput): Filter | undefined {
  const protocol = { tcp: 'TCP', udp: 'UDP', any: 'Any' }[input.protocol.toLowerCase()] as
    | Filter['protocol']
    | undefined;
  const localAddress = parseRanges(input.localIPAddress, toAddress);
  const localPort = parseRanges(input.localPort, toPort);
  const remoteAddress = parseRanges(input.remoteIPAddress, toAddress);
  const remotePort = parseRanges(input.remotePort, toPort);
  if (!protocol || !localAddress || !localPort || !remoteAddress || !remotePort) return undefined;
  return {
    protocol,
    localAddress: localAddress.ranges,
    localPort: localPort.ranges,
    remoteAddress: remoteAddress.ranges,
    remotePort: remotePort.ranges,
  };
}

/** Whether a packet passes a capture's filters; no filters let everything pass. */
export function passes(filters: Filter[], ends: Ends): boolean {
  return (
    filters.length === 0 ||
    filters.some(
      (filter) =>
        (filter.protocol === 'Any' || filter.protocol === ends.protocol) &&
        contains(filter.localAddress, addressNumber(ends.localAddress)) &&
        contains(filter.localPort, ends.localPort) &&
        contains(filter.remoteAddress, addressNumber(ends.remoteAddress)) &&
        contains(filter.remotePort, ends.remotePort),
    )
  );
}

/**
 * The pcap filter for the emulated VM: exactly the traffic of the given services that the filters select, and
 * nothing else of the machine.
 */
export function loopbackExpression(filters: Filter[], services: BoundService[]): string {
  const wanted = filters.length > 0 ? filters : [ANYTHING];
  const parts = wanted.flatMap((filter) => services.flatMap((service) => serviceExpression(filter, service) ?? []));
  return parts.length > 0 ? parts.join(' or ') : NOTHING;
}

/** The pcap filter for a real interface: the capture's filters, literally. `""` = everything. */
export function literalExpression(filters: Filter[]): string {
  return filters
    .map((filter) => {
      const ends = bothWays(
        { address: filter.localAddress, port: filter.localPort },
        { address: filter.remoteAddress, port: filter.remotePort },
      );
      const protocol = filter.protocol === 'Any' ? [] : [filter.protocol.toLowerCase()];
      return all([...protocol, ...ends]) || 'ip or ip6';
    })
    .map((part) => `(${part})`)
    .join(' or ');
}

const ANYTHING: Filter = {
  protocol: 'Any',
  localAddress: undefined,
  localPort: undefined,
  remoteAddress: undefined,
  remotePort: undefined,
};

/** A packet of at most one byte does not exist. (A contradiction would be refused by the pcap compiler.) */
const NOTHING = 'less 1';

function serviceExpression(filter: Filter, service: BoundService): string | undefined {
  const servicePort = service.direction === 'out' ? filter.remotePort : filter.localPort;
  const selected =
    (filter.protocol === 'Any' || filter.protocol === service.protocol) &&
    contains(filter.localAddress, addressNumber(VM_ADDRESS)) &&
    contains(filter.remoteAddress, addressNumber(service.peer)) &&
    contains(servicePort, service.port);
  if (!selected) return undefined;
  const real: Ranges = [[service.realPort, service.realPort]];
  const local = { address: exactly(service.realVm), port: service.direction === 'out' ? filter.localPort : real };
  const remote = { address: exactly(service.realPeer), port: service.direction === 'out' ? real : filter.remotePort };
  return `(${all([service.protocol.toLowerCase(), ...bothWays(local, remote)])})`;
}

type End = { address: Ranges; port: Ranges };

/** Packets from the local to the remote end, and those coming back. */
function bothWays(local: End, remote: End): string[] {
  const there = all([...endClauses('src', local), ...endClauses('dst', remote)]);
  const back = all([...endClauses('src', remote), ...endClauses('dst', local)]);
  return there ? [`((${there}) or (${back}))`] : [];
}

function endClauses(side: 'src' | 'dst', end: End): string[] {
  const addresses = end.address?.map((range) => addressClause(side, range));
  const ports = end.port?.map(([from, to]) =>
    from === to ? `${side} port ${from}` : `${side} portrange ${from}-${to}`,
  );
  return [addresses, ports].flatMap((clauses) => (clauses ? [`(${clauses.join(' or ')})`] : []));
}

function addressClause(side: 'src' | 'dst', [from, to]: [number, number]): string {
  if (from === to) return `${side} host ${addressText(from)}`;
  // pcap filters know no address ranges, so the address is compared in the IPv4 header: source at 12, destination at 16.
  const field = `ip[${side === 'src' ? 12 : 16}:4]`;
  return `(ip and ${field} >= ${from} and ${field} <= ${to})`;
}

function all(clauses: string[]): string {
  return clauses.join(' and ');
}

function contains(ranges: Ranges, value: number): boolean {
  return !ranges || ranges.some(([from, to]) => from <= value && value <= to);
}

function exactly(address: string): Ranges {
  const number = addressNumber(address);
  return [[number, number]];
}

function parseRanges(text: string, read: (part: string) => number | undefined): { ranges: Ranges } | undefined {
  if (text === '') return { ranges: undefined };
  const list = text.split(';');
  if (list.length > 1 && list.at(-1) === '') list.pop();
  const bounds = list.length === 1 ? text.replace(/;$/, '').split('-') : [];
  if (bounds.length > 2) return undefined;
  if (bounds.length === 2) {
    const from = read(bounds[0] ?? '');
    const to = read(bounds[1] ?? '');
    return from === undefined || to === undefined || from > to ? undefined : { ranges: [[from, to]] };
  }
  const values = list.map(read);
  if (values.includes(undefined)) return undefined;
  return { ranges: (values as number[]).map((value) => [value, value]) };
}

function toPort(text: string): number | undefined {
  const port = /^\d{1,5}$/.test(text) ? Number(text) : Number.NaN;
  return port <= 65535 ? port : undefined;
}

function toAddress(text: string): number | undefined {
  return isIPv4(text) ? addressNumber(text) : undefined;
}

function addressNumber(address: string): number {
  return address.split('.').reduce((number, part) => number * 256 + Number(part), 0);
}

function addressText(number: number): string {
  return [24, 16, 8, 0].map((shift) => (number >>> shift) & 0xff).join('.');
}
