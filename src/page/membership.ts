/**
 * The rooms of a connection on the wire: joins and leaves them, reads the answers and Gaps, and reports what was missed.
 *
 * goim's channel is in one room, which op 12 changes; `primary` here. An extended channel may be in more (ops 18 and 20).
 * After a reconnect the primary room comes with the auth packet and the others are joined again; on an extended channel the
 * answers say where the sequences stand, so that what was sent in between shows as missed.
 */
import { decodeGap, decodeRoomReplies, encodeRoomList, encodeUtf8, OP, type RoomReply } from '../protocol/index.js';
import type { BatchPlace } from './frame.js';
import { type RoomRow, RoomTable } from './room-table.js';

export interface MembershipListener {
  /** Something in `rooms()` is different. Called per frame: read the list when it is to be shown. */
  roomsChanged(): void;
  /** @param missedCount 0 where the number is not known */
  gapFound(missedCount: number, text: string): void;
  /** Something for the log: an answer, an op that means nothing to this page. */
  noted(op: number, text: string): void;
}

const CODEC = 'json';

export class Membership {
  readonly #listener: MembershipListener;
  readonly #send: (op: number, body?: Uint8Array) => void;
  readonly #table = new RoomTable();
  #isExtended = false;

  /** @param send a packet on the connection that is online now */
  constructor(listener: MembershipListener, send: (op: number, body?: Uint8Array) => void) {
    this.#listener = listener;
    this.#send = send;
  }

  rooms(): RoomRow[] {
    return this.#table.list();
  }

  /** What the auth packet says as `room_id`; '' for none. */
  get primary(): string {
    return this.#table.primary;
  }

  /** Forget all rooms and begin with `room`, if it is not ''. */
  reset(room: string, isExtended: boolean): void {
    this.#isExtended = isExtended;
    this.#table.clear();
    if (room !== '') this.#table.joining(room, true);
    this.#listener.roomsChanged();
  }

  online(): void {
    const rooms = this.#table.list().filter((row) => row.state === 'joining');
    // The primary room too: it is joined already, and the answer says where its sequence stands.
    if (this.#isExtended && rooms.length > 0) this.#sendRooms(OP.JOIN_ROOMS, ...rooms.map((row) => row.room));
    if (!this.#isExtended) for (const row of rooms) this.#table.joined(row.room);
    this.#listener.roomsChanged();
  }

  offline(): void {
    this.#table.disconnected();
    this.#listener.roomsChanged();
  }

  /** Join one more room; without extensions, move to it. */
  join(room: string): void {
    const { primary } = this.#table;
    if (this.#isExtended && primary !== '') {
      if (room !== primary) this.#table.joining(room, false);
      this.#sendRooms(OP.JOIN_ROOMS, room);
    } else {
      if (primary !== '') this.#table.left(primary);
      this.#table.joining(room, true);
      this.#send(OP.CHANGE_ROOM, encodeUtf8(room));
    }
    this.#listener.roomsChanged();
  }

  leave(room: string): void {
    const row = this.#table.list().find((one) => one.room === room);
    if (row === undefined) return;
    if (row.state === 'refused') this.#table.left(room);
    else {
      this.#table.leaving(room);
      if (row.isPrimary) this.#send(OP.CHANGE_ROOM);
      else this.#sendRooms(OP.LEAVE_ROOMS, room);
    }
    this.#listener.roomsChanged();
  }

  batchArrived({ room, epoch, firstOffset }: BatchPlace, messageCount: number): void {
    const missed = this.#table.arrived(room, epoch, firstOffset, messageCount);
    if (missed > 0) this.#listener.gapFound(missed, `${missed} missed before offset ${firstOffset} of ${nameOf(room)}`);
    if (room !== '') this.#listener.roomsChanged();
  }

  /** Op 13. goim sends it even where the change failed; an extended channel can ask. */
  primaryChanged(): void {
    for (const { room, isPrimary, state } of this.#table.list()) {
      if (!isPrimary) continue;
      if (state === 'leaving') this.#table.left(room);
      else if (this.#isExtended) this.#sendRooms(OP.JOIN_ROOMS, room);
      else this.#table.joined(room);
    }
    this.#listener.roomsChanged();
  }

  /** Op 19. @returns what was wrong with the body, or undefined */
  joinAnswered(body: Uint8Array): string | undefined {
    const replies = decodeRoomReplies(CODEC, body);
    if (!replies.ok) return replies.error;
    for (const reply of replies.value) this.#roomAnswered(reply);
    this.#listener.roomsChanged();
    return undefined;
  }

  /** Op 21; likewise. Refused only where the channel is no member, so the room is gone either way. */
  leaveAnswered(body: Uint8Array): string | undefined {
    const replies = decodeRoomReplies(CODEC, body);
    if (!replies.ok) return replies.error;
    for (const { room } of replies.value) this.#table.left(room);
    this.#listener.roomsChanged();
    return undefined;
  }

  /** Op 22; likewise. */
  gapTold(body: Uint8Array): string | undefined {
    const gap = decodeGap(CODEC, body);
    if (!gap.ok) return gap.error;
    const { scope, room, epoch, to } = gap.value;
    if (scope === 'direct') {
      this.#listener.gapFound(0, 'the server skipped direct pushes: this client read too slowly');
      return undefined;
    }
    const missed = this.#table.reached(room, epoch, to);
    const count = missed === 0 ? 'some' : String(missed);
    this.#listener.gapFound(missed, `the server skipped ${count} of ${nameOf(room)}, up to offset ${to}`);
    this.#listener.roomsChanged();
    return undefined;
  }

  #roomAnswered({ room, epoch, offset, error }: RoomReply): void {
    if (error !== undefined) {
      this.#table.refused(room, `${error.code} ${error.message}`);
      this.#listener.noted(OP.JOIN_ROOMS_REPLY, `${room} refused: ${error.code} ${error.message}`);
      return;
    }
    this.#table.joined(room);
    const missed = this.#table.reached(room, epoch, offset);
    if (missed > 0) this.#listener.gapFound(missed, `${missed} missed while away from ${room}, up to offset ${offset}`);
    else this.#listener.noted(OP.JOIN_ROOMS_REPLY, `joined ${room} at offset ${offset}`);
  }

  #sendRooms(op: number, ...rooms: readonly string[]): void {
    this.#send(op, encodeRoomList(CODEC, rooms));
  }
}

function nameOf(room: string): string {
  return room === '' ? 'the pushes to all' : room;
}
