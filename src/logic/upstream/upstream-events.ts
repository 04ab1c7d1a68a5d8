/**
 * Upstream: makes events of what comet tells, numbers and encodes each once, and puts it into the lanes of every sink.
 *
 * Threads: control thread only.
 * Guarantees: events of one user (of a channel without a user: of its key) stand in one lane, in the order in which they were
 *   told; so a channel's connect, messages and disconnect, and its user's online and offline, arrive in order. While the node
 *   may not issue ids, events wait for theirs and messages are refused at the gate.
 * Hot path: message(): one JSON.stringify and one copy of the body (bench/logic/upstream.bench.ts).
 */
import type { Clock } from '../../clock/index.js';
import { cityHash32 } from '../../id/index.js';
import type {
  ClientMessage,
  EncodedEvent,
  NotReadyReason,
  ReadinessProbe,
  Session,
  Upstream,
  UpstreamEventType,
} from '../../push/index.js';
import type { Logger } from '../../telemetry/index.js';
import type { EventLanes, LaneGauges } from './event-lanes.js';
import { bodyMembers, encodeEvent, type UpstreamEvent } from './event-record.js';
import { type ClusterPresence, UserPresence } from './user-presence.js';

export interface UpstreamEventsOptions {
  readonly serverId: string;
  /** Which events are sent. */
  readonly types: ReadonlySet<UpstreamEventType>;
  readonly offlineDebounceMs: number;
  /** Users whose presence may be undecided, and events that may wait for an id. */
  readonly maxWaitingCount: number;
}

export interface UpstreamEventsParts {
  /** This node's channels. */
  readonly local: { byMids(mids: readonly number[]): readonly Session[] };
  /** Absent standalone. */
  readonly cluster?: ClusterPresence | undefined;
  readonly nodeEpoch: () => number;
  /** A snowflake in decimal; undefined while none may be issued. */
  readonly nextId: () => string | undefined;
  readonly clock: Clock;
  readonly log: Logger;
  /** True: client messages must be refused. Called on changes. */
  readonly onGate: (isShut: boolean) => void;
}

export interface UpstreamGauges extends LaneGauges {
  readonly undecidedUserCount: number;
}

interface Unnumbered {
  readonly event: UpstreamEvent;
  readonly lane: string;
  readonly isAccepted: boolean;
}

/** How often numbering is tried again while ids have stopped. */
const NUMBER_RETRY_MS = 50;
/** For so long after a loss the node is not ready. */
const LOSS_SHOWN_MS = 30_000;

export class UpstreamEvents implements Upstream, ReadinessProbe {
  readonly #options: UpstreamEventsOptions;
  readonly #parts: UpstreamEventsParts;
  readonly #presence: UserPresence | undefined;
  readonly #utf8 = new TextEncoder();
  #lanes: readonly EventLanes[] = [];
  #unnumbered: Unnumbered[] = [];
  #numberTimer: NodeJS.Timeout | undefined;
  #isShut = false;
  #ownLostCount = 0;
  #seenLostCount = 0;
  #lostAtMs = Number.NEGATIVE_INFINITY;

  constructor(options: UpstreamEventsOptions, parts: UpstreamEventsParts) {
    this.#options = options;
    this.#parts = parts;
    const wantsPresence = options.types.has('online') || options.types.has('offline');
    this.#presence = !wantsPresence
      ? undefined
      : new UserPresence(
          { debounceMs: options.offlineDebounceMs, maxWaitingCount: options.maxWaitingCount },
          {
            local: parts.local,
            cluster: parts.cluster,
            clock: parts.clock,
            log: parts.log,
            tell: (type, session) => this.#tellUser(type, session),
          },
        );
  }

  /** Where events go from now on: one per sink. */
  connect(lanes: readonly EventLanes[]): void {
    this.#lanes = lanes;
  }

