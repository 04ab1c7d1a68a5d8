/**
 * Question: what does it cost to hand a 128-byte message from one thread to one and to two others?
 * Topology: this thread writes, one or two worker threads read, count and check; a round ends when the last of them has
 *   reported. Time per message published, however many read it. Needs 2 cores (3 for two readers without sharing).
 * Competitors: worker.postMessage() once per message, and once per 64 messages: as one packed buffer cloned, packed and
 *   transferred (a copy per reader is then needed), and as an array of 64 buffers. The fastest of the three counts.
 * Rounds of all variants alternate; each figure is the median of its rounds.
 * The sender's work is the same everywhere: number a prepared message and copy it to where it is sent from. The ring's
 *   writer rings after each 64 messages. When the ring is FULL it sleeps on its own doorbell, which readers ring after a
 *   drain, until half is free: a writer that polls would take the cores from the readers it waits for. postMessage has no
 *   such bound: its queue grows to the whole round, up to 80 MB.
 */
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { OUTCOME } from '../../src/errors/index.js';
import type { BenchReaderData, BenchReaderReport } from '../../src/ring/fixtures/bench-reader.worker.js';
import { allocateDoorbells, allocateRing, Doorbell, RingWriter } from '../../src/ring/index.js';
import { assertResult, type BenchOptions, type BenchResult, type BenchRow } from '../bench.js';

declare const HALLEY_ROOT: string;

const MESSAGE_BYTES = 128;
const BATCH_MESSAGES = 64;
const CAPACITY_BYTES = 4 * 1024 * 1024;
const KIND = 1;

/** What the variants send from. */
interface Sender {
  readonly workers: readonly Worker[];
  readonly writer: RingWriter;
  readonly doorbell: Doorbell;
  readonly targetMask: number;
  /** Settles when half of the ring is free. */
  readonly room: () => Promise<void>;
}

type Send = (sender: Sender, messageCount: number) => void | Promise<void>;

const message = new Uint8Array(MESSAGE_BYTES).map((_, at) => at);
const packed = new Uint8Array(MESSAGE_BYTES * BATCH_MESSAGES);

/** Number the message at `offset`. Every byte of it is in place before. */
function number(bytes: Uint8Array, offset: number, sequence: number): void {
  bytes[offset] = sequence;
  bytes[offset + 1] = sequence >>> 8;
  bytes[offset + 2] = sequence >>> 16;
  bytes[offset + 3] = sequence >>> 24;
}

/** The writer's side of waiting for room, on its own doorbell. */
function listenForRoom(writer: RingWriter, doorbell: Doorbell): () => Promise<void> {
  let settle: (() => void) | undefined;
  const hasRoom = (): boolean => settle !== undefined && writer.freeBytes() >= CAPACITY_BYTES / 2;
  const settleWithRoom = (): void => {
    if (!hasRoom()) return;
    settle?.();
    settle = undefined;
  };
  doorbell.listen(hasRoom, settleWithRoom);
  return () =>
    new Promise((resolve) => {
      settle = resolve;
      // The reader may have made room before there was anyone to tell.
      settleWithRoom();
    });
}

const sendRing: Send = async ({ writer, doorbell, targetMask, room }, messageCount) => {
  for (let sequence = 0; sequence < messageCount; ) {
    if (writer.claim(MESSAGE_BYTES) !== OUTCOME.OK) {
      doorbell.ring(writer.takeUnsignalled());
      await room();
      continue;
    }
    writer.bytes.set(message, writer.offset);
    number(writer.bytes, writer.offset, sequence);
    writer.commit(KIND, targetMask, MESSAGE_BYTES);
    sequence++;
    if (sequence % BATCH_MESSAGES === 0) doorbell.ring(writer.takeUnsignalled());
  }
  doorbell.ring(writer.takeUnsignalled());
};

const sendSingle: Send = ({ workers }, messageCount) => {
  for (let sequence = 0; sequence < messageCount; sequence++) {
    number(message, 0, sequence);
    for (const worker of workers) worker.postMessage(message);
  }
};

const sendPacked: Send = ({ workers }, messageCount) => {
  for (let sequence = 0; sequence < messageCount; ) {
    for (let offset = 0; offset < packed.length; offset += MESSAGE_BYTES) {
      packed.set(message, offset);
      number(packed, offset, sequence++);
    }
    for (const worker of workers) worker.postMessage(packed);
  }
};

const sendTransferred: Send = ({ workers }, messageCount) => {
  for (let sequence = 0; sequence < messageCount; ) {
    const batch = new Uint8Array(packed.length);
    for (let offset = 0; offset < batch.length; offset += MESSAGE_BYTES) {
      batch.set(message, offset);
      number(batch, offset, sequence++);
    }
    for (let at = 1; at < workers.length; at++) {
      const copy = batch.slice();
      workers[at]!.postMessage(copy, [copy.buffer]);
    }
    workers[0]!.postMessage(batch, [batch.buffer]);
  }
};

const sendArray: Send = ({ workers }, messageCount) => {
  for (let sequence = 0; sequence < messageCount; ) {
    const batch: Uint8Array[] = [];
    for (let at = 0; at < BATCH_MESSAGES; at++) {
      const copy = message.slice();
      number(copy, 0, sequence++);
      batch.push(copy);
    }
    for (const worker of workers) worker.postMessage(batch);
  }
};

