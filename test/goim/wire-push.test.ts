/**
 * Which pushes reach a goim channel (facts/goim.md 2.10): by keys, by mids and to all only what is in the watch set, rooms
 * whatever it is; and how Sub (14) and Unsub (16) change the set.
 *
 * A push that must not arrive is followed by one that must, on the same way: order per channel makes the absence certain.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type HalleyProcess, post, pushRoom, startHalley, WireClient } from '../kit/index.js';

let halley: HalleyProcess;
beforeAll(async () => {
  halley = await startHalley();
});
afterAll(async () => {
  expect(await halley.stop()).toBe(0);
});

async function push(target: string, op: number, body: string): Promise<void> {
  const answer = await post(
    `${halley.httpUrl}/goim/push/${target}${target.includes('?') ? '&' : '?'}operation=${op}`,
    body,
  );
  expect(answer).toMatchObject({ status: 200, code: 0 });
}

/** What a channel with this watch set gets when each op is pushed to `target`. */
async function delivered(client: WireClient, target: string, ops: readonly number[]): Promise<number[]> {
  const from = client.messages.length;
  for (const op of ops) await push(target, op, 'x');
  await push(target, 1, 'end');
  await client.waitFor(
    () => client.messages.slice(from).find((message) => message.text === 'end'),
    'the push that ends the series',
  );
  return client.messages.slice(from, -1).map((message) => message.op);
}

describe.each([
  ['keys', 'keys?keys=filter'],
  ['mids', 'mids?mids=21'],
  ['all', 'all'],
])('a push to %s', (_, target) => {
  it('passes the watch set of the auth body and nothing else', async () => {
    const client = await WireClient.connect(halley.wsUrl, { mid: 21, key: 'filter', accepts: [1, 1000, 1002, 1002] });
    expect(await delivered(client, target, [999, 1000, 1001, 1002, 1003, -1])).toEqual([1000, 1002]);
    await client.close();
  });

  it('follows Sub and Unsub at once', async () => {
    const client = await WireClient.connect(halley.wsUrl, { mid: 21, key: 'filter' });
    await client.request(14, '1,1000,1001', 15);
    expect(await delivered(client, target, [1000, 1001, 1002])).toEqual([1000, 1001]);
    await client.request(16, '1001', 17);
    expect(await delivered(client, target, [1000, 1001, 1002])).toEqual([1000]);
    await client.request(14, '1002,1000', 15);
    expect(await delivered(client, target, [1000, 1001, 1002])).toEqual([1000, 1002]);
    await client.request(16, '7,8,9', 17);
    expect(await delivered(client, target, [1000, 1001, 1002])).toEqual([1000, 1002]);
    await client.close();
  });

  it.each(['1000,', ',1000', '1000,,1001', '1000;1001', ' 1000', '1000, 1001', '2147483648', 'abc', '1000,x'])(
    'is not changed by the bad list %j, which adds nothing and is echoed',
    async (list) => {
      const client = await WireClient.connect(halley.wsUrl, { mid: 21, key: 'filter', accepts: [1, 5] });
      expect((await client.request(14, list, 15)).body.toString()).toBe(list);
      expect((await client.request(16, `5,${list}`, 17)).body.toString()).toBe(`5,${list}`);
      expect(await delivered(client, target, [1000, 1001, 5])).toEqual([5]);
      await client.close();
    },
  );
});

describe('a push to a room', () => {
  it('ignores the watch set', async () => {
    const client = await WireClient.connect(halley.wsUrl, { mid: 22, key: 'roomy', roomId: 'any://1', accepts: [7] });
    for (const op of [1, 7, 1000, -3]) await pushRoom(halley.httpUrl, 'any://1', String(op), op);
    expect((await client.messageCount(4)).map((message) => message.op)).toEqual([1, 7, 1000, -3]);
    await client.close();
  });

  it('reaches exactly its members, over both buckets', async () => {
    const clients = await Promise.all(
      Array.from({ length: 12 }, (_, index) =>
        WireClient.connect(halley.wsUrl, { mid: 23, key: `in-${index}`, roomId: `split://${index % 3}`, accepts: [9] }),
      ),
    );
    for (const id of [0, 1, 2]) await pushRoom(halley.httpUrl, `split://${id}`, `to ${id}`);
    for (const [index, client] of clients.entries()) {
      expect((await client.messageCount(1)).map((message) => message.text)).toEqual([`to ${index % 3}`]);
      await client.close();
    }
  });
});

it('a push without operation has op 0, and pushes carry ver 1 and seq 0', async () => {
  const client = await WireClient.connect(halley.wsUrl, { mid: 24, key: 'zero', accepts: [0] });
  await post(`${halley.httpUrl}/goim/push/keys?keys=zero`, 'no operation');
  expect((await client.messageCount(1))[0]).toMatchObject({ op: 0, text: 'no operation' });
  const outer = await client.expect(9);
  expect(outer).toMatchObject({ ver: 1, seq: 0 });
  expect([outer.body.readInt16BE(6), outer.body.readInt32BE(12)]).toEqual([1, 0]);
  await client.close();
});

it('a push with an empty body is a packet of 16 bytes', async () => {
  const client = await WireClient.connect(halley.wsUrl, { mid: 25, key: 'empty', roomId: 'empty://1' });
  await pushRoom(halley.httpUrl, 'empty://1', '');
  expect((await client.messageCount(1))[0]?.body).toHaveLength(0);
  expect((await client.expect(9)).raw).toHaveLength(32);
  await client.close();
});
