/** The number that an option of the command line gives; throws a sentence when it is none. */
export function numberOf(text: string, option: string): number {
  const value = Number(text);
  if (!text || !Number.isFinite(value) || value < 0) throw new Error(`${option} takes a number`);
  return value;
}
