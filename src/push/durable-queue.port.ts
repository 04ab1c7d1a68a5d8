/**
 * The durable queue, as its three parties see it: who pushes (`DurableQueue`), the job that owns a shard and hands its
 * entries over to the inboxes of nodes (`QueueShards`, `RoomNodes`, `DurableRoomAppender`), and the node that reads its inbox (`NodeInbox`).
 * Adapters on Redis Streams: `store/redis/`. Standalone none of it is there.
 *
 * Guarantees: what append answered `ok` is delivered at least once to every node concerned, repeats carry the same message id;
 * it ends in the dead letters (counted, logged) where it cannot be. Order: that of the shard, per receiving node.
 */
import type { PushCommand, PushOutcome, PushTarget, RefusalListener } from './push-command.js';
import type { MaybePromise } from './session.port.js';

/** A push to be kept. */
export interface DurablePush extends PushCommand {
  /** The producer's own id of this push, 1 to 128 bytes of visible ASCII: a second push with it inside the window is answered `ok` and not kept again. */
  readonly idempotencyId?: string;
  readonly onRefused?: RefusalListener;
}

const IDEMPOTENCY_ID = /^[\x21-\x7e]{1,128}$/;

/** What a producer may call a push. */
export function isIdempotencyId(text: string): boolean {
  return IDEMPOTENCY_ID.test(text);
}

export interface DurableQueue {
  /**
   * Keep pushes, in the order of the calls. One outcome per push, when Redis has acknowledged (and, where asked for, its
   * replicas). `full`: not kept, or not known to be kept (no answer in time): to try again is right, with an idempotency id
   * also without a double. Never rejects; settles within the command deadline.
   * @throws HalleyError BAD_IDEMPOTENCY_ID, before anything is kept
   */
  append(pushes: readonly DurablePush[]): Promise<readonly PushOutcome[]>;
}

/** The door of the HTTP API for direct pushes. A `Pusher` is one: standalone nothing waits and no promise is made. */
export interface PushDoor {
  push(command: PushCommand, onRefused?: RefusalListener): MaybePromise<PushOutcome>;
}

/** One incarnation of a node. */
export interface NodeRef {
  readonly serverId: string;
  readonly nodeEpoch: number;
}

/** A kept push as the job reads it. */
export interface QueueEntry {
  /** Place in the shard, as Redis writes it: `<ms>-<n>`. */
  readonly entryId: string;
  /** The push; undefined where the entry is none. `messageId` is always set. */
  readonly command: PushCommand | undefined;
  /** Why there is no command; '' otherwise. */
  readonly problem: string;
  /** How often it was read, this time included. */
  readonly attemptCount: number;
  /** What it holds of memory, about. */
  readonly bytes: number;
}

export interface ClaimedEntries {
  /** Read by an earlier owner and never finished, oldest first. */
  readonly entries: readonly QueueEntry[];
  /** True: go on after the last of these. */
  readonly hasMore: boolean;
  /** The newest entry that anyone has read so far: what comes later is new. */
  readonly lastReadId: string;
  /** True: the consumer group was missing and was made now. After a first claim in this life it means that the shard was lost. */
  readonly isNew: boolean;
}

/** A part of one push for one node. */
export interface InboxDelivery {
  readonly command: PushCommand;
  /** The part of the target that the node has. */
  readonly target: PushTarget;
  /** True: it was meant for another node, which is gone; its id may be known here for another part. */
  readonly isRerouted: boolean;
}

export interface InboxParcel {
  readonly node: NodeRef;
  /** In order. Empty: only asks how long the inbox is. */
  readonly deliveries: readonly InboxDelivery[];
}

/** What the owner of a shard proves itself with. */
export interface ShardLease {
  readonly shard: number;
  /** Larger for every owner: commands under a smaller one are refused. */
  readonly fence: number;
}

/** Answers of commands under a lease that another owner has taken: stop, touch nothing. */
export const FENCED = 'fenced';
export type Fenced = typeof FENCED;

