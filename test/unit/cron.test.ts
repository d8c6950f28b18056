import { describe, expect, it } from 'vitest';
import { Timetable } from '../../shared/rule/cron.ts';

describe('the days on which clocks change, in Berlin', () => {
  const dueOn = (cron: string, from: string, to: string) =>
    new Timetable(cron, 'Europe/Berlin').between(new Date(from), new Date(to), 1000).map((at) => at.toISOString());

  it('29 March 2026, when 02:30 does not exist: due once, at 03:00', () => {
    expect(dueOn('0 30 2 * * *', '2026-03-28T12:00:00Z', '2026-03-29T12:00:00Z')).toEqual(['2026-03-29T01:00:00.000Z']);
  });

  it('25 October 2026, when 02:30 comes twice: due once, the first time', () => {
    expect(dueOn('0 30 2 * * *', '2026-10-24T12:00:00Z', '2026-10-25T12:00:00Z')).toEqual(['2026-10-25T00:30:00.000Z']);
  });

  it.each([
    ['2026-03-28T22:59:59Z', '2026-03-29T22:00:00Z', 47],
    ['2026-10-24T21:59:59Z', '2026-10-25T23:00:00Z', 51],
  ])('every half hour from %s: no gap and no double', (from, to, count) => {
    const due = dueOn('0 */30 * * * *', from, to);
    expect(due).toHaveLength(count);
    const gaps = due.slice(1).map((at, i) => Date.parse(at) - Date.parse(due[i] ?? ''));
    expect(new Set(gaps)).toEqual(new Set([1_800_000]));
  });

  it('2 in the morning stays 2 in the morning in summer and winter', () => {
    const table = new Timetable('0 0 2 * * *', 'Europe/Berlin');
    expect(table.next(new Date('2026-07-01T12:00:00Z'))?.toISOString()).toBe('2026-07-02T00:00:00.000Z');
    expect(table.next(new Date('2026-12-01T12:00:00Z'))?.toISOString()).toBe('2026-12-02T01:00:00.000Z');
  });
});

describe('as NCRONTAB has it', () => {
  const next = (cron: string, from = '2026-01-01T00:00:00Z') =>
    new Timetable(cron, 'UTC').next(new Date(from))?.toISOString();

  it('day and weekday must both match', () => {
    expect(next('0 0 0 13 * FRI')).toBe('2026-02-13T00:00:00.000Z');
    expect(next('0 0 0 13 * 5', '2026-02-13T00:00:00Z')).toBe('2026-03-13T00:00:00.000Z');
  });

  it.each([
    ['*/20 * * * * *', '2026-01-01T00:00:20.000Z'],
    ['0 0 2 * * *', '2026-01-01T02:00:00.000Z'],
    ['0 0 0 * * 0', '2026-01-04T00:00:00.000Z'],
    ['0 0 0 * * SUN', '2026-01-04T00:00:00.000Z'],
    ['0 0 0 * * MON-WED,SAT', '2026-01-03T00:00:00.000Z'],
    ['0 0 0 * JUL *', '2026-07-01T00:00:00.000Z'],
    ['0 0 0 1 jul *', '2026-07-01T00:00:00.000Z'],
    ['0 0 0 29 2 *', '2028-02-29T00:00:00.000Z'],
    ['  0   15  10-12/2 * * *  ', '2026-01-01T10:15:00.000Z'],
    ['0 17,47 * 7 * *', '2026-01-07T00:17:00.000Z'],
  ])('%s', (cron, at) => {
    expect(next(cron)).toBe(at);
  });

  it('the next time is after the one asked about, never at it', () => {
    expect(next('0 0 2 * * *', '2026-01-01T02:00:00Z')).toBe('2026-01-02T02:00:00.000Z');
    expect(next('0 0 2 * * *', '2026-01-01T01:59:59.999Z')).toBe('2026-01-01T02:00:00.000Z');
  });

  it.each([
    ['', /six fields/],
    ['0 2 * * *', /six fields.*has 5/],
    ['0 0 2 * * * 2026', /six fields.*has 7/],
    ['@daily', /six fields/],
    ['0 0 0 ? * *', /"\?" is not NCRONTAB/],
    ['0 0 0 L * *', /not NCRONTAB/],
    ['0 0 0 l * *', /not NCRONTAB/],
    ['0 0 0 15W * *', /not NCRONTAB/],
    ['0 0 0 LW * *', /not NCRONTAB/],
    ['0 0 0 * * 1#2', /"1#2" is not NCRONTAB/],
    ['0 0 0 * * 5L', /not NCRONTAB/],
    ['0 0 0 * * 7', /7 for Sunday/],
    ['0 0 0 * * 1-7', /7 for Sunday/],
    ['60 * * * * *', /60/],
    ['0 60 * * * *', /60/],
    ['0 0 24 * * *', /24/],
    ['0 0 0 0 * *', /day/],
    ['0 0 0 32 * *', /day|never/],
    ['0 0 0 * 0 *', /month/],
    ['0 0 0 * 13 *', /month/],
    ['0 0 0 * * FRI-MON', /larger/],
    ['10-5 * * * * *', /larger/],
    ['*/0 * * * * *', /step/],
    ['*/x * * * * *', /./],
    ['1,,2 * * * * *', /empty/],
    ['a b c d e f', /./],
    ['0 0 0 30 2 *', /never comes due/],
    ['0 0 0 31 2,4,6,9,11 *', /never comes due/],
  ])('refuses "%s"', (cron, message) => {
    expect(() => new Timetable(cron, 'UTC')).toThrow(message);
  });

  it.each(['Mars/Olympus', '', 'Europe', 'W. Europe Standard Time'])('refuses the zone "%s"', (zone) => {
    expect(() => new Timetable('0 0 2 * * *', zone)).toThrow(/is not a time zone; use a name such as Europe\/Berlin/);
  });
});

describe('between', () => {
  const minutely = new Timetable('0 * * * * *', 'UTC');
  const at = (text: string) => new Date(`2026-05-05T${text}Z`);
  const times = (from: string, to: string, limit: number) =>
    minutely.between(at(from), at(to), limit).map((due) => due.toISOString().slice(11, 16));

  it('leaves the first moment out and takes the last in', () => {
    expect(times('10:00:00', '10:03:00', 10)).toEqual(['10:01', '10:02', '10:03']);
    expect(times('10:00:00', '10:02:59.999', 10)).toEqual(['10:01', '10:02']);
  });

  it('gives the last ones when there are more than wanted, oldest first', () => {
    expect(times('10:00:00', '11:00:00', 3)).toEqual(['10:58', '10:59', '11:00']);
    expect(times('10:00:00', '11:00:00', 1)).toEqual(['11:00']);
  });

  it('is empty when nothing comes due, and when time runs backwards', () => {
    expect(times('10:00:01', '10:00:59', 10)).toEqual([]);
    expect(times('10:00:00', '10:00:00', 10)).toEqual([]);
    expect(times('11:00:00', '10:00:00', 10)).toEqual([]);
  });

  it('joins without gap or double, wherever it is cut', () => {
    const cuts = ['10:00:00', '10:00:30', '10:02:00', '10:02:00.001', '10:05:59.999', '10:07:00'];
    const pieces = cuts.slice(1).flatMap((to, i) => times(cuts[i] ?? '', to, 100));
    expect(pieces).toEqual(times('10:00:00', '10:07:00', 100));
  });
});
