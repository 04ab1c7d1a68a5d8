/**
 * JobQueue: a bounded first-in first-out queue in front of the comet, the standalone form of goim's Kafka.
 *
 * Threads: control thread only.
 * Guarantees: what was answered `ok` reaches the comet in the order of the calls, over all targets, each part once. A full
 * queue answers `full` and keeps nothing; there is no false success (goim W5). Accepted messages are lost only
 * when the comet closes, when `close()` is called, or when the comet finds a message too large that was within
 * `messageMaxBytes`; all are counted in `gauges().lostCount`. Bound: `maxCount` messages and `maxBytes` bytes; the memory of a
 * burst returns when it has drained.
 *
 * A push to several rooms is one message per distinct room, because the comet takes a command whole or not at all: the rooms
 * that it has taken are never repeated, the others wait. Space for all of them is checked before the first is handed over.
 *
 * Hot path: `push` with an empty queue hands over at once and allocates nothing (several rooms: one command per room).
 */
import {
  type CometPort,
  PUSH_OUTCOME,
  type PushCommand,
  type Pusher,
  type PushOutcome,
  type RefusalListener,
} from '../push/index.js';
import { DrainWaiters } from './drain-waiters.js';
import { Fifo } from './fifo.js';
import { requireBounds } from './queue-bounds.js';

export interface JobQueueOptions {
  /** Most messages that wait, 1 or more. */
  readonly maxCount: number;
  /** Most bytes that wait (bodies, target texts and bookkeeping, see `commandBytes`), 1 or more. */
  readonly maxBytes: number;
  /** A larger body is answered `too_large` at once, whatever the state of the queue. At most what the comet takes. */
  readonly messageMaxBytes: number;
  /** Milliseconds between two attempts while the comet says `full`. Default 1. */
  readonly retryMs?: number;
}

export interface JobGauges {
  readonly queuedCount: number;
  readonly queuedBytes: number;
  /** Accepted, then not delivered: see the file's guarantees. */
  readonly lostCount: number;
  /** Pushes that were answered `full`. */
  readonly rejectedCount: number;
}

/** What one waiting message costs beside its body and texts: the command, its target, its place in the list. */
const BOOKKEEPING_BYTES = 128;
const MID_BYTES = 8;
/** Messages handed over in one turn of the event loop; then sockets and timers get theirs. */
const SLICE_COUNT = 1024;

interface Waiting {
  readonly command: PushCommand;
  readonly bytes: number;
}

/** What a command counts for while it waits. Texts count one byte per UTF-16 unit. */
export function commandBytes(command: PushCommand): number {
  const { target } = command;
  let bytes = BOOKKEEPING_BYTES + command.body.byteLength;
  if (target.kind === 'keys') for (const key of target.keys) bytes += key.length;
  else if (target.kind === 'mids') bytes += target.mids.length * MID_BYTES;
  else if (target.kind === 'rooms') for (const room of target.rooms) bytes += room.length;
  return bytes;
}

export class JobQueue implements Pusher {
  readonly #comet: Pick<CometPort, 'deliver'>;
  readonly #maxCount: number;
  readonly #maxBytes: number;
  readonly #messageMaxBytes: number;
  readonly #retryMs: number;
  readonly #waiting = new Fifo<Waiting>();
  readonly #drainWaiters = new DrainWaiters();
  #queuedBytes = 0;
  #lostCount = 0;
  #rejectedCount = 0;
  #closed = false;
  /** True inside `deliver`: a push from there (an application's listener) must queue behind the one that is on its way. */
  #delivering = false;
  #retry: NodeJS.Timeout | undefined;
  #nextSlice: NodeJS.Immediate | undefined;

  constructor(comet: Pick<CometPort, 'deliver'>, options: JobQueueOptions) {
    requireBounds(options, ['maxCount', 'maxBytes', 'messageMaxBytes']);
    this.#comet = comet;
    this.#maxCount = options.maxCount;
    this.#maxBytes = options.maxBytes;
    this.#messageMaxBytes = options.messageMaxBytes;
    this.#retryMs = options.retryMs ?? 1;
  }

