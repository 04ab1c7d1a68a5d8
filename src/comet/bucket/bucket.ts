/**
 * A bucket: one actor that owns a shard of the connections, their rooms and its own uWebSockets.js app.
 *
 * This file wires the parts and owns the loop: what the ring brings goes to groups and outbox, the end of a turn flushes
 * them (now, or when the pacer says), a coarse timer drives deadlines.
 *
 * Threads: its own worker thread.
 * Hot path: PushRecords -> FanoutGroup.append() -> FlushScheduler; bench/comet/*.bench.ts.
 */
import { getHeapStatistics } from 'node:v8';
import type { ThreadRuntime } from '../../actor/index.js';
import { type Clock, TimingWheel } from '../../clock/index.js';
import { CLOSE, type CloseCodeRow, type DiscardCounter, SEND_OUTCOME, type SendOutcome } from '../../errors/index.js';
import type { Snowflake } from '../../id/index.js';
import { encodeDisconnect, OP } from '../../protocol/index.js';
import type { Authenticator, FrameOp } from '../../push/index.js';
import { BufferPool } from '../../ring/index.js';
import { type Logger, METRIC, type ThreadCounters } from '../../telemetry/index.js';
import type { FallbackNode } from '../http/http-door.js';
import { NodeLookups } from '../http/node-lookups.js';
import type { AddressCounts } from '../limits/address-counts.js';
import { type CloseAdvice, closeMetric, disconnectBody } from '../limits/close-advice.js';
import { packetGate } from '../limits/packet-gate.js';
import { RAW_KIND } from '../push-record.layout.js';
import { RecordLink } from '../record-link.js';
import type { RoomCounts } from '../room-counts.js';
import { type ControlMessage, MESSAGE } from '../thread-messages.js';
import { AppHost } from './app-host.js';
import type { BucketOptions } from './bucket-options.js';
import { CHANNEL_FLAG, CHANNEL_STATE, Channel, type ChannelOwner } from './channel.js';
import { ChannelRooms } from './channel-rooms.js';
import { ChannelSlots } from './channel-slots.js';
import { ChannelWriter } from './channel-writer.js';
import { closeEach, closeReason, SETTLE_MS, STALLED_REASON, unsentBytes } from './closing.js';
import { ControlRequests } from './control-requests.js';
import { DirectOutbox } from './direct-outbox.js';
import type { DoorHandlers } from './door.js';
import type { Doors } from './doors.js';
import type { FanoutContext } from './fanout-group.js';
import { FlushScheduler } from './flush-scheduler.js';
import { GapRecords } from './gap-records.js';
import { Handshake } from './handshake.js';
import { openDoors } from './open-doors.js';
import { PacedBroadcasts } from './paced-broadcasts.js';
import { Pacer } from './pacer.js';
import { PacketHandler } from './packet-handler.js';
import { PushRecords } from './push-records.js';
import { Recoveries } from './recoveries.js';
import { RoomShards } from './room-shards.js';
import { codecOf, groupsOf, Subscriptions } from './subscriptions.js';
import { upstreamOutlet } from './upstream-outlet.js';
import { WatchSets } from './watch-sets.js';

const CONTROL_THREAD = 0;
const CONTROL_MASK = 1 << CONTROL_THREAD;
const TICK_MS = 250;
const TICKS_PER_SECOND = 1000 / TICK_MS;
/** A beat a little early must not wait for the next one. */
const TICK_EARLY_MS = 20;
const POOL_RETAINED_BYTES = 4_194_304;

export interface BucketParts {
  readonly runtime: ThreadRuntime;
  readonly clock: Clock;
  readonly ids: Snowflake;
  readonly counters: ThreadCounters;
  readonly roomCounts: RoomCounts;
  readonly authenticator: Authenticator;
  readonly log: Logger;
  readonly acceptGate: Int32Array;
  /** One Int32: 1 while upstream has no room. Undefined: client messages do not go upstream. */
  readonly upstreamGate?: Int32Array | undefined;
  /** Connections per address; undefined: not counted. */
  readonly addressCounts?: AddressCounts | undefined;
  readonly allEpoch: number;
  readonly incarnation: number;
  readonly fallback: FallbackNode;
  /** Called about once a second, for what is sampled and swept. */
  readonly eachSecond: () => void;
}

