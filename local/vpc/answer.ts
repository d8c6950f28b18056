import { randomUUID } from 'node:crypto';
import type { Refusal } from './refusal.ts';

/** What the RPC gateway answers: a status, headers, and a body of PascalCase members. */
export type Answer = { status: number; headers: Record<string, string>; body: Record<string, unknown> };

/** Which API a call was for, as errors name it. */
export type Product = 'Vpc' | 'Ecs' | 'Sts';

export function newRequestId(): string {
  return randomUUID().toUpperCase();
}

export function success(requestId: string, body: Record<string, unknown>): Answer {
  return { status: 200, headers: { 'x-acs-request-id': requestId }, body: { ...body, RequestId: requestId } };
}

/** An error in the gateway's shape, as seen in public logs of several products. */
export function failure(requestId: string, refusal: Refusal, host: string, product: Product): Answer {
  const { code, status, message, detail } = refusal;
  return {
    status,
    headers: { 'x-acs-request-id': requestId },
    body: {
      RequestId: requestId,
      HostId: host,
      Code: code,
      Message: message,
      Recommend: `https://api.aliyun.com/troubleshoot?q=${code}&product=${product}&requestId=${requestId}`,
      ...(detail ? { AccessDeniedDetail: detail } : {}),
    },
  };
}

/** Times as lists give them: without seconds. */
export function listedTime(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 16)}Z`;
}
