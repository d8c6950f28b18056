import type { ServerResponse } from 'node:http';

/** An answer that is none of the cloud's own: some text in its place, or none at all. */
export type Unusual = { text: string; status: number; contentType: string } | { drop: 'reset' | 'hang' };

/** Sends it. A connection that is left open is closed by the client, or with the emulator. */
export function sendUnusual(response: ServerResponse, answer: Unusual): void {
  if ('text' in answer) response.writeHead(answer.status, { 'content-type': answer.contentType }).end(answer.text);
  else if (answer.drop === 'reset') response.socket?.resetAndDestroy();
}
