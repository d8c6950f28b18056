import { until } from '../until.ts';
import type { Answer, Emulator } from './harness.ts';
import { NOBODY, kindOf, operationOf, type Exchange, type Recording } from './recordings.ts';

/**
 * Asks the emulator what a recording asks the real service, after bringing about the situation that the recorded answer
 * shows: what it lists is there, what it says has happened.
 *
 * Each recording has a subscription to itself. Recorded ids stand for the emulator's: its watcher in westus2, and `vm1`
 * for a machine of its own, without an agent where the recording installs one.
 */
export class Replay {
  readonly #emulator: Emulator;
  readonly #recording: Recording;
  readonly #subscription: string;
  readonly #installs: boolean;
  #watcher = '';
  /** URLs of the operations that stand for recorded ones. */
  readonly #operations = new Map<string, { operation: string; result: string; target: string }>();
  /** Captures that were made, by name, and the last part of their target's id. */
  readonly #targets = new Map<string, string>();
  /** What is to become of captures that were made. */
  readonly #statuses = new Map<string, any>();

  constructor(emulator: Emulator, recording: Recording, subscription: string) {
    this.#emulator = emulator;
    this.#recording = recording;
    this.#subscription = subscription;
    this.#installs = recording.exchanges.some((exchange) => kindOf(exchange) === 'extension');
  }

