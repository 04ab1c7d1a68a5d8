/**
 * HistoryIntake: commands of `PUBLISH halley:push` to rooms with history. Every node hears every command; exactly one appends it,
 * so that it has one place in the room's sequence, is delivered by the room's channel only, and can be recovered.
 *
 * How they agree. The living nodes stand in an order of their own for each room (rendezvous hash). The first, rank 0, appends at
 * once; ranks 1 and 2 keep what they hear and, `STEP_MS` times their rank later, hold it against the room's record (`PushLedger`).
 * What stands there is forgotten. What does not was missed by who stands before them: they claim the room, so that nobody else
 * can append to it any more, read the record once more, and append the rest in its order, and what follows, until another claims.
 * So it is the record and the claim, in Redis and atomic with the append, that make it once; the order of the nodes only says who
 * tries, and two nodes that see different lists of nodes merely take turns. Not chosen: an idempotency key per command (two
 * commands of the same bytes are two messages; and a key has no order), and an owner by lease alone (nobody appends for the
 * length of a lease where it dies, or is deaf).
 *
 * Threads: control thread only.
 * Guarantees: at most once, and what one producer publishes in its order. A node that dies, is frozen or does not hear is made
 *   up for within about a second, without a loss while one of the three ranks hears. A node that may have missed something itself
 *   (a start, a break of its subscriptions, a stall) stands by for `STAND_BY_MS`, so that one that did not comes first.
 *   Counted as lost: what no one could append for `HOLD_MS`, what a later command overtook, what the bounds do not hold.
 *   After a change of the nodes, a command of the same bytes as one of the record's last seconds may be taken for it where its
 *   appender died at the same time.
 * Bound: `maxCount` commands and `maxBytes` bytes held.
 */
import { type Clock, systemClock } from '../clock/index.js';
import { OUTCOME, type Outcome } from '../errors/index.js';
import { cityHash32 } from '../id/index.js';
import type { NodeDirectory, PushLedger } from '../push/index.js';
import { type Logger, type StormGuard, stormGuard } from '../telemetry/index.js';
import { type HeldPush, IntakeLine } from './history-intake-line.js';
import { requireBounds } from './queue-bounds.js';

export interface HistoryIntakeOptions {
  /** Most commands held, 1 or more. */
  readonly maxCount: number;
  /** Most bytes of bodies held, 1 or more. */
  readonly maxBytes: number;
}

export interface HistoryIntakeParts {
  readonly ledger: PushLedger;
  readonly directory: Pick<NodeDirectory, 'serverId' | 'live'>;
  /** Names this process among all writers; not only the node: two lives of it are two. */
  readonly writer: string;
  readonly ids: { tryWriteTo(bytes: Uint8Array, offset: number): Outcome };
  readonly log: Logger;
  readonly clock?: Clock;
}

export interface HistoryIntakeGauges {
  readonly heldCount: number;
  readonly appendedCount: number;
  /** Times that this node claimed a room although others stand before it: they had missed something. */
  readonly stoodInCount: number;
  readonly lostCount: number;
}

const RANK_COUNT = 3;
export const STEP_MS = 1_000;
export const STAND_BY_MS = 1_500;
const HOLD_MS = 10_000;
const TICK_MS = 50;
/** A tick that comes so much later tells that this process stood still: what it hears next is old. */
const STALL_MS = 3_000;
const DEAF_MS = 2_000;
const RETRY_MS = 50;
const MEMBERS_MS = 200;
const UNDER_WAY_COUNT = 512;
const RECORD_COUNT = 4_096;
/** Above the record's window: a room that is used again then begins with an empty record. */
const IDLE_MS = 60_000;
const SWEEP_MS = 10_000;
const MESSAGE_ID_BYTES = 8;

export class HistoryIntake {
  readonly #options: HistoryIntakeOptions;
  readonly #parts: HistoryIntakeParts;
  readonly #clock: Clock;
  readonly #log: StormGuard;
  readonly #lines = new Map<string, IntakeLine>();
  /** Those that hold something. */
  readonly #active = new Set<IntakeLine>();
  readonly #timer: NodeJS.Timeout;
  #members: readonly string[] = [];
  #membersVersion = 0;
  #membersReadAtMs = Number.NEGATIVE_INFINITY;
  #standByUntilMs: number;
  #deafUntilMs = Number.NEGATIVE_INFINITY;
  #tickedAtMs: number;
  #sweptAtMs: number;
  #heldCount = 0;
  #heldBytes = 0;
  #appendedCount = 0;
  #stoodInCount = 0;
  #lostCount = 0;
  #underWayCount = 0;
  #isClosed = false;
  #onIdle: (() => void) | undefined;

  constructor(options: HistoryIntakeOptions, parts: HistoryIntakeParts) {
    requireBounds(options, ['maxCount', 'maxBytes']);
    this.#options = options;
    this.#parts = parts;
    this.#clock = parts.clock ?? systemClock;
    this.#log = stormGuard({ target: parts.log, nowMs: () => this.#clock.monotonicMs() });
    this.#tickedAtMs = this.#clock.monotonicMs();
    this.#sweptAtMs = this.#tickedAtMs;
    this.#standByUntilMs = this.#tickedAtMs + STAND_BY_MS;
    this.#timer = setInterval(() => this.#tick(), TICK_MS).unref();
  }

