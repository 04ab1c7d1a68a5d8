/** Op 26: offsets, epochs and ids of rooms, of pushes to single channels and of pushes to all; broadcasts with a speed. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { decodeBatch26 } from '../../src/protocol/index.js';
import {
  get,
  type HalleyProcess,
  nodeEmpty,
  nodeStats,
  post,
  pushRoom,
  startHalley,
  WireClient,
} from '../kit/index.js';
import { join, leave } from './replies.js';

let halley: HalleyProcess;
beforeAll(async () => {
  halley = await startHalley();
});
afterAll(async () => {
  expect(await halley.stop()).toBe(0);
});

function extended(key: string, auth: Parameters<typeof WireClient.connect>[1] = {}): Promise<WireClient> {
  return WireClient.connect(halley.wsUrl, { mid: 1, key, extended: true, accepts: [1000], ...auth });
}

async function closeAll(clients: readonly WireClient[]): Promise<void> {
  for (const client of clients) await client.close();
}

function numbers(count: number, first = 1): number[] {
  return Array.from({ length: count }, (_, index) => first + index);
}

describe('a room', () => {
  it('gives every member the same offsets and ids, contiguous and rising, in both buckets, beside goim members', async () => {
    const keys = numbers(10).map((index) => `all-${index}`);
    const members = await Promise.all(keys.map((key) => extended(key, { roomId: 'b://1' })));
    const plain = await Promise.all(
      numbers(10).map((index) => WireClient.connect(halley.wsUrl, { mid: 1, key: `goim-${index}`, roomId: 'b://1' })),
    );
    const { threads } = await nodeStats(halley.httpUrl);
    for (const thread of threads.slice(1)) expect(thread['channels']).toBeGreaterThan(1);
    for (let round = 0; round < 10; round++) {
      const batch = numbers(30).map((index) => ({ room: 'b://1', op: 1000 + index, body: `${round}:${index}` }));
      await post(`${halley.httpUrl}/halley/push/batch`, batch);
    }
    const [first] = await Promise.all(members.map((member) => member.messageCount(300)));
    expect(first?.map(({ offset }) => offset)).toEqual(numbers(300));
    expect(new Set(first?.map(({ epoch }) => epoch)).size).toBe(1);
    const ids = first!.map(({ id }) => BigInt(id!));
    for (let index = 1; index < ids.length; index++) expect(ids[index]! > ids[index - 1]!).toBe(true);
    for (const member of members) expect(member.messages).toEqual(first);
    const texts = first!.map(({ text, op }) => [text, op]);
    for (const client of plain) {
      expect((await client.messageCount(300)).map(({ text, op }) => [text, op])).toEqual(texts);
    }
    await closeAll([...members, ...plain]);
  });

  it('starts a new epoch after it emptied, never an old one; while somebody stays the epoch does', async () => {
    const epochs: number[] = [];
    for (let round = 0; round < 6; round++) {
      const client = await extended('epoch');
      const [row] = await join(client, 'b://epoch');
      await pushRoom(halley.httpUrl, 'b://epoch', 'one');
      expect((await client.messageCount(1))[0]).toMatchObject({ epoch: row?.epoch, offset: 1 });
      expect(row?.offset).toBe(0);
      epochs.push(row!.epoch);
      // Empty it by leaving in one round, by going in the next.
      if (round % 2 === 0) await leave(client, 'b://epoch');
      await client.close();
      await nodeEmpty(halley.httpUrl);
    }
    expect(epochs).toEqual([...new Set(epochs)].toSorted((a, b) => a - b));

    const keeper = await extended('keeper', { roomId: 'b://epoch' });
    const guest = await extended('guest');
    for (let round = 0; round < 6; round++) {
      await pushRoom(halley.httpUrl, 'b://epoch', 'x');
      await keeper.messageCount(round + 1);
      const [row] = await join(guest, 'b://epoch');
      expect(row).toMatchObject({ epoch: keeper.messages[0]?.epoch, offset: round + 1 });
      await leave(guest, 'b://epoch');
    }
    await closeAll([keeper, guest]);
  });

  it('delivers bodies of every size whole, small and large in order', async () => {
    const members = await Promise.all([
      extended('sizes-x', { roomId: 'b://sizes' }),
      WireClient.connect(halley.wsUrl, { mid: 1, key: 'sizes-p', roomId: 'b://sizes' }),
    ]);
    // Around the lengths at which copying changes: 64 bytes, uWS's 16 KiB, a batch's 64 KiB.
    const sizes = [0, 1, 63, 64, 65, 16_367, 16_368, 16_369, 40_000, 65_535, 65_536, 200_000, 10, 500_000, 1];
    const bodies = sizes.map((size, index) => String.fromCharCode(97 + index).repeat(size));
    await post(
      `${halley.httpUrl}/halley/push/batch`,
      bodies.slice(0, 12).map((body) => ({ room: 'b://sizes', op: 1000, body })),
    );
    for (const body of bodies.slice(12)) await pushRoom(halley.httpUrl, 'b://sizes', body);
    for (const member of members) {
      const messages = await member.messageCount(sizes.length);
      expect(messages.map(({ text }) => text.length)).toEqual(sizes);
      expect(messages.map(({ text }) => text)).toEqual(bodies);
    }
    await closeAll(members);
  });
});

describe('pushes to single channels and to all', () => {
  it('come with an id: direct ones with epoch 0 and offset 0, those to all with the sequence of the node', async () => {
    const clients = await Promise.all([extended('forms-1'), extended('forms-2')]);
    const url = `${halley.httpUrl}/goim/push`;
    for (const text of ['a', 'b']) {
      await post(`${url}/keys?operation=1000&keys=forms-1&keys=forms-2`, `key ${text}`);
      await post(`${url}/mids?operation=1000&mids=1`, `mid ${text}`);
      await post(`${url}/all?operation=1000`, `all ${text}`);
    }
    for (const client of clients) {
      await client.messageCount(6);
      const direct = client.messages.filter(({ text }) => !text.startsWith('all'));
      const all = client.messages.filter(({ text }) => text.startsWith('all'));
      expect(direct.map(({ text, room, epoch, offset }) => [text, room, epoch, offset])).toEqual(
        ['key a', 'mid a', 'key b', 'mid b'].map((text) => [text, '', 0, 0]),
      );
      expect(all.map(({ text, room }) => [text, room])).toEqual([
        ['all a', ''],
        ['all b', ''],
      ]);
      expect(all[0]?.epoch).toBeGreaterThan(0);
      expect(all[1]).toMatchObject({ epoch: all[0]?.epoch, offset: all[0]!.offset! + 1 });
    }
    const idOf = (client: WireClient) => new Map(client.messages.map(({ text, id }) => [text, id]));
    expect(idOf(clients[0]!)).toEqual(idOf(clients[1]!));
    expect(new Set(idOf(clients[0]!).values()).size).toBe(6);
    await closeAll(clients);
  });

  it('never carry room, epoch or offset of a room, in whatever batch they stand', async () => {
    const client = await extended('scopes', { roomId: 'b://scopes' });
    const mixed = numbers(90).map((index) =>
      index % 3 === 0
        ? { keys: ['scopes'], op: 1000, body: `direct ${index}` }
        : index % 3 === 1
          ? { room: 'b://scopes', op: 1000, body: `room ${index}` }
          : { all: true, op: 1000, body: `all ${index}` },
    );
    const answer = await post(`${halley.httpUrl}/halley/push/batch`, mixed);
    expect(answer.data.map((row: { code: number }) => row.code)).toEqual(mixed.map(() => 0));
    await client.messageCount(90);
    for (const { op, body } of client.packets) {
      if (op !== 26) continue;
      const batch = decodeBatch26(body);
      expect(batch.ok).toBe(true);
      if (!batch.ok) continue;
      for (const message of batch.value.messages) {
        expect(Buffer.from(message.body).toString()).toMatch(new RegExp(`^${batch.value.scope} `));
      }
    }
    for (const scope of ['direct', 'room', 'all']) {
      const own = client.messages.map(({ text }) => text).filter((text) => text.startsWith(scope));
      const sent = mixed.map(({ body }) => body).filter((body) => body.startsWith(scope));
      expect(own).toEqual(sent);
    }
    await client.close();
  });
});

describe('a broadcast with a speed', () => {
  it('reaches every channel that accepts it once, in slices, and nobody who came later', async () => {
    const keys = numbers(30);
    const clients = await Promise.all([
      ...keys.map((index) => extended(`paced-${index}`)),
      ...keys.map((index) => WireClient.connect(halley.wsUrl, { mid: 1, key: `paced-p-${index}`, accepts: [1000] })),
    ]);
    const deaf = await extended('paced-deaf', { accepts: [7] });
    // 61 channels, 120 a second over two buckets: some slices, not one.
    const before = (await nodeStats(halley.httpUrl)).totals['messages_delivered']!;
    await post(`${halley.httpUrl}/goim/push/all?operation=1000&speed=120`, 'paced');
    const late = await extended('paced-late');
    let isPartial = false;
    await Promise.all([
      ...clients.map((client) => client.messageCount(1)),
      clients[0]!.waitFor(() => {
        const reached = clients.filter(({ messages }) => messages.length > 0).length;
        isPartial ||= reached > 0 && reached < clients.length;
        return reached === clients.length ? true : undefined;
      }, 'the whole walk'),
    ]);
    expect(isPartial).toBe(true);
    await post(`${halley.httpUrl}/goim/push/all?operation=1000`, 'end');
    for (const client of clients) {
      expect((await client.messageCount(2)).map(({ text }) => text)).toEqual(['paced', 'end']);
    }
    expect((await late.messageCount(1)).map(({ text }) => text)).toEqual(['end']);
    expect(deaf.messages).toHaveLength(0);
    expect((await nodeStats(halley.httpUrl)).totals['messages_delivered']).toBe(before + 2 * clients.length + 1);
    await closeAll([...clients, deaf, late]);
  });
});

it('counts go to zero after churn: channels, sessions, rooms, and every number of the online routes', async () => {
  for (let round = 0; round < 5; round++) {
    const clients = await Promise.all(
      numbers(30).map((index) =>
        WireClient.connect(halley.wsUrl, {
          mid: index % 7,
          key: `churn-${index}`,
          roomId: `churn://${index % 3}`,
          rooms: ['churn://all'],
          extended: index % 2 === 0,
        }),
      ),
    );
    expect((await get(`${halley.httpUrl}/goim/online/total`)).data).toEqual({ conn_count: 30, ip_count: 1 });
    // Some say goodbye, some are cut off, some are thrown out.
    await post(`${halley.httpUrl}/halley/disconnect`, { mids: [1, 2] });
    for (const [index, client] of clients.entries()) {
      if (index % 2 === 0) client.terminate();
      else client.socket.close();
    }
    for (const client of clients) await client.closing();
    const { totals } = await nodeEmpty(halley.httpUrl);
    expect(totals['channels_accepted']).toBe(totals['channels_closed']);
    expect((await get(`${halley.httpUrl}/goim/online/total`)).data).toEqual({ conn_count: 0, ip_count: 0 });
    expect((await get(`${halley.httpUrl}/goim/online/top?type=churn&limit=10`)).data).toEqual([]);
    const rooms = await get(`${halley.httpUrl}/goim/online/room?type=churn&rooms=0&rooms=1&rooms=2&rooms=all`);
    expect(rooms.data).toEqual({ 0: 0, 1: 0, 2: 0, all: 0 });
  }
});
