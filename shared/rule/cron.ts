import { Cron } from 'croner';

// What croner would take and NCRONTAB does not: ? L W # and 7 for Sunday.
const field = /^[\dA-Za-z*,/-]+$/;

/**
 * A six-field NCRONTAB expression (second minute hour day month weekday) in an IANA time zone, read once.
 * Day and weekday must both match, as NCRONTAB has it.
 */
export class Timetable {
  readonly #cron: Cron;

  /** Throws an Error whose message says what is wrong with expression or zone. */
  constructor(expression: string, timezone: string) {
    const fields = expression.trim().split(/\s+/);
    if (fields.length !== 6)
      throw new Error(`needs six fields (second minute hour day month weekday), has ${fields.length}`);
    for (const part of fields) {
      if (!field.test(part)) throw new Error(`"${part}" is not NCRONTAB`);
    }
    if (/[LW]/i.test(fields[3] ?? '') || /7|L/i.test((fields[5] ?? '').replace(/jul/gi, '')))
      throw new Error('L, W and a 7 for Sunday are not NCRONTAB');
    try {
      Intl.DateTimeFormat('en', { timeZone: timezone });
    } catch {
      throw new Error(`"${timezone}" is not a time zone; use a name such as Europe/Berlin`);
    }
    try {
      this.#cron = new Cron(fields.join(' '), { mode: '6-part', timezone, domAndDow: true, paused: true });
    } catch (error) {
      throw new Error((error as Error).message.replace(/^CronPattern: /, ''));
    }
    if (this.next(new Date(0)) === undefined) throw new Error('never comes due');
  }

  /** The first due time after `from`. */
  next(from: Date): Date | undefined {
    return this.#cron.nextRun(from) ?? undefined;
  }

  /** All due times after `from` up to and including `to`, oldest first; the last `limit` of them. */
  between(from: Date, to: Date, limit: number): Date[] {
    const due: Date[] = [];
    for (let at = this.next(from); at !== undefined && at <= to; at = this.next(at)) {
      due.push(at);
      if (due.length > limit) due.shift();
    }
    return due;
  }
}
