/**
 * A feed: what is published in one run, the same for every server. Message i goes to target i % targetCount with number
 * floor(i / targetCount), so the expectation of every connection follows from how many were accepted.
 */
export type FeedTarget = 'room' | 'key';

export interface Feed {
  readonly target: FeedTarget;
  readonly targetCount: number;
  /** The one room that is fed, by its own name; then targetCount is 1. Absent: rooms are named by roomId(). */
  readonly room?: string | undefined;
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
export function roomId(index: number): string {
  return `bench://r${index}`;
}

/** Device key of connection `index`. */
export function keyOf(index: number): string {
  return `bench-device-${index}`;
}

/** Rooms or keys of a feed, in the order in which messages go to them. */
export function targetNames({ target, targetCount, room }: Feed): string[] {
  if (room !== undefined) return [room];
  return Array.from({ length: targetCount }, (_, index) => (target === 'room' ? roomId(index) : keyOf(index)));
}

/** Messages of a feed of `acceptedCount` that target `index` gets. */
export function messagesOfTarget(acceptedCount: number, targetCount: number, index: number): number {
  return Math.floor(acceptedCount / targetCount) + (index < acceptedCount % targetCount ? 1 : 0);
}

/** Messages that the connections firstIndex and up, `connectionCount` of them, must get of `acceptedCount` together. */
export function expectedDeliveries(
  { targetCount }: Feed,
  acceptedCount: number,
  firstIndex: number,
  connectionCount: number,
): number {
  let expected = 0;
  for (let index = firstIndex; index < firstIndex + connectionCount; index++) {
    expected += messagesOfTarget(acceptedCount, targetCount, index % targetCount);
  }
  return expected;
}
