/**
 * What a bucket is started with: plain data that crosses the thread boundary once.
 */

import type { CounterMemory, LogLevel } from '../../telemetry/index.js';
import type { AdmissionOptions } from '../limits/open-admission.js';
import type { PacketGateOptions } from '../limits/packet-gate.js';
import type { TlsSet } from '../tls/index.js';

export interface BucketOptions {
  readonly host: string;
  /** Of the plain WebSocket; 0: there is none. */
  readonly port: number;
  /** Of the plain TCP door; 0: there is none. */
  readonly tcpPort: number;
  /** Undefined: nothing speaks TLS. tcpPort 0: TCP does not. */
  readonly tls?: { readonly wsPort: number; readonly tcpPort: number; readonly set: TlsSet } | undefined;
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
  /** The same for extended channels; 0: never. */
  readonly slowExtendedCloseAfterMs: number;
  /** Over how long clients spread their reconnects after a disconnect that concerns many. */
  readonly reconnectWindowMs: number;
  readonly limits: AdmissionOptions & PacketGateOptions;
  /** Bytes of an SSE stream that are kept behind what was written. */
  readonly fallbackReplayBytes: number;
  readonly fallbackPollMaxWaitMs: number;
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
  /** Connections per address; undefined: not counted. */
  readonly addressCounts?: SharedArrayBuffer;
  /** One Int32 per thread: the port at which a bucket takes requests from the others, 0 while it has none. */
  readonly fallbackPorts: SharedArrayBuffer;
}

export interface BucketData {
  readonly options: BucketOptions;
  readonly memory: BucketMemory;
  /** Epoch of the node's "all" sequence. */
  readonly allEpoch: number;
  /** What session tokens of the HTTP fallbacks are bound to and signed with. */
  readonly fallback: {
    readonly serverId: string;
    readonly nodeEpoch: number;
    readonly secret: Uint8Array;
    /** PEM of who vouches for other nodes' certificates; empty: the system's authorities. */
    readonly ca: string;
  };
}
