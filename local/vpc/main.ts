import type { AddressInfo } from 'node:net';
import { parseArgs } from 'node:util';
import { Delays } from './delays.ts';
import { isTargetAddress } from './faults.ts';
import { FrontDoor } from './front-door.ts';
import { Injector } from './injector.ts';
import { Inventory, loopbackOf } from './inventory.ts';
import { Mirror } from './mirror.ts';
import { numberOf } from '../emulator/options.ts';
import { RequestLog } from '../emulator/request-log.ts';
import type { LoggedRequest } from './requests.ts';
import { createVpcServer } from './server.ts';
import { settle } from './settle.ts';
import { State } from './state.ts';
import { Tokens } from './tokens.ts';

/**
 * An emulator of Alibaba Cloud's VPC traffic mirroring: the RPC API with its signatures, and real mirrored packets. It is
 * written from Alibaba's documents and metadata and shares no code with the app, so that each checks the other. What no
 * source shows is marked GUESS.
 */
const USAGE = `node local/vpc/main.ts --port N --data DIR [options]
  --port N                 port on 127.0.0.1; 0 picks a free one
  --data DIR               where sessions, filters and the request log are kept
  --access-key-id ID       the account's key
  --access-key-secret TEXT its secret
  --region REGION          the region that it stands for (cn-hangzhou)
  --target ID=HOST:PORT    where packets for a mirror target go, on loopback; may be given more than once
  --loopback               interfaces are described with the addresses that their packets come from: 127.0.0.4 for 10.0.0.4
  --audience TEXT          what a token must be for that is exchanged for temporary keys (sts.aliyuncs.com)
  --pace X                 multiplies the service's delays (1)
Environment: ALIBABA_CLOUD_ACCESS_KEY_ID and ALIBABA_CLOUD_ACCESS_KEY_SECRET in place of the key's options, which others on the
machine can see`;

const TICK_MS = 50;

const options = readOptions();
const state = new State(options.data, Date.now());
Object.assign(state.content.targets, options.targets);
state.save();
const inventory = new Inventory(state);
const mirror = new Mirror(state, inventory, Date.now());
const server = createVpcServer({
  state,
  inventory,
  mirror,
  requests: new RequestLog<LoggedRequest>(options.data),
  frontDoor: new FrontDoor(options.keys, state),
  injector: new Injector(state),
  tokens: new Tokens(state),
  context: {
    state,
    inventory,
    region: options.region,
    audience: options.audience,
    addressOf: ({ address }) => (options.loopback ? loopbackOf(address) : address),
    delays: new Delays(state, options.pace),
  },
});
const ticking = setInterval(() => {
  const now = Date.now();
  settle(state, now);
  mirror.tick(now);
}, TICK_MS);

process.once('SIGTERM', shutDown);
process.once('SIGINT', shutDown);
server.on('error', (error) => {
  process.stderr.write(`vpc: ${error.message}\n`);
  process.exit(1);
});
server.listen(options.port, '127.0.0.1', () => {
  process.stdout.write(`ready http://127.0.0.1:${(server.address() as AddressInfo).port}\n`);
});

/** Sessions that are enabled stay so: the next start on the same data goes on with them. */
function shutDown(): void {
  clearInterval(ticking);
  server.close();
  mirror.close();
  state.save();
  process.exit(0);
}

function readOptions() {
  try {
    const { values } = parseArgs({
      options: {
        port: { type: 'string' },
        data: { type: 'string' },
        region: { type: 'string', default: 'cn-hangzhou' },
        'access-key-id': { type: 'string' },
        'access-key-secret': { type: 'string' },
        target: { type: 'string', multiple: true, default: [] },
        loopback: { type: 'boolean', default: false },
        audience: { type: 'string', default: 'sts.aliyuncs.com' },
        pace: { type: 'string', default: '1' },
      },
    });
    const { port, data } = values;
    const accessKeyId = values['access-key-id'] ?? process.env['ALIBABA_CLOUD_ACCESS_KEY_ID'];
    const accessKeySecret = values['access-key-secret'] ?? process.env['ALIBABA_CLOUD_ACCESS_KEY_SECRET'];
    if (!port || !data || !accessKeyId || !accessKeySecret) throw new Error('an option is missing');
    return {
      port: numberOf(port, '--port'),
      data,
      region: values.region,
      keys: { accessKeyId, accessKeySecret },
      targets: Object.fromEntries(values.target.map(targetOf)),
      loopback: values.loopback,
      audience: values.audience,
      pace: numberOf(values.pace, '--pace'),
    };
  } catch (error) {
    process.stderr.write(`vpc: ${(error as Error).message}\n${USAGE}\n`);
    process.exit(2);
  }
}

function targetOf(text: string): [string, string] {
  const [id, address] = text.split('=');
  if (!id || !address || !isTargetAddress(address)) throw new Error('--target takes ID=127.x.y.z:PORT');
  return [id, address];
}
