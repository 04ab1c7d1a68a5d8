/**
 * What a client of any door may miss, and how it learns of it: one that does not read is told a Gap for its room, for direct
 * pushes and for pushes to all; one that was cut off recovers a room with history, all of it or nothing.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CLOSE } from '../../src/errors/index.js';
import { decodeRecoverReply, encodeRecover, type RecoverReply } from '../../src/protocol/index.js';
import { roomRows } from '../extensions/replies.js';
import { DOORS, type DoorClient, eventually, nodeStats, onlineCount, TOLD_NOTHING } from '../kit/index.js';
import { fresh, join, numbered, PUSH_OP, push, pushBatch, startDoorNode, type TestNode } from './door-node.js';

const BODY_BYTES = 150_000;
/** Room for a message that a poll has brought and the next poll has not yet acknowledged, and for the one behind it. */
const MAX_BACKPRESSURE_BYTES = 4 * BODY_BYTES;
const ALL_OP = 1400;
const STEADY_COUNT = 5;
/** What a WebSocket client makes of a connection that ends without a close frame. */
const LOST_CODE = 1006;

let node: TestNode;
beforeAll(async () => {
  node = await startDoorNode({
    HALLEY_SLOW_MAX_BACKPRESSURE_BYTES: String(MAX_BACKPRESSURE_BYTES),
    HALLEY_SLOW_CLOSE_AFTER_MS: '1000',
  });
});
afterAll(async () => {
  expect(await node.stop()).toBe(0);
});

const totals = async () => (await nodeStats(node.httpUrl)).totals;

/** Channels that are slow and out of their topics now. */
async function slowNow(): Promise<number> {
  const { slow_marked, slow_recovered, slow_closed } = await totals();
  return slow_marked - slow_recovered - slow_closed;
}

/** Push to the room, number by number and at the pace of who reads, until `isEnough`. Returns how many were pushed. */
async function pushUntil(room: string, isEnough: () => Promise<boolean>, reader?: DoorClient): Promise<number> {
  let pushed = 0;
  await eventually(
    async () => {
      pushed += 1;
      await push(node, 'room', `type=live&room=${room}`, `${pushed} `.padEnd(BODY_BYTES, '.'));
      await reader?.messageCount(pushed);
      return isEnough();
    },
    20_000,
    'enough pushes',
  );
  return pushed;
}

/** So often in a row that it is no moment's matter. */
function steadily(isSo: () => Promise<boolean>): () => Promise<boolean> {
  let times = 0;
  return async () => {
    times = (await isSo()) ? times + 1 : 0;
    return times === STEADY_COUNT;
  };
}

function numbersOf({ messages }: DoorClient): number[] {
  return messages.filter(({ room }) => room !== '').map(({ text }) => Number.parseInt(text, 10));
}

describe.each(DOORS)('a client on $name that does not read', (door) => {
  it('is told a Gap for its room, direct pushes and pushes to all, nothing is lost unsaid, and the others lose nothing', async () => {
    const [room, key] = [fresh('slow'), fresh('slow')];
    const auth = { room_id: `live://${room}`, accepts: [PUSH_OP, ALL_OP] };
    const slow = await join(node, door, 'extended', { ...auth, key });
    const healthy = await join(node, door, 'extended', auth);
    slow.pause();
    const isSlow = steadily(async () => (await slowNow()) === 1);
    const pushed = await pushUntil(room, isSlow, healthy);
    // It is out of its topics now.
    await push(node, 'keys', `keys=${key}`, 'direct, while slow');
    await push(node, 'all', 'speed=0', 'to all, while slow', ALL_OP);
    await push(node, 'room', `type=live&room=${room}`, `${pushed + 1} missed`);
    await healthy.waitFor(() => numbersOf(healthy).length === pushed + 1 || undefined, 'all of the room');
    slow.resume();
    await slow.waitFor(() => slow.gaps.length >= 3 || undefined, 'three Gaps');
    await eventually(async () => (await slowNow()) === 0, 10_000, 'the slow one to be back');
    await push(node, 'room', `type=live&room=${room}`, `${pushed + 2} afterwards`);
    await push(node, 'keys', `keys=${key}`, 'direct, afterwards');
    await slow.waitFor(() => slow.texts.includes('direct, afterwards') || undefined, 'what comes afterwards');
    await slow.waitFor(() => numbersOf(slow).includes(pushed + 2) || undefined, 'what comes afterwards');
    expect(new Set(slow.gaps.map(({ scope }) => scope))).toEqual(new Set(['room', 'all', 'direct']));
    const received = new Set(numbersOf(slow));
    expect(numbersOf(slow)).toEqual([...received].toSorted((a, b) => a - b));
    // What is missing lies at or below what a Gap named.
    const gapTo = Math.max(...slow.gaps.filter((gap) => gap.room === `live://${room}`).map(({ to }) => to));
    const missing = Array.from({ length: pushed + 2 }, (_, index) => index + 1).filter((n) => !received.has(n));
    expect(missing.length).toBeGreaterThan(0);
    expect(missing.filter((n) => n > gapTo)).toEqual([]);
    expect(numbersOf(healthy).slice(0, pushed + 1)).toEqual(
      Array.from({ length: pushed + 1 }, (_, index) => index + 1),
    );
    expect(healthy.gaps).toEqual([]);
    await Promise.all([slow.close(), healthy.close()]);
  });
});

