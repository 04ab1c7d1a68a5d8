/**
 * Recoveries (op 23) of this bucket's channels: asks the control thread, and writes its answers (op 24).
 *
 * How an answer joins the live stream. It is read from the ring behind every message that it holds and in front of every later
 * one. What waits for a flush in the channel's cohort of the room is sent first; then the answer; what comes after it
 * continues at its end. So a client that drops the room's messages while it waits for op 24 gets each message once and in
 * order: what it dropped stands in the answer. A Gap of the room that comes instead (the channel was slow, op 24 may have been
 * dropped) ends the wait: it asks again. An answer that could not be written before the room went on is not written any more:
 * the control thread is asked once more, for all that wait.
 *
 * A storm: everybody has lost the connection at once, and asks. Channels that miss the same share one answer, in one turn and
 * over several (`BriefAnswers`). Writing 256 KiB costs a socket about 0.1 ms, so a thousand are written in slices of
 * `SLICE_MS`, with the loop free in between. An answer is written only where it fits below the channel's bound beside what its
 * socket holds already; until then the channel waits, with nothing of its own in memory. So a recovery never makes a channel
 * slow. One that would not fit an empty socket either is refused whole: sent in pieces, its tail would be lost with every
 * direct push that came meanwhile.
 *
 * Threads: its bucket.
 * Guarantees: all of what was missed, or `{recovered: false}`. One recovery per channel at a time (the packet handler holds later
 *   packets back), answered within `WAIT_MS` and the control thread's own deadline. Bounds: `MAX_UNSENT_BYTES` of answers in
 *   sockets that do not take them at once.
 */
import { CLIENT_ERROR, type ClientError } from '../../errors/index.js';
import { encodeRecoverRefused, OP, type RecoverBody } from '../../protocol/index.js';
import { BriefAnswers } from '../brief-answers.js';
import { MESSAGE, RECOVER_STATUS, type RecoveredMessage, type RecoverMessage } from '../thread-messages.js';
import { CHANNEL_FLAG, CHANNEL_STATE, type Channel } from './channel.js';
import type { ChannelWriter } from './channel-writer.js';
import { RecoveredAnswer } from './recovered-answer.js';
import type { RoomShards } from './room-shards.js';
import { codecOf } from './subscriptions.js';
import { UnsentRecoveries } from './unsent-recoveries.js';

export interface RecoveriesParts {
  readonly writer: ChannelWriter;
  readonly shards: RoomShards;
  readonly send: (message: RecoverMessage) => void;
  /** Runs `fn` so that a throw costs this channel only. */
  readonly guard: (channel: Channel, fn: () => void) => void;
  /** Unsent bytes at which a channel counts as slow; no answer is larger. */
  readonly maxBackpressureBytes: number;
  /** Default: performance.now(). */
  readonly nowMs?: () => number;
}

interface Asker {
  readonly channel: Channel;
  readonly key: string;
  readonly wanted: RecoverBody;
  readonly seq: number;
  readonly ver: number;
  readonly untilMs: number;
  readonly done: () => void;
}

interface Pending {
  readonly key: string;
  readonly room: string;
  readonly askers: Asker[];
}

interface Ready {
  readonly answer: RecoveredAnswer;
  readonly askers: readonly Asker[];
  next: number;
}

/** Time in which answers are written before the loop gets its turn. */
const SLICE_MS = 4;
/** How often it is looked whether sockets that had no room have some now. */
const POLL_MS = 10;
/** Longest time that a channel waits in this bucket; as long as history.recover_timeout_ms is by default. */
export const WAIT_MS = 5_000;
const MAX_UNSENT_BYTES = 16 * 1024 * 1024;

