/**
 * Rooms with history in Redis: sequence and messages of the whole cluster. Per room a hash (epoch, offset, the last message
 * ids) and a stream, in one slot with the room's channel; appending numbers, keeps and publishes in one script.
 *
 * Threads: control thread only.
 * Guarantees: offsets of an epoch are given once and published in their order; a message id among the room's last 32 is not
 *   appended again; a record that was lost comes back with an epoch it never had (microseconds of Redis's clock). A call
 *   settles within the link's command timeout. One that fails may have been carried out: append it again with its id.
 *   What Redis itself forgets (a restart from an older disk, a failover) shows as an offset that went back: renew().
 */
import type { HistoryRule, HistoryRules } from '../../config/index.js';
import { HalleyError } from '../../errors/index.js';
import { decodeHistoryRecord, encodeHistoryRecord } from '../../protocol/index.js';
import type { HistoryMessage, HistoryRange, RangeLimits, RoomHistory, RoomPlace } from '../../push/index.js';
import { luaSource } from './lua-source.js';
import type { RedisLink } from './redis-link.js';

/** How long the stream outlives its newest message's age. */
const LOG_SLACK_MS = 60_000;
/** How long the numbers outlive it: a room that is silent for days keeps its epoch, so that its members are told no Gap. */
const SEQ_SLACK_MS = 7 * 86_400_000;

type Numbers = readonly [epoch: number, offset: number];

/** The scripts as ioredis adds them to a client. */
interface HistoryScripts {
  halleyHistoryAppend(...args: (string | number | Uint8Array)[]): Promise<Numbers>;
  halleyHistoryRangeBuffer(
    ...args: (string | number)[]
  ): Promise<readonly [epoch: number, offset: number, firstOffset: number, messages: readonly Buffer[]]>;
  halleyHistoryPosition(...args: (string | number)[]): Promise<Numbers>;
}

export class RedisHistory implements RoomHistory {
  readonly #link: RedisLink;
  readonly #rules: HistoryRules;
  readonly #scripts: HistoryScripts;
  readonly #publishCommand: string;

  constructor(link: RedisLink, rules: HistoryRules) {
    this.#link = link;
    this.#rules = rules;
    this.#publishCommand = link.isCluster ? 'SPUBLISH' : 'PUBLISH';
    for (const [name, file, numberOfKeys] of [
      ['halleyHistoryAppend', 'history-append.lua', 2],
      ['halleyHistoryRange', 'history-range.lua', 2],
      ['halleyHistoryPosition', 'history-position.lua', 2],
    ] as const) {
      link.commands.defineCommand(name, { numberOfKeys, lua: luaSource(import.meta.url, file) });
    }
    this.#scripts = link.commands as unknown as HistoryScripts;
  }

  hasHistory(room: string): boolean {
    return this.#rules.hasHistory(room);
  }

  async append(room: string, op: number, body: Uint8Array, messageId: Uint8Array): Promise<RoomPlace> {
    const rule = this.#ruleOf(room);
    const record = encodeHistoryRecord(op, body, messageId);
    const [epoch, offset] = await this.#ask(room, () =>
      this.#scripts.halleyHistoryAppend(
        ...this.#keys(room),
        Buffer.from(record.buffer),
        rule.maxMessages,
        rule.maxAgeS * 1000,
        seqTtlMs(rule),
        logTtlMs(rule),
        `${this.#publishCommand} ${this.#link.keys.roomChannel(room)}`,
      ),
    );
    return { epoch, offset };
  }

  async range(room: string, epoch: number, fromOffset: number, limits: RangeLimits): Promise<HistoryRange> {
    const rule = this.#ruleOf(room);
    const [realEpoch, offset, firstOffset, records] = await this.#ask(room, () =>
      this.#scripts.halleyHistoryRangeBuffer(
        ...this.#keys(room),
        epoch,
        fromOffset,
        limits.maxMessages,
        limits.maxBytes,
        rule.maxAgeS * 1000,
      ),
    );
    const place = { epoch: realEpoch, offset };
    if (realEpoch !== epoch || fromOffset > offset + 1 || (records.length === 0 && fromOffset <= offset)) {
      return { isRecoverable: false, place, firstOffset };
    }
    const messages: HistoryMessage[] = [];
    for (const bytes of records) {
      const record = decodeHistoryRecord(bytes);
      if (record === undefined) {
        throw new HalleyError('REDIS_BAD_VALUE', 'a kept message has a header of 12 bytes', {
          room,
          bytes: bytes.length,
        });
      }
      messages.push({ offset: fromOffset + messages.length, ...record });
    }
    return { isRecoverable: true, place, messages };
  }

  position(room: string): Promise<RoomPlace> {
    return this.#position(room, 0);
  }

  renew(room: string, epoch: number): Promise<RoomPlace> {
    return this.#position(room, epoch);
  }

  async #position(room: string, endedEpoch: number): Promise<RoomPlace> {
    const rule = this.#ruleOf(room);
    const [epoch, offset] = await this.#ask(room, () =>
      this.#scripts.halleyHistoryPosition(...this.#keys(room), seqTtlMs(rule), endedEpoch),
    );
    return { epoch, offset };
  }

  #keys(room: string): [seq: string, log: string] {
    return [this.#link.keys.room(room, 'seq'), this.#link.keys.room(room, 'log')];
  }

  #ruleOf(room: string): HistoryRule {
    const rule = this.#rules.of(room);
    if (rule === undefined) throw new TypeError(`the room has no history: room=${room}`);
    return rule;
  }

  async #ask<T>(room: string, run: () => Promise<T>): Promise<T> {
    try {
      return await run();
    } catch (error) {
      throw new HalleyError('REDIS_AWAY', 'the history of a room could not be asked', { room }, error);
    }
  }
}

export function logTtlMs({ maxAgeS }: HistoryRule): number {
  return maxAgeS * 1000 + LOG_SLACK_MS;
}

export function seqTtlMs({ maxAgeS }: HistoryRule): number {
  return maxAgeS * 1000 + SEQ_SLACK_MS;
}
