/**
 * The sandbox behind `npm start`: storage (Azurite), emulators of Azure Resource Manager and of Alibaba Cloud's traffic mirroring,
 * the collector of mirrored packets, and the app in a small functions host, each a process of its own under this supervisor.
 * Everything listens on 127.0.0.1 only.
 */
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { keysOf, type Keys } from './keys.ts';
import { pickPorts } from './ports.ts';
import { Supervised, type ProcessOptions } from './process.ts';

const usage = `npm start -- [options]
  --port N        port of the app (7071)
  --data DIR      folder that keeps everything (.tripcap)
  --rules FILE    rules file (rules.yaml)
  --arm URL       another Azure Resource Manager in place of the built-in emulator; any bearer token is sent
  --vpc HOST:PORT another VPC endpoint of Alibaba Cloud on loopback in place of the built-in emulator
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
const ports = await pickPorts(options.port, 5).catch((error: NodeJS.ErrnoException) => {
  process.stderr.write(`Port ${options.port} cannot be used (${error.code}): choose another with --port\n`);
  rmSync(lock, { force: true });
  return process.exit(2);
});
const [appPort, armPort, vpcPort, blobPort, queuePort, tablePort] = ports.tcp;
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
const vpc = options.vpc ?? `127.0.0.1:${vpcPort}`;
const region = 'cn-hangzhou';
const mirrorTarget = 'eni-collector0001';
const collector = { id: 'sandbox', address: `127.0.0.1:${ports.udp}` };
const keys = readKeys();
const asAlibabaUser = {
  ALIBABA_CLOUD_ACCESS_KEY_ID: keys.accessKeyId,
  ALIBABA_CLOUD_ACCESS_KEY_SECRET: keys.accessKeySecret,
};

const pids: Record<string, number> = {};
const infoFile = join(options.data, 'sandbox.json');
const processes = new Map<string, Supervised>();
let announced = false;
const stopped = stopOnSignal();

const storageReady = new Promise<void>((ready) => {
  let services = 0;
  start('storage', {
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
  });
});

if (!options.arm) {
  start('arm', {
    args: [
      join(root, 'local/arm/main.ts'),
      ...['--port', String(armPort), '--data', join(options.data, 'arm'), '--storage', storage],
      ...['--subscriptions', subscriptions.join(','), '--pace', '0.03', '--retry-after', '1'],
      ...(options.live ? ['--live', options.live] : []),
    ],
  });
}

if (!options.vpc) {
  start('vpc', {
    args: [
      join(root, 'local/vpc/main.ts'),
      ...['--port', String(vpcPort), '--data', join(options.data, 'vpc'), '--region', region, '--pace', '0.03'],
      ...['--target', `${mirrorTarget}=${collector.address}`, '--loopback'],
    ],
    env: asAlibabaUser,
  });
}

await Promise.race([storageReady, stopped]);
start('app', {
  args: [
    join(root, 'local/host/main.ts'),
    ...['--app', root, '--port', String(appPort), '--json', `/_sandbox=${infoFile}`],
    ...['--key', `alerts-cloudmonitor=${keys.cloudmonitor}`],
  ],
  env: appSettings(),
  onLine: (line) => {
    // That a timer ran is no news; what it did is logged by the app.
    if (!line.startsWith('ready ')) return !/: succeeded in \d+ ms$|Enabled Deferred Binding/.test(line);
    if (!announced) announce();
    announced = true;
    return false;
  },
});
start('collector', {
  args: [
    join(root, 'dist/collector.mjs'),
    ...['--id', collector.id, '--data', join(options.data, 'collector')],
    ...['--host', '127.0.0.1', '--port', String(ports.udp), '--vpc', vpc],
    // So short that files come while one looks on, and that the app, where it lives, is the first to end a session.
    ...['--rotate-seconds', '5', '--grace-seconds', '0.5'],
  ],
  env: { ...asAlibabaUser, TRIPCAP_COLLECTOR_STORAGE: storage },
  // Its advice on bursts is for hosts of their own.
  onLine: (line) => !/^ready |the receive buffer has/.test(line),
});
await stopped;
// The app first, which may still write, then the collector; then what they write to.
for (const name of ['app', 'collector', 'arm', 'vpc', 'storage']) await processes.get(name)?.stop(10_000);
rmSync(lock, { force: true });
process.exit(0);

/** Starts a process and publishes its id, again at each new start. */
function start(name: string, process: Pick<ProcessOptions, 'args' | 'env'> & Partial<ProcessOptions>): void {
  const onStart = (pid: number): void => {
    pids[name] = pid;
    writeInfo();
  };
  processes.set(
    name,
    new Supervised({ name, onLine: (line) => !line.startsWith('ready '), onStart, print, ...process }),
  );
}

/** What `GET /_sandbox` answers. */
function writeInfo(): void {
  const info = {
    api,
    arm,
    vpc: `http://${vpc}`,
    storageConnectionString: storage,
    subscriptions,
    alibaba: { region, accessKeyId: keys.accessKeyId, accessKeySecret: keys.accessKeySecret },
    cloudmonitorPath: `/alerts/cloudmonitor?code=${keys.cloudmonitor}`,
    collector: collector.address,
    ...(options.arm ? {} : { requests: `${arm}/_log` }),
    pids,
  };
  // At once: it may be read at any time.
  writeFileSync(`${infoFile}.new`, JSON.stringify(info, null, 2), { mode: 0o600 });
  renameSync(`${infoFile}.new`, infoFile);
}