export class Recoveries {
  readonly #parts: RecoveriesParts;
  readonly #nowMs: () => number;
  readonly #byRequest = new Map<number, Pending>();
  readonly #requestByKey = new Map<string, number>();
  readonly #answers = new BriefAnswers<RecoveredAnswer>();
  readonly #unsent = new UnsentRecoveries(MAX_UNSENT_BYTES);
  /** Answers that are being written, the first one next. */
  #ready: Ready[] = [];
  #isScheduled = false;
  /** Their sockets hold too much. */
  #stalled: { readonly asker: Asker; readonly packetBytes: number }[] = [];
  #timer: NodeJS.Timeout | undefined;
  #request = 0;

  constructor(parts: RecoveriesParts) {
    this.#parts = parts;
    this.#nowMs = parts.nowMs ?? (() => performance.now());
  }

  /** Requests under way. */
  get pendingCount(): number {
    return this.#byRequest.size;
  }

  /** @param done called behind the answer, unless the channel is closed before */
  start(
    channel: Channel,
    wanted: RecoverBody,
    { seq, ver }: { readonly seq: number; readonly ver: number },
    done: () => void,
  ): void {
    const key = `${wanted.epoch}:${wanted.offset}:${wanted.room}`;
    this.#ask({ channel, key, wanted, seq, ver, untilMs: this.#nowMs() + WAIT_MS, done });
  }

