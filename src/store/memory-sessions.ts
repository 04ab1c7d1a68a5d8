/**
 * Sessions in this process's memory: the session map of a standalone node, and the directory of its own channels for
 * every node.
 *
 * Threads: control thread only. Every method answers at once (no promise).
 * Guarantees: one session per key; a removal needs the owner that is stored; counts return to zero after churn.
 * Memory: one object and one map entry per key, one map entry per user; a user with one device has no list.
 */
import type { PutSession, Session, SessionOwner, SessionStore } from '../push/index.js';

/** True where `owner` is the connection that `session` describes. */
function ownedBy(session: Session, owner: SessionOwner): boolean {
  return (
    session.connId === owner.connId &&
    session.bucket === owner.bucket &&
    session.nodeEpoch === owner.nodeEpoch &&
    session.serverId === owner.serverId
  );
}

export class MemorySessions implements SessionStore {
  readonly #byKey = new Map<string, Session>();
  /** A single session stands as itself; only users with several devices have a list. */
  readonly #byMid = new Map<number, Session | Session[]>();

  put(session: Session): PutSession {
    const previous = this.#byKey.get(session.key);
    if (previous !== undefined && previous.mid !== session.mid) return { status: 'foreign', ownerMid: previous.mid };
    if (previous !== undefined) this.#unlinkMid(previous);
    this.#byKey.set(session.key, session);
    this.#linkMid(session);
    return { status: 'stored', previous };
  }

  remove(owner: SessionOwner): Session | undefined {
    const session = this.#byKey.get(owner.key);
    if (session === undefined || !ownedBy(session, owner)) return undefined;
    this.#byKey.delete(owner.key);
    this.#unlinkMid(session);
    return session;
  }

  byKey(key: string): Session | undefined {
    return this.#byKey.get(key);
  }

  byKeys(keys: readonly string[]): readonly (Session | undefined)[] {
    return keys.map((key) => this.#byKey.get(key));
  }

  byMids(mids: readonly number[]): readonly Session[] {
    const sessions: Session[] = [];
    for (const mid of mids.length > 1 ? new Set(mids) : mids) {
      const entry = this.#byMid.get(mid);
      if (entry === undefined) continue;
      if (Array.isArray(entry)) sessions.push(...entry);
      else sessions.push(entry);
    }
    return sessions;
  }

  removeBucket(serverId: string, nodeEpoch: number, bucket: number): readonly Session[] {
    const removed: Session[] = [];
    for (const session of this.#byKey.values()) {
      if (session.bucket === bucket && session.nodeEpoch === nodeEpoch && session.serverId === serverId) {
        removed.push(session);
      }
    }
    for (const session of removed) {
      this.#byKey.delete(session.key);
      this.#unlinkMid(session);
    }
    return removed;
  }

  count(): number {
    return this.#byKey.size;
  }

  /** Every session; may be read slowly: one that is removed meanwhile does not come, one that is stored does. */
  all(): IterableIterator<Session> {
    return this.#byKey.values();
  }

  /** Users with at least one session. */
  midCount(): number {
    return this.#byMid.size;
  }

  #linkMid(session: Session): void {
    if (session.mid <= 0) return;
    const entry = this.#byMid.get(session.mid);
    if (entry === undefined) this.#byMid.set(session.mid, session);
    else if (Array.isArray(entry)) entry.push(session);
    else this.#byMid.set(session.mid, [entry, session]);
  }

  #unlinkMid(session: Session): void {
    const entry = this.#byMid.get(session.mid);
    if (entry === session) {
      this.#byMid.delete(session.mid);
    } else if (Array.isArray(entry)) {
      const index = entry.indexOf(session);
      if (index >= 0) entry.splice(index, 1);
      const [only] = entry;
      if (entry.length === 1 && only !== undefined) this.#byMid.set(session.mid, only);
    }
  }
}
