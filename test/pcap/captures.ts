import { readdirSync, readFileSync } from 'node:fs';
import { CaptureReader, type CaptureSummary } from '../../shared/pcap/summary.ts';

/** The folder of the real capture files; their names are relative to it. */
export const CAPTURES = new URL('../fixtures/pcaps/', import.meta.url).pathname;

export const captureNames = ['tcpdump', 'zeek'].flatMap((folder) =>
  readdirSync(CAPTURES + folder)
    .toSorted()
    .map((name) => `${folder}/${name}`),
);

export function readCapture(name: string): Uint8Array {
  return readFileSync(CAPTURES + name);
}

/** Sums up a file whose bytes come in these chunks. */
export function summarise(...chunks: Uint8Array[]): CaptureSummary {
  const reader = new CaptureReader();
  for (const chunk of chunks) reader.push(chunk);
  return reader.end();
}

/** A generator of numbers from 0 up to but not including 1, the same ones for the same seed. */
export function seededRandom(seed: number): () => number {
  let state = seed | 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 0x1_0000_0000;
  };
}
