import type { CaptureSummary } from '../pcap/summary.ts';
import type { Verdict } from '../run/run.ts';
import type { Mirror } from './mirror.ts';

/** One catalogued file: the capture of the public contract. Times are ISO 8601 UTC. */
export type Capture = {
  id: string;
  /** Absent when no run of ours claims the file. */
  runId?: string | undefined;
  /** The machine it was taken on, as far as the run or the path tells. */
  target?: string | undefined;
  /** Present when a collector of mirrored traffic uploaded it. */
  mirror?: Mirror | undefined;
  account: string;
  container: string;
  blob: string;
  etag: string;
  bytes: number;
  /** Lower-case hex. */
  sha256: string;
  format: CaptureSummary['format'];
  linkTypes: string[];
  packets: number;
  capturedBytes: number;
  originalBytes: number;
  truncatedPackets: number;
  firstPacketAt?: string | undefined;
  lastPacketAt?: string | undefined;
  damage?: CaptureSummary['damage'];
  protocols: Record<string, number>;
  vxlan?: CaptureSummary['vxlan'];
  talkers: CaptureSummary['talkers'];
  dns: CaptureSummary['dns'];
  tcp: CaptureSummary['tcp'];
  verdict: Verdict;
  catalogedAt: string;
};

export type StoredFile = {
  id: string;
  account: string;
  container: string;
  blob: string;
  etag: string;
  bytes: number;
  sha256: string;
};

/** The verdicts of a file, by code. A closed list. */
export const fileVerdicts = ['captured', 'empty', 'damaged', 'not-a-capture'] as const;

export function toCapture(
  file: StoredFile,
  summary: CaptureSummary,
  origin: { runId?: string | undefined; target?: string | undefined; mirror?: Mirror | undefined },
  now: Date,
): Capture {
  return {
    ...file,
    ...(origin.runId === undefined ? {} : { runId: origin.runId }),
    ...(origin.target === undefined ? {} : { target: origin.target }),
    ...(origin.mirror === undefined ? {} : { mirror: origin.mirror }),
    format: summary.format,
    linkTypes: summary.linkTypes,
    packets: summary.packets,
    capturedBytes: summary.capturedBytes,
    originalBytes: summary.originalBytes,
    truncatedPackets: summary.truncatedPackets,
    ...(summary.firstPacketAt === undefined ? {} : { firstPacketAt: summary.firstPacketAt }),
    ...(summary.lastPacketAt === undefined ? {} : { lastPacketAt: summary.lastPacketAt }),
    ...(summary.damage === undefined ? {} : { damage: summary.damage }),
    protocols: summary.protocols,
    ...(summary.vxlan === undefined ? {} : { vxlan: summary.vxlan }),
    talkers: summary.talkers,
    dns: summary.dns,
    tcp: summary.tcp,
    verdict: judgeFile(file, summary),
    catalogedAt: now.toISOString(),
  };
}

function judgeFile({ id, bytes }: StoredFile, summary: CaptureSummary): Verdict {
  const verdict = (code: (typeof fileVerdicts)[number], text: string, next: string): Verdict => ({
    code,
    summary: text,
    next,
  });
  if (bytes === 0)
    return verdict('empty', 'The file has no bytes', 'The agent wrote nothing: look at its log on the machine.');
  if (summary.format === 'unknown')
    return verdict(
      'not-a-capture',
      `Not a capture file: ${summary.damage?.reason ?? 'its first bytes are unknown'}`,
      'Look at how the file came to be in this container.',
    );
  if (summary.damage)
    return verdict(
      'damaged',
      `${summary.packets} packets could be read, then: ${summary.damage.reason}`,
      'Work with what was read; the rest of the file is cut off or damaged.',
    );
  if (summary.packets === 0)
    return verdict(
      'empty',
      'A whole file without packets',
      'Check the filters, and that the machine had traffic while the capture ran.',
    );
  return verdict(
    'captured',
    `${summary.packets} packets, ${summary.originalBytes} bytes on the wire`,
    `Download it: GET /api/captures/${id}/file`,
  );
}
