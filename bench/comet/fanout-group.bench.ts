/**
 * Question: what does a bucket pay per room message until its batch is handed to uWS, and from how many bytes on is
 *   subarray() + set() a faster copy than a loop over bytes?
 * Topology: one thread; pushes with 64-byte bodies (packets of 80) lie in shared memory as the ring holds them; a batch of
 *   1 or 20 of them is appended and flushed, in the plain form, the extended form, or both. publish() takes the bytes and
 *   counts. Needs 1 core. Competitor: for the copies each other; for batches none.
 */
import { FanoutGroup } from '../../src/comet/bucket/fanout-group.js';
import { PushBytes } from '../../src/comet/fixtures/push-bytes.js';
import { batch26HeaderBytes, PACKET_HEADER_BYTES } from '../../src/protocol/index.js';
import { BufferPool } from '../../src/ring/index.js';
import { assertResult, type BenchOptions, type BenchResult, type BenchRow, measureRounds } from '../bench.js';

const BODY_BYTES = 64;
const PACKET_BYTES = PACKET_HEADER_BYTES + BODY_BYTES;
const ROOM = new TextEncoder().encode('live://room-12345');
const MEMBERS = 1_000;

type Form = 'plain' | 'extended' | 'both';

async function measureBatches(form: Form, batchMessages: number, messages: number, rounds: number): Promise<BenchRow> {
  const source = new PushBytes(1000, new Uint8Array(BODY_BYTES).fill(65), 1);
  const ring = new Uint8Array(new SharedArrayBuffer(source.bytes.length));
  ring.set(source.bytes);
  const { idOffset, outerOffset, innerOffset } = source;
  let publishedBytes = 0;
  let publishedMessages = 0;
  const pool = new BufferPool({ maxRetainedBytes: 4_194_304 });
  const group = new FanoutGroup(
    {
      publish: (_topic, bytes) => {
        publishedBytes += bytes.length;
      },
      pool,
      limits: { maxMessages: 256, maxBytes: 65_536 },
      onPending: () => {},
      onPublished: (_recipients, messageCount) => {
        publishedMessages += messageCount;
      },
    },
    'r1',
    ROOM,
  );
  group.epoch = 1_700_000_000_000;
  const isPlain = form !== 'extended';
  const isExtended = form !== 'plain';
  group.plainCount = isPlain ? MEMBERS : 0;
  group.extendedCount = isExtended ? MEMBERS : 0;
  let offset = 0;
  const work = () => {
    for (let sent = 0; sent < messages; sent += batchMessages) {
      for (let i = 0; i < batchMessages; i++) {
        offset += 1;
        group.append(ring, idOffset, outerOffset, innerOffset, PACKET_BYTES, offset);
      }
      group.flush();
    }
  };
  work();
  publishedBytes = 0;
  publishedMessages = 0;
  const row = await measureRounds(`${form}, ${batchMessages} per batch`, messages, rounds, work);
  const batches = (messages * rounds) / batchMessages;
  const expectedBytes =
    (isPlain ? batches * (PACKET_HEADER_BYTES + batchMessages * PACKET_BYTES) : 0) +
    (isExtended ? batches * (batch26HeaderBytes(ROOM.length) + batchMessages * (8 + PACKET_BYTES)) : 0);
  assertResult(publishedBytes === expectedBytes, `${row.name}: bytes=${publishedBytes} expected=${expectedBytes}`);
  const expectedMessages = messages * rounds * (form === 'both' ? 2 : 1);
  assertResult(publishedMessages === expectedMessages, `${row.name}: messages=${publishedMessages}`);
  assertResult(pool.stats().lentCount === 0, `${row.name}: lent=${pool.stats().lentCount}`);
  return row;
}

function copyLoop(from: Uint8Array, start: number, to: Uint8Array, at: number, lengthBytes: number): void {
  for (let i = 0; i < lengthBytes; i++) to[at + i] = from[start + i]!;
}

function copySet(from: Uint8Array, start: number, to: Uint8Array, at: number, lengthBytes: number): void {
  to.set(from.subarray(start, start + lengthBytes), at);
}

/** Loop and set in turn, round by round, so that noise of the machine meets both. */
async function measureCopies(lengthBytes: number, copies: number, rounds: number): Promise<BenchRow[]> {
  const from = new Uint8Array(new SharedArrayBuffer(65_536)).map((_, at) => at * 7);
  const to = new Uint8Array(65_536);
  const span = 65_536 - lengthBytes;
  const runLoop = () => {
    for (let i = 0; i < copies; i++) copyLoop(from, (i * 136) % span, to, (i * 104) % span, lengthBytes);
  };
  const runSet = () => {
    for (let i = 0; i < copies; i++) copySet(from, (i * 136) % span, to, (i * 104) % span, lengthBytes);
  };
  const rows: BenchRow[][] = [[], []];
  for (let round = 0; round < rounds; round++) {
    rows[0]?.push(await measureRounds(`copy ${lengthBytes} B, loop`, copies, 1, runLoop));
    rows[1]?.push(await measureRounds(`copy ${lengthBytes} B, subarray + set`, copies, 1, runSet));
  }
  for (const copy of [copyLoop, copySet]) {
    to.fill(0);
    copy(from, 100, to, 200, lengthBytes);
    const isRight = to.subarray(200, 200 + lengthBytes).every((byte, at) => byte === from[100 + at]);
    assertResult(isRight && to[199] === 0 && to[200 + lengthBytes] === 0, `copy of ${lengthBytes} bytes`);
  }
  const medians = rows.map((all) => all.sort((a, b) => a.nsPerOp - b.nsPerOp)[all.length >>> 1]!);
  const ratio = medians[0]!.nsPerOp / medians[1]!.nsPerOp;
  return [{ ...medians[0]!, note: `${ratio.toFixed(2)}x set` }, medians[1]!];
}

export async function run({ quick }: BenchOptions): Promise<BenchResult> {
  const rounds = quick ? 3 : 9;
  const messages = quick ? 20_000 : 200_000;
  const rows: BenchRow[] = [];
  for (const batchMessages of [1, 20]) {
    for (const form of ['plain', 'extended', 'both'] as const) {
      rows.push(await measureBatches(form, batchMessages, messages, rounds));
    }
  }
  for (const lengthBytes of [8, 16, 24, 32, 48, 64, 80, 96, 128, 256]) {
    rows.push(...(await measureCopies(lengthBytes, quick ? 20_000 : 200_000, rounds)));
  }
  return {
    title: 'Batch building: append and flush, and how to copy',
    topology: '1 thread, 64-byte bodies (80-byte packets) out of shared memory; time per message, and per copy',
    rows,
  };
}
