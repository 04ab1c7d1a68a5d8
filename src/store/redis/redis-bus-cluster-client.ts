/**
 * What the bus must know of ioredis' client of a Redis Cluster, and what that does not tell by itself: when the connection for
 * SUBSCRIBE is replaced, which channels its connections for SSUBSCRIBE have, and when a slot has left its master.
 *
 * Threads: control thread only.
 * Guarantees: from the moment the ordinary connection is replaced nothing of the earlier one is heard. ioredis ends it with
 *   `stream.end()` and goes on reading what the server still sends, while every master has what is published: without this
 *   a message that both servers had would be delivered twice (a foreign PUBLISH has no id to tell by).
 * Everything here is inside ioredis 6; where a later one has it no more, the probe finds late what is told here at once.
 */
import { Cluster, type Redis } from 'ioredis';
import type { RedisClient } from './redis-link.js';

interface Subscriptions {
  channels(kind: 'ssubscribe'): readonly string[];
}
interface OrdinaryConnection {
  getInstance?(): Redis | null;
  selectSubscriber?(): void;
  stop?(): void;
}
interface ClusterInside {
  readonly subscriber?: OrdinaryConnection;
  readonly subscriberGroupEmitter?: { on(event: 'moved', listener: () => void): void };
  readonly shardedSubscribers?: {
    readonly shardedSubscribers?: ReadonlyMap<
      string,
      { getInstance(): { readonly condition?: { readonly subscriber: Subscriptions | false } | null } | null }
    >;
  };
}

function insideOf(client: RedisClient | undefined): ClusterInside | undefined {
  return client instanceof Cluster ? (client as unknown as ClusterInside) : undefined;
}

/** The connection for SUBSCRIBE. undefined: not a cluster, or there is none now. */
export function ordinaryConnectionOf(client: RedisClient | undefined): Redis | undefined {
  return insideOf(client)?.subscriber?.getInstance?.() ?? undefined;
}

/** Never hear two connections for SUBSCRIBE at once. `onReplaced` when one has followed another, unless the client was stopped. */
export function guardOrdinaryConnection(client: RedisClient, onReplaced: () => void): void {
  const ordinary = insideOf(client)?.subscriber;
  const { selectSubscriber, stop } = ordinary ?? {};
  if (ordinary === undefined || selectSubscriber === undefined || stop === undefined) return;
  const connection = () => ordinary.getInstance?.() ?? undefined;
  ordinary.selectSubscriber = () => {
    const earlier = connection();
    // It reads the earlier one's channels before that is taken down.
    selectSubscriber.call(ordinary);
    if (earlier === undefined || earlier === connection()) return;
    silence(earlier);
    onReplaced();
  };
  ordinary.stop = () => {
    const earlier = connection();
    stop.call(ordinary);
    if (earlier !== undefined) silence(earlier);
  };
}

function silence(connection: Redis): void {
  connection.removeAllListeners('message');
  connection.removeAllListeners('messageBuffer');
  // Not only deaf: a server that is stuck would keep the subscription, and its buffers, until it notices.
  connection.stream?.destroy();
}

/** A server has taken channels away (SUNSUBSCRIBE, unasked), or refused one with MOVED. */
export function onSlotMoved(client: RedisClient, listener: () => void): void {
  insideOf(client)?.subscriberGroupEmitter?.on('moved', listener);
}

/** The sharded channels that servers have acknowledged and not taken back. undefined: it is not known. */
export function heldShardedChannels(client: RedisClient): ReadonlySet<string> | undefined {
  const group = insideOf(client)?.shardedSubscribers?.shardedSubscribers;
  if (group === undefined) return undefined;
  const held = new Set<string>();
  for (const sharded of group.values()) {
    const subscriptions = sharded.getInstance()?.condition?.subscriber;
    if (!subscriptions) continue;
    for (const channel of subscriptions.channels('ssubscribe')) held.add(channel);
  }
  return held;
}

/** Ask a server which master has which slot. Resolves when it has answered, or when none did. */
export function refreshSlots(client: RedisClient): Promise<void> {
  return new Promise((resolve) => {
    if (client instanceof Cluster) client.refreshSlotsCache(() => resolve());
    else resolve();
  });
}
