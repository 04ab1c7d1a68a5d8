/**
 * The memory that a node's threads draw their ids from: how it is made, and the limit that its owner moves.
 *
 * Threads: any may read. The limit has one owner at a time: the high-water mark, or an IssueLimit where there are more promises.
 * Guarantees: no limit, no ids: memory that was just made refuses every draw until the owner has set one.
 */
import { HalleyError } from '../errors/index.js';
import {
  BLOCK_FLOOR_DOUBLE,
  CONTROL_CHANGE,
  CONTROL_VERSION_WORD,
  EPOCH_DOUBLE,
  HEADER_BYTES,
  LIMIT_DOUBLE,
  MACHINE_BASE_WORD,
  MACHINE_ID_COUNT,
  MAGIC_WORD,
  SEQUENCE_COUNT,
  SLOT_BYTES,
  SLOT_COUNT_WORD,
  SNOWFLAKE_MAGIC,
  ticketDouble,
  ticketMachineWord,
} from './snowflake.layout.js';

export interface SnowflakeOptions {
  /** Wall clock ms since 1970 that id time 0 stands for. The same on all nodes, for ever. */
  readonly epochMs: number;
  /** Machine id of slot 0; slot i has machineBase + i. A multiple of the block: slotCount rounded up to a power of two. */
  readonly machineBase: number;
  /** One slot per thread that draws, 1 to 1,024. */
  readonly slotCount: number;
}

/** Make the memory. Hand it to each worker; it lives as long as the process, so a slot outlives its threads. */
export function allocateSnowflake(options: SnowflakeOptions): SharedArrayBuffer {
  const { epochMs, machineBase, slotCount } = options;
  if (!Number.isSafeInteger(epochMs) || epochMs < 0) {
    throw new HalleyError('ID_BAD_OPTION', 'the id epoch is whole milliseconds since 1970', { epochMs });
  }
  if (!Number.isInteger(slotCount) || slotCount < 1 || slotCount > MACHINE_ID_COUNT) {
    throw new HalleyError('ID_BAD_OPTION', `a node has from 1 to ${MACHINE_ID_COUNT} id slots`, { slotCount });
  }
  requireAligned(machineBase, slotCount);
  const memory = new SharedArrayBuffer(HEADER_BYTES + slotCount * SLOT_BYTES);
  const words = new Int32Array(memory);
  words[SLOT_COUNT_WORD] = slotCount;
  words[MACHINE_BASE_WORD] = machineBase;
  for (let slotIndex = 0; slotIndex < slotCount; slotIndex++) {
    words[ticketMachineWord(slotIndex)] = machineBase + slotIndex;
  }
  const doubles = new Float64Array(memory);
  doubles[EPOCH_DOUBLE] = epochMs;
  doubles[LIMIT_DOUBLE] = Number.NEGATIVE_INFINITY;
  words[MAGIC_WORD] = SNOWFLAKE_MAGIC;
  return memory;
}

/**
 * Allow ids of the milliseconds before `limitMs` (wall clock, exclusive) and no others. Draws see it at once. Lowering
 * stops later milliseconds only: ids handed out stay valid, so an owner promises no more than it may keep.
 * Number.POSITIVE_INFINITY lifts the limit, for tools and tests that own every machine id.
 */
export function setIssueLimitMs(memory: SharedArrayBuffer, limitMs: number): void {
  if (Number.isNaN(limitMs)) throw new HalleyError('ID_BAD_OPTION', 'an issue limit is a time', { limitMs });
  const words = requireSnowflakeMemory(memory);
  new Float64Array(memory)[LIMIT_DOUBLE] = limitMs;
  // Pairs with the load in Snowflake#draw: who sees the new version sees the new limit.
  Atomics.add(words, CONTROL_VERSION_WORD, CONTROL_CHANGE);
}

/**
 * Give the slots other machine ids: their lease was lost and another block was taken. Ids of each slot go on rising: the
 * first one under the new base lies in a later millisecond than the last one under the old base.
 *
 * Draws must have been stopped by a limit of -Infinity. One that had passed that check before ends with an id of the old
 * base and of a millisecond below the old limit, which its owner has promised to nobody else.
 *
 * @param floorMs wall clock ms up to which an earlier owner may have issued ids of the new base; 0 for none
 */
