import { setTimeout as delay } from 'node:timers/promises';

/** Asks again and again until there is an answer (anything but undefined and false); fails after `deadlineMs`. */
export async function until<T>(
  what: string,
  ask: () => Promise<T | undefined | false> | T | undefined | false,
  deadlineMs = 30_000,
): Promise<T> {
  const end = Date.now() + deadlineMs;
  for (;;) {
    const answer = await ask();
    if (answer !== undefined && answer !== false) return answer;
    if (Date.now() > end) throw new Error(`waited in vain for ${what}: not within ${deadlineMs} ms`);
    await delay(40);
  }
}
