import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';

it('allocates nothing per record from claim to sink, and nothing per buffer that the pool has', () => {
  const fixture = fileURLToPath(new URL('../../dist/ring/fixtures/allocation.worker.js', import.meta.url));
  // 256 MiB of young generation: one object of 40 bytes per record, 40 MB in all, shows instead of being collected.
  const flags = ['--expose-gc', '--min-semi-space-size=256', '--max-semi-space-size=256'];
  const report = JSON.parse(execFileSync(process.execPath, [...flags, fixture], { encoding: 'utf8' })) as {
    bytesPerRecord: number;
    bytesPerLoan: number;
    seenBytes: number;
    gc: boolean;
  };
  expect(report.gc).toBe(true);
  expect(report.seenBytes).toBe(1_100_032 * 2 * 128);
  // Room for what the compiler itself allocates while it optimises.
  expect(Math.abs(report.bytesPerRecord)).toBeLessThan(1);
  expect(Math.abs(report.bytesPerLoan)).toBeLessThan(8);
});
