/**
 * Pushes under a full queue: code 0 is a promise, 503 is one as well. The ring is small and a bucket spins, so that the ring
 * fills, then the queue, and then HTTP says so.
 */
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, it } from 'vitest';
import {
  connectToBucket,
  eventually,
  type HalleyProcess,
  nodeStats,
  post,
  startHalley,
  WireClient,
} from '../kit/index.js';

const APP = fileURLToPath(new URL('../fixtures/misbehaving.mjs', import.meta.url));
const SPIN_OP = 2006;
const SPIN_MS = 3_000;
const ROOM = 'live://queue';
const URL_PATH = '/goim/push/room?operation=1000&type=live&room=queue';

let halley: HalleyProcess;
beforeAll(async () => {
  halley = await startHalley({
    args: ['--app', APP],
    env: {
      HALLEY_QUEUE_MAX_MESSAGES: '20',
      HALLEY_RING_CONTROL_BYTES: '65536',
      HALLEY_RING_BUCKET_BYTES: '65536',
      HALLEY_RING_MAX_RECORD_BYTES: '16384',
      HALLEY_LIMITS_PUSH_BODY_BYTES: '8192',
      // A stalled bucket holds the ring back for as long as it spins here: nothing is given up.
      HALLEY_RING_STALL_MS: '60000',
    },
  });
});
afterAll(async () => {
  expect(await halley.stop()).toBe(0);
});

it('counts pushes that it refuses as too large, by the node or by the API, and no others', async () => {
  const sizes = [8192, 8193, 1_048_577];
  const answers: number[] = [];
  for (const size of sizes) answers.push((await post(`${halley.httpUrl}${URL_PATH}`, 'x'.repeat(size))).status);
  expect(answers).toEqual([200, 413, 413]);
  expect((await nodeStats(halley.httpUrl)).totals.push_too_large).toBe(2);
  expect(await (await fetch(`${halley.httpUrl}/metrics`)).text()).toMatch(
    /^halley_push_too_large_total\{thread="control"\} 2$/m,
  );
});

it('answers 503 with Retry-After once ring and queue are full; what got code 0 arrives once and in order, what got 503 never', async () => {
  const stalled = await connectToBucket(halley.wsUrl, 1, { key: 'stalled', roomId: ROOM, extended: true });
  const other = await connectToBucket(halley.wsUrl, 2, { key: 'other', roomId: ROOM });
  const batch = await WireClient.connect(halley.wsUrl, { key: 'batch', accepts: [1000] });
  stalled.send(SPIN_OP, String(SPIN_MS));
  const accepted: string[] = [];
  const refused: string[] = [];
  const filler = 'x'.repeat(1_000);
  // One after the other, so that the order of the answers is the order of the pushes.
  let serial = 0;
  const push = async () => {
    const text = `${serial++} ${filler}`;
    const answer = await post(`${halley.httpUrl}${URL_PATH}`, text);
    if (answer.code === 0) {
      expect(answer.status).toBe(200);
      accepted.push(text);
    } else {
      expect([answer.status, answer.code, answer.headers.get('retry-after')]).toEqual([503, -503, '1']);
      expect(answer.message).toContain('the push queue of the node is full');
      refused.push(text);
    }
  };
  await eventually(
    async () => {
      await push();
      return refused.length >= 30;
    },
    10_000,
    'the queue to be full',
  );
  const { queue } = await nodeStats(halley.httpUrl);
  expect(queue.queuedCount).toBe(20);

  // A batch says it row by row.
  const command = { keys: ['batch'], op: 1000, body: 'refused too' };
  expect((await post(`${halley.httpUrl}/halley/push/batch`, [command, command])).data).toEqual([
    { code: -503, message: expect.stringContaining('the push queue of the node is full') },
    { code: -503, message: expect.stringContaining('the push queue of the node is full') },
  ]);

  // Then the bucket turns again, and the queue takes more.
  const before = accepted.length;
  await eventually(
    async () => {
      await push();
      return accepted.length > before + 20;
    },
    10_000,
    'the queue to take pushes again',
  );
  for (const client of [stalled, other]) {
    await client.messageCount(accepted.length);
    await eventually(async () => (await nodeStats(halley.httpUrl)).queue.queuedCount === 0, 5_000, 'an empty queue');
    expect(client.messages.map((message) => message.text)).toEqual(accepted);
  }
  expect(batch.messages).toEqual([]);
  expect(stalled.messages.map((message) => message.offset)).toEqual(accepted.map((_, index) => index + 1));
  // The two rows of the batch were refused as well.
  const rejectedCount = refused.length + 2;
  expect((await nodeStats(halley.httpUrl)).queue).toEqual({
    queuedCount: 0,
    queuedBytes: 0,
    lostCount: 0,
    rejectedCount,
  });
  for (const client of [stalled, other, batch]) await client.close();
});
