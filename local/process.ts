import { spawn, type ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { resolve } from 'node:path';

export type ProcessOptions = {
  name: string;
  args: string[];
  env?: Record<string, string | undefined>;
  /** Called for each line that it prints; says whether the line is for the human, too. */
  onLine: (line: string) => boolean;
  /** Called at every start with the new process id. */
  onStart?: (pid: number) => void;
  print: (line: string) => void;
};

const leash = resolve(import.meta.dirname, 'leash.ts');

/** A Node process that is started again when it dies, as the platform would, and that ends when the supervisor does. */
export class Supervised {
  readonly #options: ProcessOptions;
  #child: ChildProcess | undefined;
  #stopping = false;
  #quickDeaths = 0;

  constructor(options: ProcessOptions) {
    this.#options = options;
    this.#start();
  }

  #start(): void {
    const { name, args, env, onLine, onStart, print } = this.#options;
    const startedAt = Date.now();
    const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', '--import', leash, ...args], {
      env: { ...process.env, ...env },
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    this.#child = child;
    // A pipe whose reader has died is not our trouble.
    child.stdin?.on('error', () => undefined);
    for (const stream of [child.stdout, child.stderr]) {
      if (stream) createInterface({ input: stream }).on('line', (line) => onLine(line) && print(labelled(name, line)));
    }
    if (child.pid !== undefined) onStart?.(child.pid);
    child.on('exit', (code, signal) => {
      if (this.#stopping) return;
      this.#quickDeaths = Date.now() - startedAt < 2000 ? this.#quickDeaths + 1 : 0;
      if (this.#quickDeaths >= 5) {
        print(`${name} ends as soon as it starts (${signal ?? code}); giving up. The lines above say why.`);
        process.kill(process.pid, 'SIGTERM');
        return;
      }
      print(`${name} ended (${signal ?? `exit ${code}`}); starting it again`);
      setTimeout(() => !this.#stopping && this.#start(), 100 * 2 ** this.#quickDeaths);
    });
  }

  /** Ends it: politely, and after `graceMs` for certain. */
  async stop(graceMs: number): Promise<void> {
    this.#stopping = true;
    const child = this.#child;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((done) => child.once('exit', done));
    const timer = setTimeout(() => child.kill('SIGKILL'), graceMs);
    child.kill('SIGTERM');
    await ended;
    clearTimeout(timer);
  }
}

/** Says once who speaks. */
function labelled(name: string, line: string): string {
  return `${name.padEnd(9)} ${line.startsWith(`${name}: `) ? line.slice(name.length + 2) : line}`;
}
