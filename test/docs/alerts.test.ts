import { expect, it } from 'vitest';
import { alertKinds } from '../../shared/alert/alert.ts';
import { rows, section } from '../markdown.ts';

it.each([
  ['docs/api.md', 'Alert kinds'],
  ['docs/rules.md', 'Which machines an alert names'],
])('%s has the kinds of alerts of the code', (path, heading) => {
  expect(rows(section(path, heading)).map(([kind]) => kind)).toEqual([...alertKinds]);
});
