/**
 * The ports of upstream: what happens on this node, told to a backend. comet calls `Upstream`; logic makes events of it,
 * keeps them in bounded lanes and hands them in batches to an `EventSink` (a Redis Stream, a webhook).
 *
 * Threads: control thread only.
 */
import type { UPSTREAM_EVENT_TYPES } from '../config/index.js';
import type { MaybePromise, Session } from './session.port.js';

export type UpstreamEventType = (typeof UPSTREAM_EVENT_TYPES)[number];

/** A message of a client, as its bucket handed it over. */
export interface ClientMessage {
  readonly key: string;
  /** 0: no user. */
  readonly mid: number;
  readonly bucket: number;
  readonly connId: number;
  /** The channel's primary room when it sent this; '' for none. */
  readonly room: string;
  readonly op: number;
  readonly seq: number;
  /** Valid until return: memory of a ring. */
  readonly body: Uint8Array;
  /** Its session, where it still is the one that sent this. */
  readonly session: Session | undefined;
}

/** Told by comet, in the order in which things happened. Nothing here throws or waits. */
export interface Upstream {
  /** A session was stored. `previous`: the one whose key it took over; of this node, its end is told here too. */
  connected(session: Session, previous: Session | undefined): void;
  /** A channel of this node ended and its session is gone from the local directory. `reason`: a short phrase. */
  disconnected(session: Session, reason: string): void;
  message(message: ClientMessage): void;
  /** The room got its first member on this node, or lost its last. */
  room(room: string, isOccupied: boolean): void;
}

/** An event, numbered and encoded once for every sink. */
export interface EncodedEvent {
  /** Snowflake in decimal. */
  readonly id: string;
  readonly type: UpstreamEventType;
  /** The whole event as one JSON object. */
  readonly json: string;
}

export interface EventBatch {
  /** The same for every attempt of this batch, different for every other batch. */
  readonly deliveryId: string;
  /** Counts the batches of a lane from 1, without gaps. */
  readonly batchNo: number;
  readonly lane: number;
  /** From 1. */
  readonly attempt: number;
  readonly events: readonly EncodedEvent[];
}

/** What became of one attempt. */
export type SendVerdict =
  | { readonly kind: 'sent' }
  /** Try again, after `afterMs` at the earliest (0: whenever the backoff says). */
  | { readonly kind: 'retry'; readonly afterMs: number; readonly cause: string }
  /** No attempt will ever succeed. */
  | { readonly kind: 'dead'; readonly cause: string };

export interface EventSink {
  /** For logs and readiness: `stream`, `webhook`. */
  readonly name: string;
  /** One attempt, within a bound of its own. Never rejects. */
  send(batch: EventBatch): Promise<SendVerdict>;
  /** Cut attempts under way off; they answer `retry`. */
  close(): void;
}

/** Where batches go that nobody took. */
export interface DeadLetters {
  /** Keep the batch. @throws what kept it from being kept */
  store(batch: EventBatch, cause: string): MaybePromise<void>;
}

/** A user who came or went, as one node saw it. */
export interface UserChange {
  readonly mid: number;
  /** Unique; the same however often the question is asked. */
  readonly token: string;
}

/**
 * Who of all nodes tells that a user came or went: one mark per user, changed by whoever sees a first device, so that
 * "offline" is claimed once, and by nobody where the user has come back meanwhile. Everything rejects while Redis is away; the
 * same question asked again has the same answer.
 */
export interface UserMarks {
  /** Each user has a first device on this node: a fresh mark. True where the cluster knew none before. */
  arrived(changes: readonly UserChange[]): Promise<readonly boolean[]>;
  /** The marks as they are, before the sessions are looked up. '' for none. */
  read(mids: readonly number[]): Promise<readonly string[]>;
  /** Claim "offline" where the mark still is what was read. True: the caller tells it. */
  departed(changes: readonly (UserChange & { readonly seenMark: string })[]): Promise<readonly boolean[]>;
}