  /** Makes everything that the recording finds and does not make itself. */
  async prepare(): Promise<void> {
    const watchers = await this.#emulator.arm(
      'GET',
      `/subscriptions/${this.#subscription}/providers/Microsoft.Network/networkWatchers`,
    );
    this.#watcher = watchers.body.value.find((each: any) => each.location === 'westus2').id;
    const { exchanges } = this.#recording;
    const of = (kind: string) => exchanges.filter((exchange) => kindOf(exchange) === kind);
    const made = new Set(of('capture').flatMap((each) => (each.method === 'PUT' ? nameIn(each) : [])));
    const listed = of('list').flatMap((each) => each.responseBody.value);
    const shown = of('capture').flatMap((each) => (each.status === 200 ? each.responseBody : []));
    const told = [...of('status'), ...of('stop')].map((each) => ({ name: nameIn(each) }));
    for (const { name, properties } of [...listed, ...shown, ...told]) {
      if (!made.has(name)) await this.#make(name, properties, this.#statusOf(name));
      made.add(name);
    }
    await this.#untilSettled();
    const first = of('extension')[0];
    if (first?.method === 'GET') await this.#put(first.path, { properties: AGENT });
    // What the recording asks about and does not begin.
    const begun = new Set(exchanges.flatMap((each) => (each.method === 'GET' ? [] : (operationOf(each) ?? []))));
    for (const each of [...of('operation'), ...of('result')]) {
      const id = operationOf(each) ?? '';
      if (!begun.has(id)) await this.#beginUnseen(id);
      begun.add(id);
    }
  }

  /** Makes any capture that runs. */
  async make(name: string): Promise<void> {
    await this.#make(name, undefined, undefined);
    await this.#untilSettled();
  }

  /** The path of a capture, or of a call of it. */
  capture(name: string): string {
    return `${this.#watcher}/packetCaptures/${name}`;
  }

  /** Takes everything away again. */
  async clear(): Promise<void> {
    await this.#emulator.clear(this.#watcher);
  }

  /** The emulator's answer to a recorded question. */
  async ask(exchange: Exchange): Promise<Answer> {
    const kind = kindOf(exchange);
    if (kind === 'operation' || kind === 'compute-operation') return this.#poll(exchange, 'operation');
    if (kind === 'result') return this.#poll(exchange, 'result');
    if (kind === 'list') await this.#leave(exchange.responseBody.value.map((each: any) => each.name));
    if (kind === 'capture' && (exchange.status === 404 || exchange.status === 204))
      await this.#remove(nameIn(exchange));
    const target = this.#targetOf(exchange);
    const id = operationOf(exchange);
    if (id && target) await this.#hold(target, this.#isSlow(id));
    if (kind === 'extension' && exchange.method === 'GET') await this.#untilInstalled(exchange.path);
    const answer = await this.#emulator.arm(
      exchange.method,
      this.#path(exchange.path),
      this.#bodyOf(exchange),
      exchange.apiVersion,
    );
    if (id && target) this.#remember(id, answer, target);
    return answer;
  }

  /** A recorded value as the emulator would say it. */
  translate<T>(value: T): T {
    if (value === null || value === undefined) return value;
    const text = JSON.stringify(value)
      .replaceAll(/\/resourceGroups\/[^/"]+\/providers\/Microsoft.Network\/networkWatchers\/[^/"]+/g, WATCHER)
      .replaceAll(NOBODY, this.#subscription)
      .replaceAll(new RegExp(`/subscriptions/${this.#subscription}${WATCHER}`, 'g'), this.#watcher);
    const own = `${this.#recording.name.slice(0, 'cli-2017'.length)}-vm1${this.#installs ? '-noagent' : ''}`;
    return JSON.parse(text.replaceAll(/\/virtualMachines\/vm1\b/g, `/virtualMachines/${own}`));
  }

  #path(path: string): string {
    return this.translate(path);
  }

  #bodyOf(exchange: Exchange): unknown {
    if (exchange.requestBody) return this.translate(exchange.requestBody);
    // Not every recorder kept what was asked for.
    if (exchange.method === 'PUT') return { properties: this.translate(requestFor(exchange.responseBody.properties)) };
    return undefined;
  }

  /** Asks about an operation: once while it is under way, or until it is over. */
  async #poll(exchange: Exchange, kind: 'operation' | 'result'): Promise<Answer> {
    const known = this.#operations.get(operationOf(exchange) ?? '');
    if (!known) throw new Error(`${exchange.at} asks about an operation that was not begun`);
    const underWay = exchange.status === 202 || exchange.responseBody?.status === 'InProgress';
    await this.#hold(known.target, underWay);
    return underWay ? this.#emulator.arm('GET', known[kind]) : this.#emulator.over(known[kind]);
  }

  async #untilInstalled(path: string): Promise<void> {
    await this.#hold(/\/virtualMachines\/([^/]+)/i.exec(this.#path(path))?.[1] ?? '', false);
    await until('the extension', async () => {
      const { body } = await this.#emulator.arm('GET', this.#path(path));
      return body.properties.provisioningState === 'Succeeded';
    });
  }

  /** Whether the first question about an operation finds it under way. */
  #isSlow(id: string): boolean {
    const first = this.#recording.exchanges.find(
      (each) => each.method === 'GET' && operationOf(each) === id && kindOf(each) !== 'other',
    );
    return first?.status === 202 || first?.responseBody?.status === 'InProgress';
  }

  async #hold(target: string, hold: boolean): Promise<void> {
    await this.#emulator.control({ machines: { [target]: hold ? { hold } : null } });
  }

  #remember(id: string, answer: Answer, target: string): void {
    const operation = answer.headers.get('azure-asyncoperation') ?? '';
    this.#operations.set(id, { operation, result: answer.headers.get('location') ?? '', target });
  }

  #targetOf(exchange: Exchange): string | undefined {
    const machine = /\/virtualMachines\/([^/]+)/i.exec(this.#path(exchange.path))?.[1];
    if (machine) return machine;
    if (kindOf(exchange) === 'capture' && exchange.method === 'PUT') {
      const { target } = this.translate(exchange.responseBody.properties);
      this.#targets.set(nameIn(exchange), nameOf(target));
    }
    return this.#targets.get(nameIn(exchange));
  }

  /** Makes a capture as an answer shows it (or any, if none does), and lets happen what a status says of it. */
  async #make(name: string, shown: any, status: any): Promise<void> {
    const properties = shown ?? propertiesFor(name, status);
    const request = this.translate(requestFor(properties));
    const target = nameOf(request['target']);
    this.#targets.set(name, target);
    const fails = properties.provisioningState === 'Failed';
    if (fails) await this.#emulator.control({ machines: { [target]: { create: 'fail' } } });
    await this.#put(this.capture(name), { properties: request });
    if (fails) await this.#emulator.control({ machines: { [target]: null } });
    if ('queryPacketCaptureLastOperationId' in properties)
      await this.#emulator.arm('POST', this.capture(`${name}/queryStatus`));
    if (status) this.#statuses.set(name, status);
  }

  /** Lets happen what a status says. */
  async #happen(name: string, status: any): Promise<void> {
    const machine = (faults: object) =>
      this.#emulator.control({ machines: { [this.#targets.get(name) ?? '']: faults } });
    if (goneIn(status).length > 0) await machine({ machine: 'gone' });
    if (status.stopReason === 'Error') await machine({ errors: status.packetCaptureError });
    if (status.stopReason === 'Manual') await this.#emulator.arm('POST', this.capture(`${name}/stop`));
  }

  /** What is said of a capture, by itself or as the result of a question. */
  #statusOf(name: string): any {
    const bodies = this.#recording.exchanges.map((each) => each.responseBody);
    return bodies.find((body) => body?.name === name && body.packetCaptureStatus);
  }

  /** Waits until everything that was made is what it is to be. */
  async #untilSettled(): Promise<void> {
    await until('every capture to be made', async () => {
      const { body } = await this.#emulator.arm('GET', `${this.#watcher}/packetCaptures`);
      return body.value.every((each: any) => each.properties.provisioningState !== 'Updating');
    });
    for (const [name, status] of this.#statuses) await this.#happen(name, status);
    for (const [name, status] of this.#statuses) {
      await until(`${name} ${status.packetCaptureStatus}`, async () => {
        const { body } = await this.#emulator.arm('POST', this.capture(`${name}/queryStatus`));
        return body.packetCaptureStatus === status.packetCaptureStatus;
      });
    }
  }

  /** Begins an operation that a recording asks about, though what began it was not copied. */
  async #beginUnseen(id: string): Promise<void> {
    const bodies = this.#recording.exchanges.filter((each) => operationOf(each) === id);
    const name = bodies.find((each) => each.responseBody?.packetCaptureStatus)?.responseBody.name;
    const capture = this.capture(name ?? 'unseen');
    if (!name) await this.#make('unseen', undefined, undefined);
    const answer = name
      ? await this.#emulator.arm('POST', `${capture}/queryStatus`)
      : await this.#emulator.arm('DELETE', capture);
    this.#remember(id, answer, this.#targets.get(name ?? 'unseen') ?? '');
  }

  /** Takes away every capture but the named ones. */
  async #leave(names: string[]): Promise<void> {
    const { body } = await this.#emulator.arm('GET', `${this.#watcher}/packetCaptures`);
    for (const { name } of body.value) if (!names.includes(name)) await this.#remove(name);
  }

  async #remove(name: string): Promise<void> {
    const path = this.capture(name);
    const target = this.#targets.get(name);
    if (target) await this.#hold(target, false);
    await until(`${name} to be gone`, async () => {
      if ((await this.#emulator.arm('GET', path)).status === 404) return true;
      await this.#emulator.arm('DELETE', path);
      return false;
    });
  }

  async #put(path: string, body: unknown): Promise<void> {
    const answer = await this.#emulator.arm('PUT', this.#path(path), this.translate(body));
    if (answer.status !== 201) throw new Error(`${path}: ${answer.status} ${answer.text}`);
  }
}

