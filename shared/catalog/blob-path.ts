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
 * The machine in the path that Network Watcher gives its files by default:
 * [/]subscriptions/…/virtualmachines/<vm>/yyyy/MM/dd/packetcapture_HH_mm_ss_fff.cap. Some senders write a slash in front, and
 * case varies. Undefined for any other path.
 */
export function parseDefaultPath(blob: string): { target: string } | undefined {
  const match =
    /^\/*(subscriptions\/[^/]+\/resourcegroups\/[^/]+\/providers\/microsoft\.compute\/virtualmachines\/[^/]+)\/\d{4}\/\d\d\/\d\d\/packetcapture_\d\d_\d\d_\d\d_\d{3}\.cap$/i.exec(
      blob,
    );
  return match ? { target: `/${match[1]?.toLowerCase()}` } : undefined;
}
