/**
 * store: what the node keeps, behind ports: in this process's memory (`memory-*`), or in Redis for the whole cluster (`redis/`).
 */
export { MemorySessions } from './memory-sessions.js';
export { RedisDeadLetters, RedisEventStream, type RedisEventsOptions } from './redis/redis-events.js';
export { RedisUserMarks } from './redis/redis-events-marks.js';
export { RedisKeys } from './redis/redis-keys.js';
export { parseRedisUrl, type RedisClient, RedisLink, type RedisLinkOptions } from './redis/redis-link.js';
