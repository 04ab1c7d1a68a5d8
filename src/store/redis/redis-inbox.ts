/**
 * The inbox stream of this node, reading side.
 *
 * Threads: control thread only.
 * Guarantees: an incarnation of the node has an inbox of its own, so a restart begins with an empty one. `open` tells whether the
 *   data behind it is still the same: its marker group goes with the data, and only with it.
 */
import { HalleyError } from '../../errors/index.js';
import type { InboxEntry, NodeInbox } from '../../push/index.js';
import type { RedisClient, RedisLink } from './redis-link.js';
import { decodeEntry, entriesOf } from './redis-queue-entry.js';
import { answeredWithin, INBOX_TTL_S } from './redis-queue-shards.js';
import { RedisScript } from './redis-script.js';

const MARKER_GROUP = 'reader';

export class RedisInbox implements NodeInbox {
  readonly #link: RedisLink;
  readonly #serverId: string;
  readonly #commandTimeoutMs: number;
  readonly #openScript = new RedisScript(import.meta.url, 'redis-inbox-open.lua');
  #blocking: RedisClient | undefined;

  /** @param commandTimeoutMs grace beyond a blocking read, after which its connection counts as stuck */
  constructor(link: RedisLink, serverId: string, commandTimeoutMs: number) {
    this.#link = link;
    this.#serverId = serverId;
    this.#commandTimeoutMs = commandTimeoutMs;
  }

  async open(nodeEpoch: number): Promise<{ readonly isNew: boolean; readonly lastEntryId: string }> {
    const key = this.#link.keys.inbox(this.#serverId, nodeEpoch);
    const reply = await this.#openScript.runRaw(this.#link.commands, [key], [MARKER_GROUP, INBOX_TTL_S]);
    const [isNew, lastEntryId] = reply as [number, Buffer];
    return { isNew: isNew === 1, lastEntryId: lastEntryId.toString('latin1') };
  }

  async read(nodeEpoch: number, afterId: string, maxCount: number, waitMs: number): Promise<readonly InboxEntry[]> {
    if (this.#blocking === undefined) {
      // While Redis is away every attempt would leave a connection behind that goes on trying.
      if (!this.#link.isUp) throw new HalleyError('REDIS_AWAY', 'Redis does not answer');
      this.#blocking = await this.#link.openBlocking();
    }
    const key = this.#link.keys.inbox(this.#serverId, nodeEpoch);
    const block = waitMs > 0 ? ['BLOCK', waitMs] : [];
    const call = this.#blocking.callBuffer('xread', ['COUNT', maxCount, ...block, 'STREAMS', key, afterId]);
    return entriesOf(await answeredWithin(this.#blocking, call, waitMs + this.#commandTimeoutMs)).map(decodeEntry);
  }

  async trim(nodeEpoch: number, entryId: string): Promise<void> {
    const [ms = '0', sequence = '0'] = entryId.split('-');
    const nextId = `${ms}-${Number(sequence) + 1}`;
    await this.#link.commands.xtrim(this.#link.keys.inbox(this.#serverId, nodeEpoch), 'MINID', nextId);
  }

  close(): void {
    this.#blocking?.disconnect();
    this.#blocking = undefined;
  }
}
