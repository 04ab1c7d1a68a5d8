/**
 * The command line of `halley bench`. Unknown flags and values out of range are errors that name the flag.
 */
import { parseArgs } from 'node:util';
import { HalleyError } from '../../errors/index.js';

export interface BenchTarget {
  readonly host: string;
  readonly port: number;
  readonly path: string;
  readonly httpHost: string;
  readonly httpPort: number;
  /** Bearer token of the HTTP API; '' for none. */
  readonly token: string;
  /** Its process, where it runs on this machine; undefined: no CPU and memory figures. */
  readonly pid: number | undefined;
}

export interface BenchOptions {
  /** Undefined: a server is started for the run. */
  readonly target: BenchTarget | undefined;
  readonly connectionCount: number;
  readonly room: string;
  readonly ratePerSec: number;
  readonly seconds: number;
  /** Fed before, at the same rate, uncounted. */
  readonly warmUpSeconds: number;
  readonly buckets: number;
  readonly isVerifying: boolean;
  readonly asJson: boolean;
}

export const BENCH_HELP = `Usage: halley bench [options]
Connects, publishes 64-byte messages to one room, and says what arrived, when, and what it cost.
  --target ws://host:port/sub   a running server that speaks goim's wire; without it one is started for the run
  --http http://host:port       HTTP API of the target (default: port 3111 of its host)
  --token TOKEN                 bearer token of that API
  --pid N                       process of the target where it runs on this machine, for CPU and memory
  --connections N               default 1000; more than 15000 take several processes
  --room type://id              default live://bench; nobody else should publish to it meanwhile
  --rate N                      messages per second, default 100
  --seconds N                   default 5
  --warm-up N                   seconds that are published before and not counted, default 1
  --buckets N                   of the server that is started, default 1
  --verify                      count, order and duplicates on every connection, not only on a sample
  --json                        the figures as JSON
HALLEY_AUTH_JWT_SECRET in the environment signs a token for every client, for a server with auth.mode = "jwt"; other
HALLEY_* variables configure the server that is started.
Exit code 0: everything arrived; 1: something was lost, doubled, out of order, refused or closed; 2: wrong usage.
`;

function misuse(sentence: string, details: Readonly<Record<string, string>>): HalleyError {
  return new HalleyError('BENCH_USAGE', sentence, details);
}

function numberOf(flag: string, text: string | undefined, otherwise: number, [min, max]: readonly [number, number]) {
  if (text === undefined) return otherwise;
  const value = Number(text);
  if (text.trim() === '' || !(value >= min && value <= max)) {
    throw misuse(`--${flag} must be a number of ${min} to ${max}`, { [flag]: text });
  }
  return value;
}

function countOf(flag: string, text: string | undefined, otherwise: number, max: number): number {
  const value = numberOf(flag, text, otherwise, [1, max]);
  if (!Number.isInteger(value)) throw misuse(`--${flag} must be a whole number`, { [flag]: String(value) });
  return value;
}

function urlOf(flag: string, text: string, protocol: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol !== protocol) throw misuse(`--${flag} must be a ${protocol}// address`, { [flag]: text });
  return url;
}

const DEFAULT_PORT = 80;
const MAX_CONNECTIONS = 1_000_000;
const MAX_RATE_PER_SEC = 1_000_000;
const MAX_SECONDS = 86_400;
const MAX_BUCKETS = 31;
const MAX_PID = 2 ** 31 - 1;

/**
 * @param argv what follows `halley bench`
 * @returns undefined where help was asked for
 * @throws HalleyError BENCH_USAGE
 */
export function parseBenchOptions(argv: readonly string[]): BenchOptions | undefined {
  const text = { type: 'string' } as const;
  const flag = { type: 'boolean' } as const;
  let values: ReturnType<typeof read>;
  const read = () =>
    parseArgs({
      args: [...argv],
      options: {
        target: text,
        http: text,
        token: text,
        pid: text,
        connections: text,
        room: text,
        rate: text,
        seconds: text,
        'warm-up': text,
        buckets: text,
        verify: flag,
        json: flag,
        help: { type: 'boolean', short: 'h' },
      },
    }).values;
  try {
    values = read();
  } catch (error) {
    throw misuse(error instanceof Error ? error.message : String(error), {});
  }
  if (values.help === true) return undefined;
  for (const name of ['http', 'token', 'pid'] as const) {
    if (values[name] !== undefined && values.target === undefined) throw misuse(`--${name} needs --target`, {});
  }
  if (values.buckets !== undefined && values.target !== undefined) {
    throw misuse('--buckets is of the server that is started: not with --target', {});
  }
  const room = values.room ?? 'live://bench';
  if (!/^[^/:]+:\/\/.+$/.test(room)) throw misuse('--room must be type://id', { room });
  let target: BenchTarget | undefined;
  if (values.target !== undefined) {
    const url = urlOf('target', values.target, 'ws:');
    const http = urlOf('http', values.http ?? `http://${url.hostname}:3111`, 'http:');
    target = {
      host: url.hostname.replace(/^\[(.*)\]$/, '$1'),
      port: Number(url.port || DEFAULT_PORT),
      path: `${url.pathname}${url.search}`,
      httpHost: http.hostname.replace(/^\[(.*)\]$/, '$1'),
      httpPort: Number(http.port || DEFAULT_PORT),
      token: values.token ?? '',
      pid: values.pid === undefined ? undefined : countOf('pid', values.pid, 1, MAX_PID),
    };
  }
  return {
    target,
    connectionCount: countOf('connections', values.connections, 1_000, MAX_CONNECTIONS),
    room,
    ratePerSec: numberOf('rate', values.rate, 100, [0.01, MAX_RATE_PER_SEC]),
    seconds: numberOf('seconds', values.seconds, 5, [0.1, MAX_SECONDS]),
    warmUpSeconds: numberOf('warm-up', values['warm-up'], 1, [0, MAX_SECONDS]),
    buckets: countOf('buckets', values.buckets, 1, MAX_BUCKETS),
    isVerifying: values.verify === true,
    asJson: values.json === true,
  };
}
