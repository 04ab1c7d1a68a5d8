/**
 * BusInlet: where pushes from other nodes and from foreign producers enter this node. Pub/sub cannot be slowed down, so what the
 * JobQueue has no room for waits here, within bounds of its own; what finds no room even here is counted, logged and told to
 * the channels concerned as a Gap.
 *
 * Threads: control thread only.
 * Guarantees: order of the calls, over commands and Gaps; no silent loss. A Gap waits until the JobQueue has delivered what came
 *   before it, at most `GAP_WAIT_MS`: a queue that is never empty must not hold it back for ever.
 * Hot path: push() with nothing waiting hands over at once and allocates nothing.
 */
import { type CometPort, type GapScope, PUSH_OUTCOME, type PushCommand, type Pusher } from '../push/index.js';
import { type Logger, type StormGuard, stormGuard } from '../telemetry/index.js';
import { Fifo } from './fifo.js';
import { commandBytes, type JobGauges } from './job-queue.js';
import { requireBounds } from './queue-bounds.js';

export interface BusInletOptions {
  /** Most commands that wait, 1 or more. */
  readonly maxCount: number;
  /** Most bytes that wait, 1 or more. */
  readonly maxBytes: number;
  /** Milliseconds between two attempts while the queue is full. Default 2. */
  readonly retryMs?: number;
}

export interface BusInletParts {
  readonly queue: Pusher & { gauges(): Pick<JobGauges, 'queuedCount'> };
  readonly comet: Pick<CometPort, 'tellGap'>;
  readonly log: Logger;
}

export interface InletGauges {
  readonly waitingCount: number;
  readonly waitingBytes: number;
  /** Commands that this node's channels did not get; each was told as a Gap. */
  readonly lostCount: number;
  /** Gaps told to the comet. */
  readonly gapCount: number;
}

type Waiting =
  | { readonly command: PushCommand; readonly bytes: number }
  | { readonly command: undefined; readonly scope: GapScope };

const GAP_WAIT_MS = 1_000;
const SLICE_COUNT = 1_024;

export class BusInlet {
  readonly #parts: BusInletParts;
  readonly #options: BusInletOptions;
  readonly #log: StormGuard;
  readonly #waiting = new Fifo<Waiting>();
  /** Scopes whose Gap waits with no command of that scope behind it: another Gap would say the same. */
  readonly #openGaps = new Set<string>();
  #commandCount = 0;
  #commandBytes = 0;
  #lostCount = 0;
  #gapCount = 0;
  /** When a Gap at the head stops waiting for the queue; 0: none waits. */
  #gapDueMs = 0;
  #isClosed = false;
  #timer: NodeJS.Timeout | undefined;
  #nextSlice: NodeJS.Immediate | undefined;

  constructor(options: BusInletOptions, parts: BusInletParts) {
    requireBounds(options, ['maxCount', 'maxBytes']);
    this.#options = options;
    this.#parts = parts;
    this.#log = stormGuard({ target: parts.log, nowMs: () => performance.now() });
  }

  /** Deliver to this node's own channels. */
  push(command: PushCommand): void {
    if (this.#isClosed) {
      this.#lostCount += 1;
      return;
    }
    if (this.#waiting.count === 0) {
      const outcome = this.#parts.queue.push(command);
      if (outcome === PUSH_OUTCOME.OK) return;
      if (outcome !== PUSH_OUTCOME.FULL) {
        this.#lose(command, outcome);
        return;
      }
    }
    const bytes = commandBytes(command);
    if (this.#commandCount >= this.#options.maxCount || this.#commandBytes + bytes > this.#options.maxBytes) {
      this.#lose(command, PUSH_OUTCOME.FULL);
      return;
    }
    this.#waiting.append({ command, bytes });
    this.#commandCount += 1;
    this.#commandBytes += bytes;
    for (const scope of scopesOf(command)) this.#openGaps.delete(nameOf(scope));
    this.#schedule(false);
  }

  /** Messages of this scope may be missing here. */
  missed(scope: GapScope): void {
    const name = nameOf(scope);
    if (this.#isClosed || this.#openGaps.has(name)) return;
    this.#openGaps.add(name);
    this.#waiting.append({ command: undefined, scope });
    this.#schedule(true);
  }

  gauges(): InletGauges {
    return {
      waitingCount: this.#commandCount,
      waitingBytes: this.#commandBytes,
      lostCount: this.#lostCount,
      gapCount: this.#gapCount,
    };
  }

  /** Drop what waits (counted as lost) and everything that comes. May be called again. */
  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    clearImmediate(this.#nextSlice);
    this.#lostCount += this.#commandCount;
    this.#commandCount = 0;
    this.#commandBytes = 0;
    this.#waiting.clear();
    this.#openGaps.clear();
    this.#log.flush();
  }

  #lose(command: PushCommand, outcome: string): void {
    this.#lostCount += 1;
    const { maxCount, maxBytes } = this.#options;
    this.#log.logger.warn(
      { outcome, target: command.target.kind, bytes: command.body.length, maxCount, maxBytes },
      'a push from the cluster was lost on this node; its channels are told a Gap',
    );
    for (const scope of scopesOf(command)) this.missed(scope);
  }

  #schedule(soon: boolean): void {
    if (this.#nextSlice !== undefined) return;
    if (soon) {
      clearTimeout(this.#timer);
      this.#timer = undefined;
      this.#nextSlice = setImmediate(() => {
        this.#nextSlice = undefined;
        this.#deliverSlice();
      }).unref();
      return;
    }
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#deliverSlice();
    }, this.#options.retryMs ?? 2).unref();
  }

  #deliverSlice(): void {
    for (let index = 0; index < SLICE_COUNT; index++) {
      const first = this.#waiting.peek();
      if (first === undefined) return;
      const isDone = first.command === undefined ? this.#tellGap(first.scope) : this.#deliver(first);
      if (this.#isClosed) return;
      if (!isDone) {
        this.#schedule(false);
        return;
      }
      this.#waiting.removeFirst();
    }
    if (this.#waiting.count > 0) this.#schedule(true);
  }

  /** False: the queue is full, later. */
  #deliver({ command, bytes }: { readonly command: PushCommand; readonly bytes: number }): boolean {
    const outcome = this.#parts.queue.push(command);
    if (outcome === PUSH_OUTCOME.FULL) return false;
    this.#gapDueMs = 0;
    this.#commandCount -= 1;
    this.#commandBytes -= bytes;
    if (outcome !== PUSH_OUTCOME.OK) this.#lose(command, outcome);
    return true;
  }

  #tellGap(scope: GapScope): boolean {
    const { queue, comet } = this.#parts;
    if (queue.gauges().queuedCount > 0) {
      const nowMs = performance.now();
      if (this.#gapDueMs === 0) this.#gapDueMs = nowMs + GAP_WAIT_MS;
      if (nowMs < this.#gapDueMs) return false;
    }
    if (comet.tellGap(scope) === PUSH_OUTCOME.FULL) return false;
    this.#gapCount += 1;
    this.#openGaps.delete(nameOf(scope));
    return true;
  }
}

/** Who must be told where the command is lost. */
function scopesOf({ target }: PushCommand): readonly GapScope[] {
  switch (target.kind) {
    case 'rooms':
      return target.rooms.map((room) => ({ kind: 'room', room }));
    case 'all':
      return [{ kind: 'all' }];
    default:
      return [{ kind: 'direct' }];
  }
}

function nameOf(scope: GapScope): string {
  return scope.kind === 'room' ? `room ${scope.room}` : scope.kind;
}
