/**
 * Which nodes have members of a room: hash `halley:r:{room}:nodes`, server id -> `nodeEpoch:memberCount`.
 *
 * Threads: control thread only.
 * Guarantees: calls of one turn leave in one write (the link pipelines them), so a burst of joins costs one round trip. add() and
 *   remove() of one room are carried out one after the other. An entry
 *   is removed only by its own incarnation or by who knows it dead: a later incarnation of a server is never touched.
 */
import { DiscardCounter } from '../../errors/index.js';
import type { NodeDirectory, NodeRef, RoomNodes } from '../../push/index.js';
import type { RedisLink } from './redis-link.js';
import { RedisScript } from './redis-script.js';

export class RedisRoomNodes implements RoomNodes {
  readonly discarded = new DiscardCounter();
  readonly #link: RedisLink;
  readonly #self: Pick<NodeDirectory, 'serverId' | 'nodeEpoch'>;
  readonly #removeScript = new RedisScript(import.meta.url, 'redis-room-nodes-remove.lua');
  /** The newest add() or remove() of each room that is under way. */
  readonly #turns = new Map<string, Promise<void>>();

  constructor(link: RedisLink, self: Pick<NodeDirectory, 'serverId' | 'nodeEpoch'>) {
    this.#link = link;
    this.#self = self;
  }

  add(room: string, memberCount = 1): Promise<void> {
    return this.#inTurn(room, async () => {
      const { serverId, nodeEpoch } = this.#self;
      await this.#link.commands.hset(this.#link.keys.room(room, 'nodes'), serverId, `${nodeEpoch}:${memberCount}`);
    });
  }

  remove(room: string): Promise<void> {
    return this.#inTurn(room, () => this.#remove(room, [this.#self]));
  }

  async nodesOf(rooms: readonly string[]): Promise<readonly (readonly NodeRef[])[]> {
    const { commands, keys } = this.#link;
    const hashes = await Promise.all(rooms.map((room) => commands.hgetall(keys.room(room, 'nodes'))));
    return hashes.map((hash) =>
      Object.entries(hash).map(([serverId, value]) => ({ serverId, nodeEpoch: Number.parseInt(value, 10) })),
    );
  }

  sweep(room: string, dead: readonly NodeRef[]): void {
    if (dead.length === 0) return;
    // What stays is ignored again and swept the next time.
    this.#remove(room, dead).catch((error: unknown) => this.discarded.ignore(error, 'room nodes not swept'));
  }

  /** A script that Redis does not know yet is sent twice, and its second time would come behind an add() right after it. */
  #inTurn(room: string, job: () => Promise<void>): Promise<void> {
    const before = this.#turns.get(room);
    // What failed before is its own caller's.
    const turn = before === undefined ? job() : before.then(job, job);
    this.#turns.set(room, turn);
    const end = () => {
      if (this.#turns.get(room) === turn) this.#turns.delete(room);
    };
    turn.then(end, end);
    return turn;
  }

  async #remove(room: string, nodes: readonly NodeRef[]): Promise<void> {
    const args = nodes.flatMap(({ serverId, nodeEpoch }) => [serverId, nodeEpoch]);
    await this.#removeScript.runRaw(this.#link.commands, [this.#link.keys.room(room, 'nodes')], args);
  }
}
