import { afterAll, beforeAll, expect, test } from 'vitest';
import { FallbackClient } from './kit/fallback-client.js';
import { eventually, type HalleyProcess, startHalley } from './kit/index.js';

let halley: HalleyProcess;
beforeAll(async () => {
  halley = await startHalley();
});
afterAll(() => halley?.stop());

test('polls and streams may be silent for longer than uWS waits on an idle connection', async () => {
  const [polling, streaming] = [
    await FallbackClient.connect(halley.wsUrl, {}),
    await FallbackClient.connect(halley.wsUrl, {}),
  ];
  await polling.poll();
  const stream = await streaming.stream();
  await stream.count(1);
  const startedMs = performance.now();
  const answer = await polling.poll(12_500);
  expect([answer.status, Math.floor((performance.now() - startedMs) / 500) / 2]).toEqual([204, 12.5]);
  // The comment line that keeps proxies awake; the first one came with the head.
  await eventually(() => stream.comments === 2, 5_000);
  expect(stream.isEnded).toBe(false);
  // uWS would have warned here of a write outside of a cork.
  expect(halley.output()).not.toContain('cork');
  stream.close();
});
