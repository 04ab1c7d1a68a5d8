/**
 * The ports through which a node is one of many. Standalone none of them is there: comet, job and logic take each as an
 * optional part and do without. Adapters on Redis: `store/redis/`.
 */
import type { DisconnectAdvice } from './comet.port.js';
import type { MaybePromise, PutSession, Session, SessionOwner } from './session.port.js';

/** What the cluster knows of a node: its lease in Redis, and what it says of itself with each renewal. */
export interface NodeRecord {
  readonly serverId: string;
  /** Incarnation: a larger one of the same server id wins at once. */
  readonly nodeEpoch: number;
  readonly hostname: string;
  /** Public addresses, as configured. */
  readonly addrs: readonly string[];
  /** Address at which other nodes reach its ports: the one it binds to. Absent where it binds to all: then addrs, or hostname. */
  readonly forwardHost?: string;
  readonly tcpPort: number;
  readonly wsPort: number;
  readonly wssPort: number;
  /** TCP over TLS; 0 or absent (a node of before it): not offered. */
  readonly tcpTlsPort?: number;
  readonly httpPort: number;
  readonly region: string;
  readonly zone: string;
  readonly version: string;
  /** Degrees; undefined where the node has no place configured. */
  readonly latitude: number | undefined;
  readonly longitude: number | undefined;
  /** Fixed weight, 1 or more. */
  readonly weight: number;
  /** Most channels it takes; 0: not limited. */
  readonly capacity: number;
  readonly connCount: number;
  readonly ipCount: number;
  /** True: takes no new clients (drained, not ready). */
  readonly isDraining: boolean;
  /** True: what Redis holds of its sessions and rooms is not complete, they are being written again. Absent: false. */
  readonly isSettling?: boolean;
  /** `comet`, `logic`, `job` as far as it runs them. */
  readonly roles: readonly string[];
  /** Wall clock of its last renewal, in ms. */
  readonly updatedMs: number;
}

/** The nodes whose lease has not ended, this one included. Answers from memory, refreshed about once a second. */
export interface NodeDirectory {
  readonly serverId: string;
  /** Incarnation of this node; changes when it had to take a new lease (thawed past the end of the old one). */
  readonly nodeEpoch: number;
  live(): readonly NodeRecord[];
  /** False for a node whose lease ended, and for an earlier incarnation of a living one. */
  isLive(serverId: string, nodeEpoch: number): boolean;
  /** Called once per node incarnation that is gone. Returns how to stop that. */
  onLost(listener: (serverId: string, nodeEpoch: number) => void): () => void;
}

/**
 * The session map of the whole cluster. Nothing here rejects: what Redis could not be told is written again when it is back.
 */
export interface ClusterSessions {
  /**
   * Store the session of a channel of this node. Resolves within the command deadline.
   * `previous` may be of any node: who called tells that node (NodeMail) to close it. While Redis is away: stored, without previous.
   */
  put(session: Session): Promise<PutSession>;
  /** Remove it unless the key belongs to another connection by now. */
  remove(owner: SessionOwner): Promise<void>;
  /** Remove many at once (a bucket died, a shutdown). */
  removeAll(owners: readonly SessionOwner[]): Promise<void>;
  /** Sessions of live nodes, in the order of `keys`; undefined where a key has none. @throws HalleyError REDIS_AWAY */
  byKeys(keys: readonly string[]): Promise<readonly (Session | undefined)[]>;
  /** @throws HalleyError REDIS_AWAY */
  byMids(mids: readonly number[]): Promise<readonly Session[]>;
}

/** Tells another node to do something to its channels. At most once: who must be sure asks again. */
export interface NodeMail {
  /** Close one connection if it still is this one (a takeover). */
  closeConnection(owner: SessionOwner, advice: DisconnectAdvice): void;
}

/** Which rooms this node hears of. */
export interface RoomLinks {
  /**
   * The room gets its first member on this node. undefined: it is linked already; otherwise resolves once the subscription
   * is acknowledged (or Redis is away: then it follows on return, and the room is told a Gap). Never rejects.
   */
  link(room: string): MaybePromise<void> | undefined;
  /** The room's last member left; the link may linger. */
  unlink(room: string): void;
}
