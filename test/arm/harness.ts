import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BlobServiceClient } from '@azure/storage-blob';
import { connectionStringFor, startAzurite } from '../azurite.ts';
import { until } from '../until.ts';

/** Real processes for the emulator's tests: storage (Azurite) and the emulator itself, and what they leave behind. */
export const SUBSCRIPTION = '11111111-2222-3333-4444-555555555555';
export const WATCHER = `/subscriptions/${SUBSCRIPTION}/resourceGroups/NetworkWatcherRG/providers/Microsoft.Network/networkWatchers/NetworkWatcher_westus2`;
export const STORAGE_ID = `/subscriptions/${SUBSCRIPTION}/resourceGroups/rg-logs/providers/Microsoft.Storage/storageAccounts/devstoreaccount1`;

export const TOOLS = '(apt-get install tcpdump tshark)';

/** tcpdump captures here and tshark reads what it wrote. */
export const hasTools =
  process.getuid?.() === 0 &&
  ['tcpdump', 'tshark', 'capinfos'].every((tool) => spawnSync(tool, ['--version']).status === 0);

/** The emulator's address is known, but nobody answers there. */
export const NO_STORAGE = connectionStringFor({ blob: 9 });

export function machine(name: string): string {
  return `/subscriptions/${SUBSCRIPTION}/resourceGroups/rg-shop/providers/Microsoft.Compute/virtualMachines/${name}`;
}

export function scaleSet(name: string): string {
  return `/subscriptions/${SUBSCRIPTION}/resourceGroups/rg-shop/providers/Microsoft.Compute/virtualMachineScaleSets/${name}`;
}

export type Storage = { connectionString: string; port: number; stop: () => Promise<void> };

export async function startStorage(): Promise<Storage> {
  const azurite = await startAzurite();
  return { connectionString: azurite.connectionString, port: azurite.blobPort, stop: azurite.stop };
}

export type Answer = { status: number; headers: Headers; text: string; body: any };

export class Emulator {
  readonly #child: ChildProcess;
  readonly url: string;
  readonly data: string;
  #said = '';

