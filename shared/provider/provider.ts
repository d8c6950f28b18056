/**
 * The cloud side of a run. One implementation per cloud, behind this interface; nothing outside an implementation's folder
 * knows its cloud's API. Every call takes an AbortSignal and throws ProviderError, never the SDK's errors.
 */

export type ProviderName = 'azure' | 'alibaba';

/** A filter in Network Watcher's own five names; all strings, a missing one matches anything. */
export type CaptureFilter = {
  protocol?: 'TCP' | 'UDP' | 'Any' | undefined;
  localIPAddress?: string | undefined;
  localPort?: string | undefined;
  remoteIPAddress?: string | undefined;
  remotePort?: string | undefined;
};

/** What is asked of a capture, as in rules and runbook calls. */
export type CaptureRequest = {
  filters?: CaptureFilter[] | undefined;
  /** Bytes kept of each packet; 0 or absent = all. */
  bytesToCapturePerPacket?: number | undefined;
  /** What only Network Watcher knows, in its own names. */
  azure?:
    | {
        /** Instances of a scale set, by instance id (`"0"`) or ARM id; none named = all. */
        scope?: { include?: string[] | undefined; exclude?: string[] | undefined } | undefined;
        storageLocation?:
          | {
              storageId?: string | undefined;
              storagePath?: string | undefined;
              /** File on the machine of an ordinary capture. */
              filePath?: string | undefined;
              /** File on the machine of a continuous capture. */
              localPath?: string | undefined;
            }
          | undefined;
        /** Given: a ring of files in place of one (preview of the service; true and false are both passed on). */
        continuousCapture?: boolean | null | undefined;
        captureSettings?:
          | {
              fileCount?: number | undefined;
              fileSizeInBytes?: number | undefined;
              sessionTimeLimitInSeconds?: number | undefined;
            }
          | undefined;
      }
    | undefined;
  /** What only VPC traffic mirroring knows, in its own names. */
  alibaba?:
    | {
        /** `create`: a session of its own, deleted at the end. `enable`: one that is there, disabled again at the end. */
        mode?: 'create' | 'enable' | undefined;
        /** The session to enable; none named: the one that is prepared for this source. */
        sessionId?: string | undefined;
        filterId?: string | undefined;
        mirrorTargetId?: string | undefined;
        mirrorTargetType?: 'NetworkInterface' | 'SLB' | undefined;
        /** Wished for; another one is taken when it is not free. */
        priority?: number | undefined;
        /** Wished for, as the priority is. */
        virtualNetworkId?: number | undefined;
        packetLength?: number | undefined;
        description?: string | undefined;
        resourceGroupId?: string | undefined;
        tags?: { key: string; value: string }[] | undefined;
      }
    | undefined;
};

export type Limits = { durationSeconds: number; sizeBytes: number };

/** The cloud's own object behind a run, as far as it is known. */
export type Session = {
  /** The cloud's id of it. Azure: ARM id of the packet capture. Alibaba: `tms-…`; its name until the id is known. */
  id: string;
  /** The cloud's word for its state, as it was last heard. */
  status?: string | undefined;
  /** Errors that the cloud reports, in its words. */
  errors: string[];
  /** Where the file will be: `https://account…/container/blob`; absent when the file stays on the machine or is not known yet. */
  storagePath?: string | undefined;
  /** Name of the storage account that the file goes to. */
  account?: string | undefined;
  /** Path of the file on the machine, when one was asked for. */
  filePath?: string | undefined;
  /** Several files may come, whose names are not known before: below `storagePath`, or beginning like it. */
  manyFiles?: boolean | undefined;
  /** Where the cloud tells how what was asked of it went. Signed by the cloud: never shown, never logged. */
  operations?: { start?: string | undefined; stop?: string | undefined } | undefined;
  /** The cloud never ends it by itself: time and size are ours to keep, to the second. */
  endless?: true | undefined;
  /** What its provider needs besides to find it again. Not shown. */
  handle?: Record<string, string> | undefined;
};

/** A start that was checked and only needs to be sent. */
export type PreparedStart = { session: Session; request: unknown };

export type Observation =
  /** Asked for, not capturing yet. */
  | { phase: 'pending'; session: Session }
  /** There, and not capturing: not yet, as long as it was not enabled; not any more, once it was. */
  | {
      phase: 'ready';
      session: Session;
      cause: EndCause;
      reason?: string | undefined;
      /** A part of ours has ended it, at a limit. */
      byUs?: true | undefined;
      /** Why it had better not be enabled yet. */
      waitingFor?: string | undefined;
    }
  | {
      phase: 'running';
      session: Session;
      startedAt?: Date | undefined;
      /** Why the end that was asked for did not come. */
      stopFailed?: string;
      /** It has captured as much as it may; what is told of how much that is. */
      full?: string;
    }
  /** Over. `reason` is the cloud's word for why, `cause` what we take it to mean. */
  | { phase: 'ended'; session: Session; startedAt?: Date | undefined; cause: EndCause; reason?: string | undefined }
  /** The cloud tried to start it and could not. */
  | { phase: 'refused'; session: Session; detail: string }
  /** The cloud knows no such session. */
  | { phase: 'gone' };

