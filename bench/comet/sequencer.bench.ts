/**
 * Question: how many room pushes per second can a node number and write into its ring?
 * Topology: one thread; the sequencer pushes to 100 rooms in turn until a turn's worth stands in a ring of 16 MiB, then
 *   one reader on the same thread drains it and checks every offset. Bodies of 64 bytes and 1 KiB. The first row times
 *   the pushes alone, the second pushes and reading. Needs 1 core. Competitor: none (bench/ring has the ring's).
 */
import { OFFSET_OFFSET, SUBJECT_OFFSET } from '../../src/comet/push-record.layout.js';
import { Sequencer } from '../../src/comet/sequencer.js';
import { OUTCOME } from '../../src/errors/index.js';
import { allocateSnowflake, Snowflake, setIssueLimitMs } from '../../src/id/index.js';
import { allocateRing, RingReader, RingWriter } from '../../src/ring/index.js';
import { assertResult, type BenchOptions, type BenchResult, type BenchRow } from '../bench.js';

const ROOM_COUNT = 100;
const TURN_MESSAGES = 1_000;
const CAPACITY_BYTES = 16 * 1024 * 1024;
const READER = 1;

function measure(bodyBytes: number, turns: number, rounds: number): BenchRow[] {
  const memory = allocateRing({ capacityBytes: CAPACITY_BYTES, maxRecordBytes: 1024 * 1024, readerCount: 2 });
  const reader = new RingReader(memory, READER);
  reader.attach();
  const idMemory = allocateSnowflake({ epochMs: 1_700_000_000_000, machineBase: 0, slotCount: 1 });
  setIssueLimitMs(idMemory, Number.POSITIVE_INFINITY);
  const sequencer = new Sequencer(new RingWriter(memory), new Snowflake(idMemory, 0), {
    roomCapacity: ROOM_COUNT,
    firstEpoch: Date.now(),
    maxBodyBytes: 65_536,
  });
  const rooms = Array.from({ length: ROOM_COUNT }, (_, index) => `live://room-${index}`);
  for (const room of rooms) sequencer.occupy(room, READER);
  const body = new Uint8Array(bodyBytes).fill(65);
  const offsets = new Float64Array(ROOM_COUNT + 1);
  let readCount = 0;
  let wrongCount = 0;
  const { view } = reader;
  const sink = {
    onRecord: (_kind: number, _bytes: Uint8Array, offset: number) => {
      const roomNo = view.getUint32(offset + SUBJECT_OFFSET, true);
      const messageOffset = view.getFloat64(offset + OFFSET_OFFSET, true);
      if (messageOffset !== offsets[roomNo]! + 1) wrongCount += 1;
      offsets[roomNo] = messageOffset;
      readCount += 1;
    },
  };
  const pushNs: number[] = [];
  const allNs: number[] = [];
  let pushedCount = 0;
  // One more to warm up.
  for (let round = -1; round < rounds; round++) {
    let roundPushNs = 0n;
    const startedNs = process.hrtime.bigint();
    for (let turn = 0; turn < turns; turn++) {
      const turnStartedNs = process.hrtime.bigint();
      for (let i = 0; i < TURN_MESSAGES; i++) {
        if (sequencer.pushRoom(rooms[i % ROOM_COUNT]!, 1000, body) === OUTCOME.OK) pushedCount += 1;
      }
      roundPushNs += process.hrtime.bigint() - turnStartedNs;
      while (reader.drain(sink, TURN_MESSAGES) > 0);
    }
    if (round < 0) continue;
    allNs.push(Number(process.hrtime.bigint() - startedNs) / (turns * TURN_MESSAGES));
    pushNs.push(Number(roundPushNs) / (turns * TURN_MESSAGES));
  }
  const expected = turns * TURN_MESSAGES * (rounds + 1);
  assertResult(pushedCount === expected, `${bodyBytes} B: pushed=${pushedCount} of ${expected}`);
  assertResult(readCount === expected && wrongCount === 0, `${bodyBytes} B: read=${readCount} wrong=${wrongCount}`);
  const row = (name: string, samples: number[]): BenchRow => {
    const nsPerOp = samples.sort((a, b) => a - b)[samples.length >>> 1]!;
    return { name, nsPerOp, opsPerSec: 1e9 / nsPerOp };
  };
  return [row(`pushRoom, ${bodyBytes} B`, pushNs), row(`pushRoom and its reading, ${bodyBytes} B`, allNs)];
}

export async function run({ quick }: BenchOptions): Promise<BenchResult> {
  const rows: BenchRow[] = [];
  for (const bodyBytes of [64, 1_024]) rows.push(...measure(bodyBytes, quick ? 20 : 200, quick ? 3 : 9));
  return {
    title: 'The sequencer: room pushes into the ring',
    topology: '1 thread, 100 rooms, ring of 16 MiB drained every 1,000 messages; time per message',
    rows,
  };
}