/** Those of this data folder alone; the environment may bring another AccessKey pair. */
function readKeys(): Keys {
  const { TRIPCAP_ALIBABA_ACCESS_KEY_ID: id, TRIPCAP_ALIBABA_ACCESS_KEY_SECRET: secret } = process.env;
  const own = keysOf(options.data);
  return { ...own, accessKeyId: id || own.accessKeyId, accessKeySecret: secret || own.accessKeySecret };
}

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
    TRIPCAP_ALIBABA_ACCOUNT: '1108034196790001',
    TRIPCAP_ALIBABA_REGIONS: JSON.stringify([{ region, mirrorTargetId: mirrorTarget, collector: collector.id }]),
    TRIPCAP_ALIBABA_ACCESS_KEY_ID: keys.accessKeyId,
    TRIPCAP_ALIBABA_ACCESS_KEY_SECRET: keys.accessKeySecret,
    TRIPCAP_ALIBABA_ENDPOINT: vpc,
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
  const fire = (...args: string[]): string => {
    const given = [...args, ...(options.port === 7071 ? [] : ['--port', String(options.port)])];
    return `npm run -s alert${given.length > 0 ? ` -- ${given.join(' ')}` : ''}`;
  };
  print(`
tripcap sandbox is ready.

  look at         ${api}/health   ${api}/runs   ${api}/captures
  fire an alert   ${fire()}   or, of Alibaba Cloud, ${fire('--cloudmonitor')}
  resolve it      ${fire('--resolve')}
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
        vpc: { type: 'string' },
        live: { type: 'string' },
      },
    });
    const port = Number(values.port);
    if (!Number.isInteger(port) || port < 1 || port > 65_535) throw new Error('--port takes a port number');
    if (values.arm !== undefined && !URL.canParse(values.arm)) throw new Error('--arm takes a URL');
    if (values.vpc !== undefined && !/^(127\.\d+\.\d+\.\d+|localhost):\d{1,5}$/.test(values.vpc))
      throw new Error('--vpc takes HOST:PORT on loopback, such as 127.0.0.1:8080');
    return {
      port,
      data: resolve(values.data),
      rules: resolve(values.rules),
      arm: values.arm?.replace(/\/+$/, ''),
      vpc: values.vpc?.replace('localhost', '127.0.0.1'),
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

function stopOnSignal(): Promise<void> {
  return new Promise((stop) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => stop());
  });
}
