/**
 * The node's sequencer: gives every room message its offset and every push its id, and writes each once into the
 * control thread's ring for the buckets that concern it.
 *
 * Threads: control thread only.
 * Guarantees: one order per room for every bucket; offsets of a room rise by one; a room's epoch is never used again
 *   after the room emptied; a push that returns FULL has left no trace (its offset is not consumed).
 * Hot path: pushRoom(), pushDirect(), pushAll(). No allocation beyond the record; bench/comet/sequencer.bench.ts.
 */
import { OUTCOME, type Outcome } from '../errors/index.js';
import type { Snowflake } from '../id/index.js';
import { OP, PACKET_HEADER_BYTES, PUSH_SEQ, PUSH_VER, writePacketHeader } from '../protocol/index.js';
import type { RingWriter } from '../ring/index.js';
import {
  INNER_OFFSET,
  MESSAGE_ID_OFFSET,
  OFFSET_OFFSET,
  OUTER_OFFSET,
  RAW_KIND,
  SPEED_OFFSET,
  SUBJECT_OFFSET,
  TARGET_BYTES,
  TARGET_GROUP_HEADER_BYTES,
  targetsOffset,
} from './push-record.layout.js';
import type { RoomInfo } from './thread-messages.js';

/** One room with members on this node. */
class Room {
  readonly room: string;
  readonly roomNo: number;
  readonly epoch: number;
  /** Offset of the newest message; 0 before the first. */
  offset = 0;
  /** Threads with members. */
  mask = 0;

  constructor(room: string, roomNo: number, epoch: number) {
    this.room = room;
    this.roomNo = roomNo;
    this.epoch = epoch;
  }
}

/** Targets of a direct push: connection ids by bucket. */
export type DirectTargets = ReadonlyMap<number, readonly number[]>;

export interface SequencerOptions {
  readonly roomCapacity: number;
  /** Lower bound of all epochs given, for example the wall clock in ms at start: epochs of an earlier life lie below it. */
  readonly firstEpoch: number;
  /** Body bytes up to which a push is accepted. */
  readonly maxBodyBytes: number;
  /** A room was opened on this node and got its number. */
  readonly onRoomOpened?: (room: string, roomNo: number) => void;
}

export class Sequencer {
  readonly #writer: RingWriter;
  readonly #ids: Snowflake;
  readonly #options: SequencerOptions;
  readonly #rooms = new Map<string, Room>();
  readonly #byNo = new Map<number, Room>();
  readonly #freeNos: number[] = [];
  #usedNos = 0;
  #lastEpoch: number;
  readonly #allEpoch: number;
  #allOffset = 0;

  constructor(writer: RingWriter, ids: Snowflake, options: SequencerOptions) {
    this.#writer = writer;
    this.#ids = ids;
    this.#options = options;
    this.#allEpoch = options.firstEpoch;
    this.#lastEpoch = options.firstEpoch;
  }

  /** Epoch of the node's "all" sequence. */
  get allEpoch(): number {
    return this.#allEpoch;
  }