export type EndCause = 'time-limit' | 'size-limit' | 'stopped' | 'error' | 'unknown';

/** A session as the cloud lists it. */
export type ListedSession = {
  provider: ProviderName;
  id: string;
  name: string;
  region: string;
  target: string;
  status: string;
  /** Id of the run it belongs to by its name, when the name is one of this installation's. */
  runId?: string | undefined;
  /** It captures at this moment, as far as the list tells. */
  capturing?: boolean | undefined;
  /** As stop() and remove() take it. */
  session: Session;
};

export type TargetAnswer =
  | { kind: 'target'; /** canonical form */ id: string }
  | {
      kind: 'refused';
      reason: 'unsupported-target' | 'subscription-not-configured' | 'unknown-target' | 'ambiguous-target';
      detail: string;
    };

export interface Provider {
  readonly name: ProviderName;
  /** Changes take seconds and need more than one call: whoever asked for one looks again after so long, until it is done. */
  readonly lookAgainMs?: number;
  /** Gets what the first start would otherwise wait for. Changes nothing in the cloud. */
  load(signal: AbortSignal): Promise<void>;
  /**
   * The canonical form of a target, or why it cannot be captured; undefined when the id is not of this cloud. `region` is for ids that
   * have none in them. No I/O.
   */
  target(id: string, region?: string): TargetAnswer | undefined;
  /** The canonical ids of all machines of the configured accounts whose computer name is this one; compared without regard to case. */
  machinesNamed(name: string, signal: AbortSignal): Promise<string[]>;
  /** What is wrong with a request by the documented limits of the service; empty when nothing is. No I/O. */
  check(capture: CaptureRequest, limits: Limits): string[];
  /** Looks the target up and checks everything that can be checked before the call. Changes nothing in the cloud. */
  prepare(
    run: { runId: string; target: string; capture: CaptureRequest; limits: Limits },
    signal: AbortSignal,
  ): Promise<PreparedStart>;
  /** Sends the start. Starting a session that is there already (same run) is not an error: it gives that session. */
  start(prepared: PreparedStart, signal: AbortSignal): Promise<Session>;
  inspect(session: Session, signal: AbortSignal): Promise<Observation>;
  /** Lets a session that is `ready` capture, for as long as the run may last. Only of clouds that say `ready`. */
  enable?(session: Session, limits: Limits, signal: AbortSignal): Promise<Session>;
  /** Asks for the end, and gives the session as it is known from then on. Stopping what has ended is fine. */
  stop(session: Session, signal: AbortSignal): Promise<Session>;
  /** Whether the target is there at all: for telling why a session came to nothing. */
  targetExists(target: string, signal: AbortSignal): Promise<boolean>;
  /** Removes the session, never files. True when it is gone, false when the removal is under way. */
  remove(session: Session, signal: AbortSignal): Promise<boolean>;
  list(signal: AbortSignal, region?: string): Promise<ListedSession[]>;
}

/** Closed list of what can go wrong with a cloud: whether trying again can help, and what the user can do. */
export const providerErrors = {
  'target-not-found': { retry: false, next: 'Check that the machine still exists and that the app may read it.' },
  'agent-missing': {
    retry: false,
    next: 'Install the Network Watcher agent extension on the machine, then start the capture again.',
  },
  'agent-failed': { retry: false, next: 'Repair or reinstall the Network Watcher agent extension of the machine.' },
  'no-watcher': { retry: false, next: "Enable Network Watcher in the machine's region." },
  'no-account': { retry: false, next: "Add a storage account of the machine's region to TRIPCAP_CAPTURE_ACCOUNTS." },
  invalid: { retry: false, next: 'Correct the request: the detail names what the cloud refused.' },
  forbidden: {
    retry: false,
    next: "Give the app's managed identity the role of docs/permissions.md in this subscription.",
  },
  unauthenticated: { retry: false, next: "Turn on the app's managed identity and check TRIPCAP_CLIENT_ID." },
  conflict: { retry: true, next: 'Another operation held the resource; it is tried again.' },
  quota: {
    retry: false,
    next: 'Delete packet captures that are no longer needed, or raise the quota of the subscription.',
  },
  account: {
    retry: false,
    next: "Settle what the cloud account owes or has not agreed to: the detail has the cloud's words.",
  },
  'mirrored-already': {
    retry: false,
    next: 'Disable the other session, or give the rule an alibaba.priority smaller than its own: the packets then come here and no longer there.',
  },
  'no-collector': {
    retry: true,
    next: 'See that the collector runs on the mirror target and reaches the storage account.',
  },
  throttled: { retry: true, next: 'The cloud asks to slow down; it is tried again.' },
  unavailable: { retry: true, next: 'The cloud did not answer; it is tried again.' },
} as const;

export type ProviderErrorCode = keyof typeof providerErrors;

export class ProviderError extends Error {
  readonly code: ProviderErrorCode;
  /** What the user can do, where more is known than the code says. */
  readonly next: string;

  constructor(code: ProviderErrorCode, detail: string, cause?: unknown, next: string = providerErrors[code].next) {
    super(detail, { cause });
    this.name = 'ProviderError';
    this.code = code;
    this.next = next;
  }

  get retry(): boolean {
    return providerErrors[this.code].retry;
  }
}
