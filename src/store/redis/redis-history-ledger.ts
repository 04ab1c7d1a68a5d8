/**
 * Who appends what the push channel brings to rooms with history, and what was appended: per room a key with the writer's name
 * and a stream with a hash per command, in one slot with the room's history. history-append.lua checks the one and writes the
 * other together with the message.
 *
 * Threads: control thread only.
 * Guarantees: a message is recorded if and only if it was appended; behind a claim nobody else appends. The record holds
 *   `PUSHED_WINDOW_MS` at least. A writer's name outlives the record, so that a room in use is claimed once.
 */
import type { HistoryRules } from '../../config/index.js';
import { HalleyError } from '../../errors/index.js';
import { encodeHistoryRecord } from '../../protocol/index.js';
import type { LedgerAppend, LedgerEntry, PushLedger } from '../../push/index.js';
import { logTtlMs, seqTtlMs } from './redis-history.js';
import type { RedisLink } from './redis-link.js';
import { RedisScript } from './redis-script.js';

export const PUSHED_WINDOW_MS = 15_000;
const WRITER_TTL_MS = 120_000;
const FENCED = 2;

type RawEntry = readonly [entryId: Buffer, fields: readonly Buffer[]];

export class RedisHistoryLedger implements PushLedger {
  readonly windowMs = PUSHED_WINDOW_MS;
  readonly #link: RedisLink;
  readonly #rules: HistoryRules;
  readonly #append = new RedisScript(import.meta.url, 'history-append.lua');
  readonly #claim = new RedisScript(import.meta.url, 'history-claim.lua');
  readonly #publishCommand: string;

  constructor(link: RedisLink, rules: HistoryRules) {
    this.#link = link;
    this.#rules = rules;
    this.#publishCommand = link.isCluster ? 'SPUBLISH' : 'PUBLISH';
  }

  async claim(room: string, writer: string, afterId: string, maxCount: number): Promise<readonly LedgerEntry[]> {
    const { keys, commands } = this.#link;
    const names = [keys.room(room, 'writer'), keys.room(room, 'pushed')];
    const args = [writer, WRITER_TTL_MS, fromOf(afterId), maxCount];
    return entriesOf(await this.#ask(room, () => this.#claim.runRaw(commands, names, args)));
  }

  async read(room: string, afterId: string, maxCount: number): Promise<readonly LedgerEntry[]> {
    const { keys, commands } = this.#link;
    const key = keys.room(room, 'pushed');
    return entriesOf(await this.#ask(room, () => commands.xrangeBuffer(key, fromOf(afterId), '+', 'COUNT', maxCount)));
  }

  async append(room: string, writer: string, push: LedgerAppend): Promise<string | undefined> {
    const rule = this.#rules.of(room);
    if (rule === undefined) throw new TypeError(`the room has no history: room=${room}`);
    const { keys, commands } = this.#link;
    const names = [
      keys.room(room, 'seq'),
      keys.room(room, 'log'),
      keys.room(room, 'writer'),
      keys.room(room, 'pushed'),
    ];
    const args = [
      Buffer.from(encodeHistoryRecord(push.op, push.body, push.messageId).buffer),
      rule.maxMessages,
      rule.maxAgeS * 1000,
      seqTtlMs(rule),
      logTtlMs(rule),
      `${this.#publishCommand} ${keys.roomChannel(room)}`,
      writer,
      Buffer.from(push.commandHash, 'latin1'),
      PUSHED_WINDOW_MS,
      WRITER_TTL_MS,
    ];
    const reply = await this.#ask(room, () => this.#append.runRaw(commands, names, args));
    const [, , status, entryId] = reply as [number, number, number, Buffer | undefined];
    // What was there already stands in the record under its first entry: '' is in front of every entry.
    return status === FENCED ? undefined : (entryId?.toString('latin1') ?? '');
  }

  #ask<T>(room: string, run: () => Promise<T>): Promise<T> {
    return this.#link.bounded(run).catch((error: unknown) => {
      throw new HalleyError('REDIS_AWAY', 'the history of a room could not be written', { room }, error);
    });
  }
}

function fromOf(afterId: string): string {
  return afterId === '' ? '-' : `(${afterId}`;
}

function entriesOf(reply: unknown): readonly LedgerEntry[] {
  return (reply as readonly RawEntry[]).map(([entryId, fields]) => ({
    entryId: entryId.toString('latin1'),
    commandHash: fields[1]?.toString('latin1') ?? '',
  }));
}