const WATCHER = '/the-watcher';

/** For a capture of which only its status is known. */
function propertiesFor(name: string, status: any): any {
  const gone = goneIn(status);
  const group = `/subscriptions/${NOBODY}/resourceGroups/rg/providers/Microsoft.Compute`;
  const named = gone.length > 0 ? status.packetCaptureError[0].replace(/\/virtualMachines\/.*$/, '') : undefined;
  const set = named ?? (/^\d VM/.test(status?.stopReason ?? '') ? `${group}/virtualMachineScaleSets/set-${name}` : '');
  return {
    target: set || `${group}/virtualMachines/vm-${name}`,
    targetType: set ? 'AzureVMSS' : 'AzureVM',
    scope: { include: gone, exclude: [] },
    timeLimitInSeconds: status?.stopReason?.includes('TimeExceeded') ? 1 : 18_000,
    storageLocation: { filePath: '/var/captures/x.cap' },
    filters: [],
  };
}

/** The instances that a status says are not there any more. */
function goneIn(status: any): string[] {
  const errors: string[] = status?.packetCaptureError ?? [];
  return errors.flatMap((error) => /\/virtualMachines\/(\d+) does not exist/.exec(error)?.[1] ?? []);
}

const AGENT = {
  publisher: 'Microsoft.Azure.NetworkWatcher',
  type: 'NetworkWatcherAgentLinux',
  typeHandlerVersion: '1.4',
  autoUpgradeMinorVersion: true,
};

/** What must have been asked for to get these properties. A path in storage is never asked for: all recorded ones are generated. */
function requestFor(properties: any): Record<string, unknown> {
  const { provisioningState: _, queryPacketCaptureLastOperationId: __, storageLocation, ...asked } = properties;
  const { storagePath: ___, ...location } = storageLocation;
  return { ...asked, storageLocation: location };
}

function nameIn(exchange: Exchange): string {
  return /\/packetCaptures\/([^/]+)/i.exec(exchange.path)?.[1] ?? '';
}

/** By which faults know a target. */
function nameOf(target: unknown): string {
  return /\/virtualMachine(?:ScaleSet)?s\/([^/]+)/i.exec(String(target))?.[1] ?? '';
}
