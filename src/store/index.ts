/**
 * store: what the node keeps, behind ports: in this process's memory (`memory-*`), or in Redis for the whole cluster (`redis/`).
 */
export { MemorySessions } from './memory-sessions.js';
export { RedisKeys } from './redis/redis-keys.js';
export { type RedisClient, RedisLink, type RedisLinkOptions, type RedisScript } from './redis/redis-link.js';
export { parseRedisUrl } from './redis/redis-link-url.js';
export { type NodeReport, RedisNodes, type RedisNodesOptions } from './redis/redis-nodes.js';
export { RedisSessionMap } from './redis/redis-session-map.js';
export { RedisSessionSweeper, type RedisSessionSweeperOptions, SWEEP_PACE } from './redis/redis-session-sweeper.js';
export { type OwnSessions, RedisSessions, type RedisSessionsOptions } from './redis/redis-sessions.js';
