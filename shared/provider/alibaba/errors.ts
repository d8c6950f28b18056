import { beforeDeadline } from '../../clock.ts';
import { Problem } from '../../problem.ts';
import { ProviderError, type ProviderErrorCode } from '../provider.ts';

/**
 * Alibaba Cloud's error codes: what each means for a run, and what the user can do. `transient` passes by itself; `conflict` passes
 * when something else is asked for; `user` and `quota` need another request, `account` another account or other rights.
 */
type ErrorClass = 'transient' | 'conflict' | 'user' | 'quota' | 'account';

type Meaning = { class: ErrorClass; code: ProviderErrorCode; next?: string };

const askQuota = 'Ask for a higher quota in the Quota Center of Alibaba Cloud';

const conflict = (next?: string): Meaning => ({ class: 'conflict', code: 'conflict', ...(next ? { next } : {}) });
const passing: Meaning = { class: 'transient', code: 'unavailable' };
const busy: Meaning = { class: 'transient', code: 'conflict' };
const user = (next: string): Meaning => ({ class: 'user', code: 'invalid', next });
const notThere = (next: string): Meaning => ({ class: 'user', code: 'target-not-found', next });
const quota = (next: string): Meaning => ({ class: 'quota', code: 'quota', next });
const account = (next: string): Meaning => ({ class: 'account', code: 'account', next });
const denied = (next: string): Meaning => ({ class: 'account', code: 'forbidden', next });
const signIn = (next: string): Meaning => ({ class: 'account', code: 'unauthenticated', next });

