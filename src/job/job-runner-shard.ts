/**
 * One shard of the durable queue in the hands of its owner: read, route, hand over, finish, until told to stop or fenced off.
 *
 * Threads: control thread only.
 * Guarantees: what an earlier owner left comes first, then what is new, in the order of the shard per receiving node and per
 *   room with history. While Redis does not answer, everything stays as it is and is tried again. An entry that cannot be
 *   read, is older than `maxAgeMs`, or fails `maxAttemptsCount` times goes to the dead letters; nothing waits behind it.
 *   While this job does not know which nodes there are (Redis has just come back) nothing is routed, at most `UNINFORMED_MAX_MS`.
 *   Nodes that write their sessions and rooms again are no reason to wait: they get what may be theirs (PushRouter).
 * Bound: `WINDOW_COUNT` entries or `WINDOW_BYTES` read and not finished: with a node that does not take, the others go on
 *   until then, and the shard stands until it does. That is the peak shaving.
 */
import type { Clock } from '../clock/index.js';
import { type DiscardCounter, HalleyError } from '../errors/index.js';
import {
  type DurableRoomAppender,
  FENCED,
  PUSH_OUTCOME,
  type PushCommand,
  type QueueEntry,
  type QueueShards,
  type ShardLease,
} from '../push/index.js';
import type { Logger } from '../telemetry/index.js';
import { type DeadDelivery, InboxLanes, type LaneCall, type OpenEntry } from './job-runner-lanes.js';
import type { JobNodes } from './job-runner-nodes.js';
import type { PushRouter } from './job-runner-router.js';

export interface ShardOptions {
  readonly batchCount: number;
  /** 0: no age is too old. */
  readonly maxAgeMs: number;
  readonly maxAttemptsCount: number;
  readonly inboxMaxCount: number;
}

export interface ShardDeps {
  readonly shards: QueueShards;
  readonly router: PushRouter;
  readonly nodes: JobNodes;
  readonly appender: DurableRoomAppender | undefined;
  /** False: what is known of the nodes is from before an outage, so nothing is routed. */
  readonly isInformed: () => boolean;
  readonly clock: Clock;
  readonly log: Logger;
  readonly discarded: DiscardCounter;
  /** The consumer group was not there: the first claim ever, or the data is gone. */
  readonly onNewGroup: (shard: number) => void;
}

/** Totals of all shards of a job. */
export interface ShardCounts {
  finished: number;
  delivered: number;
  buried: number;
  rerouted: number;
  retried: number;
  claimed: number;
}

interface HistoryWork {
  readonly entry: OpenEntry;
  readonly command: PushCommand;
}

export const WINDOW_COUNT = 4096;
const WINDOW_BYTES = 64 * 1024 * 1024;
const READ_TARGET_BYTES = 8 * 1024 * 1024;
const FIRST_READ_COUNT = 64;
const CALL_MAX_BYTES = 8 * 1024 * 1024;
const PROBE_MS = 10;
const WAIT_MS = 1000;
const UNINFORMED_POLL_MS = 20;
const UNINFORMED_MAX_MS = 30_000;
const FIRST_BACKOFF_MS = 20;
const MAX_BACKOFF_MS = 500;
/** After a refused call so many go out with a single delivery, to find the one at fault. */
const CAREFUL_CALL_COUNT = 1024;

/** True for a failure that the message itself may have caused; anything else may pass. */
function isFaultOfMessage(error: unknown): boolean {
  if (error instanceof HalleyError) return error.code !== 'REDIS_AWAY';
  return error instanceof TypeError || error instanceof RangeError;
}

export class ShardDrain {
  readonly lease: ShardLease;
  readonly #deps: ShardDeps;
  readonly #options: ShardOptions;
  readonly #counts: ShardCounts;
  readonly #lanes: InboxLanes;
  readonly #historyByRoom = new Map<string, HistoryWork[]>();
  #batch: readonly QueueEntry[] = [];
  /** Taken out of lanes of dead nodes and not looked up again yet. */
  #dead: readonly DeadDelivery[] = [];
  /** After which entry the claim of what was read and never finished goes on ('' from the start); undefined: done with. */
  #claimAfterId: string | undefined = '';
  #lastReadId = '0-0';
  /** Reads and claims since the last answer. Redis may have counted each as an attempt, and no entry is to blame for that. */
  #unansweredCount = 0;
  #meanEntryBytes = READ_TARGET_BYTES / FIRST_READ_COUNT;
  #carefulCallCount = 0;
  #informedAtMs: number;
  #isStopping = false;
  #isFenced = false;
  #backoffMs = 0;
  #interrupt: (() => void) | undefined;

