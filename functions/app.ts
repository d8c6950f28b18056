import { AsyncLocalStorage } from 'node:async_hooks';
import { resolve } from 'node:path';
import { app as host, type InvocationContext } from '@azure/functions';
import type { App } from '../shared/app.ts';
import { systemClock } from '../shared/clock.ts';
import { readConfig } from '../shared/config.ts';
import { formatLog, type Log, type LogDetails } from '../shared/log.ts';
import { traceOrNew } from '../shared/telemetry/trace.ts';

/** The settings, read once. Reading them cannot fail: faults are in `config.problems`. */
const settings = readConfig(process.env);
export const config = { ...settings, rulesFile: resolve(import.meta.dirname, '..', settings.rulesFile) };

/** An invocation under way, or one that is over and has left work behind. */
type Invoked = { context: InvocationContext; trace: string; over: boolean };

// What the app says belongs to the invocation in which it says it, as long as there is one: the host wants no word of it afterwards.
const invocations = new AsyncLocalStorage<Invoked>();
const speaker = (): Pick<InvocationContext, 'info' | 'warn' | 'error'> => {
  const invoked = invocations.getStore();
  return invoked && !invoked.over ? invoked.context : console;
};

const log: Log = {
  info: (message: string, details?: LogDetails) => speaker().info(formatLog(message, details)),
  warn: (message: string, details?: LogDetails) => speaker().warn(formatLog(message, details)),
  error: (message: string, details?: LogDetails) => speaker().error(formatLog(message, details)),
};

let app: Promise<App> | undefined;

/** The one app of this process, loaded and made at first use: registering functions costs nothing. */
function theApp(): Promise<App> {
  return (app ??= import('../shared/app.ts').then(({ createApp }) =>
    createApp(config, process.env, systemClock, log, () => {
      const invoked = invocations.getStore();
      if (!invoked) return undefined;
      const { functionName, invocationId } = invoked.context;
      return { trace: invoked.trace, function: functionName, id: invocationId };
    }),
  ));
}

let underWay = 0;

/** Runs one invocation against the app. */
export async function inApp<T>(context: InvocationContext, work: (app: App) => Promise<T>): Promise<T> {
  const invoked = { context, trace: traceOrNew(context.traceContext?.traceParent), over: false };
  underWay++;
  try {
    return await invocations.run(invoked, async () => work(await theApp()));
  } finally {
    invoked.over = true;
    underWay--;
  }
}

// Loading telemetry keeps the process from answering for a moment, so it waits until nothing is under way; but not for ever.
const quietCheckMs = 1000;
const longestWaitMs = 30_000;

/** Gets ready what the first alert would otherwise wait for; after that, in a quiet moment, telemetry. */
export async function warmUp(): Promise<void> {
  const ready = await theApp();
  await ready.warmUp();
  if (!config.telemetry) return;
  const latest = Date.now() + longestWaitMs;
  const check = setInterval(() => {
    if (underWay > 0 && Date.now() < latest) return;
    clearInterval(check);
    void ready.telemetry.load();
  }, quietCheckMs).unref();
}

if (config.telemetry) host.hook.appTerminate(async () => (await app)?.telemetry.flush());
