import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import type { ProcessReport } from './fixtures/restarted-process.worker.js';

const FIXTURE = fileURLToPath(new URL('../../dist/id/fixtures/restarted-process.worker.js', import.meta.url));

/** Run a process that draws `drawCount` ids on a clock that is off by `offsetMs` and ten times too fast, and kills itself. */
function runProcess(directory: string, offsetMs: number, drawCount: number): Promise<ProcessReport> {
  return new Promise((resolve, reject) => {
    const args = [FIXTURE, directory, String(offsetMs), '10', String(drawCount)];
    execFile(process.execPath, args, { timeout: 20_000 }, (error, stdout, stderr) => {
      if (error?.signal === 'SIGKILL' && stdout !== '') resolve(JSON.parse(stdout) as ProcessReport);
      else reject(new Error(`the process failed: ${stderr}`, { cause: error }));
    });
  });
}

test('a process that was killed and comes back with its clock 5 s behind waits, and repeats no id', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'halley-restart-'));
  try {
    const first = await runProcess(directory, 0, 50_000);
    const second = await runProcess(directory, -5_000, 50_000);
    expect(second.waitedMs).toBeGreaterThan(0);
    expect(second.firstTimestampMs).toBeGreaterThanOrEqual(first.markMs);
    expect(BigInt(second.firstId)).toBeGreaterThan(BigInt(first.lastId));
    for (const report of [first, second]) expect(report.lastTimestampMs).toBeLessThan(report.markMs);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
});

test('a process whose clock is an hour behind its last run does not start', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'halley-restart-'));
  try {
    await runProcess(directory, 0, 1);
    await expect(runProcess(directory, -3_600_000, 1)).rejects.toThrow(/the clock is far behind the last run/);
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
});