  constructor(lease: ShardLease, deps: ShardDeps, options: ShardOptions, counts: ShardCounts) {
    this.lease = lease;
    this.#deps = deps;
    this.#options = options;
    this.#counts = counts;
    this.#informedAtMs = deps.clock.monotonicMs();
    this.#lanes = new InboxLanes({
      inboxMaxCount: options.inboxMaxCount,
      callMaxCount: 4 * options.batchCount,
      callMaxBytes: CALL_MAX_BYTES,
      probeMs: PROBE_MS,
    });
  }

  /** Resolves when the drain has ended; releases the lease unless another owner has it. */
  async run(): Promise<void> {
    while (!this.#isStopping && !this.#isFenced) {
      try {
        if (this.#mustWait()) {
          await this.#sleep(UNINFORMED_POLL_MS);
          continue;
        }
        const hasProgressed = await this.#step();
        this.#backoffMs = 0;
        if (!hasProgressed) await this.#idle();
      } catch (error) {
        this.#counts.retried++;
        // One line per outage, not one per attempt.
        const level = this.#backoffMs === 0 ? 'warn' : 'debug';
        this.#deps.log[level]({ err: error, shard: this.lease.shard }, 'a shard of the durable queue has to wait');
        this.#backoffMs = Math.min(MAX_BACKOFF_MS, Math.max(FIRST_BACKOFF_MS, 2 * this.#backoffMs));
        await this.#sleep(this.#backoffMs);
      }
    }
    if (this.#isFenced) return;
    const unfinishedIds = [...this.#lanes.openIds(), ...this.#batch.map(({ entryId }) => entryId)];
    await this.#deps.shards
      .release(this.lease, unfinishedIds)
      .catch((error: unknown) => this.#deps.discarded.ignore(error, 'shard not released, its lease ends by itself'));
  }

  /** End after the step that is under way. */
  stop(): void {
    this.#isStopping = true;
    this.#interrupt?.();
  }

  /** Another owner has the shard. */
  fence(): void {
    this.#isFenced = true;
    this.#interrupt?.();
  }

  gauges(): { readonly openCount: number; readonly slowNodeCount: number } {
    return { openCount: this.#lanes.openCount, slowNodeCount: this.#lanes.slowCount };
  }

  /** Not for ever: to route by what was known is better than not at all. */
  #mustWait(): boolean {
    const nowMs = this.#deps.clock.monotonicMs();
    const isInformed = this.#deps.isInformed();
    if (isInformed) this.#informedAtMs = nowMs;
    return !isInformed && nowMs - this.#informedAtMs < UNINFORMED_MAX_MS;
  }

  /** One round. False: there is nothing to do until something comes or a full inbox has room. */
  async #step(): Promise<boolean> {
    await this.#rerouteDead();
    // Not beside the hand-over: that drained a backlog 4 % faster, moved no more while producers push, and made their appends wait
    // (p99 58 ms against 40 ms, both of two runs of bench/store/redis-queue.bench.ts).
    const hasRead = await this.#readBatch();
    if (this.#isFenced) return true;
    if (this.#batch.length > 0) await this.#routeBatch();
    const hasAppended = this.#historyByRoom.size > 0 && (await this.#appendHistory());
    if (this.#isFenced) return true;
    const call = this.#lanes.nextCall(this.#deps.clock.monotonicMs(), this.#carefulCallCount > 0 ? 1 : undefined);
    if (call !== undefined) await this.#handOver(call);
    return hasRead || hasAppended || (call !== undefined && call.deliveryCount + call.doneIds.length > 0);
  }

  /** False: nothing came, or nothing may be read now. */
  async #readBatch(): Promise<boolean> {
    if (this.#batch.length > 0) return true;
    const roomCount = WINDOW_COUNT - this.#lanes.openCount;
    if (roomCount <= 0 || this.#lanes.openBytes >= WINDOW_BYTES) return false;
    const byBytes = Math.max(1, Math.floor(READ_TARGET_BYTES / this.#meanEntryBytes));
    const maxCount = Math.min(this.#options.batchCount, roomCount, byBytes);
    const { shards } = this.#deps;
    const unansweredCount = this.#unansweredCount++;
    if (this.#claimAfterId !== undefined) {
      const claimed = await shards.claim(this.lease, this.#claimAfterId, maxCount);
      if (claimed === FENCED) return this.#endFenced();
      this.#unansweredCount = 0;
      if (claimed.isNew) this.#deps.onNewGroup(this.lease.shard);
      this.#lastReadId = claimed.lastReadId;
      this.#counts.claimed += claimed.entries.length;
      const lastClaimed = claimed.entries.at(-1);
      // Behind what came: all before it is held here, open, and must not be claimed again.
      this.#claimAfterId = claimed.hasMore ? (lastClaimed?.entryId ?? this.#claimAfterId) : undefined;
      this.#batch = claimed.entries.map((entry) => ({ ...entry, attemptCount: entry.attemptCount - unansweredCount }));
      return true;
    }
    // Where the answer gets lost, Redis counts these entries as read, and no read brings them again: a claim does. Cleared below.
    this.#claimAfterId = this.#lastReadId;
    const entries = await shards.read(this.lease, maxCount);
    if (entries === FENCED) return this.#endFenced();
    this.#claimAfterId = undefined;
    this.#unansweredCount = 0;
    this.#batch = entries;
    const last = entries.at(-1);
    if (last === undefined) return false;
    this.#lastReadId = last.entryId;
    const bytes = entries.reduce((sum, entry) => sum + entry.bytes, 0);
    this.#meanEntryBytes = (this.#meanEntryBytes + bytes / entries.length) / 2;
    return true;
  }

  async #routeBatch(): Promise<void> {
    const sound: { readonly entry: QueueEntry; readonly command: PushCommand }[] = [];
    for (const entry of this.#batch) {
      const reason = this.#reasonToBury(entry);
      if (reason === '') sound.push({ entry, command: entry.command as PushCommand });
      else if (!(await this.#bury(entry.entryId, reason))) return;
    }
    const routed = await this.#deps.router.route(sound.map(({ command }) => command));
    this.#batch = [];
    for (const [index, { entry, command }] of sound.entries()) {
      const { parts = [], historyRooms = [] } = routed[index] ?? {};
      const open = this.#lanes.add(entry.entryId, entry.bytes, parts, historyRooms.length);
      for (const room of historyRooms) {
        const work = { entry: open, command: { ...command, target: { kind: 'rooms' as const, rooms: [room] } } };
        const waiting = this.#historyByRoom.get(room);
        if (waiting === undefined) this.#historyByRoom.set(room, [work]);
        else waiting.push(work);
      }
    }
  }

  /** '' for an entry that is to be delivered. */
  #reasonToBury({ problem, attemptCount, entryId }: QueueEntry): string {
    const { maxAgeMs, maxAttemptsCount } = this.#options;
    if (problem !== '') return `unreadable: ${problem}`;
    if (attemptCount > maxAttemptsCount) return `read ${attemptCount - 1} times and never finished`;
    const ageMs = this.#deps.clock.nowMs() - Number.parseInt(entryId, 10);
    return maxAgeMs > 0 && ageMs > maxAgeMs ? `expired: waited ${Math.round(ageMs / 1000)} s` : '';
  }

  /** False: fenced off. */
  async #bury(entryId: string, reason: string): Promise<boolean> {
    if ((await this.#deps.shards.bury(this.lease, entryId, reason)) === FENCED) return this.#endFenced();
    // A buried entry must not come up again when routing has to be repeated.
    this.#batch = this.#batch.filter((entry) => entry.entryId !== entryId);
    this.#counts.buried++;
    this.#deps.log.error({ shard: this.lease.shard, entryId, reason }, 'a durable push went to the dead letters');
    return true;
  }

  async #handOver(call: LaneCall): Promise<void> {
    try {
      const lengths = await this.#deps.shards.handOver(this.lease, call.parcels, call.doneIds);
      if (lengths === FENCED) {
        this.#endFenced();
        return;
      }
      this.#lanes.commit(call, lengths, this.#deps.clock.monotonicMs());
      this.#counts.delivered += call.deliveryCount;
      this.#counts.finished += call.doneIds.length;
      if (this.#carefulCallCount > 0) this.#carefulCallCount--;
    } catch (error) {
      if (!isFaultOfMessage(error)) throw error;
      if (call.onlyEntry === undefined) this.#carefulCallCount = CAREFUL_CALL_COUNT;
      else await this.#blame(call.onlyEntry, error);
    }
  }

  async #blame(entry: OpenEntry, error: unknown): Promise<void> {
    entry.failureCount++;
    if (entry.failureCount < this.#options.maxAttemptsCount) throw error;
    const cause = error instanceof HalleyError && error.cause instanceof Error ? error.cause : error;
    const reason = `failed ${entry.failureCount} times: ${cause instanceof Error ? cause.message : String(cause)}`;
    if (!(await this.#bury(entry.entryId, reason.slice(0, 500)))) return;
    this.#lanes.forget(entry);
    for (const [room, waiting] of this.#historyByRoom) {
      this.#setHistory(
        room,
        waiting.filter((work) => work.entry !== entry),
      );
    }
  }

  /** Rooms at the same time, each in its order. True: at least one message was taken. */
  async #appendHistory(): Promise<boolean> {
    const results = await Promise.all([...this.#historyByRoom].map(([room, work]) => this.#appendRoom(room, work)));
    for (const { failure, entry } of results) {
      if (failure === undefined || entry === undefined) continue;
      if (isFaultOfMessage(failure)) await this.#blame(entry, failure);
      else throw failure;
    }
    return results.some(({ takenCount }) => takenCount > 0);
  }

  async #appendRoom(
    room: string,
    work: readonly HistoryWork[],
  ): Promise<{ readonly takenCount: number; readonly failure?: unknown; readonly entry?: OpenEntry }> {
    let takenCount = 0;
    let end: { readonly failure?: unknown; readonly entry?: OpenEntry } = {};
    for (const { entry, command } of work) {
      try {
        const outcome = await this.#deps.appender?.append(room, command);
        if (outcome === PUSH_OUTCOME.TOO_LARGE) {
          throw new HalleyError('HISTORY_TOO_LARGE', 'the room takes no message of this size', { room });
        }
        // Full or closed: the room waits, and its order with it.
        if (outcome !== PUSH_OUTCOME.OK) break;
      } catch (failure) {
        end = { failure, entry };
        break;
      }
      takenCount++;
      this.#lanes.settle(entry);
      if (this.#isFenced) break;
    }
    this.#setHistory(room, work.slice(takenCount));
    return { takenCount, ...end };
  }

  #setHistory(room: string, work: HistoryWork[]): void {
    if (work.length === 0) this.#historyByRoom.delete(room);
    else this.#historyByRoom.set(room, work);
  }

  /** Keys and users of nodes that are gone may have come up elsewhere. */
  async #rerouteDead(): Promise<void> {
    const dead = this.#dead.length > 0 ? this.#dead : this.#lanes.takeDead((node) => this.#deps.nodes.isDead(node));
    if (dead.length === 0) return;
    this.#dead = dead;
    const routed = await this.#deps.router.reroute(dead);
    this.#dead = [];
    for (const [index, { entry }] of dead.entries()) {
      const parts = routed[index] ?? [];
      this.#counts.rerouted += parts.length;
      this.#lanes.extend(entry, parts);
      this.#lanes.settle(entry);
    }
  }

  #endFenced(): false {
    this.#isFenced = true;
    this.#deps.log.warn({ shard: this.lease.shard }, 'another job has taken the shard, or its data is gone');
    return false;
  }

  async #idle(): Promise<void> {
    if (this.#isFenced) return;
    if (this.#lanes.openCount > 0) {
      await this.#sleep(PROBE_MS);
      return;
    }
    let hasEnded = false;
    const wait = this.#deps.shards.waitForMore(this.lease.shard, this.#lastReadId, WAIT_MS);
    await new Promise<void>((resolve, reject) => {
      const end = (settle: () => void) => () => {
        hasEnded = true;
        this.#interrupt = undefined;
        settle();
      };
      this.#interrupt = end(resolve);
      wait.then(end(resolve), (error: unknown) => {
        // Interrupted meanwhile: nobody waits for this any more.
        if (hasEnded) this.#deps.discarded.ignore(error, 'wait of a shard that was stopped');
        else end(() => reject(error))();
      });
    });
  }

  #sleep(durationMs: number): Promise<void> {
    if (this.#isStopping || this.#isFenced) return Promise.resolve();
    return new Promise((resolve) => {
      const end = () => {
        clearTimeout(timer);
        this.#interrupt = undefined;
        resolve();
      };
      const timer = setTimeout(end, durationMs);
      this.#interrupt = end;
    });
  }
}
