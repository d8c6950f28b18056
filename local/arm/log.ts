/** One readable line for the human in front of the terminal. */
export function log(who: 'arm' | 'agent', line: string): void {
  process.stdout.write(`${who}: ${line}\n`);
}
