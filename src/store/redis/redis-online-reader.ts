/**
 * redis-online-reader: follows what every other live node tells of who is online there, into the aggregate.
 *
 *   nothing known of a node, or batches missed -> load (its hash, in pages) -> follow (its stream, from the batch of the hash)
 *   gone from the directory -> its part is taken out
 *
 * Threads: control thread only; one read() at a time.
 * Guarantees: counts in batches are absolute, so a batch that is read twice, or a page that is newer than its batch number,
 *   does no harm; a gap in the numbers is noticed and mended by a load. Work per second: a read per node, and the changes.
 */
import type { NodeDirectory } from '../../push/index.js';
import type { RedisLink } from './redis-link.js';
import { NodePart, type OnlineAggregate } from './redis-online-aggregate.js';

/** Batches per read, of up to 1,000 rooms each. */
const READ_ENTRIES = 32;
/** Rooms per page of a load, about. */
const PAGE_ROOMS = 1_000;
/** Entry fields before the rooms: f flags, c connections, i addresses. */
const ENTRY_HEADER = 6;

interface FollowedNode {
  readonly nodeEpoch: number;
  seq: number;
  /** False: a load was begun and Redis did not answer to its end. */
  isLoaded: boolean;
  readonly part: NodePart;
}

type Entry = readonly [id: string, fields: readonly string[]];

export class RedisOnlineReader {
  readonly #link: RedisLink;
  readonly #directory: NodeDirectory;
  readonly #aggregate: OnlineAggregate;
  readonly #nodes = new Map<string, FollowedNode>();
  #loadCount = 0;

  constructor(link: RedisLink, directory: NodeDirectory, aggregate: OnlineAggregate) {
    this.#link = link;
    this.#directory = directory;
    this.#aggregate = aggregate;
  }

  /** Server ids with what they have, as far as anything is known of them. */
  *parts(): Generator<readonly [serverId: string, part: NodePart]> {
    for (const [serverId, { part }] of this.#nodes) yield [serverId, part];
  }

  /** How often everything of a node was read: once per node and incarnation, and after gaps. */
  get loadCount(): number {
    return this.#loadCount;
  }

  /** A node incarnation is gone: nobody is online there any more. */
  forget(serverId: string, nodeEpoch: number): void {
    const node = this.#nodes.get(serverId);
    if (node?.nodeEpoch !== nodeEpoch) return;
    this.#nodes.delete(serverId);
    this.#aggregate.clear(node.part);
  }

  /** Catch up with every live node. Rejects where Redis did not answer; what was read until then counts. */
  async read(): Promise<void> {
    const live = new Map(this.#directory.live().map(({ serverId, nodeEpoch }) => [serverId, nodeEpoch]));
    live.delete(this.#directory.serverId);
    for (const [serverId, { nodeEpoch }] of this.#nodes) {
      if (!live.has(serverId)) this.forget(serverId, nodeEpoch);
    }
    const results = await Promise.allSettled([...live].map(([serverId, epoch]) => this.#catchUp(serverId, epoch)));
    for (const result of results) if (result.status === 'rejected') throw result.reason;
  }

  /** @param liveEpoch incarnation that the directory knows: only what that one tells counts */
  async #catchUp(serverId: string, liveEpoch: number): Promise<void> {
    const known = this.#nodes.get(serverId);
    if (known !== undefined && known.nodeEpoch !== liveEpoch) this.forget(serverId, known.nodeEpoch);
    let node = this.#nodes.get(serverId);
    if (node?.isLoaded !== true) node = await this.#load(serverId, liveEpoch, node);
    while (node !== undefined) {
      const entries = await this.#readEntries(serverId, node);
      // A loss was told meanwhile.
      if (this.#nodes.get(serverId) !== node) return;
      const isWhole = entries.every((entry) => this.#apply(node as FollowedNode, entry));
      if (!isWhole) node = await this.#load(serverId, liveEpoch, node);
      else if (entries.length < READ_ENTRIES) return;
    }
  }

  async #readEntries(serverId: string, { nodeEpoch, seq }: FollowedNode): Promise<readonly Entry[]> {
    const log = this.#link.keys.online(serverId, ':log');
    const reply = await this.#link.commands.xread('COUNT', READ_ENTRIES, 'STREAMS', log, `${nodeEpoch}-${seq}`);
    return reply?.[0]?.[1] ?? [];
  }

  /** False: batches before this one were missed, or it is another incarnation's. */
  #apply(node: FollowedNode, [id, fields]: Entry): boolean {
    const dash = id.indexOf('-');
    const nodeEpoch = Number(id.slice(0, dash));
    const seq = Number(id.slice(dash + 1));
    const flags = fields[1] ?? '';
    const isAnew = flags.includes('r');
    if (nodeEpoch !== node.nodeEpoch || (seq !== node.seq + 1 && !isAnew)) return false;
    node.seq = seq;
    node.part.connCount = Number(fields[3]);
    node.part.ipCount = Number(fields[5]);
    if (isAnew) this.#aggregate.unconfirm(node.part);
    for (let at = ENTRY_HEADER; at + 1 < fields.length; at += 2) {
      this.#aggregate.set(node.part, fields[at] as string, Number(fields[at + 1]));
    }
    if (flags.includes('c')) this.#aggregate.confirmed(node.part);
    return true;
  }

  /**
   * Read everything of a node. Undefined: there is nothing to follow, since it has not told anything yet.
   *
   * @param former what is known of it; counts on until the load has replaced it
   */
  async #load(
    serverId: string,
    liveEpoch: number,
    former: FollowedNode | undefined,
  ): Promise<FollowedNode | undefined> {
    const { keys, commands } = this.#link;
    const [epoch, seq, conn, ip] = await commands.hmget(keys.online(serverId), 'epoch', 'seq', 'conn', 'ip');
    if (former !== undefined && this.#nodes.get(serverId) !== former) return undefined;
    // This incarnation has told nothing yet, or Redis has lost it: its next batches will begin anew.
    if (epoch == null || seq == null || Number(epoch) !== liveEpoch) return undefined;
    this.#loadCount += 1;
    const node: FollowedNode = {
      nodeEpoch: Number(epoch),
      seq: Number(seq),
      isLoaded: false,
      part: former?.part ?? new NodePart(),
    };
    node.part.connCount = Number(conn);
    node.part.ipCount = Number(ip);
    this.#nodes.set(serverId, node);
    this.#aggregate.unconfirm(node.part);
    const rooms = keys.online(serverId, ':rooms');
    let cursor = '0';
    do {
      const [next, page] = await commands.hscan(rooms, cursor, 'COUNT', PAGE_ROOMS);
      if (this.#nodes.get(serverId) !== node) return undefined;
      cursor = next;
      for (let at = 0; at + 1 < page.length; at += 2) {
        this.#aggregate.set(node.part, page[at] as string, Number(page[at + 1]));
      }
    } while (cursor !== '0');
    this.#aggregate.confirmed(node.part);
    node.isLoaded = true;
    return node;
  }
}
