import { createHash } from 'node:crypto';
import type { Clock } from '../clock.ts';
import type { Log } from '../log.ts';
import { CaptureReader } from '../pcap/summary.ts';
import { mostFiles } from '../run/run.ts';
import type { RunStore } from '../run/store.ts';
import type { Table } from '../storage/table.ts';
import type { CaptureAccounts } from './accounts.ts';
import { parseDefaultPath } from './blob-path.ts';
import { toCapture, type Capture } from './entry.ts';
import { readMetadata } from './mirror.ts';
import { captureId, type CaptureStore } from './store.ts';

export type CatalogParts = {
  accounts: CaptureAccounts;
  captures: CaptureStore;
  runs: RunStore;
  state: Table;
  clock: Clock;
  log: Log;
};

type SweepMark = { next?: string | undefined; startedAt: string; since: string; failed: boolean };

/** Turns blobs into catalogue entries, and finds those that no event told of. */
export class Catalog {
  readonly #parts: CatalogParts;

  constructor(parts: CatalogParts) {
    this.#parts = parts;
  }

  async exists(account: string, container: string, blob: string): Promise<boolean> {
    return (await this.#parts.accounts.find(account, container, blob)) !== undefined;
  }

  /**
   * Files whose paths begin so and that are not in the catalogue as they are, or not as this run's, or of which the run was not told; at
   * most some thousand.
   */
  async missing(
    account: string,
    container: string,
    beginning: string,
    { id: runId, files }: { id: string; files: readonly { id: string }[] },
  ): Promise<string[]> {
    const page = await this.#parts.accounts.list(account, container, undefined, beginning);
    const known = await Promise.all(
      (page?.blobs ?? []).map(async (blob) => {
        const entry = await this.#parts.captures.get(captureId(account, container, blob.name));
        const isTold = files.length >= mostFiles || files.some((file) => file.id === entry?.id);
        return entry?.runId === runId && isTold && isOf(entry, blob) ? [] : [blob.name];
      }),
    );
    return known.flat();
  }

  /**
   * Catalogues one blob, reading it once as a stream, and says which entry came of it; undefined when there is no such blob.
   * The same version again changes nothing but the run it belongs to, should that be known only now.
   *
   * A file belongs to the run that claims its path. Where none does, it stays with the run that it has, or goes to the one that
   * its metadata names, if there is such a run: so what the metadata says gives a file to a run and takes it from none.
   */
  async add(account: string, container: string, blob: string): Promise<Capture | undefined> {
    const { accounts, captures, runs, clock, log } = this.#parts;
    const found = await accounts.find(account, container, blob);
    if (!found) return undefined;
    const id = captureId(account, container, blob);
    const named = readMetadata(found.metadata);
    const [known, claimant] = await Promise.all([captures.get(id), runs.claimant(container, blob)]);
    const same = known?.etag === found.etag ? known : undefined;
    const owner = claimant ?? same?.runId;
    const candidate = owner ?? named.run;
    const run = candidate === undefined ? undefined : await runs.get(candidate);
    // Who claimed the file was a run; what the metadata names may be none.
    const runId = owner ?? run?.id;
    const target = run?.target ?? parseDefaultPath(blob)?.target;
    if (same) {
      if (same.runId === runId) return same;
      const claimed: Capture = { ...same, runId, target };
      await captures.save(claimed, found.modifiedAt);
      return claimed;
    }

    const hash = createHash('sha256');
    const reader = new CaptureReader();
    let bytes = 0;
    for await (const chunk of accounts.read(account, container, blob, found.etag)) {
      hash.update(chunk);
      reader.push(chunk);
      bytes += chunk.byteLength;
    }
    const file = { id, account, container, blob, etag: found.etag, bytes, sha256: hash.digest('hex') };
    const capture = toCapture(file, reader.end(), { runId, target, mirror: named.mirror }, clock.now());
    await captures.save(capture, found.modifiedAt);
    log.info(`catalogued ${blob}: ${capture.verdict.summary}`, { capture: id, run: runId });
    return capture;
  }

  /**
   * Looks through one page of a container for files that no event told of (or whose event failed for good), and hands each to
   * `missed`. The next call goes on where this one ended; a finished round remembers when it began and the next one passes over
   * what is older, so that its cost is one listing, not one look-up per file of all time.
   */
  async sweep(account: string, container: string, missed: (blob: string) => Promise<void>): Promise<number> {
    const { accounts, captures, state, clock, log } = this.#parts;
    const now = clock.now();
    const row = await state.get<SweepMark>('sweep', `${account}-${container}`);
    const last = row?.value;
    // A round that left a file behind does not count as one: the next looks as far back as it did.
    const mark: SweepMark = last?.next
      ? last
      : {
          startedAt: now.toISOString(),
          since: (last?.failed ? last.since : last?.startedAt) ?? new Date(0).toISOString(),
          failed: false,
        };
    let failed = mark.failed;
    const page = await accounts.list(account, container, mark.next);
    if (!page) return 0;
    // Files that were written shortly before the last round began may have been missed by it.
    const since = Date.parse(mark.since) - 15 * 60_000;
    let found = 0;
    for (const blob of page.blobs) {
      if (blob.modifiedAt.getTime() < since) continue;
      const known = await captures.get(captureId(account, container, blob.name));
      if (known && isOf(known, blob)) continue;
      // The event may just be on its way.
      if (now.getTime() - blob.modifiedAt.getTime() < 30_000) continue;
      found++;
      try {
        await missed(blob.name);
      } catch (error) {
        failed = true;
        log.error(`sweep: ${blob.name} could not be catalogued`, { error });
      }
    }
    await state.put('sweep', `${account}-${container}`, { ...mark, failed, next: page.next } satisfies SweepMark);
    return found;
  }
}

/** An entry describes the version of a blob that is listed. Listings write ETags without the quotes that headers have. */
function isOf(entry: Capture, listed: { etag: string }): boolean {
  return entry.etag.replaceAll('"', '') === listed.etag.replaceAll('"', '');
}
