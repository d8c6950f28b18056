import { randomUUID } from 'node:crypto';
import { failure, notFound, ok, type Answer } from './answer.ts';
import { isSigned, signature } from './signing.ts';
import type { Operation, State } from './state.ts';

/** What an answer needs to know of the request it belongs to. */
export type Origin = { base: string; apiVersion: string };

/** A question about an operation. */
export type Poll = { id: string; path: string; query: URLSearchParams; origin: Origin };

/** Finished operations that are still known. Status queries are many, and soon forgotten. */
const KEPT = 500;
const KEPT_STATUSES = 100;

/** Long-running operations as Microsoft.Network and Microsoft.Compute run them: how they are announced, polled and answered at the end. */
export class Operations {
  readonly #state: State;
  readonly #retryAfter: string;

  /** @param retryAfterSeconds the service says 10 */
  constructor(state: State, retryAfterSeconds: number) {
    this.#state = state;
    this.#retryAfter = String(retryAfterSeconds);
  }

  add(operation: Omit<Operation, 'id' | 'status' | 'startedAt' | 'correlationId' | 'serviceRequestId'>): Operation {
    const added: Operation = {
      ...operation,
      id: randomUUID(),
      status: 'InProgress',
      startedAt: Date.now(),
      correlationId: randomUUID(),
      serviceRequestId: randomUUID(),
    };
    const { operations } = this.#state.content;
    operations[added.id] = added;
    const finished = Object.values(operations).filter((each) => each.status !== 'InProgress');
    const statuses = finished.filter((each) => each.kind === 'status');
    const others = finished.filter((each) => each.kind !== 'status');
    const old = [...statuses.slice(0, -KEPT_STATUSES), ...others.slice(0, -KEPT)];
    for (const { id } of old) delete operations[id];
    return added;
  }

  /** Those still running on a resource. */
  open(resource?: string): Operation[] {
    return Object.values(this.#state.content.operations).filter(
      (operation) => operation.status === 'InProgress' && (resource === undefined || operation.resource === resource),
    );
  }

  find(id: string): Operation | undefined {
    return this.#state.content.operations[id.toLowerCase()];
  }

  /** Headers that announce an operation, or repeat the announcement. */
  headers(
    operation: Operation,
    origin: Origin,
    links: { asyncOperation?: true; location?: true; retryAfter?: true },
  ): Record<string, string> {
    return {
      ...(links.location ? { location: this.#url(operation, origin, 'operationResults') } : {}),
      ...(links.retryAfter ? { 'retry-after': this.#retryAfter } : {}),
      ...(links.asyncOperation ? { 'azure-asyncoperation': this.#url(operation, origin, 'operations') } : {}),
      'azure-asyncnotification': 'Enabled',
      'x-ms-request-id': operation.id,
      'x-ms-correlation-request-id': operation.correlationId,
      'x-ms-arm-service-request-id': operation.serviceRequestId,
    };
  }

  /** GET …/operations/{id}: always 200, and nothing but the status (GUESS for a status query), with one oddity for stop. */
  poll({ id, path, query }: Poll): Answer {
    const operation = this.find(id);
    // GUESS: what an unknown operation is answered with.
    if (!operation) return notFound(path);
    if (!isSigned(this.#state.content.key, path, query)) return BAD_SIGNATURE;
    if (operation.status === 'InProgress') return ok({ status: 'InProgress' }, { 'retry-after': this.#retryAfter });
    if (operation.error) return ok({ status: operation.status, error: operation.error });
    return ok({ status: operation.status, ...(operation.kind === 'stop' ? { properties: {} } : {}) });
  }

  /** GET …/operationResults/{id} (the Location). */
  result({ id, path, query, origin }: Poll): Answer {
    const operation = this.find(id);
    // GUESS: as above. A create announces no Location, so that its result is not there either.
    if (!operation || operation.kind === 'create' || operation.kind === 'install') return notFound(path);
    if (!isSigned(this.#state.content.key, path, query)) return BAD_SIGNATURE;
    if (operation.status === 'InProgress') {
      // Recorded for a status query that is polled too early; GUESS for stop and delete.
      const headers = this.headers(operation, origin, { asyncOperation: true, location: true, retryAfter: true });
      return { status: 202, headers, body: null };
    }
    if (operation.kind === 'status') {
      return ok(operation.result, this.headers(operation, origin, { location: true }));
    }
    const headers = this.headers(operation, origin, { asyncOperation: true, location: true });
    if (operation.error) {
      // GUESS: the result of a failed operation is its error.
      return { ...failure(500, operation.error.code, operation.error.message, []), headers };
    }
    if (operation.kind === 'delete') {
      return { status: 204, headers: { ...headers, 'content-type': 'application/json; charset=utf-8' } };
    }
    return ok(null, headers);
  }

  /** Microsoft.Compute's own form, as recorded: another query, and times in the answer. */
  computeHeaders(operation: Operation, origin: Origin): Record<string, string> {
    const path = `/subscriptions/${operation.subscription}/providers/Microsoft.Compute/locations/${operation.region}/operations/${operation.id}`;
    return {
      'azure-asyncoperation': `${origin.base}${path}?p=${randomUUID()}&api-version=${origin.apiVersion}`,
      'retry-after': this.#retryAfter,
      'azure-asyncnotification': 'Enabled',
    };
  }

  pollCompute({ id, path }: Poll): Answer {
    const operation = this.find(id);
    if (operation?.kind !== 'install') return notFound(path);
    const { status, startedAt, endedAt, error } = operation;
    const body = {
      startTime: computeTime(startedAt),
      ...(endedAt === undefined ? {} : { endTime: computeTime(endedAt) }),
      status,
      ...(error ? { error } : {}),
      name: operation.id,
    };
    return ok(body, status === 'InProgress' ? { 'retry-after': this.#retryAfter } : {});
  }

  #url(operation: Operation, origin: Origin, kind: 'operations' | 'operationResults'): string {
    const path = `/subscriptions/${operation.subscription}/providers/Microsoft.Network/locations/${operation.region}/${kind}/${operation.id}`;
    const signed = signature(this.#state.content.key, path, origin.apiVersion);
    return `${origin.base}${path}?api-version=${origin.apiVersion}&${signed}`;
  }
}

/** GUESS: what a URL is answered with whose signature is not right. */
const BAD_SIGNATURE = failure(403, 'AuthorizationFailed', 'The signature of the operation is not valid.');

function computeTime(ms: number): string {
  return new Date(ms).toISOString().replace('Z', '0000+00:00');
}
