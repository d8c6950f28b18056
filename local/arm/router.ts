/**
 * Matches request paths the way Azure Resource Manager does: literal segments in any letter case, `{name}` segments
 * as they were written.
 */
export type Params = Record<string, string>;

type Route<Handler> = { method: string; segments: string[]; handler: Handler };

export class Router<Handler> {
  readonly #routes: Route<Handler>[] = [];

  add(method: string, pattern: string, handler: Handler): this {
    this.#routes.push({ method, segments: pattern.split('/'), handler });
    return this;
  }

  match(method: string, path: string): { handler: Handler; params: Params } | undefined {
    const parts = path.replace(/\/+$/, '').split('/');
    for (const route of this.#routes) {
      if (route.method !== method || route.segments.length !== parts.length) continue;
      const params = bind(route.segments, parts);
      if (params) return { handler: route.handler, params };
    }
    return undefined;
  }
}

function bind(segments: string[], parts: string[]): Params | undefined {
  const params: Params = {};
  for (const [i, segment] of segments.entries()) {
    const part = parts[i] ?? '';
    if (segment.startsWith('{')) {
      const value = decode(part);
      if (!value) return undefined;
      params[segment.slice(1, -1)] = value;
    } else if (segment.toLowerCase() !== part.toLowerCase()) {
      return undefined;
    }
  }
  return params;
}

function decode(part: string): string | undefined {
  try {
    return decodeURIComponent(part);
  } catch {
    return undefined;
  }
}
