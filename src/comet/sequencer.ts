/**
 * The node's sequencer: gives every room message its offset and every push its id, and writes each once into the
 * control thread's ring for the buckets that concern it.
 *
 * Threads: control thread only.
 * Guarantees: one order per room for every bucket; offsets of a room rise by one; a room's epoch is never used again
 *   after the room emptied; a push that returns FULL has left no trace (its offset is not consumed).
 * Rooms with history have a log (`store/memory-history.ts`), whose place is the room's: it outlives the members. Standalone
 *   the offsets are given here; in a cluster they come with the push (`place`), and a hole or a new epoch is told as a Gap.
 * Hot path: pushRoom(), pushDirect(), pushAll(). No allocation beyond the record, except for what a log keeps;
 *   bench/comet/sequencer.bench.ts.
 */
import { OUTCOME, type Outcome } from '../errors/index.js';
import type { Snowflake } from '../id/index.js';
import { OP, PACKET_HEADER_BYTES, PUSH_SEQ, PUSH_VER, writePacketHeader } from '../protocol/index.js';
import type { RoomPlace } from '../push/index.js';
import type { RingWriter } from '../ring/index.js';
import type { HistoryLog, MemoryHistory } from '../store/index.js';
import {
  EPOCH_OFFSET,
  GAP_RECORD_BYTES,
  GAP_SCOPE,
  type GapScopeCode,
  INNER_OFFSET,
  MESSAGE_ID_OFFSET,
  OFFSET_OFFSET,
  OUTER_OFFSET,
  PLACE_BYTES,
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
  epoch: number;
  /** Offset of the newest message; 0 before the first. */
  offset: number;
  /** Threads with members. */
  mask = 0;
  /** Only of a room with history; epoch and offset are always equal to the log's. */
  readonly log: HistoryLog | undefined;

  constructor(room: string, roomNo: number, epoch: number, offset: number, log: HistoryLog | undefined) {
    this.room = room;
    this.roomNo = roomNo;
    this.epoch = epoch;
    this.offset = offset;
    this.log = log;
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
  /** Hears of a room's first member on this node, and of its last one's end. */
  readonly onRoom?: ((room: string, isOccupied: boolean) => void) | undefined;
  /** Rooms that keep messages; undefined: none. */
  readonly history?: MemoryHistory;
  /**
   * True: offsets of rooms with history come with each push (a cluster). One that comes without is delivered outside the
   * sequence, with offset 0, and cannot be recovered.
   */
  readonly placesAreGiven?: boolean;
}

const MESSAGE_ID_BYTES = 8;

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
  readonly #keptId = new Uint8Array(MESSAGE_ID_BYTES);

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
      const log = this.#options.history?.logOf(name);
      if (log === undefined) {
        this.#lastEpoch += 1;
        room = new Room(name, roomNo, this.#lastEpoch, 0, undefined);
      } else {
        this.#options.history?.pin(log);
        room = new Room(name, roomNo, log.epoch, log.offset, log);
      }
      this.#rooms.set(name, room);
      this.#byNo.set(roomNo, room);
      this.#options.onRoom?.(name, true);
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
    this.#options.onRoom?.(room.room, false);
    if (room.log !== undefined) this.#options.history?.unpin(room.log);
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

  /** Name of the room with this number, undefined where it has no members. */
  roomName(roomNo: number): string | undefined {
    return this.#byNo.get(roomNo)?.room;
  }

  /** Rooms with members, with their numbers. */
  rooms(): Iterable<{ readonly room: string; readonly roomNo: number }> {
    return this.#rooms.values();
  }

  roomCount(): number {
    return this.#rooms.size;
  }

  /**
   * To the members of a room. OK also where the room has none on this node: then nothing is written, but kept where the room
   * has history.
   * @param messageId the id it has already, 8 bytes; undefined draws one
   * @param place where it stands in the room's sequence over the cluster; undefined: behind the newest
   */
  pushRoom(name: string, op: number, body: Uint8Array, messageId?: Uint8Array, place?: RoomPlace): Outcome {
    if (body.length > this.#options.maxBodyBytes) return OUTCOME.TOO_LARGE;
    const room = this.#rooms.get(name);
    if (place !== undefined) return this.#pushPlaced(name, room, op, body, messageId, place);
    if (room === undefined) return this.#keepOnly(name, op, body, messageId);
    if (room.log !== undefined) return this.#pushKept(room, room.log, op, body, messageId);
    const offset = room.offset + 1;
    const outcome = this.#writePush(0, room.roomNo, 0, offset, op, body, messageId);
    if (outcome !== OUTCOME.OK) return outcome;
    this.#writer.commit(RAW_KIND.ROOM_PUSH, room.mask, INNER_OFFSET + PACKET_HEADER_BYTES + body.length);
    room.offset = offset;
    return OUTCOME.OK;
  }

  /**
   * The room stands at `place` from now on, whatever it stood at.
   * @param tellsGap its members miss what is between, and hear so; false where nobody can have missed anything
   */
  placeRoom(name: string, place: RoomPlace, tellsGap: boolean): Outcome {
    const room = this.#rooms.get(name);
    const log = room?.log ?? this.#options.history?.logOf(name);
    if (room !== undefined && (tellsGap || room.epoch !== place.epoch || room.offset !== place.offset)) {
      const outcome = this.#writer.claim(PLACE_BYTES);
      if (outcome !== OUTCOME.OK) return outcome;
      const { view, offset: start } = this.#writer;
      view.setUint32(start + SUBJECT_OFFSET, room.roomNo, true);
      view.setUint32(start + SPEED_OFFSET, tellsGap ? 1 : 0, true);
      view.setFloat64(start + EPOCH_OFFSET, place.epoch, true);
      view.setFloat64(start + OFFSET_OFFSET, place.offset, true);
      this.#writer.commit(RAW_KIND.ROOM_PLACE, room.mask, PLACE_BYTES);
      room.epoch = place.epoch;
      room.offset = place.offset;
    }
    if (log !== undefined) this.#options.history?.restart(log, place);
    return OUTCOME.OK;
  }

  /** With the place it has in the cluster. A repeat is dropped; in front of a hole or a new epoch the members hear a Gap. */
  #pushPlaced(
    name: string,
    room: Room | undefined,
    op: number,
    body: Uint8Array,
    messageId: Uint8Array | undefined,
    place: RoomPlace,
  ): Outcome {
    const log = room?.log ?? this.#options.history?.logOf(name);
    const at = room ?? log;
    if (at === undefined) return OUTCOME.OK;
    if (at.epoch === place.epoch && place.offset <= at.offset) return OUTCOME.OK;
    if (at.epoch !== place.epoch || at.offset + 1 !== place.offset) {
      const outcome = this.placeRoom(name, { epoch: place.epoch, offset: place.offset - 1 }, true);
      if (outcome !== OUTCOME.OK) return outcome;
    }
    return this.#append(room, log, op, body, messageId);
  }

  /** To a room with history, without a place: the next one is given here, or nobody can give one. */
  #pushKept(room: Room, log: HistoryLog, op: number, body: Uint8Array, messageId: Uint8Array | undefined): Outcome {
    if (this.#options.placesAreGiven === true) {
      const outcome = this.#writePush(0, room.roomNo, 0, 0, op, body, messageId);
      if (outcome !== OUTCOME.OK) return outcome;
      this.#writer.commit(RAW_KIND.ROOM_PUSH, room.mask, INNER_OFFSET + PACKET_HEADER_BYTES + body.length);
      return OUTCOME.OK;
    }
    if (messageId !== undefined && log.offsetOf(messageId) > 0) return OUTCOME.OK;
    return this.#append(room, log, op, body, messageId);
  }

  /** To a room without members: only a history wants it. */
  #keepOnly(name: string, op: number, body: Uint8Array, messageId: Uint8Array | undefined): Outcome {
    const { history, placesAreGiven } = this.#options;
    if (history === undefined || placesAreGiven === true) return OUTCOME.OK;
    const log = history.logOf(name);
    if (log === undefined || (messageId !== undefined && log.offsetOf(messageId) > 0)) return OUTCOME.OK;
    return this.#append(undefined, log, op, body, messageId);
  }

  /** Behind the newest message of room and log, which stand at the same place. */
  #append(
    room: Room | undefined,
    log: HistoryLog | undefined,
    op: number,
    body: Uint8Array,
    messageId: Uint8Array | undefined,
  ): Outcome {
    if (room === undefined) {
      if (messageId !== undefined) this.#keptId.set(messageId);
      else if (this.#ids.tryWriteTo(this.#keptId, 0) !== OUTCOME.OK) return OUTCOME.FULL;
    } else {
      const outcome = this.#writePush(0, room.roomNo, 0, room.offset + 1, op, body, messageId);
      if (outcome !== OUTCOME.OK) return outcome;
      const { bytes, offset: start } = this.#writer;
      for (let i = 0; i < MESSAGE_ID_BYTES; i++) this.#keptId[i] = bytes[start + MESSAGE_ID_OFFSET + i]!;
      this.#writer.commit(RAW_KIND.ROOM_PUSH, room.mask, INNER_OFFSET + PACKET_HEADER_BYTES + body.length);
      room.offset += 1;
    }
    if (log !== undefined) this.#options.history?.put(log, op, body, this.#keptId);
    return OUTCOME.OK;
  }

  /** To single channels. TOO_LARGE also where the targets do not fit a record besides the body. */
  pushDirect(
    targets: DirectTargets,
    op: number,
    body: Uint8Array,
    ignoresWatchSet = false,
    messageId?: Uint8Array,
  ): Outcome {
    if (body.length > this.#options.maxBodyBytes) return OUTCOME.TOO_LARGE;
    let targetBytes = 0;
    for (const connIds of targets.values()) targetBytes += TARGET_GROUP_HEADER_BYTES + connIds.length * TARGET_BYTES;
    if (targetBytes === 0) return OUTCOME.OK;
    const flags = ignoresWatchSet ? 1 : 0;
    const outcome = this.#writePush(targetBytes + TARGET_BYTES, targets.size, flags, 0, op, body, messageId);
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
  pushAll(mask: number, speedPerSecPerBucket: number, op: number, body: Uint8Array, messageId?: Uint8Array): Outcome {
    if (body.length > this.#options.maxBodyBytes) return OUTCOME.TOO_LARGE;
    // A paced one reaches its channels one by one, as direct pushes: it has no place in the sequence.
    const offset = speedPerSecPerBucket > 0 ? 0 : this.#allOffset + 1;
    const outcome = this.#writePush(0, 0, speedPerSecPerBucket, offset, op, body, messageId);
    if (outcome !== OUTCOME.OK) return outcome;
    this.#writer.commit(RAW_KIND.ALL_PUSH, mask, INNER_OFFSET + PACKET_HEADER_BYTES + body.length);
    if (offset > 0) this.#allOffset = offset;
    return OUTCOME.OK;
  }

  /** Tell a room's members that something was missed: spends one offset of the room. OK where it has no members here. */
  gapRoom(name: string): Outcome {
    const room = this.#rooms.get(name);
    if (room === undefined) return OUTCOME.OK;
    const outcome = this.#writeGap(GAP_SCOPE.ROOM, room.roomNo, room.offset + 1, room.mask);
    if (outcome === OUTCOME.OK) room.offset += 1;
    return outcome;
  }

  /** Tell every channel of the threads in the mask that pushes to all were missed: spends one offset of "all". */
  gapAll(mask: number): Outcome {
    const outcome = this.#writeGap(GAP_SCOPE.ALL, 0, this.#allOffset + 1, mask);
    if (outcome === OUTCOME.OK) this.#allOffset += 1;
    return outcome;
  }

  /** Tell every channel of the threads in the mask that pushes by key or mid were missed. */
  gapDirect(mask: number): Outcome {
    return this.#writeGap(GAP_SCOPE.DIRECT, 0, 0, mask);
  }

  #writeGap(scope: GapScopeCode, roomNo: number, offset: number, mask: number): Outcome {
    const writer = this.#writer;
    const outcome = writer.claim(GAP_RECORD_BYTES);
    if (outcome !== OUTCOME.OK) return outcome;
    const { view, offset: start } = writer;
    view.setUint32(start + SUBJECT_OFFSET, roomNo, true);
    view.setUint32(start + SPEED_OFFSET, scope, true);
    view.setFloat64(start + OFFSET_OFFSET, offset, true);
    writer.commit(RAW_KIND.GAP, mask, GAP_RECORD_BYTES);
    return OUTCOME.OK;
  }

  #writePush(
    extraBytes: number,
    subject: number,
    speedPerSec: number,
    offset: number,
    op: number,
    body: Uint8Array,
    messageId: Uint8Array | undefined,
  ): Outcome {
    const writer = this.#writer;
    const packetBytes = PACKET_HEADER_BYTES + body.length;
    const outcome = writer.claim(INNER_OFFSET + packetBytes + extraBytes);
    if (outcome !== OUTCOME.OK) return outcome;
    const { view, bytes, offset: start } = writer;
    // A node that may not issue ids (its mark or lease is over) holds pushes back: FULL is what "later" looks like.
    if (messageId !== undefined) {
      for (let i = 0; i < MESSAGE_ID_BYTES; i++) bytes[start + MESSAGE_ID_OFFSET + i] = messageId[i]!;
    } else if (this.#ids.tryWriteTo(bytes, start + MESSAGE_ID_OFFSET) !== OUTCOME.OK) {
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
