import { beforeEach, describe, expect, it } from 'vitest';
import { CLOSE } from '../../errors/index.js';
import { encodePacket, OP } from '../../protocol/index.js';
import {
  type Acceptance,
  type Authenticator,
  type AuthVerdict,
  type Conn,
  FRAME_OP,
  PUSH_OUTCOME,
} from '../../push/index.js';
import { BucketParts, TEST_LIMITS } from '../fixtures/bucket-parts.js';
import { CONNECT_STATUS, type ConnectMessage, type ConnectStatus } from '../thread-messages.js';
import { AppHost } from './app-host.js';
import { CHANNEL_FLAG, CHANNEL_STATE, type Channel } from './channel.js';
import { Handshake } from './handshake.js';

const HEARTBEAT_S = 60;
const MISSES = 2;
const NOW_MS = 1_700_000_000_000;
const MONOTONIC_MS = 5_000;

let bucket: BucketParts;
let app: AppHost;
let handshake: Handshake;
let connects: ConnectMessage[];
let accepted: Channel[];
let failedCount: number;
let verdict: (key: string) => AuthVerdict | Promise<AuthVerdict>;

beforeEach(() => {
  bucket = new BucketParts({ ...TEST_LIMITS, bodyBytes: 4_096 });
  connects = [];
  accepted = [];
  failedCount = 0;
  verdict = (key) => ({ ok: true, mid: 42, key: key || 'drawn', allowsRoom: () => true, expiresAtMs: 0 });
  const authenticator: Authenticator = { authenticate: (request) => verdict(request.key) };
  app = new AppHost({
    bucket: 1,
    nextId: () => '1',
    publish: () => Promise.resolve(PUSH_OUTCOME.OK),
    pushElsewhere: () => 0,
    requestShutdown: () => {},
    onListenerError: () => {},
    isDraining: () => false,
  });
  handshake = new Handshake(
    {
      roomIdBytes: 32,
      roomsPerChannel: 3,
      watchOps: 4,
      preAuthBytes: 200,
      handshakeTimeoutMs: 8_000,
      heartbeatIntervalS: HEARTBEAT_S,
      heartbeatMisses: MISSES,
      reconnectWindowMs: 7_000,
    },
    {
      close: (channel, row, detail) => bucket.close(channel, row, detail),
      sendToControl: (message) => connects.push(message),
      setIdle: (channel, idleMs) => bucket.setIdle(channel, idleMs),
      monotonicMs: () => MONOTONIC_MS,
      wallMs: () => NOW_MS,
      onAccepted: (channel) => accepted.push(channel),
      onAuthFailed: () => {
        failedCount += 1;
      },
      guard: (channel, fn) => bucket.guard(channel, fn),
    },
    {
      authenticator,
      app,
      slots: bucket.slots,
      shards: bucket.shards,
      rooms: bucket.rooms,
      writer: bucket.writer,
      packets: () => bucket.packets,
    },
  );
  bucket.onAuth = (channel, header, body) => handshake.auth(channel, header, body);
  bucket.onClosed = (channel) => handshake.closed(channel);
});

/** A fresh connection. */
function connection() {
  const made = bucket.channel({ state: CHANNEL_STATE.OPEN });
  handshake.opened(made.channel);
  return made;
}

/** As Bucket.#message. */
function feed(channel: Channel, bytes: Uint8Array, isBinary = true): void {
  if (channel.state === CHANNEL_STATE.OPEN && handshake.fed(channel, bytes, isBinary)) return;
  bucket.packets.receive(channel, bytes);
}

function auth(channel: Channel, body: unknown, seq = 9, ver = 1): void {
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  feed(channel, encodePacket(OP.AUTH, seq, ver, new TextEncoder().encode(text)));
}

/** The control thread answers the oldest connect. */
function answer(status: ConnectStatus = CONNECT_STATUS.STORED): void {
  const message = connects.shift();
  if (message === undefined) throw new Error('nobody asked to connect');
  const [, connId, , , , , rooms] = message;
  const infos = status === CONNECT_STATUS.STORED ? rooms.map((room) => bucket.sequencer.occupy(room, 1)) : [];
  handshake.connected([32, connId, status, infos]);
  bucket.answer();
}

const microtasks = async () => {
  for (let i = 0; i < 6; i++) await Promise.resolve();
};

