import { randomUUID } from 'node:crypto';
import type { State } from './state.ts';

/** The etag of a watcher, which all its captures share. @param watcher lower-cased id */
export function etagOf(state: State, watcher: string): string {
  const { etags } = state.content;
  etags[watcher] ??= newEtag();
  return etags[watcher];
}

/** Every change of a child renews it. */
export function renewEtag(state: State, watcher: string): void {
  state.content.etags[watcher] = newEtag();
}

function newEtag(): string {
  return `W/"${randomUUID()}"`;
}
