/**
 * RedisBus: what nodes tell one another over Redis's pub/sub, and what any producer publishes for all of them.
 *
 *   <prefix>:push             any producer -> every node, which delivers to its own channels      (ordinary)
 *   <prefix>:ch:all           a node -> every node                                                (ordinary)
 *   <prefix>:ch:node:{id}     a node -> one node: keys, mids, closes, administrative calls        (sharded on Cluster)
 *   <prefix>:ch:room:{room}   a node -> the nodes with members of the room                        (sharded on Cluster)
 *
 * Threads: control thread only.
 * Guarantees: at most once. Order: what one node publishes arrives in that order; on Redis Cluster per channel only, because
 *   channels live on different servers. A loss is told: after a break of the subscriptions a Gap for everything that could have
 *   been missed, when a producer's numbers show a hole a Gap for that scope, and when a publish got no answer a Gap as soon as
 *   Redis answers again (redis-bus-losses.ts). Only the newest messages of a node that dies, and what foreign producers
 *   publish, can be lost unseen; a break in between is seen by the probe.
 * Source: centrifuge's redis broker for channels by node and room; its resubscription tells nobody what was missed.
 */
import { randomInt } from 'node:crypto';
import { type Clock, systemClock } from '../../clock/index.js';
import { DiscardCounter, HalleyError } from '../../errors/index.js';
import {
  type BusAllMessage,
  type BusEnvelope,
  type BusMessage,
  type BusNodeMessage,
  type BusRoomMessage,
  decodeBusEnvelope,
  encodeBusEnvelope,
  isBusEnvelope,
} from '../../protocol/index.js';
import type {
  BusListener,
  ClusterBus,
  DisconnectAdvice,
  GapScope,
  NodeMail,
  RoomLinks,
  SessionOwner,
} from '../../push/index.js';
import type { Logger } from '../../telemetry/index.js';
import { SEEN, SeenCounters, type SeenOutcome, SentCounters } from './redis-bus-counters.js';
import type { BusGauges } from './redis-bus-gauges.js';
import { BusLosses, LOSS } from './redis-bus-losses.js';
import { BusProbe, type ProbeTarget } from './redis-bus-probe.js';
import { BusPublisher } from './redis-bus-publisher.js';
import { BusRooms, type LinkedRoom, type RoomRegistry } from './redis-bus-rooms.js';
import { BusSubscriber, type ChannelKind } from './redis-bus-subscriber.js';
import type { RedisLink } from './redis-link.js';

export interface RedisBusOptions {
  readonly serverId: string;
  /** `cluster.room_linger_ms`. */
  readonly roomLingerMs: number;
  /** `cluster.probe_ms`. */
  readonly probeMs: number;
  /** `cluster.command_timeout_ms`: also the longest wait for an acknowledgement of SUBSCRIBE. */
  readonly commandTimeoutMs: number;
  /** `limits.push_body_bytes`. */
  readonly messageMaxBytes: number;
  /** Rooms whose losses are repaired from their history instead of being told. Default: none. */
  readonly hasHistory?: (room: string) => boolean;
  readonly registry?: RoomRegistry;
}

/** Channels in one SUBSCRIBE: a few tens of KiB per command. */
const CHUNK_COUNT = 1_000;
/** Channels whose numbers a producer remembers: some MiB. */
const MAX_COUNTED_CHANNELS = 65_536;
/** Of an envelope beside the body: a thousand keys or mids and everything else. */
const ENVELOPE_EXTRA_BYTES = 4 * 1024 * 1024;