/** The job's side. Every method rejects when Redis does not answer; to call again is right then. */
export interface QueueShards {
  readonly shardCount: number;
  /** Take the shard for `leaseMs`, where it is free, expired, or this server's own from an earlier life. undefined: another has it. */
  take(shard: number, leaseMs: number): Promise<ShardLease | undefined>;
  renew(lease: ShardLease, leaseMs: number): Promise<boolean>;
  /** @param unfinishedIds read and not finished: no failure of theirs */
  release(lease: ShardLease, unfinishedIds: readonly string[]): Promise<void>;
  /** Take over what was read and never finished, after `afterId` ('' from the start). Entries that failed before come one at a time. */
  claim(lease: ShardLease, afterId: string, maxCount: number): Promise<ClaimedEntries | Fenced>;
  /** New entries, perhaps none. */
  read(lease: ShardLease, maxCount: number): Promise<readonly QueueEntry[] | Fenced>;
  /** Resolves when there is something behind `lastReadId`, or after `waitMs`. Rejects only when Redis does not answer. */
  waitForMore(shard: number, lastReadId: string, waitMs: number): Promise<void>;
  /**
   * Put deliveries into inboxes, then finish the entries: on a single server both or neither, on Cluster a crash in between repeats.
   * @returns the length of each inbox, in the order of `parcels`
   * @throws HalleyError INBOX_REFUSED Redis answers, and does not take what is in the call
   */
  handOver(
    lease: ShardLease,
    parcels: readonly InboxParcel[],
    doneIds: readonly string[],
  ): Promise<readonly number[] | Fenced>;
  /** Move an entry to the dead letters of its shard. */
  bury(lease: ShardLease, entryId: string, reason: string): Promise<undefined | Fenced>;
  /** What a node that is gone did not take, after `afterId` ('' from the start). */
  readInbox(node: NodeRef, afterId: string, maxCount: number): Promise<readonly InboxEntry[]>;
  /** Put deliveries into inboxes without an entry behind them. */
  forward(parcels: readonly InboxParcel[]): Promise<void>;
  deleteInbox(node: NodeRef): Promise<void>;
  close(): void;
}

/** Which nodes have members of a room: written by each node for its own, read by the job. */
export interface RoomNodes {
  /** Resolves when Redis has it: the first join of the room may be answered then. Rejects when Redis does not answer. */
  add(room: string, memberCount?: number): Promise<void>;
  /** The node's subscription to the room ended. Rejects when Redis does not answer. */
  remove(room: string): Promise<void>;
  /** In the order of `rooms`; dead incarnations may be among them. Rejects when Redis does not answer. */
  nodesOf(rooms: readonly string[]): Promise<readonly (readonly NodeRef[])[]>;
  /** Forget incarnations that are known to be dead. */
  sweep(room: string, dead: readonly NodeRef[]): void;
}

/** Rooms with history: their messages go through the room's own log, and never through inboxes. */
export interface DurableRoomAppender {
  /** False: the room's messages go through inboxes as all others. */
  keepsHistory(room: string): boolean;
  /**
   * Append and publish. Called in the room's order, one at a time; called again with the same `messageId` where the answer got
   * lost. `full` and HalleyError REDIS_AWAY: again later. Another HalleyError, or `too_large`: the message's own fault.
   */
  append(room: string, command: PushCommand): Promise<PushOutcome>;
}

export interface InboxEntry {
  readonly entryId: string;
  /** undefined: not readable, skip it. `messageId` is always set. */
  readonly command: PushCommand | undefined;
  /** 0, or what tells a rerouted part from other parts of the same message. */
  readonly partHash: number;
  readonly bytes: number;
}

/** The inbox of this node. Every method rejects when Redis does not answer. */
export interface NodeInbox {
  /** Make it, and keep it alive. `isNew`: it was not there. `lastEntryId`: its newest entry ever, `0-0` for none. */
  open(nodeEpoch: number): Promise<{ readonly isNew: boolean; readonly lastEntryId: string }>;
  /** Entries after `afterId`, waiting up to `waitMs` for the first (0: not at all). */
  read(nodeEpoch: number, afterId: string, maxCount: number, waitMs: number): Promise<readonly InboxEntry[]>;
  /** Forget everything up to `entryId`, itself included. */
  trim(nodeEpoch: number, entryId: string): Promise<void>;
  close(): void;
}
