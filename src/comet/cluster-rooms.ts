/**
 * Rooms that this node must hear of: linked before their first member is answered, unlinked after the last one left.
 *
 * Threads: control thread only.
 * Guarantees: a room that somebody waits for or has members in is not unlinked; one that nobody waits for and nobody is in is.
 */
import type { RoomLinks } from '../push/index.js';

export class ClusterRooms {
  readonly #links: RoomLinks;
  readonly #hasMembers: (room: string) => boolean;
  /** Requests that wait for a room, or are just being answered. */
  readonly #heldCounts = new Map<string, number>();

  constructor(links: RoomLinks, hasMembers: (room: string) => boolean) {
    this.#links = links;
    this.#hasMembers = hasMembers;
  }

  /** Keep these rooms linked until release(). undefined: they are; otherwise resolves when they are. */
  hold(rooms: readonly string[]): Promise<unknown> | undefined {
    let waiting: (void | Promise<void>)[] | undefined;
    for (const room of rooms) {
      this.#heldCounts.set(room, (this.#heldCounts.get(room) ?? 0) + 1);
      const link = this.#links.link(room);
      if (link instanceof Promise) {
        waiting ??= [];
        waiting.push(link);
      }
    }
    return waiting === undefined ? undefined : Promise.all(waiting);
  }

  /** The request behind hold() is over; members, if it made any, stand in the sequencer by now. */
  release(rooms: readonly string[]): void {
    for (const room of rooms) {
      const count = (this.#heldCounts.get(room) ?? 0) - 1;
      if (count > 0) this.#heldCounts.set(room, count);
      else this.#heldCounts.delete(room);
      this.left(room);
    }
  }

  /** A thread left the room. */
  left(room: string): void {
    if (!this.#heldCounts.has(room) && !this.#hasMembers(room)) this.#links.unlink(room);
  }
}
