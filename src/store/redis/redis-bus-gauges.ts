/** What a bus counts, for the metrics. */
export interface BusGauges {
  /** Rooms subscribed to, lingering ones included. */
  readonly linkedRoomCount: number;
  /** Messages that were no envelopes. */
  readonly malformedCount: number;
  /** Holes in the numbers of producers. */
  readonly holeCount: number;
  /** Times that the subscriptions were restored after a break. */
  readonly restoredCount: number;
  /** Channels that were subscribed to again at another server, since their slot had moved there. */
  readonly movedCount: number;
  readonly probeMissCount: number;
  /** Messages of this node that Redis took. */
  readonly publishedCount: number;
  /** Messages that came: of nodes and of foreign producers, probes not counted. */
  readonly receivedCount: number;
  /** Gaps that were told: after a break, a hole, or a loss that its producer told of. */
  readonly missedCount: number;
  /** Messages of this node that may not have left; their receivers are told. */
  readonly unansweredCount: number;
  /** Channels whose receivers still have to be told. */
  readonly untoldCount: number;
}
