/**
 * How many mirrored packets a second the collector takes, beside dumpcap (or tcpdump) on the same packets at the same time:
 * node bench/collector.ts [--seconds S] [--bytes N] [RATE…]
 *
 * Storage is away, so that nothing but receiving and writing is measured. All share the machine, the sender too.
 */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { bundle } from '../collector/build.ts';

const VNI = 4711;
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seconds: { type: 'string', default: '4' },
    bytes: { type: 'string', default: '800' },
    send: { type: 'string' },
  },
});
const seconds = Number(values.seconds);
const frameBytes = Number(values.bytes);

if (values.send) {
  process.stdout.write(`${await send(Number(values.send), Number(positionals[0]))}\n`);
} else {
  const rates = positionals.length > 0 ? positionals.map(Number) : [10_000, 25_000, 50_000, 75_000, 150_000];
  const folder = mkdtempSync(join(tmpdir(), 'tripcap-bench-'));
  try {
    const program = join(folder, 'collector.mjs');
    await bundle(program);
    print(
      `Frames of ${frameBytes} bytes, ${seconds} s each; ${cpus().length} cores, ${cpus()[0]?.model.trim()}, Node ${process.version}`,
    );
    print(
      '| offered/s | sent/s | collector kept | other kept | collector : other | collector CPU s per million | other |',
    );
    print('|---|---|---|---|---|---|---|');
    // The first round only warms up.
    for (const [round, rate] of [rates[0] ?? 10_000, ...rates].entries()) {
      const line = await measure(join(folder, String(round)), program, rate);
      if (round > 0) print(line);
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function measure(folder: string, program: string, rate: number): Promise<string> {
  mkdirSync(folder);
  writeFileSync(join(folder, 'sessions.json'), JSON.stringify(list()));
  const ports = [
    '--port',
    '0',
    '--host',
    '127.0.0.1',
    '--storage',
    'http://127.0.0.1:9/nobody',
    '--disk-bytes',
    '1e11',
  ];
  const collector = spawn(process.execPath, [program, '--data', folder, ...ports], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const port = await portOf(collector);
  const other = await startOther(port, join(folder, 'other.pcap'));
  const before = { collector: cpuSeconds(collector), other: other ? cpuSeconds(other.process) : 0 };
  const sender = spawn(
    process.execPath,
    [import.meta.filename, '--send', String(port), String(rate), ...process.argv.slice(2)],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  );
  const [first] = (await once(createInterface({ input: sender.stdout! }), 'line')) as [string];
  const sent = Number(first);
  // Longer than the collector keeps packets in memory, and reports.
  await delay(1500);
  const collectorCpu = cpuSeconds(collector) - before.collector;
  const otherCpu = other ? cpuSeconds(other.process) - before.other : 0;
  collector.kill('SIGTERM');
  await once(collector, 'exit');
  const kept = packetsKept(folder);
  const otherKept = other ? await other.stop() : 0;
  rmSync(folder, { recursive: true, force: true });
  const share = (packets: number) => `${((100 * packets) / sent).toFixed(2)} %`;
  const perMillion = (cpu: number, packets: number) => ((cpu / packets) * 1e6).toFixed(1);
  return `| ${[
    rate,
    Math.round(sent / seconds),
    share(kept),
    other ? `${share(otherKept)} (${other.name})` : 'none is allowed here',
    other ? (kept / otherKept).toFixed(3) : '',
    perMillion(collectorCpu, kept),
    other ? perMillion(otherCpu, otherKept) : '',
  ].join(' | ')} |`;
}

function list(): unknown {
  const entry = {
    run: 'b'.repeat(26),
    session: 'tms-bench',
    region: 'cn-hongkong',
    vni: VNI,
    sources: [{ eni: 'eni-bench', address: '127.0.0.1' }],
    maxBytes: 1e12,
    until: '2099-01-01T00:00:00Z',
  };
  return { version: 1, writtenAt: new Date().toISOString(), pollSeconds: 1, sessions: [entry] };
}

async function portOf(collector: ChildProcess): Promise<number> {
  for await (const line of createInterface({ input: collector.stdout! })) {
    const found = /^ready .*:(\d+)$/.exec(line);
    if (found) return Number(found[1]);
  }
  throw new Error('the collector did not start');
}

/** What the collector says of itself at the end: the last status. */
function packetsKept(folder: string): number {
  const status = JSON.parse(readFileSync(join(folder, 'status.json'), 'utf8')) as { sessions: { packets: number }[] };
  return status.sessions[0]?.packets ?? 0;
}

type Other = { name: string; process: ChildProcess; stop: () => Promise<number> };

async function startOther(port: number, file: string): Promise<Other | undefined> {
  const filter = `udp port ${port}`;
  const tools: [string, string[]][] = [
    ['dumpcap', ['-q', '-i', 'lo', '-B', '32', '-f', filter, '-w', file]],
    ['tcpdump', ['-i', 'lo', '-n', '-B', '32768', '-w', file, filter]],
  ];
  for (const [name, args] of tools) {
    const child = spawn(name, args, { stdio: ['ignore', 'ignore', 'pipe'] });
    let said = '';
    child.stderr.on('data', (chunk) => (said += String(chunk)));
    const ended = once(child, 'close').catch(() => undefined);
    const began = await Promise.race([ended.then(() => false), listens(() => said)]);
    if (!began) continue;
    const stop = async () => {
      child.kill('SIGINT');
      await ended;
      const text = execFileSync('capinfos', ['-T', '-r', '-M', '-c', file], { encoding: 'utf8' });
      return Number(text.trim().split('\t')[1]);
    };
    return { name, process: child, stop };
  }
  return undefined;
}

async function listens(said: () => string): Promise<boolean> {
  for (let i = 0; i < 100; i++) {
    if (/^File:|listening on/m.test(said())) return true;
    await delay(50);
  }
  return false;
}

function cpuSeconds({ pid }: ChildProcess): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
  // User and system time, in hundredths of a second on Linux.
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

/** Sends at an even pace, as far as it can. @returns how many it sent */
async function send(port: number, rate: number): Promise<number> {
  const socket = createSocket('udp4');
  socket.on('error', () => undefined);
  socket.connect(port, '127.0.0.1');
  await once(socket, 'connect');
  const datagram = Buffer.alloc(8 + frameBytes, 0x5a);
  Buffer.from('0800000000000000', 'hex').copy(datagram);
  datagram.writeUIntBE(VNI, 4, 3);
  Buffer.from('eeffffffffff00163e0a0b0c080045000000', 'hex').copy(datagram, 8);
  datagram.writeUInt16BE(frameBytes - 14, 24);
  const start = performance.now();
  let sent = 0;
  for (;;) {
    const elapsed = (performance.now() - start) / 1000;
    if (elapsed >= seconds) break;
    const due = Math.min(Math.floor(elapsed * rate), sent + 200);
    for (; sent < due; sent++) socket.send(datagram);
    await new Promise(setImmediate);
  }
  socket.close();
  return sent;
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}
