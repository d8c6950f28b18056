import { hostname } from 'node:os';
import { parseArgs } from 'node:util';
import { isLoopback } from './addresses.ts';

export const USAGE = `node collector/main.ts --data DIR [options]
  --data DIR            where files wait for upload; one collector per folder
  --storage STRING      blob service URL (with a SAS), or connection string; better in TRIPCAP_COLLECTOR_STORAGE, where others
                        on the machine do not see it
  --id NAME             letters, digits and hyphens; the host's name unless given
  --host ADDRESS        IPv4 address to receive at (0.0.0.0)
  --port N              UDP port (4789); 0 picks a free one
  --rotate-bytes N      a file ends before it is larger (16777216)
  --rotate-seconds S    or when it is so old (30)
  --disk-bytes N        most that files waiting for upload may use (2147483648)
  --grace-seconds S     how long after their end packets of a session are no reason to switch it off (30)
  --vpc HOST[:PORT]     another endpoint of the VPC API in place of the region's; on loopback by plain http
  --metadata URL        another ECS metadata service, on loopback
Environment: TRIPCAP_COLLECTOR_STORAGE; ALIBABA_CLOUD_ACCESS_KEY_ID and ALIBABA_CLOUD_ACCESS_KEY_SECRET in place of the RAM role`;

export type Options = {
  data: string;
  storage: string;
  id: string;
  host: string;
  port: number;
  rotateBytes: number;
  rotateMs: number;
  diskBytes: number;
  graceMs: number;
  vpc: string | undefined;
  metadata: string;
  accessKey: { id: string; secret: string } | undefined;
};

/** @throws Error that says what is wrong with the arguments */
export function readOptions(args: string[], env: Readonly<Record<string, string | undefined>>): Options {
  const { values } = parseArgs({
    args,
    options: {
      data: { type: 'string' },
      storage: { type: 'string' },
      id: {
        type: 'string',
        default: hostname()
          .replaceAll(/[^A-Za-z0-9-]/g, '-')
          .slice(0, 63),
      },
      host: { type: 'string', default: '0.0.0.0' },
      port: { type: 'string', default: '4789' },
      'rotate-bytes': { type: 'string', default: String(16 * 1024 * 1024) },
      'rotate-seconds': { type: 'string', default: '30' },
      'disk-bytes': { type: 'string', default: String(2 * 1024 ** 3) },
      'grace-seconds': { type: 'string', default: '30' },
      vpc: { type: 'string' },
      metadata: { type: 'string', default: 'http://100.100.100.200' },
    },
  });
  const storage = values.storage ?? env['TRIPCAP_COLLECTOR_STORAGE'];
  if (!values.data) throw new Error('--data is missing');
  if (!storage) throw new Error('--storage or TRIPCAP_COLLECTOR_STORAGE is missing');
  if (!/^[A-Za-z0-9-]{1,63}$/.test(values.id)) throw new Error('--id takes letters, digits and hyphens');
  const port = number(values.port, '--port');
  if (!Number.isInteger(port) || port > 65_535) throw new Error('--port takes a port number');
  const [keyId, secret] = [env['ALIBABA_CLOUD_ACCESS_KEY_ID'], env['ALIBABA_CLOUD_ACCESS_KEY_SECRET']];
  return {
    data: values.data,
    storage,
    id: values.id,
    host: values.host,
    port,
    rotateBytes: number(values['rotate-bytes'], '--rotate-bytes'),
    rotateMs: number(values['rotate-seconds'], '--rotate-seconds') * 1000,
    diskBytes: number(values['disk-bytes'], '--disk-bytes'),
    graceMs: number(values['grace-seconds'], '--grace-seconds') * 1000,
    vpc: values.vpc === undefined ? undefined : vpcEndpoint(values.vpc),
    metadata: metadataEndpoint(values.metadata),
    accessKey: keyId && secret ? { id: keyId, secret } : undefined,
  };
}

function number(text: string, option: string): number {
  const value = Number(text);
  if (!text || !Number.isFinite(value) || value < 0) throw new Error(`${option} takes a number`);
  return value;
}

function vpcEndpoint(host: string): string {
  const url = URL.parse(`https://${host}`);
  if (!url || url.host !== host.toLowerCase().replace(/:443$/, '')) throw new Error('--vpc takes HOST or HOST:PORT');
  return isLoopback(url.hostname) ? `http://${host}` : `https://${host}`;
}

/** Keys come over plain http from there, which nothing but this machine and its own metadata service may see. */
function metadataEndpoint(text: string): string {
  const url = URL.parse(text);
  if (!url || (url.hostname !== '100.100.100.200' && !isLoopback(url.hostname))) {
    throw new Error('--metadata takes a URL on loopback');
  }
  return url.origin;
}