  onRecovered([, request, status, body]: RecoveredMessage): void {
    const pending = this.#byRequest.get(request);
    if (pending === undefined) return;
    this.#byRequest.delete(request);
    this.#requestByKey.delete(pending.key);
    const shard = this.#parts.shards.byRoom(pending.room);
    const answer = new RecoveredAnswer(status, body, shard);
    if (shard !== undefined && status === RECOVER_STATUS.RECOVERED) this.#answers.put(pending.key, answer);
    this.#ready.push({ answer, askers: pending.askers, next: 0 });
    if (!this.#isScheduled) this.#write();
  }

  /** Answers of the control thread were lost. The channels that wait are closed before. */
  reset(): void {
    this.#byRequest.clear();
    this.#requestByKey.clear();
    this.#answers.clear();
    this.#unsent.clear();
    this.#ready = [];
    this.#stalled = [];
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #ask(asker: Asker): void {
    const { key, wanted } = asker;
    const known = this.#byRequest.get(this.#requestByKey.get(key) ?? 0);
    if (known !== undefined) {
      known.askers.push(asker);
      return;
    }
    const shard = this.#parts.shards.byRoom(wanted.room);
    const answer = this.#answers.get(key);
    if (answer !== undefined && shard !== undefined && answer.isCurrent(shard)) {
      this.#ready.push({ answer, askers: [asker], next: 0 });
      this.#writeLater();
      return;
    }
    this.#request += 1;
    this.#byRequest.set(this.#request, { key, room: wanted.room, askers: [asker] });
    this.#requestByKey.set(key, this.#request);
    this.#parts.send([MESSAGE.RECOVER, this.#request, wanted.room, wanted.epoch, wanted.offset]);
  }

  #writeLater(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    setImmediate(() => {
      this.#isScheduled = false;
      this.#write();
    });
  }

  /** One slice. */
  #write(): void {
    const endMs = this.#nowMs() + SLICE_MS;
    let done = 0;
    while (done < this.#ready.length && !this.#unsent.isFull) {
      const ready = this.#ready[done]!;
      const asker = ready.askers[ready.next]!;
      ready.next += 1;
      if (ready.next === ready.askers.length) done += 1;
      this.#parts.guard(asker.channel, () => this.#answer(asker, ready.answer));
      if (this.#nowMs() >= endMs) break;
    }
    this.#ready.splice(0, done);
    if (this.#ready.length === 0) return;
    if (this.#unsent.isFull) this.#pollLater();
    else this.#writeLater();
  }

  #answer(asker: Asker, answer: RecoveredAnswer): void {
    const { channel, wanted, seq, ver, done } = asker;
    const { socket } = channel;
    if (channel.state !== CHANNEL_STATE.READY || socket === undefined) return;
    const shard = this.#parts.shards.byRoom(wanted.room);
    const cohort = shard === undefined ? undefined : channel.cohortIn(shard);
    if (shard === undefined || cohort === undefined) {
      this.#refuse(asker, CLIENT_ERROR.NOT_MEMBER);
    } else if (answer.status !== RECOVER_STATUS.RECOVERED) {
      this.#flush(channel, asker);
      this.#refuse(asker, answer.status === RECOVER_STATUS.LATER ? CLIENT_ERROR.OVERLOADED : undefined);
    } else if (channel.has(CHANNEL_FLAG.SLOW)) {
      // A Gap of the room is on its way, and what would be written now would be dropped.
      done();
    } else if (answer.byteLength > this.#parts.maxBackpressureBytes) {
      this.#refuse(asker, undefined);
    } else if (socket.getBufferedAmount() + answer.byteLength > this.#parts.maxBackpressureBytes) {
      this.#stalled.push({ asker, packetBytes: answer.byteLength });
      this.#pollLater();
    } else if (!answer.isCurrent(shard)) {
      if (this.#nowMs() >= asker.untilMs) this.#refuse(asker, CLIENT_ERROR.OVERLOADED);
      else this.#ask(asker);
    } else {
      this.#flush(channel, asker);
      this.#parts.writer.raw(channel, answer.packetFor(seq, ver));
      this.#unsent.written(channel, this.#nowMs());
      done();
    }
  }

  /** What waits for the channel in the room stands in the answer, and goes first. */
  #flush(channel: Channel, { wanted }: Asker): void {
    const shard = this.#parts.shards.byRoom(wanted.room);
    const cohort = shard === undefined ? undefined : channel.cohortIn(shard);
    if (cohort !== undefined && cohort.pendingCount > 0) cohort.flush();
  }

  #refuse({ channel, seq, ver, done }: Asker, error: ClientError | undefined): void {
    this.#parts.writer.packet(channel, OP.RECOVER_REPLY, seq, ver, encodeRecoverRefused(codecOf(channel), error));
    done();
  }

  #pollLater(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#poll();
    }, POLL_MS);
  }

  #poll(): void {
    const nowMs = this.#nowMs();
    this.#unsent.measure(nowMs);
    if (this.#unsent.isFull) this.#refuseLate(nowMs);
    const stalled = this.#stalled;
    this.#stalled = [];
    for (const waiting of stalled) {
      const { asker, packetBytes } = waiting;
      this.#parts.guard(asker.channel, () => {
        if (this.#isStalled(asker, packetBytes, nowMs)) this.#stalled.push(waiting);
      });
    }
    if (this.#ready.length > 0) this.#writeLater();
    if (this.#stalled.length > 0) this.#pollLater();
  }

  /** Of those that wait for the others' sockets. */
  #refuseLate(nowMs: number): void {
    const lates: Asker[] = [];
    this.#ready = this.#ready.flatMap(({ answer, askers, next }) => {
      const left: Asker[] = [];
      for (const asker of askers.slice(next)) (nowMs >= asker.untilMs ? lates : left).push(asker);
      return left.length === 0 ? [] : [{ answer, askers: left, next: 0 }];
    });
    for (const late of lates) {
      if (late.channel.state !== CHANNEL_STATE.READY) continue;
      this.#parts.guard(late.channel, () => this.#refuse(late, CLIENT_ERROR.OVERLOADED));
    }
  }

  /** False: it was answered, asks again, or waits no more. */
  #isStalled(asker: Asker, packetBytes: number, nowMs: number): boolean {
    const { channel, done } = asker;
    const { socket } = channel;
    if (channel.state !== CHANNEL_STATE.READY || socket === undefined) return false;
    if (channel.has(CHANNEL_FLAG.SLOW)) {
      done();
    } else if (nowMs >= asker.untilMs) {
      this.#refuse(asker, CLIENT_ERROR.OVERLOADED);
    } else if (socket.getBufferedAmount() + packetBytes > this.#parts.maxBackpressureBytes) {
      return true;
    } else {
      this.#ask(asker);
    }
    return false;
  }
}
