/**
 * The comet's half on the control thread: connects and disconnects from the buckets, the sequencer, and `CometPort` for
 * job and logic.
 *
 * Threads: control thread only.
 * Guarantees: a session is stored and its rooms are opened before the bucket hears of it, and both in the order of the
 *   bucket's requests; what belonged to a bucket that died is gone before its successor is ready.
 */
import type { ThreadRuntime } from '../actor/index.js';
import type { Clock } from '../clock/index.js';
import { CLOSE, OUTCOME, type Outcome } from '../errors/index.js';
import {
  type ChannelSelector,
  type CometPort,
  type DisconnectAdvice,
  PUSH_OUTCOME,
  type PushCommand,
  type Pusher,
  type PushOutcome,
  type PushTarget,
  type RoomCount,
  type RoomPlace,
  type Session,
} from '../push/index.js';
import type { MemorySessions } from '../store/index.js';
import { type Logger, METRIC, type ThreadCounters } from '../telemetry/index.js';
import { RAW_KIND } from './push-record.layout.js';
import { RecordLink } from './record-link.js';
import type { RoomCounts } from './room-counts.js';
import { RoomRecovery, type RoomRecoveryOptions } from './room-recovery.js';
import type { DirectTargets, Sequencer } from './sequencer.js';
import {
  type BucketMessage,
  CONNECT_STATUS,
  type ConnectMessage,
  type DisconnectMessage,
  MESSAGE,
  type OccupyMessage,
  type PublishMessage,
} from './thread-messages.js';

export interface CometControlOptions {
  readonly serverId: string;
  readonly nodeEpoch: number;
  /** How long an administrative call waits for a bucket. */
  readonly requestTimeoutMs: number;
}

export interface CometControlParts {
  readonly runtime: ThreadRuntime;
  readonly sequencer: Sequencer;
  /** The directory of this node's channels; standalone it is the session map itself. */
  readonly sessions: MemorySessions;
  readonly roomCounts: RoomCounts;
  readonly counters: ThreadCounters;
  readonly clock: Clock;
  readonly log: Logger;
  /** Answers op 23 of the channels; undefined: no room has history. */
  readonly recovery?: RoomRecoveryOptions;
}

/** A call that waits for the answers of several buckets. */
interface PendingRequest {
  readonly resolve: (count: number) => void;
  waitingMask: number;
  count: number;
  readonly timer: NodeJS.Timeout;
}

export class CometControl implements CometPort {
  readonly #options: CometControlOptions;
  readonly #parts: CometControlParts;
  readonly #link: RecordLink;
  readonly #requests = new Map<number, PendingRequest>();
  readonly #recovery: RoomRecovery | undefined;
  readonly #channelCountByIp = new Map<string, number>();
  #request = 0;
  /** Threads that are up. */
  #readyMask = 0;
  #pusher: Pusher | undefined;
  #onShutdown: (() => void) | undefined;

