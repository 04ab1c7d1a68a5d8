/** A bucket that dies: its channels end on every door, with advice to come back where there is room for it; the others stay. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { CLOSE } from '../../src/errors/index.js';
import { DOORS, type DoorClient, eventually, nodeStats, readiness } from '../kit/index.js';
import { APP_OP, FORMS, join, push, startDoorNode, type TestNode } from './door-node.js';

const ROUNDS = 3;

let node: TestNode;
beforeAll(async () => {
  node = await startDoorNode();
});
afterAll(async () => {
  expect(await node.stop()).toBe(0);
});

async function bucketOf(client: DoorClient): Promise<number> {
  return Number((await client.request(APP_OP.BUCKET)).body.toString());
}

it.each([1, 2])('ends the channels of bucket %i and no others, who miss nothing', async (doomedBucket) => {
  const before = (await nodeStats(node.httpUrl)).totals.bucket_restarts;
  const joining = Array.from({ length: ROUNDS }, () =>
    DOORS.flatMap((door) => FORMS.map((form) => join(node, door, form, { room_id: `live://crash-${doomedBucket}` }))),
  );
  const clients = await Promise.all(joining.flat());
  const buckets = await Promise.all(clients.map((client) => bucketOf(client)));
  const [doomed, staying] = [true, false].map((isDoomed) =>
    clients.filter((_, index) => (buckets[index] === doomedBucket) === isDoomed),
  ) as [DoorClient[], DoorClient[]];
  // By chance the kernel may give one bucket no client of a door; of all of them it gives both some.
  expect(Math.min(doomed.length, staying.length)).toBeGreaterThan(0);
  const room = `type=live&room=crash-${doomedBucket}`;
  await push(node, 'room', room, 'before');
  await Promise.all(clients.map((client) => client.messageCount(1)));
  doomed[0]!.send(APP_OP.CRASH);
  for (const client of doomed) {
    const { code } = await client.closing();
    expect([client.door.name, client.isExtended, code]).toEqual([
      client.door.name,
      client.isExtended,
      client.toldOf(CLOSE.BUCKET_FAILED.code),
    ]);
  }
  await push(node, 'room', room, 'meanwhile');
  // In this order: its clients hear of a death before the control thread does, which is ready until then.
  const restartCount = async () => (await nodeStats(node.httpUrl)).totals.bucket_restarts - before;
  await eventually(async () => (await restartCount()) === 1, 10_000, 'the death to be noticed');
  await eventually(async () => (await readiness(node.httpUrl)).ready, 10_000, 'the bucket to be back');
  await push(node, 'room', room, 'afterwards');
  for (const client of staying) {
    await client.messageCount(3);
    expect([client.closed, client.texts]).toEqual([undefined, ['before', 'meanwhile', 'afterwards']]);
  }
  expect(await restartCount()).toBe(1);
  // Whoever comes back is served, by every door.
  for (const door of DOORS) {
    const back = await join(node, door, 'extended');
    expect((await back.request(APP_OP.ECHO, 'back')).body.toString()).toBe('back');
    await back.close();
  }
  await Promise.all(staying.map((client) => client.close()));
});
