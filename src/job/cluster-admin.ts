/**
 * ClusterAdmin: the administrative calls of CometPort (disconnect, join, leave) for channels of any node. The nodes that have the
 * channels are asked over the bus and answer with how many they found.
 *
 * Threads: control thread only.
 * Guarantees: resolves only when every node asked has answered; otherwise rejects, because a count that leaves a node out
 *   would be a false success. Nodes that answered have done it all the same.
 */
import { HalleyError } from '../errors/index.js';
import type { BusNodeMessage } from '../protocol/index.js';
import type {
  ChannelSelector,
  ClusterBus,
  ClusterSessions,
  CometPort,
  DisconnectAdvice,
  Session,
} from '../push/index.js';

type Admin = Pick<CometPort, 'disconnect' | 'joinRooms' | 'leaveRooms'>;

export interface ClusterAdminParts {
  readonly bus: ClusterBus;
  readonly sessions: Pick<ClusterSessions, 'byKeys' | 'byMids'>;
  /** This node's own comet. */
  readonly comet: Admin;
  /** Longest wait for the answers of other nodes. */
  readonly deadlineMs: number;
}

interface Asked {
  readonly resolve: (count: number) => void;
}

export class ClusterAdmin implements Admin {
  readonly #parts: ClusterAdminParts;
  readonly #asked = new Map<number, Asked>();
  #requestId = 0;

  constructor(parts: ClusterAdminParts) {
    this.#parts = parts;
  }

  /** @throws HalleyError NODE_NO_ANSWER, REDIS_AWAY */
  disconnect(channels: ChannelSelector, advice: DisconnectAdvice): Promise<number> {
    return this.#ask(
      channels,
      (own) => this.#parts.comet.disconnect(own, advice),
      (requestId, { keys, mids }) => ({ kind: 'disconnect', requestId, keys, mids, advice }),
    );
  }

  /** @throws HalleyError NODE_NO_ANSWER, REDIS_AWAY */
  joinRooms(channels: ChannelSelector, rooms: readonly string[]): Promise<number> {
    return this.#ask(
      channels,
      (own) => this.#parts.comet.joinRooms(own, rooms),
      (requestId, { keys, mids }) => ({ kind: 'join', requestId, keys, mids, rooms }),
    );
  }

  /** @throws HalleyError NODE_NO_ANSWER, REDIS_AWAY */
  leaveRooms(channels: ChannelSelector, rooms: readonly string[]): Promise<number> {
    return this.#ask(
      channels,
      (own) => this.#parts.comet.leaveRooms(own, rooms),
      (requestId, { keys, mids }) => ({ kind: 'leave', requestId, keys, mids, rooms }),
    );
  }

  /** An answer that the bus brought. One that nobody waits for any more is dropped. */
  answered(requestId: number, count: number): void {
    this.#asked.get(requestId)?.resolve(count);
  }

  async #ask(
    channels: ChannelSelector,
    askOwn: (own: ChannelSelector) => number | Promise<number>,
    messageOf: (requestId: number, channels: ChannelSelector) => BusNodeMessage,
  ): Promise<number> {
    const { bus, sessions } = this.#parts;
    // This node knows its own channels without Redis, those that Redis has not been told of included.
    const own = Promise.resolve(askOwn(channels));
    const [byKey, byMid] = await Promise.all([
      channels.keys.length > 0 ? sessions.byKeys(channels.keys) : [],
      channels.mids.length > 0 ? sessions.byMids(channels.mids) : [],
      own,
    ]);
    const serverIds = new Set([...byKey, ...byMid].filter(isSession).map(({ serverId }) => serverId));
    serverIds.delete(bus.serverId);
    const counts = await Promise.all([
      own,
      ...[...serverIds].map((serverId) => this.#askNode(serverId, (requestId) => messageOf(requestId, channels))),
    ]);
    return counts.reduce((sum, count) => sum + count, 0);
  }

  #askNode(serverId: string, messageOf: (requestId: number) => BusNodeMessage): Promise<number> {
    const { bus, deadlineMs } = this.#parts;
    this.#requestId += 1;
    const requestId = this.#requestId;
    return new Promise<number>((resolve, reject) => {
      const fail = (cause?: unknown) =>
        reject(new HalleyError('NODE_NO_ANSWER', 'a node did not answer in time', { serverId, deadlineMs }, cause));
      const timer = setTimeout(() => fail(), deadlineMs);
      this.#asked.set(requestId, {
        resolve: (count) => {
          clearTimeout(timer);
          resolve(count);
        },
      });
      bus.publishNode(serverId, messageOf(requestId)).then(undefined, (error: unknown) => {
        clearTimeout(timer);
        fail(error);
      });
    }).finally(() => this.#asked.delete(requestId));
  }
}

function isSession(session: Session | undefined): session is Session {
  return session !== undefined;
}
