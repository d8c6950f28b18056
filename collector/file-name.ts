/** What the name of a capture file says. Sequence numbers count the files of one source in one session, from 1, and never repeat. */
export type FileName = { vni: number; source: string; sequence: number; startedAt: Date };

/** Such as `4711-eni-0abc-000001-20261122T060759123Z`, without an ending: what it is called in storage, and begins with on disk. */
export function formatFileName({ vni, source, sequence, startedAt }: FileName): string {
  const start = startedAt.toISOString().replaceAll(/[-:.]/g, '');
  return `${vni}-${source}-${String(sequence).padStart(6, '0')}-${start}`;
}

/** The reverse; undefined for what is no such name. */
export function parseFileName(text: string): FileName | undefined {
  const found = /^(\d+)-(.+)-(\d{6,})-(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)(\d{3})Z$/.exec(text);
  if (!found) return undefined;
  const [, vni, source, sequence, year, month, day, hour, minute, second, milli] = found as unknown as string[];
  const startedAt = new Date(`${year}-${month}-${day}T${hour}:${minute}:${second}.${milli}Z`);
  if (Number.isNaN(startedAt.getTime())) return undefined;
  return { vni: Number(vni), source: source ?? '', sequence: Number(sequence), startedAt };
}
