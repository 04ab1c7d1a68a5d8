/**
 * store: what the node keeps, behind ports: in this process's memory (`memory-*`), or in Redis for the whole cluster (`redis/`).
 */
export { type HistoryLog, historyEntry } from './history-log.js';
export { MemoryHistory, type MemoryHistoryOptions } from './memory-history.js';
export { MemorySessions } from './memory-sessions.js';
export { RedisHistory } from './redis/redis-history.js';
export { RedisKeys } from './redis/redis-keys.js';
export { parseRedisUrl, type RedisClient, RedisLink, type RedisLinkOptions } from './redis/redis-link.js';
