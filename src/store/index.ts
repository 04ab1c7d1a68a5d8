/**
 * store: what the node keeps, behind ports: in this process's memory (`memory-*`), or in Redis for the whole cluster (`redis/`).
 */

export { FileSegmentStore, type FileSegmentStoreOptions } from './file-segment-store.js';
export { type HistoryLog, historyEntry } from './history-log.js';
export { MemoryHistory, type MemoryHistoryOptions } from './memory-history.js';
export { MemorySegmentStore } from './memory-segment-store.js';
export { MemorySessions } from './memory-sessions.js';
export { type BusGauges, RedisBus, type RedisBusOptions } from './redis/redis-bus.js';
export { RedisBusErrors } from './redis/redis-bus-errors.js';
export type { RoomRegistry } from './redis/redis-bus-rooms.js';
export { RedisDeadLetters, RedisEventStream, type RedisEventsOptions } from './redis/redis-events.js';
export { RedisUserMarks } from './redis/redis-events-marks.js';
export { RedisHistory } from './redis/redis-history.js';
export { RedisIncrSource, type RedisIncrSourceOptions } from './redis/redis-id-incr.js';
export { RedisIdSegmentStore } from './redis/redis-id-segments.js';
export { RedisInbox } from './redis/redis-inbox.js';
export { RedisKeys } from './redis/redis-keys.js';
export { type RedisClient, RedisLink, type RedisLinkOptions, type RedisScript } from './redis/redis-link.js';
export { parseRedisUrl } from './redis/redis-link-url.js';
export {
  LeasedMachineIds,
  type MachineIdLoss,
  type MachineIdOptions,
} from './redis/redis-machine-ids.js';
export { type NodeReport, RedisNodes, type RedisNodesOptions } from './redis/redis-nodes.js';
export { RedisOnline, type RedisOnlineOptions } from './redis/redis-online.js';
export { RedisQueue, type RedisQueueGauges, type RedisQueueOptions } from './redis/redis-queue.js';
export { RedisQueueShards, type RedisQueueShardsOptions } from './redis/redis-queue-shards.js';
export { RedisRoomNodes } from './redis/redis-room-nodes.js';
export { RedisSessionMap } from './redis/redis-session-map.js';
export { RedisSessionSweeper, type RedisSessionSweeperOptions, SWEEP_PACE } from './redis/redis-session-sweeper.js';
export { type OwnSessions, RedisSessions, type RedisSessionsOptions } from './redis/redis-sessions.js';
