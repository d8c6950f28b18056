import { failure, invalidParameter, notFound, ok, resourceNotFound, type Answer } from './answer.ts';
import type { Agent } from './agent.ts';
import { FAILED } from './capture-work.ts';
import { statusOf } from './capture-status.ts';
import { etagOf, renewEtag } from './etags.ts';
import { faultsOf, type MachineFaults } from './faults.ts';
import type { Inventory, Watcher } from './inventory.ts';
import { log } from './log.ts';
import { obstacle, type Obstacle } from './obstacle.ts';
import type { Operations, Origin } from './operations.ts';
import { InvalidParameter, knowsContinuous, namesOf, readParameters, type Parameters } from './parameters.ts';
import type { Capture, CapturedMachine, Operation, State } from './state.ts';
import { destinationFor, generatedPath } from './storage-path.ts';
import { machinesOf } from './targets.ts';
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

  constructor(state: State, operations: Operations, agent: Agent, inventory: Inventory, delays: Delays) {
    this.#state = state;
    this.#operations = operations;
    this.#agent = agent;
    this.#inventory = inventory;
    this.#delays = delays;
  }

  list(watcher: Watcher, { apiVersion }: Origin): object[] {
    const parent = watcher.id.toLowerCase();
    const captures = Object.values(this.#state.content.captures).filter((capture) => capture.watcher === parent);
    return captures.map((capture) => this.#resource(capture, apiVersion));
  }

  get(watcher: Watcher, name: string, { apiVersion }: Origin): Answer {
    const capture = this.#find(watcher, name);
    if (!capture) return notFound(idOf(watcher, name));
    return ok(this.#resource(capture, apiVersion), { etag: etagOf(this.#state, capture.watcher) });
  }

  /** By which names faults know what a capture runs on. */
  names(watcher: Watcher, name: string): string[] {
    const capture = this.#find(watcher, name);
    return capture ? namesOf(capture.target) : [];
  }

  create(watcher: Watcher, name: string, body: unknown, origin: Origin): Answer {
    // GUESS: the rule for names, and what a bad one is answered; the service documents neither.
    if (!/^[0-9a-z]([0-9a-z_.-]{0,62}[0-9a-z_])?$/i.test(name)) return invalidParameter('packetCaptureName');
    let parameters: Parameters;
    try {
      parameters = readParameters(body, origin.apiVersion);
    } catch (error) {
      if (error instanceof InvalidParameter) return invalidParameter(error.message);
      throw error;
    }
    const id = idOf(watcher, name);
    const key = id.toLowerCase();
    const faults = this.#faults(namesOf(parameters.target));
    if (this.#state.content.captures[key]) {
      // GUESS: documentation says that it fails, not how.
      return failure(faults.nameTaken, 'PacketCaptureAlreadyExists', `Packet capture ${id} already exists.`, []);
    }
    const limit = this.#state.content.faults.sessionLimit;
    if (this.#sessionsOf(watcher) >= limit) {
      // GUESS: by analogy with what is recorded for a second watcher.
      const message = `Cannot create more than ${limit} packet captures for this subscription in this region.`;
      return failure(400, 'PacketCaptureCountLimitReached', message, []);
    }
    const now = Date.now();
    const storagePath = parameters.storagePath ?? generatedPath(parameters, name, new Date(now));
    const destination = storagePath ? destinationOf(storagePath) : undefined;
    if (storagePath && !destination) return invalidParameter('storagePath');

    const operation = this.#begin('create', watcher, key, origin, namesOf(parameters.target), now);
    const refused = faultOnCreate(faults) ?? obstacle(parameters, watcher, this.#inventory);
    const machines = machinesOf(parameters, this.#inventory).map(({ exists, ...machine }): CapturedMachine => {
      if (refused || !exists) return machine;
      const session = this.#agent.accept({
        label: `${name} on ${machine.names.at(-1)}`,
        names: machine.names,
        filters: parameters.filters,
        snapLength: parameters.bytesToCapturePerPacket,
        limitBytes: parameters.limitBytes,
        limitSeconds: parameters.limitSeconds,
        ...(parameters.ringFiles === undefined ? {} : { ringFiles: parameters.ringFiles }),
        ...(destination ? { destination: destinationFor(parameters, destination, fileNameOf(machine)) } : {}),
        keep: parameters.onDisk,
        startAt: now + this.#delays.startMs,
      });
      return { ...machine, session: session.id };
    });
    const capture: Capture = {
      id,
      name,
      watcher: watcher.id.toLowerCase(),
      target: parameters.target,
      provisioningState: 'Updating',
      properties: parameters.echo(storagePath),
      machines,
      createdAt: now,
      ...(refused ? { failure: refused } : {}),
    };
    this.#state.content.captures[key] = capture;
    renewEtag(this.#state, capture.watcher);
    this.#state.save();
    log('arm', `PUT capture ${name} on ${parameters.target.name} -> accepted`);
    return {
      status: 201,
      headers: this.#operations.headers(operation, origin, { asyncOperation: true, retryAfter: true }),
      body: this.#resource(capture, origin.apiVersion),
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
    const names = namesOf(capture.target);
    const faults = this.#faults(names);
    const status = statusOf(
      capture,
      capture.machines.map((machine) => ({
        id: machine.id,
        session: this.#state.session(machine),
        gone: this.#faults(machine.names).machine === 'gone',
      })),
      faults.startTime,
    );
    if (status['packetCaptureStatus'] === 'Stopped' && faults.status === 'normal') return ok(status);
    const dueAt = Date.now() + this.#delays.statusMs;
    const operation = this.#operations.add({
      kind: 'status',
      ...place(watcher, origin),
      resource: capture.id.toLowerCase(),
      names,
      dueAt,
      result: status,
    });
    capture.lastStatusOperation = operation.id;
    this.#state.save();
    const headers = this.#operations.headers(operation, origin, { location: true, retryAfter: true });
    return { status: 202, headers, body: faults.status === 'null' ? null : status };
  }

  /** Begins a stop or a delete; it waits for operations already under way. */
  #ask(kind: 'stop' | 'delete', watcher: Watcher, name: string, origin: Origin): Answer | undefined {
    const capture = this.#find(watcher, name);
    if (!capture) return undefined;
    const key = capture.id.toLowerCase();
    const earlier = this.#operations.open(key).filter((operation) => operation.kind !== 'status');
    const from = Math.max(Date.now(), ...earlier.map((operation) => operation.dueAt));
    const operation = this.#begin(kind, watcher, key, origin, namesOf(capture.target), from);
    // GUESS: a declared state that no recording shows.
    if (kind === 'delete') capture.provisioningState = 'Deleting';
    this.#state.save();
    const links = { asyncOperation: true, location: true, retryAfter: true } as const;
    return { status: 202, headers: this.#operations.headers(operation, origin, links) };
  }

  #begin(
    kind: 'create' | 'stop' | 'delete',
    watcher: Watcher,
    resource: string,
    origin: Origin,
    names: string[],
    from: number,
  ): Operation {
    const { operationSeconds } = this.#faults(names);
    const usual = { create: this.#delays.createMs, stop: this.#delays.stopMs, delete: this.#delays.deleteMs }[kind];
    const dueAt = from + (operationSeconds === null ? usual : operationSeconds * 1000);
    return this.#operations.add({ kind, ...place(watcher, origin), resource, names, dueAt });
  }

  /** Captures in a watcher's region and subscription that have not ended. */
  #sessionsOf(watcher: Watcher): number {
    const parent = watcher.id.toLowerCase();
    return Object.values(this.#state.content.captures).filter(
      (capture) =>
        capture.watcher === parent &&
        capture.machines.some((machine) => {
          const phase = this.#state.session(machine)?.phase;
          return phase === 'pending' || phase === 'running';
        }),
    ).length;
  }

  #faults(names: string[]): MachineFaults {
    return faultsOf(this.#state.content.faults, names);
  }

  #resource(capture: Capture, apiVersion: string): object {
    return {
      name: capture.name,
      id: capture.id,
      etag: etagOf(this.#state, capture.watcher),
      properties: {
        provisioningState: capture.provisioningState,
        ...shown(capture.properties, apiVersion),
        ...(capture.lastStatusOperation ? { queryPacketCaptureLastOperationId: capture.lastStatusOperation } : {}),
      },
      type: 'Microsoft.Network/networkWatchers/packetCaptures',
    };
  }

  #find(watcher: Watcher, name: string): Capture | undefined {
    return this.#state.content.captures[idOf(watcher, name).toLowerCase()];
  }
}

