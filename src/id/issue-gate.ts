/**
 * What the owner of a machine id moves: the span of id time in which its generator may issue. Both bounds are about the time
 * inside the ids, so what they promise holds whatever the clocks of the hosts say.
 */
export interface IssueGate {
  /** No id of an earlier time. Before the first limit is set, and only upwards. */
  raiseFloorMs(floorMs: number): void;
  /** No id of this time or a later one; -Infinity stops at once, +Infinity lifts the limit. Draws see it at once. */
  setLimitMs(limitMs: number): void;
  /** The latest time that an id may carry so far, wall clock ms. */
  highestIssuedMs(): number;
}
