/**
 * The sandbox behind `npm start`: storage (Azurite), an emulator of Azure Resource Manager that captures real packets, and the
 * app in a small functions host, each a process of its own under this supervisor. Everything listens on 127.0.0.1 only.
 */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { createServer } from 'node:net';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { Supervised } from './process.ts';

const usage = `npm start -- [options]
  --port N        port of the app (7071)
  --data DIR      folder that keeps everything (.tripcap)
  --rules FILE    rules file (rules.yaml)
  --arm URL       another Azure Resource Manager in place of the built-in emulator; any bearer token is sent
  --live IFACE    capture packets of a real network interface (needs tcpdump and the right to use it)`;

const root = resolve(import.meta.dirname, '..');
const options = readOptions();
const print = (line: string): void => void process.stdout.write(`${line}\n`);
mkdirSync(options.data, { recursive: true });
const lock = takeLock(options.data);

const subscriptions = ['00000000-0000-0000-0000-000000000000', '11111111-1111-1111-1111-111111111111'];
// Azurite's published development account; its key opens nothing but this machine's own emulator.
const account = 'devstoreaccount1';
const accountKey = 'Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==';
const [appPort, armPort, blobPort, queuePort, tablePort] = await pickPorts(options.port, 4);
const storage = [
  'DefaultEndpointsProtocol=http',
  `AccountName=${account}`,
  `AccountKey=${accountKey}`,
  ...Object.entries({ Blob: blobPort, Queue: queuePort, Table: tablePort }).map(
    ([service, port]) => `${service}Endpoint=http://127.0.0.1:${port}/${account}`,
  ),
].join(';');
const api = `http://127.0.0.1:${appPort}/api`;
const arm = options.arm ?? `http://127.0.0.1:${armPort}`;

const pids: Record<string, number> = {};
const infoFile = join(options.data, 'sandbox.json');
const onStart = (name: string) => (pid: number) => {
  pids[name] = pid;
  const info = {
    api,
    arm,
    storageConnectionString: storage,
    subscriptions,
    ...(options.arm ? {} : { requests: `${arm}/_log` }),
    pids,
  };
  writeFileSync(infoFile, JSON.stringify(info, null, 2), { mode: 0o600 });
};

const processes: Supervised[] = [];
let announced = false;
const stopped = stopOnSignal();

const storageReady = new Promise<void>((ready) => {
  let services = 0;
  processes.push(
    new Supervised({
      name: 'storage',
      args: [
        createRequire(import.meta.url).resolve('azurite/dist/src/azurite.js'),
        ...['--location', join(options.data, 'azurite'), '--skipApiVersionCheck', '--disableTelemetry', '--silent'],
        ...['blob', 'queue', 'table'].flatMap((service, i) => [
          `--${service}Host`,
          '127.0.0.1',
          `--${service}Port`,
          String([blobPort, queuePort, tablePort][i]),
        ]),
      ],
      onLine: (line) => {
        if (/successfully listening/.test(line) && ++services === 3) ready();
        return !/is starting at|successfully listening|successfully closed|is closing/.test(line) && line.trim() !== '';
      },
      onStart: onStart('storage'),
      print,
    }),
  );
});

if (!options.arm) {
  processes.push(
    new Supervised({
      name: 'cloud',
      args: [
        join(root, 'local/arm/main.ts'),
        ...[
          '--port',
          String(armPort),
          '--data',
          join(options.data, 'arm'),
          '--storage',
          storage,
          '--subscriptions',
          subscriptions.join(','),
          '--pace',
          '0.03',
          '--retry-after',
          '1',
        ],
        ...(options.live ? ['--live', options.live] : []),
      ],
      onLine: (line) => !line.startsWith('ready '),
      onStart: onStart('arm'),
      print,
    }),
  );
}

await Promise.race([storageReady, stopped]);
processes.push(
  new Supervised({
    name: 'app',
    args: [
      join(root, 'local/host/main.ts'),
      '--app',
      root,
      '--port',
      String(appPort),
      '--json',
      `/_sandbox=${infoFile}`,
    ],
    env: appSettings(),
    onLine: (line) => {
      // That a timer ran is no news; what it did is logged by the app.
      if (!line.startsWith('ready ')) return !/: succeeded in \d+ ms$|Enabled Deferred Binding/.test(line);
      if (!announced) announce();
      announced = true;
      return false;
    },
    onStart: onStart('app'),
    print,
  }),
);
await stopped;
// The app first, which may still write; then what it writes to.
for (const child of processes.toReversed()) await child.stop(10_000);
rmSync(lock, { force: true });
process.exit(0);