describe('a client that does not read and cannot be told what it misses', () => {
  it.concurrent.each(DOORS)('is closed on $name', async (door) => {
    const room = fresh('closed');
    const slow = await join(node, door, 'plain', { room_id: `live://${room}` });
    slow.pause();
    await pushUntil(room, async () => (await onlineCount(node.httpUrl, `live://${room}`)) === 0);
    slow.resume();
    const { code } = await slow.closing();
    // Who does not read would not read a close frame either; a request is answered whenever it comes.
    const cut = door.isMute ? TOLD_NOTHING : LOST_CODE;
    expect(code).toBe(door.isHttp ? CLOSE.SLOW.code : cut);
  });
});

describe.each(DOORS)('a client on $name that was cut off', (door) => {
  const recover = async (client: DoorClient, room: string, epoch: number, offset: number): Promise<RecoverReply> => {
    const packet = await client.request(23, encodeRecover('json', { room, epoch, offset }), 24);
    const reply = decodeRecoverReply('json', packet.body);
    if (!reply.ok) throw new Error(reply.error);
    return reply.value;
  };
  const textsOf = (reply: RecoverReply) =>
    reply.recovered
      ? reply.batches.flatMap(({ messages }) => messages.map(({ body }) => Buffer.from(body).toString()))
      : undefined;

  it('recovers all of a room with history, then nothing is missing and nothing comes twice', async () => {
    const room = `kept://${fresh('kept')}`;
    const key = fresh('cut');
    const command = (body: string) => ({ room, op: PUSH_OP, body });
    const bodies = numbered('m', 120);
    const first = await join(node, door, 'extended', { key, room_id: room });
    await pushBatch(node, bodies.slice(0, 20).map(command));
    const { epoch, offset } = (await first.messageCount(20)).at(-1)!;
    first.cut();
    await pushBatch(node, bodies.slice(20, 100).map(command));
    const second = await join(node, door, 'extended', { key, room_id: room });
    const missed = textsOf(await recover(second, room, epoch!, offset!));
    await pushBatch(node, bodies.slice(100).map(command));
    await second.messageCount(20);
    expect([...first.texts, ...(missed ?? []), ...second.texts]).toEqual(bodies);
    expect(await recover(second, room, epoch!, 120)).toEqual({ recovered: true, batches: [] });
    await second.close();
  });

  it('is refused whole where a part is gone, of another epoch, and where there is no history', async () => {
    const room = `few://${fresh('few')}`;
    const client = await join(node, door, 'extended', { room_id: room });
    await pushBatch(
      node,
      numbered('m', 9).map((body) => ({ room, op: PUSH_OP, body })),
    );
    const { epoch } = (await client.messageCount(9)).at(-1)!;
    expect(await recover(client, room, epoch!, 3)).toEqual({ recovered: false });
    expect(textsOf(await recover(client, room, epoch!, 4))).toEqual(['m4', 'm5', 'm6', 'm7', 'm8']);
    expect(await recover(client, room, epoch! - 1, 4)).toEqual({ recovered: false });
    const [plain] = roomRows((await client.request(18, '["chat://none"]', 19)).body);
    expect(await recover(client, 'chat://none', plain!.epoch, 0)).toEqual({ recovered: false });
    await client.close();
  });
});
