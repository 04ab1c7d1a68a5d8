/**
 * Who is online. `OnlineCounts` answers for the whole cluster, from memory: standalone it is this node's comet
 * (`logic/online-local.ts`), with Redis `store/redis/redis-online.ts`, which gets what this node has from an `OnlineSource`.
 */
import type { RoomCount } from './comet.port.js';

/** One node's part of the totals. */
export interface NodeOnline {
  readonly serverId: string;
  readonly isLocal: boolean;
  readonly connCount: number;
  /** Distinct remote addresses on that node. */
  readonly ipCount: number;
  /** Rooms with members there. */
  readonly roomCount: number;
}

/** Nothing here waits: remote parts are a second or two old, the local part is right at once. */
export interface OnlineCounts {
  /** Members of a room in the cluster; 0 for an unknown room. */
  roomCount(room: string): number;
  /** Of those, the ones on this node. */
  localRoomCount(room: string): number;
  /**
   * Every room of the cluster with members whose id begins with `prefix`, in no particular order. The iterator may be used over
   * several turns of the loop: a room is then counted as it was in its turn.
   */
  roomCounts(prefix: string): Iterable<RoomCount>;
  connectionCount(): number;
  /** Distinct addresses per node, added up: one that is on two nodes counts twice, as in goim. */
  ipCount(): number;
  /** This node first. */
  nodes(): readonly NodeOnline[];
}

/** What the comet tells about its rooms, and what it wants to know of the others. Control thread. */
export interface OnlineSource {
  /** Members of a room on this node. */
  roomCount(room: string): number;
  /** Every room of this node with at least one member. The iterator may be used over several turns of the loop. */
  roomCounts(): Iterable<RoomCount>;
  connectionCount(): number;
  ipCount(): number;
  /**
   * Visit rooms whose members may have changed since they were visited last, with the number as it is now (0: emptied), about
   * `maxCount` of them. A room may be visited twice.
   *
   * @returns how many were visited, or `overflow`: more rooms came and went than could be kept in mind, so tell all again
   */
  takeChanges(maxCount: number, visit: (room: string, count: number) => void): number | 'overflow';
  /** Members of a room on other nodes. False: the room is not open on this node, and the number is ignored. */
  setRemote(room: string, count: number): boolean;
  /** Asked for the members on other nodes whenever a room opens on this node. */
  onOpened(remoteCount: (room: string) => number): void;
}
