/** What takes `PUBLISH halley:push` on a node of a cluster, made from its parts. */
import { randomUUID } from 'node:crypto';
import type { HistoryRules } from '../config/index.js';
import type { Snowflake } from '../id/index.js';
import { type BusInlet, HistoryIntake, PushIntake } from '../job/index.js';
import { RedisBusErrors, RedisHistoryLedger, type RedisLink, type RedisNodes } from '../store/redis/index.js';
import type { Logger } from '../telemetry/index.js';

export interface PushIntakeWiring {
  readonly messageMaxBytes: number;
  /** Bounds of what rooms with history may hold back. */
  readonly bounds: { readonly maxCount: number; readonly maxBytes: number };
  readonly rules: HistoryRules;
  readonly link: RedisLink;
  readonly nodes: RedisNodes;
  readonly inlet: BusInlet;
  readonly ids: Snowflake;
  readonly liveNodeCount: () => number;
  readonly log: Logger;
}

export interface WiredPushIntake {
  readonly intake: PushIntake;
  /** undefined: no room has history. */
  readonly history: HistoryIntake | undefined;
}

export function wirePushIntake(wiring: PushIntakeWiring): WiredPushIntake {
  const { messageMaxBytes, bounds, rules, link, nodes, inlet, ids, liveNodeCount, log } = wiring;
  const history = rules.isEmpty
    ? undefined
    : new HistoryIntake(bounds, {
        ledger: new RedisHistoryLedger(link, rules),
        directory: nodes,
        writer: `${nodes.serverId}/${randomUUID()}`,
        ids,
        log,
      });
  const intake = new PushIntake(messageMaxBytes, {
    inlet,
    errors: new RedisBusErrors(link, log),
    liveNodeCount,
    ...(history === undefined
      ? {}
      : {
          history: {
            hasHistory: (room) => rules.hasHistory(room),
            take: (room, op, body, hash) => history.take(room, op, body, hash),
            missed: () => history.missed(),
          },
        }),
  });
  return { intake, history };
}
