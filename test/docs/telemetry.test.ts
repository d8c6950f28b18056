import { expect, it } from 'vitest';
import { attributeNames, metrics, spanNames } from '../../shared/telemetry/signals.ts';
import { rows, section } from '../markdown.ts';

// docs/telemetry.md and the code have the same names.

const page = 'docs/telemetry.md';

it('spans and what they say', () => {
  const names = rows(section(page, 'Spans')).map(([name]) => name);
  expect(names).toEqual([...spanNames, ...attributeNames]);
});

it('measurements with their kinds and dimensions', () => {
  const inDocs = rows(section(page, 'Measurements')).map(([name, kind, dimensions]) => [name, kind, dimensions]);
  const inCode = Object.entries(metrics).map(([name, { kind, dimensions }]) => [
    name,
    kind,
    dimensions.join(', ') || 'none',
  ]);
  expect(inDocs).toEqual(inCode);
});