/** By code; Vpc 2016-04-28 and what its gateway adds. docs/errors.md lists the same. */
export const alibabaErrors: Readonly<Record<string, Meaning>> = {
  'IncorrectBusinessStatus.TrafficMirror': account(
    'Settle what the Alibaba Cloud account owes: traffic mirroring is locked until then.',
  ),
  'OptInRequired.TrafficMirror': account(
    'Open traffic mirroring in this region, once, in the VPC console of Alibaba Cloud (it cannot be closed again).',
  ),
  'DuplicatedParam.SourceInstanceIds': user('Name each network interface once.'),
  'OperationDenied.DuplicateRole': user(
    'This interface is the target of a mirror session, or the mirror target is a source: choose another one.',
  ),
  'ResourceNotFound.NetworkInterface': notThere('Check that the network interface still exists, and start again.'),
  'ResourceNotFound.EcsInstance': notThere('Check that the ECS instance still exists, and start again.'),
  'ResourceNotFound.Slb': user('The load balancer that is the mirror target is gone: correct TRIPCAP_ALIBABA_REGIONS.'),
  'OperationDenied.SlbNotInVpc': user('Choose a load balancer in a VPC as mirror target.'),
  'ResourceNotFound.TrafficMirrorFilter': user('The filter is gone: correct alibaba.filterId, or leave it out.'),
  'IncorrectStatus.TrafficMirrorFilter': busy,
  'OperationDenied.EcsNotSupportTrafficMirror': user(
    'The type of the instance cannot be mirrored: change it to one of a newer family.',
  ),
  'QuotaExceeded.SessionNum': quota(`Delete mirror sessions of this region that are no longer needed.`),
  'QuotaExceeded.FilterRelatedSession': quota('Too many sessions use this filter: name another in alibaba.filterId.'),
  'QuotaExceeded.SourceNumPerSession': quota(`Mirror fewer interfaces in one session. ${askQuota}.`),
  'QuotaExceeded.NetworkInterfaceRelatedSession': quota(
    'Three sessions have this interface as source, which is the most: delete one of them.',
  ),
  'QuotaExceeded.SlbRelatedSession': quota('Too many sessions have this load balancer as target: name another one.'),
  UnsupportedRegion: user('This region has no traffic mirroring.'),
  'InvalidLoadBalancerId.NotFound': user('The mirror target is no load balancer: correct TRIPCAP_ALIBABA_REGIONS.'),
  'OperationDenied.FreeNetworkInterface': user('Attach the network interface to an instance, and start again.'),
  'OperationDenied.ClassicSLB': user('Choose a load balancer in a VPC as mirror target.'),
  'ResourceNotFound.TargetInstance': user(
    'The mirror target is gone: correct mirrorTargetId in TRIPCAP_ALIBABA_REGIONS.',
  ),
  'QuotaExceeded.SourceNumPerTarget': quota(`The mirror target has too many sources: add another. ${askQuota}.`),
  'IncorrectStatus.NetworkInterface': busy,
  'OperationFailed.NotSupportBizType': user('Interfaces that a service of Alibaba Cloud manages cannot be mirrored.'),
  'IllegalParam.Priority': conflict(),
  'OperationDenied.UnsupportedTargetType': user(
    'Interfaces of NAT gateways need a load balancer (SLB) as mirror target: set alibaba.mirrorTargetId and mirrorTargetType.',
  ),
  'OperationDenied.TargetTypeNotSupportGatewayLoadBalancerEndpoint': user(
    'Choose a network interface or a load balancer as mirror target.',
  ),
  'OperationDenied.TargetTypeNotSupportBondEni': user('A bond cannot be a mirror target: choose another interface.'),
  // Of other operations.
  'DuplicatedParam.Priority': conflict(),
  'ResourceNotFound.TrafficMirrorSession': user('The session is gone: correct alibaba.sessionId.'),
  'IncorrectStatus.TrafficMirrorSession': busy,
  'OperationUnsupported.BondingNetworkInterface': user('A bond without an interface in it cannot be mirrored.'),
  'QuotaExceeded.TrafficMirrorFilter': quota('Delete mirror filters of this region that are no longer needed.'),
  'QuotaExceeded.TrafficMirrorRulesPerFilter': quota(
    'Use fewer filters in the capture; ten rules each way is the most.',
  ),
  'UnsupportedFeature.IpVersion': user('Traffic mirroring takes IPv4 addresses only.'),
  'IllegalParamFormat.SrcCidrBlock': user('Correct the addresses in the filters of the capture.'),
  'IllegalParamFormat.DstCidrBlock': user('Correct the addresses in the filters of the capture.'),
  'DependencyViolation.TrafficMirrorSession': busy,
  // Of every operation.
  ServiceUnavailable: passing,
  InternalError: passing,
  SystemBusy: passing,
  'System.ServiceBusy': passing,
  'OperationFailed.SystemBusy': passing,
  OperationConflict: busy,
  TaskConflict: busy,
  LastTokenProcessing: busy,
  'OperationFailed.LastTokenProcessing': busy,
  IncorrectStatus: busy,
  SignatureNonceUsed: passing,
  'InvalidTimeStamp.Expired': passing,
  Forbidden: denied('Give the RAM role the actions of docs/permissions.md.'),
  'Forbidden.RAM': denied('Give the RAM role the actions of docs/permissions.md.'),
  NoPermission: denied('Give the RAM role the actions of docs/permissions.md.'),
  'AuthenticationFail.NoPermission': signIn(
    "Compare the role's trust policy (issuer, audience, subject) with the managed identity: docs/permissions.md.",
  ),
  'InvalidAccessKeyId.NotFound': signIn('Correct the AccessKey, or sign in with a role.'),
  'InvalidAccessKeyId.Inactive': signIn('Enable the AccessKey, or sign in with a role.'),
  SignatureDoesNotMatch: signIn('Correct the secret of the AccessKey.'),
};

/** By how a code begins, for those that are not listed. */
const families: readonly (readonly [pattern: RegExp, meaning: Meaning])[] = [
  [/Throttling/, { class: 'transient', code: 'throttled' }],
  [/^IncorrectStatus\./, busy],
  [/^QuotaExceeded\./, quota(`A quota is exceeded. ${askQuota}.`)],
  [/^InvalidSecurityToken/, signIn('Compare the clock of the app with the real time.')],
  [
    /^AuthenticationFail\./,
    signIn('See that the identity provider of the role trusts the issuer: docs/permissions.md.'),
  ],
  [/^(Forbidden|NoPermission)/, denied('Give the RAM role the actions of docs/permissions.md.')],
];

