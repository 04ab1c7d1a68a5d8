/**
 * `halley bench`: connect many clients to a server, publish to one room, and report delivery, order, delay and cost.
 *
 * Threads: main thread; load clients, the publisher and a server that is started for the run are processes of their own,
 *   which end with this one.
 * Guarantees: never exits the process and never reads argv by itself; whatever it started is stopped when it resolves.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { HalleyError } from '../errors/index.js';
import { BENCH_HELP, type BenchOptions, parseBenchOptions } from './bench/bench-options.js';
import { type BenchFigures, reportLines } from './bench/bench-report.js';
import {
  deliveryFailures,
  drained,
  expectedDeliveries,
  FedServer,
  type Feed,
  type FeedReport,
  feedThroughHttp,
  LoadFleet,
  type LoadTarget,
  measureDelivery,
  ProcessMeter,
  type Publication,
} from './bench/index.js';

export interface BenchCommandIo {
  /** Write to standard output; the text brings its own line ends. */
  readonly out: (text: string) => void;
  /** Write to standard error. */
  readonly err: (text: string) => void;
  /** Columns of the terminal that standard error is; 0: it is none, and no progress is shown. */
  readonly progressColumns: number;
  /** Environment of a server that is started: its HALLEY_* counts. HALLEY_AUTH_JWT_SECRET signs the clients' tokens. */
  readonly env: NodeJS.ProcessEnv;
}

export const BENCH_EXIT = { OK: 0, FAILED: 1, USAGE: 2 } as const;

const CONNECTIONS_PER_CLIENT = 15_000;
const INFLIGHT_COUNT = 256;
const SAMPLE_EVERY = 64;
const SAMPLE_ALL_BELOW = 512;
/** Rest of a fresh server before its base is read, and of the connected one before it is fed. */
const SETTLE_MS = 500;
/** Above any real user of a target: its keys and mids must not meet the bench's. */
const FIRST_MID = 8_000_000_000_000_000;
const LOOPBACK = '127.0.0.1';

interface BenchedServer {
  readonly target: LoadTarget;
  readonly pid: number | undefined;
  feed(feed: Feed): Promise<FeedReport>;
  stop(): Promise<void>;
}

function entry(name: string): URL {
  return new URL(`./bench/${name}.main.js`, import.meta.url);
}

async function startServer(buckets: number, env: NodeJS.ProcessEnv): Promise<BenchedServer> {
  const dataDir = await mkdtemp(join(tmpdir(), 'halley-bench-'));
  const removeData = (): Promise<void> => rm(dataDir, { recursive: true, force: true });
  const flags = { host: LOOPBACK, 'ws-port': 0, 'tcp-port': 0, 'http-port': 0, 'data-dir': dataDir, buckets };
  const argv = Object.entries(flags).flatMap(([flag, value]) => [`--${flag}`, String(value)]);
  try {
    const childEnv = { HALLEY_LOG_LEVEL: 'warn', HALLEY_SHUTDOWN_DRAIN_MS: '0', ...env };
    const server = await FedServer.start(entry('embedded-server'), argv, { execArgv: [], env: childEnv });
    return {
      target: { host: LOOPBACK, port: server.port, path: '/sub', dialect: 'goim' },
      pid: server.pid,
      feed: (feed) => server.feed(feed),
      stop: async () => {
        await server.stop();
        await removeData();
      },
    };
  } catch (error) {
    await removeData();
    throw error;
  }
}

function openServer({ target, buckets }: BenchOptions, env: NodeJS.ProcessEnv): Promise<BenchedServer> {
  if (target === undefined) return startServer(buckets, env);
  const { host, port, path, httpHost, httpPort, token, pid } = target;
  return Promise.resolve({
    target: { host, port, path, dialect: 'goim' },
    pid,
    feed: (feed) => feedThroughHttp(entry('http-publisher'), { feed, host: httpHost, port: httpPort, token }),
    stop: () => Promise.resolve(),
  });
}

