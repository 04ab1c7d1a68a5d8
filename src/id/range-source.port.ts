/**
 * Where a RangeGenerator gets its ranges: a counter in a store, a master's share of the numbers, Redis' INCRBY.
 */
export interface IdRange {
  readonly firstId: number;
  /** Ids of the range: firstId, firstId + strideIds, ... idCount of them, all below COUNTED_ID_END. */
  readonly strideIds: number;
  /** 1 or more. */
  readonly idCount: number;
}

export interface RangeSource {
  /**
   * Reserve about `idCount` ids; fewer where the source's end is near. Settles within a bound of its own. Rejects with
   * a HalleyError; what was reserved by a call that rejected is skipped.
   */
  reserve(idCount: number): Promise<IdRange>;
}
