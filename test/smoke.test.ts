import { afterAll, beforeAll, expect, it } from 'vitest';
import { type HalleyProcess, post, pushRoom, startHalley, WireClient } from './kit/index.js';

let halley: HalleyProcess;
beforeAll(async () => {
  halley = await startHalley();
});
afterAll(async () => {
  expect(await halley.stop()).toBe(0);
});

it('delivers pushes by room, key, mid and to all to goim and extended clients', async () => {
  const plain = await WireClient.connect(halley.wsUrl, { mid: 1, key: 'plain', roomId: 'live://1', accepts: [1000] });
  const extended = await WireClient.connect(halley.wsUrl, {
    mid: 2,
    key: 'extended',
    roomId: 'live://1',
    accepts: [1000],
    extended: true,
  });
  await pushRoom(halley.httpUrl, 'live://1', 'to the room');
  await post(`${halley.httpUrl}/goim/push/keys?operation=1000&keys=plain&keys=extended`, 'to keys');
  await post(`${halley.httpUrl}/goim/push/mids?operation=1000&mids=1&mids=2`, 'to mids');
  await post(`${halley.httpUrl}/goim/push/all?operation=1000`, 'to all');
  for (const client of [plain, extended]) {
    const texts = (await client.messageCount(4)).map((message) => message.text);
    expect(texts.toSorted()).toEqual(['to all', 'to keys', 'to mids', 'to the room']);
  }
  expect(extended.messages.find((message) => message.room === 'live://1')).toMatchObject({
    offset: 1,
    text: 'to the room',
  });
  await plain.close();
  await extended.close();
});
