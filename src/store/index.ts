/**
 * store: what the node keeps, behind ports: in this process's memory (`memory-*`), or in Redis for the whole cluster (`redis/`).
 */
export { FileSegmentStore, type FileSegmentStoreOptions } from './file-segment-store.js';
export { MemorySegmentStore } from './memory-segment-store.js';
export { MemorySessions } from './memory-sessions.js';
export { RedisIncrSource, type RedisIncrSourceOptions } from './redis/redis-id-incr.js';
export { RedisIdSegmentStore } from './redis/redis-id-segments.js';
export { RedisKeys } from './redis/redis-keys.js';
export { parseRedisUrl, type RedisClient, RedisLink, type RedisLinkOptions } from './redis/redis-link.js';
