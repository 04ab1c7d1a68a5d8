/**
 * The gate by which the owner of a machine id (MachineClaim) moves what snowflakes of a memory may be issued: the counterpart of
 * `sonyflakeGate`. Not for a node's own memory, whose limit belongs to its high-water mark and lease.
 */
import type { IssueGate } from './issue-gate.js';
import { highestIssuedMs, raiseIssueFloorMs, setIssueLimitMs } from './snowflake-memory.js';

/** @param memory made by allocateSnowflake; its issue limit belongs to the caller */
export function snowflakeGate(memory: SharedArrayBuffer): IssueGate {
  return {
    raiseFloorMs: (floorMs) => raiseIssueFloorMs(memory, floorMs),
    setLimitMs: (limitMs) => setIssueLimitMs(memory, limitMs),
    highestIssuedMs: () => highestIssuedMs(memory),
  };
}
