/**
 * store: what the node keeps, behind ports: in this process's memory (`memory-*`), or in Redis for the whole cluster (`redis/`).
 */
export { MemorySessions } from './memory-sessions.js';
export { RedisKeys } from './redis/redis-keys.js';
export { parseRedisUrl, type RedisClient, RedisLink, type RedisLinkOptions } from './redis/redis-link.js';
export {
  LeasedMachineIds,
  type MachineIdLoss,
  type MachineIdOptions,
} from './redis/redis-machine-ids.js';
export { RedisOnline, type RedisOnlineOptions } from './redis/redis-online.js';
