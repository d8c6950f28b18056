import { resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { blobTrigger, startBlobs } from './blob.ts';
import type { BlobTrigger } from './blob.ts';
import { createCore } from './core.ts';
import type { AppFunction } from './core.ts';
import { httpRoute, serve } from './http.ts';
import type { HttpRoute } from './http.ts';
import { consoleLog as log, describe } from './log.ts';
import { startQueue } from './queue.ts';
import { isDisabled, readSettings } from './settings.ts';
import { startTimer } from './timer.ts';
import type { Host, Run } from './trigger.ts';

/**
 * A small Azure Functions host: runs a Node app of the v4 programming model in this process, on the app's real
 * `@azure/functions`, with HTTP, timer, queue and blob triggers. It knows nothing of the app it runs; the same app must
 * start under Core Tools (`func start`) as well, which was not tried here.
 *
 *     node local/host/main.ts --app DIR --port N [--json PATH=FILE …] [--key FUNCTION=KEY …] [--drop-blob-events]
 *
 * - `--app`   folder with package.json (`main`: one exact file) and host.json; app settings are environment variables
 * - `--port`  on 127.0.0.1; 0 picks a free one
 * - `--json`  GET PATH answers the content of FILE, read at each request; 503 while there is none
 * - `--key`   the HTTP function FUNCTION answers 401 without its KEY; any of them where it is given several
 * - `--drop-blob-events`  loses every blob event for good, to see what an app does about files nobody told it of
 *
 * Prints `ready http://127.0.0.1:PORT` when it serves. What it does differently from the real host is said where it is
 * done; besides, `functionTimeout` is not enforced, and bindings other than the trigger and the HTTP response put a
 * function in error.
 */

/** How long requests and messages under way may take after SIGTERM. */
const drainMs = 8_000;

const { values } = parseArgs({
  options: {
    app: { type: 'string' },
    port: { type: 'string' },
    json: { type: 'string', multiple: true, default: [] },
    key: { type: 'string', multiple: true, default: [] },
    'drop-blob-events': { type: 'boolean', default: false },
  },
});
const pair = (each: string): [string, string] => {
  const split = each.indexOf('=');
  return [each.slice(0, split), each.slice(split + 1)];
};
const isPair = (each: string): boolean => /^[^=]+=./.test(each);
if (values.app === undefined || !/^\d+$/.test(values.port ?? '') || ![...values.json, ...values.key].every(isPair)) {
  console.error('usage: main.ts --app DIR --port N [--json PATH=FILE …] [--key FUNCTION=KEY …] [--drop-blob-events]');
  process.exit(2);
}
const appDirectory = resolve(values.app);
const jsonFiles = new Map(values.json.map(pair).map(([path, file]) => [path, resolve(file)]));
const keys = new Map<string, string[]>();
for (const [name, key] of values.key.map(pair)) keys.set(name, [...(keys.get(name) ?? []), key]);
process.chdir(appDirectory); // where the real worker runs

const settings = readSettings(appDirectory);
const core = createCore(log);
const host: Host = { env: process.env, settings, invoke: core.invoke, log };

// Before the app loads, whose promises may already go unhandled. The real worker dies of these, too.
let failOpenRequests = (): void => undefined;
const crash = (kind: string) => (error: unknown) => {
  log('critical', 'host', `${kind}: ${describe(error)}`);
  failOpenRequests();
  setImmediate(() => process.exit(1));
};
process.on('uncaughtException', crash('uncaught exception'));
process.on('unhandledRejection', crash('unhandled rejection'));

await core.load(appDirectory, settings.entry);

const routes: HttpRoute[] = [];
const blobs: BlobTrigger[] = [];
const starts: (() => void)[] = [];
const runs = new Map<string, Run>();
const stops: (() => Promise<void>)[] = [];

/** Sorts a function to its trigger; throws if this host cannot run it. */
function prepare(fn: AppFunction): void {
  const extra = Object.values(fn.bindings).find((each) => each !== fn.trigger && each.type !== 'http');
  if (extra !== undefined) throw new Error(`this host has no ${extra.type} binding (${extra.direction})`);
  switch (fn.trigger.type) {
    case 'httpTrigger':
      routes.push(httpRoute(fn, settings.routePrefix));
      return;
    case 'timerTrigger':
    case 'queueTrigger': {
      const start = fn.trigger.type === 'timerTrigger' ? startTimer : startQueue;
      starts.push(() =>
        attempt(fn.name, () => {
          const listener = start(fn, host);
          runs.set(fn.name, listener.run);
          stops.push(listener.stop);
        }),
      );
      return;
    }
    case 'blobTrigger':
      blobs.push(blobTrigger(fn, host));
      return;
    default:
      throw new Error(`this host has no ${fn.trigger.type}`);
  }
}

/** One function that cannot be run leaves the others alone. */
function attempt(name: string, step: () => void): void {
  try {
    step();
  } catch (error) {
    log('error', name, `is in error: ${describe(error)}`);
  }
}

for (const fn of core.functions.values()) {
  if (isDisabled(fn, process.env)) log('information', fn.name, 'is disabled');
  else attempt(fn.name, () => prepare(fn));
}

const server = await serve({ port: Number(values.port), routes, runs, jsonFiles, keys, invoke: core.invoke, log });
failOpenRequests = server.fail;
stops.push(server.stop);
for (const start of starts) start();
if (blobs.length > 0) {
  attempt('blobs', () => {
    const listening = startBlobs(blobs, host, values['drop-blob-events']);
    for (const [name, run] of listening.runs) runs.set(name, run);
    stops.push(listening.stop);
  });
}

let stopping = false;
async function shutDown(signal: string): Promise<void> {
  if (stopping) return;
  stopping = true;
  log('information', 'host', `${signal}: stopping`);
  const drained = Promise.all(stops.map((stop) => stop()));
  await Promise.race([drained, delay(drainMs)]);
  await core.terminate();
  process.exit(0);
}
process.on('SIGTERM', () => void shutDown('SIGTERM'));
process.on('SIGINT', () => void shutDown('SIGINT'));

console.log(`ready http://127.0.0.1:${server.port}`);
