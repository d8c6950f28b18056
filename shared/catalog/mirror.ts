import type { FileMetadata } from '../../collector/protocol.ts';
import { isId } from '../id.ts';

/** Which mirrored packets a file holds: what its collector says of it. */
export type Mirror = {
  /** The cloud's id of the mirror session. */
  session: string;
  /** 0 to 16,777,215. */
  vni: number;
  /** Network interface that the packets were mirrored from. */
  source: string;
  collector: string;
};

const name = /^[\w-]{1,64}$/;
const largestVni = 0xffffff;

/**
 * What a file's metadata says, as a collector writes it: the run that the file belongs to, and where its packets are from. Others
 * may write there too, so a run that is no id counts as none, and what is not all there, and as it should be, is no mirror.
 */
export function readMetadata(metadata: Readonly<Partial<Record<keyof FileMetadata, string>>>): {
  run: string | undefined;
  mirror: Mirror | undefined;
} {
  const { run, session, vni, source, collector } = metadata;
  return {
    run: run !== undefined && isId(run) ? run : undefined,
    mirror:
      isName(session) && isVni(vni) && isName(source) && isName(collector)
        ? { session, vni: Number(vni), source, collector }
        : undefined,
  };
}

function isName(text: string | undefined): text is string {
  return text !== undefined && name.test(text);
}

function isVni(text: string | undefined): boolean {
  return text !== undefined && /^\d{1,8}$/.test(text) && Number(text) <= largestVni;
}
