/**
 * Rooms with history and recovery (ops 23 and 24), end to end: an extended client that comes back has every message once and in
 * order, also while the room is being pushed to; or it is told that it cannot.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { decodeRecoverReply, encodeRecover, type RecoverReply } from '../../src/protocol/index.js';
import { get, type HalleyProcess, pushRoom, startHalley, WireClient } from '../kit/index.js';
import { join, welcomeOf } from './replies.js';

const KEPT = 400;
let halley: HalleyProcess;
let keyCount = 0;
beforeAll(async () => {
  halley = await startHalley({ env: { HALLEY_HISTORY_ROOMS: `live:${KEPT}:600,few:5:600`, HALLEY_LOG_LEVEL: 'warn' } });
});
afterAll(async () => {
  expect(await halley.stop()).toBe(0);
});

/**
 * What an application has: the room's messages, each once, by the rule that recoveries.ts states. While a recovery is under
 * way live messages are dropped; they stand in the answer.
 */
class Follower {
  readonly room: string;
  readonly texts: string[] = [];
  client: WireClient | undefined;
  epoch = 0;
  offset = 0;
  outOfOrderCount = 0;
  #read = 0;

  constructor(room: string) {
    this.room = room;
  }

  /** Connect, and recover where the room is not new to this client. Returns the answer, undefined for the first time. */
  async connect(): Promise<RecoverReply | undefined> {
    keyCount += 1;
    const key = `follower-${keyCount}`;
    this.client = await WireClient.connect(halley.wsUrl, { mid: 1, key, extended: true, roomId: this.room });
    this.#read = 0;
    const [row] = (await welcomeOf(this.client)).rooms;
    if (this.epoch === 0) {
      this.epoch = row!.epoch;
      this.offset = row!.offset;
      return undefined;
    }
    const reply = await recover(this.client, this.room, this.epoch, this.offset);
    // The wire's order: where op 24 stands among the batches.
    const { packets } = this.client;
    const at = packets.findIndex(({ op }) => op === 24);
    for (const { op, body } of packets.slice(0, at)) {
      if (op === 26) this.#read += countOf(body);
    }
    if (reply.recovered) {
      for (const { messages } of reply.batches) {
        for (const { offset, body } of messages) this.#take(offset, Buffer.from(body).toString());
      }
    }
    return reply;
  }

  /** Take the live messages that came since. */
  read(): void {
    const { messages } = this.client!;
    for (; this.#read < messages.length; this.#read++) {
      const { offset = 0, text, epoch } = messages[this.#read]!;
      expect(epoch).toBe(this.epoch);
      this.#take(offset, text);
    }
  }

  /** Cut the connection, with whatever is on its way. */
  cut(): void {
    this.read();
    this.client!.terminate();
  }

  #take(offset: number, text: string): void {
    if (offset !== this.offset + 1) this.outOfOrderCount += 1;
    this.offset = offset;
    this.texts.push(text);
  }
}

function countOf(body: Uint8Array): number {
  const reply = decodeRecoverReply('json', wrap(body));
  if (!reply.ok || !reply.value.recovered) throw new Error('no batch');
  return reply.value.batches.reduce((sum, { messages }) => sum + messages.length, 0);
}

/** An op-26 body as a whole packet, which is what the decoder of answers takes. */
function wrap(body: Uint8Array): Uint8Array {
  const packet = Buffer.alloc(16 + body.length);
  packet.writeInt32BE(packet.length, 0);
  packet.writeInt16BE(16, 4);
  packet.writeInt16BE(1, 6);
  packet.writeInt32BE(26, 8);
  packet.set(body, 16);
  return packet;
}

async function recover(client: WireClient, room: string, epoch: number, offset: number): Promise<RecoverReply> {
  const reply = decodeRecoverReply(
    'json',
    (await client.request(23, encodeRecover('json', { room, epoch, offset }), 24)).body,
  );
  if (!reply.ok) throw new Error(reply.error);
  return reply.value;
}

const numbers = (count: number, from = 1) => Array.from({ length: count }, (_, index) => String(from + index));