function meaningOf(code: string): Meaning | undefined {
  return Object.hasOwn(alibabaErrors, code)
    ? alibabaErrors[code]
    : families.find(([pattern]) => pattern.test(code))?.[1];
}

/** The parts of what the SDK throws that say something. */
type SdkError = { name?: unknown; code?: unknown; statusCode?: unknown; data?: unknown; message?: unknown };

/** The cloud's own code; undefined when it gave none, or there was no answer. */
export function codeOf(error: unknown): string | undefined {
  const { code, statusCode } = (error ?? {}) as SdkError;
  return typeof code === 'string' && typeof statusCode === 'number' ? code : undefined;
}

/** The cloud said no for a reason that passes, or nothing that can be understood: the same call may be made again. */
export function isTransient(error: unknown): boolean {
  if (error instanceof ProviderError) return error.retry;
  const code = codeOf(error);
  const { statusCode } = (error ?? {}) as SdkError;
  const meaning = code === undefined ? undefined : meaningOf(code);
  if (meaning) return meaning.class === 'transient';
  return typeof statusCode !== 'number' || statusCode >= 500;
}

/** The mirror target takes no more: another one may. */
export function isFull(error: unknown): boolean {
  const code = codeOf(error);
  return code === 'QuotaExceeded.SourceNumPerTarget' || code === 'QuotaExceeded.SlbRelatedSession';
}

/** Whether a call that failed may have been carried out all the same. */
export function mayBeDone(error: unknown): boolean {
  const { statusCode } = (error ?? {}) as SdkError;
  return typeof statusCode !== 'number' || statusCode >= 500;
}

/** Whatever goes wrong, and that nothing came of it before the signal aborted, is told as a ProviderError. */
export async function told<T>(what: string, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
  const late = Symbol();
  try {
    const answer = signal.aborted ? late : await beforeDeadline<T | typeof late>(work(), late, signal);
    if (answer !== late) return answer as T;
  } catch (error) {
    throw toProviderError(what, error);
  }
  throw new ProviderError('unavailable', `${what}: no answer in time`);
}

/** Turns what the SDK throws, or storage, into a ProviderError; by code and never by the words. */
export function toProviderError(what: string, error: unknown): ProviderError {
  if (error instanceof ProviderError) return error;
  if (error instanceof Problem && error.code === 'storage-unavailable')
    return new ProviderError('unavailable', `${what}: ${error.message}`, error);
  const { name, statusCode } = (error ?? {}) as SdkError;
  const code = codeOf(error);
  if (code === undefined) {
    const why = name === 'RequestTimeoutError' || name === 'AbortError' ? 'no answer in time' : wordsOf(error);
    return new ProviderError('unavailable', `${what}: ${why}`.slice(0, 500));
  }
  const meaning =
    meaningOf(code) ?? (Number(statusCode) >= 500 ? passing : { class: 'user', code: 'invalid' as const });
  const detail = `${what}: ${code}: ${redacted(messageOf(error))}`.slice(0, 500);
  return new ProviderError(meaning.code, detail, undefined, meaning.next);
}

function messageOf(error: unknown): string {
  const { data, message } = (error ?? {}) as SdkError;
  const said = (data as { Message?: unknown } | undefined)?.Message;
  return typeof said === 'string' ? said : typeof message === 'string' ? message : '';
}

function wordsOf(error: unknown): string {
  if (error instanceof SyntaxError) return 'the answer is no JSON';
  const { code, message } = (error ?? {}) as SdkError;
  // Messages about connections hold the whole URL.
  return typeof code === 'string' ? code : redacted(typeof message === 'string' ? message : String(error));
}

/** Without what must not be read by others: URLs with their queries, and what a gateway repeats of a request's headers. */
export function redacted(text: string): string {
  return text
    .replaceAll(/https?:\/\/\S+/g, (url) => (URL.canParse(url) ? new URL(url).host : '(url)'))
    .replace(/(server )?(string ?to ?sign|canonical ?request) is.*/is, '(what was signed is left out)')
    .replaceAll(/(security-?token|signature|access-?key-?\w*)(["']?\s*[:=]\s*)\S+/gi, '$1$2***');
}
