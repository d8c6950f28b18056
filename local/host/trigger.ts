import { setTimeout as delay } from 'node:timers/promises';
import type { Core } from './core.ts';
import type { Log } from './log.ts';
import type { Settings } from './settings.ts';

/** What a trigger needs of the host. */
export interface Host {
  env: NodeJS.ProcessEnv;
  settings: Settings;
  invoke: Core['invoke'];
  log: Log;
}

/** Runs a function once, out of turn (`POST /admin/functions/NAME`); `input` means what its trigger takes it for. */
export type Run = (input: string) => Promise<void>;

/** A trigger at work. */
export interface Listener {
  run: Run;
  /** Takes up nothing new; resolves when what is under way has ended. */
  stop: () => Promise<void>;
}

/** The container in which the real host, too, keeps receipts and timers. */
export const hostContainer = 'azure-webjobs-hosts';

/** The real host's name for a function in storage. */
export function functionId(name: string): string {
  return `Host.Functions.${name}`;
}

/** The text of a template between its placeholders, as a part of a regular expression. */
export function literalPattern(text: string): string {
  return text.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&');
}

/** Waits, or returns at once when `signal` aborts. */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  try {
    await delay(ms, undefined, { signal });
  } catch {
    // Aborted: the caller looks at the signal.
  }
}

/** Tells the log when something goes down and when it is back, and keeps quiet in between. */
export function outage(what: string, source: string, log: Log): { down(error: unknown): void; up(): void } {
  let isDown = false;
  return {
    down(error) {
      if (!isDown) log('warning', source, `${what} cannot be reached, trying on: ${String(error)}`);
      isDown = true;
    },
    up() {
      if (isDown) log('information', source, `${what} can be reached again`);
      isDown = false;
    },
  };
}
