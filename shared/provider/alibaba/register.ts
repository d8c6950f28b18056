import { LIST_BLOB, type ExpectedSession, type SessionList } from '../../../collector/protocol.ts';
import type { Documents } from '../../storage/document.ts';
import { ProviderError } from '../provider.ts';
import type { NewSession } from './api.ts';

/**
 * What is mirrored, or about to be, in one document: the list that collectors go by, with members of our own besides, which they
 * pass over. It is written before anything is asked of the cloud, so that whoever comes after a crash asks for the same again.
 */
export type Register = Omit<SessionList, 'sessions'> & {
  sessions: RegisteredSession[];
  /** Until when `upload` is good. ISO 8601. */
  uploadUntil?: string | undefined;
  /** Sessions that are asked for and may not be there yet. */
  reserved: Reservation[];
  /** What a session had that is over: late packets with its number may still come. */
  retired: { region: string; vni: number; priority: number; at: string }[];
};

export type RegisteredSession = ExpectedSession & {
  mode: 'create' | 'enable';
  /** Id of the mirror target. */
  target: string;
  priority: number;
  /** When it was told to capture. ISO 8601. */
  enabledAt?: string | undefined;
};

type Reservation = { run: string; region: string; session: NewSession };

const retiredMs = 10 * 60_000;
const tries = 30;

/** How often collectors look at the list. */
const pollSeconds = 1;

export class RegisterFile {
  readonly #documents: Documents;
  readonly #uploadUrl: UploadUrl;
  readonly #now: () => Date;
  /** One after the other in this process: only other processes are raced against. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(documents: Documents, uploadUrl: UploadUrl, now: () => Date) {
    this.#documents = documents;
    this.#uploadUrl = uploadUrl;
    this.#now = now;
  }

  async read(): Promise<Register> {
    return parse((await this.#documents.read(LIST_BLOB))?.text);
  }

  /** Applies a pure change; again on what somebody else wrote meanwhile. `change` gives undefined where there is nothing to change. */
  update(change: (register: Register) => Register | undefined): Promise<Register> {
    const work = this.#last.then(
      () => this.#update(change),
      () => this.#update(change),
    );
    this.#last = work;
    return work;
  }

  /** What files are uploaded with: a link that lives a day, and is half as old at most when something begins. */
  async #renewed({ sessions, uploadUntil = '' }: Register): Promise<Partial<Register>> {
    const now = this.#now().getTime();
    const isGood = Date.parse(uploadUntil) - now > (uploadSeconds * 1000) / 2;
    if (sessions.length === 0 || isGood) return {};
    try {
      const sas = await this.#uploadUrl(uploadSeconds);
      return { upload: { sas }, uploadUntil: new Date(now + uploadSeconds * 1000).toISOString() };
    } catch {
      // A collector may have a way of its own; and if not, it keeps its files until there is a link again.
      return {};
    }
  }

  async #update(change: (register: Register) => Register | undefined): Promise<Register> {
    for (let attempt = 0; attempt < tries; attempt++) {
      const found = await this.#documents.read(LIST_BLOB);
      const now = this.#now();
      const stored = parse(found?.text);
      const isFresh = ({ at }: { at: string }) => now.getTime() - Date.parse(at) < retiredMs;
      const before = { ...stored, retired: stored.retired.filter(isFresh) };
      const after = change(before);
      if (after === undefined) return before;
      const upload = await this.#renewed(after);
      const next: Register = { ...after, ...upload, pollSeconds, writtenAt: now.toISOString() };
      if (await this.#documents.write(LIST_BLOB, JSON.stringify(next, null, 1), found?.etag)) return next;
    }
    throw new ProviderError('unavailable', `The list of mirror sessions (${LIST_BLOB}) is written by too many at once`);
  }
}

/** URL of the container of captures that lets collectors add files for that long. */
export type UploadUrl = (seconds: number) => Promise<string>;

const uploadSeconds = 24 * 3600;

/** A document that somebody spoilt must not be taken for an empty one: what it tells is what may be running. */
function parse(text: string | undefined): Register {
  if (text === undefined) return { version: 1, writtenAt: '', sessions: [], reserved: [], retired: [] };
  const spoilt = () =>
    new ProviderError(
      'unavailable',
      `${LIST_BLOB} in container mirror-control cannot be read: restore an older version of it, or delete it when nothing is mirrored`,
    );
  let value: Partial<Register> | null;
  try {
    value = JSON.parse(text) as Partial<Register> | null;
  } catch {
    throw spoilt();
  }
  if (value?.version !== 1 || !Array.isArray(value.sessions)) throw spoilt();
  return {
    writtenAt: '',
    ...value,
    version: 1,
    sessions: value.sessions,
    reserved: value.reserved ?? [],
    retired: value.retired ?? [],
  };
}

const mostVni = 16_777_215;
const mostPriority = 32_766;

/** Network numbers and priorities that must not be given out. */
export type Taken = { vnis: ReadonlySet<number>; priorities: ReadonlySet<number> };

/** What the register has of them in a region, besides those of one run. */
export function takenIn({ sessions, reserved, retired }: Register, region: string, exceptRun: string): Taken {
  const all = [
    ...sessions.filter((one) => one.run !== exceptRun),
    ...reserved
      .filter((one) => one.run !== exceptRun)
      .map(({ region: at, session }) => ({ region: at, vni: session.vni, priority: session.priority })),
    ...retired,
  ];
  return {
    // A collector may serve several regions, so numbers are unique over all of them.
    vnis: new Set(all.map((one) => one.vni)),
    priorities: new Set(all.filter((one) => one.region === region).map((one) => one.priority)),
  };
}

/** A free one: the one that is wished for, else one that is as good as any other. `random` is from 0 to 1, 1 excluded. */
export function freeVni(taken: ReadonlySet<number>, wish: number | undefined, random: () => number): number {
  return free(taken, wish, random, 1, mostVni);
}

/** As freeVni; without a wish in the worse half, so that whoever sets priorities by hand has the better one. */
export function freePriority(taken: ReadonlySet<number>, wish: number | undefined, random: () => number): number {
  if (wish === undefined) return free(taken, wish, random, mostPriority / 2 + 1, mostPriority);
  // The next one that is worse is nearest to what was wanted.
  for (let value = wish; value <= mostPriority; value++) if (!taken.has(value)) return value;
  for (let value = wish; value >= 1; value--) if (!taken.has(value)) return value;
  throw new ProviderError('quota', 'No priority is free in this region');
}

function free(taken: ReadonlySet<number>, wish: number | undefined, random: () => number, from: number, to: number) {
  if (wish !== undefined && !taken.has(wish)) return wish;
  const count = to - from + 1;
  const start = Math.floor(random() * count);
  for (let i = 0; i < count; i++) {
    const value = from + ((start + i) % count);
    if (!taken.has(value)) return value;
  }
  throw new ProviderError('quota', 'No number is free in this region');
}
