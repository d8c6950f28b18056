import type { CaptureFilter } from '../provider.ts';
import type { MirrorRule } from './api.ts';

export type FilterRules = { ingress: MirrorRule[]; egress: MirrorRule[] };

const anywhere = '0.0.0.0/0';

/** Everything: a filter without rules mirrors nothing, so one each way. */
export const everything: FilterRules = {
  ingress: [{ protocol: 'ALL', sourceCidrBlock: anywhere, destinationCidrBlock: anywhere }],
  egress: [{ protocol: 'ALL', sourceCidrBlock: anywhere, destinationCidrBlock: anywhere }],
};

/**
 * The rules that accept what the filters of a capture let through: a packet that comes in has the local side as its destination,
 * one that goes out as its source. Ranges of addresses become blocks, and every combination is a rule of its own.
 */
export function toRules(filters: readonly CaptureFilter[]): FilterRules {
  const one: MirrorRule[] = filters.flatMap(({ protocol, localIPAddress, localPort, remoteIPAddress, remotePort }) => {
    const hasPorts = Boolean(localPort) || Boolean(remotePort);
    // Ports are for TCP and UDP only.
    const protocols: MirrorRule['protocol'][] =
      protocol === 'TCP' || protocol === 'UDP' ? [protocol] : hasPorts ? ['TCP', 'UDP'] : ['ALL'];
    return protocols.flatMap((kind) =>
      blocksOf(localIPAddress).flatMap((local) =>
        blocksOf(remoteIPAddress).flatMap((remote) =>
          portsOf(localPort).flatMap((port) =>
            portsOf(remotePort).map((otherPort) => ({
              protocol: kind,
              sourceCidrBlock: remote,
              destinationCidrBlock: local,
              ...(kind === 'ALL' ? {} : { sourcePortRange: otherPort, destinationPortRange: port }),
            })),
          ),
        ),
      ),
    );
  });
  return { ingress: one, egress: one.map(reversed) };
}

function reversed(rule: MirrorRule): MirrorRule {
  return {
    protocol: rule.protocol,
    sourceCidrBlock: rule.destinationCidrBlock,
    destinationCidrBlock: rule.sourceCidrBlock,
    ...(rule.sourcePortRange === undefined ? {} : { destinationPortRange: rule.sourcePortRange }),
    ...(rule.destinationPortRange === undefined ? {} : { sourcePortRange: rule.destinationPortRange }),
  };
}

/** `443`, `8000-8080` or `80;443`; `-1/-1` is any. The cloud counts from 1: a range from 0 begins there. */
function portsOf(text: string | undefined): string[] {
  return partsOf(text).map((part) => {
    if (part === '') return '-1/-1';
    const [from = '', to = from] = part.split('-').map(Number);
    return `${from || 1}/${to}`;
  });
}

/** `10.0.0.4`, `10.0.0.4-10.0.0.9` or `10.0.0.4;10.0.0.7` as CIDR blocks. */
function blocksOf(text: string | undefined): string[] {
  return partsOf(text).flatMap((part) => {
    if (part === '') return [anywhere];
    const [from = '', to = from] = part.split('-');
    return blocksBetween(toNumber(from), toNumber(to));
  });
}

function partsOf(text: string | undefined): string[] {
  const parts = (text ?? '').split(';').filter(Boolean);
  return parts.length === 0 ? [''] : parts;
}

/** The fewest blocks that make up a range. */
function blocksBetween(from: number, to: number): string[] {
  const blocks: string[] = [];
  for (let start = from; start <= to;) {
    let size = 1;
    while (start % (size * 2) === 0 && start + size * 2 - 1 <= to) size *= 2;
    blocks.push(`${toAddress(start)}/${32 - Math.log2(size)}`);
    start += size;
  }
  return blocks;
}

function toNumber(address: string): number {
  return address.split('.').reduce((sum, part) => sum * 256 + Number(part), 0);
}

function toAddress(value: number): string {
  return [24, 16, 8, 0].map((shift) => Math.floor(value / 2 ** shift) % 256).join('.');
}