  private constructor(child: ChildProcess, url: string, data: string) {
    this.#child = child;
    // One that a failed test forgot ends with the tests, and does not keep them waiting.
    child.unref();
    (child.stdout as Socket | null)?.unref();
    process.once('exit', () => child.kill('SIGKILL'));
    this.url = url;
    this.data = data;
    child.stdout?.on('data', (chunk: Buffer) => (this.#said += chunk.toString()));
  }

  /** What it told the human since it was ready. */
  said(): string {
    return this.#said;
  }

  static async start(storage: string, args: string[] = [], data = temporaryFolder()): Promise<Emulator> {
    const child = spawn(
      'node_modules/.bin/node',
      [
        'local/arm/main.ts',
        '--port',
        '0',
        '--data',
        data,
        '--storage',
        storage,
        '--subscriptions',
        SUBSCRIPTION,
      ].concat(args),
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    return new Emulator(child, await firstMatch(child, /^ready (http:\S+)/m), data);
  }

  /** Asks ARM. @param path may be a whole URL with its query */
  async arm(method: string, path: string, body?: unknown, apiVersion = '2026-01-01'): Promise<Answer> {
    const url = path.startsWith('http') ? path : `${this.url}${path}?api-version=${apiVersion}`;
    return ask(url, {
      method,
      headers: { authorization: 'Bearer any', 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
  }

  create(name: string, properties: Record<string, unknown> = {}): Promise<Answer> {
    const given = { target: machine('web01'), storageLocation: { storageId: STORAGE_ID }, ...properties };
    return this.arm('PUT', `${WATCHER}/packetCaptures/${name}`, { properties: given });
  }

  async status(name: string): Promise<any> {
    return (await this.arm('POST', `${WATCHER}/packetCaptures/${name}/queryStatus`)).body;
  }

  /** Waits until a capture says the given status, and answers all it says. */
  untilStatus(name: string, status: 'Running' | 'Stopped'): Promise<any> {
    return until(`${name} ${status}`, async () => {
      const answer = await this.status(name);
      return answer.packetCaptureStatus === status ? answer : undefined;
    });
  }

  /** Waits until a create is over, and answers the capture. */
  settled(name: string): Promise<any> {
    return until(`the create of ${name}`, async () => {
      const { body } = await this.arm('GET', `${WATCHER}/packetCaptures/${name}`);
      return body.properties?.provisioningState !== 'Updating' && body;
    });
  }

  /** Waits until a capture is not there any more. */
  async removed(name: string): Promise<void> {
    await until(`the end of ${name}`, async () => {
      return (await this.arm('GET', `${WATCHER}/packetCaptures/${name}`)).status === 404;
    });
  }

  /** Takes away every capture of a watcher. */
  async clear(watcher = WATCHER): Promise<void> {
    await until('an empty list', async () => {
      const { value } = (await this.arm('GET', `${watcher}/packetCaptures`)).body;
      for (const { id, properties } of value) {
        if (properties.provisioningState !== 'Deleting') await this.arm('DELETE', id);
      }
      return value.length === 0;
    });
  }

  /** Waits until an operation is over, and answers the last question about it. */
  over(url: string): Promise<Answer> {
    return until('the end of an operation', async () => {
      const answer = await this.arm('GET', url);
      return answer.status !== 202 && answer.body?.status !== 'InProgress' && answer;
    });
  }

  async control(faults: unknown): Promise<Answer> {
    return ask(`${this.url}/_control`, { method: 'POST', body: JSON.stringify({ faults }) });
  }

  /** The files on the emulated machines. */
  kept(): Buffer[] {
    const folder = join(this.data, 'captures');
    return readdirSync(folder).map((name) => readFileSync(join(folder, name)));
  }

  /** Process ids of what the emulator runs. */
  children(): string[] {
    const listed = spawnSync('ps', ['-o', 'pid=', '--ppid', String(this.#child.pid)], { encoding: 'utf8' });
    return listed.stdout
      .split('\n')
      .map((line) => line.trim())
      .filter(Boolean);
  }

  /** Ends the emulator and waits until everything it ran is gone. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    const children = this.children();
    const closed = new Promise((resolve) => this.#child.once('close', resolve));
    this.#child.kill(signal);
    await closed;
    await until(`end of ${children.join(' ')}`, () => children.every(isGone));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    rmSync(this.data, { recursive: true, force: true });
  }
}

export async function ask(url: string, init: RequestInit): Promise<Answer> {
  const response = await fetch(url, init);
  const text = await response.text();
  return { status: response.status, headers: response.headers, text, body: parsed(text) };
}

/** Undefined for what is no JSON. */
function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function temporaryFolder(): string {
  return mkdtempSync(join(tmpdir(), 'arm-test-'));
}

/** Fetches a blob when it has arrived. */
export async function arrived(storage: Storage, container: string, blob: string): Promise<Buffer> {
  const service = BlobServiceClient.fromConnectionString(storage.connectionString);
  const client = service.getContainerClient(container).getBlobClient(blob);
  const there = unhurried(() => client.exists());
  return until(`${container}/${blob}`, async () => ((await there()) ? client.downloadToBuffer() : undefined));
}

export async function exists(storage: Storage, container: string, blob: string): Promise<boolean> {
  const service = BlobServiceClient.fromConnectionString(storage.connectionString);
  return service.getContainerClient(container).getBlobClient(blob).exists();
}

/** Asks no more than a few times a second: storage is slow. */
function unhurried<T>(ask: () => Promise<T>): () => Promise<T | undefined> {
  let next = 0;
  return async () => {
    if (Date.now() < next) return undefined;
    next = Date.now() + 200;
    return ask();
  };
}

/** Waits until so many blobs begin like this, and answers their files by the rest of their names. */
export async function arrivedBelow(
  storage: Storage,
  [container, prefix]: [container: string, prefix: string],
  count: number,
): Promise<Record<string, Buffer>> {
  const client = BlobServiceClient.fromConnectionString(storage.connectionString).getContainerClient(container);
  const list = unhurried(async () => {
    const found: string[] = [];
    if (!(await client.exists())) return undefined;
    for await (const { name } of client.listBlobsFlat({ prefix })) found.push(name);
    return found.length >= count && found;
  });
  const names = await until(`${count} blobs ${prefix}…`, list);
  const files = names.map(async (name) => [
    name.slice(prefix.length),
    await client.getBlobClient(name).downloadToBuffer(),
  ]);
  return Object.fromEntries(await Promise.all(files));
}

/** Container and blob of a generated storage path. */
export function blobOf(capture: any): [container: string, blob: string] {
  const path = new URL(capture.properties.storageLocation.storagePath as string).pathname.slice(1);
  const slash = path.indexOf('/');
  return [path.slice(0, slash), path.slice(slash + 1)];
}

/** Packets of a little-endian pcap file, checked record by record. */
export function packetsOf(file: Buffer): { capturedBytes: number; originalBytes: number; data: Buffer }[] {
  if (file.readUInt32LE(0) !== 0xa1b2c3d4) throw new Error('not a pcap file');
  const packets = [];
  let at = 24;
  while (at < file.length) {
    const capturedBytes = file.readUInt32LE(at + 8);
    const data = file.subarray(at + 16, at + 16 + capturedBytes);
    if (data.length < capturedBytes) throw new Error('the last packet is cut off');
    packets.push({ capturedBytes, originalBytes: file.readUInt32LE(at + 12), data });
    at += 16 + capturedBytes;
  }
  return packets;
}

/** Unix times of a file's packets, in seconds. */
export function timesOf(file: Buffer): number[] {
  let at = 24;
  return packetsOf(file).map(({ capturedBytes }) => {
    const time = file.readUInt32LE(at) + file.readUInt32LE(at + 4) / 1e6;
    at += 16 + capturedBytes;
    return time;
  });
}

/** The ports of an Ethernet frame with IPv4 and TCP or UDP in it. */
export function portsOf(frame: Buffer): [source: number, destination: number] {
  return [frame.readUInt16BE(34), frame.readUInt16BE(36)];
}

function isGone(pid: string): boolean {
  try {
    return /^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return true;
  }
}

async function firstMatch(child: ChildProcess, pattern: RegExp): Promise<string> {
  let said = '';
  let ended = false;
  child.stdout?.on('data', (chunk: Buffer) => (said += chunk.toString()));
  child.once('exit', () => (ended = true));
  return until(`a line like ${String(pattern)}`, () => {
    if (ended) throw new Error(`ended early: ${said}`);
    return pattern.exec(said)?.[1];
  });
}
