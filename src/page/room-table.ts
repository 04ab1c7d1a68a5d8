/**
 * The rooms of the connection and how far each sequence has come, so that what is missing shows.
 *
 * Guarantees: an offset never goes back inside one roomEpoch; a missed message is reported once, by whichever tells first: a
 * Gap (op 22), the answer to a join, or the next batch.
 */

export interface RoomRow {
  readonly room: string;
  /** goim's one room: its members are what a heartbeat counts. */
  readonly isPrimary: boolean;
  readonly state: 'joining' | 'joined' | 'leaving' | 'refused';
  /** roomEpoch and offset of the last message; undefined until the server has named one. */
  readonly epoch: number | undefined;
  readonly offset: number | undefined;
  /** Why it was refused; empty otherwise. */
  readonly error: string;
}

/** Key of the sequence of pushes to all. */
const ALL = '';

interface Position {
  epoch: number;
  offset: number;
}

export class RoomTable {
  readonly #rows = new Map<string, RoomRow>();
  /** Outlive a membership's connection, not the membership: after a reconnect the difference is what was missed. */
  readonly #positions = new Map<string, Position>();

  /** In the order in which they were joined. */
  list(): RoomRow[] {
    return [...this.#rows.values()].map((row) => {
      const position = this.#positions.get(row.room);
      return { ...row, epoch: position?.epoch, offset: position?.offset };
    });
  }

  has(room: string): boolean {
    return this.#rows.has(room);
  }

  /** The primary room, or '' where there is none. */
  get primary(): string {
    for (const row of this.#rows.values()) if (row.isPrimary && row.state !== 'refused') return row.room;
    return '';
  }

  /** Forget everything: another connection with other settings begins. */
  clear(): void {
    this.#rows.clear();
    this.#positions.clear();
  }

  /** The connection has ended: what was joined has to be joined again, what was being left is gone. */
  disconnected(): void {
    for (const [room, row] of this.#rows) {
      if (row.state === 'leaving') this.left(room);
      else if (row.state === 'joined') this.#rows.set(room, { ...row, state: 'joining' });
    }
  }

  joining(room: string, isPrimary: boolean): void {
    this.#rows.set(room, { room, isPrimary, state: 'joining', epoch: undefined, offset: undefined, error: '' });
  }

  joined(room: string): void {
    const row = this.#rows.get(room);
    if (row !== undefined) this.#rows.set(room, { ...row, state: 'joined', error: '' });
  }

  refused(room: string, error: string): void {
    const row = this.#rows.get(room);
    if (row !== undefined) this.#rows.set(room, { ...row, state: 'refused', error });
  }

  leaving(room: string): void {
    const row = this.#rows.get(room);
    if (row !== undefined) this.#rows.set(room, { ...row, state: 'leaving' });
  }

  left(room: string): void {
    this.#rows.delete(room);
    this.#positions.delete(room);
  }

  /**
   * Messages `firstOffset` to `firstOffset + count - 1` have arrived.
   * @param room '' for pushes to all
   * @returns how many before them have not
   */
  arrived(room: string, epoch: number, firstOffset: number, count: number): number {
    if (room !== ALL && !this.#rows.has(room)) return 0;
    const missed = this.#advance(room, epoch, firstOffset - 1);
    this.#advance(room, epoch, firstOffset - 1 + count);
    return missed;
  }

  /** The sequence has come to `offset` and nothing of it will arrive any more. @returns how many messages that skips */
  reached(room: string, epoch: number, offset: number): number {
    if (room !== ALL && !this.#rows.has(room)) return 0;
    return this.#advance(room, epoch, offset);
  }

  #advance(room: string, epoch: number, offset: number): number {
    const position = this.#positions.get(room);
    // The first word about a sequence, or a new one of the same name: there is nothing to compare with.
    if (position === undefined || position.epoch !== epoch) {
      this.#positions.set(room, { epoch, offset });
      return 0;
    }
    const skipped = Math.max(0, offset - position.offset);
    position.offset += skipped;
    return skipped;
  }
}
