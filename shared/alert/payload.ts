import { Problem } from '../problem.ts';

/** Azure Monitor sends at most 256 KB per alert; nothing larger is read. */
export const maxPayloadBytes = 256 * 1024;
const maxDepth = 64;

/** Reads a payload from outside as a JSON object; anything else is a 400 or 413. */
export function parsePayload(bytes: Uint8Array): Record<string, unknown> {
  return parseObject(readText(bytes));
}

/** The text of a payload; what is too long or not UTF-8 is a 413 or 400. */
export function readText(bytes: Uint8Array): string {
  if (bytes.byteLength > maxPayloadBytes) {
    throw new Problem(
      'payload-too-large',
      `The payload has ${bytes.byteLength} bytes; at most ${maxPayloadBytes} are read`,
    );
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw new Problem('invalid-payload', 'The payload is not UTF-8 text');
  }
}

/** A text as a JSON object; anything else is a 400. */
export function parseObject(text: string): Record<string, unknown> {
  if (depthOf(text) > maxDepth)
    throw new Problem('invalid-payload', `The payload is nested deeper than ${maxDepth} levels`);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new Problem('invalid-payload', 'The payload is not JSON');
  }
  if (!isObject(value)) throw new Problem('invalid-payload', 'The payload must be a JSON object');
  return value;
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** What a text inside of a payload holds, if that is JSON: an object or a list. */
export function jsonInside(text: string): unknown {
  if (!/^\s*[[{]/.test(text) || depthOf(text) > maxDepth) return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Deepest nesting of brackets outside of strings; looked at before parsing, so that hostile nesting costs one pass and no stack. */
function depthOf(text: string): number {
  let depth = 0;
  let deepest = 0;
  let inString = false;
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (inString) {
      if (c === 0x5c) i++;
      else if (c === 0x22) inString = false;
    } else if (c === 0x22) inString = true;
    else if (c === 0x7b || c === 0x5b) deepest = Math.max(deepest, ++depth);
    else if (c === 0x7d || c === 0x5d) depth--;
  }
  return deepest;
}
