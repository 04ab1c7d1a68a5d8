import { describe, expect, it } from 'vitest';
import { addCpu, cpuBetween, ProcessMeter, readCpu, readRssBytes } from './proc.js';

/** Of CPU, not of the clock: a loaded machine may give a process none of it for long. */
function spin(cpuMs: number): void {
  const start = process.cpuUsage();
  let spent = process.cpuUsage(start);
  while (spent.user + spent.system < cpuMs * 1000) spent = process.cpuUsage(start);
}

describe('the kernel figures (Linux)', () => {
  it("are this process's own", () => {
    const before = readCpu(process.pid);
    spin(60);
    const after = readCpu(process.pid);
    const spent = cpuBetween(process.pid, before!, after!);
    expect(spent.userMs + spent.systemMs).toBeGreaterThan(0);
    expect(spent.mainMs).toBeGreaterThan(0);
    expect(readRssBytes(process.pid)).toBeGreaterThan(10_000_000);
    expect(readCpu(2 ** 30)).toBeUndefined();
  });

  it('of several processes are added up, and absent where one is not ours', () => {
    const meter = new ProcessMeter([process.pid, process.pid]);
    meter.mark();
    spin(60);
    const spent = meter.spent();
    expect(spent?.mainMs).toBeGreaterThan(0);
    expect(meter.rssBytes()).toBeGreaterThan(20_000_000);
    const foreign = new ProcessMeter([process.pid, undefined]);
    foreign.mark();
    expect([foreign.spent(), foreign.rssBytes()]).toEqual([undefined, undefined]);
  });
});

describe('addCpu', () => {
  it('adds main threads and the other threads by rank', () => {
    const one = { userMs: 1, systemMs: 2, mainMs: 1, otherMs: [5, 1] };
    const other = { userMs: 10, systemMs: 20, mainMs: 4, otherMs: [7] };
    expect(addCpu([one, other])).toEqual({ userMs: 11, systemMs: 22, mainMs: 5, otherMs: [12, 1] });
    expect(addCpu([])).toEqual({ userMs: 0, systemMs: 0, mainMs: 0, otherMs: [] });
  });
});
