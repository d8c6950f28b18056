import { format } from 'node:util';

/** The levels of the Functions log, as the library sends them. */
export type Level = 'trace' | 'debug' | 'information' | 'warning' | 'error' | 'critical' | 'none';

/** Writes one line: time, level, function name (or `host`), message. */
export type Log = (level: Level, source: string, message: string) => void;

const labels: Partial<Record<Level, string>> = {
  information: 'info ',
  warning: 'warn ',
  error: 'error',
  critical: 'error',
};

/**
 * Log to the console. Trace and debug are dropped, which is the real host's default; `logging.logLevel` of host.json is
 * not read. A message of several lines becomes one line, so that lines can be told apart by their time.
 */
export const consoleLog: Log = (level, source, message) => {
  const label = labels[level];
  if (label === undefined) return;
  const stream = label === 'info ' ? process.stdout : process.stderr;
  stream.write(`${new Date().toISOString()} ${label} ${source}: ${message.trim().replaceAll(/\s*\n\s*/g, ' | ')}\n`);
};

/** An error for the log: with its stack and its causes. */
export function describe(error: unknown): string {
  return format(error);
}
