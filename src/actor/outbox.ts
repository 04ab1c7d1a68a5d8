/**
 * The way of an actor's message into this thread's ring.
 *
 * Threads: one per thread.
 * Guarantees: order per pair of threads, also across a full ring: what finds no room waits here, bounded in bytes, and
 *   everything behind it waits too. Beyond the bound send() says FULL. Nothing ever blocks.
 * Hot path: send() -> claim, msgpack in place, commit (bench/actor/actor.bench.ts).
 */
import { OUTCOME, type Outcome } from '../errors/index.js';
import { type BodyCodec, OUTGROWN } from './body-codec.js';
import {
  ASK_ID_WORD,
  FORM,
  type Form,
  HEADER_BYTES,
  KIND,
  type Kind,
  META_WORD,
  messageOffset,
  packMeta,
  SENDER_ID_WORD,
  SENDER_INCARNATION_WORD,
  TARGET_ID_WORD,
  TARGET_INCARNATION_WORD,
} from './envelope.layout.js';
import type { ThreadRuntime } from './thread-runtime.js';

/** First claim for a message of unknown size; msgpackr wants 2 KiB of it free when it begins. */
const MIN_CLAIM_BYTES = 4096;
const MAX_CLAIM_BYTES = 32 * 1024;
/** A ring that was full is tried again after this, and at the end of every turn. */
const RETRY_MS = 1;

/** Everything in a header but the form. One object per outbox, filled before each send(): nothing is made per message. */
export class Envelope {
  kind: Kind = KIND.MESSAGE;
  thread = 0;
  targetId = 0;
  targetIncarnation = 0;
  senderThread = 0;
  senderId = 0;
  senderIncarnation = 0;
  askId = 0;
  hops = 0;
  key: string | undefined = undefined;
}

interface Queued {
  readonly kind: Kind;
  readonly thread: number;
  readonly record: Uint8Array;
}

export class Outbox {
  /** Fill it completely, then call send(). */
  readonly envelope: Envelope;
  readonly #runtime: ThreadRuntime;
  readonly #codec: BodyCodec;
  readonly #keys: Buffer;
  readonly #words: Int32Array;
  readonly #maxRecordBytes: number;
  readonly #maxQueuedBytes: number;
  readonly #retry: () => void;
  #queue: Queued[];
  #queuedBytes: number;
  #claimBytes: number;
  #timer: NodeJS.Timeout | undefined;

  /** @param maxQueuedBytes bound of what waits while the ring is full */
  constructor(runtime: ThreadRuntime, codec: BodyCodec, maxRecordBytes: number, maxQueuedBytes: number) {
    const { bytes } = runtime.writer;
    this.envelope = new Envelope();
    this.#runtime = runtime;
    this.#codec = codec;
    this.#keys = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#words = new Int32Array(bytes.buffer, bytes.byteOffset, bytes.byteLength >>> 2);
    this.#maxRecordBytes = maxRecordBytes;
    this.#maxQueuedBytes = maxQueuedBytes;
    this.#retry = () => this.#onRetry();
    this.#queue = [];
    this.#queuedBytes = 0;
    this.#claimBytes = Math.min(MIN_CLAIM_BYTES, maxRecordBytes);
    this.#timer = undefined;
  }

