/**
 * The memory behind one machine id's sonyflakes: its last ticket survives the thread that draws, and the owner of the machine id
 * reaches the generator through it.
 *
 * Layout of an id, 63 bits, big-endian on the wire:
 *
 *    63 62                                    24 23          16 15              0
 *   +--+----------------------------------------+--------------+-----------------+
 *   | 0| 39: units of 10 ms since the id epoch  | 8: sequence  | 16: machine     |
 *   +--+----------------------------------------+--------------+-----------------+
 *
 * A ticket is an id without its machine: tick * 256 + sequence, 47 bits, exact in a double.
 *
 * Layout of the memory: 0 magic i32 | 4 machine id i32 | 8 control version i32 | 12 generation i32 | 16 epoch f64 | 24 limit f64
 *   | 32 last ticket f64
 *
 * Threads: any may read; one owner moves the limit, one generator at a time the ticket.
 * Guarantees: no limit, no ids: fresh memory refuses every draw until its owner has set one.
 */
import { HalleyError } from '../errors/index.js';
import type { IssueGate } from './issue-gate.js';

/** 'HSON'. */
const MAGIC = 0x48534f4e;
const MEMORY_BYTES = 128;
const MAGIC_WORD = 0;

export const SONYFLAKE_MACHINE_COUNT = 65_536;
export const SONYFLAKE_SEQUENCE_COUNT = 256;
export const SONYFLAKE_TICK_MS = 10;
/** One past the last ticket: 2^39 ticks, 174 years. */
export const SONYFLAKE_TICKET_END = 2 ** 47;
export const SONYFLAKE_MACHINE_WORD = 1;
export const SONYFLAKE_CONTROL_WORD = 2;
export const SONYFLAKE_GENERATION_WORD = 3;
/** Indexes into a Float64Array. */
export const SONYFLAKE_EPOCH_DOUBLE = 2;
export const SONYFLAKE_LIMIT_DOUBLE = 3;
export const SONYFLAKE_TICKET_DOUBLE = 4;

export interface SonyflakeOptions {
  /** Wall clock ms since 1970 that id time 0 stands for, a multiple of 10. The same on all machines, for ever. */
  readonly epochMs: number;
  /** 0 to 65,535, no other generator's. */
  readonly machineId: number;
}

/** Make the memory for one machine id. Hand it to the thread that draws; it lives as long as the process. */
export function allocateSonyflake({ epochMs, machineId }: SonyflakeOptions): SharedArrayBuffer {
  if (!Number.isSafeInteger(epochMs) || epochMs < 0 || epochMs % SONYFLAKE_TICK_MS !== 0) {
    throw new HalleyError('ID_BAD_OPTION', 'the id epoch of sonyflakes is milliseconds since 1970, a multiple of 10', {
      epochMs,
    });
  }
  if (!Number.isInteger(machineId) || machineId < 0 || machineId >= SONYFLAKE_MACHINE_COUNT) {
    throw new HalleyError('ID_BAD_OPTION', `a machine id is from 0 to ${SONYFLAKE_MACHINE_COUNT - 1}`, { machineId });
  }
  const memory = new SharedArrayBuffer(MEMORY_BYTES);
  const words = new Int32Array(memory);
  const doubles = new Float64Array(memory);
  words[SONYFLAKE_MACHINE_WORD] = machineId;
  doubles[SONYFLAKE_EPOCH_DOUBLE] = epochMs;
  doubles[SONYFLAKE_LIMIT_DOUBLE] = Number.NEGATIVE_INFINITY;
  // Ticket 0 is never issued: it is the mark of a slot that has issued nothing.
  doubles[SONYFLAKE_TICKET_DOUBLE] = 0;
  words[MAGIC_WORD] = MAGIC;
  return memory;
}

/** The memory's words, or an error if `memory` is not what allocateSonyflake made. */
export function requireSonyflakeMemory(memory: SharedArrayBuffer): Int32Array<SharedArrayBuffer> {
  const words = memory.byteLength === MEMORY_BYTES ? new Int32Array(memory) : undefined;
  if (words === undefined || words[MAGIC_WORD] !== MAGIC) {
    throw new HalleyError('ID_BAD_MEMORY', 'sonyflakes are drawn from memory made by allocateSonyflake', {
      bytes: memory.byteLength,
    });
  }
  return words;
}

/** The gate that the owner of the machine id moves. */
export function sonyflakeGate(memory: SharedArrayBuffer): IssueGate {
  const words = requireSonyflakeMemory(memory);
  const doubles = new Float64Array(memory);
  const epochMs = doubles[SONYFLAKE_EPOCH_DOUBLE]!;
  return {
    raiseFloorMs(floorMs) {
      if (doubles[SONYFLAKE_LIMIT_DOUBLE] !== Number.NEGATIVE_INFINITY) {
        throw new HalleyError('ID_BAD_OPTION', 'the floor is raised before ids may be drawn', { floorMs });
      }
      const lastTicket = Math.ceil((floorMs - epochMs) / SONYFLAKE_TICK_MS) * SONYFLAKE_SEQUENCE_COUNT - 1;
      if (!(lastTicket < SONYFLAKE_TICKET_END)) {
        throw new HalleyError('ID_BAD_OPTION', 'the floor is within 39 bits of 10 ms of the id epoch', {
          floorMs,
          epochMs,
        });
      }
      doubles[SONYFLAKE_TICKET_DOUBLE] = Math.max(lastTicket, doubles[SONYFLAKE_TICKET_DOUBLE]!);
    },
    setLimitMs(limitMs) {
      if (Number.isNaN(limitMs)) throw new HalleyError('ID_BAD_OPTION', 'an issue limit is a time', { limitMs });
      doubles[SONYFLAKE_LIMIT_DOUBLE] = limitMs;
      // Pairs with the load in Sonyflake#draw: who sees the new version sees the new limit.
      Atomics.add(words, SONYFLAKE_CONTROL_WORD, 1);
    },
    highestIssuedMs() {
      const tick = Math.floor(doubles[SONYFLAKE_TICKET_DOUBLE]! / SONYFLAKE_SEQUENCE_COUNT);
      return epochMs + tick * SONYFLAKE_TICK_MS + SONYFLAKE_TICK_MS - 1;
    },
  };
}
