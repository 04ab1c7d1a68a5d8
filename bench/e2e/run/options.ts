/**
 * The command line of the end-to-end bench. An unknown flag, server or scenario is an error that names what there is.
 */
import { parseArgs } from 'node:util';
import { type BenchCase, SCENARIOS, type Scenario } from './scenario.js';

export const SERVER_NAMES = [
  'halley',
  'uws',
  'uws-post',
  'uws-inline',
  'uws-merge',
  'ws',
  'socketio',
  'halley-tcp',
] as const;
export type ServerName = (typeof SERVER_NAMES)[number] | 'target';
/** `uws-post` is there by name only: sharded hand-over costs as much with one worker, and 18 to 28 % less with two (--buckets 2). */
export const DEFAULT_SERVER_NAMES = SERVER_NAMES.filter((name) => name !== 'uws-post' && name !== 'halley-tcp');

/** What Halley's clients speak; both: each case is run over the one and then over the other. */
const TRANSPORTS = ['ws', 'tcp'] as const;
const HALLEY_OVER = { ws: 'halley', tcp: 'halley-tcp' } as const;

/** Who publishes: the main thread of the server's process, an application module in a bucket, or the HTTP API's client. */
const DOORS = ['embed', 'app', 'http'] as const;
export type FeedDoor = (typeof DOORS)[number];

export interface TargetOptions {
  readonly host: string;
  readonly port: number;
  readonly path: string;
  readonly httpHost: string;
  readonly httpPort: number;
  readonly token: string;
  /** Undefined: no CPU and memory figures. */
  readonly pid: number | undefined;
}

export interface E2eOptions {
  readonly servers: readonly ServerName[];
  readonly cases: readonly BenchCase[];
  readonly runs: number;
  readonly door: FeedDoor;
  readonly buckets: number;
  readonly mergeWindowMs: number;
  readonly isVerifying: boolean;
  readonly isSmoke: boolean;
  /** Read Halley's own counters before and after the measured window. */
  readonly withCounters: boolean;
  /** Rest of a fresh server before its base is read, and of the connected one before anything else: GC and lazy modules. */
  readonly settleMs: number;
  /** Feed before the one that is measured, at the same rate: compilers and caches settle. */
  readonly warmUpSeconds: number;
  readonly connectionsPerClient: number;
  readonly inflightCount: number;
  readonly nodeFlags: readonly string[];
  readonly target: TargetOptions | undefined;
  readonly out: string;
}

const SETTLE_MS = 700;
const SMOKE_SETTLE_MS = 20;
const MIN_FEED_MESSAGES = 800;
const MAX_FEED_SECONDS = 20;
/** V8 looks at code anew only 5 s after a start of Halley (cli/v8-flags.ts); servers run for longer than that. */
const WARM_UP_SECONDS = 8;

export const HELP = `npm run bench:e2e -- [options]
  --only halley,ws        servers: ${SERVER_NAMES.join(', ')} (default: all but uws-post)
  --transport ws,tcp      what the clients of "halley" speak, one or both (default ws; over TCP it is called halley-tcp)
  --scenario room,idle    scenarios: ${SCENARIOS.map(({ name }) => name).join(', ')} (default: all)
  --members N --rooms N --rate 40,400 --seconds N   in place of the scenario's own
  --warm-up N             seconds of feed before the measured ones, where there is more than one room (default 8)
  --runs N                interleaved runs of which the median is shown (default 3)
  --churn N               joins and leaves per second beside the feed, in small-rooms (default 0)
  --nodes N               processes of the nodes scenario, each with --members (default 8)
  --door embed|app|http   who feeds Halley: the main thread of the embedding program, as with the peers; an application
                          module in a bucket; POST /goim/push (default embed)
  --buckets N             Halley's buckets and the workers of "uws" (default 1)
  --merge-ms N            window of "uws-merge" (default 50); it takes part where messages go to rooms
  --no-verify             read message numbers on sampled connections only
  --per-client N          connections per load process (default 15000)
  --inflight N            handshakes under way at a time (default 256)
  --node-flags="--a --b"  flags of the servers' node, for example --cpu-prof
  --target ws://host:port/path --target-http http://host:port [--target-token T] [--target-pid N]
                          also measure a running server that speaks goim's wire; fed through its HTTP API
  --smoke                 tiny sizes, one run, a few seconds; fails on any loss or disorder
  --out FILE              JSON (default bench/results/e2e.json); the plot is written beside it as .svg
HALLEY_* variables reach Halley whatever the door.`;

function pick<Name extends string>(flag: string, text: string | undefined, names: readonly Name[]): readonly Name[] {
  if (text === undefined) return names;
  return text.split(',').map((word) => {
    const name = names.find((candidate) => candidate === word);
    if (name === undefined) throw new Error(`--${flag}: "${word}" is none of ${names.join(', ')}`);
    return name;
  });
}

function numberOf(flag: string, text: string, min: number): number {
  const value = Number(text);
  if (text.trim() === '' || !Number.isFinite(value) || value < min) {
    throw new Error(`--${flag} must be a number of at least ${min}: value=${text}`);
  }
  return value;
}

