/**
 * ClusterPusher: the Pusher of a node that is one of many. Rooms go to the room's channel, keys and mids to the nodes that have
 * them, all to every node; this node gets its own share over the same way, so that one order holds for everyone.
 *
 * Threads: control thread only.
 * Guarantees: **at most once**. `ok` means: it will be published, in the order of the calls over all targets (on Redis Cluster
 *   per channel, since channels live on different servers). A publish that fails in flight, and a push whose lookup fails, is
 *   lost for those it was meant for as far as this node can know (Redis may have carried it out), counted in `lostCount` and
 *   logged, and they are told a Gap when Redis answers again: `ok` is followed by the message or by a Gap. In a room with
 *   history what never got a place leaves no hole: the Gap then ends at the offset where the room stands.
 *   Who cannot lose a push uses the durable queue. `full`: nobody got it, because Redis is away, the bounds are reached, or this
 *   node may not draw ids just now (its machine id's lease, `id.lease_ms`, was not renewed in time); the gauges and the log say which.
 *   Lookups of keys and mids run ahead in parallel; nothing overtakes. Bound: `maxCount` messages and `maxBytes` bytes,
 *   counted until Redis has answered.
 * Hot path: push() of a room: one envelope, one promise; commands of one turn leave in one write (bench/store/redis-bus.bench.ts).
 */
import { OUTCOME, type Outcome } from '../errors/index.js';
import {
  type ClusterBus,
  type ClusterSessions,
  type GapScope,
  PUSH_OUTCOME,
  type PushCommand,
  type Pusher,
  type PushOutcome,
  type RefusalListener,
  type RoomAppender,
  type Session,
} from '../push/index.js';
import { type Logger, type StormGuard, stormGuard } from '../telemetry/index.js';
import { DrainWaiters } from './drain-waiters.js';
import { Fifo } from './fifo.js';
import { commandBytes, type JobGauges } from './job-queue.js';
import { shareOf } from './push-intake.js';
import { requireBounds } from './queue-bounds.js';

export interface ClusterPusherOptions {
  /** Most messages that wait or are under way, 1 or more; a push to n rooms is n. */
  readonly maxCount: number;
  /** Most bytes that wait or are under way, 1 or more. */
  readonly maxBytes: number;
  /** A larger body is answered `too_large`. */
  readonly messageMaxBytes: number;
}

export interface ClusterPusherParts {
  readonly bus: ClusterBus;
  readonly sessions: Pick<ClusterSessions, 'byKeys' | 'byMids'>;
  /** Message ids, drawn once here so that every node delivers the same. */
  readonly ids: { tryWriteTo(bytes: Uint8Array, offset: number): Outcome };
  /** Nodes that take clients: the speed of a push to all is divided by it. */
  readonly liveNodeCount: () => number;
  /** For rooms with history; without it no room has any. */
  readonly history?: { readonly hasHistory: (room: string) => boolean; readonly appender: RoomAppender };
  readonly log: Logger;
}

/** Starts what leaves for one push. */
interface Send {
  readonly start: () => Promise<unknown>;
  /** Whom to tell where it fails; undefined: the bus does. */
  readonly scope: GapScope | undefined;
}

export interface ClusterPusherGauges extends JobGauges {
  /** Of the rejected ones: Redis did not answer. */
  readonly awayCount: number;
  /** Of the rejected ones: this node might not draw ids. */
  readonly idsStoppedCount: number;
}

interface Entry {
  readonly command: PushCommand;
  readonly count: number;
  readonly bytes: number;
  /** undefined: the lookup is under way. Empty: nobody is online. */
  sends: readonly Send[] | undefined;
}

const MESSAGE_ID_BYTES = 8;
/** Keys or mids of one envelope: what a node writes into one ring record stays small. */
const TARGETS_PER_ENVELOPE = 1_000;
const NOTHING: readonly Send[] = [];

export class ClusterPusher implements Pusher {
  readonly #options: ClusterPusherOptions;
  readonly #parts: ClusterPusherParts;
  readonly #log: StormGuard;
  readonly #waiting = new Fifo<Entry>();
  readonly #drainWaiters = new DrainWaiters();
  /** Waiting and under way. */
  #heldCount = 0;
  #heldBytes = 0;
  #lostCount = 0;
  #rejectedCount = 0;
  #awayCount = 0;
  #idsStoppedCount = 0;
  #isClosed = false;

  constructor(options: ClusterPusherOptions, parts: ClusterPusherParts) {
    requireBounds(options, ['maxCount', 'maxBytes', 'messageMaxBytes']);
    this.#options = options;
    this.#parts = parts;
    this.#log = stormGuard({ target: parts.log, nowMs: () => performance.now() });
  }