export class Bucket implements ChannelOwner {
  readonly #options: BucketOptions;
  readonly #parts: BucketParts;
  readonly #thread: number;
  readonly #link: RecordLink;
  readonly #slots: ChannelSlots;
  readonly #wheel: TimingWheel;
  readonly #pool = new BufferPool({ maxRetainedBytes: POOL_RETAINED_BYTES });
  readonly #pacer: Pacer;
  readonly #flushes: FlushScheduler;
  readonly #watchSets: WatchSets;
  readonly #shards: RoomShards;
  readonly #subscriptions: Subscriptions;
  readonly #rooms: ChannelRooms;
  readonly #writer: ChannelWriter;
  readonly #packets: PacketHandler;
  readonly #handshake: Handshake;
  readonly #outbox: DirectOutbox;
  readonly #broadcasts: PacedBroadcasts;
  readonly #gaps: GapRecords;
  readonly #records: PushRecords;
  readonly #requests: ControlRequests;
  readonly #recoveries: Recoveries | undefined;
  readonly #app: AppHost;
  readonly #nodes: NodeLookups;
  readonly #doors: Doors;
  /** Monotonic time of the last beat or turn, at most TICK_MS old while the thread turns. */
  #coarseMs = 0;
  #nextTickMs = 0;
  #ticks = 0;
  #isDraining = false;
  /** Code of the close that runs now: uWS calls the close handler inside of end() and close(). */
  #closingCode = 0;
  #stopping = false;
  /** Set while the heap is nearly full or the bucket holds far more than its share. */
  #refusing = false;

