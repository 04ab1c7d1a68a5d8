/**
 * id: numbers that are given out once.
 *
 * A **snowflake** is 41 bits of milliseconds, 10 of machine, 12 of sequence (`snowflake.layout.ts`). The control thread
 * makes one memory for the node (`allocateSnowflake`) and hands it to every thread; each thread draws from its own slot
 * through its own `Snowflake`, without locks. Ids rise strictly per slot, across slots only to about a millisecond:
 * order is an offset or a seq, never the id.
 *
 * Nothing is issued without a limit: every id's own millisecond must lie before the time that the owner of the machine
 * ids has promised to itself. Standalone that owner is `HighWaterMark` (a file in the data directory, renewed ahead of
 * need, waited past after a crash); in a cluster there is the lease of the machine ids beside it, and `IssueLimit` lets the
 * earlier of both promises count.
 *
 * `decodeSnowflake` takes an id apart; `cityHash32` is goim's hash of keys and rooms.
 *
 * Any server room may import this folder; it needs Node (files). The hot path starts at `Snowflake.tryWriteTo`.
 */
export { cityHash32 } from './city-hash.js';
export { decodeSnowflake, type SnowflakeParts } from './decode-snowflake.js';
export { HighWaterMark, type HighWaterMarkOptions } from './high-water-mark.js';
export { IssueLimit } from './issue-limit.js';
export { machineToken } from './machine-token.js';
export { Snowflake } from './snowflake.js';
export {
  allocateSnowflake,
  changeMachineBase,
  highestIssuedMs,
  issueLimitMs,
  machineBase,
  raiseIssueFloorMs,
  type SnowflakeOptions,
  setIssueLimitMs,
} from './snowflake-memory.js';
