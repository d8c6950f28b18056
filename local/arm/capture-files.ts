import { rmSync } from 'node:fs';
import { PcapFile, PcapStream } from './pcap.ts';

/** What a session writes to: one file with a limit, or a ring of them. */
export type CaptureFiles = {
  /** Takes the next bytes of a pcap stream (header first), cut anywhere. */
  write: (chunk: Buffer) => void;
  /** No further packet fits. */
  readonly full: boolean;
  /** Of all files there are. */
  readonly bytes: number;
  readonly packets: number;
  /** @param snapLength for the header, should nothing have been written at all */
  close: (snapLength: number) => void;
};

/** One file that must not exceed its limit. @param limitBytes 0 = unlimited */
export function singleFile(path: string, limitBytes: number): CaptureFiles {
  const stream = new PcapStream();
  const file = new PcapFile(path, limitBytes);
  let full = false;
  return {
    write: (chunk) => {
      const { header, records } = stream.read(chunk);
      if (header) file.begin(header);
      if (!full) full = file.add(records) < records.length;
    },
    get full() {
      return full;
    },
    get bytes() {
      return file.bytes;
    },
    get packets() {
      return file.packets;
    },
    close: (snapLength) => file.close(snapLength),
  };
}

/**
 * A ring: when a file is full the next one is begun, and the oldest is deleted when there are too many.
 *
 * @param existing numbers of the files that an earlier process left, in order
 * @param limitBytes of each file, 0 = unlimited; a packet that is larger has a file to itself
 */
export function ringOfFiles(
  path: (number: number) => string,
  existing: number[],
  ring: { files: number; limitBytes: number },
): CaptureFiles {
  const stream = new PcapStream();
  const older = existing.slice(0, -1).map((number) => ({ number, ...sizeOf(path(number), ring.limitBytes) }));
  let number = existing.at(-1) ?? 1;
  let file = new PcapFile(path(number), ring.limitBytes);
  let begun: Buffer | undefined;
  const total = (of: 'bytes' | 'packets') => older.reduce((sum, each) => sum + each[of], file[of]);
  const next = () => {
    file.close(0);
    older.push({ number, bytes: file.bytes, packets: file.packets });
    number += 1;
    file = new PcapFile(path(number), ring.limitBytes);
    if (begun) file.begin(begun);
    while (older.length >= ring.files) rmSync(path(older.shift()?.number ?? 0), { force: true });
  };
  return {
    write: (chunk) => {
      const { header, records } = stream.read(chunk);
      if (header) {
        begun = header;
        file.begin(header);
      }
      let done = file.add(records);
      while (done < records.length) {
        if (file.packets > 0) next();
        const rest = records.slice(done);
        done += file.add(rest) || file.add(rest.slice(0, 1), Infinity);
      }
    },
    full: false,
    get bytes() {
      return total('bytes');
    },
    get packets() {
      return total('packets');
    },
    close: (snapLength) => file.close(snapLength),
  };
}

function sizeOf(path: string, limitBytes: number): { bytes: number; packets: number } {
  const file = new PcapFile(path, limitBytes);
  file.close(0);
  return { bytes: file.bytes, packets: file.packets };
}
