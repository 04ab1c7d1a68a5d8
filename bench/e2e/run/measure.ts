/**
 * One run of one case on one server: fresh server, fresh load clients, measure, stop both.
 *
 * A fed case is fed for a second first, uncounted: a fresh process spends its first second compiling. The CPU window
 * runs from just before the first message until everything arrived (or nothing has for 1.5 s), so work that a server
 * puts off is counted with it.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { type Feed, type FeedReport, messagesOfTarget } from '../wire/feed.js';
import { feedThroughHttp, Runner } from './feeder.js';
import { LoadFleet } from './load-fleet.js';
import type { E2eOptions, ServerName } from './options.js';
import { type CpuSpent, cpuBetween, type ProcessCpu, readCpu, readDataSegments, readRssBytes } from './proc.js';
import type { BenchCase } from './scenario.js';
import { type ServerFiles, type ServerProcess, startServer } from './server-process.js';

const POLL_MS = 100;
const QUIET_MS = 1_500;
const DRAIN_DEADLINE_MS = 15_000;
/** One connection in so many has its delays recorded, where there are enough. */
const SAMPLE_EVERY = 64;
const SAMPLE_ALL_BELOW = 512;
const BYTES_PER_MB = 1_048_576;
const BYTES_PER_KB = 1024;

export interface Delivery {
  readonly offeredCount: number;
  readonly acceptedCount: number;
  readonly refusedCount: number;
  readonly expectedCount: number;
  readonly deliveredCount: number;
  readonly lostCount: number;
  readonly duplicateCount: number;
  readonly backwardCount: number;
  readonly minPerConnection: number;
  readonly maxPerConnection: number;
  readonly frameCount: number;
  readonly readCount: number;
  readonly readBytes: number;
  /** TCP data segments of the machine in the window: about the socket writes. */
  readonly segmentCount: number | undefined;
  readonly deliveredPerSec: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly p999Ms: number;
  readonly maxMs: number;
  /** The furthest the publisher lagged behind its schedule. */
  readonly publisherLateMs: number;
  readonly windowMs: number;
  /** CPU of the load clients in the window, in cores. */
  readonly clientCores: number;
}

export interface RunResult {
  readonly server: ServerName;
  readonly run: number;
  readonly readyCount: number;
  readonly failedCount: number;
  readonly closedCount: number;
  readonly connectMs: number;
  readonly connectCpuUs: number | undefined;
  readonly baseRssMb: number | undefined;
  readonly rssPerConnectionKb: number | undefined;
  readonly delivery: Delivery | undefined;
  readonly cpu: CpuSpent | undefined;
  readonly nsPerMessage: number | undefined;
}

export type Progress = (what: string) => void;

/** Reads of one server's process; undefined values where it is not ours. */
class Meter {
  readonly #pid: number | undefined;

  constructor(pid: number | undefined) {
    this.#pid = pid;
  }

  cpu(): ProcessCpu | undefined {
    return this.#pid === undefined ? undefined : readCpu(this.#pid);
  }

