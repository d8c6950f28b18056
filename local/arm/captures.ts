import { randomUUID } from 'node:crypto';
import { failure, notFound, ok, resourceNotFound, type Answer } from './answer.ts';
import { MANUAL, type Agent } from './agent.ts';
import { agentOf, type Inventory, type Watcher } from './inventory.ts';
import { log } from './log.ts';
import type { Operations, Origin } from './operations.ts';
import { InvalidParameter, readParameters, type Parameters, type Target } from './parameters.ts';
import type { Capture, Operation, Session, State } from './state.ts';
import { destinationOf } from './upload.ts';

/** How long the service takes, in milliseconds. */
export type Delays = {
  /** From the PUT to captureStartTime. */
  startMs: number;
  createMs: number;
  stopMs: number;
  deleteMs: number;
  /** A status query's operationResults are empty for so long. */
  statusMs: number;
};

/** `Microsoft.Network/networkWatchers/packetCaptures`: the resource and its operations, as recorded. */
export class Captures {
  readonly #state: State;
  readonly #operations: Operations;
  readonly #agent: Agent;
  readonly #inventory: Inventory;
  readonly #delays: Delays;
  readonly #finishing = new Set<string>();

  constructor(state: State, operations: Operations, agent: Agent, inventory: Inventory, delays: Delays) {
    this.#state = state;
    this.#operations = operations;
    this.#agent = agent;
    this.#inventory = inventory;
    this.#delays = delays;
  }

  /** The etag of a watcher, which all its captures share. */
  etag(watcher: string): string {
    const { etags } = this.#state.content;
    etags[watcher] ??= newEtag();
    return etags[watcher];
  }

