const durationUnits: Record<string, number> = { s: 1, m: 60, h: 3600, d: 86_400 };
const sizeUnits: Record<string, number> = {
  B: 1,
  KB: 1e3,
  MB: 1e6,
  GB: 1e9,
  KiB: 1024,
  MiB: 1024 ** 2,
  GiB: 1024 ** 3,
};

/** `90s`, `5m`, `2h` in seconds; undefined for anything else. */
export function parseDuration(text: string): number | undefined {
  const match = /^(\d{1,9})(s|m|h|d)$/.exec(text);
  return match ? Number(match[1]) * (durationUnits[match[2] ?? ''] ?? Number.NaN) : undefined;
}

/** `100MiB`, `5MB`, `512B` in bytes; undefined for anything else. */
export function parseSize(text: string): number | undefined {
  const match = /^(\d{1,12})(B|KB|MB|GB|KiB|MiB|GiB)$/.exec(text);
  return match ? Number(match[1]) * (sizeUnits[match[2] ?? ''] ?? Number.NaN) : undefined;
}
