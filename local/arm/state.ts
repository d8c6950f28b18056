import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { FilterInput } from './filter.ts';

/** What goes wrong on purpose, set by `POST /_control {"faults":{…}}`. */
export type Faults = {
  /** Every ARM answer waits this long. */
  delayMs: number;
  /** `never`: files do not arrive while this is set. */
  upload: 'normal' | 'never';
  /** `ignored`: the service's own time limit does not fire. */
  limits: 'normal' | 'ignored';
  /** Every ARM request is answered with 503. */
  down: boolean;
};

export const NO_FAULTS: Faults = { delayMs: 0, upload: 'normal', limits: 'normal', down: false };

/** A packet capture as ARM keeps it. */
export type Capture = {
  id: string;
  name: string;
  /** Lower-cased id of the parent watcher. */
  watcher: string;
  provisioningState: 'Updating' | 'Succeeded' | 'Failed' | 'Deleting';
  /** Everything echoed below `properties` except provisioningState. */
  properties: Record<string, unknown>;
  /** The agent's session; none when the create was bound to fail. */
  session?: string;
  failure?: { code: string; message: string };
  /** Id of the last status query that ran as an operation. */
  lastStatusOperation?: string;
};

/** A long-running operation. Times are Unix milliseconds. */
export type Operation = {
  id: string;
  kind: 'create' | 'stop' | 'delete' | 'status';
  subscription: string;
  region: string;
  apiVersion: string;
  /** Lower-cased id of the capture. */
  capture: string;
  dueAt: number;
  status: 'InProgress' | 'Succeeded' | 'Failed';
  error?: { code: string; message: string; details: [] };
  /** Answered by operationResults of a status query. */
  result?: unknown;
  /** Replayed by operationResults. */
  correlationId: string;
  serviceRequestId: string;
};

/** What the agent on the VM does for a capture. Lives on after the capture was deleted, until its file has arrived. */
export type Session = {
  id: string;
  label: string;
  phase: 'pending' | 'running' | 'ended' | 'done';
  filters: FilterInput[];
  snapLength: number;
  /** 0 = unlimited. */
  limitBytes: number;
  limitSeconds: number;
  /** Where the file goes; none for a capture that only names a file on the VM. */
  destination?: { container: string; blob: string };
  /** The file also stays on the VM's disk. */
  keep: boolean;
  /** Unix milliseconds. */
  startAt: number;
  startedAt?: number;
  uploadAt?: number;
  source?: 'tcpdump' | 'generator';
  /** The tcpdump of a running session, to be ended by the next process should this one be killed. */
  process?: { pid: number; expression: string };
  stopReason?: string;
  errors: string[];
  bytes: number;
  packets: number;
  /** Its capture was deleted: nobody will ask any more. */
  released?: true;
};

type Content = {
  captures: Record<string, Capture>;
  operations: Record<string, Operation>;
  sessions: Record<string, Session>;
  /** Etag per lower-cased watcher id. */
  etags: Record<string, string>;
  faults: Faults;
};

/** The emulator's memory. Saved as a whole by writing a new file and renaming it, so that a kill loses nothing. */
export class State {
  readonly #path: string;
  readonly content: Content;

  constructor(directory: string) {
    mkdirSync(directory, { recursive: true });
    this.#path = join(directory, 'state.json');
    this.content = {
      captures: {},
      operations: {},
      sessions: {},
      etags: {},
      faults: { ...NO_FAULTS },
      ...read(this.#path),
    };
  }

  save(): void {
    const next = `${this.#path}.next`;
    writeFileSync(next, JSON.stringify(this.content));
    renameSync(next, this.#path);
  }
}

function read(path: string): Partial<Content> {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as Partial<Content>;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return {};
    throw error;
  }
}
