/**
 * What control thread and bucket ask of each other besides pushes and connects: closing channels, joining and leaving rooms
 * on behalf of the backend, and pushes of the application to the node.
 *
 * Threads: its bucket.
 */
import { OUTCOME, type Outcome } from '../../errors/index.js';
import { PUSH_OUTCOME, type PushCommand, type PushOutcome, type PushTarget } from '../../push/index.js';
import type { Logger } from '../../telemetry/index.js';
import type { RecordLink } from '../record-link.js';
import {
  type CloseMessage,
  type JoinMessage,
  type LeaveMessage,
  MESSAGE,
  type PublishedMessage,
  type TlsMessage,
} from '../thread-messages.js';
import type { TlsSet } from '../tls/index.js';
import { CHANNEL_STATE, type Channel } from './channel.js';
import type { ChannelRooms } from './channel-rooms.js';
import type { ChannelSlots } from './channel-slots.js';
import type { RoomShards } from './room-shards.js';

/** The control thread's bit. */
const CONTROL_MASK = 1;

/** What of the logger a refused certificate needs. */
type ErrorLog = Pick<Logger, 'error'>;

export interface ControlRequestParts {
  readonly link: RecordLink;
  readonly slots: ChannelSlots;
  readonly shards: RoomShards;
  readonly rooms: ChannelRooms;
  /** Send what waits for this channel, so that it leaves before a close. */
  readonly flushChannel: (channel: Channel) => void;
  /** Rejects where the old certificates stay. */
  readonly reloadTls: (set: TlsSet) => Promise<void>;
  readonly log: ErrorLog;
  readonly close: (
    channel: Channel,
    code: number,
    reason: string,
    advice: { readonly reconnect: boolean; readonly retryAfterMs: number },
  ) => void;
}

export class ControlRequests {
  readonly #parts: ControlRequestParts;
  readonly #publishes = new Map<number, (outcome: PushOutcome) => void>();
  #publishRequest = 0;

  constructor(parts: ControlRequestParts) {
    this.#parts = parts;
  }

  onClose([, request, connIds, code, reason, reconnect, retryAfterMs]: CloseMessage): void {
    const channels = this.#byConnIds(connIds);
    for (const channel of channels) {
      // What was pushed before the disconnect goes out before it.
      this.#parts.flushChannel(channel);
      this.#parts.close(channel, code, reason, { reconnect, retryAfterMs });
    }
    this.#done(request, channels.length);
  }

  onJoin([, request, connIds, rooms]: JoinMessage): void {
    const channels = this.#byConnIds(connIds);
    if (channels.length === 0 || rooms.length === 0) {
      this.#done(request, 0);
      return;
    }
    this.#parts.shards.open(rooms, (shards) => {
      let count = 0;
      for (const channel of channels) {
        if (channel.state !== CHANNEL_STATE.READY) continue;
        count += 1;
        for (const shard of shards) this.#parts.rooms.enterAsked(channel, shard);
      }
      this.#done(request, count);
    });
  }

  onLeave([, request, connIds, rooms]: LeaveMessage): void {
    const channels = this.#byConnIds(connIds);
    for (const channel of channels) this.#parts.rooms.leave(channel, rooms);
    this.#done(request, channels.length);
  }

  onTls([, request, set]: TlsMessage): void {
    this.#parts.reloadTls(set).then(
      () => this.#done(request, 1),
      (error: unknown) => {
        this.#parts.log.error({ err: error }, 'this bucket refuses the new certificates and keeps the old ones');
        this.#done(request, 0);
      },
    );
  }

  onPublished([, request, outcome]: PublishedMessage): void {
    this.#publishes.get(request)?.(outcome as PushOutcome);
    this.#publishes.delete(request);
  }

  /** Hand a push to the node's queue; resolves with its answer, rejects with CONTROL_RECORD_TOO_LARGE. */
  publish(command: PushCommand): Promise<PushOutcome> {
    this.#publishRequest += 1;
    const request = this.#publishRequest;
    return new Promise((resolve) => {
      // First, since it throws (and so rejects) where the push is too large for the ring: nobody would ever answer it.
      this.#send(request, command.target, command.op, command.body);
      this.#publishes.set(request, resolve);
    });
  }

  /** Hand a push to one key over, without an answer. FULL: earlier messages still wait for room in the ring. */
  pushToKey(key: string, op: number, body: Uint8Array): Outcome {
    if (this.#parts.link.backlogCount > 0) return OUTCOME.FULL;
    this.#send(0, { kind: 'keys', keys: [key], ignoresWatchSet: true }, op, body);
    return OUTCOME.OK;
  }

  /**
   * Answers may be lost. Whether a push was taken is unknown then; a rejection that nobody awaits would cost the bucket,
   * and a false OK is worse.
   */
  reset(): void {
    const publishes = [...this.#publishes.values()];
    this.#publishes.clear();
    for (const resolve of publishes) resolve(PUSH_OUTCOME.CLOSED);
  }

  #send(request: number, target: PushTarget, op: number, body: Uint8Array): void {
    this.#parts.link.send(CONTROL_MASK, [MESSAGE.PUBLISH, request, target, op, body]);
  }

  #byConnIds(connIds: readonly number[]): Channel[] {
    const channels: Channel[] = [];
    for (const connId of connIds) {
      const channel = this.#parts.slots.byConnId(connId);
      if (channel !== undefined && channel.state !== CHANNEL_STATE.CLOSED) channels.push(channel);
    }
    return channels;
  }

  #done(request: number, count: number): void {
    if (request > 0) this.#parts.link.send(CONTROL_MASK, [MESSAGE.DONE, request, count]);
  }
}