export function changeMachineBase(memory: SharedArrayBuffer, machineBase: number, floorMs: number): void {
  const words = requireSnowflakeMemory(memory);
  const doubles = new Float64Array(memory);
  requireAligned(machineBase, words[SLOT_COUNT_WORD]!);
  if (doubles[LIMIT_DOUBLE] !== Number.NEGATIVE_INFINITY) {
    throw new HalleyError('ID_BAD_OPTION', 'machine ids are exchanged while no ids may be drawn', { machineBase });
  }
  if (!Number.isSafeInteger(floorMs) || floorMs < 0) {
    throw new HalleyError('ID_BAD_OPTION', 'the floor of a block is whole milliseconds since 1970', { floorMs });
  }
  // Both pair with the loads in Snowflake#readControl: odd says that what lies between is not to be read.
  Atomics.add(words, CONTROL_VERSION_WORD, 1);
  words[MACHINE_BASE_WORD] = machineBase;
  doubles[BLOCK_FLOOR_DOUBLE] = floorMs;
  Atomics.add(words, CONTROL_VERSION_WORD, 1);
}

/** Machine id of slot 0. */
export function machineBase(memory: SharedArrayBuffer): number {
  return requireSnowflakeMemory(memory)[MACHINE_BASE_WORD]!;
}

/**
 * Let no slot issue an id of a millisecond before `floorMs` (wall clock), whatever the clock says by the time of its
 * first draw. For the owner of the limit, before it sets one: slots are written here that their threads own later.
 */
export function raiseIssueFloorMs(memory: SharedArrayBuffer, floorMs: number): void {
  const words = requireSnowflakeMemory(memory);
  const doubles = new Float64Array(memory);
  if (doubles[LIMIT_DOUBLE] !== Number.NEGATIVE_INFINITY) {
    throw new HalleyError('ID_BAD_OPTION', 'the floor is raised before ids may be drawn', { floorMs });
  }
  const lastTicket = (floorMs - doubles[EPOCH_DOUBLE]!) * SEQUENCE_COUNT - 1;
  if (!Number.isSafeInteger(lastTicket)) {
    throw new HalleyError('ID_BAD_OPTION', 'the floor is within 41 bits of ms of the id epoch', { floorMs });
  }
  const slotCount = words[SLOT_COUNT_WORD]!;
  for (let slotIndex = 0; slotIndex < slotCount; slotIndex++) {
    doubles[ticketDouble(slotIndex)] = Math.max(lastTicket, doubles[ticketDouble(slotIndex)]!);
  }
}

/** The limit as it was set last; -Infinity before the first. */
export function issueLimitMs(memory: SharedArrayBuffer): number {
  requireSnowflakeMemory(memory);
  return new Float64Array(memory)[LIMIT_DOUBLE]!;
}

/**
 * The latest millisecond (wall clock) that any slot has drawn in, or the one before its floor, or the id epoch. It may
 * lie ahead of the wall clock after that was stepped back. A slot that draws meanwhile may be past it.
 */
export function highestIssuedMs(memory: SharedArrayBuffer): number {
  const words = requireSnowflakeMemory(memory);
  const doubles = new Float64Array(memory);
  const slotCount = words[SLOT_COUNT_WORD]!;
  let highestTicket = 0;
  for (let slotIndex = 0; slotIndex < slotCount; slotIndex++) {
    highestTicket = Math.max(highestTicket, doubles[ticketDouble(slotIndex)]!);
  }
  return doubles[EPOCH_DOUBLE]! + Math.floor(highestTicket / SEQUENCE_COUNT);
}

/** The memory's words, or an error if `memory` is not what allocateSnowflake made. */
export function requireSnowflakeMemory(memory: SharedArrayBuffer): Int32Array<SharedArrayBuffer> {
  const words = memory.byteLength >= HEADER_BYTES ? new Int32Array(memory) : undefined;
  if (words === undefined || words[MAGIC_WORD] !== SNOWFLAKE_MAGIC) {
    throw new HalleyError('ID_BAD_MEMORY', 'snowflakes are drawn from memory made by allocateSnowflake', {
      bytes: memory.byteLength,
    });
  }
  return words;
}

function requireAligned(machineBase: number, slotCount: number): void {
  const blockCount = 2 ** Math.ceil(Math.log2(slotCount));
  if (!Number.isInteger(machineBase / blockCount) || machineBase < 0 || machineBase >= MACHINE_ID_COUNT) {
    throw new HalleyError(
      'ID_BAD_OPTION',
      `machine ids are leased in aligned blocks: the base is a multiple of ${blockCount} below ${MACHINE_ID_COUNT}`,
      { machineBase, slotCount },
    );
  }
}
