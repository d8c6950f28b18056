import type { NetworkManagementClient } from '@azure/arm-network';
import type { PipelinePolicy } from '@azure/core-rest-pipeline';
import type { TokenSource } from '../../identity.ts';
import { ProviderError } from '../provider.ts';

/** What the Azure provider needs to know of Azure Resource Manager. */
export type ArmSettings = { endpoint: string; audience: string; apiVersion: string };

// Virtual machines and scale sets are read with this api-version of Microsoft.Compute.
const computeApiVersion = '2024-07-01';

/** ARM for one subscription: the network SDK's client, and plain GETs through the same pipeline. */
export type Arm = {
  network: NetworkManagementClient;
  /** GET of a path such as /subscriptions/…/virtualMachines/x; throws an error with `statusCode` unless it answers 200. */
  getCompute(path: string, signal: AbortSignal): Promise<unknown>;
  /** All items of a list of Microsoft.Compute, page after page. */
  listCompute(path: string, signal: AbortSignal): Promise<unknown[]>;
  /** GET of a URL that ARM handed out, as it is; refused when it is not ARM's, since a token goes with it. */
  follow(url: string, signal: AbortSignal): Promise<unknown>;
};

export async function connectArm(
  settings: ArmSettings,
  subscription: string,
  credential: TokenSource,
  now: () => Date,
): Promise<Arm> {
  const { NetworkManagementClient, createDefaultHttpClient, createPipelineRequest } = await import('./arm.lazy.ts');
  const insecure = settings.endpoint.startsWith('http:');
  const network = new NetworkManagementClient(credential, subscription, {
    endpoint: settings.endpoint,
    credentials: { scopes: [`${settings.audience}/.default`] },
    allowInsecureConnection: insecure,
    // Every caller has a deadline and tries again by itself; the SDK would sleep inside the invocation.
    retryOptions: { maxRetries: 0 },
  });
  // The SDK has its api-version built in. Polling URLs carry their own and are left alone.
  network.pipeline.addPolicy({
    name: 'apiVersionSetting',
    sendRequest: (request, next) => {
      if (/\/Microsoft\.Network\/networkWatchers\b/i.test(request.url)) {
        request.url = request.url.replace(/([?&]api-version=)[^&]*/, `$1${settings.apiVersion}`);
      }
      return next(request);
    },
  });
  network.pipeline.addPolicy(obeyRetryAfter(now));
  if (insecure) {
    // Only on loopback (readConfig sees to it): the SDK refuses to send real tokens over plain http, and so do we.
    network.pipeline.removePolicy({ name: 'bearerTokenAuthenticationPolicy' });
    network.pipeline.addPolicy({
      name: 'sandboxToken',
      sendRequest: (request, next) => {
        request.headers.set('authorization', 'Bearer sandbox');
        return next(request);
      },
    });
  }
  const http = createDefaultHttpClient();
  const get = async (url: string, signal: AbortSignal): Promise<unknown> => {
    const response = await network.pipeline.sendRequest(
      http,
      createPipelineRequest({ url, method: 'GET', abortSignal: signal, allowInsecureConnection: insecure }),
    );
    if (response.status !== 200)
      throw Object.assign(new Error(`GET answered ${response.status}`), { statusCode: response.status, response });
    return JSON.parse(response.bodyAsText ?? 'null') as unknown;
  };
  const follow = async (url: string, signal: AbortSignal): Promise<unknown> => {
    if (!isOf(url, settings.endpoint))
      throw new ProviderError('invalid', 'ARM handed out a URL of another host; it is not followed');
    return get(url, signal);
  };
  const getCompute = (path: string, signal: AbortSignal): Promise<unknown> =>
    get(`${settings.endpoint}${path}?api-version=${computeApiVersion}`, signal);
  return {
    network,
    getCompute,
    follow,
    async listCompute(path, signal) {
      const items: unknown[] = [];
      let page = (await getCompute(path, signal)) as Page;
      for (;;) {
        items.push(...(page?.value ?? []));
        if (!page?.nextLink) return items;
        page = (await follow(page.nextLink, signal)) as Page;
      }
    },
  };
}

type Page = { value?: unknown[]; nextLink?: string } | null;

/** Whether a URL leads to ARM, or to a region of it. */
function isOf(url: string, endpoint: string): boolean {
  if (!URL.canParse(url)) return false;
  const [to, arm] = [new URL(url), new URL(endpoint)];
  return to.protocol === arm.protocol && (to.host === arm.host || to.host.endsWith(`.${arm.host}`));
}

const longestPauseMs = 5 * 60_000;

/**
 * ARM counts reads, writes and deletes of a subscription apart, and asks whoever is over to wait (429 with Retry-After); asking
 * before that makes the wait longer. So until then nothing of that kind is sent: it fails at once, and is tried again later.
 */
function obeyRetryAfter(now: () => Date): PipelinePolicy {
  const pausedUntil = new Map<string, number>();
  return {
    name: 'obeyRetryAfter',
    sendRequest: async (request, next) => {
      // A status question is a POST, and counted as a read.
      const isRead = request.method === 'GET' || /\/queryStatus\b/i.test(request.url);
      const kind = isRead ? 'read' : request.method === 'DELETE' ? 'delete' : 'write';
      // Providers throttle by themselves, and a stop is not to wait for starts.
      const provider = /\/providers\/(microsoft\.\w+)/i.exec(request.url)?.[1]?.toLowerCase() ?? '';
      const key = `${provider} ${/\/packetCaptures\/[^/]+\/stop\b/i.test(request.url) ? 'stop' : kind}`;
      const leftMs = (pausedUntil.get(key) ?? 0) - now().getTime();
      if (leftMs > 0) {
        const left = `${Math.ceil(leftMs / 1000)} s`;
        throw new ProviderError('throttled', `Azure Resource Manager asked to send no ${kind} for another ${left}`);
      }
      const response = await next(request);
      // A resource that another operation holds is no sign of too many requests.
      if (response.status === 429 && !response.bodyAsText?.includes('RetryableErrorDueToAnotherOperation')) {
        const waitMs = readRetryAfter(response.headers.get('retry-after'), now());
        pausedUntil.set(key, now().getTime() + Math.min(waitMs, longestPauseMs));
      }
      return response;
    },
  };
}

/** Seconds, or a date; 10 s when ARM does not say. */
function readRetryAfter(text: string | undefined, now: Date): number {
  if (text === undefined || text.trim() === '') return 10_000;
  const seconds = Number(text);
  if (Number.isFinite(seconds)) return Math.max(0, seconds * 1000);
  const until = Date.parse(text);
  return Number.isNaN(until) ? 10_000 : Math.max(0, until - now.getTime());
}
