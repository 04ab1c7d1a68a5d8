/**
 * The way between nodes for what need not be kept: pub/sub. Adapter: `store/redis/redis-bus.ts`. What is sent is in
 * `protocol/bus-envelope.ts`; the bus adds who sent it and a number, so that a receiver sees a loss.
 *
 * At most once: nothing is repeated. What may have been lost is told to the listener as a scope.
 */
import type { BusAllMessage, BusNodeMessage, BusRoomMessage } from '../protocol/index.js';
import type { GapScope } from './comet.port.js';

export interface ClusterBus {
  readonly serverId: string;
  /** False: what is published now would fail. */
  readonly isUp: boolean;
  /** To every node that has members of the room. Resolves with the number of subscribers. @throws HalleyError BUS_AWAY */
  publishRoom(room: string, message: BusRoomMessage): Promise<number>;
  /** To one node. 0: it is not subscribed, nobody got it. @throws HalleyError BUS_AWAY */
  publishNode(serverId: string, message: BusNodeMessage): Promise<number>;
  /** To every node, this one included. @throws HalleyError BUS_AWAY */
  publishAll(message: BusAllMessage): Promise<number>;
  /** What was published in this turn may wait for its end: it leaves now, in front of whatever else Redis is asked for next. */
  flush(): void;
  /**
   * Something that was accepted for this scope may not have left: whom it concerns is told a Gap, as soon as Redis answers. The
   * bus does so by itself for what it could not publish.
   */
  mayBeLost(scope: GapScope): void;
}

/** Hears what the bus brings, in the order in which Redis sent it. Nothing here may throw. */
export interface BusListener {
  onRoom(room: string, message: BusRoomMessage): void;
  /** What a room with history published (`protocol/history-envelope.ts`). Valid as long as it is held. */
  onHistory(room: string, bytes: Uint8Array): void;
  onAll(message: BusAllMessage): void;
  /** @param from server id of the sender */
  onNode(message: BusNodeMessage, from: string): void;
  /** What any producer published on the push channel, unchecked. Valid as long as it is held. */
  onPush(bytes: Uint8Array): void;
  /** Messages of this scope may have been lost. */
  onMissed(scope: GapScope): void;
  /**
   * The same for rooms with history, whose messages can be had again.
   * @param mayLackPlace true: what was lost may never have got a place, and cannot
   */
  onRoomsMissed(rooms: readonly string[], mayLackPlace?: boolean): void;
}

/** Hears of commands on the push channel that are none. */
export interface PushErrorReporter {
  /** @param bytes the command as it came */
  report(bytes: Uint8Array, error: string): void;
}

/** Appends to the history of a room, which publishes the message with its place. Calls are answered in their order. */
export interface RoomAppender {
  append(room: string, op: number, body: Uint8Array, messageId: Uint8Array): Promise<void>;
}
