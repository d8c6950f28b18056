import { ProviderError, type ProviderErrorCode } from '../provider.ts';

// Codes of ARM that say more than the status. Those marked (guess) were never seen in a recording.
const byCode = new Map<string, ProviderErrorCode>(
  Object.entries({
    RetryableErrorDueToAnotherOperation: 'conflict',
    AnotherOperationInProgress: 'conflict',
    SubscriptionNotFound: 'forbidden',
    QuotaExceeded: 'quota', // (guess)
    PacketCaptureCountLimitReached: 'quota', // (guess)
  }),
);

const byStatus: Record<number, ProviderErrorCode> = {
  401: 'unauthenticated',
  403: 'forbidden',
  404: 'invalid',
  409: 'conflict',
  429: 'throttled',
};

/** Turns whatever the SDK throws into a ProviderError, by status and code, never by the words of the message. */
export function toProviderError(what: string, error: unknown): ProviderError {
  if (error instanceof ProviderError) return error;
  const { statusCode, name } = error as { statusCode?: number; name?: string };
  const detail = `${what}: ${armMessage(error) ?? String(error)}`.slice(0, 500);
  if (name === 'IdentityError') return new ProviderError('unauthenticated', detail, error);
  if (name === 'AbortError') return new ProviderError('unavailable', `${what}: no answer in time`, error);
  // Without a status: no answer, or one that the SDK could not make sense of.
  if (statusCode === undefined || statusCode >= 500 || statusCode === 408)
    return new ProviderError('unavailable', detail, error);
  return new ProviderError(byCode.get(armCode(error) ?? '') ?? byStatus[statusCode] ?? 'invalid', detail, error);
}

// A 404 that speaks of something else than what was asked for: that one may well be there.
const otherNotFound = new Set([
  'SubscriptionNotFound',
  'InvalidSubscriptionId',
  'ResourceGroupNotFound',
  'MissingSubscription',
]);

/** ARM says that the thing asked for is not there. */
export function isNotFound(error: unknown): boolean {
  return armStatus(error) === 404 && !otherNotFound.has(armCode(error) ?? '');
}

export function armStatus(error: unknown): number | undefined {
  return (error as { statusCode?: number } | undefined)?.statusCode;
}

/** The `error` member of ARM's answer, which the SDK keeps in different places for different calls. */
function armBody(error: unknown): { code?: string; message?: string } | undefined {
  const text = (error as { response?: { bodyAsText?: string | null } }).response?.bodyAsText;
  if (!text) return (error as { details?: { error?: { code?: string; message?: string } } }).details?.error;
  try {
    return (JSON.parse(text) as { error?: { code?: string; message?: string } }).error;
  } catch {
    return undefined;
  }
}

export function armCode(error: unknown): string | undefined {
  return armBody(error)?.code ?? (error as { code?: string }).code;
}

function armMessage(error: unknown): string | undefined {
  const body = armBody(error);
  const code = armCode(error);
  const message = body?.message ?? (error as { message?: string }).message;
  return code && message && !message.startsWith(code) ? `${code}: ${message}` : message;
}
