import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { networkInterfaces } from 'node:os';
import { literalExpression, loopbackExpression } from './filter.ts';
import type { Recorder, Recording } from './recorder.ts';

/**
 * Records with tcpdump, which writes the pcap stream to a pipe: the emulator cuts it at the size limit, counts it, and
 * can go on behind what an earlier process wrote.
 *
 * No tcpdump outlives the emulator: it is ended with it; if the emulator is killed, the kernel ends it too (setpriv
 * --pdeathsig, Linux, as root); elsewhere `timeout` bounds it, a broken pipe ends it at its next packet, and the next
 * emulator on the same data ends what it still finds (see {@link endLeftover}).
 */
export type TcpdumpOptions = {
  /** A real interface in place of the emulated network. */
  live?: string | undefined;
};

const MAX_SNAP_LENGTH = 262_144;
const START_TIMEOUT_MS = 10_000;
const STOP_TIMEOUT_MS = 2_000;

const running = new Set<ChildProcess>();
process.on('exit', () => {
  for (const child of running) child.kill('SIGTERM');
});

/** Why tcpdump cannot capture here (missing, not allowed), if so. Found out by trying. */
export async function tcpdumpProblem(options: TcpdumpOptions): Promise<string | undefined> {
  try {
    const recorder = await startTcpdump(
      {
        filters: [],
        services: [],
        snapLength: 0,
        limitSeconds: 0,
        elapsedMs: 0,
        onData: () => {},
        onDeath: () => {},
      },
      options,
    );
    await recorder.stop();
    return undefined;
  } catch (error) {
    return (error as Error).message.split('\n')[0];
  }
}

/** Resolves when packets are being captured. @throws Error when tcpdump is missing, not allowed or refuses */
export async function startTcpdump(recording: Recording, options: TcpdumpOptions): Promise<Recorder> {
  const expression = options.live
    ? literalExpression(recording.filters)
    : loopbackExpression(recording.filters, recording.services);
  const snapLength = recording.snapLength === 0 ? MAX_SNAP_LENGTH : Math.min(recording.snapLength, MAX_SNAP_LENGTH);
  const args = ['-i', options.live ?? loopbackInterface(), '-n', '-s', String(snapLength), '-w', '-', '-U'];
  args.push('--immediate-mode');
  // Dropping root would take away the signal that ends tcpdump with its parent.
  if (process.getuid?.() === 0) args.push('-Z', 'root');
  if (expression) args.push(expression);

  const [command, ...before] = [...guard(recording.limitSeconds), 'tcpdump'];
  const child = spawn(command, [...before, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  running.add(child);
  let stopping = false;
  const closed = new Promise<void>((resolve) => {
    child.once('close', () => {
      running.delete(child);
      resolve();
    });
  });
  child.stdout.on('data', recording.onData);
  await listening(child);
  child.once('close', () => {
    if (!stopping) recording.onDeath();
  });
  return {
    ...(child.pid === undefined ? {} : { process: { pid: child.pid, expression } }),
    stop: async () => {
      stopping = true;
      child.kill('SIGINT');
      const impatience = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS);
      await closed;
      clearTimeout(impatience);
    },
  };
}

/** Ends a tcpdump that a killed emulator left behind, if the process of that number still is that tcpdump. */
export function endLeftover({ pid, expression }: { pid: number; expression: string }): void {
  try {
    const args = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
    if (args.includes('tcpdump') && args.includes(expression)) process.kill(pid, 'SIGTERM');
  } catch {
    // There is no such process any more (or no /proc to find it in).
  }
}

function listening(child: ChildProcess): Promise<void> {
  return new Promise((resolve, reject) => {
    let said = '';
    const give = (message: string) => {
      clearTimeout(timer);
      child.kill('SIGKILL');
      reject(new Error(`tcpdump: ${message}`));
    };
    const timer = setTimeout(() => give('did not start'), START_TIMEOUT_MS);
    child.once('error', (error) => give(error.message));
    child.once('close', () => give(said.trim() || 'ended'));
    child.stderr?.on('data', (chunk: Buffer) => {
      if (said.length < 4096) said += chunk.toString();
      if (!said.includes('listening on')) return;
      clearTimeout(timer);
      resolve();
    });
  });
}

/** The command that tcpdump runs under, so that it ends with the emulator or at least some time. */
function guard(limitSeconds: number): string[] {
  const asRoot = process.getuid?.() === 0;
  if (asRoot && available('setpriv', ['--pdeathsig', 'TERM', 'true'])) return ['setpriv', '--pdeathsig', 'TERM'];
  if (available('timeout', ['1', 'true'])) return ['timeout', String(limitSeconds + 3600)];
  return [];
}

const found = new Map<string, boolean>();

function available(command: string, args: string[]): boolean {
  const known = found.get(command) ?? spawnSync(command, args, { stdio: 'ignore' }).status === 0;
  found.set(command, known);
  return known;
}

function loopbackInterface(): string {
  const entries = Object.entries(networkInterfaces());
  return entries.find(([, addresses]) => addresses?.some((address) => address.internal))?.[0] ?? 'lo';
}
