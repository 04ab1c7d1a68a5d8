/**
 * What a bucket is started with: plain data that crosses the thread boundary once.
 */
import type { CounterMemory, LogLevel } from '../../telemetry/index.js';
import type { TlsSet } from '../tls/index.js';

export interface BucketOptions {
  readonly host: string;
  /** Of the plain WebSocket; 0: there is none. */
  readonly port: number;
  /** Undefined: nothing speaks TLS. */
  readonly tls?: { readonly wsPort: number; readonly set: TlsSet } | undefined;
  /** Path or URL of the application module, '' for none. */
  readonly app: string;
  readonly auth: { readonly mode: 'open' | 'jwt'; readonly jwtSecret: string };
  readonly handshakeTimeoutMs: number;
  readonly heartbeatIntervalS: number;
  readonly heartbeatMisses: number;
  readonly bodyBytes: number;
  readonly requestBodyBytes: number;
  readonly roomIdBytes: number;
  readonly roomsPerChannel: number;
  readonly watchOps: number;
  readonly preAuthBytes: number;
  readonly preAuthPackets: number;
  readonly channelsPerBucket: number;
  readonly maxBackpressureBytes: number;
  readonly slowCloseAfterMs: number;
  readonly batchMaxMessages: number;
  readonly batchMaxBytes: number;
  readonly maxDelayMs: number;
  readonly dutyThreshold: number;
  readonly dutyTarget: number;
  readonly heapRefuseRatio: number;
  readonly drainMs: number;
  /** Some rooms keep messages (`history.rooms`): the control thread answers recoveries. */
  readonly hasHistory: boolean;
  readonly logLevel: LogLevel | 'silent';
}

/** Shared memory besides the runtime's own. */
export interface BucketMemory {
  readonly counters: CounterMemory;
  readonly roomCounts: SharedArrayBuffer;
  readonly ids: SharedArrayBuffer;
  /** One Int32 per thread: 1 where the bucket must not accept for now (it holds far more than the others). */
  readonly acceptGate: SharedArrayBuffer;
  /** One Int32: 1 while upstream has no room. Undefined: client messages do not go upstream. */
  readonly upstreamGate?: SharedArrayBuffer;
}

export interface BucketData {
  readonly options: BucketOptions;
  readonly memory: BucketMemory;
  /** Epoch of the node's "all" sequence. */
  readonly allEpoch: number;
}
