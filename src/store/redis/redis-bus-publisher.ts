/**
 * redis-bus-publisher: how a bus publishes. On a single server (and with Sentinel) the first message of a turn of the event loop is
 * a PUBLISH of its own and all others of that turn leave behind it as one script: a command costs the client more than a message
 * costs Redis. On Redis Cluster every message is a command, since channels live on different servers.
 *
 * Threads: control thread only.
 * Guarantees: order of the calls; each call is answered for itself. Messages of a script that got no answer may all have been
 *   published, or none. The script goes as text (EVAL), not by its hash: what has to be sent again, because Redis has forgotten a
 *   hash, would come behind what followed it.
 * Bound: none of its own; the caller counts what has no answer. A script has at most `MAX_COUNT` messages and about `MAX_BYTES`.
 * Hot path: publish(); bench/store/redis-bus.bench.ts.
 */
import { luaSource } from './lua-source.js';
import type { ChannelKind } from './redis-bus-subscriber.js';
import type { RedisLink } from './redis-link.js';

interface Waiting {
  readonly channel: string;
  readonly bytes: Buffer;
  readonly resolve: (receiverCount: number) => void;
  readonly reject: (error: unknown) => void;
}

/** Redis does nothing else while a script runs: so many take it about a millisecond. */
const MAX_COUNT = 256;
const MAX_BYTES = 1024 * 1024;

export class BusPublisher {
  readonly #link: Pick<RedisLink, 'commands' | 'isCluster'>;
  /** Without its comments: they would go with every batch. */
  readonly #source = luaSource(import.meta.url, 'redis-bus-publish.lua').replace(/^--.*\n/gm, '');
  #waiting: Waiting[] = [];
  /** A message of this turn has left. */
  #isTurnOpen = false;

  constructor(link: Pick<RedisLink, 'commands' | 'isCluster'>) {
    this.#link = link;
  }

  /** Resolves with the number of subscribers (on Cluster: of the server asked). Rejects where it may not have been published. */
  publish(kind: ChannelKind, channel: string, bytes: Uint8Array): Promise<number> {
    const { commands, isCluster } = this.#link;
    const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    if (kind === 'sharded') return commands.spublish(channel, buffer) as Promise<number>;
    if (isCluster) return commands.publish(channel, buffer);
    if (this.#isTurnOpen) {
      return new Promise((resolve, reject) => {
        this.#waiting.push({ channel, bytes: buffer, resolve, reject });
      });
    }
    this.#isTurnOpen = true;
    // Before the client's own, which sends what was collected: what this adds leaves with it.
    setImmediate(this.#endTurn);
    return commands.publish(channel, buffer);
  }

  readonly #endTurn = (): void => {
    this.#isTurnOpen = false;
    this.flush();
  };

  /** What waits for the end of the turn leaves now. */
  flush(): void {
    const waiting = this.#waiting;
    if (waiting.length === 0) return;
    this.#waiting = [];
    for (let first = 0; first < waiting.length; ) {
      let end = first;
      let sumBytes = 0;
      while (end < waiting.length && end - first < MAX_COUNT && sumBytes < MAX_BYTES) {
        sumBytes += waiting[end]!.bytes.length;
        end += 1;
      }
      this.#send(waiting.slice(first, end));
      first = end;
    }
  }

  #send(batch: readonly Waiting[]): void {
    const { commands } = this.#link;
    const [only] = batch;
    if (batch.length === 1 && only !== undefined) {
      commands.publish(only.channel, only.bytes).then(only.resolve, only.reject);
      return;
    }
    const args: (string | Buffer)[] = [];
    for (const { channel, bytes } of batch) args.push(channel, bytes);
    commands.eval(this.#source, 0, ...args).then(
      (counts) => {
        for (let index = 0; index < batch.length; index++) batch[index]!.resolve((counts as number[])[index] ?? 0);
      },
      (error: unknown) => {
        for (const { reject } of batch) reject(error);
      },
    );
  }
}
