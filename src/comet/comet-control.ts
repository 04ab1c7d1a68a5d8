/**
 * The comet's half on the control thread: connects and disconnects from the buckets, the sequencer, and `CometPort` for
 * job and logic.
 *
 * Threads: control thread only.
 * Guarantees: a session is stored and its rooms are opened before the bucket hears of it; alone also in the order of the
 *   bucket's requests, in a cluster in the order in which Redis answers. What belonged to a bucket that died is gone before its
 *   successor is ready. In a cluster a connect is answered when the session stands in the map of all and its rooms are linked;
 *   offsets are those of that moment.
 */
import type { ThreadRuntime } from '../actor/index.js';
import type { Clock } from '../clock/index.js';
import { CLOSE, type CloseCodeRow, OUTCOME, type Outcome } from '../errors/index.js';
import {
  type ChannelSelector,
  type ClusterSessions,
  type CometPort,
  type DisconnectAdvice,
  type GapScope,
  type NodeDirectory,
  type NodeMail,
  PUSH_OUTCOME,
  type PushCommand,
  type Pusher,
  type PushOutcome,
  type PushTarget,
  type PutSession,
  type RoomCount,
  type RoomLinks,
  type RoomPlace,
  type Session,
  type SessionOwner,
  type Upstream,
} from '../push/index.js';
import type { MemorySessions } from '../store/index.js';
import { type Logger, METRIC, type ThreadCounters } from '../telemetry/index.js';
import { BucketRequests } from './bucket-requests.js';
import { closeText, readClientMessages } from './client-messages.js';
import { ClusterConnects } from './cluster-connects.js';
import { ClusterRooms } from './cluster-rooms.js';
import { forwardAddressOf } from './http/forward-address.js';
import { IpCounts } from './ip-counts.js';
import { ChannelMove } from './limits/channel-move.js';
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
import type { TlsSet } from './tls/index.js';

export interface CometControlOptions {
  readonly serverId: string;
  readonly nodeEpoch: number;
  /** Over how long channels that are moved spread their reconnects. */
  readonly reconnectWindowMs: number;
  /** How long an administrative call waits for a bucket. */
  readonly requestTimeoutMs: number;
}

/** What makes this node one of many. */
export interface CometClusterParts {
  readonly sessions: ClusterSessions;
  readonly nodes: NodeDirectory;
  readonly mail: NodeMail;
  readonly rooms: RoomLinks;
}

export interface CometControlParts {
  readonly runtime: ThreadRuntime;
  readonly sequencer: Sequencer;
  /** The directory of this node's channels; standalone it is the session map itself. */
  readonly sessions: MemorySessions;
  readonly roomCounts: RoomCounts;
  readonly counters: ThreadCounters;
  /** In a cluster its wall time is that of the cluster: the sessions of a key are ordered by it. */
  readonly clock: Clock;
  readonly log: Logger;
  /** Absent: the node is alone. */
  readonly cluster?: CometClusterParts;
  /** Where connects, disconnects and messages of clients are told; undefined: nowhere. */
  readonly upstream?: Upstream | undefined;
  /** Answers op 23 of the channels; undefined: no room has history. */
  readonly recovery?: RoomRecoveryOptions;
}

export class CometControl implements CometPort {
  readonly #options: CometControlOptions;
  readonly #parts: CometControlParts;
  readonly #link: RecordLink;
  readonly #requests: BucketRequests;
  readonly #recovery: RoomRecovery | undefined;
  readonly #ips = new IpCounts();
  readonly #move: ChannelMove;
  /** Both undefined where the node is alone. */
  readonly #connects: ClusterConnects | undefined;
  readonly #rooms: ClusterRooms | undefined;
  /** How often each thread lost everything: an answer that waited across it is not sent. */
  readonly #lives = new Map<number, number>();
  /** Threads that are up. */
  #readyMask = 0;
  #pusher: Pusher | undefined;
  #onShutdown: (() => void) | undefined;
  #isClosed = false;

