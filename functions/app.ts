import { AsyncLocalStorage } from 'node:async_hooks';
import { resolve } from 'node:path';
import type { InvocationContext } from '@azure/functions';
import type { App } from '../shared/app.ts';
import { systemClock } from '../shared/clock.ts';
import { readConfig } from '../shared/config.ts';
import { formatLog, type Log, type LogDetails } from '../shared/log.ts';

/** The settings, read once. Reading them cannot fail: faults are in `config.problems`. */
const settings = readConfig(process.env);
export const config = { ...settings, rulesFile: resolve(import.meta.dirname, '..', settings.rulesFile) };

// What the app says belongs to the invocation in which it says it.
const invocations = new AsyncLocalStorage<InvocationContext>();

const log: Log = {
  info: (message: string, details?: LogDetails) =>
    (invocations.getStore() ?? console).info(formatLog(message, details)),
  warn: (message: string, details?: LogDetails) =>
    (invocations.getStore() ?? console).warn(formatLog(message, details)),
  error: (message: string, details?: LogDetails) =>
    (invocations.getStore() ?? console).error(formatLog(message, details)),
};

let app: Promise<App> | undefined;

/** The one app of this process, loaded and made at first use: registering functions costs nothing. */
function theApp(): Promise<App> {
  return (app ??= import('../shared/app.ts').then(({ createApp }) => createApp(config, process.env, systemClock, log)));
}

/** Runs one invocation against the app. */
export function inApp<T>(context: InvocationContext, work: (app: App) => Promise<T>): Promise<T> {
  return invocations.run(context, async () => work(await theApp()));
}

/** Gets ready what the first alert would otherwise wait for. */
export async function warmUp(): Promise<void> {
  await (await theApp()).warmUp();
}
