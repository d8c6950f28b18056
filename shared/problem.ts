/**
 * Every error that leaves the API, as RFC 9457 problem details. `code` is stable and closed: clients may switch on it.
 * docs/errors.md lists the same codes.
 */
export const problemStatus = {
  'invalid-payload': 400,
  'unsupported-schema': 400,
  'invalid-request': 400,
  'unsupported-parameter': 400,
  unauthenticated: 401,
  forbidden: 403,
  'not-found': 404,
  refused: 409,
  'idempotency-conflict': 409,
  'payload-too-large': 413,
  internal: 500,
  'storage-unavailable': 503,
  'cloud-unavailable': 503,
} as const;

export type ProblemCode = keyof typeof problemStatus;

export class Problem extends Error {
  readonly code: ProblemCode;
  /** More members of the answer, such as `problems` (all faults of a request) or `reason` (why a run was refused). */
  readonly members: Record<string, unknown>;
  /** When to try again, for the 503 answers. */
  readonly retryAfterSeconds: number | undefined;

  constructor(
    code: ProblemCode,
    detail: string,
    options: { members?: Record<string, unknown>; retryAfterSeconds?: number; cause?: unknown } = {},
  ) {
    super(detail, { cause: options.cause });
    this.name = 'Problem';
    this.code = code;
    this.members = options.members ?? {};
    this.retryAfterSeconds = options.retryAfterSeconds;
  }

  get status(): number {
    return problemStatus[this.code];
  }

  /** The body of an application/problem+json answer. */
  toBody(): Record<string, unknown> {
    return {
      type: `urn:tripcap:problem:${this.code}`,
      title: this.code.replaceAll('-', ' '),
      status: this.status,
      code: this.code,
      detail: this.message,
      ...this.members,
    };
  }
}
