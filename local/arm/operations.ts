import { randomBytes, randomUUID } from 'node:crypto';
import { notFound, ok, type Answer } from './answer.ts';
import type { Operation, State } from './state.ts';

/** What an answer needs to know of the request it belongs to. */
export type Origin = { base: string; apiVersion: string };

const KEPT_OPERATIONS = 1000;

/** Long-running operations as Microsoft.Network runs them: how they are announced, polled and answered at the end. */
export class Operations {
  readonly #state: State;
  readonly #retryAfter: string;

  /** @param retryAfterSeconds the service says 10 */
  constructor(state: State, retryAfterSeconds: number) {
    this.#state = state;
    this.#retryAfter = String(retryAfterSeconds);
  }

  add(operation: Omit<Operation, 'id' | 'status' | 'correlationId' | 'serviceRequestId'>): Operation {
    const added: Operation = {
      ...operation,
      id: randomUUID(),
      status: 'InProgress',
      correlationId: randomUUID(),
      serviceRequestId: randomUUID(),
    };
    const { operations } = this.#state.content;
    operations[added.id] = added;
    const finished = Object.values(operations).filter((each) => each.status !== 'InProgress');
    for (const old of finished.slice(0, -KEPT_OPERATIONS)) delete operations[old.id];
    return added;
  }

  /** Those still running on a capture. */
  open(capture?: string): Operation[] {
    return Object.values(this.#state.content.operations).filter(
      (operation) => operation.status === 'InProgress' && (capture === undefined || operation.capture === capture),
    );
  }

  /** Headers that announce an operation, or repeat the announcement. */
  headers(
    operation: Operation,
    origin: Origin,
    links: { asyncOperation?: true; location?: true; retryAfter?: true },
  ): Record<string, string> {
    return {
      ...(links.location ? { location: signedUrl(operation, origin, 'operationResults') } : {}),
      ...(links.retryAfter ? { 'retry-after': this.#retryAfter } : {}),
      ...(links.asyncOperation ? { 'azure-asyncoperation': signedUrl(operation, origin, 'operations') } : {}),
      'azure-asyncnotification': 'Enabled',
      'x-ms-request-id': operation.id,
      'x-ms-correlation-request-id': operation.correlationId,
      'x-ms-arm-service-request-id': operation.serviceRequestId,
    };
  }

  /** GET …/operations/{id}: always 200, and nothing but the status (GUESS for a status query), with one oddity for stop. */
  poll(id: string, path: string): Answer {
    const operation = this.#state.content.operations[id.toLowerCase()];
    // GUESS: what an unknown operation is answered with.
    if (!operation) return notFound(path);
    if (operation.status === 'InProgress') return ok({ status: 'InProgress' }, { 'retry-after': this.#retryAfter });
    if (operation.status === 'Failed') return ok({ status: 'Failed', error: operation.error });
    return ok({ status: 'Succeeded', ...(operation.kind === 'stop' ? { properties: {} } : {}) });
  }

  /** GET …/operationResults/{id} (the Location). */
  result(id: string, path: string, origin: Origin): Answer {
    const operation = this.#state.content.operations[id.toLowerCase()];
    // GUESS: as above. A create announces no Location, so that its result is not there either.
    if (!operation || operation.kind === 'create') return notFound(path);
    if (operation.status === 'InProgress') {
      // Recorded for a status query that is polled too early; GUESS for stop and delete.
      const headers = this.headers(operation, origin, { asyncOperation: true, location: true, retryAfter: true });
      return { status: 202, headers, body: null };
    }
    if (operation.kind === 'status') {
      return ok(operation.result, this.headers(operation, origin, { location: true }));
    }
    const headers = this.headers(operation, origin, { asyncOperation: true, location: true });
    if (operation.kind === 'delete')
      return { status: 204, headers: { ...headers, 'content-type': 'application/json; charset=utf-8' } };
    return ok(null, headers);
  }
}

/**
 * Since 2024 the URLs carry a time, a certificate, a signature and a hash, about 3.3 KB in all. Each answer signs anew.
 * What the emulator puts there is noise of that size, and not verified.
 */
function signedUrl(operation: Operation, origin: Origin, kind: 'operations' | 'operationResults'): string {
  const path = `/subscriptions/${operation.subscription}/providers/Microsoft.Network/locations/${operation.region}/${kind}/${operation.id}`;
  const noise = (bytes: number) => randomBytes(bytes).toString('base64url');
  // .NET ticks: 100 ns since the year 1.
  const ticks = (BigInt(Date.now()) + 62_135_596_800_000n) * 10_000n;
  return `${origin.base}${path}?api-version=${origin.apiVersion}&t=${ticks}&c=${noise(1950)}&s=${noise(256)}&h=${noise(32)}`;
}
