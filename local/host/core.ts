import { randomBytes, randomUUID } from 'node:crypto';
import Module from 'node:module';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { describe } from './log.ts';
import type { Level, Log } from './log.ts';

/**
 * `@azure/functions-core` for one app in this process. That module is no package: the real worker answers the
 * library's `require('@azure/functions-core')` itself, and so does this one. The library keeps what it got in module
 * state and cannot be reset, therefore one app per process.
 *
 * Left out: HTTP streaming (`app.setup({ enableHttpStream: true })`), input and output bindings, and what belongs to
 * the real worker's transport (gRPC size limits, Long for integers, reloading the environment).
 */

/** A value on its way between host and library: at most one member is set. */
export interface TypedData {
  string?: string;
  json?: string;
  bytes?: Uint8Array;
  http?: HttpRequestData | HttpResponseData;
  modelBindingData?: { version: string; source: string; contentType: string; content: Buffer };
}

type Nullable<T> = { value: T };

export interface HttpRequestData {
  method: string;
  url: string;
  nullableHeaders: Record<string, Nullable<string>>;
  nullableQuery: Record<string, Nullable<string>>;
  nullableParams: Record<string, Nullable<string>>;
  headers: Record<string, never>;
  query: Record<string, never>;
  params: Record<string, never>;
  body?: { bytes: Uint8Array };
}

export interface HttpCookie {
  name: string;
  value: string;
  domain?: Nullable<string>;
  path?: Nullable<string>;
  expires?: Nullable<{ seconds: number }>;
  secure?: Nullable<boolean>;
  httpOnly?: Nullable<boolean>;
  sameSite?: 'none' | 'lax' | 'strict' | 'explicitNone';
  maxAge?: Nullable<number>;
}

export interface HttpResponseData {
  statusCode: string;
  headers: Record<string, string>;
  cookies: HttpCookie[];
  body?: { bytes?: Uint8Array };
}

type Binding = Record<string, unknown> & { type: string; direction: 'in' | 'out' };

/** A function as the app registered it. */
export interface AppFunction {
  name: string;
  /** Name of the trigger among the bindings; input data is sent under it. */
  triggerName: string;
  /** The options the app gave its trigger, plus `type`. */
  trigger: Binding;
  bindings: Record<string, Binding>;
  callback: Callback;
}

type Callback = (...args: unknown[]) => unknown;

interface Invocation {
  input: TypedData;
  metadata?: Record<string, TypedData>;
  /** W3C traceparent of the caller, to be continued; a new trace without it. */
  traceParent?: string | undefined;
}

interface InvocationResponse {
  returnValue?: TypedData | null;
}

export interface Core {
  functions: ReadonlyMap<string, AppFunction>;
  /**
   * Loads the app's entry file, runs the appStart hooks and ends registration. What goes wrong is logged and leaves an
   * app without functions, also without those registered before the fault: the real host stays up just so.
   */
  load: (appDirectory: string, entry: string) => Promise<void>;
  /** Runs a function once. Logs how it went; throws what the function (or a hook, or the library) threw. */
  invoke: (fn: AppFunction, invocation: Invocation) => Promise<InvocationResponse>;
  /** Runs the appTerminate hooks. */
  terminate: () => Promise<void>;
}

interface ProgrammingModel {
  getInvocationModel(context: object): {
    getArguments(): Promise<{ context: object; inputs: unknown[] }>;
    invokeFunction(context: object, inputs: unknown[], callback: Callback): Promise<unknown>;
    getResponse(context: object, result: unknown): Promise<InvocationResponse>;
  };
  getCapabilities(defaults: Record<string, string>): Promise<Record<string, string>>;
}

type Hook = (context: object) => unknown;

class Disposable {
  readonly #undo: () => void;
  constructor(undo: () => void) {
    this.#undo = undo;
  }
  static from(...disposables: { dispose(): void }[]): Disposable {
    return new Disposable(() => disposables.forEach((each) => each.dispose()));
  }
  dispose(): void {
    this.#undo();
  }
}

