/**
 * Where counters live that several id servers share: one record per tag, moved forward by atomic steps.
 *
 * Guarantees asked of every adapter (segment-store.contract.ts): a number that `take` gave is never given again, to no process,
 * not even after a kill -9 between any two instructions; `replace` succeeds for one of those that saw the same version. What a
 * call that rejected did is unknown: it may have taken numbers, which are then skipped.
 */

/** A counter as it stands. */
export interface SegmentRecord {
  /** The next number that nobody has. */
  readonly nextId: number;
  /** No number from here on is given; COUNTED_ID_END where nothing else bounds it. */
  readonly endId: number;
  /** Anything its user keeps with it, at most 4,000 characters: the plan of a multi-master scheme, the owner of a machine id. */
  readonly note: string;
  /** Random, made with the record: a record that was lost and made anew has another one. */
  readonly incarnation: string;
  /** Grows by one with every change, from a random start: a record that was made anew is not taken for the one that was lost. */
  readonly version: number;
}

/** What one `take` gave. */
export interface SegmentGrant {
  readonly firstId: number;
  /** Exclusive; equal to firstId where the record's end is reached, sooner than asked for where it is near. */
  readonly endId: number;
  readonly note: string;
  readonly incarnation: string;
}

export interface SegmentStore {
  /** True where a crash of the database may lose the latest changes or all (Redis without a synced log): claims then keep a distance. */
  readonly mayForget: boolean;
  /** Take `count` (1 to 2^40) numbers. undefined: there is no such record. */
  take(tag: string, count: number): Promise<SegmentGrant | undefined>;
  read(tag: string): Promise<SegmentRecord | undefined>;
  /**
   * Put a record where the one of `version` stands; version 0: where there is none.
   *
   * @returns its new version; 0, and nothing changed, where another version stands
   */
  replace(tag: string, record: SegmentContent, version: number): Promise<number>;
  close(): Promise<void>;
}

export type SegmentContent = Pick<SegmentRecord, 'nextId' | 'endId' | 'note'>;
