/**
 * From a record of the runtime's own kinds to a mailbox, an answered question, or a command.
 *
 * Threads: one per thread, inside its ActorSystem. It runs while the record's memory is held, so nothing of the
 *   application runs here: mailboxes only take the message (observers of dead letters are the exception, and told so).
 * Hot path: onRecord() (bench/actor/actor.bench.ts): the message itself is all that is allocated for a tell.
 */
import type { ActorCell } from './actor-cell.js';
import type { AskTable } from './ask-table.js';
import type { BodyCodec } from './body-codec.js';
import { type Command, GUARDIAN_ID, isCommand } from './command.js';
import {
  ASK_ID_WORD,
  FORM,
  formOf,
  HEADER_BYTES,
  hopsOf,
  KIND,
  keyBytesOf,
  META_WORD,
  messageOffset,
  SENDER_ID_WORD,
  SENDER_INCARNATION_WORD,
  senderThreadOf,
  TARGET_ID_WORD,
  TARGET_INCARNATION_WORD,
} from './envelope.layout.js';
import type { KeyedActors } from './keyed-actors.js';
import type { DeadLetterOffice, Letter } from './letter.js';

/** A command and who waits for its answer. */
export interface ReceivedCommand {
  readonly command: Command;
  readonly letter: Letter | undefined;
}

export interface InboxParts {
  readonly threadIndex: number;
  readonly incarnation: number;
  readonly threadCount: number;
  readonly codec: BodyCodec;
  readonly asks: AskTable;
  readonly keyed: KeyedActors;
  readonly cells: ReadonlyMap<number, ActorCell>;
  readonly deadLetters: DeadLetterOffice;
  readonly replyFailure: (letter: Letter, reason: string) => void;
}

export class Inbox {
  /** Received and not yet obeyed, oldest first; its owner takes them out. */
  readonly commands: ReceivedCommand[];
  readonly #parts: InboxParts;
  readonly #cells: ReadonlyMap<number, ActorCell>;
  readonly #incarnation: number;
  readonly #sources: (Uint8Array | undefined)[];
  readonly #words: (Int32Array | undefined)[];

  constructor(parts: InboxParts) {
    this.commands = [];
    this.#parts = parts;
    this.#cells = parts.cells;
    this.#incarnation = parts.incarnation;
    this.#sources = new Array<Uint8Array | undefined>(parts.threadCount).fill(undefined);
    this.#words = new Array<Int32Array | undefined>(parts.threadCount).fill(undefined);
  }

  onRecord(kind: number, bytes: Uint8Array, offset: number, lengthBytes: number, fromThread: number): void {
    if (this.#sources[fromThread] !== bytes) this.#openSource(fromThread, bytes);
    const words = this.#words[fromThread]!;
    const header = offset >>> 2;
    const targetId = words[header + TARGET_ID_WORD]!;
    // What was meant for this thread's predecessor is nobody's any more; keys outlive their thread.
    if (kind !== KIND.KEYED && words[header + TARGET_INCARNATION_WORD] !== this.#incarnation) return;
    const askId = words[header + ASK_ID_WORD]!;
    const meta = words[header + META_WORD]!;
    const keyBytes = keyBytesOf(meta);
    const start = offset + messageOffset(keyBytes);
    const end = offset + lengthBytes;
    const form = formOf(meta);
    let message: unknown;
    if (form === FORM.MSGPACK || form === FORM.FLAT) {
      try {
        message = this.#parts.codec.decode(fromThread, form, bytes, words, start, end);
      } catch (error) {
        this.#lose('undecodable', targetId, error);
        return;
      }
    } else if (form === FORM.BYTES) message = bytes.slice(start, end);
    if (kind === KIND.REPLY) {
      this.#parts.asks.answer(askId, message);
      return;
    }
    if (kind === KIND.FAILURE) {
      this.#parts.asks.fail(askId, String(message));
      return;
    }
    const senderId = words[header + SENDER_ID_WORD]!;
    let letter: Letter | undefined;
    if (senderId !== 0 || askId !== 0) {
      const senderIncarnation = words[header + SENDER_INCARNATION_WORD]!;
      letter = { senderThread: senderThreadOf(meta), senderIncarnation, senderId, askId };
    }
    if (kind === KIND.KEYED) {
      const key = Buffer.from(bytes.buffer, bytes.byteOffset + offset + HEADER_BYTES, keyBytes).toString();
      this.#parts.keyed.received(targetId, key, message, letter, hopsOf(meta));
      return;
    }
    const cell = this.#cells.get(targetId);
    if (cell !== undefined) {
      cell.offer(message, letter);
      return;
    }
    if (targetId === GUARDIAN_ID && isCommand(message)) {
      this.commands.push({ command: message, letter });
      return;
    }
    this.#lose('no-actor', targetId, message);
    if (letter !== undefined && askId !== 0) this.#parts.replyFailure(letter, 'there is no such actor');
  }

  #lose(reason: 'no-actor' | 'undecodable', targetId: number, message: unknown): void {
    const { deadLetters, threadIndex } = this.#parts;
    deadLetters.post(reason, () => `actor:${threadIndex}.${this.#incarnation}/${targetId}`, message);
  }

  #openSource(fromThread: number, bytes: Uint8Array): void {
    this.#sources[fromThread] = bytes;
    this.#words[fromThread] = new Int32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength >>> 2);
  }
}
