import { execFile, spawnSync } from 'node:child_process';
import { promisify } from 'node:util';
import { CAPTURES } from './captures.ts';

export function hasTool(name: string): boolean {
  return spawnSync(name, ['--version']).error === undefined;
}

/** What a program prints, run among the capture files. Its exit code is not looked at: damaged files are no failure. */
export async function run(tool: string, ...args: string[]): Promise<string> {
  const options = { cwd: CAPTURES, maxBuffer: 1 << 28, env: { ...process.env, TZ: 'UTC' } };
  try {
    return (await promisify(execFile)(tool, args, options)).stdout;
  } catch (error) {
    return (error as { stdout: string }).stdout;
  }
}

/** What capinfos says of a file; members are its own text, `n/a` where it has none. */
export type Capinfos = { packets: number; originalBytes: number; first: string; last: string };

/** Asks capinfos once about many files; those it refuses to open are absent from the answer. */
export async function askCapinfos(names: readonly string[]): Promise<Map<string, Capinfos>> {
  const table = await run('capinfos', '-T', '-r', '-M', '-c', '-d', '-a', '-e', '-S', ...names);
  const rows = table.trimEnd().split('\n');
  return new Map(
    rows.map((row) => {
      const [name, packets, originalBytes, first, last] = row.split('\t') as [string, string, string, string, string];
      return [name, { packets: Number(packets), originalBytes: Number(originalBytes), first, last }];
    }),
  );
}

/** What tshark says of a packet, as far as the summary has it. */
export type TsharkPacket = {
  captured: number;
  original: number;
  /** Of the outermost layers, and those of the frame inside where they are VXLAN, in the summary's words. */
  protocols: Set<string>;
  /** VNIs of the VXLAN networks that it lies in, the outermost first. */
  networks: number[];
  reset: boolean;
  /** Names asked for in a query to UDP port 53, lower-cased. */
  queries: string[];
};

/** Asks tshark about the packets of a file. No reassembly: the summary looks at packets one by one. */
export async function askTshark(path: string): Promise<TsharkPacket[]> {
  const fields = ['frame.cap_len', 'frame.len', 'frame.protocols', 'tcp.flags.reset', 'udp.dstport'];
  const vxlan = ['vxlan.vni'];
  const dns = ['dns.flags.response', 'dns.flags.opcode', 'dns.qry.name'];
  const options = ['-o', 'ip.defragment:FALSE', '-o', 'ipv6.defragment:FALSE'];
  const asked = [...fields, ...dns, ...vxlan].flatMap((field) => ['-e', field]);
  const text = await run('tshark', '-n', '-r', path, ...options, '-T', 'fields', ...asked);
  return text.trimEnd().split('\n').map(toPacket);
}

const NAMES: Record<string, string> = {
  eth: 'ethernet',
  vlan: 'vlan',
  ieee8021ad: 'vlan',
  arp: 'arp',
  ip: 'ipv4',
  ipv6: 'ipv6',
  tcp: 'tcp',
  udp: 'udp',
  icmp: 'icmp',
  icmpv6: 'icmpv6',
  sctp: 'sctp',
  igmp: 'igmp',
  gre: 'gre',
  esp: 'esp',
  ospf: 'ospf',
};
const LOWER = new Set(['ethernet', 'vlan', 'ipv4', 'ipv6']);
/** Encapsulations that tshark looks into and the summary does not. */
const NOT_DECODED = new Set(['mpls', 'pppoes', 'llc', 'ppp', 'ieee8021ah', 'vntag', 'nsh', 'macsec', 'batadv']);

function toPacket(line: string): TsharkPacket {
  const columns = line.split('\t').map((values) => values.split(','));
  const first = (column: number): string => columns[column]?.[0] ?? '';
  const layers = decoded(columns[2]?.[0] ?? '');
  const protocols = new Set(layers);
  const networks = layers.filter((layer) => layer === 'vxlan').length;
  const port = columns[4]?.[layers.filter((layer) => layer === 'udp').length - 1];
  const isQuery = port === '53' && first(5) === '0' && first(6) === '0';
  const names = (columns[7] ?? []).filter((name) => name !== '');
  return {
    captured: Number(first(0)),
    original: Number(first(1)),
    protocols,
    networks: (columns[8] ?? []).slice(0, networks).map(Number),
    reset: protocols.has('tcp') && first(3) === '1',
    queries: isQuery ? names.map((name) => (name === '<Root>' ? '.' : name.toLowerCase())) : [],
  };
}

/** From `eth:ethertype:ip:udp:vxlan:eth:…`: up to the transport layer, or to a tunnel, but through VXLAN. */
function decoded(stack: string): string[] {
  const found: string[] = [];
  const layers = stack.split(':');
  let hasIp = false;
  for (const [index, layer] of layers.entries()) {
    if (NOT_DECODED.has(layer)) break;
    const name = NAMES[layer];
    if (!name) continue;
    const isIp = name.startsWith('ipv');
    if (isIp && hasIp) break;
    hasIp ||= isIp;
    found.push(name);
    if (LOWER.has(name)) continue;
    if (layers[index + 1] !== 'vxlan') break;
    found.push('vxlan');
    hasIp = false;
  }
  return found;
}
