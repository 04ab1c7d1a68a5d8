/**
 * Recoveries (op 23) of this bucket's channels: asks the control thread, and writes its answers (op 24).
 *
 * How an answer joins the live stream. It is read from the ring behind every message that it holds and in front of every later
 * one. What waits for a flush in the channel's cohort of the room is sent first; then the answer; what comes after it
 * continues at its end. So a client that drops the room's messages while it waits for op 24 gets each message once and in
 * order: what it dropped stands in the answer. A Gap of the room that comes instead (the channel was slow, op 24 may have been
 * dropped) ends the wait: it asks again.
 *
 * Threads: its bucket.
 * Guarantees: all of what was missed, or `{recovered: false}`. Channels that ask for the same while the answer is on its way
 *   share it. One recovery per channel at a time (the packet handler holds later packets back).
 */
import { CLIENT_ERROR } from '../../errors/index.js';
import { encodeRecoverRefused, OP, type RecoverBody } from '../../protocol/index.js';
import { MESSAGE, RECOVER_STATUS, type RecoveredMessage, type RecoverMessage } from '../thread-messages.js';
import { CHANNEL_STATE, type Channel } from './channel.js';
import type { ChannelWriter } from './channel-writer.js';
import type { RoomShards } from './room-shards.js';
import { codecOf } from './subscriptions.js';

export interface RecoveriesParts {
  readonly writer: ChannelWriter;
  readonly shards: RoomShards;
  readonly send: (message: RecoverMessage) => void;
  /** Runs `fn` so that a throw costs this channel only. */
  readonly guard: (channel: Channel, fn: () => void) => void;
}

interface Asker {
  readonly channel: Channel;
  readonly seq: number;
  readonly ver: number;
  readonly done: () => void;
}

interface Pending {
  readonly key: string;
  readonly room: string;
  readonly askers: Asker[];
}

export class Recoveries {
  readonly #parts: RecoveriesParts;
  readonly #byRequest = new Map<number, Pending>();
  readonly #requestByKey = new Map<string, number>();
  #request = 0;

  constructor(parts: RecoveriesParts) {
    this.#parts = parts;
  }

  /** Requests under way. */
  get pendingCount(): number {
    return this.#byRequest.size;
  }

  /** @param done called behind the answer, unless the channel is closed before */
  start(
    channel: Channel,
    { room, epoch, offset }: RecoverBody,
    { seq, ver }: { readonly seq: number; readonly ver: number },
    done: () => void,
  ): void {
    const asker = { channel, seq, ver, done };
    const key = `${epoch}:${offset}:${room}`;
    const known = this.#byRequest.get(this.#requestByKey.get(key) ?? 0);
    if (known !== undefined) {
      known.askers.push(asker);
      return;
    }
    this.#request += 1;
    this.#byRequest.set(this.#request, { key, room, askers: [asker] });
    this.#requestByKey.set(key, this.#request);
    this.#parts.send([MESSAGE.RECOVER, this.#request, room, epoch, offset]);
  }

  onRecovered([, request, status, body]: RecoveredMessage): void {
    const pending = this.#byRequest.get(request);
    if (pending === undefined) return;
    this.#byRequest.delete(request);
    this.#requestByKey.delete(pending.key);
    const shard = this.#parts.shards.byRoom(pending.room);
    for (const { channel, seq, ver, done } of pending.askers) {
      if (channel.state !== CHANNEL_STATE.READY) continue;
      this.#parts.guard(channel, () => {
        const cohort = shard === undefined ? undefined : channel.cohortIn(shard);
        if (cohort !== undefined && cohort.pendingCount > 0) cohort.flush();
        const isMember = cohort !== undefined;
        const answer = isMember && status === RECOVER_STATUS.RECOVERED ? body : refusal(channel, isMember, status);
        this.#parts.writer.packet(channel, OP.RECOVER_REPLY, seq, ver, answer);
        done();
      });
    }
  }

  /** Answers of the control thread were lost. The channels that wait are closed before. */
  reset(): void {
    this.#byRequest.clear();
    this.#requestByKey.clear();
  }
}

/** The client left the room meanwhile, or the node cannot now, or never. */
function refusal(channel: Channel, isMember: boolean, status: number): Uint8Array {
  if (!isMember) return encodeRecoverRefused(codecOf(channel), CLIENT_ERROR.NOT_MEMBER);
  return encodeRecoverRefused(codecOf(channel), status === RECOVER_STATUS.LATER ? CLIENT_ERROR.OVERLOADED : undefined);
}
