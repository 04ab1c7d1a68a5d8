/**
 * Which rooms have members on this node, told to Redis for the jobs: with each room that opens, and all of them again after
 * Redis was away, lost its data, or counts this node under a new incarnation.
 *
 * Threads: control thread only.
 * Guarantees: what could not be told while Redis answers is told again a second later; what could not be told while it was away,
 *   by addAll() on its return.
 */
import type { RoomNodes } from '../push/index.js';
import type { RedisLink } from '../store/redis/index.js';
import type { Logger } from '../telemetry/index.js';

const ROOMS_PER_SLICE = 1_000;
const RETRY_MS = 1_000;

export class RoomRegistration {
  readonly #link: Pick<RedisLink, 'bounded' | 'isUp'>;
  readonly #roomNodes: Pick<RoomNodes, 'add'>;
  readonly #rooms: () => Iterable<string>;
  readonly #log: Logger;
  #retry: NodeJS.Timeout | undefined;
  #isClosed = false;

  /** @param rooms those with members here, now */
  constructor(
    link: Pick<RedisLink, 'bounded' | 'isUp'>,
    roomNodes: Pick<RoomNodes, 'add'>,
    rooms: () => Iterable<string>,
    log: Logger,
  ) {
    this.#link = link;
    this.#roomNodes = roomNodes;
    this.#rooms = rooms;
    this.#log = log;
  }

  /** Rejects where Redis could not be told; it is told later. */
  async add(room: string): Promise<void> {
    try {
      await this.#link.bounded(() => this.#roomNodes.add(room));
    } catch (error) {
      this.#log.debug({ err: error, room }, 'a room was not registered; all are again');
      this.#addAllLater();
      throw error;
    }
  }

  /** Resolves when all are told, or Redis is away again. */
  async addAll(): Promise<void> {
    const rooms = [...this.#rooms()];
    for (let start = 0; start < rooms.length && !this.#isClosed; start += ROOMS_PER_SLICE) {
      const slice = rooms.slice(start, start + ROOMS_PER_SLICE);
      const results = await Promise.allSettled(slice.map((room) => this.add(room)));
      if (results.some(({ status }) => status === 'rejected')) return;
    }
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#retry);
  }

  #addAllLater(): void {
    // Away: its return tells everything.
    if (this.#isClosed || !this.#link.isUp) return;
    this.#retry ??= setTimeout(() => {
      this.#retry = undefined;
      void this.addAll();
    }, RETRY_MS).unref();
  }
}
