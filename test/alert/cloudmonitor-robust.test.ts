import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { readCloudMonitor } from '../../shared/alert/cloudmonitor.ts';
import { canonical, dimensionsOf } from '../../shared/alert/cloudmonitor/dimensions.ts';
import { alertId } from '../../shared/alert/store.ts';
import { Problem } from '../../shared/problem.ts';
import { callback, encoded, fields, sample } from './cloudmonitor.ts';

const name = fc.stringMatching(/^[A-Za-z_][\w.:-]{0,12}$/);
/** Texts full of what has a meaning in a map, but for what would be the beginning of an entry. */
const value = fc
  .string({ unit: fc.constantFrom('=', ',', ' ', '{', '}', '[', ']', '"', '&', '%', '+', ':', 'a', '1', 'é', '中') })
  .filter((text) => !/,\s*[\w.:-]+=/.test(`,${text}`) && text.trim() !== '' && text.trim() !== 'null');
const map = fc
  .dictionary(name, value, { minKeys: 1, maxKeys: 6, noNullPrototype: true })
  .filter((all) => !Object.keys(all).includes('__proto__'));

/** As java.util.AbstractMap#toString writes it. */
const java = (entries: Record<string, string>) =>
  `{${Object.entries(entries)
    .map(([key, text]) => `${key}=${text}`)
    .join(', ')}}`;
const trimmed = (entries: Record<string, string>) =>
  Object.fromEntries(Object.entries(entries).map(([key, text]) => [key, text.trim()]));

describe('dimensions', () => {
  it('of a Java map are what was put into it', () => {
    fc.assert(
      fc.property(map, (entries) => {
        const [read, ...others] = dimensionsOf(java(entries));
        expect(Object.fromEntries(read ?? [])).toEqual(trimmed(entries));
        expect(others).toEqual([]);
      }),
      { numRuns: 1000 },
    );
  });

  it('of JSON are the same, and have one canonical text in every order', () => {
    fc.assert(
      fc.property(map, (entries) => {
        const reversed = Object.fromEntries(Object.entries(entries).toReversed());
        const texts = [java(entries), java(reversed), JSON.stringify(entries), JSON.stringify([reversed])];
        expect(new Set(texts.map((text) => canonical(dimensionsOf(text)))).size).toBe(1);
      }),
    );
  });

  it('of anything are none or some, never an error', () => {
    const text = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.json(),
      fc.string({ unit: fc.constantFrom('{', '}', '[', ']', ',', '=', ' ', '"', 'a') }),
    );
    fc.assert(
      fc.property(fc.oneof(text, fc.jsonValue(), fc.anything()), (anything) => {
        for (const one of dimensionsOf(anything)) expect(one.size).toBeGreaterThan(0);
      }),
      { numRuns: 1000 },
    );
  });

  it('of hostile texts take no time', () => {
    const texts = [',', ', ', ',a', '{', '[', '},{', ', a', '=', '"', ' '].map((part) =>
      part.repeat(250_000 / part.length),
    );
    const began = performance.now();
    for (const text of texts) dimensionsOf(text);
    expect(performance.now() - began).toBeLessThan(3000);
  });
});

/** Reads it; the only error that there may be is a Problem that the sender is to blame for. */
function expectReadOrRefused(payload: Uint8Array): void {
  try {
    const { notices, left } = readCloudMonitor(payload);
    expect(notices.length).toBeGreaterThan(0);
    expect(left).toBeGreaterThanOrEqual(0);
    for (const notice of notices) {
      expect(['fired', 'resolved', 'no-data']).toContain(notice.alert.condition);
      expect(notice.alert.firedAt.getTime()).toBeGreaterThan(1e12);
      expect(notice.alert.externalId).not.toBe('');
      // What is archived is the same alert again.
      const again = readCloudMonitor(notice.payload).notices;
      expect(again.map((one) => alertId(one.alert))).toEqual([alertId(notice.alert)]);
    }
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    expect(error.status).toBeLessThan(500);
  }
}

describe('whatever is sent', () => {
  const samples = [
    ...['capture-alert', 'capture-ok', 'doc-sample-as-printed', 'doc-sample-encoded'].map(
      (each) => `threshold-${each}.txt`,
    ),
    'written-threshold-2018.txt',
    'event-callback-doc-sample.json',
    'event-notification-doc-sample.json',
    'written-alertmanager-group.json',
    'written-eventbridge-ecs.json',
  ].map(sample);

  it('is read or refused: bytes', () => {
    fc.assert(fc.property(fc.uint8Array(), expectReadOrRefused), { numRuns: 500 });
  });

  it('is read or refused: fields with any content', () => {
    const names = fc.constantFrom(...Object.keys(fields()), '__proto__', 'constructor', 'toString');
    const any = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.json(),
      fc.constantFrom('null', '{}', '0', '-1', '9999999999999'),
    );
    fc.assert(
      fc.property(names, any, (field, content) => {
        expectReadOrRefused(callback({ [field]: content }));
        expectReadOrRefused(encoded({ ...fields(), [field]: content }));
      }),
      { numRuns: 500 },
    );
  });

  it('is read or refused: samples with a part cut out or put in', () => {
    const part = fc.tuple(fc.constantFrom(...samples), fc.nat(2000), fc.nat(300), fc.uint8Array({ maxLength: 20 }));
    fc.assert(
      fc.property(part, ([bytes, from, length, inserted]) => {
        const at = from % bytes.length;
        expectReadOrRefused(new Uint8Array([...bytes.slice(0, at), ...inserted, ...bytes.slice(at + length)]));
      }),
      { numRuns: 1000 },
    );
  });

  it('is read or refused: JSON with any members', () => {
    const members = fc.dictionary(
      fc.constantFrom(
        'alerts',
        'eventTime',
        'content',
        'data',
        'specversion',
        'alertState',
        'labels',
        'status',
        'resourceId',
        'dimensions',
        'startsAt',
        'commonLabels',
        'name',
        'level',
        'timestamp',
      ),
      fc.oneof(fc.jsonValue(), fc.constantFrom('2026-03-04T05:06:07Z', 'firing', 'ALERT', '1.0')),
    );
    fc.assert(
      fc.property(members, (object) => expectReadOrRefused(encoded(object))),
      { numRuns: 2000 },
    );
  });
});
