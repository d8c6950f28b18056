/**
 * What the app and a collector say to each other, all of it through blobs: a collector has no port but the one for packets.
 *
 * | blob | written by | how |
 * |---|---|---|
 * | `mirror-control/sessions.json` | the app | the whole {@link SessionList}, replaced at each change |
 * | `mirror-control/status-<collector>.json` | that collector | the whole {@link Status}, replaced every few seconds |
 * | `mirror-captures/<run>/<vni>-<source>-<sequence>-<start>.cap` | a collector | once, with metadata {@link FileMetadata} |
 *
 * The order that loses nothing: announce the session, wait until the status names it, enable the mirror; at the end disable the
 * mirror, leave the session in the list until `uploaded` equals `files` and `openBytes` is 0, then take it out. Read a status in one
 * request: it is replaced all the time.
 */
export const CONTROL_CONTAINER = 'mirror-control';
export const CAPTURES_CONTAINER = 'mirror-captures';
export const LIST_BLOB = 'sessions.json';

/** Name of the blob, in the control container, that a collector reports in. */
export function statusBlob(collector: string): string {
  return `status-${collector}.json`;
}

/**
 * The sessions that a collector takes packets of. Members that it does not know are ignored; a list that breaks one of the rules
 * below is refused as a whole and reported, and the last good one stays in force.
 */
export type SessionList = {
  version: 1;
  /** ISO 8601. */
  writtenAt: string;
  /** Seconds between two looks at the list, and between two reports; 0.1 to 60, 5 when absent. */
  pollSeconds?: number | undefined;
  /** What files are uploaded with; when absent, what the collector was started with. */
  upload?: { sas?: string | undefined } | undefined;
  sessions: ExpectedSession[];
};

/**
 * One mirror session of one run. Packets belong to it by VNI and source address. Where two entries claim the same pair, the one
 * that ends later has it: so a session that is used by one run after another needs no gap.
 */
export type ExpectedSession = {
  /** 26 lower-case letters and digits. */
  run: string;
  /** The cloud's id of the session, `tms-…`. */
  session: string;
  /** Region whose API switches the session off, such as `cn-hongkong`. */
  region: string;
  /** 0 to 16,777,215. */
  vni: number;
  sources: {
    /** Network interface, `eni-…`. */
    eni: string;
    /** Its primary IPv4 address, from which its packets come. */
    address: string;
  }[];
  /** Most bytes that the files of this session, on all its sources, may have together. */
  maxBytes: number;
  /** ISO 8601. From then on nothing is written; later still, packets make the collector switch the session off. */
  until: string;
};

/** What a collector says of itself. Counts of sessions go on over restarts; those of `dropped` start at `startedAt`. */
export type Status = {
  version: 1;
  collector: string;
  /** ISO 8601, when this was written: an old one means that the collector or its way to storage is down. */
  at: string;
  startedAt: string;
  /** Those of the list in force, and those that still have files to upload. */
  sessions: SessionStatus[];
  /** Packets received and not written, by reason. */
  dropped: Dropped;
  /** What is wrong now, in plain words; empty when all is well. */
  errors: CollectorError[];
};

export type SessionStatus = {
  run: string;
  session: string;
  vni: number;
  /** Packets written. */
  packets: number;
  /** Bytes of all its files, as `maxBytes` counts them: headers included. */
  bytes: number;
  /** Files begun, those being written included. */
  files: number;
  /** Bytes in files that are still being written. */
  openBytes: number;
  /** Files that are in storage. */
  uploaded: number;
  /** The next packet would have exceeded `maxBytes`; nothing more is written. */
  capped: boolean;
  /** When this collector saw the session switched off by its own request. */
  disabledAt?: string | undefined;
  lastPacketAt?: string | undefined;
};

export type Dropped = {
  /** No session of the list has the VNI. */
  unknownVni: number;
  /** One has, but not this source address. */
  unknownSource: number;
  /** After the session's `until`. */
  afterEnd: number;
  /** Not VXLAN, or too short for an Ethernet frame. */
  malformed: number;
  /** Beyond the session's `maxBytes`. */
  overCap: number;
  /** No room: the disk refuses, or files that wait for upload use up what they may. */
  disk: number;
  /** By the kernel, since the collector did not keep up. */
  kernel: number;
};

/** `list`: the list is bad. `storage`: it cannot be read, or the status not written. The others as they are named. */
export type CollectorErrorCode = 'list' | 'storage' | 'upload' | 'disk' | 'switch';

export type CollectorError = { code: CollectorErrorCode; message: string; since: string };

/** Metadata of an uploaded file. */
export type FileMetadata = {
  run: string;
  session: string;
  vni: string;
  /** Network interface that the packets were mirrored from. */
  source: string;
  collector: string;
};
