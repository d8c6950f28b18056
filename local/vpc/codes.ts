/**
 * The cloud's error codes with their messages and HTTP statuses. Those of traffic mirroring and tags are the texts of
 * Alibaba's own API metadata (Vpc 2016-04-28, state of 2024-06; two of CreateTrafficMirrorSession from its newer page), all
 * with status 400. Those of the gateway are as seen in public logs and error tables, unless marked.
 */
const MIRRORING: Record<string, string> = {
  'DependencyViolation.TrafficMirrorSession': 'Some traffic mirror sessions depend on the specified resource.',
  'DuplicatedParam.Priority': 'The specified priority conflicts with the existing priority.',
  'DuplicatedParam.SourceInstanceIds': 'The parameter of source instance IDs contains duplicate values.',
  'IllegalParam.CidrBlock': 'The specified CidrBlock is illegal.',
  'IllegalParam.Priority': 'The specified Priority is illegal or the same as other mirroring sessions.',
  'IllegalParamFormat.DstCidrBlock': 'The format of the specified dst CIDR block is invalid.',
  'IllegalParamFormat.SrcCidrBlock': 'The format of the specified source CIDR block is invalid.',
  'IncorrectBusinessStatus.TrafficMirror': 'The business status of traffic mirror is incorrect.',
  'IncorrectStatus.NetworkInterface': 'The status of  network interface is incorrect.',
  'IncorrectStatus.TrafficMirrorFilter': 'The status of traffic mirror filter is incorrect.',
  'IncorrectStatus.TrafficMirrorRule': 'The status of traffic mirror rule is incorrect.',
  'IncorrectStatus.TrafficMirrorSession': 'The status of traffic mirror session is incorrect.',
  'InvalidLoadBalancerId.NotFound': 'The specified resource of load balancer is not found.',
  'OperationDenied.ClassicSLB': 'The operation is not allowed because of ClassicSLB.',
  'OperationDenied.DuplicateRole':
    'The network interface must not be the source and the target of traffic mirror sessions at the same time.',
  'OperationDenied.EcsNotSupportTrafficMirror': 'The ECS instance does not support traffic mirroring.',
  'OperationDenied.FreeNetworkInterface': 'The network interface is not attached to any ECS instance.',
  'OperationDenied.SlbNotInVpc': 'The specified SLB is not in any VPC.',
  'OperationDenied.TargetTypeNotSupportBondEni':
    'Operation denied because of target type can not be Bond Network Interface.',
  'OperationDenied.TargetTypeNotSupportGatewayLoadBalancerEndpoint':
    'Operation denied because of target type can not be GatewayLoadBalancerEndpoint.',
  'OperationDenied.UnsupportedTargetType':
    'Traffic mirror target must be SLB if traffic mirror sources contain nat gateway network interface.',
  'OperationFailed.NotSupportBizType': 'The specified instance type does not support the operation.',
  'OperationUnsupported.BondingNetworkInterface': 'The specified traffic mirror source is bonding eni without slave.',
  'OptInRequired.TrafficMirror': 'You need to subscribe to the traffic mirror service first.',
  'QuotaExceeded.FilterRelatedSession':
    'The quota of the number of traffic mirror sessions related to one filter is exceeded.',
  'QuotaExceeded.NetworkInterfaceRelatedSession':
    'The quota of the number of traffic mirror sessions related to one network interface is exceeded.',
  'QuotaExceeded.SessionNum': 'The quota of the number of traffic mirror sessions is exceeded.',
  'QuotaExceeded.SlbRelatedSession':
    'The quota of the number of traffic mirror sessions related to one SLB is exceeded.',
  'QuotaExceeded.SourceNumPerSession': 'The quota of the number of traffic mirror sources per session is exceeded.',
  'QuotaExceeded.SourceNumPerTarget': 'The maximum number of traffic mirror sources for a target is exceeded.',
  'QuotaExceeded.TrafficMirrorFilter': 'The maximum number of traffic image filters is exceeded.',
  'QuotaExceeded.TrafficMirrorRulesPerFilter':
    'The quota of the number of traffic mirror rules per filter is exceeded.',
  'ResourceAlreadyAssociated.TrafficMirrorSource':
    'The specified traffic mirror source and session are already associated.',
  'ResourceNotAssociated.TrafficMirrorSource': 'The specified traffic mirror source and session are not associated.',
  'ResourceNotFound.EcsInstance': 'The specified resource of ECS instance is not found.',
  // GUESS: the documented text of some operations has %s where this one names the kind.
  'ResourceNotFound.NetworkInterface': 'The specified resource of network interface is not found.',
  'ResourceNotFound.Slb': 'The specified resource of SLB is not found.',
  'ResourceNotFound.TargetInstance': 'The specified target instance for traffic mirroring is not found.',
  'ResourceNotFound.TrafficMirrorFilter': 'The specified resource of traffic mirror filter is not found.',
  'ResourceNotFound.TrafficMirrorRule': 'The specified resource of traffic mirror rule is not found.',
  'ResourceNotFound.TrafficMirrorSession': 'The specified resource of traffic mirror session is not found.',
  'UnsupportedFeature.IpVersion': 'The ipversion type is not supported.',
  UnsupportedRegion: 'The feature is not supported in current region.',
};