  push(command: PushCommand, onRefused?: RefusalListener): PushOutcome {
    if (this.#isClosed) return PUSH_OUTCOME.CLOSED;
    const { maxCount, maxBytes, messageMaxBytes } = this.#options;
    if (command.body.byteLength > messageMaxBytes) return PUSH_OUTCOME.TOO_LARGE;
    const { target } = command;
    const rooms = target.kind === 'rooms' ? distinct(target.rooms) : undefined;
    const count = rooms?.length ?? 1;
    if (count === 0) return PUSH_OUTCOME.OK;
    // Each room has an envelope of its own with the body in it.
    const bytes = commandBytes(command) + (count - 1) * command.body.byteLength;
    if (count > maxCount || bytes > maxBytes) return PUSH_OUTCOME.TOO_LARGE;
    if (!this.#parts.bus.isUp) {
      this.#awayCount += 1;
      return this.#reject('Redis does not answer', count, bytes, onRefused);
    }
    if (this.#heldCount + count > maxCount || this.#heldBytes + bytes > maxBytes) {
      const held = `messages=${this.#heldCount} maxMessages=${maxCount} bytes=${this.#heldBytes} maxBytes=${maxBytes}`;
      const reason = `too much waits for an answer of Redis (queue.max_messages, queue.max_bytes): ${held}`;
      return this.#reject(reason, count, bytes, onRefused);
    }
    const ids = this.#drawIds(command, count);
    if (ids === undefined) {
      this.#idsStoppedCount += 1;
      const reason = 'no ids may be drawn: the lease of the machine id or its mark on disk is late (id.lease_ms)';
      return this.#reject(reason, count, bytes, onRefused);
    }
    const entry: Entry = { command, count, bytes, sends: undefined };
    this.#heldCount += count;
    this.#heldBytes += bytes;
    this.#waiting.append(entry);
    if (rooms !== undefined) entry.sends = rooms.map((room, index) => this.#toRoom(room, command, ids, index));
    else if (target.kind === 'all') entry.sends = [this.#toAll(command, target.speedPerSec, ids)];
    else void this.#lookUp(entry, ids);
    this.#publishReady();
    return PUSH_OUTCOME.OK;
  }

  gauges(): ClusterPusherGauges {
    return {
      awayCount: this.#awayCount,
      idsStoppedCount: this.#idsStoppedCount,
      queuedCount: this.#heldCount,
      queuedBytes: this.#heldBytes,
      lostCount: this.#lostCount,
      rejectedCount: this.#rejectedCount,
    };
  }

  /**
   * Wait until everything accepted has been answered by Redis. New pushes are still accepted meanwhile.
   * @param timeoutMs 0: answer with the present state
   * @returns false when `timeoutMs` passed before
   */
  drain(timeoutMs: number): Promise<boolean> {
    if (this.#heldCount === 0) return Promise.resolve(true);
    return this.#drainWaiters.wait(timeoutMs);
  }

  /** Answer `closed` from now on and drop what waits for a lookup (counted as lost). May be called again. */
  close(): void {
    this.#isClosed = true;
    for (let entry = this.#waiting.peek(); entry !== undefined; entry = this.#waiting.peek()) {
      this.#waiting.removeFirst();
      this.#lostCount += entry.count;
      this.#release(entry);
    }
    this.#log.flush();
  }

  #reject(reason: string, count: number, bytes: number, onRefused: RefusalListener | undefined): PushOutcome {
    this.#rejectedCount += 1;
    onRefused?.(reason);
    const { maxCount, maxBytes } = this.#options;
    const held = { heldCount: this.#heldCount, heldBytes: this.#heldBytes };
    this.#log.logger.warn({ reason, count, bytes, ...held, maxCount, maxBytes }, 'a push to the cluster was refused');
    return PUSH_OUTCOME.FULL;
  }

  /** `count` ids in a row; undefined: this node may not issue ids now. */
  #drawIds(command: PushCommand, count: number): Uint8Array | undefined {
    const ids = new Uint8Array(count * MESSAGE_ID_BYTES);
    for (let index = 0; index < count; index++) {
      if (command.messageId !== undefined) ids.set(command.messageId, index * MESSAGE_ID_BYTES);
      else if (this.#parts.ids.tryWriteTo(ids, index * MESSAGE_ID_BYTES) !== OUTCOME.OK) return undefined;
    }
    return ids;
  }

  #toRoom(room: string, { op, body, place }: PushCommand, ids: Uint8Array, index: number): Send {
    const messageId = ids.subarray(index * MESSAGE_ID_BYTES, (index + 1) * MESSAGE_ID_BYTES);
    const { bus, history } = this.#parts;
    if (history?.hasHistory(room) === true) {
      const start = () => {
        bus.flush();
        // Not repeated: what came behind it may have its place already.
        return history.appender.append(room, op, body, messageId);
      };
      return { start, scope: { kind: 'room', room } };
    }
    const message = { kind: 'room', op, body, messageId, ...(place === undefined ? {} : { place }) } as const;
    return { start: () => bus.publishRoom(room, message), scope: undefined };
  }

  #toAll({ op, body }: PushCommand, speedPerSec: number, messageId: Uint8Array): Send {
    const { bus, liveNodeCount } = this.#parts;
    const start = () =>
      bus.publishAll({ kind: 'all', op, body, messageId, speedPerSec: shareOf(speedPerSec, liveNodeCount()) });
    return { start, scope: undefined };
  }

  async #lookUp(entry: Entry, messageId: Uint8Array): Promise<void> {
    try {
      entry.sends = await this.#toNodes(entry.command, messageId);
    } catch (error) {
      // Whoever it was meant for: nobody knows where that is.
      this.#lose(error, entry.count, entry.command, { kind: 'direct' });
      entry.sends = NOTHING;
    }
    this.#publishReady();
  }

  async #toNodes({ target, op, body }: PushCommand, messageId: Uint8Array): Promise<readonly Send[]> {
    const { bus, sessions } = this.#parts;
    const sends: Send[] = [];
    if (target.kind === 'keys') {
      const found = await sessions.byKeys(distinct(target.keys));
      const ignoresWatchSet = target.ignoresWatchSet === true;
      for (const [serverId, keys] of byNode(found, ({ key }) => key)) {
        const message = { kind: 'keys', keys, ignoresWatchSet, op, body, messageId } as const;
        sends.push({ start: () => bus.publishNode(serverId, message), scope: undefined });
      }
    } else if (target.kind === 'mids') {
      const found = await sessions.byMids(distinct(target.mids));
      for (const [serverId, mids] of byNode(found, ({ mid }) => mid)) {
        const message = { kind: 'mids', mids, op, body, messageId } as const;
        sends.push({ start: () => bus.publishNode(serverId, message), scope: undefined });
      }
    }
    return sends;
  }

