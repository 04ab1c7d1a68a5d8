/**
 * What the kernel says about a process: CPU by thread and resident memory. Linux only; elsewhere everything is absent.
 */
import { readdirSync, readFileSync } from 'node:fs';

/** The kernel counts CPU time in ticks of 1/100 s (USER_HZ), the same on every architecture Node runs on. */
const TICK_MS = 10;
/** Index of utime after the closing parenthesis of the name, which may itself hold spaces: field 14 of the line. */
const UTIME_INDEX = 11;
const STIME_INDEX = 12;
const BYTES_PER_KB = 1024;

export interface CpuTimes {
  readonly userMs: number;
  readonly systemMs: number;
}

export interface ProcessCpu extends CpuTimes {
  /** Threads that live, by thread id. The main thread's id is the process id. */
  readonly threads: ReadonlyMap<number, CpuTimes>;
}

function timesOf(statPath: string): CpuTimes | undefined {
  let line: string;
  try {
    line = readFileSync(statPath, 'utf8');
  } catch {
    return undefined;
  }
  const fields = line.slice(line.lastIndexOf(')') + 2).split(' ');
  return { userMs: Number(fields[UTIME_INDEX]) * TICK_MS, systemMs: Number(fields[STIME_INDEX]) * TICK_MS };
}

/** Undefined: no such process, or no /proc. */
export function readCpu(pid: number): ProcessCpu | undefined {
  const total = timesOf(`/proc/${pid}/stat`);
  if (total === undefined) return undefined;
  const threads = new Map<number, CpuTimes>();
  for (const name of readdirSync(`/proc/${pid}/task`)) {
    const times = timesOf(`/proc/${pid}/task/${name}/stat`);
    if (times !== undefined) threads.set(Number(name), times);
  }
  return { ...total, threads };
}

export interface CpuSpent extends CpuTimes {
  /** The main thread's part: in Halley the control thread. */
  readonly mainMs: number;
  /** The other threads that did anything, busiest first: buckets, then what V8 and libuv run aside. */
  readonly otherMs: readonly number[];
}

/** What `pid` spent between two readings. */
export function cpuBetween(pid: number, before: ProcessCpu, after: ProcessCpu): CpuSpent {
  const spentMs = (tid: number): number => {
    const end = after.threads.get(tid);
    const start = before.threads.get(tid);
    if (end === undefined) return 0;
    return end.userMs + end.systemMs - (start === undefined ? 0 : start.userMs + start.systemMs);
  };
  const otherMs = [...after.threads.keys()]
    .filter((tid) => tid !== pid)
    .map(spentMs)
    .filter((ms) => ms > 0)
    .sort((a, b) => b - a);
  return {
    userMs: after.userMs - before.userMs,
    systemMs: after.systemMs - before.systemMs,
    mainMs: spentMs(pid),
    otherMs,
  };
}

/** Resident memory in bytes; undefined where /proc does not say. */
export function readRssBytes(pid: number): number | undefined {
  try {
    const kilobytes = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
    return kilobytes === undefined ? undefined : Number(kilobytes) * BYTES_PER_KB;
  } catch {
    return undefined;
  }
}

/**
 * TCP segments with new data that this network namespace has sent: on the loopback about one per socket write. Other
 * traffic of the machine counts too, so it is a figure of a quiet machine.
 */
export function readDataSegments(): number | undefined {
  try {
    const lines = readFileSync('/proc/net/netstat', 'utf8').split('\n');
    const [names, values] = lines.filter((line) => line.startsWith('TcpExt:')).map((line) => line.split(' '));
    const value = values?.[names?.indexOf('TCPOrigDataSent') ?? -1];
    return value === undefined ? undefined : Number(value);
  } catch {
    return undefined;
  }
}

/** Of several nodes: the main threads together, the busiest other threads together, and so on. */
export function addCpu(parts: readonly CpuSpent[]): CpuSpent {
  const total = (field: (part: CpuSpent) => number): number => parts.reduce((sum, part) => sum + field(part), 0);
  const threadCount = Math.max(0, ...parts.map(({ otherMs }) => otherMs.length));
  return {
    userMs: total(({ userMs }) => userMs),
    systemMs: total(({ systemMs }) => systemMs),
    mainMs: total(({ mainMs }) => mainMs),
    otherMs: Array.from({ length: threadCount }, (_, index) => total(({ otherMs }) => otherMs[index] ?? 0)),
  };
}

/** CPU and memory of the processes under test; undefined values where one of them is not ours. */
export class ProcessMeter {
  readonly #pids: readonly number[] | undefined;
  #before: readonly (ProcessCpu | undefined)[] = [];

  constructor(pids: readonly (number | undefined)[]) {
    this.#pids = pids.every((pid) => pid !== undefined) ? pids : undefined;
  }

  /** Start of a window. */
  mark(): void {
    this.#before = (this.#pids ?? []).map(readCpu);
  }

  /** CPU since mark(). */
  spent(): CpuSpent | undefined {
    const parts = this.#pids?.map((pid, index) => {
      const before = this.#before[index];
      const after = readCpu(pid);
      return before === undefined || after === undefined ? undefined : cpuBetween(pid, before, after);
    });
    return parts?.every((part) => part !== undefined) ? addCpu(parts) : undefined;
  }

  /** Resident memory of all together. */
  rssBytes(): number | undefined {
    const parts = this.#pids?.map(readRssBytes);
    return parts?.every((part) => part !== undefined) ? parts.reduce((sum, part) => sum + part, 0) : undefined;
  }
}
