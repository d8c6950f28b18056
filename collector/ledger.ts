import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { log } from './log.ts';
import { writeWhole } from './whole-file.ts';

/** What must be remembered of a session when its files have gone. */
export type Ledger = {
  /** Of the files in storage. */
  uploaded: { files: number; bytes: number; packets: number };
  /** The file that was counted last: should it still be on disk, the process died before it was deleted. */
  last?: string;
  /** The next sequence number of each source. */
  next: Record<string, number>;
  /** The limit that was hit; a higher one opens the session again. */
  cappedAt?: number;
  disabledAt?: string;
  /** How often it was switched off: the cloud gives an old answer to an old request, so each time needs a token of its own. */
  switchRound: number;
};

const FILE = 'ledger.json';

/** The ledger in a session's folder; a new one where there is none. */
export function readLedger(directory: string): Ledger {
  const fresh: Ledger = { uploaded: { files: 0, bytes: 0, packets: 0 }, next: {}, switchRound: 0 };
  try {
    return { ...fresh, ...(JSON.parse(readFileSync(join(directory, FILE), 'utf8')) as Ledger) };
  } catch (error) {
    // A power failure may leave an empty file. Names tell files apart by their time as well, so nothing is overwritten.
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') log(`${join(directory, FILE)} is unreadable; begun anew`);
    return fresh;
  }
}

/** @throws what the file system throws */
export function writeLedger(directory: string, ledger: Ledger): void {
  writeWhole(join(directory, FILE), JSON.stringify(ledger));
}