  push(command: PushCommand, onRefused?: RefusalListener): PushOutcome {
    if (this.#closed) return PUSH_OUTCOME.CLOSED;
    if (command.body.byteLength > this.#messageMaxBytes) return PUSH_OUTCOME.TOO_LARGE;
    const { target } = command;
    if (target.kind === 'rooms' && target.rooms.length !== 1) return this.#pushRooms(command, target.rooms, onRefused);

    if (this.#waiting.count === 0 && !this.#delivering) {
      const outcome = this.#deliver(command);
      if (outcome === PUSH_OUTCOME.CLOSED) this.close();
      if (outcome !== PUSH_OUTCOME.FULL) return outcome;
    }
    const bytes = commandBytes(command);
    if (!this.#hasSpace(1, bytes)) return this.#reject(onRefused);
    this.#enqueue(command, bytes);
    return PUSH_OUTCOME.OK;
  }

  /** What waits and what was lost. */
  gauges(): JobGauges {
    return {
      queuedCount: this.#waiting.count,
      queuedBytes: this.#queuedBytes,
      lostCount: this.#lostCount,
      rejectedCount: this.#rejectedCount,
    };
  }

  #reject(onRefused: RefusalListener | undefined): PushOutcome {
    this.#rejectedCount += 1;
    onRefused?.(
      `the push queue of the node is full (queue.max_messages, queue.max_bytes): messages=${this.#waiting.count} maxMessages=${this.#maxCount} bytes=${this.#queuedBytes} maxBytes=${this.#maxBytes}`,
    );
    return PUSH_OUTCOME.FULL;
  }

  /**
   * Wait until nothing is queued. New pushes are still accepted meanwhile: stop their sources first.
   * @param timeoutMs 0: answer with the present state
   * @returns false when `timeoutMs` passed or the queue was closed with messages left
   */
  drain(timeoutMs: number): Promise<boolean> {
    if (this.#waiting.count === 0) return Promise.resolve(true);
    return this.#drainWaiters.wait(timeoutMs);
  }

  /** Answer `closed` from now on and drop what waits (counted as lost). May be called again. */
  close(): void {
    this.#closed = true;
    clearTimeout(this.#retry);
    clearImmediate(this.#nextSlice);
    this.#lostCount += this.#waiting.count;
    const drained = this.#waiting.count === 0;
    this.#waiting.clear();
    this.#queuedBytes = 0;
    this.#drainWaiters.settleAll(drained);
  }

  #pushRooms(command: PushCommand, rooms: readonly string[], onRefused: RefusalListener | undefined): PushOutcome {
    const parts = [...new Set(rooms)].map(
      (room): PushCommand => ({ ...command, target: { kind: 'rooms', rooms: [room] } }),
    );
    const partBytes = parts.map(commandBytes);
    const bytes = partBytes.reduce((sum, one) => sum + one, 0);
    if (parts.length > this.#maxCount || bytes > this.#maxBytes) return PUSH_OUTCOME.TOO_LARGE;
    if (!this.#hasSpace(parts.length, bytes)) return this.#reject(onRefused);

    let done = 0;
    if (this.#waiting.count === 0 && !this.#delivering) {
      for (const part of parts) {
        const outcome = this.#deliver(part);
        if (outcome === PUSH_OUTCOME.FULL) break;
        if (outcome !== PUSH_OUTCOME.OK && done === 0) {
          if (outcome === PUSH_OUTCOME.CLOSED) this.close();
          return outcome;
        }
        done++;
        // Some rooms have it already, so the command stands as accepted and the rest is a counted loss.
        if (outcome !== PUSH_OUTCOME.OK) this.#lostCount++;
      }
    }
    for (let index = done; index < parts.length; index++) {
      this.#enqueue(parts[index] as PushCommand, partBytes[index] as number);
    }
    return PUSH_OUTCOME.OK;
  }

  #hasSpace(count: number, bytes: number): boolean {
    return this.#waiting.count + count <= this.#maxCount && this.#queuedBytes + bytes <= this.#maxBytes;
  }

  #enqueue(command: PushCommand, bytes: number): void {
    if (this.#closed) {
      // Closed from inside `deliver`, after the bounds were checked.
      this.#lostCount++;
      return;
    }
    this.#waiting.append({ command, bytes });
    this.#queuedBytes += bytes;
    this.#schedule(false);
  }

  #deliver(command: PushCommand): PushOutcome {
    this.#delivering = true;
    try {
      return this.#comet.deliver(command);
    } finally {
      this.#delivering = false;
    }
  }

  /** Continue in the next turn, or after `retryMs` when the comet was full. Neither keeps the process alive. */
  #schedule(soon: boolean): void {
    if (this.#retry !== undefined || this.#nextSlice !== undefined) return;
    if (soon) {
      this.#nextSlice = setImmediate(() => {
        this.#nextSlice = undefined;
        this.#deliverSlice();
      }).unref();
    } else {
      this.#retry = setTimeout(() => {
        this.#retry = undefined;
        this.#deliverSlice();
      }, this.#retryMs).unref();
    }
  }

  #deliverSlice(): void {
    for (let index = 0; index < SLICE_COUNT; index++) {
      const first = this.#waiting.peek();
      if (first === undefined) break;
      const outcome = this.#deliver(first.command);
      if (this.#closed) {
        // Closed from inside `deliver`: the list is gone and this message was counted as lost with it.
        if (outcome === PUSH_OUTCOME.OK) this.#lostCount--;
        return;
      }
      if (outcome === PUSH_OUTCOME.FULL) {
        this.#schedule(false);
        return;
      }
      if (outcome === PUSH_OUTCOME.CLOSED) {
        this.close();
        return;
      }
      if (outcome === PUSH_OUTCOME.TOO_LARGE) this.#lostCount++;
      this.#waiting.removeFirst();
      this.#queuedBytes -= first.bytes;
    }
    if (this.#waiting.count > 0) this.#schedule(true);
    else this.#drainWaiters.settleAll(true);
  }
}
