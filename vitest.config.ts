import { defineConfig } from 'vitest/config';
import { SkippedReporter } from './test/skipped.ts';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    testTimeout: 30_000,
    hookTimeout: 60_000,
    maxWorkers: 3,
    reporters: ['default', new SkippedReporter()],
  },
});
