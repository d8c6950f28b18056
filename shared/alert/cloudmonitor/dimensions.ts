import { isObject, jsonInside } from '../payload.ts';
import { longestText } from '../read.ts';

/** What an alarm is about: names and values such as `instanceId` and `i-…`. */
export type Dimensions = ReadonlyMap<string, string>;

const most = 1000;

/**
 * The dimensions of a threshold alert: one set of them, or several. They come as the text of a Java map (`{userId=…, instanceId=i-…}`), as
 * JSON (an object or a list of objects; the form of 2017 and 2018), or not at all (`null`). Never throws: what is none of these is none.
 */
export function dimensionsOf(value: unknown): Dimensions[] {
  if (typeof value === 'string') {
    const json = jsonInside(value);
    return json === undefined ? javaMaps(value.trim()) : dimensionsOf(json);
  }
  if (Array.isArray(value)) {
    const flat = value.filter((one) => !Array.isArray(one)).slice(0, most);
    return flat.flatMap(dimensionsOf).slice(0, most);
  }
  return isObject(value) ? filled(Object.entries(value)) : [];
}

/** One text for equal dimensions, whatever their order. */
export function canonical(all: readonly Dimensions[]): string {
  const sorted = (texts: string[]): string[] => texts.toSorted((a, b) => (a < b ? -1 : 1));
  return sorted(all.map((one) => sorted([...one].map(([name, value]) => `${name}=${value}`)).join(','))).join(';');
}

/** Java escapes nothing in the text of a map, so an entry is taken to begin where `, name=` stands; no map is inside of another. */
function javaMaps(text: string): Dimensions[] {
  // By position and not by pattern: a long run of spaces must cost no more than its length.
  const inside = text.slice(1, text.endsWith(']') ? -1 : undefined).trim();
  const maps = text.startsWith('[') ? inside.split(/\}\s*,\s*(?=\{)/) : [text];
  return maps.slice(0, most).flatMap((map) => {
    const entries = map
      .replace(/^\s*\{/, '')
      .replace(/\}$/, '')
      .split(/,\s*(?=[\w.:-]+=)/);
    return filled(
      entries.flatMap((entry): [string, unknown][] => {
        const split = entry.indexOf('=');
        return split < 1 ? [] : [[entry.slice(0, split).trim(), entry.slice(split + 1)]];
      }),
    );
  });
}

/** Those that have a value; no set at all where none has. */
function filled(entries: [string, unknown][]): Dimensions[] {
  const dimensions = new Map<string, string>();
  for (const [name, value] of entries.slice(0, most)) {
    if (typeof value !== 'string' && typeof value !== 'number') continue;
    const text = String(value).trim();
    if (text !== '' && text !== 'null') dimensions.set(name.slice(0, longestText), text.slice(0, longestText));
  }
  return dimensions.size === 0 ? [] : [dimensions];
}