  /** One command for one room. @param commandHash 8 bytes as latin1, of the whole command */
  take(room: string, op: number, body: Uint8Array, commandHash: string): void {
    const nowMs = this.#clock.monotonicMs();
    if (this.#isClosed || nowMs < this.#deafUntilMs) return;
    const line = this.#lineOf(room);
    line.usedAtMs = nowMs;
    this.#rank(line, nowMs);
    if (line.rank >= RANK_COUNT && !line.isWriter) return;
    const { maxCount, maxBytes } = this.#options;
    if (this.#heldCount >= maxCount || this.#heldBytes + body.length > maxBytes) {
      // Who only stands by has lost nothing yet.
      if (line.isWriter || line.rank === 0) this.#lose(1, room, 'held by the bounds');
      return;
    }
    this.#heldCount += 1;
    this.#heldBytes += body.length;
    line.hold({ commandHash, op, body, heardAtMs: nowMs, messageId: undefined, isDone: false, entryId: '' });
    this.#active.add(line);
    this.#advance(line, nowMs);
  }

  /** The subscriptions had a break: others may have heard more. */
  missed(): void {
    this.#standByUntilMs = Math.max(this.#standByUntilMs, this.#clock.monotonicMs() + STAND_BY_MS);
  }

  gauges(): HistoryIntakeGauges {
    return {
      heldCount: this.#heldCount,
      appendedCount: this.#appendedCount,
      stoodInCount: this.#stoodInCount,
      lostCount: this.#lostCount,
    };
  }

  /** Take nothing more; resolves when what is under way is answered. What is only held others append. */
  async close(): Promise<void> {
    this.#isClosed = true;
    clearInterval(this.#timer);
    this.#log.flush();
    if (this.#underWayCount > 0) {
      await new Promise<void>((resolve) => {
        this.#onIdle = resolve;
      });
    }
  }

  #lineOf(room: string): IntakeLine {
    const known = this.#lines.get(room);
    if (known !== undefined) return known;
    const line = new IntakeLine(room);
    this.#lines.set(room, line);
    return line;
  }

  /** Where this node stands for the room. */
  #rank(line: IntakeLine, nowMs: number): void {
    if (nowMs - this.#membersReadAtMs >= MEMBERS_MS) {
      this.#membersReadAtMs = nowMs;
      const members = this.#parts.directory.live().map(({ serverId }) => serverId);
      if (members.length !== this.#members.length || members.some((id, index) => id !== this.#members[index])) {
        this.#members = members;
        this.#membersVersion += 1;
      }
    }
    if (line.rankVersion === this.#membersVersion) return;
    line.rankVersion = this.#membersVersion;
    const { serverId } = this.#parts.directory;
    const own = scoreOf(serverId, line.room);
    line.rank = this.#members.filter(
      (id) => id !== serverId && isAbove(id, scoreOf(id, line.room), serverId, own),
    ).length;
  }

  /** Alone there is nobody to wait for. */
  #mustStandBy(nowMs: number): boolean {
    if (nowMs >= this.#standByUntilMs) return false;
    return this.#members.some((id) => id !== this.#parts.directory.serverId);
  }