export class RedisBus implements ClusterBus, NodeMail, RoomLinks {
  readonly serverId: string;
  /** What was dropped on purpose, for the counters. */
  readonly discards = new DiscardCounter();
  readonly #link: RedisLink;
  readonly #options: RedisBusOptions;
  readonly #log: Logger;
  /** Another one in every process, so that a restarted producer's numbers are not taken for a hole. */
  readonly #incarnation = randomInt(2 ** 32);
  readonly #channelKind: ChannelKind;
  readonly #nodeChannel: string;
  readonly #allChannel: string;
  readonly #pushChannel: string;
  readonly #subscriber: BusSubscriber;
  readonly #rooms: BusRooms;
  readonly #probe: BusProbe;
  readonly #losses: BusLosses;
  readonly #publisher: BusPublisher;
  readonly #stopListening: () => void;
  readonly #sent = new SentCounters(MAX_COUNTED_CHANNELS);
  readonly #seenByNode = new SeenCounters();
  readonly #seenByAll = new SeenCounters();
  #listener: BusListener | undefined;
  #checkTimer: NodeJS.Timeout | undefined;
  #roomRotation: IterableIterator<LinkedRoom> | undefined;
  #malformedCount = 0;
  #holeCount = 0;
  #restoredCount = 0;
  #publishedCount = 0;
  #receivedCount = 0;
  #missedCount = 0;
  #movedCount = 0;

