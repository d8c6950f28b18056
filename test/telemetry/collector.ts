import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type ServerOptions } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import { gunzipSync } from 'node:zlib';

/** An item as the ingestion service of Application Insights takes it. */
export type Envelope = {
  name: string;
  time: string;
  sampleRate?: number;
  tags: Record<string, string>;
  data: { baseType: string; baseData: any };
};

export type Collector = {
  connectionString: string;
  /** Lets a Node process that is started with it believe the collector's certificate. */
  env: { NODE_EXTRA_CA_CERTS: string };
  envelopes: Envelope[];
  /** Each body as text, as it came. */
  bodies: string[];
  requests: { path: string; authorization: string | undefined }[];
  /** Answers with this from now on. */
  answer: (status: number) => void;
  stop: () => Promise<void>;
};

/**
 * The ingestion service of Application Insights, as far as its exporter talks to it: POST /v2.1/track over TLS, which the exporter
 * insists on also where its endpoint says http. This process believes its certificate, too.
 */
export async function startCollector(): Promise<Collector> {
  const folder = mkdtempSync(join(tmpdir(), 'tripcap-collector-'));
  const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')];
  execFileSync(
    'openssl',
    [
      ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'],
      ...['-subj', '/CN=collector', '-addext', 'subjectAltName=IP:127.0.0.1', '-keyout', key, '-out', cert],
    ],
    { stdio: 'pipe' },
  );
  setDefaultCACertificates([...getCACertificates(), readFileSync(cert, 'utf8')]);
  const options: ServerOptions = { key: readFileSync(key), cert: readFileSync(cert) };
  let status = 200;
  const envelopes: Envelope[] = [];
  const bodies: string[] = [];
  const requests: Collector['requests'] = [];
  const server = createServer(options, (request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const bytes = Buffer.concat(chunks);
      const text = (request.headers['content-encoding'] === 'gzip' ? gunzipSync(bytes) : bytes).toString();
      requests.push({ path: `${request.method} ${request.url}`, authorization: request.headers.authorization });
      bodies.push(text);
      const items = JSON.parse(text) as Envelope[];
      if (status === 200) envelopes.push(...items);
      response.writeHead(status, { 'content-type': 'application/json' });
      response.end(JSON.stringify({ itemsReceived: items.length, itemsAccepted: items.length, errors: [] }));
    });
  });
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  const { port } = server.address() as AddressInfo;
  return {
    connectionString: `InstrumentationKey=00000000-0000-0000-0000-000000000000;IngestionEndpoint=http://127.0.0.1:${port}/`,
    env: { NODE_EXTRA_CA_CERTS: cert },
    envelopes,
    bodies,
    requests,
    answer: (code) => void (status = code),
    async stop() {
      server.closeAllConnections();
      await new Promise((closed) => server.close(closed));
      rmSync(folder, { recursive: true });
    },
  };
}