  since(before: ProcessCpu | undefined): CpuSpent | undefined {
    const after = this.cpu();
    if (this.#pid === undefined || before === undefined || after === undefined) return undefined;
    return cpuBetween(this.#pid, before, after);
  }

  rssBytes(): number | undefined {
    return this.#pid === undefined ? undefined : readRssBytes(this.#pid);
  }
}

/** Messages that all connections together must get of `acceptedCount`. */
function expectedDeliveries(benchCase: BenchCase, feed: Feed, acceptedCount: number): number {
  let expected = 0;
  for (let index = 0; index < benchCase.members; index++) {
    expected += messagesOfTarget(acceptedCount, feed.targetCount, index % feed.targetCount);
  }
  return expected;
}

/** Wait until `expected` messages arrived, or nothing has for a while. Returns when the last one was seen. */
async function drained(fleet: LoadFleet, expected: number, startedMs: number, progress: Progress): Promise<number> {
  const deadlineMs = performance.now() + DRAIN_DEADLINE_MS;
  let seen = -1;
  let seenAtMs = performance.now();
  for (;;) {
    const { receivedCount } = await fleet.tally(false);
    const nowMs = performance.now();
    if (receivedCount !== seen) {
      seen = receivedCount;
      seenAtMs = nowMs;
    }
    progress(`${seen} of ${expected} after ${((nowMs - startedMs) / 1000).toFixed(1)} s`);
    if (seen >= expected || nowMs - seenAtMs > QUIET_MS || nowMs > deadlineMs) return seenAtMs;
    await delay(POLL_MS);
  }
}

interface Publication {
  readonly report: FeedReport;
  readonly expectedCount: number;
}

async function publish(
  benchCase: BenchCase,
  server: ServerProcess,
  options: E2eOptions,
  files: ServerFiles,
  fleet: LoadFleet,
): Promise<Publication> {
  const messageCount = Math.round(benchCase.ratePerSec * benchCase.seconds);
  if (benchCase.scenario === 'echo') {
    const { sentCount, maxLateMs } = await fleet.echo(benchCase.ratePerSec, messageCount);
    const report = { acceptedCount: sentCount, refusedCount: messageCount - sentCount, maxLateMs };
    return { report, expectedCount: sentCount };
  }
  const feed: Feed = {
    target: benchCase.scenario === 'keys' ? 'key' : 'room',
    targetCount: benchCase.scenario === 'keys' ? benchCase.members : benchCase.roomCount,
    ratePerSec: benchCase.ratePerSec,
    messageCount,
  };
  const throughHttp = server.http !== undefined && (options.door === 'http' || server.name === 'target');
  let report: FeedReport;
  if (throughHttp && server.http !== undefined) {
    report = await feedThroughHttp(new URL('servers/http-publisher.main.mjs', files.bundle), { feed, ...server.http });
  } else {
    const runner = await Runner.connect(server);
    try {
      report = await runner.feed(feed);
    } finally {
      runner.close();
    }
  }
  return { report, expectedCount: expectedDeliveries(benchCase, feed, report.acceptedCount) };
}

async function measureDelivery(
  benchCase: BenchCase,
  server: ServerProcess,
  options: E2eOptions,
  files: ServerFiles,
  fleet: LoadFleet,
  meter: Meter,
  progress: Progress,
): Promise<{ delivery: Delivery; cpu: CpuSpent | undefined }> {
  if (options.warmUpSeconds > 0) {
    progress('warming up');
    const warmUp = { ...benchCase, seconds: options.warmUpSeconds };
    const { expectedCount: warmCount } = await publish(warmUp, server, options, files, fleet);
    await drained(fleet, warmCount, performance.now(), progress);
  }
  await fleet.reset();
  const clientCpuMs = (await fleet.tally(false)).cpuMs;
  const segments = readDataSegments();
  const before = meter.cpu();
  const startedMs = performance.now();
  progress('publishing');
  const { report, expectedCount } = await publish(benchCase, server, options, files, fleet);
  const lastSeenMs = await drained(fleet, expectedCount, startedMs, progress);
  const cpu = meter.since(before);
  const segmentsAfter = readDataSegments();
  const windowMs = lastSeenMs - startedMs;
  const tally = await fleet.tally(true);
  const deliveredCount = tally.receivedCount - tally.duplicateCount;
  const { delays } = tally;
  const delivery: Delivery = {
    offeredCount: report.acceptedCount + report.refusedCount,
    acceptedCount: report.acceptedCount,
    refusedCount: report.refusedCount,
    expectedCount,
    deliveredCount,
    lostCount: expectedCount - deliveredCount,
    duplicateCount: tally.duplicateCount,
    backwardCount: tally.backwardCount,
    minPerConnection: tally.minPerConnection,
    maxPerConnection: tally.maxPerConnection,
    frameCount: tally.frameCount,
    readCount: tally.readCount,
    readBytes: tally.readBytes,
    segmentCount: segments === undefined || segmentsAfter === undefined ? undefined : segmentsAfter - segments,
    deliveredPerSec: (deliveredCount * 1000) / windowMs,
    p50Ms: delays.getValueAtPercentile(50) / 1000,
    p99Ms: delays.getValueAtPercentile(99) / 1000,
    p999Ms: delays.getValueAtPercentile(99.9) / 1000,
    maxMs: delays.maxValue / 1000,
    publisherLateMs: report.maxLateMs,
    windowMs,
    clientCores: (tally.cpuMs - clientCpuMs) / windowMs,
  };
  return { delivery, cpu };
}

/** Rest for the scenario's time; every connection sends its heartbeat once meanwhile. */
async function rest(benchCase: BenchCase, fleet: LoadFleet, progress: Progress): Promise<void> {
  const restMs = benchCase.seconds * 1000;
  progress(`resting ${benchCase.seconds} s, heartbeats on`);
  await fleet.reset();
  await fleet.heartbeat(restMs / 2);
  await delay(restMs / 2);
}

/** Measure one server once. Server and clients are stopped whatever happens. */
export async function measure(
  name: ServerName,
  benchCase: BenchCase,
  run: number,
  options: E2eOptions,
  files: ServerFiles,
  progress: Progress,
): Promise<RunResult> {
  progress('starting');
  const server = await startServer(name, options, files);
  const entry = new URL('load/load-client.main.mjs', files.bundle);
  const fleet = new LoadFleet(entry, benchCase.members, options.connectionsPerClient);
  try {
    await fleet.started();
    await delay(options.settleMs);
    const meter = new Meter(server.pid);
    const baseRssBytes = meter.rssBytes();
    const before = meter.cpu();
    progress(`connecting ${benchCase.members}`);
    const connect = await fleet.connect({
      host: server.host,
      port: server.port,
      path: server.path,
      connectionCount: benchCase.members,
      roomCount: benchCase.roomCount,
      inflightCount: options.inflightCount,
      sampleEvery: benchCase.members < SAMPLE_ALL_BELOW ? 1 : SAMPLE_EVERY,
      isVerifying: options.isVerifying,
    });
    await delay(options.settleMs);
    const connectCpu = meter.since(before);
    let fed: { delivery: Delivery; cpu: CpuSpent | undefined } | undefined;
    if (benchCase.ratePerSec > 0) {
      fed = await measureDelivery(benchCase, server, options, files, fleet, meter, progress);
    } else if (benchCase.scenario === 'idle') {
      await rest(benchCase, fleet, progress);
    }
    const rssBytes = meter.rssBytes();
    const { closedCount } = await fleet.tally(false);
    return {
      server: name,
      run,
      readyCount: connect.readyCount,
      failedCount: connect.failedCount,
      closedCount,
      connectMs: connect.elapsedMs,
      connectCpuUs:
        connectCpu === undefined
          ? undefined
          : ((connectCpu.userMs + connectCpu.systemMs) * 1000) / Math.max(1, connect.readyCount),
      baseRssMb: baseRssBytes === undefined ? undefined : baseRssBytes / BYTES_PER_MB,
      rssPerConnectionKb:
        rssBytes === undefined || baseRssBytes === undefined
          ? undefined
          : (rssBytes - baseRssBytes) / BYTES_PER_KB / Math.max(1, connect.readyCount),
      delivery: fed?.delivery,
      cpu: fed === undefined ? connectCpu : fed.cpu,
      nsPerMessage:
        fed?.cpu === undefined
          ? undefined
          : ((fed.cpu.userMs + fed.cpu.systemMs) * 1e6) / Math.max(1, fed.delivery.deliveredCount),
    };
  } finally {
    // The server first: a peer that still sends must not meet sockets that are gone.
    await server.stop();
    fleet.stop();
  }
}