describe("goim's auth packet", () => {
  it('asks for a session and rooms first, and is answered when both stand', () => {
    const { channel, socket } = connection();
    auth(channel, { mid: 7, key: 'device', room_id: 'live://1', platform: 'web', accepts: [1000, 1001] });
    expect(connects).toEqual([[1, bucket.slots.connIdOf(channel), 42, 'device', 'web', '127.0.0.1', ['live://1']]]);
    expect([socket.frames, channel.state, accepted]).toEqual([[], CHANNEL_STATE.CONNECTING, []]);
    answer();
    expect(Buffer.from(socket.frames[0]!).toString('hex')).toBe('00000010001000010000000800000009');
    expect([channel.state, accepted, channel.userMid, channel.id()]).toEqual([
      CHANNEL_STATE.READY,
      [channel],
      42,
      'device',
    ]);
    expect([channel.primaryRoom?.shard.room, channel.watch?.ops, handshake.pendingCount]).toEqual([
      'live://1',
      [1000, 1001],
      0,
    ]);
    expect([channel.idleMs, channel.has(CHANNEL_FLAG.REGISTERED)]).toEqual([HEARTBEAT_S * MISSES * 1_000, true]);
  });

  // goim wrote its reply before it registered the channel; a push in between was lost.
  it('has the channel subscribed by the time it is answered', () => {
    const { channel, socket } = connection();
    auth(channel, { room_id: 'live://1', accepts: [1000] });
    expect(socket.topics.size).toBe(0);
    let topicsAtReply = -1;
    const send = socket.send.bind(socket);
    socket.send = (bytes) => {
      topicsAtReply = socket.topics.size;
      return send(bytes);
    };
    answer();
    expect(topicsAtReply).toBe(2);
  });

  it('is followed by packets that came meanwhile, after its answer', () => {
    const { channel, socket } = connection();
    auth(channel, { room_id: 'live://1' });
    feed(channel, encodePacket(OP.HEARTBEAT, 10, 1));
    answer();
    expect(socket.take()).toEqual(['8 9 ', '3 10 \0\0\0\u0001']);
  });

  it.each(['', '{', '[]', '{"mid":"7"}', '{"room_id":5}', `{"room_id":"${'x'.repeat(33)}"}`])(
    'that is malformed ends the connection: %s',
    (body) => {
      const { channel, socket } = connection();
      auth(channel, body);
      expect(socket.fate).toMatch(`ended ${CLOSE.AUTH_MALFORMED.code}`);
      expect([failedCount, connects]).toEqual([1, []]);
    },
  );

  it('of an extended channel is answered with its key, its heartbeat and where its rooms stand', () => {
    const { channel, socket } = connection();
    auth(channel, { halley: 1, room_id: 'live://1', rooms: ['live://2', 'live://1', 'live://2'], heartbeat_s: 20 });
    expect(connects[0]?.[6]).toEqual(['live://1', 'live://2']);
    answer();
    const [reply] = socket.take();
    expect(JSON.parse(reply!.slice('8 9 '.length))).toEqual({
      key: 'drawn',
      heartbeat_s: 20,
      reconnect_window_ms: 7_000,
      rooms: [
        { room: 'live://1', epoch: 1_001, offset: 0 },
        { room: 'live://2', epoch: 1_002, offset: 0 },
      ],
    });
    expect([channel.rooms(), channel.idleMs]).toEqual([['live://1', 'live://2'], 20 * MISSES * 1_000]);
    expect(channel.has(CHANNEL_FLAG.EXTENDED)).toBe(true);
  });

  it("of a plain channel may name Halley's members; they mean nothing", () => {
    const { channel, socket } = connection();
    auth(channel, { rooms: ['live://2'], heartbeat_s: 20 });
    expect(connects[0]?.[6]).toEqual([]);
    answer();
    expect([socket.take(), channel.idleMs]).toEqual([['8 9 '], HEARTBEAT_S * MISSES * 1_000]);
  });
});