/** Must be called before the app's first `app.*` call: the library asks once and remembers a failure for good. */
export function createCore(log: Log): Core {
  const functions = new Map<string, AppFunction>();
  const hooks: Record<'preInvocation' | 'postInvocation' | 'appStart' | 'appTerminate' | 'log', Hook[]> = {
    preInvocation: [],
    postInvocation: [],
    appStart: [],
    appTerminate: [],
    log: [],
  };
  const appHooks = { hookData: {}, appHookData: {} };
  let model: ProgrammingModel | undefined;
  let locked = false;

  /** One log call of the app or the library; log hooks may change what is the user's own. */
  function emit(level: Level, category: string, message: string, source = 'app', invocation: object = appHooks): void {
    const event = { appHookData: appHooks.appHookData, ...invocation, level, message, category };
    for (const hook of hooks.log) {
      try {
        hook(event);
      } catch {
        // A log hook must not break what it listens to; the real worker swallows this too.
      }
    }
    if (category === 'user') log(event.level, source, event.message);
    else log(level, source, message);
  }

  function registerFunction(
    metadata: { name: string; functionId?: string; bindings: Record<string, Binding> },
    callback: Callback,
  ): Disposable {
    if (locked) throw new Error('A function can only be registered during app startup.');
    const { name, bindings } = metadata;
    const id = metadata.functionId ?? name;
    if (functions.has(id)) throw new Error(`A function with id "${id}" has already been registered.`);
    const trigger = Object.entries(bindings).find(([, binding]) => /trigger$/i.test(binding.type));
    if (trigger === undefined) throw new Error(`Function "${name}" has no trigger.`);
    functions.set(id, { name, bindings, callback, triggerName: trigger[0], trigger: trigger[1] });
    return new Disposable(() => functions.delete(id));
  }

  function registerHook(name: string, hook: Hook): Disposable {
    if (!Object.hasOwn(hooks, name)) {
      throw Object.assign(new RangeError(`Unrecognized hook "${name}"`), { isAzureFunctionsSystemError: true });
    }
    const list = hooks[name as keyof typeof hooks];
    list.push(hook);
    return new Disposable(() => void list.splice(list.indexOf(hook), 1));
  }

  answerRequire('@azure/functions-core', {
    version: '3.12.0', // the worker this surface was taken from
    hostVersion: '4.1037.0',
    setProgrammingModel: (given: ProgrammingModel) => void (model = given),
    getProgrammingModel: () => model,
    registerFunction,
    registerHook,
    log: (level: Level, category: string, message: string) => emit(level, category, message),
    Disposable,
  });

  async function load(appDirectory: string, entry: string): Promise<void> {
    let failed = false;
    const attempt = async (what: string, step: () => unknown): Promise<void> => {
      try {
        await step();
      } catch (error) {
        failed = true;
        log('error', 'host', `${what} failed, so the app has no functions: ${describe(error)}`);
      }
    };
    await attempt(`loading ${entry}`, () => import(pathToFileURL(join(appDirectory, entry)).href));
    for (const hook of hooks.appStart) {
      await attempt('an appStart hook', () => hook({ ...appHooks, functionAppDirectory: appDirectory }));
    }
    locked = true;
    await attempt('the setup of @azure/functions', async () => {
      const capabilities = await model?.getCapabilities({
        RawHttpBodyBytes: 'true',
        RpcHttpBodyOnly: 'true',
        UseNullableValueDictionaryForHttp: 'true',
      });
      if (capabilities?.['HttpUri'] !== undefined) throw new Error('this host does not provide HTTP streaming');
    });
    if (failed) functions.clear();
  }

  /** The order of things is the real worker's, and part of the contract with hooks. */
  async function run(fn: AppFunction, { input, metadata = {}, traceParent }: Invocation): Promise<InvocationResponse> {
    if (model === undefined) throw new Error('The app set no programming model.');
    const invocationId = randomUUID();
    let hookContext: object = appHooks;
    const coreContext = {
      invocationId,
      metadata: { name: fn.name, bindings: fn.bindings },
      state: undefined as string | undefined, // the library warns about logging after the invocation by it
      log: (level: Level, category: string, message: string) => emit(level, category, message, fn.name, hookContext),
      request: {
        invocationId,
        functionId: fn.name,
        inputData: [{ name: fn.triggerName, data: input }],
        triggerMetadata: metadata,
        retryContext: null,
        traceContext: { traceParent: childTrace(traceParent), traceState: '', attributes: {} },
      },
    };
    const phase = async (state: string, step: () => Promise<void>): Promise<void> => {
      coreContext.state = state;
      try {
        await step();
      } finally {
        coreContext.state = undefined;
      }
    };

    const invocation = model.getInvocationModel(coreContext);
    const { context, inputs } = await invocation.getArguments();
    const shared = { hookData: {}, appHookData: appHooks.appHookData, invocationContext: context };
    hookContext = shared;

    const before = { ...shared, functionCallback: fn.callback, inputs };
    await phase('preInvocationHooks', async () => {
      for (const hook of hooks.preInvocation) await hook(before);
    });
    const after: { result: unknown; error: unknown } = { result: null, error: null };
    const afterContext = Object.assign(after, shared, { inputs: before.inputs });
    await phase('invocation', async () => {
      try {
        after.result = await invocation.invokeFunction(context, before.inputs, before.functionCallback);
      } catch (error) {
        after.error = error;
      }
    });
    await phase('postInvocationHooks', async () => {
      for (const hook of hooks.postInvocation) await hook(afterContext);
    });
    // `throw undefined` counts as success in the real worker as well.
    if (after.error !== null && after.error !== undefined) {
      throw after.error instanceof Error ? after.error : new Error(describe(after.error));
    }
    return invocation.getResponse(context, after.result);
  }

  async function invoke(fn: AppFunction, invocation: Invocation): Promise<InvocationResponse> {
    const startedAt = performance.now();
    const elapsed = (): string => `${Math.round(performance.now() - startedAt)} ms`;
    try {
      const response = await run(fn, invocation);
      log('information', fn.name, `succeeded in ${elapsed()}`);
      return response;
    } catch (error) {
      log('error', fn.name, `failed after ${elapsed()}: ${describe(error)}`);
      throw error;
    }
  }

  async function terminate(): Promise<void> {
    for (const hook of hooks.appTerminate) {
      try {
        await hook({ ...appHooks });
      } catch (error) {
        log('error', 'host', `an appTerminate hook failed: ${describe(error)}`);
      }
    }
  }

  return { functions, load, invoke, terminate };
}

/** Lets `require(id)` answer `value` everywhere in this process, and leaves every other id alone. */
function answerRequire(id: string, value: object): void {
  // oxlint-disable-next-line typescript/unbound-method -- called below with its caller's `this`
  const original = Module.prototype.require;
  Module.prototype.require = function (this: Module, wanted: string): unknown {
    return wanted === id ? value : original.call(this, wanted);
  } as typeof original;
}

/** A traceparent (W3C Trace Context) with a new span, in the caller's trace where there is a valid one. */
function childTrace(traceParent: string | undefined): string {
  const trace = /^00-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}$/.exec(traceParent ?? '')?.[1];
  return `00-${trace ?? randomBytes(16).toString('hex')}-${randomBytes(8).toString('hex')}-01`;
}
