/**
 * Connects that wait for the cluster: their session is stored in this node already and on its way into the session map of all,
 * their rooms are being linked.
 *
 * Threads: control thread only.
 * Guarantees: each connect is settled once, when both are done; a channel that ended meanwhile leaves no session behind, since
 *   the removal follows the write it belongs to.
 */
import { CLOSE, type CloseCodeRow } from '../errors/index.js';
import type { ClusterSessions, NodeMail, PutSession, Session } from '../push/index.js';
import type { ClusterRooms } from './cluster-rooms.js';
import { CONNECT_STATUS, type ConnectStatus } from './thread-messages.js';

/** What a connect does to this node and its buckets. */
export interface ConnectLinks {
  /** True while the key still belongs to this very connection here. */
  readonly holds: (session: Session) => boolean;
  /** Forget the session here, if it still is this one's. */
  readonly undo: (session: Session) => void;
  readonly close: (session: Session, row: CloseCodeRow) => void;
  /** Answer the bucket; it has members in these rooms from here on. */
  readonly answer: (session: Session, status: ConnectStatus, rooms: readonly string[]) => void;
}

/** A connect under way. */
interface WaitingConnect {
  readonly session: Session;
  readonly rooms: readonly string[];
  /** Its channel ended, or its bucket died. */
  isGone: boolean;
  /** The bucket has forgotten it (a reset) or is another one by now: it must not be answered. */
  isMute: boolean;
}

export class ClusterConnects {
  readonly #sessions: ClusterSessions;
  readonly #serverId: string;
  readonly #mail: NodeMail;
  readonly #rooms: ClusterRooms;
  readonly #links: ConnectLinks;
  /** By bucket, then by connection id. */
  readonly #waiting = new Map<number, Map<number, WaitingConnect>>();
  #isClosed = false;

  constructor(
    serverId: string,
    cluster: { readonly sessions: ClusterSessions; readonly mail: NodeMail },
    rooms: ClusterRooms,
    links: ConnectLinks,
  ) {
    this.#serverId = serverId;
    this.#sessions = cluster.sessions;
    this.#mail = cluster.mail;
    this.#rooms = rooms;
    this.#links = links;
  }

  /** Connects under way. */
  get count(): number {
    let count = 0;
    for (const byConnId of this.#waiting.values()) count += byConnId.size;
    return count;
  }

  begin(session: Session, rooms: readonly string[]): void {
    const connect: WaitingConnect = { session, rooms, isGone: false, isMute: false };
    let byConnId = this.#waiting.get(session.bucket);
    if (byConnId === undefined) {
      byConnId = new Map();
      this.#waiting.set(session.bucket, byConnId);
    }
    byConnId.set(session.connId, connect);
    // In this order: whoever takes the key over right behind us in this node writes behind us.
    const stored = this.#sessions.put(session);
    void this.#finish(connect, stored, this.#rooms.hold(rooms));
  }

  /** The channel ended. True: its connect was under way, and the end of that removes the session. */
  end(bucket: number, connId: number): boolean {
    const connect = this.#waiting.get(bucket)?.get(connId);
    if (connect === undefined) return false;
    connect.isGone = true;
    return true;
  }

  /** The bucket died or was reset: all of its channels are gone, and it waits for no answer. */
  endBucket(bucket: number): void {
    for (const connect of this.#waiting.get(bucket)?.values() ?? []) {
      connect.isGone = true;
      connect.isMute = true;
    }
    // A successor counts its connections on, but nothing of it is to be taken for these.
    this.#waiting.delete(bucket);
  }

  /** The map of all was told of a session after its channel was answered, or again: what was found there counts now. */
  onLateWrite(session: Session, result: PutSession): void {
    if (!this.#links.holds(session)) return;
    if (result.status === 'stored') {
      this.#tellTakenOver(result.previous);
      return;
    }
    this.#links.undo(session);
    this.#links.close(session, result.status === 'foreign' ? CLOSE.FORBIDDEN : CLOSE.TAKEN_OVER);
  }

  /** Nothing is answered any more. */
  close(): void {
    this.#isClosed = true;
  }

  async #finish(
    connect: WaitingConnect,
    stored: Promise<PutSession>,
    linked: Promise<unknown> | undefined,
  ): Promise<void> {
    const { session, rooms } = connect;
    const result = await stored;
    if (linked !== undefined) await linked;
    const byConnId = this.#waiting.get(session.bucket);
    if (byConnId?.get(session.connId) === connect) byConnId.delete(session.connId);
    if (this.#isClosed) return;
    if (connect.isGone) void this.#sessions.remove(session);
    // Also where ours ended meanwhile: the map of all has forgotten the one before.
    if (result.status === 'stored') this.#tellTakenOver(result.previous);
    if (!connect.isMute) this.#settle(connect, result);
    this.#rooms.release(rooms);
  }

  #settle({ session, rooms, isGone }: WaitingConnect, result: PutSession): void {
    const links = this.#links;
    if (isGone) {
      // Its bucket waits for the answer all the same: it holds the rooms for it.
      links.answer(session, CONNECT_STATUS.FAILED, []);
      return;
    }
    switch (result.status) {
      case 'foreign':
        links.undo(session);
        links.answer(session, CONNECT_STATUS.FOREIGN, []);
        return;
      case 'superseded':
        links.undo(session);
        // The channel ends as one that was taken over; the answer behind it gives its rooms back.
        links.close(session, CLOSE.TAKEN_OVER);
        links.answer(session, CONNECT_STATUS.FAILED, []);
        return;
      case 'stored':
        links.answer(session, CONNECT_STATUS.STORED, rooms);
    }
  }

  /** What had the key on another node learns that it has it no more; on this one it was told when the key changed hands. */
  #tellTakenOver(previous: Session | undefined): void {
    if (previous === undefined || previous.serverId === this.#serverId) return;
    const { code, reason } = CLOSE.TAKEN_OVER;
    this.#mail.closeConnection(previous, { code, reason, reconnect: false, retryAfterMs: 0 });
  }
}
