import { defineConfig } from 'vitest/config';
import { SkippedReporter } from './test/skipped.ts';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    testTimeout: 60_000,
    hookTimeout: 60_000,
    maxWorkers: 2,
    // A CommonJS package looks as it does to Node, not as its default export.
    deps: { interopDefault: false },
    reporters: ['default', new SkippedReporter()],
  },
});