export function watcherNotFound(resourceGroup: string, name: string): Answer {
  return resourceNotFound('Microsoft.Network/networkWatchers', name, resourceGroup);
}

function faultOnCreate({ create }: MachineFaults): Obstacle | undefined {
  if (create === 'fail') return FAILED;
  return typeof create === 'object' ? create : undefined;
}

/** The service echoes by api-version: older ones do not show what came later. */
function shown(properties: Record<string, unknown>, apiVersion: string): Record<string, unknown> {
  if (knowsContinuous(apiVersion)) return properties;
  const { continuousCapture: _, captureSettings: __, ...older } = properties;
  const { localPath: ___, ...location } = older['storageLocation'] as Record<string, unknown>;
  return { ...older, storageLocation: location };
}

function idOf(watcher: Watcher, name: string): string {
  return `${watcher.id}/packetCaptures/${name}`;
}

/** `frontend_1`, for an instance of a scale set. */
function fileNameOf(machine: { names: string[] }): string {
  return (machine.names.at(-1) ?? '').replace('/', '_');
}

function place(watcher: Watcher, origin: Origin): Pick<Operation, 'subscription' | 'region' | 'apiVersion'> {
  return { subscription: watcher.subscription, region: watcher.region, apiVersion: origin.apiVersion };
}