describe("the authenticator's verdict", () => {
  it('may come later; what the client sends meanwhile waits', async () => {
    let decide: (verdict: AuthVerdict) => void = () => {};
    verdict = () =>
      new Promise((resolve) => {
        decide = resolve;
      });
    const { channel, socket } = connection();
    auth(channel, {});
    feed(channel, encodePacket(OP.HEARTBEAT, 10, 1));
    expect(connects).toEqual([]);
    decide({ ok: true, mid: 1, key: 'k', allowsRoom: () => true, expiresAtMs: 0 });
    await microtasks();
    answer();
    expect(socket.take()).toHaveLength(2);
  });

  it('for a connection that went meanwhile is forgotten', async () => {
    let decide: (verdict: AuthVerdict) => void = () => {};
    verdict = () =>
      new Promise((resolve) => {
        decide = resolve;
      });
    const { channel } = connection();
    auth(channel, {});
    bucket.gone(channel);
    decide({ ok: true, mid: 1, key: 'k', allowsRoom: () => true, expiresAtMs: 0 });
    await microtasks();
    expect([connects, handshake.pendingCount]).toEqual([[], 0]);
  });

  it('may refuse, with a close code and a reason', () => {
    verdict = () => ({ ok: false, closeName: 'UNAUTHORIZED', message: 'the token is missing' });
    const { channel, socket } = connection();
    auth(channel, {});
    expect([socket.fate, failedCount]).toEqual([`ended ${CLOSE.UNAUTHORIZED.code} the token is missing`, 1]);
  });

  it('may allow some rooms only, for the primary one and the others alike', () => {
    verdict = (key) => ({ ok: true, mid: 1, key, allowsRoom: (room) => room === 'live://1', expiresAtMs: 0 });
    for (const body of [{ room_id: 'live://2' }, { halley: 1, room_id: 'live://1', rooms: ['live://2'] }]) {
      const { channel, socket } = connection();
      auth(channel, { key: 'k', ...body });
      expect(socket.fate).toMatch(`ended ${CLOSE.FORBIDDEN.code} the token does not allow the room "live://2"`);
    }
    expect(bucket.shards.count).toBe(0);
  });

  it('may end at a time of the wall clock, which the channel keeps on the monotonic one', () => {
    const allowsRoom = () => true;
    verdict = () => ({ ok: true, mid: 1, key: 'k', allowsRoom, expiresAtMs: NOW_MS + 3_000 });
    const { channel } = connection();
    auth(channel, {});
    expect([channel.expiresAtMs, channel.allowsRoom]).toEqual([MONOTONIC_MS + 3_000, allowsRoom]);
  });
});

describe("the control thread's answer", () => {
  it("FOREIGN ends the connection, and its key stays another user's: no disconnect is due", () => {
    const { channel, socket } = connection();
    auth(channel, { room_id: 'live://1' });
    answer(CONNECT_STATUS.FOREIGN);
    expect(socket.fate).toMatch(`ended ${CLOSE.FORBIDDEN.code} the key belongs to another user`);
    expect([channel.has(CHANNEL_FLAG.REGISTERED), bucket.shards.count, accepted]).toEqual([false, 0, []]);
  });

  it('FAILED asks the client to come back', () => {
    const { channel, socket } = connection();
    auth(channel, {});
    answer(CONNECT_STATUS.FAILED);
    expect(socket.fate).toMatch(`ended ${CLOSE.OVERLOADED.code}`);
    expect(channel.has(CHANNEL_FLAG.REGISTERED)).toBe(false);
  });

  it('without a place for a room ends the connection and leaves no other room open', () => {
    for (const room of ['a://1', 'a://2', 'a://3']) bucket.enter(bucket.channel().channel, room);
    const { channel, socket } = connection();
    auth(channel, { halley: 1, rooms: ['live://1', 'live://2'] });
    answer();
    expect(socket.fate).toMatch(`ended ${CLOSE.OVERLOADED.code} the node holds as many rooms as it may`);
    expect([bucket.sequencer.roomCount(), bucket.shards.count]).toEqual([3, 3]);
  });

  it('for a connection that went meanwhile closes the rooms it had opened', () => {
    const { channel } = connection();
    auth(channel, { room_id: 'live://1' });
    bucket.gone(channel);
    expect(bucket.shards.count).toBe(1);
    answer();
    expect([bucket.shards.count, bucket.sequencer.roomCount(), accepted, handshake.pendingCount]).toEqual([
      0,
      0,
      [],
      0,
    ]);
  });

  it('to nobody is ignored', () => {
    handshake.connected([32, 4_711, CONNECT_STATUS.STORED, []]);
    expect(accepted).toEqual([]);
  });
});

