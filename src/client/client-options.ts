/** What a client can be told, and what holds where it is not. */
import { DEFAULT_INTERVAL_LIMITS, type IntervalLimits } from './adaptive-interval.js';
import { type BodyCodec, jsonCodec } from './body-codec.js';
import type { NodeSource } from './node-list.js';
import {
  type FetchPort,
  hostGlobals,
  hostNetwork,
  hostStorage,
  hostTimers,
  type NetworkPort,
  type StoragePort,
  type TimerPort,
} from './ports.js';
import type { BackoffOptions } from './reconnect-delay.js';
import type { Transport } from './transport.port.js';

export interface HeartbeatOptions extends IntervalLimits {
  /** Without an answer for so long the line is dead. */
  readonly deadlineMs: number;
}

export interface ClientOptions {
  /** Where to connect: `['ws://host:3102/sub']`, a function, or `{discover: 'http://host:3111'}`. */
  readonly nodes: NodeSource;
  /** The user. With `auth.mode = "jwt"` the token says it, too, and this one may be left out. */
  readonly mid?: number;
  /** The device. Without one the server makes one up, which is kept over reconnects. */
  readonly key?: string;
  /** A function is asked at the first connect, and again where the server says that the token is no good. */
  readonly token?: string | (() => Promise<string>);
  readonly platform?: string;
  /** The primary room. */
  readonly room?: string;
  /** Further rooms. They stand in the auth body: one that the token forbids is found out only by a second attempt. */
  readonly rooms?: readonly string[];
  /** Operations to watch: pushes to all, to keys and to mids come with these only. */
  readonly ops?: readonly number[];
  readonly codec?: BodyCodec;
  /** In the order of preference. */
  readonly transports?: readonly Transport[];
  /** Full jitter: a delay is random below a bound that doubles from `baseMs` (500) up to `capMs` (30,000). */
  readonly backoff?: Partial<BackoffOptions>;
  readonly heartbeat?: Partial<HeartbeatOptions>;
  /** From opening a link to op 8. */
  readonly handshakeTimeoutMs?: number;
  /** Default of a request. */
  readonly requestTimeoutMs?: number;
  /** Messages of one room that are kept while older ones are being recovered. */
  readonly maxKeptMessages?: number;
  /** Ids of direct pushes and pushes to all that are remembered to drop what comes twice. */
  readonly maxSeenIds?: number;
  readonly fetch?: FetchPort;
  readonly timers?: TimerPort;
  /** From 0 up to, not including, 1. */
  readonly random?: () => number;
  readonly storage?: StoragePort;
  readonly network?: NetworkPort;
}

/** The same with nothing left open. */
export interface ClientSettings {
  readonly nodes: NodeSource;
  readonly mid: number | undefined;
  readonly key: string;
  readonly token: string | (() => Promise<string>);
  readonly platform: string;
  readonly room: string;
  readonly rooms: readonly string[];
  readonly ops: readonly number[];
  readonly codec: BodyCodec;
  readonly transports: readonly Transport[];
  readonly backoff: BackoffOptions;
  readonly heartbeat: HeartbeatOptions;
  readonly handshakeTimeoutMs: number;
  readonly requestTimeoutMs: number;
  readonly maxKeptMessages: number;
  readonly maxSeenIds: number;
  readonly fetch: FetchPort | undefined;
  readonly timers: TimerPort;
  readonly random: () => number;
  readonly storage: StoragePort;
  readonly network: NetworkPort;
}

export function settingsOf(options: ClientOptions, transports: readonly Transport[]): ClientSettings {
  return {
    mid: undefined,
    key: '',
    token: '',
    platform: 'web',
    room: '',
    rooms: [],
    ops: [],
    codec: jsonCodec,
    transports,
    handshakeTimeoutMs: 10_000,
    requestTimeoutMs: 10_000,
    maxKeptMessages: 2_000,
    maxSeenIds: 1_024,
    fetch: hostFetch(),
    timers: hostTimers,
    random: Math.random,
    storage: hostStorage(),
    network: hostNetwork(),
    ...options,
    backoff: { baseMs: 500, capMs: 30_000, ...options.backoff },
    heartbeat: { ...DEFAULT_INTERVAL_LIMITS, deadlineMs: 10_000, ...options.heartbeat },
  };
}

/** A browser's fetch must be called on its window. */
export function hostFetch(): FetchPort | undefined {
  const { fetch } = hostGlobals();
  return fetch === undefined ? undefined : (url, init) => fetch(url, init);
}