async function measure(
  options: BenchOptions,
  server: BenchedServer,
  fleet: LoadFleet,
  jwtSecret: string,
  progress: (what: string) => void,
): Promise<BenchFigures> {
  const { connectionCount, room, ratePerSec, isVerifying } = options;
  await fleet.started();
  await delay(SETTLE_MS);
  const meter = new ProcessMeter([server.pid]);
  const baseBytes = meter.rssBytes();
  progress(`connecting ${connectionCount}`);
  const connect = await fleet.connect([server.target], {
    firstMid: FIRST_MID,
    jwtSecret,
    roomCount: 1,
    room,
    inflightCount: INFLIGHT_COUNT,
    sampleEvery: connectionCount < SAMPLE_ALL_BELOW ? 1 : SAMPLE_EVERY,
    isVerifying,
  });
  if (connect.readyCount === 0) {
    const reason = connect.firstError ?? 'no reason was given';
    throw new HalleyError('BENCH_NO_CONNECTION', `no connection became ready: ${reason}`, {
      target: `${server.target.host}:${server.target.port}${server.target.path}`,
    });
  }
  await delay(SETTLE_MS);
  const rssBytes = meter.rssBytes();
  const publish = async (seconds: number): Promise<Publication> => {
    const messageCount = Math.max(1, Math.round(ratePerSec * seconds));
    const feed: Feed = { target: 'room', targetCount: 1, room, ratePerSec, messageCount };
    const report = await server.feed(feed);
    return { report, expectedCount: expectedDeliveries(feed, report.acceptedCount, 0, connect.readyCount) };
  };
  if (options.warmUpSeconds > 0) {
    progress('warming up');
    const { expectedCount } = await publish(options.warmUpSeconds);
    await drained(fleet, expectedCount, performance.now(), progress);
  }
  const { delivery, cpu } = await measureDelivery(fleet, meter, () => publish(options.seconds), progress);
  const { closedCount } = await fleet.tally(false);
  return {
    room,
    ratePerSec,
    readyCount: connect.readyCount,
    failedCount: connect.failedCount,
    closedCount,
    firstError: connect.firstError,
    connectMs: connect.elapsedMs,
    isVerified: isVerifying,
    delivery,
    cpu,
    nsPerMessage:
      cpu === undefined ? undefined : ((cpu.userMs + cpu.systemMs) * 1e6) / Math.max(1, delivery.deliveredCount),
    rssBytes,
    // The base of a target is not a fresh process: only what it grew by would be known, which says nothing.
    rssPerConnectionBytes:
      options.target !== undefined || rssBytes === undefined || baseBytes === undefined
        ? undefined
        : (rssBytes - baseBytes) / connect.readyCount,
  };
}

async function runBench(options: BenchOptions, io: BenchCommandIo): Promise<number> {
  const progress = (what: string): void => {
    if (io.progressColumns > 0) io.err(`\r\u001b[K${what.slice(0, io.progressColumns - 1)}`);
  };
  const fleet = new LoadFleet({
    entry: new URL('./bench/load/load-client.main.js', import.meta.url),
    nodeCount: 1,
    connectionsPerNode: options.connectionCount,
    connectionsPerClient: CONNECTIONS_PER_CLIENT,
    firstIndex: 0,
  });
  let server: BenchedServer | undefined;
  try {
    progress('starting');
    server = await openServer(options, io.env);
    const figures = await measure(options, server, fleet, io.env['HALLEY_AUTH_JWT_SECRET'] ?? '', progress);
    progress('');
    const failures = deliveryFailures(figures);
    if (options.asJson) io.out(`${JSON.stringify({ ok: failures.length === 0, failures, ...figures }, null, 2)}\n`);
    else io.out(`${reportLines(figures).join('\n')}\n`);
    const reason = figures.firstError === undefined ? '' : ` (first: ${figures.firstError})`;
    for (const failure of failures) io.err(`halley bench: ${failure}${reason}\n`);
    return failures.length === 0 ? BENCH_EXIT.OK : BENCH_EXIT.FAILED;
  } finally {
    progress('');
    // The server first: it must not meet sockets that are gone.
    await server?.stop();
    fleet.stop();
  }
}

/**
 * Run `halley bench`. Resolves with the exit code.
 *
 * @param argv what follows `halley bench`
 */
export async function runBenchCommand(argv: readonly string[], io: BenchCommandIo): Promise<number> {
  try {
    const options = parseBenchOptions(argv);
    if (options === undefined) {
      io.out(BENCH_HELP);
      return BENCH_EXIT.OK;
    }
    return await runBench(options, io);
  } catch (error) {
    const isUsage = error instanceof HalleyError && error.code === 'BENCH_USAGE';
    io.err(`halley bench: ${error instanceof Error ? error.message : String(error)}\n`);
    if (isUsage) io.err('halley bench --help shows what there is\n');
    return isUsage ? BENCH_EXIT.USAGE : BENCH_EXIT.FAILED;
  }
}
