import { afterAll, beforeAll, expect, it } from 'vitest';
import { eventually, get, type HalleyProcess, post, startHalley } from '../kit/index.js';
import { JsClient } from './js-client.js';

let halley: HalleyProcess;
beforeAll(async () => {
  halley = await startHalley();
});
afterAll(async () => {
  expect(await halley.stop()).toBe(0);
});

it("goim's own JavaScript client works unchanged: auth, heartbeats, pushes by mid, to its room and to all", async () => {
  const shown: [text: string, op: number][] = [];
  const online: number[] = [];
  let authCount = 0;
  const client = new JsClient(halley.wsUrl, {
    notify: (text, op) => shown.push([text, op]),
    onOnline: (count) => online.push(count),
    onAuth: () => {
      authCount += 1;
    },
    heartbeatMs: 20,
  });
  await eventually(() => online.length >= 3, 10_000, 'three heartbeat replies');
  expect(authCount).toBe(1);
  expect(online.slice(0, 3)).toEqual([1, 1, 1]);

  const push = `${halley.httpUrl}/goim/push`;
  await post(`${push}/mids?operation=1000&mids=123`, '{"to":"mid"}');
  await eventually(() => shown.length === 1);
  await post(`${push}/room?operation=1001&type=live&room=1000`, '{"to":"room"}');
  await eventually(() => shown.length === 2);
  await post(`${push}/all?operation=1002`, '{"to":"all","text":"世界"}');
  await eventually(() => shown.length === 3);
  await post(`${push}/all?operation=1003`, 'not accepted');
  await post(`${push}/all?operation=1002`, 'last');
  await eventually(() => shown.length === 4);
  expect(shown).toEqual([
    ['{"to":"mid"}', 1000],
    ['{"to":"room"}', 1001],
    ['{"to":"all","text":"世界"}', 1002],
    ['last', 1002],
  ]);

  // Many at once: some of them share a WebSocket message, which the client's walk takes apart.
  const burst = Array.from({ length: 200 }, (_, index) => ({ room: 'live://1000', op: 1000, body: `burst ${index}` }));
  await post(`${halley.httpUrl}/halley/push/batch`, burst);
  await eventually(() => shown.length === 204);
  expect(shown.slice(4).map(([text]) => text)).toEqual(burst.map(({ body }) => body));

  client.close();
  await eventually(() => client.isClosed);
  await eventually(async () => (await get(`${halley.httpUrl}/goim/online/total`)).data.conn_count === 0);
});
