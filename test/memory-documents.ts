import type { Documents } from '../shared/storage/document.ts';

/** Documents in memory; test/storage/document.test.ts holds them to the same contract as blobs. */
export class MemoryDocuments implements Documents {
  readonly #documents = new Map<string, { text: string; etag: string; modifiedAt: Date }>();
  /** The clock of the store. */
  now = () => new Date();
  #writes = 0;

  async read(name: string): Promise<{ text: string; etag: string; modifiedAt: Date } | undefined> {
    return this.#documents.get(name);
  }

  async write(name: string, text: string, etag: string | undefined): Promise<boolean> {
    if (this.#documents.get(name)?.etag !== etag) return false;
    this.#documents.set(name, { text, etag: String(++this.#writes), modifiedAt: this.now() });
    return true;
  }
}
