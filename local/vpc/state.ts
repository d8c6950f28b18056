import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { readState, saveState } from '../emulator/state-file.ts';
import { noFaults, type Faults } from './faults.ts';
import { preparedFilters, preparedSessions } from './prepared.ts';

/** Where an object is in its life. It moves on by itself; see settle.ts. */
export type Status = 'Creating' | 'Created' | 'Modifying' | 'Deleting';

/** What is asked of a session; in force once the session is Created. */
export type SessionSettings = {
  enabled: boolean;
  filterId: string;
  targetId: string;
  targetType: TargetType;
  /** 1 to 32766, the smaller the better. */
  priority: number;
  vni: number;
  packetLength: number;
  sources: string[];
};

export type TargetType = 'NetworkInterface' | 'SLB';

export type Session = {
  id: string;
  name: string;
  description: string;
  resourceGroupId: string;
  tags: Record<string, string>;
  /** Unix milliseconds. */
  createdAt: number;
  status: Status;
  /** Unix milliseconds; when status moves on. */
  settlesAt: number;
  /** As lists show it. */
  asked: SessionSettings;
  /** By which packets are mirrored; none before the session is Created. */
  inForce?: SessionSettings;
  /** Switched off because of arrears: comes on again when they are paid. */
  lockedOn?: true;
  /** What is asked takes no effect; see faults.ts. */
  withoutEffect?: true;
};

export type Direction = 'ingress' | 'egress';

export type RuleSettings = {
  action: 'accept' | 'drop';
  /** 1 to 16777216, the smaller the better; unique in its direction. */
  priority: number;
  protocol: 'ALL' | 'ICMP' | 'TCP' | 'UDP';
  sourceCidr: string;
  destinationCidr: string;
  /** `a/b`; `-1/-1` = any. */
  sourcePorts: string;
  destinationPorts: string;
};

export type FilterRule = {
  id: string;
  direction: Direction;
  status: Status;
  settlesAt: number;
  asked: RuleSettings;
  inForce?: RuleSettings;
};

export type Filter = {
  id: string;
  name: string;
  description: string;
  resourceGroupId: string;
  tags: Record<string, string>;
  createdAt: number;
  status: Status;
  settlesAt: number;
  rules: FilterRule[];
};

/** Temporary keys of an assumed role. */
type TemporaryKey = { secret: string; securityToken: string; expiresAt: number };

/** What a client token was used for, and what was answered. */
type UsedToken = { call: string; body: Record<string, unknown>; at: number };

type Content = {
  /** Of this form: what another form of the emulator wrote is not read. */
  version: 1;
  /** In the order of their creation. */
  sessions: Record<string, Session>;
  filters: Record<string, Filter>;
  /** The service was opened in this region. */
  open: boolean;
  arrears: boolean;
  temporaryKeys: Record<string, TemporaryKey>;
  tokens: Record<string, UsedToken>;
  /** Where mirrored packets go, `host:port` by id of the target. */
  targets: Record<string, string>;
  faults: Faults;
  /** Calls that came again before the time they had been told to wait for. */
  violations: number;
};

/** The emulator's memory. Saved as a whole by writing a new file and renaming it, so that a kill loses nothing. */
export class State {
  readonly #path: string;
  readonly content: Content;

  constructor(directory: string, now: number) {
    mkdirSync(directory, { recursive: true });
    this.#path = join(directory, 'state.json');
    this.content = readState<Content>(this.#path, 1) ?? {
      version: 1,
      sessions: byId(preparedSessions(now)),
      filters: byId(preparedFilters(now)),
      open: true,
      arrears: false,
      temporaryKeys: {},
      tokens: {},
      targets: {},
      faults: noFaults(),
      violations: 0,
    };
  }

  save(): void {
    saveState(this.#path, this.content);
  }
}

function byId<T extends { id: string }>(all: T[]): Record<string, T> {
  return Object.fromEntries(all.map((each) => [each.id, each]));
}