/** One way of sending, with readers of its own. */
class Variant {
  readonly name: string;
  readonly nsPerOp: number[] = [];
  readonly #send: Send;
  readonly #sender: Sender;
  readonly #roundMessages: number;
  #turnCount = 0;
  #receivedCount = 0;

  constructor(name: string, send: Send, sender: Sender, roundMessages: number) {
    this.name = name;
    this.#send = send;
    this.#sender = sender;
    this.#roundMessages = roundMessages;
  }

  static async start(name: string, send: Send, readerCount: number, roundMessages: number): Promise<Variant> {
    const ring = allocateRing({ capacityBytes: CAPACITY_BYTES, maxRecordBytes: 64 * 1024, readerCount });
    const doorbells = allocateDoorbells(readerCount + 1);
    const fixture = new URL('dist/ring/fixtures/bench-reader.worker.js', HALLEY_ROOT);
    const workers = Array.from({ length: readerCount }, (_, ownIndex) => {
      const shared = { ring, doorbells, writerIndex: readerCount, messageBytes: MESSAGE_BYTES, roundMessages };
      const workerData: BenchReaderData = { ...shared, ownIndex };
      return new Worker(fixture, { workerData });
    });
    await Promise.all(workers.map((worker) => once(worker, 'message')));
    const writer = new RingWriter(ring);
    const doorbell = new Doorbell(doorbells, readerCount);
    const targetMask = (1 << readerCount) - 1;
    const sender: Sender = { workers, writer, doorbell, targetMask, room: listenForRoom(writer, doorbell) };
    return new Variant(`${name}, to ${readerCount}`, send, sender, roundMessages);
  }

  /** Send a round and wait until every reader has reported that it is right. */
  async round(counts: boolean): Promise<void> {
    const messageCount = this.#roundMessages;
    const reports = this.#sender.workers.map(async (worker) => (await once(worker, 'message'))[0] as BenchReaderReport);
    const startedNs = process.hrtime.bigint();
    await this.#send(this.#sender, messageCount);
    const complete = await Promise.all(reports);
    const elapsedNs = Number(process.hrtime.bigint() - startedNs);
    const sequenceSum = Number(BigInt.asIntN(32, (BigInt(messageCount) * BigInt(messageCount - 1)) / 2n));
    for (const report of complete) {
      assertResult(report.messageCount === messageCount, `${this.name}: messages=${report.messageCount}`);
      assertResult(report.sequenceSum === sequenceSum, `${this.name}: sequences=${report.sequenceSum}`);
      assertResult(report.lastByteSum === messageCount * (MESSAGE_BYTES - 1), `${this.name}: ${report.lastByteSum}`);
      if (!counts) continue;
      this.#turnCount += report.turnCount;
      this.#receivedCount += report.messageCount;
    }
    if (counts) this.nsPerOp.push(elapsedNs / messageCount);
  }

  row(): BenchRow {
    const sorted = this.nsPerOp.toSorted((a, b) => a - b);
    const medianNs = sorted[sorted.length >>> 1]!;
    const note = `mean batch ${(this.#receivedCount / this.#turnCount).toFixed(0)}`;
    return { name: this.name, nsPerOp: medianNs, opsPerSec: 1e9 / medianNs, note };
  }

  async stop(): Promise<void> {
    this.#sender.doorbell.close();
    await Promise.all(this.#sender.workers.map((worker) => worker.terminate()));
  }
}

/** Rounds of all variants in turn, so that what else the machine does meets them alike. */
async function measure(readerCount: number, quick: boolean): Promise<BenchRow[]> {
  const singles = quick ? 12_800 : 64_000;
  const batched = quick ? 128_000 : 640_000;
  const single = await Variant.start('postMessage each', sendSingle, readerCount, singles);
  const peers = [
    await Variant.start('postMessage 64 packed, cloned', sendPacked, readerCount, batched),
    await Variant.start('postMessage 64 packed, transferred', sendTransferred, readerCount, batched),
    await Variant.start('postMessage 64 in an array', sendArray, readerCount, singles),
  ];
  const ring = await Variant.start('ring', sendRing, readerCount, batched);
  const variants = [single, ...peers, ring];
  const warmUpRounds = quick ? 2 : 3;
  const rounds = quick ? 3 : 15;
  for (let round = -warmUpRounds; round < rounds; round++) {
    for (const variant of variants) await variant.round(round >= 0);
  }
  for (const variant of variants) await variant.stop();
  const rows = variants.map((variant) => variant.row());
  const ringRow = rows.at(-1)!;
  const bestNs = Math.min(...peers.map((peer) => peer.row().nsPerOp));
  const eachRatio = (rows[0]!.nsPerOp / ringRow.nsPerOp).toFixed(1);
  const bestRatio = (bestNs / ringRow.nsPerOp).toFixed(2);
  return rows.with(-1, { ...ringRow, note: `${eachRatio}x each, ${bestRatio}x best of 64; ${ringRow.note}` });
}

export async function run({ quick }: BenchOptions): Promise<BenchResult> {
  return {
    title: 'From one thread to others: ring against postMessage',
    topology: '1 writer thread to 1 and 2 reader threads, 128-byte messages, ring of 4 MiB; time per message published',
    rows: [...(await measure(1, quick)), ...(await measure(2, quick))],
  };
}
