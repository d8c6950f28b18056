import { readFileSync } from 'node:fs';

/** The published specification of packet captures, api-version 2026-01-01: what its calls may answer, and what they take. */
type Schema = {
  $ref?: string;
  type?: string;
  format?: string;
  enum?: string[];
  minimum?: number;
  maximum?: number;
  default?: unknown;
  required?: string[];
  properties?: Record<string, Schema>;
  items?: Schema;
  allOf?: Schema[];
};
type Responses = Record<string, { schema?: Schema; headers?: Record<string, unknown> }>;

const folder = `${import.meta.dirname}/../fixtures/arm/spec`;
const read = (file: string) => JSON.parse(readFileSync(`${folder}/${file}`, 'utf8'));
const spec = read('packet-captures-2026-01-01.json') as {
  paths: Record<string, Record<string, { responses: Responses }>>;
  definitions: Record<string, Schema>;
};
const enums = read('enums.json') as Record<string, string[]>;

/** Members that answers have and the specification has not, as recorded. */
const UNDECLARED = ['PacketCaptureResult.type', 'PacketCaptureResultProperties.queryPacketCaptureLastOperationId'];

/** Values that recordings show and the specification has not. */
const SENTENCE = /^\/subscriptions\/.* does not exist or is in stopped state\.$/;

export function definition(name: string): Schema {
  const found = spec.definitions[name];
  if (!found) throw new Error(`no definition ${name}`);
  return found;
}

/** What is wrong with an answer: a status, a header or a body that the specification does not allow. */
export function problems(
  method: string,
  path: string,
  answer: { status: number; headers: Headers; body: unknown },
): string[] {
  const call = Object.entries(spec.paths).find(([pattern]) => matches(pattern, path))?.[1]?.[method.toLowerCase()];
  if (!call) return [`${method} ${path}: no such call`];
  const failed = answer.status >= 400;
  const response = call.responses[String(answer.status)] ?? (failed ? call.responses['default'] : undefined);
  if (!response) return [`${method}: status ${answer.status} is not declared`];
  const missing = Object.keys(response.headers ?? {}).filter((header) => !answer.headers.has(header));
  if (failed) return ofError(answer.body);
  return [
    ...missing.map((header) => `${method} ${answer.status}: no ${header}`),
    ...(response.schema ? check(response.schema, answer.body, '', '') : []),
  ];
}

function matches(pattern: string, path: string): boolean {
  return new RegExp(`^${pattern.replaceAll(/\{\w+\}/g, '[^/]+')}$`, 'i').test(path);
}

/** `{"error":{"code","message","target"}}`, and `details` as recorded. */
function ofError(body: unknown): string[] {
  const error = (body as { error?: Record<string, unknown> } | undefined)?.error;
  if (!error) return ['no error'];
  const unknown = Object.keys(error).filter((name) => !['code', 'message', 'target', 'details'].includes(name));
  const texts = ['code', 'message'].filter((name) => typeof error[name] !== 'string' || error[name] === '');
  return [...unknown.map((name) => `error.${name}: unknown`), ...texts.map((name) => `error.${name}: no text`)];
}

/** @param of name of the definition that `value` belongs to */
function check(schema: Schema, value: unknown, at: string, of: string): string[] {
  if (schema.$ref) return checkReference(schema.$ref, value, at);
  const wrong = (ok: boolean, rule: string) => (ok ? [] : [`${at}: ${rule} (${JSON.stringify(value)})`]);
  switch (schema.type) {
    case 'string': {
      const dated = schema.format !== 'date-time' || !Number.isNaN(Date.parse(String(value)));
      const listed = !schema.enum || schema.enum.includes(String(value));
      return wrong(typeof value === 'string' && dated && listed, 'string');
    }
    case 'integer':
      return wrong(Number.isInteger(value) && inRange(schema, value as number), 'integer');
    case 'boolean':
      return wrong(typeof value === 'boolean', 'boolean');
    case 'array':
      if (!Array.isArray(value)) return wrong(false, 'array');
      return value.flatMap((each, i) => check(schema.items ?? {}, each, `${at}[${i}]`, of));
    case 'object':
      return typeof value === 'object' && value !== null ? checkObject(schema, value, at, of) : wrong(false, 'object');
    default:
      throw new Error(`${at}: no rule for the type ${schema.type}`);
  }
}

function checkReference(reference: string, value: unknown, at: string): string[] {
  const name = reference.slice(reference.lastIndexOf('/') + 1);
  const values = enums[name];
  if (!values) return check(definition(name), value, at, name);
  const text = String(value);
  return values.includes(text) || (name === 'PcError' && SENTENCE.test(text)) ? [] : [`${at}: ${name} (${text})`];
}

function checkObject(schema: Schema, value: object, at: string, of: string): string[] {
  const { properties, required } = membersOf(schema);
  const missing = required.filter((name) => !(name in value)).map((name) => `${at}.${name}: missing`);
  const members = Object.entries(value).flatMap(([name, member]) => {
    const rule = properties[name];
    if (rule) return check(rule, member, `${at}.${name}`, of);
    return UNDECLARED.includes(`${of}.${name}`) ? [] : [`${at}.${name}: unknown in ${of}`];
  });
  return [...missing, ...members];
}

function membersOf(schema: Schema): { properties: Record<string, Schema>; required: string[] } {
  const parts = [...(schema.allOf ?? []).map((part) => membersOf(resolved(part))), schema];
  return {
    properties: Object.assign({}, ...parts.map((part) => part.properties)),
    required: parts.flatMap((part) => part.required ?? []),
  };
}

function resolved(schema: Schema): Schema {
  return schema.$ref ? definition(schema.$ref.slice(schema.$ref.lastIndexOf('/') + 1)) : schema;
}

function inRange({ minimum = -Infinity, maximum = Infinity }: Schema, value: number): boolean {
  return minimum <= value && value <= maximum;
}
