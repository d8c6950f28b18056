import type { IncomingMessage } from 'node:http';
import { Parameters } from './parameters.ts';

/** A request as the gateway reads it. */
export type Call = {
  method: string;
  path: string;
  host: string;
  headers: Record<string, string | undefined>;
  query: [string, string][];
  body: Buffer;
  /** Of the headers; in the query, as calls without a signature have them, otherwise. */
  version: string;
  action: string;
  /** Of the query and of a form in the body. */
  parameters: Parameters;
};

const MAX_BODY_BYTES = 1_048_576;

export async function readBody(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    // The rest is read and thrown away: an answer before the end of the request would be lost.
    if (size <= MAX_BODY_BYTES) chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

export function readCall(request: IncomingMessage, body: Buffer): Call {
  const headers = Object.fromEntries(
    Object.entries(request.headers).map(([name, value]) => [name, Array.isArray(value) ? value.join(',') : value]),
  );
  const host = headers['host'] ?? '127.0.0.1';
  const url = new URL(request.url ?? '/', `http://${host}`);
  const query = [...url.searchParams];
  const form = headers['content-type']?.startsWith('application/x-www-form-urlencoded')
    ? [...new URLSearchParams(body.toString())]
    : [];
  const parameters = new Parameters([...query, ...form].filter(([name]) => name !== 'Action' && name !== 'Version'));
  return {
    method: request.method ?? 'GET',
    path: url.pathname,
    host,
    headers,
    query,
    body,
    version: headers['x-acs-version'] ?? url.searchParams.get('Version') ?? '',
    action: headers['x-acs-action'] ?? url.searchParams.get('Action') ?? '',
    parameters,
  };
}
