import { createServer, type IncomingHttpHeaders, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { deriveId } from '../../shared/id.ts';
import { AzureProvider, type AzureOptions } from '../../shared/provider/azure/azure.ts';
import { ProviderError } from '../../shared/provider/provider.ts';
import { NO_STORAGE, STORAGE_ID, SUBSCRIPTION, machine } from '../arm/harness.ts';

export const soon = (ms = 10_000): AbortSignal => AbortSignal.timeout(ms);
export const limits = { durationSeconds: 60, sizeBytes: 1_000_000 };
// Not what the SDK has built in, so that it shows.
export const apiVersion = '2024-05-01';
let made = 0;
export const nextRun = (): string => deriveId('test', String(made++));

export const account: AzureOptions['captureAccounts'][number] = {
  id: STORAGE_ID,
  name: 'devstoreaccount1',
  regions: ['*'],
  connectionName: 'LOGS',
  connection: { kind: 'connectionString', value: NO_STORAGE },
};

export function providerAt(endpoint: string, options: Partial<AzureOptions> = {}): AzureProvider {
  return new AzureProvider({
    endpoint,
    audience: endpoint,
    apiVersion,
    subscriptions: [SUBSCRIPTION],
    installation: 'main',
    captureAccounts: [account],
    credential: { getToken: async () => ({ token: 'secret', expiresOnTimestamp: Date.now() + 3_600_000 }) },
    now: () => new Date(),
    timeout: (ms) => AbortSignal.timeout(ms),
    ...options,
  });
}

/** A request for a capture on a machine of the emulator's first group, or on any other target by its ARM id. */
export const wanted = (target: string, runId = nextRun()) => ({
  runId,
  target: (target.startsWith('/') ? target : machine(target)).toLowerCase(),
  capture: {},
  limits,
});

export async function errorOf(work: Promise<unknown>): Promise<ProviderError> {
  try {
    await work;
  } catch (error) {
    if (error instanceof ProviderError) return error;
    throw new Error(`not a ProviderError: ${String(error)}`, { cause: error });
  }
  throw new Error('nothing was thrown');
}

export type Exchange = { status: number; headers?: Record<string, string>; body?: unknown; bodyText?: string };
export type Call = { method: string; url: URL; headers: IncomingHttpHeaders; body: unknown };

/** Made up in ARM's documented shape. */
export const failure = (status: number, code: string, message = 'Words.'): Exchange => ({
  status,
  body: { error: { code, message } },
});

/** An HTTP server that answers as the test says, for what the emulator never does. */
export class FakeArm {
  calls: Call[] = [];
  answer: (call: Call) => Exchange | undefined = () => undefined;
  readonly #server: Server;

  private constructor(server: Server) {
    this.#server = server;
  }

  static async start(): Promise<FakeArm> {
    const server = createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on('data', (chunk: Buffer) => chunks.push(chunk));
      request.on('end', () => {
        const url = new URL(request.url ?? '/', `http://${request.headers.host ?? ''}`);
        const sent = Buffer.concat(chunks).toString();
        const body: unknown = sent === '' ? undefined : JSON.parse(sent);
        const call = { method: request.method ?? '', url, headers: request.headers, body };
        arm.calls.push(call);
        const answer = arm.answer(call) ?? failure(404, 'NotFound');
        const text =
          answer.bodyText ?? (answer.body === undefined || answer.body === null ? '' : JSON.stringify(answer.body));
        response
          .writeHead(answer.status, { 'content-type': 'application/json; charset=utf-8', ...answer.headers })
          .end(text);
      });
    });
    const arm = new FakeArm(server);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return arm;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  stop(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }
}

/** An agent extension as it stands in a machine's `resources` or in a scale set's model. */
export const agent = {
  properties: {
    publisher: 'Microsoft.Azure.NetworkWatcher',
    type: 'NetworkWatcherAgentLinux',
    provisioningState: 'Succeeded',
  },
};

export const watcherIn = (location: string, resourceGroup = 'NetworkWatcherRG') => ({
  id: `/subscriptions/${SUBSCRIPTION}/resourceGroups/${resourceGroup}/providers/Microsoft.Network/networkWatchers/nw-1`,
  name: 'nw-1',
  location,
  properties: {},
});
