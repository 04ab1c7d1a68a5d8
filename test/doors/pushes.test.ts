/**
 * Pushes through every door: by key, by mid, to a room and to all, each exactly once and in its order, opened out of their batches;
 * and members of one room on all doors at once, in both buckets, who see one order.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { DOORS, type DoorClient, type ReceivedMessage } from '../kit/index.js';
import {
  APP_OP,
  type Command,
  FORMS,
  fresh,
  join,
  numbered,
  PUSH_OP,
  push,
  pushBatch,
  startDoorNode,
  type TestNode,
} from './door-node.js';

/** Pushes of each kind. */
const EACH_COUNT = 100;
/** An operation of its own, so that the pushes to all of one test are not those of another. */
const ALL_OP = 1300;
const SPREAD_TRIES = 40;

let node: TestNode;
let mid = 1_000;
beforeAll(async () => {
  node = await startDoorNode();
});
afterAll(async () => {
  expect(await node.stop()).toBe(0);
});

function ofKind(messages: readonly ReceivedMessage[], prefix: string): readonly ReceivedMessage[] {
  return messages.filter(({ text }) => text.startsWith(prefix));
}

describe.each(DOORS)('on $name', (door) => {
  it.each(FORMS)('a %s client gets all four pushes through the HTTP API', async (form) => {
    mid += 1;
    const key = fresh('four');
    const room = fresh('four');
    const client = await join(node, door, form, { mid, key, room_id: `live://${room}`, accepts: [PUSH_OP, ALL_OP] });
    await push(node, 'keys', `keys=${key}&keys=nobody`, 'by key');
    await push(node, 'mids', `mids=${mid}`, 'by mid');
    await push(node, 'room', `type=live&room=${room}`, Buffer.from([0, 0xff, 0x80]));
    await push(node, 'all', 'speed=0', 'to all', ALL_OP);
    await push(node, 'keys', `keys=${key}`, 'not watched', 999);
    await push(node, 'room', `type=live&room=${room}`, '');
    const messages = await client.messageCount(5);
    expect(new Set(messages.map(({ op, body }) => `${op} ${body.toString('latin1')}`))).toEqual(
      new Set(['1000 by key', '1000 by mid', '1000 \0\xff\x80', '1300 to all', '1000 ']),
    );
    await client.close();
  });

  it.each(FORMS)('a %s client gets hundreds of each kind, mixed, exactly once and in order', async (form) => {
    mid += 1;
    const key = fresh('mixed');
    const room = `live://${fresh('mixed')}`;
    const client = await join(node, door, form, { mid, key, room_id: room, accepts: [PUSH_OP, ALL_OP] });
    const tag = fresh('all');
    const commands = Array.from({ length: EACH_COUNT }, (_, n): Command[] => [
      { keys: [key], op: PUSH_OP, body: `key-${n}` },
      { room, op: PUSH_OP, body: `room-${n}`.padEnd(n % 10 === 0 ? 5_000 : 0, '.') },
      { mids: [mid], op: PUSH_OP, body: `mid-${n}` },
      { all: true, op: ALL_OP, body: `${tag}-${n}` },
    ]).flat();
    // Some in large batches, some one by one.
    await pushBatch(node, commands.slice(0, 250));
    for (let at = 250; at < 300; at++) await pushBatch(node, [commands[at]!]);
    await pushBatch(node, commands.slice(300));
    await client.messageCount(commands.length);
    // What came twice would stand before this.
    await push(node, 'keys', `keys=${key}`, 'the end');
    await client.waitFor(() => client.texts.includes('the end') || undefined, 'the end');
    expect(client.messages).toHaveLength(commands.length + 1);
    const sent = (prefix: string) => commands.map(({ body }) => body).filter((body) => body.startsWith(prefix));
    for (const prefix of ['key-', 'mid-', 'room-', tag]) {
      expect(ofKind(client.messages, prefix).map(({ text }) => text)).toEqual(sent(prefix));
    }
    expect(client.gaps).toEqual([]);
    if (form === 'extended') expectPlaces(client, room, tag);
    await client.close();
  });

  it.each(FORMS)(
    'a %s client gets a burst in fewer deliveries than messages, and one that fills many',
    async (form) => {
      const room = fresh('burst');
      const client = await join(node, door, form, { room_id: `live://${room}` });
      const bodies = numbered('m', 500);
      await pushBatch(
        node,
        bodies.map((body) => ({ room: `live://${room}`, op: PUSH_OP, body })),
      );
      await client.messageCount(bodies.length);
      expect(client.texts).toEqual(bodies);
      // On TCP goim's form has no batch: packets are bare.
      const carriers = client.packets.filter(({ op }) => op === 9 || op === 26);
      if (form === 'extended' || !door.isMute) expect(carriers.length).toBeLessThan(bodies.length / 4);
      const large = Buffer.alloc(700_000, 'large');
      await push(node, 'room', `type=live&room=${room}`, large);
      await client.messageCount(bodies.length + 1);
      expect(client.messages.at(-1)?.body.equals(large)).toBe(true);
      await client.close();
    },
  );
});

/** Rooms and pushes to all count without a hole, direct ones have no place, and no id comes twice. */
function expectPlaces({ messages }: DoorClient, room: string, tag: string): void {
  for (const [prefix, name] of [
    ['room-', room],
    [tag, ''],
  ] as const) {
    const [first, ...others] = ofKind(messages, prefix);
    expect([first?.room, first?.offset]).toEqual([name, expect.any(Number)]);
    for (const [index, { room: own, epoch, offset }] of others.entries()) {
      expect([own, epoch]).toEqual([name, first?.epoch]);
      if (name !== '') expect(offset).toBe(first!.offset! + index + 1);
    }
  }
  expect(new Set(messages.map(({ id }) => id)).size).toBe(messages.length);
}

it('members of one room on all doors and in both buckets see one order', async () => {
  const room = 'live://one-order';
  const members: DoorClient[] = [];
  const buckets = new Set<string>();
  for (const door of DOORS) {
    for (const form of FORMS) members.push(await join(node, door, form, { room_id: room }));
  }
  for (const member of members) buckets.add((await member.request(APP_OP.BUCKET)).body.toString());
  for (let tries = 0; buckets.size < 2 && tries < SPREAD_TRIES; tries++) {
    const more = await join(node, DOORS[0]!, 'extended', { room_id: room });
    members.push(more);
    buckets.add((await more.request(APP_OP.BUCKET)).body.toString());
  }
  expect([...buckets].toSorted()).toEqual(['1', '2']);
  const [writerCount, each] = [5, 40];
  await Promise.all(
    Array.from({ length: writerCount }, async (_, writer) => {
      for (let n = 0; n < each; n++) await push(node, 'room', 'type=live&room=one-order', `${writer}:${n}`);
    }),
  );
  const all = writerCount * each;
  await Promise.all(members.map((member) => member.messageCount(all)));
  const order = members[0]!.texts;
  for (const member of members) expect(member.texts).toEqual(order);
  for (let writer = 0; writer < writerCount; writer++) {
    expect(order.filter((text) => text.startsWith(`${writer}:`))).toEqual(numbered(`${writer}:`, each));
  }
  await Promise.all(members.map((member) => member.close()));
});
