/**
 * Writes rules.schema.json, the JSON Schema of rules.yaml, from the schema that the app itself checks rules with.
 * `--check` writes nothing and exits 1 when the file is not what the code gives.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { toJsonSchema } from '@valibot/to-json-schema';
import { RulesFile } from '../shared/rule/schema.ts';

const file = resolve(import.meta.dirname, '../rules.schema.json');

/** The text of rules.schema.json. */
export function rulesSchema(): string {
  const { $schema, ...schema } = toJsonSchema(RulesFile, { target: 'draft-2020-12', typeMode: 'input' });
  const described = {
    $schema,
    $id: 'urn:tripcap:rules:1',
    title: 'tripcap rules',
    description: 'Which alerts, and which schedules, start what capture on which machines within which limits.',
    ...schema,
  };
  // `false` says the same as the schema that nothing fits, and editors name the unknown key then.
  const text = JSON.stringify(
    described,
    (key, value: unknown) => (key === 'additionalProperties' && isNever(value) ? false : value),
    2,
  );
  return `${text}\n`;
}

function isNever(value: unknown): boolean {
  return JSON.stringify(value) === '{"not":{}}';
}

if (import.meta.main) {
  if (!process.argv.includes('--check')) writeFileSync(file, rulesSchema());
  else if (readIfThere() !== rulesSchema()) {
    console.error('rules.schema.json is not what shared/rule/schema.ts gives: run npm run schema');
    process.exitCode = 1;
  }
}

function readIfThere(): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
}
