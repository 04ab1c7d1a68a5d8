/**
 * Question: what does a bucket pay per push to a single channel until its message is handed to uWS? It must build at
 *   least 300,000 of them per second.
 * Topology: one thread; pushes with 64-byte bodies (packets of 80) lie in shared memory as the ring holds them; turns of
 *   256 pushes go to one channel each, or of 16 pushes to the same 16 channels; the write itself is left out (send()
 *   takes the bytes and counts). Needs 1 core. Competitor: none.
 */
import { CHANNEL_FLAG, Channel, type ChannelOwner } from '../../src/comet/bucket/channel.js';
import { DirectOutbox } from '../../src/comet/bucket/direct-outbox.js';
import { PushBytes } from '../../src/comet/fixtures/push-bytes.js';
import { batch26HeaderBytes, PACKET_HEADER_BYTES } from '../../src/protocol/index.js';
import { assertResult, type BenchOptions, type BenchResult, type BenchRow, measureRounds } from '../bench.js';

const BODY_BYTES = 64;
const PACKET_BYTES = PACKET_HEADER_BYTES + BODY_BYTES;
const REQUIRED_PER_SEC = 300_000;

interface Shape {
  readonly name: string;
  /** Pushes in a turn, and the channels that each of them is for. */
  readonly pushes: number;
  readonly channelsPerPush: number;
  /** Every push is for the same channels; otherwise each has its own. */
  readonly isShared: boolean;
}

const SHAPES: readonly Shape[] = [
  { name: '256 pushes to a channel each', pushes: 256, channelsPerPush: 1, isShared: false },
  { name: '16 pushes to the same 16 channels', pushes: 16, channelsPerPush: 16, isShared: true },
  { name: '1 push to 256 channels', pushes: 1, channelsPerPush: 256, isShared: true },
];

async function measure(shape: Shape, isExtended: boolean, turns: number, rounds: number): Promise<BenchRow> {
  const source = new PushBytes(1000, new Uint8Array(BODY_BYTES).fill(65), 1);
  const ring = new Uint8Array(new SharedArrayBuffer(source.bytes.length));
  ring.set(source.bytes);
  const { idOffset, innerOffset } = source;
  const { pushes, channelsPerPush, isShared } = shape;
  const channels = Array.from({ length: isShared ? channelsPerPush : pushes * channelsPerPush }, () => {
    const channel = new Channel({} as ChannelOwner);
    if (isExtended) channel.flags |= CHANNEL_FLAG.EXTENDED;
    return channel;
  });
  let sentBytes = 0;
  let sentMessages = 0;
  let sentFrames = 0;
  const outbox = new DirectOutbox((_channel, bytes, messageCount) => {
    sentBytes += bytes.length;
    sentMessages += messageCount;
    sentFrames += 1;
  }, 65_536);
  const work = () => {
    for (let turn = 0; turn < turns; turn++) {
      for (let push = 0; push < pushes; push++) {
        outbox.begin(ring, idOffset, innerOffset, PACKET_BYTES);
        const first = isShared ? 0 : push * channelsPerPush;
        for (let i = 0; i < channelsPerPush; i++) outbox.add(channels[first + i]!);
      }
      outbox.flush();
    }
  };
  work();
  sentBytes = 0;
  sentMessages = 0;
  sentFrames = 0;
  const messages = turns * pushes * channelsPerPush;
  const row = await measureRounds(`${shape.name}, ${isExtended ? 'extended' : 'plain'}`, messages, rounds, work);
  assertResult(sentMessages === messages * rounds, `${row.name}: messages=${sentMessages}`);
  assertResult(sentFrames === channels.length * turns * rounds, `${row.name}: frames=${sentFrames}`);
  const headerBytes = isExtended ? batch26HeaderBytes(0) : PACKET_HEADER_BYTES;
  const messageBytes = isExtended ? 8 + PACKET_BYTES : PACKET_BYTES;
  assertResult(sentBytes === sentFrames * headerBytes + sentMessages * messageBytes, `${row.name}: bytes=${sentBytes}`);
  return { ...row, note: `${(row.opsPerSec / REQUIRED_PER_SEC).toFixed(0)}x the 300 k/s asked for` };
}

export async function run({ quick }: BenchOptions): Promise<BenchResult> {
  const rows: BenchRow[] = [];
  for (const shape of SHAPES) {
    for (const isExtended of [false, true])
      rows.push(await measure(shape, isExtended, quick ? 80 : 800, quick ? 3 : 9));
  }
  return {
    title: 'Direct pushes: from the ring to a finished message per channel',
    topology: '1 thread, 64-byte bodies out of shared memory, without the socket write; time per message and channel',
    rows,
  };
}
