/**
 * The shipped ring between real threads, as a suite that takes a size. Every record says by its number what it must
 * contain and whom it concerns, so each delivery is legal (next in order; first after a reported gap) or forbidden (lost,
 * repeated, torn, meant for others). The seed is in every failure's message.
 */
import { expect, it } from 'vitest';
import { runStress, type StressReport } from './fixtures/stress.js';

const DIST = new URL('../../dist/ring/fixtures/', import.meta.url);

const seed = Number(process.env['HALLEY_SEED'] ?? Math.floor(Math.random() * 2 ** 31));

function expectNothingForbidden(report: StressReport): void {
  for (const reader of report.readers) {
    expect(reader, `seed ${seed}`).toMatchObject({
      FORBIDDEN_LOSS: 0,
      FORBIDDEN_REPEAT: 0,
      FORBIDDEN_TEAR: 0,
      FORBIDDEN_TARGET: 0,
    });
  }
}

/** @param factor 1 runs for about a second in all */
export function ringStress(factor: number): void {
  it('loses, repeats, reorders and tears nothing with a fast and a slow reader, while writers crash', {
    timeout: 30_000 * factor,
  }, async () => {
    const report = await runStress(DIST, {
      recordCount: 60_000 * factor,
      writerCount: 4,
      drainRecords: [1000, 3],
      churn: false,
      dieAfter: 0,
      startPosition: -1_000_000,
      seed,
      deadlineMs: 25_000 * factor,
    });
    expectNothingForbidden(report);
    expect(report.readers.map((reader) => reader.GIVEN)).toEqual(report.concernedCounts);
    expect(report.stages.FULL, `seed ${seed}`).toBeGreaterThan(0);
    expect(report.stages.WOKEN, `seed ${seed}`).toBeGreaterThan(0);
  });

  it('reports every loss while readers stall, are detached, rejoin, leave and come back', {
    timeout: 30_000 * factor,
  }, async () => {
    const report = await runStress(DIST, {
      recordCount: 60_000 * factor,
      writerCount: 2,
      drainRecords: [50, 7, 200],
      churn: true,
      dieAfter: 0,
      startPosition: -1_000_000,
      seed,
      deadlineMs: 25_000 * factor,
    });
    expectNothingForbidden(report);
    const total = (pick: (reader: StressReport['readers'][number]) => number): number =>
      report.readers.reduce((sum, reader) => sum + pick(reader), 0);
    const reportedCount = total((reader) => reader.GAP_REPORTED);
    // Each thing that the test is about did happen.
    expect(reportedCount, `seed ${seed}`).toBeGreaterThan(0);
    expect(
      total((reader) => reader.LEFT),
      `seed ${seed}`,
    ).toBeGreaterThan(0);
    expect(
      total((reader) => reader.STALLED),
      `seed ${seed}`,
    ).toBeGreaterThan(0);
    // A detachment is reported once, unless the reader leaves before its next drain.
    expect(reportedCount, `seed ${seed}`).toBeLessThanOrEqual(report.stages.DETACHED);
    expect(report.stages.DETACHED - reportedCount, `seed ${seed}`).toBeLessThanOrEqual(total((reader) => reader.LEFT));
  });

  it('goes on when a reader dies inside its sink, is reset, and gets a successor', {
    timeout: 30_000 * factor,
  }, async () => {
    const report = await runStress(DIST, {
      recordCount: 40_000 * factor,
      writerCount: 2,
      drainRecords: [100, 100],
      churn: false,
      dieAfter: 5_000,
      startPosition: 0,
      seed,
      deadlineMs: 25_000 * factor,
    });
    expectNothingForbidden(report);
    expect(report.readers[1]!.GIVEN).toBe(report.concernedCounts[1]);
    expect(report.readers[0]!.GIVEN).toBeGreaterThan(5_000);
    expect(report.readers[0]!.GIVEN).toBeLessThanOrEqual(report.concernedCounts[0]!);
  });
}
