/**
 * redis-online-aggregate: members of every room on all other nodes, added up, and which node has how many, so that a node's
 * part can be taken out again.
 *
 * Threads: control thread only. No I/O.
 * Guarantees: a room's total is the sum of its nodes' parts; a room without members anywhere is forgotten.
 *   Per room and node a map entry of a reference and a small integer; the name is kept once.
 */

export interface RoomTotal {
  readonly room: string;
  total: number;
  /** It was open on this node at the last change or opening; false: it certainly is not. Saves a look-up per room in lists. */
  mayBeHere: boolean;
}

/** What one node has. Made by OnlineAggregate. */
export class NodePart {
  readonly counts = new Map<RoomTotal, number>();
  /** While everything is told again: what has not been told yet. */
  unconfirmed: Set<RoomTotal> | undefined;
  connCount = 0;
  ipCount = 0;
}

export class OnlineAggregate {
  readonly #rooms = new Map<string, RoomTotal>();
  readonly #onChange: (room: string, remoteCount: number) => boolean;

  /** @param onChange called with the new total whenever one changes; true: the room is open on this node */
  constructor(onChange: (room: string, remoteCount: number) => boolean) {
    this.#onChange = onChange;
  }

  total(room: string): number {
    return this.#rooms.get(room)?.total ?? 0;
  }

  /** The room opens on this node. Returns its total. */
  opened(room: string): number {
    const entry = this.#rooms.get(room);
    if (entry === undefined) return 0;
    entry.mayBeHere = true;
    return entry.total;
  }

  rooms(): Iterable<Readonly<RoomTotal>> {
    return this.#rooms.values();
  }

  /** Members of a room on one node; 0: it has none any more. */
  set(part: NodePart, room: string, count: number): void {
    let entry = this.#rooms.get(room);
    if (entry === undefined) {
      if (count === 0) return;
      entry = { room, total: 0, mayBeHere: false };
      this.#rooms.set(room, entry);
    }
    part.unconfirmed?.delete(entry);
    this.#change(part, entry, count);
  }

  /** The node begins to tell everything again. What it does not tell until `confirmed` is void; until then it counts on. */
  unconfirm(part: NodePart): void {
    part.unconfirmed = new Set(part.counts.keys());
  }

  confirmed(part: NodePart): void {
    const { unconfirmed } = part;
    part.unconfirmed = undefined;
    for (const entry of unconfirmed ?? []) this.#change(part, entry, 0);
  }

  /** The node is gone. */
  clear(part: NodePart): void {
    part.unconfirmed = undefined;
    for (const entry of [...part.counts.keys()]) this.#change(part, entry, 0);
    part.connCount = 0;
    part.ipCount = 0;
  }

  #change(part: NodePart, entry: RoomTotal, count: number): void {
    const difference = count - (part.counts.get(entry) ?? 0);
    if (count === 0) part.counts.delete(entry);
    else part.counts.set(entry, count);
    if (difference === 0) return;
    entry.total += difference;
    if (entry.total === 0) this.#rooms.delete(entry.room);
    entry.mayBeHere = this.#onChange(entry.room, entry.total);
  }
}
