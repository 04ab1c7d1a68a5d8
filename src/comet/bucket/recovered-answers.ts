/**
 * The newest answers to recoveries, as finished op-24 packets: channels that miss the same, and ask while the room stands
 * still, share one, whether they ask in the same turn or within `KEEP_MS`.
 *
 * Threads: its bucket.
 * Guarantees: an answer is current as long as the room stands where the answer ends: it then holds everything that was pushed
 *   to the room. Bounds: `MAX_COUNT` answers and `MAX_BYTES` bytes, each for `KEEP_MS`.
 */
import { OP, PACKET_HEADER_BYTES, writePacketHeader } from '../../protocol/index.js';
import type { RecoverStatus } from '../thread-messages.js';
import type { RoomShard } from './room-shard.js';

/** A message may be handed out for so long after the rule of its room would have forgotten it. */
const KEEP_MS = 1_000;
const MAX_COUNT = 64;
const MAX_BYTES = 8 * 1024 * 1024;

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

  get packetBytes(): number {
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

export class RecoveredAnswers {
  readonly #byKey = new Map<string, RecoveredAnswer>();
  #bytes = 0;
  #timer: NodeJS.Timeout | undefined;

  /** The answer to the same question, where the room still stands at its end. */
  current(key: string, shard: RoomShard): RecoveredAnswer | undefined {
    const answer = this.#byKey.get(key);
    if (answer === undefined || answer.isCurrent(shard)) return answer;
    this.#remove(key, answer);
    return undefined;
  }

  keep(key: string, answer: RecoveredAnswer): void {
    if (answer.packetBytes > MAX_BYTES) return;
    const known = this.#byKey.get(key);
    if (known !== undefined) this.#remove(key, known);
    this.#byKey.set(key, answer);
    this.#bytes += answer.packetBytes;
    for (const [oldKey, old] of this.#byKey) {
      if (this.#byKey.size <= MAX_COUNT && this.#bytes <= MAX_BYTES) break;
      this.#remove(oldKey, old);
    }
    // One timer for all: what came later is asked for once more, which costs one answer.
    this.#timer ??= setTimeout(() => this.clear(), KEEP_MS).unref();
  }

  clear(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#byKey.clear();
    this.#bytes = 0;
  }

  #remove(key: string, answer: RecoveredAnswer): void {
    this.#byKey.delete(key);
    this.#bytes -= answer.packetBytes;
  }
}
