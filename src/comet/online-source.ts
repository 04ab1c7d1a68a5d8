/**
 * online-source: what the rest of the cluster needs to know of this node's rooms: the ones whose members have changed, by name,
 * and back again the members on other nodes into the shared counts that heartbeats are answered from.
 *
 * Threads: control thread only.
 * Guarantees: a change is visited after it has happened, at least once; the cost is that of the changes. A room that opens
 *   shows the cluster's count at once.
 */
import type { OnlineSource, RoomCount } from '../push/index.js';
import type { RoomCounts } from './room-counts.js';

/** What CometControl and Sequencer offer. */
export interface OnlineSourceParts {
  readonly comet: {
    roomCount(room: string): number;
    roomCounts(): Iterable<RoomCount>;
    connectionCount(): number;
    ipCount(): number;
  };
  readonly roomCounts: RoomCounts;
  /** 0: not open on this node. */
  readonly roomNo: (room: string) => number;
}

/** Closed rooms whose number was given to others that are kept in mind while nobody takes changes (Redis is away). */
const MAX_CLOSED_COUNT = 100_000;

export class CometOnlineSource implements OnlineSource {
  readonly #parts: OnlineSourceParts;
  /** By room number, of its latest room: closed ones stay until the number is given to another room. */
  readonly #rooms: (string | undefined)[] = [];
  /** Rooms that lost their number to others; they may have been told of. */
  readonly #closed = new Set<string>();
  #hasOverflown = false;
  #remoteCount: (room: string) => number = () => 0;

  constructor(parts: OnlineSourceParts) {
    this.#parts = parts;
  }

  /** The sequencer has given a room its number. */
  roomOpened(room: string, roomNo: number): void {
    const former = this.#rooms[roomNo];
    this.#rooms[roomNo] = room;
    this.#parts.roomCounts.setRemote(roomNo, this.#remoteCount(room));
    if (former === undefined || former === room) return;
    this.#closed.add(former);
    if (this.#closed.size <= MAX_CLOSED_COUNT) return;
    this.#closed.clear();
    this.#hasOverflown = true;
  }

  roomCount(room: string): number {
    return this.#parts.comet.roomCount(room);
  }

  roomCounts(): Iterable<RoomCount> {
    return this.#parts.comet.roomCounts();
  }

  connectionCount(): number {
    return this.#parts.comet.connectionCount();
  }

  ipCount(): number {
    return this.#parts.comet.ipCount();
  }

  takeChanges(maxCount: number, visit: (room: string, count: number) => void): number | 'overflow' {
    if (this.#hasOverflown) {
      this.#hasOverflown = false;
      return 'overflow';
    }
    let count = 0;
    for (const room of this.#closed) {
      if (count >= maxCount) return count;
      this.#closed.delete(room);
      // It may have opened again under another number.
      visit(room, this.roomCount(room));
      count += 1;
    }
    const changedCount = this.#parts.roomCounts.takeChanged(maxCount - count, (roomNo) => {
      const room = this.#rooms[roomNo];
      if (room !== undefined) visit(room, this.roomCount(room));
    });
    return count + changedCount;
  }

  setRemote(room: string, count: number): boolean {
    const roomNo = this.#parts.roomNo(room);
    if (roomNo === 0) return false;
    this.#parts.roomCounts.setRemote(roomNo, count);
    return true;
  }

  onOpened(remoteCount: (room: string) => number): void {
    this.#remoteCount = remoteCount;
  }
}