const OPENING: Record<string, string> = {
  'OperationFailed.AliGroupUserCanNotBuyInnerCommodity':
    'Vpc_flowlog_public has no group cloud product label, and users within the group are not allowed to purchase.',
  'OperationFailed.BasicInfoUncompleted':
    'You have not completed your basic personal information, please complete the information and try again.',
  'OperationFailed.ExceedPurchaseLimit': 'You have reached the limit of purchase quantity.',
  'OperationFailed.QuotaNotEnough':
    'Your quota is insufficient. Please contact your channel partner to increase your quota',
  'Order.NoRealNameAuthentication': 'Real-name verification has not been completed for the account.',
};

const TAGS: Record<string, string> = {
  'BothEmpty.TagsAndResources': 'The specified Tags and ResourcesIds are not allow to both empty.',
  'Forbidden.NotAllowedCategary': 'The System tag is not valid',
  'Forbidden.TagKey.Duplicated': 'The specified tag key already exists.',
  'Forbidden.TagKeys': 'The request do not allow to operate the tag keys',
  'InvalidInstanceIds.NotFound': 'The instanceIds are not found',
  'InvalidInstanceType.NotFound': 'The instance type is not found',
  InvalidTagKey: 'The tag keys are not valid.',
  'InvalidTagScope.NotFound': 'The tag scope is not found',
  InvalidTagValue: 'The tag values are not valid.',
  'MissingParam.ResourceType': 'The param of ResourceType is missing.',
  'MissingParam.Tags': 'You must specify the Tags parameter.',
  'MissingParameter.TagKey':
    'The input parameter TagKey that is mandatory for processing this request is not supplied.',
  'MissingParameter.TagValue':
    'The input parameter TagValue that is mandatory for processing this request is not supplied.',
  'QuotaExceeded.TagNum': 'Custom Tags quota exceeded',
  'SizeLimitExceeded.ResourceId': 'The maximum number of resource IDs is exceeded.',
  'SizeLimitExceeded.TagNum': 'The maximum number of tags is exceeded.',
};

const FLOW = 'Request was denied due to user flow control.';
const UNAVAILABLE = 'The request has failed due to a temporary failure of the server.';

