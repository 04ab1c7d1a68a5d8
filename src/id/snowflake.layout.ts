/**
 * Where everything lies in the shared memory of a node's snowflakes, and which bit of an id means what.
 *
 * Layout of an id, 63 bits, big-endian on the wire, always positive as a signed 64-bit integer:
 *
 *    63 62                                      22 21         12 11            0
 *   +--+------------------------------------------+-------------+---------------+
 *   | 0| 41: ms since the id epoch (69 years)     | 10: machine | 12: sequence  |
 *   +--+------------------------------------------+-------------+---------------+
 *    \_________ high word (32) _______/\__________ low word (32) _______________/
 *
 * A *ticket* is an id without its machine: ms * 4,096 + sequence, 53 bits, so exactly what a double holds. A slot's whole
 * state is its last ticket, and drawing is: a greater ticket, stored before it is handed out.
 *
 * Layout of the memory: one header, then one slot per thread, each of 128 bytes: two cache lines, because the prefetcher
 * of current x86 processors fetches lines in pairs.
 *
 *   header  0 magic i32 | 4 slot count i32 | 8 machine base i32 | 12 control version i32 | 16 id epoch f64 | 24 limit f64
 *           32 block floor f64
 *   slot    0 last ticket f64 | 8 generation i32 | 12 machine id of the last ticket i32
 *
 * Tickets and the limit are doubles, stored whole: one aligned 8-byte move on every 64-bit target of V8, so never torn.
 */

/** 'HSNO': tells snowflake memory from any other SharedArrayBuffer handed over by mistake. */
export const SNOWFLAKE_MAGIC = 0x48534e4f;

export const MACHINE_ID_COUNT = 1024;
/**
 * Machine ids below are the nodes' own (56 blocks of 16), those from here up the id service's. So no id of the service ever equals
 * one of a node, whatever store, Redis or configuration either knows of, and whatever epoch each counts from.
 */
export const SERVICE_MACHINE_BASE = 896;
export const SEQUENCE_COUNT = 4096;
/** One past the last ticket: 2^41 ms of 4,096 ids. */
export const TICKET_END = 2 ** 53;

export const HEADER_BYTES = 128;
export const SLOT_BYTES = 128;

export const MAGIC_WORD = 0;
export const SLOT_COUNT_WORD = 1;
export const MACHINE_BASE_WORD = 2;
/**
 * Raised by CONTROL_CHANGE after every change of the limit and of a slot's generation: a draw compares this one word. It is odd
 * while the machine base is being exchanged, and nobody draws then.
 */
export const CONTROL_VERSION_WORD = 3;
export const CONTROL_CHANGE = 2;
/** Index into a Float64Array. Wall clock ms that id time 0 stands for; written once. */
export const EPOCH_DOUBLE = 2;
/** Index into a Float64Array. Wall clock ms that every id's own ms must lie before. */
export const LIMIT_DOUBLE = 3;
/** Index into a Float64Array. Wall clock ms that no id of the present machine base may lie before; 0 for none. */
export const BLOCK_FLOOR_DOUBLE = 4;

/** Index into a Float64Array of the last ticket of `slotIndex`. */
export function ticketDouble(slotIndex: number): number {
  return (HEADER_BYTES + slotIndex * SLOT_BYTES) / 8;
}

/** Index into an Int32Array of the generation of `slotIndex`: how many generators were made on the slot. */
export function generationWord(slotIndex: number): number {
  return (HEADER_BYTES + slotIndex * SLOT_BYTES) / 4 + 2;
}

/** Index into an Int32Array of the machine id that the last ticket of `slotIndex` was drawn under. */
export function ticketMachineWord(slotIndex: number): number {
  return (HEADER_BYTES + slotIndex * SLOT_BYTES) / 4 + 3;
}
