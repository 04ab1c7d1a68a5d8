/**
 * Which rooms this node is subscribed to: those with members here, and for a while those that had some (a room whose only
 * member reconnects would be unsubscribed and subscribed all the time).
 *
 * Threads: control thread only.
 * Guarantees: see `RoomLinks`. A room that is linked again while it lingers costs nothing.
 */
import type { Clock } from '../../clock/index.js';
import type { MaybePromise, RoomLinks } from '../../push/index.js';
import { SeenCounters } from './redis-bus-counters.js';
import type { BusSubscriber, ChannelKind } from './redis-bus-subscriber.js';

/** Told of the rooms that this node takes part in, for example the registry of the durable queue. */
export interface RoomRegistry {
  /** Awaited before the first join is answered. A rejection counts as done: the registry repairs itself. */
  add(room: string): MaybePromise<void>;
  /** The link has ended, lingering included. */
  remove(room: string): void;
}

export interface BusRoomsOptions {
  readonly lingerMs: number;
  readonly channelKind: ChannelKind;
  readonly channelOf: (room: string) => string;
  readonly registry?: RoomRegistry | undefined;
}

export interface LinkedRoom {
  readonly room: string;
  readonly channel: string;
  readonly seen: SeenCounters;
  /** Until it resolves nobody may rely on the subscription. */
  pending: Promise<void> | undefined;
  /** Monotonic ms at which it is unsubscribed; 0: it has members. */
  endsAtMs: number;
}

export class BusRooms implements RoomLinks {
  readonly #subscriber: BusSubscriber;
  readonly #options: BusRoomsOptions;
  readonly #clock: Clock;
  readonly #byRoom = new Map<string, LinkedRoom>();
  readonly #byChannel = new Map<string, LinkedRoom>();
  /** In the order in which they end. */
  readonly #lingering = new Set<LinkedRoom>();
  #timer: NodeJS.Timeout | undefined;

  constructor(subscriber: BusSubscriber, options: BusRoomsOptions, clock: Clock) {
    this.#subscriber = subscriber;
    this.#options = options;
    this.#clock = clock;
  }

  /** Lingering ones included. */
  get count(): number {
    return this.#byRoom.size;
  }

  byRoom(room: string): LinkedRoom | undefined {
    return this.#byRoom.get(room);
  }

  byChannel(channel: string): LinkedRoom | undefined {
    return this.#byChannel.get(channel);
  }

  all(): IterableIterator<LinkedRoom> {
    return this.#byRoom.values();
  }

  link(room: string): Promise<void> | undefined {
    const known = this.#byRoom.get(room);
    if (known !== undefined) {
      known.endsAtMs = 0;
      this.#lingering.delete(known);
      return known.pending;
    }
    const { channelOf, channelKind, registry } = this.#options;
    const channel = channelOf(room);
    const linked: LinkedRoom = { room, channel, seen: new SeenCounters(), pending: undefined, endsAtMs: 0 };
    this.#byRoom.set(room, linked);
    this.#byChannel.set(channel, linked);
    const subscribed = this.#subscriber.add(channelKind, channel);
    const registered = registry?.add(room);
    if (subscribed === undefined && registered === undefined) return undefined;
    const pending = Promise.allSettled([subscribed, registered]).then(() => {
      linked.pending = undefined;
    });
    linked.pending = pending;
    return pending;
  }

  unlink(room: string): void {
    const linked = this.#byRoom.get(room);
    if (linked === undefined || linked.endsAtMs > 0) return;
    if (this.#options.lingerMs === 0) {
      this.#end(linked);
      return;
    }
    linked.endsAtMs = this.#clock.monotonicMs() + this.#options.lingerMs;
    this.#lingering.add(linked);
    this.#arm();
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #arm(): void {
    if (this.#timer !== undefined) return;
    for (const { endsAtMs } of this.#lingering) {
      const waitMs = Math.max(1, Math.ceil(endsAtMs - this.#clock.monotonicMs()));
      this.#timer = setTimeout(() => this.#endDue(), waitMs).unref();
      return;
    }
  }

  #endDue(): void {
    this.#timer = undefined;
    const nowMs = this.#clock.monotonicMs();
    for (const linked of this.#lingering) {
      if (linked.endsAtMs > nowMs) break;
      this.#lingering.delete(linked);
      this.#end(linked);
    }
    this.#arm();
  }

  #end(linked: LinkedRoom): void {
    this.#byRoom.delete(linked.room);
    this.#byChannel.delete(linked.channel);
    this.#subscriber.remove(this.#options.channelKind, linked.channel);
    this.#options.registry?.remove(linked.room);
  }
}
