/** Whether the last of the times that a record has of itself is `until` or before. A time that cannot be read is never that. */
export function isOld(until: Date, times: readonly (string | undefined)[]): boolean {
  const known = times.filter((time) => time !== undefined).map((time) => Date.parse(time));
  return known.length > 0 && known.every((time) => time <= until.getTime());
}
