/**
 * One run of one case on one server (or several processes of it): fresh server, fresh load clients, measure, stop both.
 *
 * A fed case is fed for a second first, uncounted: a fresh process spends its first second compiling.
 */
import { setTimeout as delay } from 'node:timers/promises';
import {
  type CpuSpent,
  type Delivery,
  drained,
  expectedDeliveries,
  type Feed,
  LoadFleet,
  measureDelivery,
  ProcessMeter,
  type Progress,
  type Publication,
} from '../../../src/cli/bench/index.js';
import { countersBetween, type NodeCounters, readCounters } from './node-counters.js';
import type { E2eOptions, ServerName } from './options.js';
import type { BenchCase } from './scenario.js';
import { benchEntry, type ServerFiles, type ServerProcess, startServer } from './server-process.js';

/** One connection in so many has its delays recorded, where there are enough. */
const SAMPLE_EVERY = 64;
const SAMPLE_ALL_BELOW = 512;
const BYTES_PER_MB = 1_048_576;
const BYTES_PER_KB = 1024;
/** Churning connections: so many that each changes about ten times per second, and numbered behind every member. */
const CHANGES_PER_CHURNER_SEC = 10;
const CHURN_FIRST_INDEX = 10_000_000;

export interface RunResult {
  readonly server: ServerName;
  readonly run: number;
  readonly readyCount: number;
  readonly failedCount: number;
  readonly closedCount: number;
  readonly connectMs: number;
  readonly connectCpuUs: number | undefined;
  /** Of one process, where there are several. */
  readonly baseRssMb: number | undefined;
  readonly rssPerConnectionKb: number | undefined;
  readonly delivery: Delivery | undefined;
  readonly cpu: CpuSpent | undefined;
  /** CPU of all servers per delivered message, those to churning connections included. */
  readonly nsPerMessage: number | undefined;
  /** Messages that connections got which were in a room for a while only; nobody checks those. */
  readonly churnDeliveredCount: number;
  /** Of the measured window; only where the options ask for it, and of Halley. */
  readonly counters: NodeCounters | undefined;
}

interface Bench {
  readonly benchCase: BenchCase;
  readonly servers: readonly ServerProcess[];
  readonly fleet: LoadFleet;
  readonly churners: LoadFleet | undefined;
  readonly options: E2eOptions;
  readonly progress: Progress;
}

async function publish({ benchCase, servers, fleet, churners }: Bench, seconds: number): Promise<Publication> {
  const { scenario, members, roomCount, ratePerSec, churnPerSec } = benchCase;
  const messageCount = Math.max(1, Math.round(ratePerSec * seconds));
  if (scenario === 'echo') {
    const { sentCount, maxLateMs } = await fleet.echo(ratePerSec, messageCount);
    const report = { acceptedCount: sentCount, refusedCount: messageCount - sentCount, maxLateMs };
    return { report, expectedCount: sentCount };
  }
  const feed: Feed = {
    target: scenario === 'keys' ? 'key' : 'room',
    targetCount: scenario === 'keys' ? members : roomCount,
    ratePerSec,
    messageCount,
  };
  const [reports] = await Promise.all([
    Promise.all(servers.map((server) => server.feed(feed))),
    churners?.churn(churnPerSec, Math.round(churnPerSec * seconds), roomCount),
  ]);
  const expected = reports.map(({ acceptedCount }, node) =>
    expectedDeliveries(feed, acceptedCount, node * members, members),
  );
  const total = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0);
  return {
    report: {
      acceptedCount: total(reports.map(({ acceptedCount }) => acceptedCount)),
      refusedCount: total(reports.map(({ refusedCount }) => refusedCount)),
      maxLateMs: Math.max(...reports.map(({ maxLateMs }) => maxLateMs)),
    },
    expectedCount: total(expected),
  };
}

interface Fed {
  readonly delivery: Delivery;
  readonly cpu: CpuSpent | undefined;
  readonly churnDeliveredCount: number;
  readonly counters: NodeCounters | undefined;
}

async function feedAndMeasure(bench: Bench, meter: ProcessMeter): Promise<Fed> {
  const { benchCase, servers, fleet, churners, options, progress } = bench;
  // One room's fan-out is C++: a second fills its caches.
  const warmUpSeconds = benchCase.roomCount === 1 ? Math.min(1, options.warmUpSeconds) : options.warmUpSeconds;
  if (warmUpSeconds > 0) {
    progress('warming up');
    const { expectedCount } = await publish(bench, warmUpSeconds);
    await drained(fleet, expectedCount, performance.now(), progress);
  }
  await churners?.reset();
  const httpUrl = options.withCounters && servers.length === 1 ? servers[0]!.httpUrl : undefined;
  const before = httpUrl === undefined ? undefined : await readCounters(httpUrl);
  const measured = await measureDelivery(fleet, meter, () => publish(bench, benchCase.seconds), progress);
  const churnDeliveredCount = churners === undefined ? 0 : (await churners.tally(false)).receivedCount;
  const counters =
    httpUrl === undefined || before === undefined ? undefined : countersBetween(before, await readCounters(httpUrl));
  return { ...measured, churnDeliveredCount, counters };
}

