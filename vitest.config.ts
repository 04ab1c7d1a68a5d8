import { defineConfig } from 'vitest/config';

/** Thread tests load worker entries from dist/, so `scripts/test.mjs` builds first. */
export default defineConfig({
  test: {
    include: ['src/**/*.test.ts', 'test/**/*.test.ts', 'bench/**/*.test.ts'],
    exclude: process.env['HALLEY_LONG'] === '1' ? [] : ['**/*.long.test.ts'],
    pool: 'forks',
    // Two cores, and tests that mostly wait: for processes, leases, deadlines.
    maxWorkers: 3,
    testTimeout: 30_000,
    hookTimeout: 60_000,
    retry: 0,
  },
});
