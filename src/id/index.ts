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
 * The other schemes stand beside it behind one port, `IdGenerator`: **Sonyflake**, **UUID** 4 and 7 draw from clock and chance;
 * **segment**, **offset** (multi-master) and **Redis INCR** are a `RangeGenerator` over a source of ranges; **rule** prints a
 * segment's numbers by a template. Ranges lie in a `SegmentStore`, whose adapters are in store/. A machine id comes from a
 * `MachineIdSource` or is leased; `MachineClaim` sees to it that nobody else has it.
 *
 * `decodeSnowflake` takes an id apart; `cityHash32` is goim's hash of keys and rooms.
 *
 * Any server room may import this folder; it needs Node (files). The hot path starts at `Snowflake.tryWriteTo`.
 */

export { luhnDigitOf, mod97After, mod97RemainderOf } from './check-digit.js';
export { cityHash32 } from './city-hash.js';
export { decodeSnowflake, type SnowflakeParts } from './decode-snowflake.js';
export { drawId, drawIds } from './draw-id.js';
export { HighWaterMark, type HighWaterMarkOptions } from './high-water-mark.js';
export type { IdGenerator, IdParts, IdScheme } from './id-generator.port.js';
export { COUNTED_ID_END, MAX_MANY_COUNT } from './id-value.js';
export type { IssueGate } from './issue-gate.js';
export { IssueLimit } from './issue-limit.js';
export { MachineClaim, type MachineClaimOptions } from './machine-claim.js';
export {
  type MachineIdSource,
  type MachineIdSpan,
  resolveMachineId,
  SERVICE_SNOWFLAKE_MACHINES,
  SONYFLAKE_MACHINES,
} from './machine-id.js';
export { machineToken } from './machine-token.js';
export { type GrowOptions, growMasters, type OffsetNote, type OffsetStage } from './offset-plan.js';
export { OffsetSource, type OffsetSourceOptions } from './offset-source.js';
export { RangeGenerator, type RangeGeneratorOptions, type RangeParts } from './range-generator.js';
export type { IdRange, RangeSource } from './range-source.port.js';
export { RuleGenerator, type RuleOptions, type RuleParts } from './rule-generator.js';
export { firstVersionOf, requireContent, requireTag, requireTake } from './segment-record.js';
export { raiseCounter, SegmentSource, type SegmentSourceOptions } from './segment-source.js';
export type { SegmentContent, SegmentGrant, SegmentRecord, SegmentStore } from './segment-store.port.js';
export { Snowflake } from './snowflake.js';
export { SERVICE_MACHINE_BASE } from './snowflake.layout.js';
export { snowflakeGate } from './snowflake-gate.js';
export { SnowflakeGenerator } from './snowflake-generator.js';
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
export { Sonyflake, type SonyflakeParts } from './sonyflake.js';
export {
  allocateSonyflake,
  type SonyflakeOptions,
  sonyflakeGate,
} from './sonyflake-memory.js';
export { UuidV4, type UuidV4Parts } from './uuid-v4.js';
export { UuidV7, type UuidV7Parts } from './uuid-v7.js';
