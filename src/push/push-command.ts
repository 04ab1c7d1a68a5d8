/**
 * What a push is inside a node, whatever door it came through (HTTP, Redis, an actor): a target, an operation, a body.
 */
export type PushTarget =
  /** `ignoresWatchSet`: reaches the channels whatever they accept (an application's push to one channel). */
  | { readonly kind: 'keys'; readonly keys: readonly string[]; readonly ignoresWatchSet?: boolean }
  | { readonly kind: 'mids'; readonly mids: readonly number[] }
  | { readonly kind: 'rooms'; readonly rooms: readonly string[] }
  /** Everyone on the node. `speedPerSec` 0: at once; otherwise at most so many channels per second. */
  | { readonly kind: 'all'; readonly speedPerSec: number };

export interface PushCommand {
  readonly target: PushTarget;
  /** Operation of the packet that the clients see. Keys, mids and all reach only channels whose watch set holds it; rooms ignore the watch set. */
  readonly op: number;
  /** Opaque bytes of the packet's body. Owned by the command: the caller must not change them after handing it over. */
  readonly body: Uint8Array;
  /** The id the message has already (big-endian, 8 bytes): a durable push, a message of a room's history. Absent: drawn on delivery. */
  readonly messageId?: Uint8Array;
  /** Place in the room's cluster-wide sequence, for one room with history. Absent: the node's own counter. */
  readonly place?: RoomPlace;
}

/** Where a message stands in its room. */
export interface RoomPlace {
  readonly epoch: number;
  readonly offset: number;
}

/** What the pusher answers. `FULL` and `TOO_LARGE` mean that nobody got the message. */
export const PUSH_OUTCOME = { OK: 'ok', FULL: 'full', TOO_LARGE: 'too_large', CLOSED: 'closed' } as const;
export type PushOutcome = (typeof PUSH_OUTCOME)[keyof typeof PUSH_OUTCOME];

/** Told why a push is answered `FULL`, before that is answered: which bound, with its value, or what is away. */
export type RefusalListener = (reason: string) => void;