  list(watcher: Watcher): Answer {
    const parent = watcher.id.toLowerCase();
    const captures = Object.values(this.#state.content.captures).filter((capture) => capture.watcher === parent);
    return ok({ value: captures.map((capture) => this.#resource(capture)) });
  }

  get(watcher: Watcher, name: string): Answer {
    const capture = this.#find(watcher, name);
    return capture ? ok(this.#resource(capture), { etag: this.etag(capture.watcher) }) : notFound(idOf(watcher, name));
  }

  create(watcher: Watcher, name: string, body: unknown, origin: Origin): Answer {
    // GUESS: the rule for names, and what a bad one is answered; the service documents neither.
    if (!/^[0-9a-z]([0-9a-z_.-]{0,62}[0-9a-z_])?$/i.test(name)) return invalid('packetCaptureName');
    let parameters: Parameters;
    try {
      parameters = readParameters(body);
    } catch (error) {
      if (error instanceof InvalidParameter) return invalid(error.message);
      throw error;
    }
    const id = idOf(watcher, name);
    const key = id.toLowerCase();
    if (this.#state.content.captures[key]) {
      // GUESS: documentation says that it fails, not how.
      return failure(409, 'PacketCaptureAlreadyExists', `Packet capture ${id} already exists.`, []);
    }
    const now = Date.now();
    const storagePath = parameters.storagePath ?? this.#generatedPath(parameters, name, new Date(now));
    // GUESS: a scale set's path is a folder, and the names of the files in it are not known.
    const destination = storagePath ? destinationOf(storagePath.replace(/\/$/, '/0.cap')) : undefined;
    if (storagePath && !destination) return invalid('storagePath');

    const operation = this.#operations.add({
      kind: 'create',
      ...place(watcher, origin),
      capture: key,
      dueAt: now + this.#delays.createMs,
    });
    const fault = this.#obstacle(parameters, watcher);
    const session = fault
      ? undefined
      : this.#agent.accept({
          label: `${name} on ${parameters.target.name}`,
          filters: parameters.filters,
          snapLength: parameters.bytesToCapturePerPacket,
          limitBytes: parameters.limitBytes,
          limitSeconds: parameters.limitSeconds,
          ...(destination ? { destination } : {}),
          keep: parameters.onDisk,
          startAt: now + this.#delays.startMs,
        });
    const capture: Capture = {
      id,
      name,
      watcher: watcher.id.toLowerCase(),
      provisioningState: 'Updating',
      properties: parameters.echo(storagePath),
      ...(session ? { session: session.id } : {}),
      ...(fault ? { failure: fault } : {}),
    };
    this.#state.content.captures[key] = capture;
    this.#renewEtag(capture.watcher);
    this.#state.save();
    log('arm', `PUT capture ${name} on vm ${parameters.target.name} -> accepted`);
    return {
      status: 201,
      headers: this.#operations.headers(operation, origin, { asyncOperation: true, retryAfter: true }),
      body: this.#resource(capture),
    };
  }

  /** GUESS: a second stop is accepted like the first, and succeeds; callers see no difference, says the documentation. */
  stop(watcher: Watcher, name: string, origin: Origin): Answer {
    return this.#ask('stop', watcher, name, origin) ?? notFound(idOf(watcher, name));
  }

  delete(watcher: Watcher, name: string, origin: Origin): Answer {
    return this.#ask('delete', watcher, name, origin) ?? { status: 204 };
  }

  queryStatus(watcher: Watcher, name: string, origin: Origin): Answer {
    const capture = this.#find(watcher, name);
    if (!capture) return notFound(idOf(watcher, name));
    const status = this.#status(capture);
    if (status['packetCaptureStatus'] === 'Stopped') return ok(status);
    const operation = this.#operations.add({
      kind: 'status',
      ...place(watcher, origin),
      capture: capture.id.toLowerCase(),
      dueAt: Date.now() + this.#delays.statusMs,
      result: status,
    });
    capture.lastStatusOperation = operation.id;
    this.#state.save();
    const headers = this.#operations.headers(operation, origin, { location: true, retryAfter: true });
    return { status: 202, headers, body: status };
  }

  /** Completes the operations that are due. To be called all the time. */
  tick(now: number): void {
    for (const operation of this.#operations.open()) {
      if (operation.dueAt > now || this.#finishing.has(operation.id)) continue;
      this.#finishing.add(operation.id);
      void this.#finish(operation).finally(() => this.#finishing.delete(operation.id));
    }
  }

  async #finish(operation: Operation): Promise<void> {
    const { captures, sessions } = this.#state.content;
    const capture = captures[operation.capture];
    const session = capture?.session ? sessions[capture.session] : undefined;
    switch (operation.kind) {
      case 'create':
        // Succeeded means that packets are being captured.
        if (session?.phase === 'pending') return;
        if (capture) this.#created(operation, capture, session);
        break;
      case 'stop':
        if (session) await this.#agent.end(session.id, MANUAL);
        if (capture) log('arm', `POST stop ${capture.name} -> stopped`);
        break;
      case 'delete':
        // GUESS: deleting a running capture ends it like a stop, and its file still arrives.
        if (session) {
          await this.#agent.end(session.id, MANUAL);
          session.released = true;
        }
        delete captures[operation.capture];
        if (capture) log('arm', `DELETE capture ${capture.name} -> gone`);
        break;
      case 'status':
        break;
    }
    if (operation.status === 'InProgress') operation.status = 'Succeeded';
    if (capture && operation.kind !== 'status') this.#renewEtag(capture.watcher);
    this.#state.save();
  }

  #created(operation: Operation, capture: Capture, session: Session | undefined): void {
    if (session && session.startedAt === undefined) {
      // GUESS: the service's generic failure, recorded for another operation.
      capture.failure = { code: 'InternalServerError', message: 'An error occurred.' };
    }
    if (capture.failure) {
      operation.status = 'Failed';
      operation.error = { ...capture.failure, details: [] };
    }
    if (capture.provisioningState === 'Updating') capture.provisioningState = capture.failure ? 'Failed' : 'Succeeded';
    log('arm', `PUT capture ${capture.name} -> ${capture.failure?.code ?? 'running'}`);
  }

  /** Begins a stop or a delete; it waits for operations already under way. */
  #ask(kind: 'stop' | 'delete', watcher: Watcher, name: string, origin: Origin): Answer | undefined {
    const capture = this.#find(watcher, name);
    if (!capture) return undefined;
    const key = capture.id.toLowerCase();
    const earlier = this.#operations.open(key).filter((operation) => operation.kind !== 'status');
    const begin = Math.max(Date.now(), ...earlier.map((operation) => operation.dueAt));
    const operation = this.#operations.add({
      kind,
      ...place(watcher, origin),
      capture: key,
      dueAt: begin + (kind === 'stop' ? this.#delays.stopMs : this.#delays.deleteMs),
    });
    // GUESS: a declared state that no recording shows.
    if (kind === 'delete') capture.provisioningState = 'Deleting';
    this.#state.save();
    const links = { asyncOperation: true, location: true, retryAfter: true } as const;
    return { status: 202, headers: this.#operations.headers(operation, origin, links) };
  }

  /**
   * Why a capture cannot start.
   *
   * GUESS: all of it. That such a create is accepted and then fails, leaving the resource as Failed, is how the
   * captures look that did fail; the codes are made up, and so is that the region must be the watcher's.
   */
  #obstacle(parameters: Parameters, watcher: Watcher): Capture['failure'] {
    const { target } = parameters;
    if (!parameters.filtersUnderstood) return { code: 'InvalidFilter', message: 'A filter value is malformed.' };
    if (!this.#inventory.hasSubscription(target.subscription)) return missing(target);
    if (target.type === 'AzureVMSS') return undefined;
    const vm = this.#inventory.machine(target.subscription, target.resourceGroup, target.name);
    if (!vm) return missing(target);
    if (vm.region !== watcher.region) {
      return { code: 'TargetNotInRegion', message: `Target ${target.id} is not in region ${watcher.region}.` };
    }
    if (agentOf(vm)?.provisioningState !== 'Succeeded') {
      return { code: 'NetworkWatcherAgentNotReady', message: `The agent is not installed or failed on ${target.id}.` };
    }
    return undefined;
  }

  #status(capture: Capture): Record<string, unknown> {
    const session = capture.session ? this.#state.content.sessions[capture.session] : undefined;
    const named = { name: capture.name, id: capture.id };
    const started =
      session?.startedAt === undefined ? {} : { captureStartTime: serviceTime(session.startedAt, session.id) };
    if (capture.failure && capture.provisioningState !== 'Updating') {
      // GUESS: what a capture says that never started; the members are those recorded for an agent that died.
      const errors = ['AgentStopped'];
      return { ...named, packetCaptureStatus: 'Stopped', stopReason: 'Error', packetCaptureError: errors };
    }
    switch (session?.phase) {
      case 'running':
        return { ...named, ...started, packetCaptureStatus: 'Running', packetCaptureError: [] };
      case 'ended':
      case 'done':
        return {
          ...named,
          ...started,
          packetCaptureStatus: 'Stopped',
          stopReason: session.stopReason,
          packetCaptureError: session.errors,
        };
      default:
        // GUESS: declared, never recorded.
        return { ...named, packetCaptureStatus: 'NotStarted', packetCaptureError: [] };
    }
  }

  #resource(capture: Capture): object {
    return {
      name: capture.name,
      id: capture.id,
      etag: this.etag(capture.watcher),
      properties: {
        provisioningState: capture.provisioningState,
        ...capture.properties,
        ...(capture.lastStatusOperation ? { queryPacketCaptureLastOperationId: capture.lastStatusOperation } : {}),
      },
      type: 'Microsoft.Network/networkWatchers/packetCaptures',
    };
  }

  /** As recorded: lower case, UTC, the target's resource group; `""` when only a file on the VM was asked for. */
  #generatedPath(parameters: Parameters, name: string, at: Date): string {
    if (parameters.storageId === undefined) return '';
    const account = parameters.storageId.split('/').at(-1);
    const { target } = parameters;
    const [day = '', time = ''] = at.toISOString().slice(0, -1).split('T');
    const stamp = `${day.replaceAll('-', '/')}/packetcapture_${time.replace(/[:.]/g, '_')}`;
    const root = `https://${account}.blob.core.windows.net/network-watcher-logs${target.id.toLowerCase()}/${stamp}`;
    return target.type === 'AzureVMSS' && target.instance === undefined ? `${root}/${name}/` : `${root}.cap`;
  }

  #find(watcher: Watcher, name: string): Capture | undefined {
    return this.#state.content.captures[idOf(watcher, name).toLowerCase()];
  }

  #renewEtag(watcher: string): void {
    this.#state.content.etags[watcher] = newEtag();
  }
}

