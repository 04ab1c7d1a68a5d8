/**
 * An answer to recoveries as a finished op-24 packet: channels that miss the same, and ask while the room stands still, share one.
 *
 * Threads: its bucket.
 * Guarantees: an answer is current as long as the room stands where the answer ends: it then holds everything that was pushed
 *   to the room.
 */
import { OP, PACKET_HEADER_BYTES, writePacketHeader } from '../../protocol/index.js';
import type { RecoverStatus } from '../thread-messages.js';
import type { RoomShard } from './room-shard.js';

export class RecoveredAnswer {
  readonly status: RecoverStatus;
  /** Where the room stood, in this bucket, when the answer was read from the ring: nothing lies between the two. */
  readonly #epoch: number;
  readonly #endOffset: number;
  readonly #packet: Uint8Array;
  readonly #view: DataView;

  /** @param body copied */
  constructor(status: RecoverStatus, body: Uint8Array, shard: RoomShard | undefined) {
    this.status = status;
    this.#epoch = shard?.epoch ?? 0;
    this.#endOffset = shard?.lastOffset ?? 0;
    this.#packet = new Uint8Array(PACKET_HEADER_BYTES + body.length);
    this.#packet.set(body, PACKET_HEADER_BYTES);
    this.#view = new DataView(this.#packet.buffer);
  }

  /** Of the packet. */
  get byteLength(): number {
    return this.#packet.length;
  }

  isCurrent(shard: RoomShard): boolean {
    return shard.epoch === this.#epoch && shard.lastOffset === this.#endOffset;
  }

  /** The packet as the answer to one request. Valid until the next call. */
  packetFor(seq: number, ver: number): Uint8Array {
    writePacketHeader(this.#view, 0, this.#packet.length, ver, OP.RECOVER_REPLY, seq);
    return this.#packet;
  }
}