  constructor(link: RedisLink, options: RedisBusOptions, log: Logger, clock: Clock = systemClock) {
    this.serverId = options.serverId;
    this.#link = link;
    this.#publisher = new BusPublisher(link);
    this.#options = options;
    this.#log = log;
    const { keys, isCluster } = link;
    this.#channelKind = isCluster ? 'sharded' : 'ordinary';
    this.#nodeChannel = keys.nodeChannel(options.serverId);
    this.#allChannel = keys.allChannel();
    this.#pushChannel = keys.pushChannel();
    this.#subscriber = new BusSubscriber(
      link,
      { deadlineMs: options.commandTimeoutMs, chunkCount: CHUNK_COUNT },
      {
        onMessage: (channel, bytes) => this.#onMessage(channel, bytes),
        onRestored: () => this.#onRestored(),
        onMoved: (channels) => this.#onMoved(channels),
      },
      clock,
      log,
    );
    this.#rooms = new BusRooms(
      this.#subscriber,
      {
        lingerMs: options.roomLingerMs,
        channelKind: this.#channelKind,
        channelOf: (room) => keys.roomChannel(room),
        registry: options.registry,
      },
      clock,
    );
    this.#probe = new BusProbe(
      options.probeMs,
      {
        targets: isCluster ? ['node', 'ordinary', 'room'] : ['node', 'room'],
        isReady: () => this.#subscriber.isReady,
        nextRoom: () => this.#nextRoom(),
        hasRoom: (room) => this.#rooms.byRoom(room) !== undefined,
        publish: (target, room, serial) => this.#publishProbe(target, room, serial),
        onDead: (reason) => this.#subscriber.replace(reason),
      },
      clock,
    );
    this.#losses = new BusLosses({
      isUp: () => link.isUp,
      allChannel: this.#allChannel,
      tell: (kind, channel, serial) =>
        this.#publishBytes(kind, channel, this.#encode(this.#sent.next(channel), { kind: 'probe', serial }), false),
    });
    this.#stopListening = link.onUp(() => this.#losses.tellSoon());
  }

  /** Resolves when the node is subscribed. @throws HalleyError REDIS_UNREACHABLE */
  async start(listener: BusListener): Promise<void> {
    this.#listener = listener;
    this.#subscriber.add('ordinary', this.#pushChannel);
    this.#subscriber.add('ordinary', this.#allChannel);
    // On Cluster also as an ordinary channel: the way of the probe over that connection.
    this.#subscriber.add('ordinary', this.#nodeChannel);
    if (this.#channelKind === 'sharded') this.#subscriber.add('sharded', this.#nodeChannel);
    await this.#subscriber.start();
    this.#probe.start();
    this.#checkTimer = setInterval(() => this.#subscriber.check(), this.#options.probeMs).unref();
  }

  close(): void {
    clearInterval(this.#checkTimer);
    this.#stopListening();
    this.#losses.close();
    this.#probe.close();
    this.#rooms.close();
    this.#subscriber.close();
  }

  get isUp(): boolean {
    return this.#link.isUp;
  }

  /** False while messages may be missed: a reason against readiness. */
  get isSubscribed(): boolean {
    return this.#subscriber.isReady;
  }

  gauges(): BusGauges {
    return {
      linkedRoomCount: this.#rooms.count,
      malformedCount: this.#malformedCount,
      holeCount: this.#holeCount,
      restoredCount: this.#restoredCount,
      movedCount: this.#movedCount,
      probeMissCount: this.#probe.missedCount,
      publishedCount: this.#publishedCount,
      receivedCount: this.#receivedCount,
      missedCount: this.#missedCount,
      unansweredCount: this.#losses.gauges().notedCount,
      untoldCount: this.#losses.gauges().waitingCount,
    };
  }

  /**
   * Resolves when everything that Redis took before this call has come back to this node, as far as it is subscribed to it, or
   * after `timeoutMs`. On Cluster that is so for the server of the node's channel only.
   */
  echo(timeoutMs: number): Promise<void> {
    return this.#probe.echo(timeoutMs);
  }

  // RoomLinks.

  link(room: string): Promise<void> | undefined {
    return this.#rooms.link(room);
  }

  unlink(room: string): void {
    this.#rooms.unlink(room);
  }

  // NodeMail.

  closeConnection(owner: SessionOwner, advice: DisconnectAdvice): void {
    const { key, serverId, nodeEpoch, bucket, connId } = owner;
    const message: BusNodeMessage = { kind: 'close', owner: { key, serverId, nodeEpoch, bucket, connId }, advice };
    this.publishNode(serverId, message).catch((error) => this.discards.ignore(error, 'mail to a node'));
  }

  // ClusterBus.

  async publishRoom(room: string, message: BusRoomMessage): Promise<number> {
    const channel = this.#link.keys.roomChannel(room);
    const linked = this.#rooms.byRoom(room);
    const isExpected = linked !== undefined && linked.pending === undefined && this.#subscriber.isReady;
    const { generation } = this.#subscriber;
    const receiverCount = await this.#send(this.#channelKind, channel, message);
    if (receiverCount === 0 && isExpected && generation === this.#subscriber.generation) {
      // We are subscribed and Redis does not know: cheaper than any probe, and for exactly the rooms that have traffic.
      if (this.#rooms.byRoom(room) === linked && linked.endsAtMs === 0) {
        this.#subscriber.lost(this.#channelKind, channel, 'a publish to a room of this node found no subscriber');
      }
    }
    return receiverCount;
  }

  publishNode(serverId: string, message: BusNodeMessage): Promise<number> {
    return this.#send(this.#channelKind, this.#link.keys.nodeChannel(serverId), message);
  }

  publishAll(message: BusAllMessage): Promise<number> {
    return this.#send('ordinary', this.#allChannel, message);
  }

  readonly flush = (): void => this.#publisher.flush();

  mayBeLost(scope: GapScope): void {
    if (scope.kind === 'room') this.#losses.note(this.#channelKind, this.#link.keys.roomChannel(scope.room));
    else this.#losses.noteScope(scope);
  }

  /**
   * Any bytes on any ordinary channel. Resolves with the number of subscribers (on Cluster: of the server asked).
   * @throws HalleyError BUS_AWAY: it may or may not have been published
   */
  publish(channel: string, bytes: Uint8Array): Promise<number> {
    return this.#publishBytes('ordinary', channel, bytes, false);
  }

  #send(kind: ChannelKind, channel: string, message: BusMessage): Promise<number> {
    return this.#publishBytes(kind, channel, this.#encode(this.#sent.next(channel), message), true);
  }

  #encode(counter: number, message: BusMessage): Uint8Array {
    return encodeBusEnvelope({ serverId: this.serverId, incarnation: this.#incarnation, counter }, message);
  }

  /** @param isTold its loss is told to whom it was for */
  async #publishBytes(kind: ChannelKind, channel: string, bytes: Uint8Array, isTold: boolean): Promise<number> {
    try {
      const receiverCount = await this.#publisher.publish(kind, channel, bytes);
      if (isTold) this.#publishedCount += 1;
      return receiverCount;
    } catch (error) {
      if (isTold) this.#losses.note(kind, channel);
      throw new HalleyError('BUS_AWAY', 'a message could not be published', { channel, bytes: bytes.length }, error);
    }
  }

  #publishProbe(target: ProbeTarget, room: string, serial: number): Promise<number> {
    // Not counted: one that gets lost is no loss.
    const bytes = this.#encode(0, { kind: 'probe', serial });
    if (target === 'room')
      return this.#publishBytes(this.#channelKind, this.#link.keys.roomChannel(room), bytes, false);
    return this.#publishBytes(target === 'node' ? this.#channelKind : 'ordinary', this.#nodeChannel, bytes, false);
  }

  /** Rooms in turn; a room that is still being linked is passed over. */
  #nextRoom(): string | undefined {
    for (let lap = 0; lap < 2; lap++) {
      this.#roomRotation ??= this.#rooms.all();
      for (let next = this.#roomRotation.next(); next.done !== true; next = this.#roomRotation.next()) {
        if (next.value.pending === undefined) return next.value.room;
      }
      this.#roomRotation = undefined;
    }
    return undefined;
  }

  // What arrives.

  #onMessage(channel: string, bytes: Uint8Array): void {
    const listener = this.#listener;
    if (listener === undefined) return;
    if (channel === this.#pushChannel) {
      this.#receivedCount += 1;
      listener.onPush(bytes);
      return;
    }
    const linked = this.#rooms.byChannel(channel);
    if (linked !== undefined && !isBusEnvelope(bytes)) {
      this.#receivedCount += 1;
      listener.onHistory(linked.room, bytes);
      return;
    }
    const envelope = decodeBusEnvelope(bytes, this.#options.messageMaxBytes + ENVELOPE_EXTRA_BYTES);
    if (!envelope.ok) {
      this.#malformedCount += 1;
      this.#log.debug({ channel, problem: envelope.error }, 'a message on the bus is no envelope');
      return;
    }
    const { message, origin } = envelope.value;
    if (message.kind === 'probe') {
      if (origin.counter === 0) this.#onProbe(envelope.value);
      else this.#onLoss(listener, linked, channel, envelope.value);
      return;
    }
    this.#receivedCount += 1;
    if (linked !== undefined) this.#onRoom(listener, linked, envelope.value);
    else this.#onOther(listener, channel, envelope.value);
  }

  #onProbe({ origin, message }: BusEnvelope): void {
    if (message.kind !== 'probe' || origin.serverId !== this.serverId) return;
    if (origin.incarnation === this.#incarnation) this.#probe.returned(message.serial);
  }

  /** Its producer says that something in front of this may be missing. */
  #onLoss(listener: BusListener, linked: LinkedRoom | undefined, channel: string, envelope: BusEnvelope): void {
    const { origin, message } = envelope;
    if (message.kind !== 'probe') return;
    // The hole is told with it, not once more behind it.
    if (linked !== undefined) {
      linked.seen.note(origin);
      this.#roomMissed(listener, linked);
    } else if (channel === this.#nodeChannel) {
      this.#seenByNode.note(origin);
      this.#missed(listener, { kind: 'direct' });
    } else if (channel === this.#allChannel) {
      this.#seenByAll.note(origin);
      if (message.serial === LOSS.OF_CHANNEL) this.#missed(listener, { kind: 'all' });
      else if (message.serial === LOSS.DIRECT) this.#missed(listener, { kind: 'direct' });
      else if (message.serial === LOSS.EVERY_ROOM) {
        for (const each of this.#rooms.all()) this.#roomMissed(listener, each);
      }
    }
  }

  /** Its producer could not send, or not append: what has a place is fetched, and that some may have none is told. */
  #roomMissed(listener: BusListener, { room, endsAtMs }: LinkedRoom): void {
    if (endsAtMs > 0) return;
    if (this.#options.hasHistory?.(room) === true) listener.onRoomsMissed([room], true);
    else this.#missed(listener, { kind: 'room', room });
  }

  #missed(listener: BusListener, scope: GapScope): void {
    this.#missedCount += 1;
    listener.onMissed(scope);
  }

  #onRoom(listener: BusListener, linked: LinkedRoom, { origin, message }: BusEnvelope): void {
    const seen = linked.seen.note(origin);
    this.#noteHole(listener, seen, { kind: 'room', room: linked.room });
    if (message.kind !== 'room') return;
    // What has a place in a sequence is put there, or dropped, by that.
    if ((seen !== SEEN.LATE || message.place !== undefined) && linked.endsAtMs === 0)
      listener.onRoom(linked.room, message);
  }

  #onOther(listener: BusListener, channel: string, { origin, message }: BusEnvelope): void {
    if (channel === this.#allChannel) {
      const seen = this.#seenByAll.note(origin);
      this.#noteHole(listener, seen, { kind: 'all' });
      if (message.kind === 'all' && seen !== SEEN.LATE) listener.onAll(message);
    } else if (channel === this.#nodeChannel) {
      const seen = this.#seenByNode.note(origin);
      this.#noteHole(listener, seen, { kind: 'direct' });
      // Only pushes have an order to keep: a connection is closed however late its node hears of it.
      if (seen === SEEN.LATE && (message.kind === 'keys' || message.kind === 'mids')) return;
      if (message.kind !== 'all' && message.kind !== 'room' && message.kind !== 'probe') {
        listener.onNode(message, origin.serverId);
      }
    }
  }

  #noteHole(listener: BusListener, seen: SeenOutcome, scope: GapScope): void {
    if (seen !== SEEN.HOLE) return;
    this.#holeCount += 1;
    this.#missed(listener, scope);
  }

  /** Everything is subscribed again: tell what may have been lost meanwhile. */
  #onRestored(): void {
    const listener = this.#listener;
    if (listener === undefined) return;
    this.#restoredCount += 1;
    this.#seenByNode.allowJumps();
    this.#seenByAll.allowJumps();
    this.#missed(listener, { kind: 'direct' });
    this.#missed(listener, { kind: 'all' });
    const withHistory: string[] = [];
    for (const { room, seen, endsAtMs } of this.#rooms.all()) {
      seen.allowJumps();
      if (endsAtMs > 0) continue;
      if (this.#options.hasHistory?.(room) === true) withHistory.push(room);
      else this.#missed(listener, { kind: 'room', room });
    }
    if (withHistory.length > 0) listener.onRoomsMissed(withHistory);
    this.#log.info({ roomCount: this.#rooms.count }, 'the subscriptions are restored; what may be missed is told');
  }
  /** The servers of these channels have changed, and their messages of that moment went to nobody. */
  #onMoved(channels: readonly string[]): void {
    const listener = this.#listener;
    if (listener === undefined) return;
    this.#movedCount += channels.length;
    for (const channel of channels) {
      const linked = this.#rooms.byChannel(channel);
      if (linked !== undefined) {
        linked.seen.allowJumps();
        this.#roomMissed(listener, linked);
      } else if (channel === this.#nodeChannel) {
        this.#seenByNode.allowJumps();
        this.#missed(listener, { kind: 'direct' });
      }
    }
    this.#log.info({ channelCount: channels.length }, 'slots have moved; what may be missed of their channels is told');
  }
}