/** The app's settings as in Azure, with short times; the environment may override each. */
function appSettings(): Record<string, string | undefined> {
  const settings: Record<string, string> = {
    AzureWebJobsStorage: storage,
    SANDBOX_CAPTURES: storage,
    TRIPCAP_INSTALLATION: 'sandbox',
    TRIPCAP_SUBSCRIPTIONS: subscriptions.join(','),
    TRIPCAP_CAPTURE_ACCOUNTS: JSON.stringify([
      {
        id: `/subscriptions/${subscriptions[0]}/resourceGroups/sandbox/providers/Microsoft.Storage/storageAccounts/${account}`,
        regions: ['*'],
        connection: 'SANDBOX_CAPTURES',
      },
    ]),
    TRIPCAP_ARM_ENDPOINT: arm,
    TRIPCAP_RULES_FILE: options.rules,
    TRIPCAP_POLL_SCHEDULE: '*/2 * * * * *',
    TRIPCAP_SCHEDULE_SCHEDULE: '* * * * * *',
    TRIPCAP_SWEEP_SCHEDULE: '*/15 * * * * *',
    TRIPCAP_HISTORY_DAYS: '400',
    TRIPCAP_RAW_ALERT_DAYS: '90',
    TRIPCAP_RETENTION_SCHEDULE: '0 */10 * * * *',
    TRIPCAP_ACCEPTED_TIMEOUT_SECONDS: '60',
    TRIPCAP_STARTING_TIMEOUT_SECONDS: '60',
    TRIPCAP_START_RETRY_SECONDS: '3',
    TRIPCAP_STOP_RETRY_SECONDS: '3',
    TRIPCAP_STOPPING_ALARM_SECONDS: '30',
    TRIPCAP_FILE_TIMEOUT_SECONDS: '30',
    TRIPCAP_FILES_SETTLE_SECONDS: '5',
    TRIPCAP_LIMIT_GRACE_SECONDS: '4',
  };
  const overridden = Object.keys(settings).filter(
    (name) => name.startsWith('TRIPCAP_') && process.env[name] !== undefined,
  );
  return { ...settings, ...Object.fromEntries(overridden.map((name) => [name, process.env[name]])) };
}

function announce(): void {
  print(`
tripcap sandbox is ready.

  look at         ${api}/health   ${api}/runs   ${api}/captures
  fire an alert   npm run -s alert${options.port === 7071 ? '' : ` -- --port ${options.port}`}
  resolve it      npm run -s alert -- --resolve${options.port === 7071 ? '' : ` --port ${options.port}`}
  rules           ${options.rules}
  data            ${options.data}
`);
}

function readOptions() {
  try {
    const { values } = parseArgs({
      options: {
        port: { type: 'string', default: '7071' },
        data: { type: 'string', default: '.tripcap' },
        rules: { type: 'string', default: 'rules.yaml' },
        arm: { type: 'string' },
        live: { type: 'string' },
      },
    });
    const port = Number(values.port);
    if (!Number.isInteger(port) || port < 1 || port > 65_535) throw new Error('--port takes a port number');
    if (values.arm !== undefined && !URL.canParse(values.arm)) throw new Error('--arm takes a URL');
    return {
      port,
      data: resolve(values.data),
      rules: resolve(values.rules),
      arm: values.arm?.replace(/\/+$/, ''),
      live: values.live,
    };
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n${usage}\n`);
    process.exit(2);
  }
}

/** Two sandboxes on one data folder would spoil each other's state. */
function takeLock(data: string): string {
  const file = join(data, 'lock');
  try {
    const pid = Number(readFileSync(file, 'utf8'));
    process.kill(pid, 0);
    process.stderr.write(
      `Another sandbox (process ${pid}) uses ${data}: end it, or choose another folder with --data\n`,
    );
    process.exit(2);
  } catch {
    // No lock, or its owner is gone.
  }
  writeFileSync(file, String(process.pid));
  return file;
}

/** The app's port, which must be free, and free ones for the others; all held until all are known, so that none is given twice. */
async function pickPorts(appPortWanted: number, others: number): Promise<number[]> {
  const open = (port: number) =>
    new Promise<{ port: number; close: () => Promise<void> }>((done, fail) => {
      const server = createServer();
      server.once('error', fail);
      server.listen(port, '127.0.0.1', () => {
        const address = server.address();
        done({
          port: typeof address === 'object' && address ? address.port : port,
          close: () => new Promise((closed) => server.close(() => closed())),
        });
      });
    });
  const app = await open(appPortWanted).catch((error: NodeJS.ErrnoException) => {
    process.stderr.write(`Port ${appPortWanted} cannot be used (${error.code}): choose another with --port\n`);
    rmSync(lock, { force: true });
    return process.exit(2);
  });
  const held = [app, ...(await Promise.all(Array.from({ length: others }, () => open(0))))];
  await Promise.all(held.map((one) => one.close()));
  return held.map((one) => one.port);
}

function stopOnSignal(): Promise<void> {
  return new Promise((stop) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => stop());
  });
}