describe('recovery', () => {
  it('brings a client that comes back every message that it missed, once and in order', async () => {
    const follower = new Follower('live://back');
    await follower.connect();
    for (const text of numbers(10)) await pushRoom(halley.httpUrl, follower.room, text);
    await follower.client!.messageCount(10);
    follower.cut();
    // Nobody is in the room now: its history goes on.
    for (const text of numbers(50, 11)) await pushRoom(halley.httpUrl, follower.room, text);
    const reply = await follower.connect();
    expect(reply?.recovered).toBe(true);
    expect(follower.texts).toEqual(numbers(60));
    for (const text of numbers(10, 61)) await pushRoom(halley.httpUrl, follower.room, text);
    await follower.client!.messageCount(10);
    follower.read();
    expect([follower.texts, follower.outOfOrderCount]).toEqual([numbers(70), 0]);
    await follower.client!.close();
  });

  it('answers with nothing where nothing was missed', async () => {
    const follower = new Follower('live://still');
    await follower.connect();
    await pushRoom(halley.httpUrl, follower.room, '1');
    await follower.client!.messageCount(1);
    follower.cut();
    expect(await follower.connect()).toEqual({ recovered: true, batches: [] });
    await follower.client!.close();
  });

  it('is refused whole, never in part: too old, another epoch, ahead of the room, no history, not a member', async () => {
    const client = await WireClient.connect(halley.wsUrl, {
      mid: 1,
      key: 'refused',
      extended: true,
      roomId: 'few://1',
    });
    const [row] = (await welcomeOf(client)).rooms;
    const { epoch } = row!;
    for (const text of numbers(9)) await pushRoom(halley.httpUrl, 'few://1', text);
    await client.messageCount(9);
    expect((await recover(client, 'few://1', epoch, 3)).recovered).toBe(false);
    const whole = await recover(client, 'few://1', epoch, 4);
    expect(whole.recovered && whole.batches.flatMap(({ messages }) => messages.map(({ offset }) => offset))).toEqual([
      5, 6, 7, 8, 9,
    ]);
    expect((await recover(client, 'few://1', epoch - 1, 4)).recovered).toBe(false);
    expect((await recover(client, 'few://1', epoch, 10)).recovered).toBe(false);
    const [plain] = await join(client, 'chat://1');
    expect(await recover(client, 'chat://1', plain!.epoch, 0)).toEqual({ recovered: false });
    expect(await recover(client, 'live://other', epoch, 0)).toMatchObject({ recovered: false, error: { code: 300 } });
    await client.close();
  });

  // Written, it would fill what a channel may have unsent, and the direct pushes behind it would be lost.
  it('is refused whole above the bound of a slow channel, which goes on with what is live and with what is newer', async () => {
    const follower = new Follower('live://large');
    await follower.connect();
    await pushRoom(halley.httpUrl, follower.room, '1');
    await follower.client!.messageCount(1);
    follower.cut();
    const kib = 'k'.repeat(1_000);
    for (let no = 0; no < 300; no++) await pushRoom(halley.httpUrl, follower.room, kib);
    expect(await follower.connect()).toEqual({ recovered: false });
    const client = follower.client!;
    const newer = await recover(client, follower.room, follower.epoch, 101);
    expect(newer.recovered && newer.batches.flatMap(({ messages }) => messages).length).toBe(200);
    await pushRoom(halley.httpUrl, follower.room, 'live');
    await client.messageCount(1);
    expect(client.messages.map(({ offset, text }) => [offset, text])).toEqual([[302, 'live']]);
    expect(client.packets.filter(({ op }) => op === 22)).toEqual([]);
    await client.close();
  });

  it('gives 1,000 clients that come back under traffic every message once and in order', async () => {
    const followerCount = 100;
    const rounds = 10;
    const followers = Array.from({ length: followerCount }, () => new Follower('live://storm'));
    await Promise.all(followers.map((follower) => follower.connect()));
    let pushedCount = 0;
    let isOver = false;
    const traffic = (async () => {
      while (!isOver) {
        pushedCount += 1;
        await pushRoom(halley.httpUrl, 'live://storm', String(pushedCount));
      }
    })();
    let recoveredCount = 0;
    for (let round = 0; round < rounds; round++) {
      const until = pushedCount + 20;
      await followers[0]!.client!.waitFor(() => (pushedCount >= until ? true : undefined), 'traffic');
      for (const follower of followers) follower.cut();
      const replies = await Promise.all(followers.map((follower) => follower.connect()));
      recoveredCount += replies.filter((reply) => reply?.recovered === true).length;
    }
    isOver = true;
    await traffic;
    for (const follower of followers) {
      await follower.client!.waitFor(() => {
        follower.read();
        return follower.texts.at(-1) === String(pushedCount) ? true : undefined;
      }, 'the last message');
    }
    expect(recoveredCount).toBe(followerCount * rounds);
    for (const { texts, outOfOrderCount } of followers) {
      expect(outOfOrderCount).toBe(0);
      expect(texts).toEqual(numbers(texts.length, pushedCount - texts.length + 1));
    }
    const { data } = await get(`${halley.httpUrl}/halley/stats`);
    // Clients of a bucket that miss the same share one answer.
    expect(data.totals.recovered).toBeGreaterThanOrEqual(rounds);
    for (const { client } of followers) client!.terminate();
  }, 120_000);
});
