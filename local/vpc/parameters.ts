import { illegal, missing } from './refusal.ts';

/**
 * The parameters of a call as they come over the wire: flat, PascalCase, lists as `Name.1`, `Name.2`, lists of objects as
 * `Name.1.Member`. Reading checks form and range; what is not read is ignored.
 */
export class Parameters {
  readonly #values: Map<string, string>;

  constructor(values: Iterable<[string, string]>) {
    this.#values = new Map(values);
  }

  /** All of them in order, as the request log and comparisons see them. */
  entries(): [string, string][] {
    return [...this.#values].toSorted(([a], [b]) => (a < b ? -1 : 1));
  }

  /** An empty value counts as none. */
  text(name: string): string | undefined {
    return this.#values.get(name) || undefined;
  }

  required(name: string): string {
    const value = this.text(name);
    if (value === undefined) throw missing(name);
    return value;
  }

  /** A whole number. @throws Refusal IllegalParam.<name> when it is none, or out of range */
  integer(name: string, min: number, max: number): number | undefined {
    const value = this.text(name);
    return value === undefined ? undefined : integer(name, value, min, max);
  }

  flag(name: string): boolean | undefined {
    const value = this.text(name);
    if (value === undefined) return undefined;
    if (!/^(?:true|false)$/i.test(value)) throw illegal(name);
    return value.toLowerCase() === 'true';
  }

  /** A name or description: 1 to `max` characters, not beginning with http:// or https://. */
  label(name: string, max: number): string | undefined {
    const value = this.text(name);
    if (value !== undefined && (value.length > max || /^https?:\/\//i.test(value))) throw illegal(name);
    return value;
  }

  list(name: string, max: number): string[] {
    const values = this.#numbered(name)
      .filter(([, rest]) => rest === '')
      .map(([, , value]) => value);
    if (values.length > max) throw illegal(name);
    return values;
  }

  requiredList(name: string, max: number): string[] {
    const values = this.list(name, max);
    if (values.length === 0) throw missing(name);
    return values;
  }

  /** The objects of a list, in order, each with parameters of its own. */
  objects(name: string): Parameters[] {
    const members = new Map<number, [string, string][]>();
    for (const [index, rest, value] of this.#numbered(name)) {
      if (rest === '') continue;
      members.set(index, [...(members.get(index) ?? []), [rest, value]]);
    }
    return [...members.values()].map((each) => new Parameters(each));
  }

  #numbered(name: string): [index: number, rest: string, value: string][] {
    const found: [number, string, string][] = [];
    for (const [key, value] of this.#values) {
      if (!key.startsWith(`${name}.`)) continue;
      const match = /^(\d+)(?:\.(.+))?$/.exec(key.slice(name.length + 1));
      if (match) found.push([Number(match[1]), match[2] ?? '', value]);
    }
    return found.toSorted((a, b) => a[0] - b[0]);
  }
}

function integer(name: string, value: string, min: number, max: number): number {
  const number = /^-?\d{1,10}$/.test(value) ? Number(value) : Number.NaN;
  if (!(number >= min && number <= max)) throw illegal(name);
  return number;
}
