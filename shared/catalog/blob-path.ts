import { isLoopback } from '../config.ts';

export type BlobPath = { container: string; blob: string };

/** Container and blob of a blob's URL, whatever its host; a path-style URL (loopback emulator) has the account in front. */
export function parseBlobUrl(url: string): BlobPath | undefined {
  if (!URL.canParse(url)) return undefined;
  const { hostname, pathname } = new URL(url);
  let path: string;
  try {
    path = decodeURIComponent(pathname).slice(1);
  } catch {
    return undefined;
  }
  const parts = path.split('/');
  if (isLoopback(hostname)) parts.shift();
  const [container, ...rest] = parts;
  const blob = rest.join('/').replace(/^\/+/, '');
  return container && blob ? { container, blob } : undefined;
}

/**
 * How the paths of all files begin that a capture makes of its own naming: a folder (its path ends in a slash) or, of a file's
 * path, what stands before the extension.
 */
export function toBeginning(blob: string): string {
  return blob.endsWith('/') ? blob : blob.replace(/\.cap$/i, '');
}

/**
 * The beginnings that such a file may have been claimed by, the longest first: its name up to each separator and up to a number
 * at its end, its path up to a run's id and up to the stem of Network Watcher's default names, and the folders it lies in.
 */
export function beginningsOf(blob: string): string[] {
  const name = blob.lastIndexOf('/') + 1;
  const ends = new Set<number>();
  for (let i = 1; i < name; i++) if (blob[i] === '/') ends.add(i).add(i + 1);
  for (const folder of blob.matchAll(/\.cap\//gi)) ends.add(folder.index);
  for (let i = name + 1; i < blob.length; i++) if ('-_.( '.includes(blob[i] ?? '')) ends.add(i);
  const digits = /\d+(?=\.cap$)/i.exec(blob);
  if (digits && digits.index > name) ends.add(digits.index);
  for (const id of blob.matchAll(/(?<![0-9a-z])[0-9a-z]{26}/gi)) ends.add(id.index + 26);
  for (const stem of blob.matchAll(/packetcapture_\d\d_\d\d_\d\d_\d{3}/gi)) ends.add(stem.index + stem[0].length);
  return [...ends]
    .toSorted((a, b) => b - a)
    .slice(0, 40)
    .map((end) => blob.slice(0, end));
}

/**
 * The machine, scale set or instance of one in the path that Network Watcher gives its files by default:
 * [/]subscriptions/…/virtualmachines/<vm>/yyyy/MM/dd/packetcapture_HH_mm_ss_fff.cap, with virtualmachinescalesets/<set>/ and
 * perhaps virtualmachines/<instance>/ for scale sets, whose files lie in a folder of that name. Some senders write a slash in
 * front, and case varies. Undefined for any other path.
 */
export function parseDefaultPath(blob: string): { target: string } | undefined {
  const match =
    /^\/*(subscriptions\/[^/]+\/resourcegroups\/[^/]+\/providers\/microsoft\.compute\/(?:virtualmachines\/[^/]+|virtualmachinescalesets\/[^/]+(?:\/virtualmachines\/[^/]+)?))\/\d{4}\/\d\d\/\d\d\/packetcapture_\d\d_\d\d_\d\d_\d{3}(?![a-z]).*\.cap$/i.exec(
      blob,
    );
  return match ? { target: `/${match[1]?.toLowerCase()}` } : undefined;
}
