/**
 * Topics for sockets that uWS does not own (TCP, SSE, long-poll): who is subscribed to what, in JS. A publish walks the
 * members; what a transport must do to the bytes once per publish (strip, encode) the door does before the walk.
 *
 * Threads: its bucket.
 * Guarantees: a socket may be closed, and others may subscribe or leave, inside the walk; who leaves is not visited
 *   afterwards.
 * Hot path: membersOf().
 */
export class LoopTopics<Socket extends object> {
  readonly #members = new Map<string, Set<Socket>>();
  readonly #topics = new Map<Socket, Set<string>>();

  get topicCount(): number {
    return this.#members.size;
  }

  /** Returns false where it was subscribed already. */
  subscribe(socket: Socket, topic: string): boolean {
    let topics = this.#topics.get(socket);
    if (topics === undefined) {
      topics = new Set();
      this.#topics.set(socket, topics);
    }
    if (topics.has(topic)) return false;
    topics.add(topic);
    const members = this.#members.get(topic);
    if (members === undefined) this.#members.set(topic, new Set([socket]));
    else members.add(socket);
    return true;
  }

  /** Returns false where it was not subscribed. */
  unsubscribe(socket: Socket, topic: string): boolean {
    const topics = this.#topics.get(socket);
    if (topics === undefined || !topics.delete(topic)) return false;
    if (topics.size === 0) this.#topics.delete(socket);
    this.#leave(socket, topic);
    return true;
  }

  /** The socket is gone. */
  leaveAll(socket: Socket): void {
    const topics = this.#topics.get(socket);
    if (topics === undefined) return;
    this.#topics.delete(socket);
    for (const topic of topics) this.#leave(socket, topic);
  }

  /** The subscribers of a topic; undefined where it has none. */
  membersOf(topic: string): ReadonlySet<Socket> | undefined {
    return this.#members.get(topic);
  }

  #leave(socket: Socket, topic: string): void {
    const members = this.#members.get(topic);
    members?.delete(socket);
    if (members?.size === 0) this.#members.delete(topic);
  }
}