function targetOf(values: Values): TargetOptions | undefined {
  const { target, 'target-http': http, 'target-token': token, 'target-pid': pid } = values;
  if (typeof target !== 'string') return undefined;
  const url = new URL(target);
  const httpUrl = new URL(typeof http === 'string' ? http : `http://${url.hostname}:3111`);
  return {
    host: url.hostname,
    port: Number(url.port || 80),
    path: url.pathname,
    httpHost: httpUrl.hostname,
    httpPort: Number(httpUrl.port || 80),
    token: typeof token === 'string' ? token : '',
    pid: typeof pid === 'string' ? numberOf('target-pid', pid, 1) : undefined,
  };
}

type Values = Readonly<Record<string, string | boolean | undefined>>;

/**
 * A slow feed runs longer: p99 wants messages, and what V8 still compiles and collects after the connects (some 25 ms of CPU
 * in any of the servers) is no cost of a message. At 40/s the ratio to bare uWS was 1.15 over 5 s and 1.07 over 25 s.
 */
function secondsAt(ratePerSec: number, seconds: number): number {
  if (ratePerSec === 0) return seconds;
  return Math.max(seconds, Math.min(MAX_FEED_SECONDS, MIN_FEED_MESSAGES / ratePerSec));
}

function casesOf(scenario: Scenario, isSmoke: boolean, values: Values): BenchCase[] {
  const size = isSmoke ? scenario.smoke : scenario;
  const given = (flag: string, min: number, otherwise: number): number => {
    const value = values[flag];
    return typeof value === 'string' ? numberOf(flag, value, min) : otherwise;
  };
  const isFed = size.ratesPerSec.some((rate) => rate > 0);
  const { rate: rates } = values;
  const ratesPerSec =
    typeof rates === 'string' && isFed ? rates.split(',').map((word) => numberOf('rate', word, 0.1)) : size.ratesPerSec;
  return ratesPerSec.map((ratePerSec) => ({
    scenario: scenario.name,
    question: scenario.question,
    isMergeable: scenario.isMergeable,
    members: given('members', 1, size.members),
    roomCount: given('rooms', 0, size.roomCount),
    ratePerSec,
    seconds: given('seconds', 0.1, isSmoke ? size.seconds : secondsAt(ratePerSec, size.seconds)),
    churnPerSec: scenario.name === 'small-rooms' ? given('churn', 0, size.churnPerSec ?? 0) : 0,
    nodeCount: scenario.name === 'nodes' ? given('nodes', 1, size.nodeCount ?? 1) : 1,
  }));
}

/** @throws Error with a sentence for the terminal; `undefined`: help was asked for */
export function parseOptions(argv: readonly string[]): E2eOptions | undefined {
  const text = { type: 'string' } as const;
  const { values } = parseArgs({
    args: [...argv],
    options: {
      only: text,
      scenario: text,
      members: text,
      rooms: text,
      rate: text,
      seconds: text,
      churn: text,
      'warm-up': text,
      nodes: text,
      runs: text,
      door: text,
      transport: text,
      buckets: text,
      'merge-ms': text,
      'no-verify': { type: 'boolean' },
      'per-client': text,
      inflight: text,
      'node-flags': text,
      target: text,
      'target-http': text,
      'target-token': text,
      'target-pid': text,
      smoke: { type: 'boolean' },
      out: text,
      help: { type: 'boolean' },
    },
  });
  if (values.help === true) return undefined;
  const isSmoke = values.smoke === true;
  const target = targetOf(values);
  const names = SCENARIOS.map(({ name }) => name);
  // What takes all of a machine runs only where it is named.
  const byDefault = SCENARIOS.filter(({ isOnDemand }) => isSmoke || isOnDemand !== true).map(({ name }) => name);
  const wanted = values.scenario === undefined ? byDefault : pick('scenario', values.scenario, names);
  const cases = SCENARIOS.filter(({ name }) => wanted.includes(name)).flatMap((scenario) =>
    casesOf(scenario, isSmoke, values),
  );
  const only: readonly ServerName[] =
    values.only === undefined ? DEFAULT_SERVER_NAMES : pick('only', values.only, SERVER_NAMES);
  const smokeServers: readonly ServerName[] = ['halley', 'uws'];
  const transports =
    values.transport === undefined ? (['ws'] as const) : pick('transport', values.transport, TRANSPORTS);
  const servers = (isSmoke && values.only === undefined ? smokeServers : only).flatMap((name) =>
    name === 'halley' ? transports.map((transport) => HALLEY_OVER[transport]) : [name],
  );
  const [door = 'embed'] = values.door === undefined ? [] : pick<FeedDoor>('door', values.door, DOORS);
  return {
    servers: target === undefined ? servers : values.only === undefined ? ['target'] : [...servers, 'target'],
    cases,
    runs: numberOf('runs', values.runs ?? (isSmoke ? '1' : '3'), 1),
    door,
    buckets: numberOf('buckets', values.buckets ?? '1', 1),
    mergeWindowMs: numberOf('merge-ms', values['merge-ms'] ?? '50', 1),
    isVerifying: values['no-verify'] !== true,
    isSmoke,
    withCounters: false,
    settleMs: isSmoke ? SMOKE_SETTLE_MS : SETTLE_MS,
    warmUpSeconds: isSmoke ? 0 : numberOf('warm-up', values['warm-up'] ?? String(WARM_UP_SECONDS), 0),
    connectionsPerClient: numberOf('per-client', values['per-client'] ?? '15000', 1),
    inflightCount: numberOf('inflight', values.inflight ?? '256', 1),
    nodeFlags: (values['node-flags'] ?? '').split(' ').filter((flag) => flag !== ''),
    target,
    out: values.out ?? 'bench/results/e2e.json',
  };
}
