/** The job of a node of a cluster: what drains the durable queue, made from its parts. */
import type { Config } from '../config/index.js';
import { JobRunner } from '../job/index.js';
import { PUSH_OUTCOME } from '../push/index.js';
import {
  type RedisHistory,
  type RedisLink,
  type RedisNodes,
  RedisQueueShards,
  type RedisRoomNodes,
  type RedisSessions,
} from '../store/redis/index.js';
import type { Logger } from '../telemetry/index.js';

export interface JobWiring {
  readonly config: Config;
  readonly link: RedisLink;
  readonly nodes: RedisNodes;
  readonly sessions: RedisSessions;
  readonly history: RedisHistory;
  readonly roomNodes: RedisRoomNodes;
  readonly log: Logger;
  /** Its stream is gone, with what was in it. */
  readonly onShardLost: (shard: number) => void;
}

const MAX_SOURCE_ATTEMPTS = 3;

export function newJobRunner(wiring: JobWiring): JobRunner {
  const { config, link, nodes, sessions, history, roomNodes, log, onShardLost } = wiring;
  const { stream, cluster } = config;
  return new JobRunner(
    {
      shards: new RedisQueueShards(link, {
        shardCount: stream.shards,
        serverId: nodes.serverId,
        carefulAttemptCount: Math.min(MAX_SOURCE_ATTEMPTS, stream.max_attempts),
        commandTimeoutMs: cluster.command_timeout_ms,
      }),
      directory: nodes,
      sessions,
      roomNodes,
      appender: {
        keepsHistory: (room) => history.hasHistory(room),
        append: async (room, command) => {
          if (command.messageId === undefined) return PUSH_OUTCOME.TOO_LARGE;
          await history.append(room, command.op, command.body, command.messageId);
          return PUSH_OUTCOME.OK;
        },
      },
      unsettled: () => nodes.unsettled,
      log,
      onQueueLost: onShardLost,
    },
    {
      leaseMs: stream.lease_ms,
      batchCount: stream.batch,
      maxAgeMs: stream.max_age_s * 1000,
      maxAttemptsCount: stream.max_attempts,
      inboxMaxCount: stream.inbox_max,
    },
  );
}
