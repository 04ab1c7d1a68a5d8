/**
 * Sessions: which node, bucket and connection a device key has, and which keys a user (mid) has.
 * One port; `store/memory-sessions.ts` keeps them in this process (standalone, and as every node's directory of its own
 * channels), the Redis adapter keeps those of the whole cluster.
 */

/** A value now or later: the memory adapter answers at once and costs no promise. */
export type MaybePromise<T> = T | Promise<T>;

export interface Session {
  /** Device key, unique in the cluster. */
  readonly key: string;
  /** The user's numeric id; 0 or less: no user, reachable by key, room and broadcast only. */
  readonly mid: number;
  readonly serverId: string;
  /** Incarnation of the node. */
  readonly nodeEpoch: number;
  /** Thread index of the bucket that owns the channel, 1..31. */
  readonly bucket: number;
  /** Connection id: unique per bucket index within one node incarnation, a safe integer. */
  readonly connId: number;
  readonly platform: string;
  /** Address of the client as text, '' when unknown. */
  readonly remoteIp: string;
  readonly sinceMs: number;
}

/** Names one connection of one key: what a removal must match. */
export type SessionOwner = Pick<Session, 'key' | 'serverId' | 'nodeEpoch' | 'bucket' | 'connId'>;

export type PutSession =
  /** Stored. `previous`: the channel that had the key until now; its owner must be told and closed. */
  | { readonly status: 'stored'; readonly previous: Session | undefined }
  /** Not stored: the key belongs to another user. A key is taken over only within the same mid. */
  | { readonly status: 'foreign'; readonly ownerMid: number }
  /** Not stored: a connection of the key that began later has it, elsewhere in the cluster. This one has been taken over. */
  | { readonly status: 'superseded'; readonly by: Session };

export interface SessionStore {
  put(session: Session): MaybePromise<PutSession>;
  /**
   * Remove the key's session only if it still is this connection (goim W2: an old connection must not erase a new one).
   * Returns what was removed, undefined when the key has no session or another owner.
   */
  remove(owner: SessionOwner): MaybePromise<Session | undefined>;
  /** In the order of `keys`; undefined where a key has no session. */
  byKeys(keys: readonly string[]): MaybePromise<readonly (Session | undefined)[]>;
  /** All sessions of all these users, without duplicates. */
  byMids(mids: readonly number[]): MaybePromise<readonly Session[]>;
  /** Remove every session of one bucket of one node (its thread died). Returns what was removed. */
  removeBucket(serverId: string, nodeEpoch: number, bucket: number): MaybePromise<readonly Session[]>;
  count(): MaybePromise<number>;
}
