/**
 * What the runner and a load client tell each other over the process channel. Each request has one answer with its id.
 */
import type { DelayCounts } from './delay-histogram.js';
import type { DialectName } from './dialect.port.js';
import type { OrderTotals } from './order-tally.js';

export interface ConnectRequest {
  readonly kind: 'connect';
  readonly host: string;
  readonly port: number;
  readonly path: string;
  readonly dialect: DialectName;
  /** Index of the first connection of this process; keys, mids and rooms follow from the index. */
  readonly firstIndex: number;
  readonly connectionCount: number;
  /** Mid of connection 0. */
  readonly firstMid: number;
  /** Secret that signs each connection's token; '': no tokens, for auth.mode = "open". */
  readonly jwtSecret: string;
  /** Connection i joins room i % roomCount; 0: no room. */
  readonly roomCount: number;
  /** All join this room, whatever roomCount says. */
  readonly room?: string | undefined;
  /** Handshakes under way at a time. */
  readonly inflightCount: number;
  /** One connection in so many has its delays recorded. */
  readonly sampleEvery: number;
  /** Read the number of every message on every connection, not only on the sampled ones. */
  readonly isVerifying: boolean;
}

export type LoadRequest =
  | ConnectRequest
  /** Forget what was counted so far. */
  | { readonly kind: 'reset' }
  | { readonly kind: 'tally'; readonly withDelays: boolean }
  /** Every connection sends op 2 once, spread over the time; answered when all replies are in. */
  | { readonly kind: 'heartbeat'; readonly spreadMs: number }
  /** Connections send op 4 in turn; answered when the last was sent. */
  | { readonly kind: 'echo'; readonly ratePerSec: number; readonly messageCount: number }
  /** Connections join a room and leave it again, in turn; answered when every change was. */
  | { readonly kind: 'churn'; readonly ratePerSec: number; readonly changeCount: number; readonly roomCount: number };

export interface ConnectAnswer {
  readonly readyCount: number;
  readonly failedCount: number;
  /** From the first connect() to the last auth reply. */
  readonly elapsedMs: number;
  readonly firstError?: string | undefined;
}

export interface LoadTally extends OrderTotals {
  readonly frameCount: number;
  /** Reads that returned bytes: what the kernel handed over at a time. */
  readonly readCount: number;
  /** Bytes on the sockets, WebSocket headers included. */
  readonly readBytes: number;
  readonly closedCount: number;
  readonly heartbeatReplyCount: number;
  /** CPU of the load client since it started. */
  readonly cpuMs: number;
  /** Only where asked for. */
  readonly delays?: DelayCounts;
}

export interface EchoAnswer {
  readonly sentCount: number;
  readonly maxLateMs: number;
}

export type LoadAnswer =
  | { readonly connect: ConnectAnswer }
  | { readonly tally: LoadTally }
  | { readonly echo: EchoAnswer }
  | { readonly done: true }
  | { readonly error: string };

export interface NumberedRequest {
  readonly id: number;
  readonly request: LoadRequest;
}

export interface NumberedAnswer {
  readonly id: number;
  readonly answer: LoadAnswer;
}