  /** Bytes that wait for room in the ring. */
  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  /**
   * Write `message` behind `envelope` into the ring, or queue it.
   * @returns OK (also when queued), FULL beyond the queue's bound, TOO_LARGE beyond the ring's largest record
   * @throws HalleyError MESSAGE_NOT_ENCODABLE
   */
  send(message: unknown): Outcome {
    const { envelope } = this;
    const { kind, thread, key } = envelope;
    // A toJSON that sends while its own message is half written has to queue behind it.
    if (this.#queue.length > 0 || this.#codec.isEncoding) return this.#sendEncoded(message);
    const { writer } = this.#runtime;
    const keyBytes = key === undefined ? 0 : Buffer.byteLength(key);
    const headBytes = messageOffset(keyBytes);
    let form: Form = FORM.MSGPACK;
    let claimBytes = this.#claimBytes;
    if (message === undefined) {
      form = FORM.UNDEFINED;
      claimBytes = headBytes;
    } else if (message instanceof Uint8Array) {
      form = FORM.BYTES;
      claimBytes = headBytes + message.length;
    }
    const outcome = writer.claim(claimBytes);
    if (outcome === OUTCOME.TOO_LARGE) return outcome;
    if (outcome === OUTCOME.FULL) return this.#sendEncoded(message);
    const offset = writer.offset;
    // Header first: encoding may run a toJSON that fills the envelope anew.
    writeHeader(this.#words, offset >>> 2, envelope, form, keyBytes);
    if (key !== undefined) this.#keys.write(key, offset + HEADER_BYTES, keyBytes, 'utf8');
    let bodyBytes = 0;
    if (form === FORM.BYTES) {
      const bytes = message as Uint8Array;
      writer.bytes.set(bytes, offset + headBytes);
      bodyBytes = bytes.length;
    } else if (form === FORM.MSGPACK) {
      bodyBytes = this.#encodeClaimed(offset + headBytes, offset + claimBytes, message);
      if (bodyBytes === OUTGROWN) {
        const header = writer.bytes.slice(offset, offset + headBytes);
        writer.abort();
        this.#claimBytes = Math.min(this.#claimBytes * 2, MAX_CLAIM_BYTES, this.#maxRecordBytes);
        return this.#place({ kind, thread, record: join(header, this.#codec.encode(message)) });
      }
      // The form was not known when the header was written; MSGPACK is 0.
      this.#words[(offset >>> 2) + META_WORD]! |= this.#codec.form;
    }
    writer.commit(kind, 1 << thread, headBytes + bodyBytes);
    this.#runtime.signalSoon();
    return OUTCOME.OK;
  }

  /** Move what waits into the ring as far as there is room. Call it at the end of every turn. */
  flush(): void {
    if (this.#queue.length === 0) return;
    let count = 0;
    for (const item of this.#queue) {
      // A record for a thread that has gone is skipped by its successor, which attaches at the head.
      if (!this.#commit(item)) break;
      this.#queuedBytes -= item.record.length;
      count++;
    }
    this.#queue = this.#queue.slice(count);
    if (count > 0) this.#runtime.signalSoon();
  }

  /** Forget what waits. */
  close(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#queue = [];
    this.#queuedBytes = 0;
  }

  #encodeClaimed(offset: number, limit: number, message: unknown): number {
    const { writer } = this.#runtime;
    try {
      return this.#codec.encodeInto(writer.bytes, offset, limit, message);
    } catch (error) {
      writer.abort();
      throw error;
    }
  }

  /** The long way: a private copy, then the ring if there is room and nobody waits, else the queue. */
  #sendEncoded(message: unknown): Outcome {
    const { kind, thread, key } = this.envelope;
    const keyBytes = key === undefined ? 0 : Buffer.byteLength(key);
    const header = Buffer.from(new ArrayBuffer(messageOffset(keyBytes)));
    let form: Form = FORM.MSGPACK;
    if (message === undefined) form = FORM.UNDEFINED;
    else if (message instanceof Uint8Array) form = FORM.BYTES;
    writeHeader(new Int32Array(header.buffer), 0, this.envelope, form, keyBytes);
    if (key !== undefined) header.write(key, HEADER_BYTES, keyBytes, 'utf8');
    let body: Uint8Array | undefined;
    if (form === FORM.BYTES) body = message as Uint8Array;
    else if (form === FORM.MSGPACK) body = this.#codec.encode(message);
    return this.#place({ kind, thread, record: body === undefined ? header : join(header, body) });
  }

  #place(item: Queued): Outcome {
    if (item.record.length > this.#maxRecordBytes) return OUTCOME.TOO_LARGE;
    if (this.#queue.length === 0 && !this.#codec.isEncoding && this.#commit(item)) {
      this.#runtime.signalSoon();
      return OUTCOME.OK;
    }
    if (this.#queuedBytes + item.record.length > this.#maxQueuedBytes) return OUTCOME.FULL;
    this.#queue.push(item);
    this.#queuedBytes += item.record.length;
    // Readers that lag made the claim FULL: they stand in the mask and must be woken.
    this.#runtime.signalSoon();
    this.#timer ??= setTimeout(this.#retry, RETRY_MS);
    return OUTCOME.OK;
  }

  #commit(item: Queued): boolean {
    const { writer } = this.#runtime;
    if (writer.claim(item.record.length) !== OUTCOME.OK) return false;
    writer.bytes.set(item.record, writer.offset);
    writer.commit(item.kind, 1 << item.thread, item.record.length);
    return true;
  }

  #onRetry(): void {
    this.#timer = undefined;
    this.flush();
    if (this.#queue.length === 0) return;
    this.#runtime.signalSoon();
    this.#timer = setTimeout(this.#retry, RETRY_MS);
  }
}

/** @param words the memory as Int32; the header starts at word `at` */
function writeHeader(words: Int32Array, at: number, envelope: Envelope, form: Form, keyBytes: number): void {
  words[at + TARGET_ID_WORD] = envelope.targetId;
  words[at + TARGET_INCARNATION_WORD] = envelope.targetIncarnation;
  words[at + SENDER_ID_WORD] = envelope.senderId;
  words[at + SENDER_INCARNATION_WORD] = envelope.senderIncarnation;
  words[at + ASK_ID_WORD] = envelope.askId;
  words[at + META_WORD] = packMeta(form, envelope.hops, envelope.senderThread, keyBytes);
}

function join(head: Uint8Array, body: Uint8Array): Uint8Array {
  const record = new Uint8Array(head.length + body.length);
  record.set(head, 0);
  record.set(body, head.length);
  return record;
}
