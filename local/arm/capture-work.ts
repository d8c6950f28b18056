import { MANUAL, type Agent } from './agent.ts';
import { renewEtag } from './etags.ts';
import { faultsOf, type MachineFaults } from './faults.ts';
import { log } from './log.ts';
import type { Obstacle } from './obstacle.ts';
import type { Operations } from './operations.ts';
import type { Capture, Operation, State } from './state.ts';

/** GUESS: the service's generic failure, recorded for another operation. */
export const FAILED: Obstacle = { code: 'InternalServerError', message: 'An error occurred.' };

/** What becomes of the operations on captures when their time has come. */
export class CaptureWork {
  readonly #state: State;
  readonly #operations: Operations;
  readonly #agent: Agent;
  readonly #finishing = new Set<string>();

  constructor(state: State, operations: Operations, agent: Agent) {
    this.#state = state;
    this.#operations = operations;
    this.#agent = agent;
  }

  /** Completes the operations that are due. To be called all the time. */
  tick(now: number): void {
    for (const operation of this.#operations.open()) {
      if (operation.kind === 'install' || operation.dueAt > now || this.#finishing.has(operation.id)) continue;
      if (this.#faults(operation.names).hold) continue;
      this.#finishing.add(operation.id);
      void this.#finish(operation).finally(() => this.#finishing.delete(operation.id));
    }
  }

  async #finish(operation: Operation): Promise<void> {
    const capture = this.#state.content.captures[operation.resource];
    switch (operation.kind) {
      case 'create':
        if (!capture) operation.status = 'Canceled';
        // Succeeded means that packets are being captured.
        else if (this.#isStarting(capture)) return;
        else this.#created(operation, capture);
        break;
      case 'stop':
        if (capture) await this.#stopped(operation, capture);
        break;
      case 'delete':
        if (capture) await this.#deleted(operation, capture);
        break;
      case 'status':
      case 'install':
        break;
    }
    if (operation.status === 'InProgress') operation.status = 'Succeeded';
    operation.endedAt = Date.now();
    if (capture && operation.kind !== 'status') renewEtag(this.#state, capture.watcher);
    this.#state.saveSoon();
  }

  #created(operation: Operation, capture: Capture): void {
    const sessions = capture.machines.flatMap((machine) => this.#state.session(machine) ?? []);
    if (sessions.length > 0 && sessions.every((session) => session.startedAt === undefined)) {
      capture.failure = FAILED;
    }
    if (capture.failure) fail(operation, capture.failure);
    if (capture.provisioningState === 'Updating') capture.provisioningState = capture.failure ? 'Failed' : 'Succeeded';
    log('arm', `PUT capture ${capture.name} -> ${capture.failure?.code ?? 'running'}`);
  }

  async #stopped(operation: Operation, capture: Capture): Promise<void> {
    const fault = this.#faults(operation.names).stop;
    if (fault === 'fail') fail(operation, FAILED);
    if (fault === 'normal') await this.#endAll(capture);
    log('arm', `POST stop ${capture.name} -> ${fault === 'normal' ? 'stopped' : fault}`);
  }

  async #deleted(operation: Operation, capture: Capture): Promise<void> {
    if (this.#faults(operation.names).delete === 'fail') {
      fail(operation, FAILED);
      // GUESS: it is as it was.
      capture.provisioningState = capture.failure ? 'Failed' : 'Succeeded';
      return;
    }
    // GUESS: deleting a running capture ends it like a stop, and its file still arrives.
    await this.#endAll(capture);
    for (const { session } of capture.machines) if (session) this.#agent.release(session);
    delete this.#state.content.captures[operation.resource];
    log('arm', `DELETE capture ${capture.name} -> gone`);
  }

  async #endAll(capture: Capture): Promise<void> {
    await Promise.all(capture.machines.map(async ({ session }) => session && this.#agent.end(session, MANUAL)));
  }

  #isStarting(capture: Capture): boolean {
    return capture.machines.some((machine) => this.#state.session(machine)?.phase === 'pending');
  }

  #faults(names: string[]): MachineFaults {
    return faultsOf(this.#state.content.faults, names);
  }
}

function fail(operation: Operation, { code, message }: Obstacle): void {
  operation.status = 'Failed';
  operation.error = { code, message, details: [] };
}
