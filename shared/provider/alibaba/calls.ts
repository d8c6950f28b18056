import { beforeDeadline } from '../../clock.ts';
import type { TokenSource } from '../../identity.ts';
import { once } from '../../once.ts';
import { ProviderError } from '../provider.ts';
import { codeOf, isTransient, toProviderError } from './errors.ts';
import { KeySource, type Keys } from './keys.ts';
import { elapsed } from './pause.ts';
import type { AlibabaSignIn } from './settings.ts';
import type * as LazySdk from './vpc.lazy.ts';

export type CallOptions = {
  signIn: AlibabaSignIn;
  identity: TokenSource;
  /** `host:port` that takes all calls, by plain http. */
  endpoint: string | undefined;
  /** Region whose address exchanges tokens for keys. */
  home: string;
  now: () => Date;
  /** Aborts when that time is up. */
  timeout: (ms: number) => AbortSignal;
};

export type Sdk = typeof LazySdk;
export type VpcClient = InstanceType<Sdk['vpc']['default']>;

/** A call of an API whose package is not among ours. */
type PlainCall = {
  /** Of the API, without a scheme. */
  address: string;
  action: string;
  version: string;
  query?: Record<string, string>;
  body?: Record<string, string>;
};

const answerWithinMs = 10_000;
const signInWithinMs = 20_000;
// A call is made again so often for what passes, as long as its caller waits.
const attempts = 4;
const firstPauseMs = 200;
// Whoever would have to wait longer is told so instead.
const longestWaitMs = 3000;
const longestPauseMs = 5 * 60_000;

/** Makes calls of VPC and of other APIs through the SDK: signed, again with the same parameters for what passes, never sooner than asked. */
export class Calls {
  readonly #options: CallOptions;
  readonly #keys: KeySource;
  readonly #sdk = once(() => import('./vpc.lazy.ts'));
  readonly #pausedUntil = new Map<string, number>();

  constructor(options: CallOptions) {
    this.#options = options;
    const { signIn, identity, now } = options;
    this.#keys = new KeySource(signIn, identity, (request) => this.#assumeRole(request), now);
  }

  /** Gets the SDK and the keys. */
  async load(): Promise<void> {
    await Promise.all([this.#sdk(), this.#keys.get()]);
  }

  /** @throws what the SDK throws, or a ProviderError */
  async vpc<T>(
    region: string,
    action: string,
    signal: AbortSignal,
    call: (sdk: Sdk, client: VpcClient) => Promise<{ body?: T }>,
  ): Promise<T> {
    return this.#signed(region, action, signal, async (sdk, keys) => {
      const client = new sdk.vpc.default(this.#clientConfig(sdk, region, keys, undefined));
      const { body } = await call(sdk, client);
      if (body === undefined) throw new SyntaxError('an answer without a body');
      return body;
    });
  }

  /** Gives the answer as it is. @throws what the SDK throws, or a ProviderError */
  async plain(region: string, call: PlainCall, signal: AbortSignal): Promise<unknown> {
    return this.#signed(region, call.action, signal, (sdk, keys) => this.#rpc(sdk, region, keys, call));
  }

  /** Nobody's own signal ends it: others wait for the same keys. */
  async #assumeRole(body: Record<string, string>): Promise<unknown> {
    const { home, timeout } = this.#options;
    const sdk = await this.#sdk();
    const action = 'AssumeRoleWithOIDC';
    const call = { address: `sts.${home}.aliyuncs.com`, action, version: '2015-04-01', body };
    try {
      return await this.#repeated(home, action, timeout(signInWithinMs), () => this.#rpc(sdk, home, undefined, call));
    } catch (error) {
      const told = toProviderError('sign in to Alibaba Cloud', error);
      // Whatever is wrong with the request, it is one for keys.
      throw told.code === 'invalid' ? new ProviderError('unauthenticated', told.message, error) : told;
    }
  }