  /** The lanes' `onChange`. */
  lanesChanged(): void {
    const lostCount = this.gauges().lostCount;
    if (lostCount > this.#seenLostCount) {
      this.#seenLostCount = lostCount;
      this.#lostAtMs = this.#parts.clock.monotonicMs();
    }
    const isShut = this.#unnumbered.length > 0 || this.#lanes.some(({ isFull }) => isFull);
    if (isShut === this.#isShut) return;
    this.#isShut = isShut;
    this.#parts.onGate(isShut);
    if (isShut) this.#parts.log.warn({ ...this.gauges() }, 'upstream has no room: messages of clients are refused');
    else this.#parts.log.info({ ...this.gauges() }, 'upstream has room again');
  }

  // Upstream.

  connected(session: Session, previous: Session | undefined): void {
    const isTakeover =
      previous !== undefined && previous.serverId === session.serverId && previous.nodeEpoch === session.nodeEpoch;
    if (isTakeover) this.#tellEnd(previous, 'taken over', true);
    this.#tell(laneOf(session), { type: 'connect', ...this.#place(session) }, false);
    const isFirst = !isTakeover && this.#parts.local.byMids([session.mid]).length <= 1;
    this.#presence?.connected(session, isFirst);
  }

  disconnected(session: Session, reason: string): void {
    const isOnline = session.mid > 0 && this.#parts.local.byMids([session.mid]).length > 0;
    this.#tellEnd(session, reason, isOnline);
    this.#presence?.disconnected(session);
  }

  /**
   * The sweeper removed the session of a node that is gone. Call it on the node whose removal took the session away, once: that
   * is what makes its disconnect be told once. Its "offline" is claimed once in the cluster, whoever sweeps.
   */
  swept(session: Session): void {
    this.disconnected(session, 'node lost');
  }

  message(message: ClientMessage): void {
    if (!this.#options.types.has('message')) return;
    const { key, mid, bucket, connId, room, op, seq, body, session } = message;
    const event: UpstreamEvent = {
      type: 'message',
      at_ms: this.#parts.clock.nowMs(),
      server_id: this.#options.serverId,
      node_epoch: session?.nodeEpoch ?? this.#parts.nodeEpoch(),
      key,
      mid: mid > 0 ? mid : undefined,
      conn_id: `${bucket}:${connId}`,
      room: room === '' ? undefined : room,
      op,
      seq,
      ...bodyMembers(body),
      platform: orAbsent(session?.platform),
      ip: orAbsent(session?.remoteIp),
    };
    this.#tell(mid > 0 ? String(mid) : key, event, true);
  }

  room(room: string, isOccupied: boolean): void {
    const type = isOccupied ? 'room_occupied' : 'room_empty';
    this.#tell(`room ${room}`, { type, ...this.#here(), room }, false);
  }

  // ReadinessProbe.

  notReady(): readonly NotReadyReason[] {
    const reasons: NotReadyReason[] = [];
    if (this.#isShut) {
      const full = this.#lanes.filter(({ isFull }) => isFull).map(({ name, lastCause }) => `${name} (${lastCause})`);
      const detail = `messages of clients are refused until events have gone out: ${full.join(', ') || 'no ids'}`;
      reasons.push({ reason: 'upstream_full', detail });
    }
    if (this.#parts.clock.monotonicMs() - this.#lostAtMs < LOSS_SHOWN_MS) {
      reasons.push({ reason: 'upstream_lost', detail: `events were lost a moment ago: lost=${this.#seenLostCount}` });
    }
    return reasons;
  }

  gauges(): UpstreamGauges {
    const sum = (pick: (gauges: LaneGauges) => number): number =>
      this.#lanes.reduce((total, lanes) => total + pick(lanes.gauges()), 0);
    return {
      waitingCount: sum((gauges) => gauges.waitingCount) + this.#unnumbered.length,
      waitingBytes: sum((gauges) => gauges.waitingBytes),
      sentCount: sum((gauges) => gauges.sentCount),
      failedCount: sum((gauges) => gauges.failedCount),
      deadCount: sum((gauges) => gauges.deadCount),
      lostCount: sum((gauges) => gauges.lostCount) + this.#ownLostCount + (this.#presence?.lostCount ?? 0),
      undecidedUserCount: this.#presence?.waitingCount ?? 0,
    };
  }

  /** Decide and send what is left, within the time. Call it when nothing can happen any more. True: everything went out. */
  async close(timeoutMs: number): Promise<boolean> {
    const startedMs = this.#parts.clock.monotonicMs();
    // Half for the questions, so that what they answer can still be sent.
    await this.#presence?.flush(timeoutMs / 2);
    clearTimeout(this.#numberTimer);
    this.#numberAll();
    this.#ownLostCount += this.#unnumbered.length;
    const leftMs = Math.max(0, timeoutMs - (this.#parts.clock.monotonicMs() - startedMs));
    const sent = await Promise.all(this.#lanes.map((lanes) => lanes.drain(leftMs)));
    const isComplete = sent.every(Boolean) && this.#unnumbered.length === 0;
    clearTimeout(this.#numberTimer);
    if (!isComplete) this.#parts.log.error({ ...this.gauges() }, 'upstream ended before all events were sent');
    return isComplete;
  }

  // Events.

  #here(): Pick<UpstreamEvent, 'at_ms' | 'server_id' | 'node_epoch'> {
    return {
      at_ms: this.#parts.clock.nowMs(),
      server_id: this.#options.serverId,
      node_epoch: this.#parts.nodeEpoch(),
    };
  }

  #place({ key, mid, serverId, nodeEpoch, bucket, connId, platform, remoteIp }: Session): Omit<UpstreamEvent, 'type'> {
    return {
      at_ms: this.#parts.clock.nowMs(),
      server_id: serverId,
      node_epoch: nodeEpoch,
      key,
      mid: mid > 0 ? mid : undefined,
      conn_id: `${bucket}:${connId}`,
      platform: orAbsent(platform),
      ip: orAbsent(remoteIp),
    };
  }

  #tellEnd(session: Session, reason: string, isOnline: boolean): void {
    const stillOnline = session.mid > 0 ? isOnline : undefined;
    const event: UpstreamEvent = { type: 'disconnect', ...this.#place(session), reason, still_online: stillOnline };
    this.#tell(laneOf(session), event, false);
  }

  #tellUser(type: 'online' | 'offline', session: Session): void {
    const { key, platform } = session;
    const stillOnline = type === 'offline' ? false : undefined;
    this.#tell(
      laneOf(session),
      { type, ...this.#here(), key, mid: session.mid, platform: orAbsent(platform), still_online: stillOnline },
      false,
    );
  }

  #tell(lane: string, event: UpstreamEvent, isAccepted: boolean): void {
    if (!this.#options.types.has(event.type)) return;
    if (this.#unnumbered.length > 0 || !this.#number(lane, event, isAccepted)) this.#holdBack(lane, event, isAccepted);
  }

  /** False: no id. */
  #number(lane: string, event: UpstreamEvent, isAccepted: boolean): boolean {
    const id = this.#parts.nextId();
    if (id === undefined) return false;
    const encoded: EncodedEvent = { id, type: event.type, json: encodeEvent(id, event) };
    const hash = cityHash32(this.#utf8.encode(lane));
    for (const lanes of this.#lanes) lanes.append(encoded, hash, isAccepted);
    return true;
  }

  #holdBack(lane: string, event: UpstreamEvent, isAccepted: boolean): void {
    if (!isAccepted && this.#unnumbered.length >= this.#options.maxWaitingCount) this.#ownLostCount += 1;
    else this.#unnumbered.push({ event, lane, isAccepted });
    this.#armNumbering();
    this.lanesChanged();
  }

  #armNumbering(): void {
    this.#numberTimer ??= setTimeout(() => {
      this.#numberTimer = undefined;
      this.#numberAll();
    }, NUMBER_RETRY_MS);
  }

  #numberAll(): void {
    let count = 0;
    for (const { lane, event, isAccepted } of this.#unnumbered) {
      if (!this.#number(lane, event, isAccepted)) break;
      count += 1;
    }
    this.#unnumbered.splice(0, count);
    if (this.#unnumbered.length > 0) this.#armNumbering();
    this.lanesChanged();
  }
}

function laneOf({ mid, key }: Session): string {
  return mid > 0 ? String(mid) : key;
}

function orAbsent(text: string | undefined): string | undefined {
  return text === '' ? undefined : text;
}
