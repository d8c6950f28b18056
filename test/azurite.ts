import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';

/** Azurite in memory on free ports of 127.0.0.1, as a process of its own. */
export type Azurite = { connectionString: string; blobPort: number; stop: () => Promise<void> };

// The published development account of every Azurite.
const account = 'devstoreaccount1';
const key = 'Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==';
const root = join(import.meta.dirname, '..');

/** A connection string for that account at the given ports. */
export function connectionStringFor(ports: {
  blob?: string | number;
  queue?: string | number;
  table?: string | number;
}): string {
  const endpoints = Object.entries(ports).map(
    ([kind, port]) => `${kind[0]?.toUpperCase()}${kind.slice(1)}Endpoint=http://127.0.0.1:${port}/${account}`,
  );
  return ['DefaultEndpointsProtocol=http', `AccountName=${account}`, `AccountKey=${key}`, ...endpoints, ''].join(';');
}

export async function startAzurite(blobPort = 0): Promise<Azurite> {
  const ports = { blob: blobPort, queue: 0, table: 0 };
  const where = Object.entries(ports).flatMap(([kind, port]) => [
    `--${kind}Host`,
    '127.0.0.1',
    `--${kind}Port`,
    String(port),
  ]);
  const flags = ['--inMemoryPersistence', '--skipApiVersionCheck', '--disableTelemetry', '--silent'];
  const child = spawn(
    join(root, 'node_modules/.bin/node'),
    [join(root, 'node_modules/azurite/dist/src/azurite.js'), ...flags, ...where],
    {
      // The child must not take itself for a part of the test runner.
      env: { PATH: process.env['PATH'] },
      stdio: ['ignore', 'pipe', 'pipe'],
    },
  );
  let output = '';
  const listening = (kind: string): string | undefined =>
    new RegExp(`${kind} service is successfully listening at http://127\\.0\\.0\\.1:(\\d+)`).exec(output)?.[1];
  await new Promise<void>((ready, fail) => {
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (chunk) => {
        output += String(chunk);
        if (['Blob', 'Queue', 'Table'].every(listening)) ready();
      });
    }
    child.once('exit', (code) => fail(new Error(`Azurite ended (${code}): ${output}`)));
  });
  const [blob, queue, table] = ['Blob', 'Queue', 'Table'].map((kind) => listening(kind) ?? '') as [
    string,
    string,
    string,
  ];
  return {
    connectionString: connectionStringFor({ blob, queue, table }),
    blobPort: Number(blob),
    async stop() {
      const ended = once(child, 'exit');
      child.kill('SIGKILL');
      await ended;
    },
  };
}
