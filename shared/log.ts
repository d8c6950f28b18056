/** What the app says of itself. Never payloads, keys or links. */
export interface Log {
  info(message: string, details?: LogDetails): void;
  warn(message: string, details?: LogDetails): void;
  error(message: string, details?: LogDetails): void;
}

export type LogDetails = {
  run?: string | undefined;
  alert?: string | undefined;
  capture?: string | undefined;
  error?: unknown;
};

/** One readable line: the message, then what it is about, then the error with its causes. */
export function formatLog(message: string, { error, ...about }: LogDetails = {}): string {
  const parts = Object.entries(about).flatMap(([name, value]) => (value === undefined ? [] : [`${name}=${value}`]));
  const causes: string[] = [];
  for (let e = error; e instanceof Error && causes.length < 4; e = e.cause) causes.push(`${e.name}: ${e.message}`);
  return (
    [message, parts.length > 0 && `[${parts.join(' ')}]`, causes.length > 0 && `(${causes.join(' <- ')})`]
      .filter(Boolean)
      .join(' ')
      // A line is a line, whatever somebody outside has put into a name.
      .replaceAll(/\p{Cc}/gu, ' ')
  );
}
