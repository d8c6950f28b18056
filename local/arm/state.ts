import { randomBytes } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { readState, saveState } from '../emulator/state-file.ts';
import { noFaults, type Faults } from './faults.ts';
import type { FilterInput } from './filter.ts';
import type { Extension } from './inventory.ts';
import type { Target } from './parameters.ts';
import type { Destination } from './upload.ts';

/** A packet capture as ARM keeps it. */
export type Capture = {
  id: string;
  name: string;
  /** Lower-cased id of the parent watcher. */
  watcher: string;
  target: Target;
  provisioningState: 'Updating' | 'Succeeded' | 'Failed' | 'Deleting';
  /** Everything echoed below `properties` except provisioningState. */
  properties: Record<string, unknown>;
  /** Where packets are captured: the VM, or each instance of the scale set that is in the scope. */
  machines: CapturedMachine[];
  /** Unix milliseconds. */
  createdAt: number;
  failure?: { code: string; message: string };
  /** Id of the last status query that ran as an operation. */
  lastStatusOperation?: string;
};

export type CapturedMachine = {
  /** ARM id, in the target's letter case. */
  id: string;
  /** By which faults name it, from wide to narrow; see faults.ts. */
  names: string[];
  /** The agent's session; none on a machine that does not exist, or when the create was bound to fail. */
  session?: string;
};

/** A long-running operation. Times are Unix milliseconds. */
export type Operation = {
  id: string;
  kind: 'create' | 'stop' | 'delete' | 'status' | 'install';
  subscription: string;
  region: string;
  apiVersion: string;
  /** Lower-cased id of the capture, or of the machine that an extension is put on. */
  resource: string;
  /** Of the machine it is about; see faults.ts. */
  names: string[];
  startedAt: number;
  dueAt: number;
  endedAt?: number;
  status: 'InProgress' | 'Succeeded' | 'Failed' | 'Canceled';
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
  names: string[];
  phase: 'pending' | 'running' | 'ended' | 'done';
  filters: FilterInput[];
  snapLength: number;
  /** 0 = unlimited; of a ring, the size of each file. */
  limitBytes: number;
  limitSeconds: number;
  /** The newest files that are kept of a continuous capture; otherwise there is one file. */
  ringFiles?: number;
  /** Where the file goes; none for a capture that only names a file on the VM. */
  destination?: Destination;
  /** The file also stays on the VM's disk. */
  keep: boolean;
  /** Unix milliseconds. */
  startAt: number;
  startedAt?: number;
  uploadAt?: number;
  source?: 'tcpdump' | 'generator';
  /** The tcpdump of a running session, to be ended by the next process should this one be killed. */
  process?: { pid: number; expression: string };
  /** Absent after the size limit when that is unexplained. */
  stopReason?: string;
  errors: string[];
  /** The file will not arrive: storage failed, or the machine is gone. */
  lost?: true;
  bytes: number;
  packets: number;
  /** Its capture was deleted: nobody will ask any more. */
  released?: true;
};

type Content = {
  /** Of this form: what another form of the emulator wrote is not read. */
  version: 2;
  captures: Record<string, Capture>;
  operations: Record<string, Operation>;
  sessions: Record<string, Session>;
  /** Etag per lower-cased watcher id. */
  etags: Record<string, string>;
  /** Extensions that were put on machines, by lower-cased machine id. */
  extensions: Record<string, Extension[]>;
  /** Signs the URLs of operations. */
  key: string;
  faults: Faults;
  /** Calls that came again before the time that a 429 had given. */
  violations: number;
};

/** The emulator's memory. Saved as a whole by writing a new file and renaming it, so that a kill loses nothing. */
export class State {
  readonly #path: string;
  readonly content: Content;
  #soon: NodeJS.Immediate | undefined;

  constructor(directory: string) {
    mkdirSync(directory, { recursive: true });
    this.#path = join(directory, 'state.json');
    this.content = readState<Content>(this.#path, 2) ?? {
      version: 2,
      captures: {},
      operations: {},
      sessions: {},
      etags: {},
      extensions: {},
      key: randomBytes(32).toString('base64url'),
      faults: noFaults(),
      violations: 0,
    };
  }

  session(machine: CapturedMachine): Session | undefined {
    return machine.session === undefined ? undefined : this.content.sessions[machine.session];
  }

  /** For what happens by itself: all of one round is written at once. What is answered is saved before. */
  saveSoon(): void {
    this.#soon ??= setImmediate(() => this.save());
  }

  save(): void {
    clearImmediate(this.#soon);
    this.#soon = undefined;
    saveState(this.#path, this.content);
  }
}
