import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import type { AppFunction } from './core.ts';

/**
 * What package.json, host.json and the app settings say. App settings are environment variables; overriding host.json
 * by `AzureFunctionsJobHost__…` settings is left out.
 */
export interface Settings {
  /** Entry file of the app, relative to its folder. */
  entry: string;
  /** Under this id the host keeps its receipts and timers in storage: another id means everything fires anew. */
  hostId: string;
  routePrefix: string;
  queues: {
    batchSize: number;
    newBatchThreshold: number;
    maxPollingMs: number;
    /** How long a failed message stays invisible. */
    visibilityTimeoutSeconds: number;
    maxDequeueCount: number;
    messageEncoding: 'base64' | 'none';
  };
  /** How many blobs are worked on at once. */
  blobParallelism: number;
}

interface HostJson {
  id?: string;
  extensions?: {
    http?: { routePrefix?: string };
    queues?: {
      batchSize?: number;
      newBatchThreshold?: number;
      maxPollingInterval?: string;
      visibilityTimeout?: string;
      maxDequeueCount?: number;
      messageEncoding?: string;
    };
    blobs?: { maxDegreeOfParallelism?: number };
  };
}

/** Reads the app's package.json and host.json, with the real host's defaults; throws if either cannot be read. */
export function readSettings(appDirectory: string): Settings {
  const readJson = (file: string): unknown => JSON.parse(readFileSync(join(appDirectory, file), 'utf8'));
  const manifest = readJson('package.json') as { name?: string; main?: string };
  const { id, extensions = {} } = readJson('host.json') as HostJson;
  if (manifest.main === undefined) throw new Error('package.json has no "main"');

  const queues = extensions.queues ?? {};
  const batchSize = Math.min(queues.batchSize ?? 16, 32);
  return {
    entry: manifest.main,
    // The real host takes it from the site's name or the machine; here it must survive a move of the folder.
    hostId: id ?? hostIdOf(manifest.name ?? 'app'),
    routePrefix: extensions.http?.routePrefix ?? 'api',
    queues: {
      batchSize,
      newBatchThreshold: queues.newBatchThreshold ?? Math.max(1, Math.floor(batchSize / 2)) * availableParallelism(),
      maxPollingMs: timeSpanMs(queues.maxPollingInterval ?? '00:00:02'), // the default of a development host
      visibilityTimeoutSeconds: Math.round(timeSpanMs(queues.visibilityTimeout ?? '00:00:00') / 1000),
      maxDequeueCount: queues.maxDequeueCount ?? 5,
      messageEncoding: queues.messageEncoding === 'none' ? 'none' : 'base64',
    },
    blobParallelism: extensions.blobs?.maxDegreeOfParallelism ?? 8 * availableParallelism(),
  };
}

/** At most 32 lower-case letters, digits and single dashes, as queue names allow. */
function hostIdOf(packageName: string): string {
  const dashed = packageName.toLowerCase().replaceAll(/[^a-z0-9]+/g, '-');
  return dashed.slice(0, 32).replaceAll(/^-|-$/g, '');
}

/** A .NET TimeSpan `[d.]hh:mm:ss[.fff]` in milliseconds. */
function timeSpanMs(text: string): number {
  const parts = /^(?:(\d+)\.)?(\d+):(\d+):(\d+(?:\.\d+)?)$/.exec(text);
  if (parts === null) throw new Error(`host.json: "${text}" is not a time span (hh:mm:ss)`);
  const [days, hours, minutes, seconds] = parts.slice(1).map((part) => Number(part ?? 0)) as [
    number,
    number,
    number,
    number,
  ];
  return (((days * 24 + hours) * 60 + minutes) * 60 + seconds) * 1000;
}

/** An option of a trigger, with `%NAME%` replaced by the app setting NAME; throws if either is missing. */
export function triggerOption(fn: AppFunction, option: string, env: NodeJS.ProcessEnv): string {
  const text = fn.trigger[option];
  if (typeof text !== 'string') throw new Error(`its trigger has no "${option}"`);
  return text.replaceAll(/%([^%]+)%/g, (_, name: string) => {
    const value = env[name];
    if (value === undefined) throw new Error(`the app setting ${name} is missing`);
    return value;
  });
}

/**
 * The connection string in the app setting that a trigger (or the host: `AzureWebJobsStorage`) names. Connections by
 * identity (`NAME__queueServiceUri` and the like) are left out: there is no identity here.
 */
export function connectionString(name: string, env: NodeJS.ProcessEnv): string {
  const value = env[name] ?? env[`AzureWebJobs${name}`];
  if (!value) throw new Error(`the app setting ${name} with a storage connection string is missing`);
  return value;
}

export function isDisabled(fn: AppFunction, env: NodeJS.ProcessEnv): boolean {
  return /^(true|1)$/i.test(env[`AzureWebJobs.${fn.name}.Disabled`] ?? '');
}