  constructor(options: CometControlOptions, parts: CometControlParts) {
    this.#options = options;
    this.#parts = parts;
    this.#move = new ChannelMove({
      clock: parts.clock,
      close: (session) => {
        if (this.holds(session)) this.#closeChannel(session, CLOSE.SHUTDOWN, options.reconnectWindowMs);
      },
    });
    this.#requests = new BucketRequests(options.requestTimeoutMs, parts.log);
    this.#link = new RecordLink(parts.runtime.writer, () => parts.runtime.signalSoon());
    if (parts.recovery !== undefined) {
      this.#recovery = new RoomRecovery(parts.recovery, {
        clock: parts.clock,
        counters: parts.counters,
        canSend: () => this.#link.backlogCount === 0,
        send: (thread, message) => this.#link.send(1 << thread, message),
      });
    }
    const { cluster, sequencer } = parts;
    if (cluster !== undefined) {
      this.#rooms = new ClusterRooms(cluster.rooms, (room) => sequencer.roomNo(room) !== 0);
      this.#connects = new ClusterConnects(options.serverId, cluster, this.#rooms, {
        holds: (session) => this.holds(session),
        undo: (session) => this.#undo(session),
        close: (session, row) => this.#closeChannel(session, row),
        answer: ({ bucket, connId }, status, rooms) => {
          const infos = rooms.map((room) => sequencer.occupy(room, bucket));
          this.#link.send(1 << bucket, [MESSAGE.CONNECTED, connId, status, infos]);
        },
      });
    }
    parts.runtime.onRaw(RAW_KIND.CONTROL, (bytes, offset, lengthBytes, fromThread) =>
      this.#onMessage(this.#link.decode(bytes, offset, lengthBytes) as BucketMessage, fromThread),
    );
    if (parts.upstream !== undefined) readClientMessages(parts.runtime, parts.sessions, parts.upstream);
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

  /**
   * Tell buckets which certificates new handshakes take. `takenCount` of `askedCount` have done so within the request timeout.
   * @param mask of threads; default: all that are up
   */
  async reloadTls(set: TlsSet, mask = this.#readyMask): Promise<{ takenCount: number; askedCount: number }> {
    if (mask === 0) return { takenCount: 0, askedCount: 0 };
    const ask = (request: number) => this.#link.send(mask, [MESSAGE.TLS, request, set]);
    return { takenCount: await this.#requests.ask(mask, ask), askedCount: bitCount(mask) };
  }

  /** A bucket is gone with everything it had. */
  bucketLost(thread: number): void {
    this.#readyMask &= ~(1 << thread);
    const { sessions, sequencer, roomCounts } = this.#parts;
    const { serverId, nodeEpoch } = this.#options;
    const removed = sessions.removeBucket(serverId, nodeEpoch, thread);
    for (const session of removed) {
      this.#ips.remove(session.remoteIp);
      this.#parts.upstream?.disconnected(session, CLOSE.BUCKET_FAILED.reason);
    }
    void this.#parts.cluster?.sessions.removeAll(removed);
    this.#parts.counters.set(METRIC.sessions, sessions.count());
    for (const room of sequencer.rooms()) roomCounts.set(room.roomNo, thread, 0);
    this.#link.forgetThread(thread);
    this.#forgetThread(thread);
  }

  /** The thread has no members of any room, and will not answer what it was asked. */
  #forgetThread(thread: number): void {
    const { sequencer } = this.#parts;
    const rooms = this.#rooms === undefined ? [] : Array.from(sequencer.rooms(), ({ room }) => room);
    sequencer.vacateAll(thread);
    this.#recovery?.forgetThread(thread);
    this.#lives.set(thread, (this.#lives.get(thread) ?? 0) + 1);
    this.#connects?.endBucket(thread);
    for (const room of rooms) if (sequencer.roomNo(room) === 0) this.#rooms?.left(room);
    this.#requests.forgetThread(thread);
  }

  close(): void {
    this.#isClosed = true;
    this.#move.stop();
    this.#recovery?.close();
    this.#connects?.close();
    this.#link.close();
    this.#requests.close();
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

  tellGap(scope: GapScope): PushOutcome {
    if (this.#link.backlogCount > 0) return PUSH_OUTCOME.FULL;
    const { sequencer, runtime } = this.#parts;
    const outcome = scope.kind === 'room' ? sequencer.gapRoom(scope.room) : this.#gapForAll(scope.kind);
    if (outcome !== OUTCOME.OK) return PUSH_OUTCOME.FULL;
    runtime.signalSoon();
    return PUSH_OUTCOME.OK;
  }

  #gapForAll(kind: 'direct' | 'all'): Outcome {
    if (this.#readyMask === 0) return OUTCOME.OK;
    const { sequencer } = this.#parts;
    return kind === 'all' ? sequencer.gapAll(this.#readyMask) : sequencer.gapDirect(this.#readyMask);
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

  /** Ask the channels of this node to go elsewhere, spread over `overMs`. Returns how many there are. */
  move(overMs: number): number {
    const sessions = [...this.#parts.sessions.all()];
    this.#move.start(sessions, overMs);
    return sessions.length;
  }

  joinRooms(channels: ChannelSelector, rooms: readonly string[]): Promise<number> | number {
    return this.#ask(this.#select(channels), (request, connIds) => [MESSAGE.JOIN, request, connIds, rooms]);
  }

  leaveRooms(channels: ChannelSelector, rooms: readonly string[]): Promise<number> | number {
    return this.#ask(this.#select(channels), (request, connIds) => [MESSAGE.LEAVE, request, connIds, rooms]);
  }

  roomCount(room: string): number {
    const roomNo = this.#parts.sequencer.roomNo(room);
    return roomNo === 0 ? 0 : this.#parts.roomCounts.localTotal(roomNo);
  }

  *roomCounts(): Generator<RoomCount> {
    for (const { room, roomNo } of this.#parts.sequencer.rooms()) {
      const count = this.#parts.roomCounts.localTotal(roomNo);
      if (count > 0) yield { room, count };
    }
  }

  connectionCount(): number {
    return this.#parts.sessions.count();
  }

  ipCount(): number {
    return this.#ips.ipCount;
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
      case MESSAGE.VACATE: {
        const room = this.#rooms === undefined ? undefined : this.#parts.sequencer.roomName(message[1]);
        this.#parts.sequencer.vacate(message[1], thread);
        if (room !== undefined) this.#rooms?.left(room);
        return;
      }
      case MESSAGE.PUBLISH:
        this.#onPublish(message, thread);
        return;
      case MESSAGE.DONE:
        this.#requests.answer(message[1], thread, message[2]);
        return;
      case MESSAGE.RECOVER:
        this.#recovery?.request(thread, message);
        return;
      case MESSAGE.FIND_NODE: {
        const { host, port, isTls } = forwardAddressOf(this.#parts.cluster?.nodes.live() ?? [], message[2]);
        this.#link.send(1 << thread, [MESSAGE.NODE_FOUND, message[1], host, port, isTls]);
        return;
      }
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
    if (stored.status !== 'stored') {
      this.#link.send(1 << thread, [MESSAGE.CONNECTED, connId, CONNECT_STATUS.FOREIGN, []]);
      return;
    }
    this.#ips.add(remoteIp);
    const { previous } = stored;
    this.#parts.upstream?.connected(session, previous);
    if (previous !== undefined) {
      this.#ips.remove(previous.remoteIp);
      this.#closeChannel(previous, CLOSE.TAKEN_OVER);
    }
    if (this.#connects !== undefined) {
      this.#connects.begin(session, rooms);
      this.#parts.counters.set(METRIC.sessions, sessions.count());
      return;
    }
    const infos = rooms.map((room) => sequencer.occupy(room, thread));
    this.#link.send(1 << thread, [MESSAGE.CONNECTED, connId, CONNECT_STATUS.STORED, infos]);
    this.#parts.counters.set(METRIC.sessions, sessions.count());
  }

  #onDisconnect([, connId, key, closeCode]: DisconnectMessage, thread: number): void {
    const { serverId, nodeEpoch } = this.#options;
    const owner: SessionOwner = { key, serverId, nodeEpoch, bucket: thread, connId };
    const removed = this.#parts.sessions.remove(owner);
    if (removed !== undefined) {
      this.#ips.remove(removed.remoteIp);
      this.#parts.upstream?.disconnected(removed, closeText(closeCode));
    }
    this.#parts.counters.set(METRIC.sessions, this.#parts.sessions.count());
    // Also of a channel that was taken over here: what took it over may not stand in the map of all yet.
    if (this.#connects?.end(thread, connId) === false) void this.#parts.cluster?.sessions.remove(owner);
  }

  #onOccupy([, request, rooms]: OccupyMessage, thread: number): void {
    const linked = this.#rooms?.hold(rooms);
    if (linked !== undefined) {
      void this.#occupyWhen(linked, request, rooms, thread);
      return;
    }
    this.#occupy(request, rooms, thread);
  }

  async #occupyWhen(linked: Promise<unknown>, request: number, rooms: string[], thread: number): Promise<void> {
    const life = this.#lives.get(thread);
    await linked;
    if (this.#isClosed) return;
    if (this.#lives.get(thread) === life) this.#occupy(request, rooms, thread);
    else this.#rooms?.release(rooms);
  }

  #occupy(request: number, rooms: readonly string[], thread: number): void {
    const infos = rooms.map((room) => this.#parts.sequencer.occupy(room, thread));
    this.#link.send(1 << thread, [MESSAGE.OCCUPIED, request, infos]);
    this.#rooms?.release(rooms);
  }

  // The cluster.

  #undo(session: Session): void {
    const removed = this.#parts.sessions.remove(session);
    if (removed !== undefined) this.#ips.remove(removed.remoteIp);
    this.#parts.counters.set(METRIC.sessions, this.#parts.sessions.count());
  }

  /** @param retryAfterMs undefined: it shall not come back */
  #closeChannel({ bucket, connId }: Session, row: CloseCodeRow, retryAfterMs?: number): void {
    const reconnect = retryAfterMs !== undefined;
    this.#link.send(1 << bucket, [MESSAGE.CLOSE, 0, [connId], row.code, row.reason, reconnect, retryAfterMs ?? 0]);
  }

  /** By NodeMail: close a connection of this node, if the key still is this one's. */
  closeConnection(owner: SessionOwner, advice: DisconnectAdvice): void {
    const { serverId, nodeEpoch } = this.#options;
    // Connection ids are unique within one process, whichever incarnations it goes through; an earlier one's mean others.
    const lastEpoch = this.#parts.cluster?.nodes.nodeEpoch ?? nodeEpoch;
    if (owner.serverId !== serverId || owner.nodeEpoch < nodeEpoch || owner.nodeEpoch > lastEpoch) return;
    const session = this.#parts.sessions.byKey(owner.key);
    if (session?.connId !== owner.connId || session.bucket !== owner.bucket) return;
    const { code, reason, reconnect, retryAfterMs } = advice;
    this.#link.send(1 << session.bucket, [MESSAGE.CLOSE, 0, [session.connId], code, reason, reconnect, retryAfterMs]);
  }

  /** Every session of this node, for the rewrite; may be read slowly. */
  *ownSessions(): Generator<Session> {
    yield* this.#parts.sessions.all();
  }

  /** True while the key still belongs to this very connection. */
  holds(session: Session): boolean {
    return this.#parts.sessions.byKey(session.key) === session;
  }

  /** The map of all was told of a session after its channel was answered, or again: what was found there counts now. */
  onLateWrite(session: Session, result: PutSession): void {
    this.#connects?.onLateWrite(session, result);
  }

  /** For a shutdown: the map of all forgets what this node still has. */
  async leaveCluster(): Promise<void> {
    await this.#parts.cluster?.sessions.removeAll([...this.#parts.sessions.all()]);
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
    let targetMask = 0;
    for (const thread of targets.keys()) targetMask |= 1 << thread;
    return this.#requests.ask(targetMask, (request) => {
      for (const [thread, connIds] of targets) this.#link.send(1 << thread, messageOf(request, connIds));
    });
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