describe("an application's acceptor", () => {
  it('does the handshake with frames of its own, and what it left unread are the first packets', async () => {
    app.setAcceptor({
      accept: async (conn: Conn, timeoutMs) => {
        const hello = await conn.readFrame();
        conn.writeFrame(FRAME_OP.TEXT, new TextEncoder().encode(`welcome within ${timeoutMs}`));
        conn.flush();
        const room = await conn.readFrame();
        return {
          channelId: new TextDecoder().decode(hello.payload()),
          mid: 7,
          rooms: [new TextDecoder().decode(room.payload()), 'live://2'],
          accepts: [1000],
          meta: { from: conn.remoteAddress() },
        };
      },
    });
    const { channel, socket } = connection();
    feed(channel, new TextEncoder().encode('device'), false);
    await microtasks();
    expect(new TextDecoder().decode(socket.frames.shift())).toBe('welcome within 8000');
    feed(channel, new TextEncoder().encode('live://1'), false);
    feed(channel, encodePacket(OP.HEARTBEAT, 3, 1));
    await microtasks();
    expect(connects[0]?.slice(2)).toEqual([7, 'device', '', '127.0.0.1', ['live://1', 'live://2']]);
    answer();
    // No op 8: this client has had its own welcome.
    expect(socket.take()).toEqual(['3 3 \0\0\0\u0001']);
    expect([channel.rooms(), channel.watch?.ops, channel.meta()]).toEqual([
      ['live://1', 'live://2'],
      [1000],
      { from: '127.0.0.1' },
    ]);
    expect(Object.isFrozen(channel.meta())).toBe(true);
  });

  it('sets the idle deadline with setReadWait', async () => {
    app.setReadWait(1_500);
    app.setAcceptor({ accept: () => ({ channelId: 'k' }) });
    const { channel } = connection();
    await microtasks();
    answer();
    expect(channel.idleMs).toBe(1_500);
  });

  it.each<[string, () => Acceptance | Promise<Acceptance>, string]>([
    [
      'throws',
      () => {
        throw new Error('not you');
      },
      'not you',
    ],
    ['rejects', () => Promise.reject(new Error('not you')), 'not you'],
    ['gives no id', () => ({ channelId: '' }), 'channelId'],
    ['gives nothing', () => undefined as never, 'channelId'],
    ['gives a mid that is none', () => ({ channelId: 'k', mid: 0.5 }), 'mid=0.5'],
    ['names a room that is none', () => ({ channelId: 'k', rooms: ['x'.repeat(33)] }), "the acceptor's rooms"],
  ])('that %s refuses the connection', async (_, accept, reason) => {
    app.setAcceptor({ accept });
    const { socket } = connection();
    await microtasks();
    expect(socket.fate).toMatch(`ended ${CLOSE.REJECTED.code}`);
    expect(socket.fate).toContain(reason);
    expect([failedCount, connects]).toEqual([1, []]);
  });

  it('hears of the end of a client that it waits for', async () => {
    let ended: unknown;
    app.setAcceptor({
      accept: async (conn) => {
        try {
          await conn.readFrame();
        } catch (error) {
          ended = error;
        }
        // Whatever it says now comes too late.
        return { channelId: 'k' };
      },
    });
    const { channel } = connection();
    bucket.gone(channel);
    await microtasks();
    expect(ended).toMatchObject({ code: 'CONN_CLOSED' });
    expect(connects).toEqual([]);
  });

  it('is protected from clients that send more than is kept', () => {
    app.setAcceptor({ accept: () => new Promise(() => {}) });
    const { channel, socket } = connection();
    feed(channel, new Uint8Array(200));
    expect(socket.fate).toBe('open');
    feed(channel, new Uint8Array(1));
    expect(socket.fate).toMatch(`ended ${CLOSE.PIPELINE_TOO_LONG.code}`);
  });

  it('keeps bytes of its own: the buffer of uWS is gone after the callback', async () => {
    let seen = '';
    app.setAcceptor({
      accept: async (conn) => {
        await microtasks();
        seen = new TextDecoder().decode((await conn.readFrame()).payload());
        return { channelId: 'k' };
      },
    });
    const { channel } = connection();
    const bytes = new TextEncoder().encode('hello');
    feed(channel, bytes);
    bytes.fill(0);
    await microtasks();
    await microtasks();
    expect(seen).toBe('hello');
  });
});
