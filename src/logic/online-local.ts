/**
 * online-local: who is online where this node is the whole cluster: straight from the comet, right when the request that
 * changed it has been answered.
 */
import type { CometPort, NodeOnline, OnlineCounts, RoomCount } from '../push/index.js';

export class LocalOnline implements OnlineCounts {
  readonly #comet: CometPort;
  readonly #serverId: string;

  constructor(comet: CometPort, serverId: string) {
    this.#comet = comet;
    this.#serverId = serverId;
  }

  roomCount(room: string): number {
    return this.#comet.roomCount(room);
  }

  localRoomCount(room: string): number {
    return this.#comet.roomCount(room);
  }

  *roomCounts(prefix: string): Generator<RoomCount> {
    for (const one of this.#comet.roomCounts()) if (one.room.startsWith(prefix)) yield one;
  }

  connectionCount(): number {
    return this.#comet.connectionCount();
  }

  ipCount(): number {
    return this.#comet.ipCount();
  }

  nodes(): readonly NodeOnline[] {
    let roomCount = 0;
    for (const { count } of this.#comet.roomCounts()) if (count > 0) roomCount += 1;
    const connCount = this.connectionCount();
    return [{ serverId: this.#serverId, isLocal: true, connCount, ipCount: this.ipCount(), roomCount }];
  }
}