  /** Note that `thread` has or is about to have members of the room. Idempotent. Room number 0: the node is full. */
  occupy(name: string, thread: number): RoomInfo {
    let room = this.#rooms.get(name);
    if (room === undefined) {
      const roomNo = this.#takeNo();
      if (roomNo === 0) return [0, 0, 0];
      this.#lastEpoch += 1;
      room = new Room(name, roomNo, this.#lastEpoch);
      this.#rooms.set(name, room);
      this.#byNo.set(roomNo, room);
      this.#options.onRoomOpened?.(name, roomNo);
    }
    room.mask |= 1 << thread;
    return [room.roomNo, room.epoch, room.offset];
  }

  /** `thread` has no members of the room any more. The room is forgotten with its last thread. */
  vacate(roomNo: number, thread: number): void {
    const room = this.#byNo.get(roomNo);
    if (room === undefined) return;
    room.mask &= ~(1 << thread);
    if (room.mask !== 0) return;
    this.#rooms.delete(room.room);
    this.#byNo.delete(roomNo);
    this.#freeNos.push(roomNo);
  }

  /** A thread died: it has no members of any room. Returns the numbers of the rooms it was in. */
  vacateAll(thread: number): readonly number[] {
    const bit = 1 << thread;
    const roomNos = [...this.#byNo.values()].filter((room) => (room.mask & bit) !== 0).map((room) => room.roomNo);
    for (const roomNo of roomNos) this.vacate(roomNo, thread);
    return roomNos;
  }

  roomNo(name: string): number {
    return this.#rooms.get(name)?.roomNo ?? 0;
  }

  /** Rooms with members, with their numbers. */
  rooms(): Iterable<{ readonly room: string; readonly roomNo: number }> {
    return this.#rooms.values();
  }

  roomCount(): number {
    return this.#rooms.size;
  }

  /** To the members of a room. OK also where the room has none on this node: then nothing is written. */
  pushRoom(name: string, op: number, body: Uint8Array): Outcome {
    if (body.length > this.#options.maxBodyBytes) return OUTCOME.TOO_LARGE;
    const room = this.#rooms.get(name);
    if (room === undefined) return OUTCOME.OK;
    const offset = room.offset + 1;
    const outcome = this.#writePush(0, room.roomNo, 0, offset, op, body);
    if (outcome !== OUTCOME.OK) return outcome;
    this.#writer.commit(RAW_KIND.ROOM_PUSH, room.mask, INNER_OFFSET + PACKET_HEADER_BYTES + body.length);
    room.offset = offset;
    return OUTCOME.OK;
  }

  /** To single channels. TOO_LARGE also where the targets do not fit a record besides the body. */
  pushDirect(targets: DirectTargets, op: number, body: Uint8Array, ignoresWatchSet = false): Outcome {
    if (body.length > this.#options.maxBodyBytes) return OUTCOME.TOO_LARGE;
    let targetBytes = 0;
    for (const connIds of targets.values()) targetBytes += TARGET_GROUP_HEADER_BYTES + connIds.length * TARGET_BYTES;
    if (targetBytes === 0) return OUTCOME.OK;
    const outcome = this.#writePush(targetBytes + TARGET_BYTES, targets.size, ignoresWatchSet ? 1 : 0, 0, op, body);
    if (outcome !== OUTCOME.OK) return outcome;
    const view = this.#writer.view;
    const start = this.#writer.offset;
    let position = start + targetsOffset(PACKET_HEADER_BYTES + body.length);
    let mask = 0;
    for (const [thread, connIds] of targets) {
      mask |= 1 << thread;
      view.setUint32(position, thread, true);
      view.setUint32(position + 4, connIds.length, true);
      position += TARGET_GROUP_HEADER_BYTES;
      for (const connId of connIds) {
        view.setFloat64(position, connId, true);
        position += TARGET_BYTES;
      }
    }
    this.#writer.commit(RAW_KIND.DIRECT_PUSH, mask, position - start);
    return OUTCOME.OK;
  }

  /** To every channel of the threads in the mask whose watch set holds `op`. */
  pushAll(mask: number, speedPerSecPerBucket: number, op: number, body: Uint8Array): Outcome {
    if (body.length > this.#options.maxBodyBytes) return OUTCOME.TOO_LARGE;
    // A paced one reaches its channels one by one, as direct pushes: it has no place in the sequence.
    const offset = speedPerSecPerBucket > 0 ? 0 : this.#allOffset + 1;
    const outcome = this.#writePush(0, 0, speedPerSecPerBucket, offset, op, body);
    if (outcome !== OUTCOME.OK) return outcome;
    this.#writer.commit(RAW_KIND.ALL_PUSH, mask, INNER_OFFSET + PACKET_HEADER_BYTES + body.length);
    if (offset > 0) this.#allOffset = offset;
    return OUTCOME.OK;
  }

  #writePush(
    extraBytes: number,
    subject: number,
    speedPerSec: number,
    offset: number,
    op: number,
    body: Uint8Array,
  ): Outcome {
    const writer = this.#writer;
    const packetBytes = PACKET_HEADER_BYTES + body.length;
    const outcome = writer.claim(INNER_OFFSET + packetBytes + extraBytes);
    if (outcome !== OUTCOME.OK) return outcome;
    const { view, bytes, offset: start } = writer;
    // A node that may not issue ids (its mark or lease is over) holds pushes back: FULL is what "later" looks like.
    if (this.#ids.tryWriteTo(bytes, start + MESSAGE_ID_OFFSET) !== OUTCOME.OK) {
      writer.abort();
      return OUTCOME.FULL;
    }
    view.setUint32(start + SUBJECT_OFFSET, subject, true);
    view.setUint32(start + SPEED_OFFSET, speedPerSec, true);
    view.setFloat64(start + OFFSET_OFFSET, offset, true);
    writePacketHeader(view, start + OUTER_OFFSET, PACKET_HEADER_BYTES + packetBytes, PUSH_VER, OP.RAW, PUSH_SEQ);
    writePacketHeader(view, start + INNER_OFFSET, packetBytes, PUSH_VER, op, PUSH_SEQ);
    bytes.set(body, start + INNER_OFFSET + PACKET_HEADER_BYTES);
    return OUTCOME.OK;
  }

  #takeNo(): number {
    const free = this.#freeNos.pop();
    if (free !== undefined) return free;
    if (this.#usedNos >= this.#options.roomCapacity) return 0;
    this.#usedNos += 1;
    return this.#usedNos;
  }
}