  /** Publish from the head on, as far as lookups are done. */
  #publishReady(): void {
    for (let entry = this.#waiting.peek(); entry?.sends !== undefined; entry = this.#waiting.peek()) {
      this.#waiting.removeFirst();
      this.#publish(entry, entry.sends);
    }
  }

  #publish(entry: Entry, sends: readonly Send[]): void {
    let leftCount = sends.length;
    if (leftCount === 0) {
      this.#release(entry);
      return;
    }
    const settled = () => {
      leftCount -= 1;
      if (leftCount === 0) this.#release(entry);
    };
    for (const { start, scope } of sends) {
      start().then(settled, (error: unknown) => {
        this.#lose(error, 1, entry.command, scope);
        settled();
      });
    }
  }

  #release({ count, bytes }: Entry): void {
    this.#heldCount -= count;
    this.#heldBytes -= bytes;
    if (this.#heldCount === 0) this.#drainWaiters.settleAll(true);
  }

  #lose(error: unknown, count: number, { target, op }: PushCommand, scope: GapScope | undefined): void {
    this.#lostCount += count;
    if (scope !== undefined) this.#parts.bus.mayBeLost(scope);
    this.#log.logger.warn(
      { reason: reasonOf(error), target: target.kind, op, count },
      'a push to the cluster may be lost; whom it was for is told a Gap',
    );
  }
}

function distinct<T>(values: readonly T[]): readonly T[] {
  return values.length > 1 ? [...new Set(values)] : values;
}

/** What goes to each node, in portions of one envelope. A session that is not there is nobody's. */
function* byNode<T>(
  sessions: readonly (Session | undefined)[],
  nameOf: (session: Session) => T,
): Generator<readonly [serverId: string, names: readonly T[]]> {
  const namesByNode = new Map<string, Set<T>>();
  for (const session of sessions) {
    if (session === undefined) continue;
    const names = namesByNode.get(session.serverId);
    if (names === undefined) namesByNode.set(session.serverId, new Set([nameOf(session)]));
    else names.add(nameOf(session));
  }
  for (const [serverId, names] of namesByNode) {
    const all = [...names];
    for (let index = 0; index < all.length; index += TARGETS_PER_ENVELOPE) {
      yield [serverId, all.slice(index, index + TARGETS_PER_ENVELOPE)];
    }
  }
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
