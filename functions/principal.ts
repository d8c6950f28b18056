import type { HttpRequest } from '@azure/functions';
import { Problem } from '../shared/problem.ts';

/** What a caller must be allowed. Operate and Evidence include Read. Alert is for those who send alerts. */
export type Role = 'Read' | 'Operate' | 'Evidence' | 'Alert';

// `ActionGroupsSecureWebhook` is the role that Microsoft's set-up script for secure webhooks creates.
const granting: Record<Role, readonly string[]> = {
  Read: ['Read', 'Operate', 'Evidence'],
  Operate: ['Operate'],
  Evidence: ['Evidence'],
  Alert: ['Alert', 'ActionGroupsSecureWebhook'],
};

type Principal = { role_typ?: string; claims?: { typ?: string; val?: string }[] };

/**
 * Checks the caller's app role from the header that App Service authentication ("Easy Auth") sets. To be called only when the
 * settings say that Easy Auth stands before the app: it removes the header from what comes from outside, nobody else does.
 */
export function requireRole(request: HttpRequest, role: Role): void {
  const header = request.headers.get('x-ms-client-principal');
  if (!header)
    throw new Problem('unauthenticated', 'Sign in with Microsoft Entra ID: this app takes Entra tokens, not keys');
  let principal: Principal | null;
  try {
    principal = JSON.parse(Buffer.from(header, 'base64').toString('utf8')) as Principal | null;
  } catch {
    throw new Problem('unauthenticated', 'The principal of the request cannot be read');
  }
  const types = new Set([
    'roles',
    'http://schemas.microsoft.com/ws/2008/06/identity/claims/role',
    ...(principal?.role_typ ? [principal.role_typ] : []),
  ]);
  const roles = (Array.isArray(principal?.claims) ? principal.claims : [])
    .filter((c) => types.has(c.typ ?? ''))
    .map((c) => c.val ?? '');
  if (!roles.some((r) => granting[role].includes(r))) {
    throw new Problem(
      'forbidden',
      `This needs the app role ${granting[role].join(' or ')}; assign it to the caller in Microsoft Entra ID`,
    );
  }
}
