import { randomBytes } from 'node:crypto';
import { sha256 } from '../id.ts';

/** Where a span hangs: an operation, and what set it off there. Lower-case hex, as in W3C Trace Context. */
export type TraceParent = { traceId: string; spanId: string };

/**
 * Reads a traceparent (W3C Trace Context, https://www.w3.org/TR/trace-context/#traceparent-header); undefined for what is none.
 * Whether the sender sampled it is not looked at: what becomes of a run is always told.
 */
export function readTrace(text: string | undefined): TraceParent | undefined {
  const [, version, traceId, spanId] =
    /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(?:-.{0,100})?$/.exec(text ?? '') ?? [];
  if (traceId === undefined || spanId === undefined || version === 'ff') return undefined;
  return /[^0]/.test(traceId) && /[^0]/.test(spanId) ? { traceId, spanId } : undefined;
}

/** The given traceparent, or a new operation where there is none to continue. */
export function traceOrNew(text: string | undefined): string {
  return readTrace(text) ? String(text) : `00-${randomBytes(16).toString('hex')}-${randomBytes(8).toString('hex')}-01`;
}

/** The same operation for the same name, for what was recorded without one. */
export function traceNamed(name: string): string {
  const hash = sha256(name);
  return `00-${hash.slice(0, 32)}-${hash.slice(32, 48)}-01`;
}