  async #signed<T>(
    region: string,
    action: string,
    signal: AbortSignal,
    call: (sdk: Sdk, keys: Keys) => Promise<T>,
  ): Promise<T> {
    const sdk = await this.#sdk();
    return this.#repeated(region, action, signal, async () => {
      const keys = await this.#keys.get();
      try {
        return await call(sdk, keys);
      } catch (error) {
        const code = codeOf(error) ?? '';
        // Keys that expire may have been taken back: new ones, once.
        if (!/^Invalid(SecurityToken|AccessKeyId)/.test(code) || !this.#keys.forget(keys)) throw error;
        return call(sdk, await this.#keys.get());
      }
    });
  }

  /** Makes a call until it is answered with something that does not pass, a few times at most and only as long as the signal lets it. */
  async #repeated<T>(region: string, action: string, signal: AbortSignal, call: () => Promise<T>): Promise<T> {
    const key = `${region} ${action}`;
    const { now, timeout } = this.#options;
    for (let attempt = 1, pauseMs = firstPauseMs; ; attempt++, pauseMs *= 3) {
      await this.#turn(key, action, signal);
      const late = Symbol();
      try {
        const answer = await beforeDeadline<T | typeof late>(call(), late, signal);
        if (answer === late) throw new ProviderError('unavailable', `${action}: no answer in time`);
        return answer as T;
      } catch (error) {
        const { retryAfter } = error as { retryAfter?: unknown };
        const isPaused = typeof retryAfter === 'number' && retryAfter > 0;
        if (isPaused) this.#pausedUntil.set(key, now().getTime() + Math.min(retryAfter, longestPauseMs));
        // What is a ProviderError already was tried again where it came from.
        if (signal.aborted || attempt >= attempts || error instanceof ProviderError || !isTransient(error)) throw error;
        if (isPaused && retryAfter > longestWaitMs) throw error;
        if (!isPaused) await elapsed(timeout(pauseMs), signal);
        if (signal.aborted) throw error;
      }
    }
  }

  /** Waits until the cloud wants to be asked again. */
  async #turn(key: string, action: string, signal: AbortSignal): Promise<void> {
    const { now, timeout } = this.#options;
    for (;;) {
      const leftMs = (this.#pausedUntil.get(key) ?? 0) - now().getTime();
      if (signal.aborted) throw new ProviderError('unavailable', `${action}: no time left`);
      if (leftMs <= 0) return;
      if (leftMs > longestWaitMs)
        throw new ProviderError(
          'throttled',
          `${action}: Alibaba Cloud asked to wait for another ${Math.ceil(leftMs / 1000)} s`,
        );
      await elapsed(timeout(leftMs), signal);
    }
  }

  async #rpc(
    { core, vpc, RuntimeOptions }: Sdk,
    region: string,
    keys: Keys | undefined,
    call: PlainCall,
  ): Promise<unknown> {
    const { Params, OpenApiRequest } = core.$OpenApiUtil;
    const { address, action, version, query, body } = call;
    // The client of VPC is one of any API but for the address. Without keys the SDK would look for some by itself.
    const client = new vpc.default(
      this.#clientConfig({ core }, region, keys ?? { id: 'none', secret: 'none' }, address),
    );
    const answer = (await client.callApi(
      new Params({
        action,
        version,
        protocol: 'HTTPS',
        pathname: '/',
        method: 'POST',
        authType: keys ? 'AK' : 'Anonymous',
        style: 'RPC',
        reqBodyType: 'formData',
        bodyType: 'json',
      }),
      new OpenApiRequest({ ...(query ? { query } : {}), ...(body ? { body } : {}) }),
      new RuntimeOptions({}),
    )) as { body?: unknown };
    return answer.body;
  }

  #clientConfig({ core }: Pick<Sdk, 'core'>, region: string, keys: Keys, address: string | undefined) {
    const { endpoint } = this.#options;
    const host = endpoint ?? address;
    return new core.$OpenApiUtil.Config({
      accessKeyId: keys.id,
      accessKeySecret: keys.secret,
      ...(keys.token === undefined ? {} : { securityToken: keys.token }),
      regionId: region,
      ...(host === undefined ? {} : { endpoint: host }),
      ...(endpoint === undefined ? {} : { protocol: 'http' }),
      // The smaller of the two is how long an answer may take.
      readTimeout: answerWithinMs,
      connectTimeout: answerWithinMs,
      userAgent: 'tripcap',
    });
  }
}
