import type { Filter } from './filter.ts';
import type { BoundService } from './network.ts';

/** Something that turns packets into a pcap stream: tcpdump, or the generator in its place. */
export type Recorder = {
  /** The process behind it, if there is one. */
  process?: { pid: number; expression: string };
  /** Ends it; resolves when the last packet was handed over. */
  stop: () => Promise<void>;
};

export type Recording = {
  filters: Filter[];
  services: BoundService[];
  /** Bytes per packet, 0 = all. */
  snapLength: number;
  /** How long it may take at most; the last resort of a process that cannot be ended otherwise. */
  limitSeconds: number;
  /** Milliseconds since the capture began; more than 0 when it is continued. */
  elapsedMs: number;
  onData: (chunk: Buffer) => void;
  /** It ended without being asked to. */
  onDeath: () => void;
};
