/**
 * A room as one bucket sees it: its members here, and the messages that wait for them.
 *
 * Life: PENDING from the first request that names it until the sequencer has numbered it, then ACTIVE; gone when it has
 * neither members nor requests under way. Only then is the sequencer told, so a request can never be overtaken by a
 * vacate of its own bucket.
 *
 * Threads: its bucket.
 */
import { type FanoutContext, FanoutGroup } from './fanout-group.js';

const utf8 = new TextEncoder();

export class RoomShard extends FanoutGroup {
  readonly room: string;
  /** 0 while pending. */
  roomNo = 0;
  /** Channels in the room in this bucket, slow ones included. */
  memberCount = 0;
  /** Requests to the control thread that name this room and are not answered yet. */
  requestCount = 0;

  constructor(context: FanoutContext, topic: string, room: string) {
    super(context, topic, utf8.encode(room));
    this.room = room;
  }

  get active(): boolean {
    return this.roomNo !== 0;
  }
}
