import type { Unusual } from '../emulator/unusual.ts';
import { failure, type Answer, type Product } from './answer.ts';
import type { Fate } from './injector.ts';
import { Refusal } from './refusal.ts';
import { ACCOUNT } from './world.ts';

/** What a faulty answer may speak of. */
export type Occasion = { requestId: string; host: string; product: Product; action: string };

/** The wrong answer of a fate; undefined when it has none. */
export function faultAnswer(fate: Fate, occasion: Occasion): Answer | Unusual | undefined {
  if (fate.code) return withRetryAfter(refused(fate.code, occasion), fate);
  switch (fate.answer) {
    case '500':
      return withRetryAfter(refused({ code: 'InternalError' }, occasion), fate);
    case '503':
      return withRetryAfter(refused({ code: 'ServiceUnavailable' }, occasion), fate);
    case 'html':
      return { status: 502, text: PAGE, contentType: 'text/html' };
    case 'empty':
      return { status: 503, text: '', contentType: 'text/plain' };
    case 'reset':
    case 'hang':
      return { drop: fate.answer };
    case undefined:
      return undefined;
  }
}

const PAGE = '<html><head><title>502 Bad Gateway</title></head><body><h1>Bad Gateway</h1></body></html>\r\n';

function refused(
  { code, ...given }: { code: string; status?: number; message?: string },
  { requestId, host, product, action }: Occasion,
): Answer {
  const denied = code.startsWith('Forbidden') || code === 'NoPermission';
  const detail = denied ? { detail: accessDenied(product, action) } : {};
  return failure(requestId, new Refusal(code, { ...given, ...detail }), host, product);
}

/** GUESS: the members' values; their names are those of the documents. */
function accessDenied(product: Product, action: string): Record<string, unknown> {
  return {
    AuthAction: `${product.toLowerCase()}:${action}`,
    AuthPrincipalDisplayName: 'tripcap',
    AuthPrincipalOwnerId: ACCOUNT,
    AuthPrincipalType: 'SubUser',
    NoPermissionType: 'ImplicitDeny',
    PolicyType: 'AccountLevelIdentityBasedPolicy',
  };
}

function withRetryAfter(answer: Answer, { retryAfterMs }: Fate): Answer {
  if (retryAfterMs === undefined) return answer;
  return { ...answer, headers: { ...answer.headers, 'x-acs-retry-after': String(retryAfterMs) } };
}