  #advance(line: IntakeLine, nowMs: number): void {
    if (this.#isClosed || nowMs < line.notBeforeMs) return;
    if (line.isWriter) this.#send(line);
    else if (line.rank === 0 && !this.#mustStandBy(nowMs)) this.#ask(line, true);
  }

  #tick(): void {
    const nowMs = this.#clock.monotonicMs();
    if (nowMs - this.#tickedAtMs > STALL_MS) {
      // What comes now was published while this process stood still; others have appended it, or their record is over.
      this.#deafUntilMs = nowMs + DEAF_MS;
      this.#standByUntilMs = this.#deafUntilMs + STAND_BY_MS;
    }
    this.#tickedAtMs = nowMs;
    for (const line of this.#active) this.#look(line, nowMs);
    if (nowMs - this.#sweptAtMs < SWEEP_MS) return;
    this.#sweptAtMs = nowMs;
    for (const [room, line] of this.#lines) {
      if (line.usedAtMs + IDLE_MS <= nowMs && line.heldCount === 0 && !line.isAsking) this.#lines.delete(room);
    }
  }

  #look(line: IntakeLine, nowMs: number): void {
    if (line.isAsking || line.underWayCount > 0) return;
    this.#rank(line, nowMs);
    const isConcerned = line.isWriter || line.rank < RANK_COUNT;
    const tooOld = line.forgetOlder(isConcerned ? nowMs - HOLD_MS : Number.POSITIVE_INFINITY);
    this.#release(line, tooOld);
    const lostCount = tooOld.filter(({ isDone }) => !isDone).length;
    if (isConcerned && lostCount > 0) this.#lose(lostCount, line.room, 'too old');
    const { oldest } = line;
    if (oldest === undefined) {
      this.#active.delete(line);
      return;
    }
    this.#advance(line, nowMs);
    if (line.isWriter || line.rank === 0 || this.#mustStandBy(nowMs) || nowMs < line.notBeforeMs) return;
    if (nowMs - oldest.heardAtMs >= STEP_MS * line.rank) this.#ask(line, false);
  }

  /** Hold what is held against the record, as its writer or not yet. */
  #ask(line: IntakeLine, mustClaim: boolean): void {
    if (line.isAsking || line.underWayCount > 0) return;
    line.isAsking = true;
    this.#underWayCount += 1;
    this.#readRecord(line, mustClaim)
      .catch((error: unknown) => {
        line.notBeforeMs = this.#clock.monotonicMs() + RETRY_MS;
        this.#log.logger.warn({ err: error, room: line.room }, 'the record of a room could not be asked');
      })
      .finally(() => {
        line.isAsking = false;
        this.#settled();
        this.#advance(line, this.#clock.monotonicMs());
      });
  }

  async #readRecord(line: IntakeLine, mustClaim: boolean): Promise<void> {
    const { ledger, writer } = this.#parts;
    let isClaimed = mustClaim;
    let entries = mustClaim
      ? await ledger.claim(line.room, writer, line.afterId, RECORD_COUNT)
      : await ledger.read(line.room, line.afterId, RECORD_COUNT);
    for (;;) {
      const { gone, overtakenCount } = line.recorded(entries, ledger.windowMs);
      this.#release(line, gone);
      if (overtakenCount > 0) this.#lose(overtakenCount, line.room, 'overtaken');
      if (entries.length === RECORD_COUNT) {
        entries = await ledger.read(line.room, line.afterId, RECORD_COUNT);
        continue;
      }
      const { oldest } = line;
      const isMissing =
        oldest !== undefined && this.#clock.monotonicMs() - oldest.heardAtMs >= STEP_MS * line.rank && line.rank > 0;
      if (isClaimed || !isMissing || this.#isClosed) break;
      isClaimed = true;
      this.#stoodInCount += 1;
      entries = await ledger.claim(line.room, writer, line.afterId, RECORD_COUNT);
    }
    line.isWriter = isClaimed;
    line.isProven = false;
  }

  #send(line: IntakeLine): void {
    const { ledger, writer, ids } = this.#parts;
    // Alone until one was answered: behind it the server knows the script, and none overtakes another.
    while (line.isWriter && line.underWayCount < (line.isProven ? UNDER_WAY_COUNT : 1)) {
      const push = line.nextUnsent();
      if (push === undefined) return;
      if (push.messageId === undefined) {
        const messageId = new Uint8Array(MESSAGE_ID_BYTES);
        if (ids.tryWriteTo(messageId, 0) !== OUTCOME.OK) {
          line.restart();
          this.#stopWriting(line);
          return;
        }
        push.messageId = messageId;
      }
      line.underWayCount += 1;
      this.#underWayCount += 1;
      const { op, body, messageId, commandHash } = push;
      ledger.append(line.room, writer, { op, body, messageId, commandHash }).then(
        (entryId) => {
          if (entryId === undefined) this.#stopWriting(line);
          else this.#appended(line, push, entryId);
          this.#answered(line);
        },
        (error: unknown) => {
          this.#log.logger.warn(
            { err: error, room: line.room },
            'a push could not be appended; the record tells whether it was',
          );
          this.#stopWriting(line);
          this.#answered(line);
        },
      );
    }
  }

  #appended(line: IntakeLine, push: HeldPush, entryId: string): void {
    this.#appendedCount += 1;
    line.isProven = true;
    this.#release(line, line.appended(push, entryId));
  }

  #answered(line: IntakeLine): void {
    line.underWayCount -= 1;
    this.#settled();
    if (line.underWayCount === 0 && !line.isWriter) line.restart();
    this.#advance(line, this.#clock.monotonicMs());
  }

  /** Another node writes, or it is not known what became of an append: the record is asked, and not at once. */
  #stopWriting(line: IntakeLine): void {
    line.isWriter = false;
    line.notBeforeMs = this.#clock.monotonicMs() + RETRY_MS * (1 + Math.random());
  }

  #settled(): void {
    this.#underWayCount -= 1;
    if (this.#underWayCount === 0) this.#onIdle?.();
  }

  #release(line: IntakeLine, gone: readonly HeldPush[]): void {
    this.#heldCount -= gone.length;
    for (const { body } of gone) this.#heldBytes -= body.length;
    if (line.heldCount === 0 && line.underWayCount === 0) this.#active.delete(line);
  }

  #lose(count: number, room: string, reason: string): void {
    this.#lostCount += count;
    const { maxCount, maxBytes } = this.#options;
    this.#log.logger.warn(
      { count, room, reason, holdMs: HOLD_MS, maxCount, maxBytes },
      'pushes of the push channel to a room with history were lost',
    );
  }
}

function scoreOf(serverId: string, room: string): number {
  return cityHash32(Buffer.from(`${serverId}\n${room}`));
}

function isAbove(id: string, score: number, otherId: string, otherScore: number): boolean {
  return score === otherScore ? id < otherId : score > otherScore;
}
