/**
 * A feed: what is published in one run, the same for every server. Message i goes to target i % targetCount with number
 * floor(i / targetCount), so the expectation of every connection follows from how many were accepted.
 */
export type FeedTarget = 'room' | 'key';

export interface Feed {
  readonly target: FeedTarget;
  readonly targetCount: number;
  readonly ratePerSec: number;
  readonly messageCount: number;
}

export interface FeedReport {
  /** Messages that the server took. */
  readonly acceptedCount: number;
  /** Messages that were due and not published in time, or that the server refused. */
  readonly refusedCount: number;
  /** The furthest that a publish lagged behind its due time. */
  readonly maxLateMs: number;
}

/** Rooms are `type://name`, as goim's HTTP API wants them. */
export const ROOM_TYPE = 'bench';

export function roomName(index: number): string {
  return `r${index}`;
}

export function roomId(index: number): string {
  return `${ROOM_TYPE}://${roomName(index)}`;
}

/** Device key of connection `index`. */
export function keyOf(index: number): string {
  return `bench-device-${index}`;
}

/** Messages of a feed of `acceptedCount` that target `index` gets. */
export function messagesOfTarget(acceptedCount: number, targetCount: number, index: number): number {
  return Math.floor(acceptedCount / targetCount) + (index < acceptedCount % targetCount ? 1 : 0);
}
