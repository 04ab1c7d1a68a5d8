/**
 * The command line of the end-to-end bench. An unknown flag, server or scenario is an error that names what there is.
 */
import { parseArgs } from 'node:util';
import { type BenchCase, SCENARIOS, type Scenario } from './scenario.js';

export const SERVER_NAMES = ['halley', 'uws', 'uws-inline', 'uws-merge', 'ws'] as const;
export type ServerName = (typeof SERVER_NAMES)[number] | 'target';

/** Who publishes: the server's own process (an application module), or a publisher through the HTTP API. */
export type FeedDoor = 'app' | 'http';

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
const WARM_UP_SECONDS = 1;

export const HELP = `npm run bench:e2e -- [options]
  --only halley,ws        servers: ${SERVER_NAMES.join(', ')} (default: all)
  --scenario room,idle    scenarios: ${SCENARIOS.map(({ name }) => name).join(', ')} (default: all)
  --members N --rooms N --rate 40,400 --seconds N   in place of the scenario's own
  --runs N                interleaved runs of which the median is shown (default 3)
  --door app|http         who feeds Halley: an application module, or POST /goim/push (default app)
  --buckets N             Halley's buckets and the workers of "uws" (default 1)
  --merge-ms N            window of "uws-merge" (default 50); it takes part where messages go to rooms
  --no-verify             read message numbers on sampled connections only
  --per-client N          connections per load process (default 15000)
  --inflight N            handshakes under way at a time (default 256)
  --node-flags="--a --b"   flags of the servers' node, for example --cpu-prof
  --target ws://host:port/path --target-http http://host:port [--target-token T] [--target-pid N]
                          also measure a running server that speaks goim's wire; fed through its HTTP API
  --smoke                 tiny sizes, one run, a few seconds; fails on any loss or disorder
  --out FILE              JSON (default bench/results/e2e.json)`;

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

function targetOf(values: Readonly<Record<string, string | boolean | undefined>>): TargetOptions | undefined {
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
      runs: text,
      door: text,
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
  const wanted = pick(
    'scenario',
    values.scenario,
    SCENARIOS.map(({ name }) => name),
  );
  const cases = SCENARIOS.filter(({ name }) => wanted.includes(name)).flatMap((scenario) => {
    const size: Pick<Scenario, 'members' | 'roomCount' | 'ratesPerSec' | 'seconds'> = isSmoke
      ? scenario.smoke
      : scenario;
    const isFed = size.ratesPerSec.some((rate) => rate > 0);
    const ratesPerSec =
      values.rate !== undefined && isFed
        ? values.rate.split(',').map((word) => numberOf('rate', word, 1))
        : size.ratesPerSec;
    return ratesPerSec.map((ratePerSec) => ({
      scenario: scenario.name,
      question: scenario.question,
      isMergeable: scenario.isMergeable,
      members: values.members === undefined ? size.members : numberOf('members', values.members, 1),
      roomCount: values.rooms === undefined ? size.roomCount : numberOf('rooms', values.rooms, 0),
      ratePerSec,
      seconds: values.seconds === undefined ? size.seconds : numberOf('seconds', values.seconds, 0.1),
    }));
  });
  const only: readonly ServerName[] = pick('only', values.only, SERVER_NAMES);
  const smokeServers: readonly ServerName[] = ['halley', 'uws'];
  const servers = isSmoke && values.only === undefined ? smokeServers : only;
  const [door = 'app'] = values.door === undefined ? [] : pick<FeedDoor>('door', values.door, ['app', 'http']);
  return {
    servers: target === undefined ? servers : values.only === undefined ? ['target'] : [...servers, 'target'],
    cases,
    runs: numberOf('runs', values.runs ?? (isSmoke ? '1' : '3'), 1),
    door,
    buckets: numberOf('buckets', values.buckets ?? '1', 1),
    mergeWindowMs: numberOf('merge-ms', values['merge-ms'] ?? '50', 1),
    isVerifying: values['no-verify'] !== true,
    isSmoke,
    settleMs: isSmoke ? 20 : SETTLE_MS,
    warmUpSeconds: isSmoke ? 0 : WARM_UP_SECONDS,
    connectionsPerClient: numberOf('per-client', values['per-client'] ?? '15000', 1),
    inflightCount: numberOf('inflight', values.inflight ?? '256', 1),
    nodeFlags: (values['node-flags'] ?? '').split(' ').filter((flag) => flag !== ''),
    target,
    out: values.out ?? 'bench/results/e2e.json',
  };
}