/** Rest for the scenario's time; every connection sends its heartbeat once meanwhile. */
async function rest({ benchCase, fleet, progress }: Bench): Promise<void> {
  const restMs = benchCase.seconds * 1000;
  progress(`resting ${benchCase.seconds} s, heartbeats on`);
  await fleet.reset();
  await fleet.heartbeat(restMs / 2);
  await delay(restMs / 2);
}

function newFleets(benchCase: BenchCase, options: E2eOptions, files: ServerFiles): [LoadFleet, LoadFleet | undefined] {
  const entry = benchEntry(files, 'load/load-client.main');
  const { members, nodeCount, churnPerSec } = benchCase;
  const { connectionsPerClient } = options;
  const fleet = new LoadFleet({ entry, nodeCount, connectionsPerNode: members, connectionsPerClient, firstIndex: 0 });
  if (churnPerSec === 0) return [fleet, undefined];
  const churnerCount = Math.ceil(churnPerSec / CHANGES_PER_CHURNER_SEC);
  const firstIndex = CHURN_FIRST_INDEX;
  return [
    fleet,
    new LoadFleet({ entry, nodeCount, connectionsPerNode: churnerCount, connectionsPerClient, firstIndex }),
  ];
}

function cpuMs(cpu: CpuSpent): number {
  return cpu.userMs + cpu.systemMs;
}

async function measureOn(name: ServerName, run: number, bench: Bench): Promise<RunResult> {
  const { benchCase, servers, fleet, churners, options, progress } = bench;
  await Promise.all([fleet.started(), churners?.started()]);
  await delay(options.settleMs);
  const meter = new ProcessMeter(servers.map(({ pid }) => pid));
  const baseRssBytes = meter.rssBytes();
  meter.mark();
  progress(`connecting ${benchCase.members * servers.length}`);
  const request = {
    firstMid: 1,
    jwtSecret: process.env['HALLEY_AUTH_JWT_SECRET'] ?? '',
    roomCount: benchCase.roomCount,
    inflightCount: options.inflightCount,
    // Of several nodes the last delivery anywhere is asked for.
    sampleEvery: benchCase.members < SAMPLE_ALL_BELOW || benchCase.nodeCount > 1 ? 1 : SAMPLE_EVERY,
    isVerifying: options.isVerifying,
  };
  const connect = await fleet.connect(servers, request);
  await churners?.connect(servers, {
    ...request,
    roomCount: 0,
    sampleEvery: CHURN_FIRST_INDEX * 2,
    isVerifying: false,
  });
  await delay(options.settleMs);
  const connectCpu = meter.spent();
  let fed: Fed | undefined;
  if (benchCase.ratePerSec > 0) fed = await feedAndMeasure(bench, meter);
  else if (benchCase.scenario === 'idle') await rest(bench);
  const rssBytes = meter.rssBytes();
  const { closedCount } = await fleet.tally(false);
  const churnDeliveredCount = fed?.churnDeliveredCount ?? 0;
  const readyCount = Math.max(1, connect.readyCount);
  return {
    server: name,
    run,
    readyCount: connect.readyCount,
    failedCount: connect.failedCount,
    closedCount,
    connectMs: connect.elapsedMs,
    connectCpuUs: connectCpu === undefined ? undefined : (cpuMs(connectCpu) * 1000) / readyCount,
    baseRssMb: baseRssBytes === undefined ? undefined : baseRssBytes / BYTES_PER_MB / servers.length,
    rssPerConnectionKb:
      rssBytes === undefined || baseRssBytes === undefined
        ? undefined
        : (rssBytes - baseRssBytes) / BYTES_PER_KB / readyCount,
    delivery: fed?.delivery,
    cpu: fed === undefined ? connectCpu : fed.cpu,
    nsPerMessage:
      fed?.cpu === undefined
        ? undefined
        : (cpuMs(fed.cpu) * 1e6) / Math.max(1, fed.delivery.deliveredCount + churnDeliveredCount),
    churnDeliveredCount,
    counters: fed?.counters,
  };
}

/** Measure one server once. Servers and clients are stopped whatever happens. */
export async function measure(
  name: ServerName,
  benchCase: BenchCase,
  run: number,
  options: E2eOptions,
  files: ServerFiles,
  progress: Progress,
): Promise<RunResult> {
  progress('starting');
  const [fleet, churners] = newFleets(benchCase, options, files);
  const servers: ServerProcess[] = [];
  try {
    for (let node = 0; node < benchCase.nodeCount; node++) servers.push(await startServer(name, node, options, files));
    return await measureOn(name, run, { benchCase, servers, fleet, churners, options, progress });
  } finally {
    // The servers first: a peer that still sends must not meet sockets that are gone.
    await Promise.all(servers.map((server) => server.stop()));
    fleet.stop();
    churners?.stop();
  }
}
