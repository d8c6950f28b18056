type Schema = Record<string, unknown>;

/**
 * What is wrong with a value by a JSON Schema, as far as ours go. Throws on a keyword that it does not know, so that a schema that
 * grows beyond it is noticed.
 */
export function faults(schema: Schema, value: unknown, path = ''): string[] {
  return Object.entries(schema).flatMap(([keyword, rule]) => {
    const wrong = (ok: boolean): string[] => (ok ? [] : [`${path}: ${keyword}`]);
    const isText = typeof value === 'string';
    const isNumber = typeof value === 'number';
    switch (keyword) {
      case '$schema':
      case '$id':
      case 'title':
      case 'description':
        return [];
      case 'type':
        return wrong(
          rule === typeOf(value) || (rule === 'integer' && Number.isInteger(value)) || (rule === 'number' && isNumber),
        );
      case 'const':
        return wrong(value === rule);
      case 'enum':
        return wrong((rule as unknown[]).includes(value));
      case 'pattern':
        return wrong(!isText || new RegExp(rule as string).test(value));
      case 'minLength':
        return wrong(!isText || value.length >= (rule as number));
      case 'maxLength':
        return wrong(!isText || value.length <= (rule as number));
      case 'minimum':
        return wrong(!isNumber || value >= (rule as number));
      case 'maximum':
        return wrong(!isNumber || value <= (rule as number));
      case 'minItems':
        return wrong(!Array.isArray(value) || value.length >= (rule as number));
      case 'maxItems':
        return wrong(!Array.isArray(value) || value.length <= (rule as number));
      case 'items':
        return Array.isArray(value) ? value.flatMap((item, i) => faults(rule as Schema, item, `${path}[${i}]`)) : [];
      case 'anyOf':
        return wrong((rule as Schema[]).some((branch) => faults(branch, value, path).length === 0));
      case 'required':
        return (rule as string[]).flatMap((name) =>
          isObject(value) && !(name in value) ? [`${path}.${name}: required`] : [],
        );
      case 'properties':
        return isObject(value)
          ? Object.entries(rule as Record<string, Schema>).flatMap(([name, inner]) =>
              name in value ? faults(inner, value[name], `${path}.${name}`) : [],
            )
          : [];
      case 'additionalProperties': {
        if (rule !== false) throw new Error('additionalProperties must be false');
        const known = Object.keys((schema['properties'] ?? {}) as Schema);
        return isObject(value)
          ? Object.keys(value).flatMap((name) => (known.includes(name) ? [] : [`${path}.${name}: unknown`]))
          : [];
      }
      default:
        throw new Error(`No rule for the keyword "${keyword}"`);
    }
  });
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeOf(value) === 'object';
}

function typeOf(value: unknown): string {
  return value === null ? 'null' : Array.isArray(value) ? 'array' : typeof value;
}
