import type { NetworkManagementClient } from '@azure/arm-network';
import type { TokenSource } from '../../identity.ts';

/** What the Azure provider needs to know of Azure Resource Manager. */
export type ArmSettings = { endpoint: string; audience: string; apiVersion: string };

// Virtual machines are read with this api-version of Microsoft.Compute.
const computeApiVersion = '2024-07-01';

/** ARM for one subscription: the network SDK's client, and plain GETs of compute resources through the same pipeline. */
export type Arm = {
  network: NetworkManagementClient;
  /** GET of a path such as /subscriptions/…/virtualMachines/x; throws an error with `statusCode` unless it answers 200. */
  getCompute(path: string, signal: AbortSignal): Promise<unknown>;
};

export async function connectArm(settings: ArmSettings, subscription: string, credential: TokenSource): Promise<Arm> {
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
  return {
    network,
    async getCompute(path, signal) {
      const url = `${settings.endpoint}${path}?api-version=${computeApiVersion}`;
      const response = await network.pipeline.sendRequest(
        http,
        createPipelineRequest({ url, method: 'GET', abortSignal: signal, allowInsecureConnection: insecure }),
      );
      if (response.status !== 200)
        throw Object.assign(new Error(`GET answered ${response.status}`), { statusCode: response.status, response });
      return JSON.parse(response.bodyAsText ?? 'null') as unknown;
    },
  };
}
