/**
 * How much each channel may send: token buckets for packets and for bytes, kept as numbers in typed arrays by the channel's
 * slot. Off, there is no object of this class and no memory.
 *
 * A heartbeat (op 2, as short as its body may be) costs nothing, once a second; what comes oftener, or is larger, is a packet
 * like any other, since a free operation would be the hole in the limit.
 *
 * Threads: its bucket.
 * Memory: 16 bytes per slot for each of the two limits that is on, and 8 more for the heartbeat; grows with the slots in use.
 * Hot path: take(), one call per packet where a limit is on. Allocates only when the slots grow.
 */
import { OP } from '../../protocol/index.js';

export interface PacketRatesOptions {
  /** 0: no limit. */
  readonly packetsPerSec: number;
  readonly packetsBurst: number;
  /** 0: no limit. */
  readonly bytesPerSec: number;
  readonly bytesBurst: number;
}

const HEARTBEAT_MAX_BYTES = 16 + 4;
const HEARTBEAT_FREE_MS = 1000;
const MIN_SLOTS = 1024;
/** Tokens are kept in thousandths, as in token-bucket.ts. */
const TOKEN = 1000;
const NO_ROWS = new Float64Array(0);

/** One limit of all channels. */
class Buckets {
  readonly #perMs: number;
  readonly #burst: number;
  #tokens = NO_ROWS;
  #atMs = NO_ROWS;

  constructor(perSec: number, burst: number) {
    this.#perMs = perSec;
    this.#burst = burst * TOKEN;
  }

  grow(slotCount: number): void {
    this.#tokens = grown(this.#tokens, slotCount);
    this.#atMs = grown(this.#atMs, slotCount);
  }

  fill(slot: number, nowMs: number): void {
    this.#tokens[slot] = this.#burst;
    this.#atMs[slot] = nowMs;
  }

  /** Let time pass for the slot. True: `cost` tokens are there. */
  has(slot: number, cost: number, nowMs: number): boolean {
    const passedMs = Math.max(0, nowMs - this.#atMs[slot]!);
    this.#atMs[slot] = nowMs;
    const tokens = Math.min(this.#burst, this.#tokens[slot]! + passedMs * this.#perMs);
    this.#tokens[slot] = tokens;
    return tokens >= cost * TOKEN;
  }

  spend(slot: number, cost: number): void {
    this.#tokens[slot]! -= cost * TOKEN;
  }
}

export class PacketRates {
  readonly #packets: Buckets | undefined;
  readonly #bytes: Buckets | undefined;
  #heartbeatAtMs = NO_ROWS;
  /** Whose numbers stand in a slot: the serial of its channel. */
  #serials = NO_ROWS;

  constructor(options: PacketRatesOptions) {
    const { packetsPerSec, packetsBurst, bytesPerSec, bytesBurst } = options;
    this.#packets = packetsPerSec > 0 ? new Buckets(packetsPerSec, packetsBurst) : undefined;
    this.#bytes = bytesPerSec > 0 ? new Buckets(bytesPerSec, bytesBurst) : undefined;
  }

  /**
   * Account for one packet.
   *
   * @param slot of the channel, 0 or above
   * @param serial of the channel; a new one begins with full buckets
   * @returns false: above the limit, nothing was taken
   */
  take(slot: number, serial: number, op: number, packetBytes: number, nowMs: number): boolean {
    if (slot >= this.#serials.length) this.#grow(slot);
    if (this.#serials[slot] !== serial) {
      this.#serials[slot] = serial;
      this.#packets?.fill(slot, nowMs);
      this.#bytes?.fill(slot, nowMs);
      this.#heartbeatAtMs[slot] = Number.NEGATIVE_INFINITY;
    }
    if (op === OP.HEARTBEAT && packetBytes <= HEARTBEAT_MAX_BYTES) {
      if (nowMs - this.#heartbeatAtMs[slot]! >= HEARTBEAT_FREE_MS) {
        this.#heartbeatAtMs[slot] = nowMs;
        return true;
      }
    }
    const packets = this.#packets;
    const bytes = this.#bytes;
    if (packets !== undefined && !packets.has(slot, 1, nowMs)) return false;
    if (bytes !== undefined && !bytes.has(slot, packetBytes, nowMs)) return false;
    packets?.spend(slot, 1);
    bytes?.spend(slot, packetBytes);
    return true;
  }

  #grow(slot: number): void {
    const slotCount = Math.max(MIN_SLOTS, (slot + 1) * 2);
    this.#serials = grown(this.#serials, slotCount);
    this.#heartbeatAtMs = grown(this.#heartbeatAtMs, slotCount);
    this.#packets?.grow(slotCount);
    this.#bytes?.grow(slotCount);
  }
}

function grown(rows: Float64Array<ArrayBuffer>, slotCount: number): Float64Array<ArrayBuffer> {
  const larger = new Float64Array(slotCount);
  larger.set(rows);
  return larger;
}
