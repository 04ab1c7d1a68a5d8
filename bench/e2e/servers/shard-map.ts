/**
 * Which worker holds which key and members of which room: what lets the main thread of the threaded uWS peer post to the
 * workers concerned only.
 *
 * Threads: main thread of the peer, told by its workers.
 */
export type ShardChange = readonly [kind: 'key' | 'room', name: string, isHere: boolean];

export class ShardMap {
  readonly #workerCount: number;
  readonly #workerByKey = new Map<string, number>();
  readonly #membersByRoom = new Map<string, number[]>();

  constructor(workerCount: number) {
    this.#workerCount = workerCount;
  }

  apply(worker: number, [kind, name, isHere]: ShardChange): void {
    if (kind === 'key') {
      if (isHere) this.#workerByKey.set(name, worker);
      else if (this.#workerByKey.get(name) === worker) this.#workerByKey.delete(name);
      return;
    }
    let members = this.#membersByRoom.get(name);
    if (members === undefined) {
      members = new Array<number>(this.#workerCount).fill(0);
      this.#membersByRoom.set(name, members);
    }
    members[worker]! += isHere ? 1 : -1;
  }

  /** Call `visit` with each worker that holds the key or a member of the room. */
  visitHolders(target: string, visit: (worker: number) => void): void {
    const worker = this.#workerByKey.get(target);
    if (worker !== undefined) {
      visit(worker);
      return;
    }
    const members = this.#membersByRoom.get(target);
    if (members === undefined) return;
    for (let index = 0; index < members.length; index++) if (members[index]! > 0) visit(index);
  }
}