  constructor(options: BucketOptions, parts: BucketParts) {
    this.#options = options;
    this.#parts = parts;
    const { runtime, counters } = parts;
    this.#thread = runtime.threadIndex;
    this.#link = new RecordLink(runtime.writer, () => runtime.signalSoon());
    this.#slots = new ChannelSlots(options.channelsPerBucket, parts.incarnation);
    this.#wheel = new TimingWheel({ tickMs: TICK_MS, bucketCount: 4096, initialSlots: 1024 });
    this.#pacer = new Pacer(options);
    this.#flushes = new FlushScheduler(this.#pacer, parts.clock, (fn) => this.#guard(undefined, fn));
    const context: FanoutContext = {
      publish: (topic, bytes) => this.#doors.publish(topic, bytes),
      pool: this.#pool,
      limits: { maxMessages: options.batchMaxMessages, maxBytes: options.batchMaxBytes },
      onPending: (group) => this.#flushes.add(group),
      onPublished: (recipientCount, messageCount) => {
        counters.add(METRIC.messages_delivered, recipientCount * messageCount);
        counters.add(METRIC.frames_out, recipientCount);
        counters.add(METRIC.batches, 1);
        counters.add(METRIC.batch_messages, messageCount);
      },
    };
    this.#watchSets = new WatchSets(context, () => parts.allEpoch);
    this.#shards = new RoomShards(
      context,
      {
        requestOccupy: (request, rooms) => this.#link.send(CONTROL_MASK, [MESSAGE.OCCUPY, request, rooms]),
        requestVacate: (roomNo) => this.#link.send(CONTROL_MASK, [MESSAGE.VACATE, roomNo]),
      },
      parts.roomCounts,
      this.#thread,
    );
    this.#writer = new ChannelWriter({
      onDropped: (channel) => this.#subscriptions.mark(channel),
      onFrame: () => counters.add(METRIC.frames_out, 1),
      writeId: (bytes, offset) => parts.ids.tryWriteTo(bytes, offset),
    });
    this.#subscriptions = new Subscriptions(
      {
        sendControl: (channel, op, body) => void this.#writer.packet(channel, op, 0, 1, body),
        closeSlow: (channel) => {
          counters.add(METRIC.slow_closed, 1);
          this.#close(channel, CLOSE.SLOW, CLOSE.SLOW.reason);
        },
        onMarked: () => counters.add(METRIC.slow_marked, 1),
        onRecovered: () => counters.add(METRIC.slow_recovered, 1),
        onGapSent: () => counters.add(METRIC.gaps_sent, 1),
        guard: (fn) => this.#guard(undefined, fn),
      },
      options.slowCloseAfterMs,
      () => ({ epoch: parts.allEpoch, offset: this.#watchSets.allOffset }),
      options.slowExtendedCloseAfterMs,
    );
    this.#rooms = new ChannelRooms(this.#shards, this.#subscriptions, options.roomsPerChannel, () =>
      counters.add(METRIC.rooms_refused, 1),
    );
    this.#app = new AppHost({
      bucket: this.#thread,
      nextId: () => parts.ids.nextString(),
      publish: (command) => this.#requests.publish(command),
      pushElsewhere: (key, op, body) => this.#requests.pushToKey(key, op, body),
      requestShutdown: () => this.#link.send(CONTROL_MASK, [MESSAGE.SHUTDOWN]),
      onListenerError: (error, listener) => this.#onListenerError(error, listener),
      isDraining: () => this.#isDraining,
    });
    const close = (channel: Channel, row: CloseCodeRow, detail: string) => this.#close(channel, row, detail);
    this.#recoveries = options.hasHistory
      ? new Recoveries({
          writer: this.#writer,
          shards: this.#shards,
          send: (message) => this.#link.send(CONTROL_MASK, message),
          guard: (channel, fn) => this.#guard(channel, fn),
          maxBackpressureBytes: options.maxBackpressureBytes,
        })
      : undefined;
    this.#packets = new PacketHandler(
      {
        bodyBytes: options.bodyBytes,
        requestBodyBytes: options.requestBodyBytes,
        roomIdBytes: options.roomIdBytes,
        watchOps: options.watchOps,
        roomsPerRequest: options.roomsPerChannel,
        preAuthPackets: options.preAuthPackets,
        preAuthBytes: options.preAuthBytes,
      },
      {
        close,
        onAuth: (channel, header, body) => this.#handshake.auth(channel, header, body),
        onAlive: (channel) => this.#rearm(channel),
        setIdle: (channel, idleMs) => this.setIdle(channel, idleMs),
        listener: () => this.#app.messageListener,
        toUpstream: upstreamOutlet(parts, this.#slots, this.#link),
        onListenerError: (error, listener) => this.#onListenerError(error, listener),
        afterDrain: (channel, fn) => this.#app.afterDrain(() => this.#guard(channel, fn)),
        onPacket: packetGate(options.limits, { clock: parts.clock, counters, close }),
        onMalformed: () => counters.add(METRIC.malformed, 1),
        onOversized: () => counters.add(METRIC.oversized, 1),
      },
      {
        writer: this.#writer,
        rooms: this.#rooms,
        shards: this.#shards,
        watchSets: this.#watchSets,
        subscriptions: this.#subscriptions,
        recoveries: this.#recoveries,
      },
      options.heartbeatMisses,
    );
    this.#handshake = new Handshake(
      options,
      {
        close,
        sendToControl: (message) => this.#link.send(CONTROL_MASK, message),
        setIdle: (channel, idleMs) => this.setIdle(channel, idleMs),
        monotonicMs: () => parts.clock.monotonicMs(),
        wallMs: () => parts.clock.nowMs(),
        onAccepted: (channel) => {
          counters.add(METRIC.channels, 1);
          counters.add(METRIC.channels_accepted, 1);
          this.#app.added(channel);
        },
        onAuthFailed: () => counters.add(METRIC.auth_failed, 1),
        guard: (channel, fn) => this.#guard(channel, fn),
      },
      {
        authenticator: parts.authenticator,
        app: this.#app,
        slots: this.#slots,
        shards: this.#shards,
        rooms: this.#rooms,
        writer: this.#writer,
        packets: () => this.#packets,
      },
    );
    this.#outbox = new DirectOutbox(
      (channel, bytes, messageCount) => this.#sendDirect(channel, bytes, messageCount),
      options.batchMaxBytes,
    );
    this.#broadcasts = new PacedBroadcasts(this.#slots, this.#outbox);
    this.#gaps = new GapRecords({
      shards: this.#shards,
      watchSets: this.#watchSets,
      slots: this.#slots,
      outbox: this.#outbox,
      allEpoch: parts.allEpoch,
      tell: (channel, gap) => this.#subscriptions.tellGap(channel, gap),
    });
    this.#records = new PushRecords({
      thread: this.#thread,
      shards: this.#shards,
      watchSets: this.#watchSets,
      slots: this.#slots,
      outbox: this.#outbox,
      broadcasts: this.#broadcasts,
      gaps: this.#gaps,
      tellRoomGap: (shard, unplaced) => this.#subscriptions.tellRoomGap(this.#slots.all(), shard, unplaced),
    });
    this.#requests = new ControlRequests({
      link: this.#link,
      slots: this.#slots,
      shards: this.#shards,
      rooms: this.#rooms,
      flushChannel: (channel) => this.#flushChannel(channel),
      reloadTls: (set) => this.#doors.reloadTls(set),
      log: parts.log,
      close: (channel, code, reason, advice) => this.#close(channel, { code, reason, doc: '' }, reason, advice),
    });
    const handlers: DoorHandlers = {
      create: () => this.#create(),
      open: (channel) => this.#opened(channel),
      message: (channel, bytes, isBinary) => this.#message(channel, bytes, isBinary),
      dropped: (channel) => this.#subscriptions.mark(channel),
      ping: (channel) => this.#rearm(channel),
      drain: (channel) => this.#subscriptions.drained(channel),
      close: (channel) => this.#closed(channel),
      onError: (error, channel) => this.#onSocketError(error, channel),
    };
    this.#nodes = new NodeLookups((message) => this.#link.send(CONTROL_MASK, message), parts.clock);
    this.#doors = openDoors(options, handlers, { ...parts, thread: this.#thread, nodes: this.#nodes });
  }

  /** Load the application, listen to the rings and open the port. Resolved: the socket is bound. */
  async start(): Promise<void> {
    const { runtime } = this.#parts;
    await this.#app.load(this.#options.app);
    runtime.onRaw(RAW_KIND.CONTROL, (bytes, offset, length) =>
      this.#drained(() => this.#onControl(this.#link.decode(bytes, offset, length) as ControlMessage)),
    );
    runtime.onRaw(RAW_KIND.ROOM_PUSH, (bytes, offset) => this.#records.onRoomPush(bytes, offset));
    runtime.onRaw(RAW_KIND.ROOM_PLACE, (bytes, offset) => this.#records.onRoomPlace(bytes, offset));
    runtime.onRaw(RAW_KIND.DIRECT_PUSH, (bytes, offset, length) => this.#records.onDirectPush(bytes, offset, length));
    runtime.onRaw(RAW_KIND.ALL_PUSH, (bytes, offset) => this.#records.onAllPush(bytes, offset));
    runtime.onRaw(RAW_KIND.GAP, (bytes, offset) => this.#gaps.onGap(bytes, offset));
    runtime.onTurnEnd(() => this.#turnEnd());
    runtime.onReaderGap((fromThread) => this.#onReaderGap(fromThread));
    await this.#doors.listen();
    // A beat comes at least as often as the tick does; a timer of its own would wake an idle thread once more for each.
    runtime.onBeat(() => this.#tickWhenDue());
    this.#coarseMs = this.#parts.clock.monotonicMs();
  }

  /**
   * Stop accepting, tell the channels, close them spread over the drain time. What has been read from the rings goes out
   * before; channels that have unsent bytes come last, so that they may still read them.
   */
  async stop(): Promise<void> {
    this.#stopping = true;
    this.#doors.stopAccepting();
    if (!this.#outbox.isEmpty) this.#outbox.flush();
    this.#flushes.flushNow();
    const channels = [...this.#slots.all()].toSorted((a, b) => unsentBytes(a) - unsentBytes(b));
    const startedMs = this.#parts.clock.monotonicMs();
    const { drainMs } = this.#options;
    for (const [index, channel] of channels.entries()) {
      this.#close(channel, CLOSE.SHUTDOWN, CLOSE.SHUTDOWN.reason);
      const dueMs = startedMs + (drainMs * (index + 1)) / channels.length;
      const earlyMs = dueMs - this.#parts.clock.monotonicMs();
      if (earlyMs >= 1) await new Promise((resolve) => setTimeout(resolve, earlyMs));
    }
    await this.#doors.settle(drainMs + SETTLE_MS);
    this.shutDown();
  }

  /** What was dropped on purpose, for the counters. */
  get discards(): readonly DiscardCounter[] {
    return this.#doors.discards;
  }

  /** Make every handler inert (crash rule, first step). */
  makeInert(): void {
    this.#stopping = true;
    this.#doors.makeInert();
  }

  /** Close every socket and timer at once (crash rule, second step; end of a stop). */
  shutDown(): void {
    this.#nextTickMs = Infinity;
    this.#flushes.close();
    this.#broadcasts.close();
    // Of a bucket that dies its clients are told to come back; after a stop nobody is left.
    const tell = (channel: Channel) => this.#close(channel, CLOSE.BUCKET_FAILED, CLOSE.BUCKET_FAILED.reason);
    this.#guard(undefined, () => closeEach(this.#slots.all(), tell));
    this.#doors.closeAll();
    this.#link.close();
  }

  // Sockets.

  #create(): Channel | CloseCodeRow {
    if (this.#stopping) return CLOSE.SHUTDOWN;
    const channel = new Channel(this);
    if (!this.#refusing && this.#slots.add(channel)) return channel;
    this.#parts.counters.add(METRIC.overloaded, 1);
    return CLOSE.OVERLOADED;
  }

  #opened(channel: Channel): void {
    this.#wheel.schedule(channel.slot, this.#parts.clock.monotonicMs() + this.#options.handshakeTimeoutMs);
    this.#handshake.opened(channel);
  }

  #message(channel: Channel, bytes: Uint8Array, isBinary: boolean): void {
    if (channel.state === CHANNEL_STATE.OPEN && this.#handshake.fed(channel, bytes, isBinary)) return;
    this.#packets.receive(channel, bytes);
  }

  #closed(channel: Channel): void {
    const wasAccepted = channel.has(CHANNEL_FLAG.ACCEPTED);
    channel.state = CHANNEL_STATE.CLOSED;
    channel.socket = undefined;
    channel.backlog = undefined;
    const { counters } = this.#parts;
    this.#handshake.closed(channel);
    this.#subscriptions.forget(channel);
    this.#rooms.exitAll(channel);
    if (channel.watch !== undefined) {
      this.#subscriptions.unsubscribe(channel, channel.watch);
      this.#watchSets.release(channel.watch);
      channel.watch = undefined;
    }
    if (channel.slot >= 0) {
      this.#wheel.cancel(channel.slot);
      if (channel.has(CHANNEL_FLAG.REGISTERED)) {
        this.#link.send(CONTROL_MASK, [
          MESSAGE.DISCONNECT,
          this.#slots.connIdOf(channel),
          channel.key,
          this.#closingCode,
        ]);
      }
      this.#slots.remove(channel);
    }
    if (!wasAccepted) return;
    channel.flags &= ~CHANNEL_FLAG.ACCEPTED;
    counters.add(METRIC.channels, -1);
    counters.add(METRIC.channels_closed, 1);
    this.#app.removed(channel);
  }

  /** Close with a code; an extended channel that is ready hears op 6 first. */
  #close(channel: Channel, row: CloseCodeRow, detail: string, advice?: CloseAdvice): void {
    const { socket } = channel;
    if (socket === undefined || channel.state === CHANNEL_STATE.CLOSED) return;
    const metric = closeMetric(row.code);
    if (metric !== undefined) this.#parts.counters.add(metric, 1);
    if (channel.state === CHANNEL_STATE.READY && channel.has(CHANNEL_FLAG.EXTENDED)) {
      const body = disconnectBody(row, detail, advice, this.#options.reconnectWindowMs);
      this.#writer.packet(channel, OP.DISCONNECT, 0, 1, encodeDisconnect(codecOf(channel), body));
    }
    channel.state = CHANNEL_STATE.CLOSED;
    this.#closingCode = row.code;
    // A client that does not read would never see a close frame: its socket is cut.
    if (channel.has(CHANNEL_FLAG.SLOW)) socket.close();
    else socket.end(row.code, closeReason(detail));
    this.#closingCode = 0;
  }

  #onSocketError(error: unknown, channel: Channel | undefined): void {
    this.#parts.log.error({ err: error, key: channel?.key }, 'a socket handler failed; its channel is closed');
    if (channel !== undefined) this.#close(channel, CLOSE.INTERNAL, CLOSE.INTERNAL.reason);
  }

  #onListenerError(error: unknown, listener: string): void {
    this.#parts.counters.add(METRIC.listener_errors, 1);
    this.#parts.log.error({ err: error, listener }, 'an application listener failed');
  }

  #guard(channel: Channel | undefined, fn: () => void): void {
    try {
      fn();
    } catch (error) {
      this.#onSocketError(error, channel);
    }
  }

  // ChannelOwner.

  sendPacket(channel: Channel, op: number, body: Uint8Array | string): SendOutcome {
    // What this turn has collected for single channels came earlier.
    if (!this.#outbox.isEmpty) this.#outbox.flush();
    const outcome = this.#writer.push(channel, op, body);
    if (outcome === SEND_OUTCOME.SENT || outcome === SEND_OUTCOME.BUFFERED) {
      this.#parts.counters.add(METRIC.messages_delivered, 1);
    }
    return outcome;
  }

  writeFrame(channel: Channel, opCode: FrameOp, payload: Uint8Array): SendOutcome {
    return this.#writer.frame(channel, opCode, payload);
  }

  closeChannel(channel: Channel, code: number, reason: string): void {
    this.#close(channel, { code, reason, doc: '' }, reason);
  }

  setIdle(channel: Channel, idleMs: number): void {
    channel.idleMs = idleMs;
    this.#rearm(channel);
  }

  // Deadlines.

  #rearm(channel: Channel): void {
    if (channel.slot < 0 || channel.state !== CHANNEL_STATE.READY) return;
    // Asking the clock would be a tenth of what a message costs here (bench:e2e echo); a tick too late is early enough.
    const idleAtMs = this.#coarseMs + TICK_MS + channel.idleMs;
    this.#wheel.schedule(channel.slot, channel.expiresAtMs > 0 ? Math.min(idleAtMs, channel.expiresAtMs) : idleAtMs);
  }

  #onDeadline(slot: number, nowMs: number): void {
    const channel = this.#slots.at(slot);
    if (channel === undefined) return;
    if (channel.state !== CHANNEL_STATE.READY) {
      this.#parts.counters.add(METRIC.auth_failed, 1);
      this.#close(channel, CLOSE.HANDSHAKE_TIMEOUT, CLOSE.HANDSHAKE_TIMEOUT.reason);
    } else if (channel.expiresAtMs > 0 && nowMs >= channel.expiresAtMs) {
      this.#close(channel, CLOSE.UNAUTHORIZED, 'the token has expired');
    } else {
      this.#close(channel, CLOSE.IDLE, CLOSE.IDLE.reason);
    }
  }

  #tickWhenDue(): void {
    const nowMs = this.#parts.clock.monotonicMs();
    this.#coarseMs = nowMs;
    if (nowMs < this.#nextTickMs) return;
    this.#nextTickMs = nowMs + TICK_MS - TICK_EARLY_MS;
    this.#guard(undefined, () => this.#tick(nowMs));
  }

  #tick(nowMs: number): void {
    const { counters, acceptGate } = this.#parts;
    this.#wheel.advance(nowMs, (slot) => this.#onDeadline(slot, nowMs));
    this.#ticks += 1;
    if (this.#ticks % TICKS_PER_SECOND !== 0) return;
    this.#subscriptions.tick(Math.floor(nowMs / 1000) + 1);
    this.#pool.trim();
    this.#parts.eachSecond();
    const heap = getHeapStatistics();
    counters.set(METRIC.heap_used_bytes, heap.used_heap_size);
    counters.set(METRIC.rooms, this.#shards.count);
    counters.set(METRIC.fanout_duty_ppm, Math.round(this.#pacer.duty * 1e6));
    counters.set(METRIC.merge_window_us, Math.round(this.#pacer.pauseMs * 1000));
    const heapFull = heap.used_heap_size > heap.heap_size_limit * this.#options.heapRefuseRatio;
    this.#setRefusing(heapFull || Atomics.load(acceptGate, this.#thread) === 1);
  }

  /** While refusing, the kernel gives new connections to the other buckets. */
  #setRefusing(refusing: boolean): void {
    if (refusing === this.#refusing || this.#stopping) return;
    this.#refusing = refusing;
    if (refusing) this.#doors.stopAccepting();
    else void this.#doors.listen().catch((error) => this.#parts.log.error({ err: error }, 'listening again failed'));
  }

  // Records.
  #drained(handle: () => void): void {
    this.#isDraining = true;
    try {
      handle();
    } finally {
      this.#isDraining = false;
    }
  }

  #turnEnd(): void {
    this.#gaps.settle();
    if (!this.#outbox.isEmpty) this.#outbox.flush();
    this.#flushes.turnEnd();
    this.#app.runDeferred();
  }

  #sendDirect(channel: Channel, bytes: Uint8Array, messageCount: number): void {
    const outcome = this.#writer.raw(channel, bytes);
    if (outcome !== SEND_OUTCOME.SENT && outcome !== SEND_OUTCOME.BUFFERED) return;
    this.#parts.counters.add(METRIC.messages_delivered, messageCount);
  }

  /** Records of a ring were lost to this bucket. Only the control thread's ring carries pushes and answers to a bucket. */
  #onReaderGap(fromThread: number): void {
    if (fromThread !== CONTROL_THREAD) return;
    this.#parts.counters.add(METRIC.ring_detached, 1);
    this.#parts.log.error({ fromThread }, 'this bucket stalled and its cursor was detached; its channels are closed');
    // What was lost may include answers to joins, so the honest end is a fresh connection: codes in the range that says so.
    closeEach(this.#slots.all(), (channel) => this.#close(channel, CLOSE.BUCKET_FAILED, STALLED_REASON));
    // Requests under way may have lost their answers, and nobody can tell which. So both sides forget them all: what the
    // control thread still answers finds nobody here, and RESET stands behind the requests it undoes.
    this.#handshake.reset();
    this.#shards.reset();
    this.#requests.reset();
    this.#recoveries?.reset();
    this.#link.send(CONTROL_MASK, [MESSAGE.RESET]);
  }

  // Messages from the control thread.

  #onControl(message: ControlMessage): void {
    // Who joins from here on has missed nothing.
    this.#gaps.settle();
    switch (message[0]) {
      case MESSAGE.CONNECTED:
        this.#handshake.connected(message);
        return;
      case MESSAGE.OCCUPIED:
        this.#shards.opened(message[1], message[2]);
        return;
      case MESSAGE.CLOSE:
        this.#requests.onClose(message);
        return;
      case MESSAGE.JOIN:
        this.#requests.onJoin(message);
        return;
      case MESSAGE.LEAVE:
        this.#requests.onLeave(message);
        return;
      case MESSAGE.PUBLISHED:
        this.#requests.onPublished(message);
        return;
      case MESSAGE.RECOVERED:
        this.#recoveries?.onRecovered(message);
        return;
      case MESSAGE.NODE_FOUND:
        this.#nodes.onNodeFound(message);
        return;
      case MESSAGE.TLS:
        this.#requests.onTls(message);
    }
  }

  /** Send what waits for a channel, by itself or by a group it is in. */
  #flushChannel(channel: Channel): void {
    if (!this.#outbox.isEmpty) this.#outbox.flush();
    for (const group of groupsOf(channel)) if (group.pendingCount > 0) group.flush();
  }
}
