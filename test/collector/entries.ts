import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from 'vitest';
import type { SessionStatus } from '../../collector/protocol.ts';
import { deriveId } from '../../shared/id.ts';

const folders: string[] = [];
afterAll(() => {
  for (const path of folders) rmSync(path, { recursive: true, force: true });
});

/** An empty folder that goes when the tests have ended. */
export function folder(): string {
  const path = mkdtempSync(join(tmpdir(), 'tripcap-collector-'));
  folders.push(path);
  return path;
}

let made = 0;

/** One entry of a list, as the app writes it. */
export type Entry = {
  run: string;
  session: string;
  region: string;
  vni: number;
  sources: { eni: string; address: string }[];
  maxBytes: number;
  until: string;
};

export function entry(sources: Record<string, string>, more: Partial<Entry> = {}): Entry {
  const vni = 4000 + made++;
  return {
    run: deriveId('collector test', String(vni)),
    session: `tms-${vni}`,
    region: 'cn-hongkong',
    vni,
    sources: Object.entries(sources).map(([eni, address]) => ({ eni, address })),
    maxBytes: 100_000_000,
    until: new Date(Date.now() + 3_600_000).toISOString(),
    ...more,
  };
}

/** What a status says of a session. */
export function of(
  status: { sessions: SessionStatus[] },
  { run, session }: { run: string; session: string },
): SessionStatus | undefined {
  return status.sessions.find((one) => one.run === run && one.session === session);
}

/** All that a session had is in storage. */
export function isSettled(
  status: { sessions: SessionStatus[] },
  which: { run: string; session: string },
  packets: number,
): boolean {
  const found = of(status, which);
  return found?.packets === packets && found.openBytes === 0 && found.uploaded === found.files;
}