/** Of the gateway, and of every product behind it. */
const GENERAL: Record<string, [status: number, message: string]> = {
  // Documented with these statuses and texts.
  DryRunOperation: [400, 'Request validation has been passed with DryRun flag set.'],
  Forbidden: [403, 'User not authorized to operate on the specified resource.'],
  'Forbidden.RAM': [403, 'User not authorized to operate on the specified resource'],
  NoPermission: [403, 'You are not authorized to do this action. You should be authorized by RAM.'],
  'InvalidAccessKeyId.NotFound': [404, 'Specified access key is not found.'],
  'InvalidAccessKeyId.Inactive': [400, 'Specified access key is disabled.'],
  'InvalidAction.NotFound': [404, 'Specified api is not found, please check your url and method.'],
  InvalidVersion: [400, 'Specified parameter Version is not valid.'],
  'InvalidTimeStamp.Expired': [400, 'Specified time stamp or date value is expired.'],
  'InvalidTimeStamp.Format': [400, 'Specified time stamp or date value is not well formatted.'],
  SignatureNonceUsed: [400, 'Specified signature nonce was used already.'],
  // The real text goes on with what the server signed; see front-door.ts.
  SignatureDoesNotMatch: [400, 'Specified signature does not match our calculation.'],
  MissingSecurityToken: [400, 'SecurityToken is mandatory for this action.'],
  // Error tables of some products give 403 for the first of these.
  'InvalidSecurityToken.Expired': [400, 'Specified SecurityToken is expired.'],
  'InvalidSecurityToken.Malformed': [400, 'Specified SecurityToken is malformed.'],
  'InvalidSecurityToken.MismatchWithAccessKey': [400, 'Specified SecurityToken mismatch with the AccessKey.'],
  // GUESS: status (400, 403 and 429 are documented of other products).
  Throttling: [400, FLOW],
  'Throttling.User': [400, FLOW],
  'Throttling.Api': [400, 'Request was denied due to api flow control.'],
  'Throttling.User.Flow': [400, FLOW],
  'Rejected.Throttling': [400, FLOW],
  ServiceUnavailable: [503, UNAVAILABLE],
  InternalError: [500, 'The request processing has failed due to some unknown error.'],
  SystemBusy: [400, 'The system is busy. Please try again later.'],
  'System.ServiceBusy': [400, 'The system is busy. Please try again later.'],
  'OperationFailed.SystemBusy': [400, 'The system is busy. Please try again later.'],
  OperationConflict: [409, 'Request was denied due to conflict with a previous request, please try again later.'],
  TaskConflict: [400, 'The operation is too frequent, please try again later.'],
  // GUESS: status and texts from here on.
  IncompleteSignature: [400, 'The request signature does not conform to Aliyun standards.'],
  LastTokenProcessing: [400, 'The last request with this client token is still being processed.'],
  'OperationFailed.LastTokenProcessing': [400, 'The last request with this client token is still being processed.'],
  IdempotentParameterMismatch: [
    400,
    'The request uses the same client token as a previous, but non-identical request. Do not reuse a client token with different requests, unless the requests are identical.',
  ],
  'Duplicated.ClientToken': [400, 'The specified client token is duplicated.'],
  'IllegalParam.ClientToken': [400, 'The specified ClientToken is invalid.'],
  'IllegalParam.NextToken': [400, 'The specified NextToken is invalid.'],
  UnsupportedHTTPMethod: [400, 'This http method is not supported.'],
  'AuthenticationFail.NoPermission': [
    403,
    'You are not authorized to do this action. You should be authorized by RAM.',
  ],
  'AuthenticationFail.OIDCToken.Expired': [400, 'This JsonWebToken is expired.'],
  'AuthenticationFail.OIDCToken.Invalid': [400, 'This JsonWebToken is invalid.'],
};

const MESSAGES: Record<string, string> = { ...MIRRORING, ...OPENING, ...TAGS };

export function isKnown(code: string): boolean {
  return code in MESSAGES || code in GENERAL;
}

export function messageOf(code: string): string {
  return MESSAGES[code] ?? GENERAL[code]?.[1] ?? 'The request is refused.';
}

export function statusOf(code: string): number {
  return GENERAL[code]?.[0] ?? 400;
}

/** The other text that UnsupportedTargetType has, for a type that there is not. */
export const NO_SUCH_TARGET_TYPE = 'The operation is not allowed because the target type is not supported.';
