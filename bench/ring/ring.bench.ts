/**
 * Question: what does it cost to hand a 128-byte message from one thread to one and to two others?
 * Topology: this thread writes, one or two worker threads read, count and check; a round ends when the last of them has
 *   reported. Time per message published, however many read it. Needs 2 cores (3 for two readers without sharing).
 * Competitors: worker.postMessage() once per message, and once per 64 messages: as one packed buffer cloned, packed and
 *   transferred (a copy per reader is then needed), and as an array of 64 buffers. The fastest of the three counts.
 * The sender's work is the same everywhere: number a prepared message and copy it to where it is sent from. The ring's
 *   writer rings after each 64 messages, and when the ring is FULL lets the event loop turn once and tries again.
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
const CAPACITY_BYTES = 1024 * 1024;
const KIND = 1;

/** What the variants send from. */
interface Sender {
  readonly workers: readonly Worker[];
  readonly writer: RingWriter;
  readonly doorbell: Doorbell;
  readonly targetMask: number;
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

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

const sendRing: Send = async ({ writer, doorbell, targetMask }, messageCount) => {
  for (let sequence = 0; sequence < messageCount; ) {
    if (writer.claim(MESSAGE_BYTES) !== OUTCOME.OK) {
      doorbell.ring(writer.takeUnsignalled());
      await turn();
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

/** Median of `rounds` rounds of `roundMessages` messages to `readerCount` readers. */
async function measure(name: string, send: Send, readerCount: number, roundMessages: number, rounds: number) {
  const ring = allocateRing({ capacityBytes: CAPACITY_BYTES, maxRecordBytes: 64 * 1024, readerCount });
  const doorbells = allocateDoorbells(readerCount + 1);
  const fixture = new URL('dist/ring/fixtures/bench-reader.worker.js', HALLEY_ROOT);
  const workers = Array.from({ length: readerCount }, (_, ownIndex) => {
    const workerData: BenchReaderData = { ring, doorbells, ownIndex, messageBytes: MESSAGE_BYTES, roundMessages };
    return new Worker(fixture, { workerData });
  });
  await Promise.all(workers.map((worker) => once(worker, 'message')));
  const sender: Sender = {
    workers,
    writer: new RingWriter(ring),
    doorbell: new Doorbell(doorbells, readerCount),
    targetMask: (1 << readerCount) - 1,
  };
  const nsPerOp: number[] = [];
  let turnCount = 0;
  // One more to warm up.
  for (let round = -1; round < rounds; round++) {
    const reports = workers.map(async (worker) => (await once(worker, 'message'))[0] as BenchReaderReport);
    const startedNs = process.hrtime.bigint();
    await send(sender, roundMessages);
    const complete = await Promise.all(reports);
    const elapsedNs = Number(process.hrtime.bigint() - startedNs);
    for (const report of complete) {
      assertResult(report.messageCount === roundMessages, `${name}: messages=${report.messageCount}`);
      const sequenceSum = Number(BigInt.asIntN(32, (BigInt(roundMessages) * BigInt(roundMessages - 1)) / 2n));
      assertResult(report.sequenceSum === sequenceSum, `${name}: sum of sequences=${report.sequenceSum}`);
      assertResult(report.lastByteSum === roundMessages * (MESSAGE_BYTES - 1), `${name}: ${report.lastByteSum}`);
    }
    if (round < 0) continue;
    nsPerOp.push(elapsedNs / roundMessages);
    turnCount += complete.reduce((sum, report) => sum + report.turnCount, 0);
  }
  await Promise.all(workers.map((worker) => worker.terminate()));
  nsPerOp.sort((a, b) => a - b);
  const medianNs = nsPerOp[nsPerOp.length >>> 1]!;
  const meanBatch = (roundMessages * rounds * readerCount) / turnCount;
  return { name, nsPerOp: medianNs, opsPerSec: 1e9 / medianNs, note: `mean batch ${meanBatch.toFixed(0)}` };
}

export async function run({ quick }: BenchOptions): Promise<BenchResult> {
  const rounds = quick ? 3 : 9;
  const singles = quick ? 6_400 : 64_000;
  const batched = quick ? 64_000 : 640_000;
  const rows: BenchRow[] = [];
  for (const readerCount of [1, 2]) {
    const to = `to ${readerCount}`;
    const single = await measure(`postMessage each, ${to}`, sendSingle, readerCount, singles, rounds);
    const peers = [
      await measure(`postMessage 64 packed, cloned, ${to}`, sendPacked, readerCount, batched, rounds),
      await measure(`postMessage 64 packed, transferred, ${to}`, sendTransferred, readerCount, batched, rounds),
      await measure(`postMessage 64 in an array, ${to}`, sendArray, readerCount, singles, rounds),
    ];
    const ring = await measure(`ring, ${to}`, sendRing, readerCount, batched, rounds);
    const bestNs = Math.min(...peers.map((peer) => peer.nsPerOp));
    const ratios = `${(single.nsPerOp / ring.nsPerOp).toFixed(1)}x each, ${(bestNs / ring.nsPerOp).toFixed(2)}x best of 64`;
    rows.push(single, ...peers, { ...ring, note: `${ratios}; ${ring.note}` });
  }
  return {
    title: 'From one thread to others: ring against postMessage',
    topology: '1 writer thread to 1 and 2 reader threads, 128-byte messages, ring of 1 MiB; time per message published',
    rows,
  };
}
