/**
 * store: what the node keeps, behind ports: in this process's memory (`memory-*`), or in Redis for the whole cluster (`redis/`).
 */
export { MemorySessions } from './memory-sessions.js';
export { RedisKeys } from './redis/redis-keys.js';
export { type RedisClient, RedisLink, type RedisLinkOptions, type RedisScript } from './redis/redis-link.js';
export { parseRedisUrl } from './redis/redis-link-url.js';
