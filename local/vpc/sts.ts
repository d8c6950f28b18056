import { randomBytes } from 'node:crypto';
import * as v from 'valibot';
import type { Body, Context, Operation } from './operation.ts';
import type { Parameters } from './parameters.ts';
import { illegal, Refusal } from './refusal.ts';

/**
 * AssumeRoleWithOIDC (Sts 2015-04-01): a token of an identity provider in exchange for temporary keys. The real service is
 * there by https only; this one answers on the emulator's own plain address. The token's signature is not checked: any JSON
 * web token with the right audience will do.
 */
export const stsOperations: Operation[] = [
  {
    product: 'Sts',
    action: 'AssumeRoleWithOIDC',
    region: 'none',
    idempotent: false,
    dryRun: false,
    effect: true,
    prepare: assumeRole,
  },
];

const USUAL_SECONDS = 3600;
const LEAST_SECONDS = 900;
/** Until then keys that expired are still known as such. */
const FORGOTTEN_MS = 24 * 3_600_000;

function assumeRole(parameters: Parameters, { state, audience, now }: Context): () => Body {
  const provider = parameters.required('OIDCProviderArn');
  const role = parameters.required('RoleArn');
  const token = parameters.required('OIDCToken');
  const name = parameters.required('RoleSessionName');
  if (!/^acs:ram::\d+:oidc-provider\/[\w.-]+$/.test(provider)) throw illegal('OIDCProviderArn');
  const [, account, roleName] = /^acs:ram::(\d+):role\/([\w.-]+)$/.exec(role) ?? [];
  if (!account || !roleName) throw illegal('RoleArn');
  if (!/^[\w.@-]{2,64}$/.test(name)) throw illegal('RoleSessionName');
  if (token.length < 4 || token.length > 20_000) throw illegal('OIDCToken');
  // GUESS: a role's longest session is the default of a new role.
  const seconds = parameters.integer('DurationSeconds', LEAST_SECONDS, USUAL_SECONDS) ?? USUAL_SECONDS;
  const claims = claimsOf(token);
  if (!claims) throw new Refusal('AuthenticationFail.OIDCToken.Invalid');
  if (claims.expiresAt !== undefined && claims.expiresAt <= now) {
    throw new Refusal('AuthenticationFail.OIDCToken.Expired');
  }
  if (!claims.audiences.includes(audience)) {
    // As a public project notes of trust policies that do not fit.
    const detail = { AuthAction: 'sts:AssumeRole', NoPermissionType: 'ImplicitDeny', PolicyType: 'AssumeRolePolicy' };
    throw new Refusal('AuthenticationFail.NoPermission', { detail });
  }
  return () => {
    const id = `STS.${randomBytes(12).toString('hex')}`;
    const secret = randomBytes(24).toString('base64url');
    const securityToken = `CAIS${randomBytes(120).toString('base64url')}`;
    const expiresAt = now + seconds * 1000;
    const { temporaryKeys } = state.content;
    for (const [old, key] of Object.entries(temporaryKeys)) {
      if (key.expiresAt < now - FORGOTTEN_MS) delete temporaryKeys[old];
    }
    temporaryKeys[id] = { secret, securityToken, expiresAt };
    return {
      OIDCTokenInfo: {
        Subject: claims.subject,
        Issuer: claims.issuer,
        ClientIds: audience,
        VerificationInfo: 'Success',
      },
      AssumedRoleUser: {
        AssumedRoleId: `33157794895460:${name}`,
        Arn: `acs:ram::${account}:role/${roleName}/${name}`,
      },
      Credentials: {
        AccessKeyId: id,
        AccessKeySecret: secret,
        SecurityToken: securityToken,
        Expiration: `${new Date(expiresAt).toISOString().slice(0, 19)}Z`,
      },
    };
  };
}

const tokenClaims = v.object({
  aud: v.union([v.string(), v.array(v.string())]),
  iss: v.string(),
  sub: v.string(),
  exp: v.exactOptional(v.number()),
});

type Claims = { audiences: string[]; issuer: string; subject: string; expiresAt?: number };

/** Undefined for what does not look like a JSON web token. */
function claimsOf(token: string): Claims | undefined {
  const [header, payload, signature, ...more] = token.split('.');
  if (!header || !payload || signature === undefined || more.length > 0) return undefined;
  try {
    const { aud, iss, sub, exp } = v.parse(tokenClaims, JSON.parse(Buffer.from(payload, 'base64url').toString()));
    return {
      audiences: [aud].flat(),
      issuer: iss,
      subject: sub,
      ...(exp === undefined ? {} : { expiresAt: exp * 1000 }),
    };
  } catch {
    return undefined;
  }
}
