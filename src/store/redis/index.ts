/**
 * store/redis: the adapters of a cluster on Redis, each beside its `.lua`. `redis-link.ts` opens the connections and bounds every
 * command, `redis-keys.ts` has every name. Loaded only by nodes that have `redis` configured, on the control thread.
 */

export { RedisBus, type RedisBusOptions } from './redis-bus.js';
export { RedisBusErrors } from './redis-bus-errors.js';
export type { BusGauges } from './redis-bus-gauges.js';
export type { RoomRegistry } from './redis-bus-rooms.js';
export { RedisDeadLetters, RedisEventStream, type RedisEventsOptions } from './redis-events.js';
export { RedisUserMarks } from './redis-events-marks.js';
export { RedisHistory } from './redis-history.js';
export { RedisHistoryLedger } from './redis-history-ledger.js';
export { RedisIncrSource, type RedisIncrSourceOptions } from './redis-id-incr.js';
export { RedisIdSegmentStore } from './redis-id-segments.js';
export { RedisInbox } from './redis-inbox.js';
export { RedisKeys } from './redis-keys.js';
export { type RedisClient, RedisLink, type RedisLinkOptions, type RedisScript } from './redis-link.js';
export { parseRedisUrl } from './redis-link-url.js';
export {
  declareFirstLease,
  LeasedMachineIds,
  type MachineIdLoss,
  type MachineIdOptions,
} from './redis-machine-ids.js';
export { type NodeReport, RedisNodes, type RedisNodesOptions } from './redis-nodes.js';
export { RedisOnline, type RedisOnlineOptions } from './redis-online.js';
export { RedisQueue, type RedisQueueGauges, type RedisQueueOptions } from './redis-queue.js';
export { type QueueDepth, readQueueDepth } from './redis-queue-depth.js';
export { RedisQueueShards, type RedisQueueShardsOptions } from './redis-queue-shards.js';
export { RedisRoomNodes } from './redis-room-nodes.js';
export { RedisSessionMap } from './redis-session-map.js';
export { RedisSessionSweeper, type RedisSessionSweeperOptions, SWEEP_PACE } from './redis-session-sweeper.js';
export { type OwnSessions, RedisSessions, type RedisSessionsOptions } from './redis-sessions.js';