  constructor(options: CometControlOptions, parts: CometControlParts) {
    this.#options = options;
    this.#parts = parts;
    this.#link = new RecordLink(parts.runtime.writer, () => parts.runtime.signalSoon());
    if (parts.recovery !== undefined) {
      this.#recovery = new RoomRecovery(parts.recovery, {
        clock: parts.clock,
        counters: parts.counters,
        canSend: () => this.#link.backlogCount === 0,
        send: (thread, message) => this.#link.send(1 << thread, message),
      });
    }
    parts.runtime.onRaw(RAW_KIND.CONTROL, (bytes, offset, lengthBytes, fromThread) =>
      this.#onMessage(this.#link.decode(bytes, offset, lengthBytes) as BucketMessage, fromThread),
    );
  }

  /** Pushes of applications in the buckets go through the same door as everyone's. */
  connect(links: { readonly pusher: Pusher; readonly onShutdown: () => void }): void {
    this.#pusher = links.pusher;
    this.#onShutdown = links.onShutdown;
  }

  /** A bucket listens. */
  bucketReady(thread: number): void {
    this.#readyMask |= 1 << thread;
  }

  /** A bucket is gone with everything it had. */
  bucketLost(thread: number): void {
    this.#readyMask &= ~(1 << thread);
    const { sessions, sequencer, roomCounts } = this.#parts;
    const { serverId, nodeEpoch } = this.#options;
    for (const session of sessions.removeBucket(serverId, nodeEpoch, thread)) this.#forgetIp(session.remoteIp);
    this.#parts.counters.set(METRIC.sessions, sessions.count());
    for (const room of sequencer.rooms()) roomCounts.set(room.roomNo, thread, 0);
    this.#link.forgetThread(thread);
    this.#forgetThread(thread);
  }

  /** The thread has no members of any room, and will not answer what it was asked. */
  #forgetThread(thread: number): void {
    this.#parts.sequencer.vacateAll(thread);
    this.#recovery?.forgetThread(thread);
    for (const [request, pending] of this.#requests) this.#answer(request, pending, thread, 0);
  }

  close(): void {
    this.#recovery?.close();
    this.#link.close();
    for (const pending of this.#requests.values()) {
      clearTimeout(pending.timer);
      pending.resolve(pending.count);
    }
    this.#requests.clear();
  }

  /** For RoomSequence: see Sequencer.placeRoom(). */
  placeRoom(room: string, place: RoomPlace, tellsGap: boolean): PushOutcome {
    if (this.#link.backlogCount > 0) return PUSH_OUTCOME.FULL;
    const outcome = this.#parts.sequencer.placeRoom(room, place, tellsGap);
    if (outcome !== OUTCOME.OK) return PUSH_OUTCOME.FULL;
    this.#parts.runtime.signalSoon();
    return PUSH_OUTCOME.OK;
  }

  // CometPort.

  deliver(command: PushCommand): PushOutcome {
    // Answers to joins that wait for room must reach the ring before any push they do not count yet.
    if (this.#link.backlogCount > 0) return PUSH_OUTCOME.FULL;
    const outcome = this.#deliver(command);
    if (outcome === OUTCOME.OK) {
      this.#parts.counters.add(METRIC.pushes, 1);
      this.#parts.runtime.signalSoon();
      return PUSH_OUTCOME.OK;
    }
    if (outcome === OUTCOME.FULL) {
      this.#parts.counters.add(METRIC.ring_full, 1);
      return PUSH_OUTCOME.FULL;
    }
    return PUSH_OUTCOME.TOO_LARGE;
  }

  disconnect(channels: ChannelSelector, advice: DisconnectAdvice): Promise<number> | number {
    const { code, reason, reconnect, retryAfterMs } = advice;
    return this.#ask(this.#select(channels), (request, connIds) => [
      MESSAGE.CLOSE,
      request,
      connIds,
      code,
      reason,
      reconnect,
      retryAfterMs,
    ]);
  }

  joinRooms(channels: ChannelSelector, rooms: readonly string[]): Promise<number> | number {
    return this.#ask(this.#select(channels), (request, connIds) => [MESSAGE.JOIN, request, connIds, rooms]);
  }

  leaveRooms(channels: ChannelSelector, rooms: readonly string[]): Promise<number> | number {
    return this.#ask(this.#select(channels), (request, connIds) => [MESSAGE.LEAVE, request, connIds, rooms]);
  }

  roomCount(room: string): number {
    const roomNo = this.#parts.sequencer.roomNo(room);
    return roomNo === 0 ? 0 : this.#parts.roomCounts.total(roomNo);
  }

  *roomCounts(): Generator<RoomCount> {
    for (const { room, roomNo } of this.#parts.sequencer.rooms()) {
      const count = this.#parts.roomCounts.total(roomNo);
      if (count > 0) yield { room, count };
    }
  }

  connectionCount(): number {
    return this.#parts.sessions.count();
  }

  ipCount(): number {
    return this.#channelCountByIp.size;
  }

  // Pushes.

  #deliver({ target, op, body, messageId, place }: PushCommand): Outcome {
    const { sequencer, sessions } = this.#parts;
    switch (target.kind) {
      case 'rooms': {
        const [room] = target.rooms;
        return room === undefined ? OUTCOME.OK : sequencer.pushRoom(room, op, body, messageId, place);
      }
      case 'keys':
        return sequencer.pushDirect(
          targetsOf(sessions.byKeys(target.keys.length > 1 ? [...new Set(target.keys)] : target.keys)),
          op,
          body,
          target.ignoresWatchSet === true,
          messageId,
        );
      case 'mids':
        return sequencer.pushDirect(targetsOf(sessions.byMids(target.mids)), op, body, false, messageId);
      case 'all':
        return this.#deliverAll(target, op, body, messageId);
    }
  }

  #deliverAll(
    target: PushTarget & { kind: 'all' },
    op: number,
    body: Uint8Array,
    messageId: Uint8Array | undefined,
  ): Outcome {
    const bucketCount = bitCount(this.#readyMask);
    if (bucketCount === 0) return OUTCOME.OK;
    // goim divided by its number of comets, and by zero without one (W12).
    const speed = target.speedPerSec <= 0 ? 0 : Math.max(1, Math.round(target.speedPerSec / bucketCount));
    return this.#parts.sequencer.pushAll(this.#readyMask, speed, op, body, messageId);
  }

  // Messages from buckets.

  #onMessage(message: BucketMessage, thread: number): void {
    switch (message[0]) {
      case MESSAGE.CONNECT:
        this.#onConnect(message, thread);
        return;
      case MESSAGE.DISCONNECT:
        this.#onDisconnect(message, thread);
        return;
      case MESSAGE.OCCUPY:
        this.#onOccupy(message, thread);
        return;
      case MESSAGE.VACATE:
        this.#parts.sequencer.vacate(message[1], thread);
        return;
      case MESSAGE.PUBLISH:
        this.#onPublish(message, thread);
        return;
      case MESSAGE.DONE: {
        const pending = this.#requests.get(message[1]);
        if (pending !== undefined) this.#answer(message[1], pending, thread, message[2]);
        return;
      }
      case MESSAGE.RECOVER:
        this.#recovery?.request(thread, message);
        return;
      case MESSAGE.RESET:
        this.#forgetThread(thread);
        return;
      case MESSAGE.SHUTDOWN:
        this.#onShutdown?.();
    }
  }

  #onConnect([, connId, mid, key, platform, remoteIp, rooms]: ConnectMessage, thread: number): void {
    const { sessions, sequencer, clock } = this.#parts;
    const { serverId, nodeEpoch } = this.#options;
    // Its port is open before the supervisor has said so: a push to all must not miss this channel.
    this.#readyMask |= 1 << thread;
    const session: Session = {
      key,
      mid,
      serverId,
      nodeEpoch,
      bucket: thread,
      connId,
      platform,
      remoteIp,
      sinceMs: clock.nowMs(),
    };
    const stored = sessions.put(session);
    if (stored.status === 'foreign') {
      this.#link.send(1 << thread, [MESSAGE.CONNECTED, connId, CONNECT_STATUS.FOREIGN, []]);
      return;
    }
    this.#countIp(remoteIp);
    const { previous } = stored;
    if (previous !== undefined) {
      this.#forgetIp(previous.remoteIp);
      const { code, reason } = CLOSE.TAKEN_OVER;
      this.#link.send(1 << previous.bucket, [MESSAGE.CLOSE, 0, [previous.connId], code, reason, false, 0]);
    }
    const infos = rooms.map((room) => sequencer.occupy(room, thread));
    this.#link.send(1 << thread, [MESSAGE.CONNECTED, connId, CONNECT_STATUS.STORED, infos]);
    this.#parts.counters.set(METRIC.sessions, sessions.count());
  }

  #onDisconnect([, connId, key]: DisconnectMessage, thread: number): void {
    const { serverId, nodeEpoch } = this.#options;
    const removed = this.#parts.sessions.remove({ key, serverId, nodeEpoch, bucket: thread, connId });
    if (removed !== undefined) this.#forgetIp(removed.remoteIp);
    this.#parts.counters.set(METRIC.sessions, this.#parts.sessions.count());
  }

  #onOccupy([, request, rooms]: OccupyMessage, thread: number): void {
    const infos = rooms.map((room) => this.#parts.sequencer.occupy(room, thread));
    this.#link.send(1 << thread, [MESSAGE.OCCUPIED, request, infos]);
  }

  #onPublish([, request, target, op, body]: PublishMessage, thread: number): void {
    const outcome =
      this.#pusher?.push({ target: target as PushTarget, op, body: new Uint8Array(body) }) ?? PUSH_OUTCOME.CLOSED;
    if (request > 0) this.#link.send(1 << thread, [MESSAGE.PUBLISHED, request, outcome]);
    else if (outcome !== PUSH_OUTCOME.OK) this.#parts.counters.add(METRIC.dead_letters, 1);
  }

  // Administrative calls.

  #select({ keys, mids }: ChannelSelector): DirectTargets {
    const { sessions } = this.#parts;
    const found = new Map<string, Session>();
    for (const session of sessions.byKeys(keys)) if (session !== undefined) found.set(session.key, session);
    for (const session of sessions.byMids(mids)) found.set(session.key, session);
    return targetsOf([...found.values()]);
  }

  #ask(
    targets: DirectTargets,
    messageOf: (request: number, connIds: readonly number[]) => readonly unknown[],
  ): Promise<number> | number {
    if (targets.size === 0) return 0;
    this.#request += 1;
    const request = this.#request;
    let waitingMask = 0;
    for (const thread of targets.keys()) waitingMask |= 1 << thread;
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        const pending = this.#requests.get(request);
        this.#requests.delete(request);
        this.#parts.log.warn({ request, waitingMask: pending?.waitingMask ?? 0 }, 'a bucket did not answer in time');
        resolve(pending?.count ?? 0);
      }, this.#options.requestTimeoutMs);
      this.#requests.set(request, { resolve, waitingMask, count: 0, timer });
      for (const [thread, connIds] of targets) this.#link.send(1 << thread, messageOf(request, connIds));
    });
  }

  #answer(request: number, pending: PendingRequest, thread: number, count: number): void {
    if ((pending.waitingMask & (1 << thread)) === 0) return;
    pending.waitingMask &= ~(1 << thread);
    pending.count += count;
    if (pending.waitingMask !== 0) return;
    clearTimeout(pending.timer);
    this.#requests.delete(request);
    pending.resolve(pending.count);
  }

  #countIp(ip: string): void {
    this.#channelCountByIp.set(ip, (this.#channelCountByIp.get(ip) ?? 0) + 1);
  }

  #forgetIp(ip: string): void {
    const count = this.#channelCountByIp.get(ip) ?? 0;
    if (count <= 1) this.#channelCountByIp.delete(ip);
    else this.#channelCountByIp.set(ip, count - 1);
  }
}

/** Connection ids by bucket. */
function targetsOf(sessions: readonly (Session | undefined)[]): DirectTargets {
  const targets = new Map<number, number[]>();
  for (const session of sessions) {
    if (session === undefined) continue;
    const connIds = targets.get(session.bucket);
    if (connIds === undefined) targets.set(session.bucket, [session.connId]);
    else connIds.push(session.connId);
  }
  return targets;
}

function bitCount(mask: number): number {
  let count = 0;
  for (let bits = mask; bits !== 0; bits &= bits - 1) count += 1;
  return count;
}
