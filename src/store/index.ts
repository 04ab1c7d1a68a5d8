/**
 * store: what the node keeps, behind ports: in this process's memory (`memory-*`), or in Redis for the whole cluster (`redis/`).
 */
export { MemorySessions } from './memory-sessions.js';
export { type BusGauges, RedisBus, type RedisBusOptions } from './redis/redis-bus.js';
export { RedisBusErrors } from './redis/redis-bus-errors.js';
export type { RoomRegistry } from './redis/redis-bus-rooms.js';
export { RedisInbox } from './redis/redis-inbox.js';
export { RedisKeys } from './redis/redis-keys.js';
export { parseRedisUrl, type RedisClient, RedisLink, type RedisLinkOptions } from './redis/redis-link.js';
export { RedisQueue, type RedisQueueGauges, type RedisQueueOptions } from './redis/redis-queue.js';
export { RedisQueueShards, type RedisQueueShardsOptions } from './redis/redis-queue-shards.js';
export { RedisRoomNodes } from './redis/redis-room-nodes.js';
