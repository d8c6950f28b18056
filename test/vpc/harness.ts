import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { mkdtempSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { until } from '../until.ts';
import { signedHeaders, type Keys, type Signing } from './signing.ts';

/** A real emulator process, called over HTTP with real signatures, and a target that gets its packets. */
export const REGION = 'cn-hangzhou';
export const KEYS: Keys = { id: 'LTAItest', secret: 'test-secret' };
const VERSIONS = { Vpc: '2016-04-28', Ecs: '2014-05-26', Sts: '2015-04-01' };

export const COLLECTOR = 'eni-collector0001';
export const SOURCE = 'eni-8psdh7l6lphbn10l0001';
export const ALL = 'tmf-all0001';

export const hasTshark = spawnSync('tshark', ['--version']).status === 0;

export type Value = string | number | boolean | Value[] | { [name: string]: Value };
export type Answer = { status: number; headers: Record<string, string>; text: string; body: any };
export type CallOptions = Partial<Omit<Signing, 'query'>> & { product?: keyof typeof VERSIONS; form?: boolean };

export class Emulator {
  readonly #child: ChildProcess;
  readonly url: string;
  readonly data: string;

  private constructor(child: ChildProcess, url: string, data: string) {
    this.#child = child;
    this.url = url;
    this.data = data;
  }

  static async start(args: string[] = ['--pace', '0.02'], data = temporaryFolder()): Promise<Emulator> {
    const keys = ['--access-key-id', KEYS.id, '--access-key-secret', KEYS.secret];
    const child = spawn(
      'node_modules/.bin/node',
      ['local/vpc/main.ts', '--port', '0', '--data', data, ...keys, ...args],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    let said = '';
    child.stdout.on('data', (chunk: Buffer) => (said += chunk.toString()));
    const url = await until('the emulator', () => {
      if (child.exitCode !== null) {
        rmSync(data, { recursive: true, force: true });
        throw new Error(`ended early: ${said}`);
      }
      return /^ready (http:\S+)/m.exec(said)?.[1];
    });
    return new Emulator(child, url, data);
  }

  /** Calls the cloud; the region is added. */
  call(action: string, parameters: Record<string, Value> = {}, options: CallOptions = {}): Promise<Answer> {
    const { product = 'Vpc', form = false } = options;
    const pairs = flat(product === 'Sts' ? parameters : { RegionId: REGION, ...parameters });
    const query = form ? [] : pairs;
    const body = form ? new URLSearchParams(pairs).toString() : '';
    const signing: Signing = {
      keys: KEYS,
      action,
      version: VERSIONS[product],
      host: new URL(this.url).host,
      query,
      body,
      ...options,
    };
    const headers = {
      ...signedHeaders(signing),
      ...(form ? { 'content-type': 'application/x-www-form-urlencoded' } : {}),
    };
    return send(
      `${this.url}/?${new URLSearchParams(query).toString()}`,
      signing.method ?? 'POST',
      headers,
      signing.body ?? '',
    );
  }

  /** As call, and fails unless it succeeds. */
  async done(action: string, parameters: Record<string, Value> = {}, options: CallOptions = {}): Promise<any> {
    const { status, text, body } = await this.call(action, parameters, options);
    if (status !== 200) throw new Error(`${action}: ${status} ${text}`);
    return body;
  }

  /** Makes a session and waits until it is Created. */
  async session(parameters: Record<string, Value>): Promise<string> {
    const given = {
      TrafficMirrorFilterId: ALL,
      TrafficMirrorTargetId: COLLECTOR,
      TrafficMirrorTargetType: 'NetworkInterface',
      TrafficMirrorSourceIds: [SOURCE],
      ...parameters,
    };
    const { TrafficMirrorSessionId: id } = await this.done('CreateTrafficMirrorSession', given);
    await this.settled(id);
    return id;
  }

  /** Makes a filter and waits until it is Created. */
  async filter(parameters: Record<string, Value> = {}): Promise<string> {
    const { TrafficMirrorFilterId: id } = await this.done('CreateTrafficMirrorFilter', parameters);
    await this.filterSettled(id);
    return id;
  }

  /** A session as it is listed; undefined when it is not there. */
  async listed(id: string): Promise<any> {
    return (await this.done('ListTrafficMirrorSessions', { TrafficMirrorSessionIds: [id] })).TrafficMirrorSessions[0];
  }

  async settled(id: string): Promise<any> {
    return until(`${id} Created`, async () => {
      const session = await this.listed(id);
      return session?.TrafficMirrorSessionStatus === 'Created' && session;
    });
  }

  async filterSettled(id: string): Promise<any> {
    return until(`${id} Created`, async () => {
      const body = await this.done('ListTrafficMirrorFilters', { TrafficMirrorFilterIds: [id] });
      return body.TrafficMirrorFilters[0]?.TrafficMirrorFilterStatus === 'Created' && body.TrafficMirrorFilters[0];
    });
  }

  async remove(id: string): Promise<void> {
    await this.done('DeleteTrafficMirrorSession', { TrafficMirrorSessionId: id });
    await until(`the end of ${id}`, async () => (await this.listed(id)) === undefined);
  }

  /** The emulator's own calls. */
  control(given: object | undefined): Promise<Answer> {
    return send(`${this.url}/_control`, 'POST', {}, JSON.stringify(given) ?? '');
  }

  async own(path: '/_log' | '/_state' | '/_control'): Promise<any> {
    return (await send(`${this.url}${path}`, 'GET', {}, '')).body;
  }

  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    const closed = new Promise((resolve) => this.#child.once('close', resolve));
    this.#child.kill(signal);
    await closed;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    rmSync(this.data, { recursive: true, force: true });
  }
}

function temporaryFolder(): string {
  return mkdtempSync(join(tmpdir(), 'vpc-test-'));
}

/** With node:http: fetch sends no Host of one's own, and no method that it does not know. */
function send(url: string, method: string, headers: Record<string, string>, body: string): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const outgoing = request(url, { method, headers: { ...headers, 'content-length': Buffer.byteLength(body) } });
    outgoing.once('error', reject);
    outgoing.once('response', (response) => {
      let text = '';
      response.on('data', (chunk: Buffer) => (text += chunk.toString()));
      response.once('error', reject);
      response.once('end', () => {
        const { statusCode: status = 0, headers: received } = response;
        resolve({ status, headers: received as Record<string, string>, text, body: parsed(text) });
      });
    });
    outgoing.end(body);
  });
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Lists and objects as the API wants them: `Name.1`, `Name.1.Key`. */
function flat(value: Value, name = ''): [string, string][] {
  if (typeof value !== 'object') return [[name, String(value)]];
  const prefix = name === '' ? '' : `${name}.`;
  const entries = Array.isArray(value) ? value.map((each, i) => [String(i + 1), each] as const) : Object.entries(value);
  return entries.flatMap(([key, each]) => flat(each, `${prefix}${key}`));
}

export type Datagram = { from: string; port: number; data: Buffer };

/** A UDP socket as the collector has one. */
export class Target implements AsyncDisposable {
  readonly #socket = createSocket('udp4');
  readonly received: Datagram[] = [];

  static async open(): Promise<Target> {
    const target = new Target();
    target.#socket.on('message', (data, { address, port }) => target.received.push({ from: address, port, data }));
    await new Promise<void>((ready) => target.#socket.bind(0, '127.0.0.1', ready));
    return target;
  }

  get address(): string {
    return `127.0.0.1:${this.#socket.address().port}`;
  }

  /** Those that came with a network number. */
  of(vni: number): Datagram[] {
    return this.received.filter(({ data }) => vniOf(data) === vni);
  }

  /** Waits for so many of them. */
  async arrived(vni: number, count: number): Promise<Datagram[]> {
    return until(`${count} packets of ${vni}`, () => this.of(vni).length >= count && this.of(vni));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await new Promise<void>((closed) => this.#socket.close(closed));
  }
}

export function vniOf(data: Buffer): number {
  return data.readUIntBE(4, 3);
}