export function watcherNotFound(resourceGroup: string, name: string): Answer {
  return resourceNotFound('Microsoft.Network/networkWatchers', name, resourceGroup);
}

function idOf(watcher: Watcher, name: string): string {
  return `${watcher.id}/packetCaptures/${name}`;
}

function place(watcher: Watcher, origin: Origin): Pick<Operation, 'subscription' | 'region' | 'apiVersion'> {
  return { subscription: watcher.subscription, region: watcher.region, apiVersion: origin.apiVersion };
}

function missing(target: Target): { code: string; message: string } {
  return { code: 'ResourceNotFound', message: `The resource ${target.id} was not found.` };
}

/** GUESS: see parameters.ts. */
function invalid(name: string): Answer {
  return {
    status: 400,
    body: { error: { code: 'InvalidParameter', message: `The value of parameter ${name} is invalid.`, target: name } },
  };
}

function newEtag(): string {
  return `W/"${randomUUID()}"`;
}

/** ISO time with seven digits, trailing zeros dropped, as the service writes it. @param seed makes up the last four digits */
function serviceTime(ms: number, seed: string): string {
  const hundredNanoseconds = Number.parseInt(seed.slice(0, 4), 16) % 10_000;
  const digits = `${String(ms % 1000).padStart(3, '0')}${String(hundredNanoseconds).padStart(4, '0')}`.replace(
    /0+$/,
    '',
  );
  return `${new Date(ms).toISOString().slice(0, 19)}${digits ? `.${digits}` : ''}Z`;
}
