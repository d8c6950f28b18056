import type { AddressInfo } from 'node:net';
import { parseArgs } from 'node:util';
import { Agent } from './agent.ts';
import { armRoutes } from './api.ts';
import { CaptureWork } from './capture-work.ts';
import { Captures } from './captures.ts';
import { Extensions } from './extensions.ts';
import { Injector } from './injector.ts';
import { Inventory } from './inventory.ts';
import { log } from './log.ts';
import { Operations } from './operations.ts';
import { numberOf } from '../emulator/options.ts';
import { RequestLog } from '../emulator/request-log.ts';
import type { LoggedRequest } from './requests.ts';
import { createArmServer } from './server.ts';
import { State } from './state.ts';
import { tcpdumpProblem } from './tcpdump.ts';
import { startTraffic } from './traffic.ts';
import { Uploads } from './upload.ts';

/**
 * An emulator of Azure Resource Manager for Network Watcher packet captures. It answers what recorded traffic of the
 * real service shows, captures real packets, and shares no code with the app, so that each checks the other. What
 * reality is not known to do is marked GUESS.
 */
const USAGE = `node local/arm/main.ts --port N --data DIR --storage CONNECTION_STRING --subscriptions ID,ID
  --port N             port on 127.0.0.1; 0 picks a free one
  --data DIR           where captures, operations and the request log are kept
  --storage STRING     connection string of the account that files go to
  --subscriptions IDS  subscriptions that exist; what is in the first and in the others: world.ts
  --pace X             multiplies the service's delays (default 1; a capture's own time limit is never changed)
  --retry-after S      seconds the service tells clients to wait (default 10, as recorded)
  --live IFACE         capture this interface instead of the emulated network
  --no-tcpdump         make packets up instead of capturing them`;

// Medians of the recordings; for the upload, of which none is known, a GUESS.
const START_MS = 4_000;
const CREATE_MS = 11_000;
const STOP_MS = 21_000;
const DELETE_MS = 11_000;
const STATUS_MS = 2_000;
const INSTALL_MS = 30_000;
const UPLOAD_MS = 15_000;
const TICK_MS = 40;

const options = readOptions();
const state = new State(options.data);
const problem = options.noTcpdump ? 'not wanted' : await tcpdumpProblem({ live: options.live });
if (problem && options.live) {
  process.stderr.write(`arm: cannot capture ${options.live}: ${problem}\n`);
  process.exit(1);
}
if (problem) log('agent', `packets are made up, not captured (${problem})`);
// Nobody sees the traffic when nothing is captured.
const services = problem ? [] : (await startTraffic()).services;
const agent = new Agent({
  directory: options.data,
  state,
  uploads: new Uploads(options.storage),
  services,
  tcpdump: !problem,
  live: options.live,
  uploadDelayMs: UPLOAD_MS * options.pace,
});
const inventory = new Inventory(options.subscriptions, state);
const operations = new Operations(state, options.retryAfter);
const captures = new Captures(state, operations, agent, inventory, {
  startMs: START_MS * options.pace,
  createMs: CREATE_MS * options.pace,
  stopMs: STOP_MS * options.pace,
  deleteMs: DELETE_MS * options.pace,
  statusMs: STATUS_MS * options.pace,
});
const work = new CaptureWork(state, operations, agent);
const extensions = new Extensions(state, operations, inventory, INSTALL_MS * options.pace);
const server = createArmServer({
  state,
  requests: new RequestLog<LoggedRequest>(options.data),
  inventory,
  routes: armRoutes({ state, inventory, captures, extensions, operations }),
  injector: new Injector(state),
  services,
});
const ticking = setInterval(() => {
  const now = Date.now();
  work.tick(now);
  extensions.tick(now);
  agent.tick(now);
}, TICK_MS);

process.once('SIGTERM', () => void shutDown());
process.once('SIGINT', () => void shutDown());
server.on('error', (error) => {
  process.stderr.write(`arm: ${error.message}\n`);
  process.exit(1);
});
server.listen(options.port, '127.0.0.1', () => {
  process.stdout.write(`ready http://127.0.0.1:${(server.address() as AddressInfo).port}\n`);
});

/** Sessions that are running stay so: the next start on the same data goes on with them. */
async function shutDown(): Promise<void> {
  clearInterval(ticking);
  server.close();
  await agent.suspend();
  state.save();
  process.exit(0);
}

function readOptions() {
  try {
    const { values } = parseArgs({
      options: {
        port: { type: 'string' },
        data: { type: 'string' },
        storage: { type: 'string' },
        subscriptions: { type: 'string' },
        pace: { type: 'string', default: '1' },
        'retry-after': { type: 'string', default: '10' },
        live: { type: 'string' },
        'no-tcpdump': { type: 'boolean', default: false },
      },
    });
    const { port, data, storage, subscriptions } = values;
    if (!port || !data || !storage || !subscriptions) throw new Error('an option is missing');
    return {
      port: numberOf(port, '--port'),
      data,
      storage,
      subscriptions: subscriptions.split(',').filter(Boolean),
      pace: numberOf(values.pace, '--pace'),
      retryAfter: numberOf(values['retry-after'], '--retry-after'),
      live: values.live,
      noTcpdump: values['no-tcpdump'],
    };
  } catch (error) {
    process.stderr.write(`arm: ${(error as Error).message}\n${USAGE}\n`);
    process.exit(2);
  }
}
