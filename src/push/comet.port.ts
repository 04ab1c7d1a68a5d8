import type { PushCommand, PushOutcome } from './push-command.js';
import type { MaybePromise } from './session.port.js';

/** Why and how a channel is closed by the backend; becomes op 6 for extended channels and the close frame for all. */
export interface DisconnectAdvice {
  readonly code: number;
  readonly reason: string;
  readonly reconnect: boolean;
  readonly retryAfterMs: number;
}

/** Which channels an administrative call means. Both may be given; a channel named twice counts once. */
export interface ChannelSelector {
  readonly keys: readonly string[];
  readonly mids: readonly number[];
}

export interface RoomCount {
  readonly room: string;
  readonly count: number;
}

/** Whose messages were missed: a room's, pushes to single channels, or pushes to all. */
export type GapScope = { readonly kind: 'room'; readonly room: string } | { readonly kind: 'direct' | 'all' };

/**
 * What job and logic see of this node's comet. Called on the control thread only.
 */
export interface CometPort {
  /** Hand one push to the buckets. `full`: the ring has no room, nothing was sent, try again later. Never waits. */
  deliver(command: PushCommand): PushOutcome;
  /**
   * Tell the extended channels of this node that messages of `scope` may have been lost on their way to the node (op 22), behind
   * what was delivered before and in front of what follows. A room, and "all", spend one offset on it. Plain channels hear
   * nothing. `ok` also where nobody is concerned; `full`: nobody was told, try again later.
   */
  tellGap(scope: GapScope): PushOutcome;
  /** Close channels of this node. Returns how many were found. */
  disconnect(channels: ChannelSelector, advice: DisconnectAdvice): MaybePromise<number>;
  /** Put channels of this node into rooms. Resolves when their buckets have done so, with the number of channels found. */
  joinRooms(channels: ChannelSelector, rooms: readonly string[]): MaybePromise<number>;
  leaveRooms(channels: ChannelSelector, rooms: readonly string[]): MaybePromise<number>;
  /** Members of a room on this node, right after churn; 0 for an unknown room. */
  roomCount(room: string): number;
  /** Every room of this node with at least one member, in no particular order. */
  roomCounts(): Iterable<RoomCount>;
  /** Channels that have passed auth. */
  connectionCount(): number;
  /** Distinct remote addresses among them. */
  ipCount(): number;
}
