import { beforeEach, describe, expect, it } from 'vitest';
import { CLIENT_ERROR, CLOSE, OUTCOME, type Outcome } from '../../errors/index.js';
import { encodeHeartbeatBody, encodePacket, OP } from '../../protocol/index.js';
import type { Agent, ListenerReply } from '../../push/index.js';
import { BucketParts, TEST_LIMITS, type TestChannelOptions } from '../fixtures/bucket-parts.js';
import { CHANNEL_FLAG, CHANNEL_STATE, type Channel } from './channel.js';

let bucket: BucketParts;
beforeEach(() => {
  bucket = new BucketParts();
});

const utf8 = (text: string) => new TextEncoder().encode(text);
const packet = (op: number, body: string | Uint8Array = '', seq = 1) =>
  encodePacket(op, seq, 1, typeof body === 'string' ? utf8(body) : body);
const joined = (...packets: Uint8Array[]) => new Uint8Array(Buffer.concat(packets));

function ready(options: TestChannelOptions = {}) {
  const { channel, socket } = bucket.channel(options);
  const receive = (...packets: Uint8Array[]) => bucket.packets.receive(channel, joined(...packets));
  return { channel, socket, receive };
}

/** A listener whose answers come when the test gives them; it notes what it is asked. */
function slowListener() {
  const asked: string[] = [];
  const answers: { give: (reply: ListenerReply) => void; fail: (error: Error) => void }[] = [];
  bucket.listener = {
    receive: (_agent: Agent, payload: Uint8Array, { op, seq }) => {
      asked.push(`${op} ${seq} ${new TextDecoder().decode(payload)}`);
      return new Promise<ListenerReply>((give, fail) => answers.push({ give, fail }));
    },
  };
  /** Answer the oldest question, and let what follows from it happen. */
  const answer = async (reply: ListenerReply | Error) => {
    const next = answers.shift();
    if (reply instanceof Error) next?.fail(reply);
    else next?.give(reply);
    for (let i = 0; i < 4; i++) await Promise.resolve();
  };
  return { asked, answer };
}

describe("goim's operations", () => {
  it('are answered with the seq and ver of the request', () => {
    const { socket, channel } = ready();
    bucket.packets.receive(channel, encodePacket(OP.HEARTBEAT, 5, 3));
    expect(Buffer.from(socket.frames[0]!).toString('hex')).toBe('0000001400100003000000030000000500000000');
    bucket.packets.receive(channel, encodePacket(OP.SEND_MSG, 77, 1, utf8('x')));
    expect(Buffer.from(socket.frames[1]!).toString('hex')).toBe('0000001000100001000000040000004d');
  });

  it('heartbeat answers with the members of the primary room on the node', () => {
    const { channel, socket, receive } = ready();
    bucket.enter(channel, 'live://1', true);
    bucket.roomCounts.set(1, 3, 4);
    receive(packet(OP.HEARTBEAT));
    expect(socket.take()).toEqual(['3 1 \0\0\0\u0005']);
    expect(bucket.events).toEqual(['alive']);
  });

  it('heartbeat sets the idle deadline of an extended channel that names its interval', () => {
    const extended = ready({ extended: true });
    extended.receive(packet(OP.HEARTBEAT, encodeHeartbeatBody(30)));
    extended.receive(packet(OP.HEARTBEAT, encodeHeartbeatBody(0)));
    extended.receive(packet(OP.HEARTBEAT, encodeHeartbeatBody(86_401)));
    const plain = ready();
    plain.receive(packet(OP.HEARTBEAT, encodeHeartbeatBody(30)));
    expect(bucket.events.filter((event) => event.startsWith('idle'))).toEqual(['idle 60000']);
  });

  it('change room moves the primary room and echoes the body, also where nothing changed', () => {
    const { channel, socket, receive } = ready();
    receive(packet(OP.CHANGE_ROOM, 'live://1', 7));
    expect(socket.take()).toEqual([]);
    bucket.answer();
    expect([socket.take(), channel.rooms()]).toEqual([['13 7 live://1'], ['live://1']]);
    receive(packet(OP.CHANGE_ROOM, 'live://1'));
    receive(packet(OP.CHANGE_ROOM, 'x'.repeat(33)));
    receive(packet(OP.CHANGE_ROOM, new Uint8Array([0xff, 0xfe])));
    channel.allowsRoom = (room) => room !== 'live://2';
    receive(packet(OP.CHANGE_ROOM, 'live://2'));
    expect(socket.frames).toHaveLength(4);
    expect(channel.rooms()).toEqual(['live://1']);
    receive(packet(OP.CHANGE_ROOM));
    expect(channel.rooms()).toEqual([]);
  });

  it('sub and unsub change the watch set within its limit and echo whatever came', () => {
    const { channel, socket, receive } = ready();
    receive(packet(OP.SUB, '1000,1001'));
    receive(packet(OP.SUB, '1002'));
    expect(channel.watch?.ops).toEqual([1000, 1001, 1002]);
    receive(packet(OP.UNSUB, '1000,999'));
    expect(channel.watch?.ops).toEqual([1001, 1002]);
    receive(packet(OP.SUB, 'nonsense'));
    receive(packet(OP.SUB, '1,2,3,4,5'));
    receive(packet(OP.SUB, '1,2,3'));
    expect(channel.watch?.ops).toEqual([1001, 1002]);
    receive(packet(OP.UNSUB, '1001,1002'));
    expect([channel.watch, bucket.watchSets.count]).toEqual([undefined, 0]);
    expect(socket.take().map((text) => text.slice(0, 4))).toEqual([
      '15 1',
      '15 1',
      '17 1',
      '15 1',
      '15 1',
      '15 1',
      '17 1',
    ]);
  });

  it('a changed watch set loses nothing that the old one still held back', () => {
    const { socket, receive } = ready();
    receive(packet(OP.SUB, '1000'));
    socket.take();
    const [set] = [...new Set([bucket.slots.at(0)?.watch])];
    set?.append(new Uint8Array(60), 0, 8, 24, 16, 1);
    receive(packet(OP.SUB, '1001'));
    expect(bucket.published.messages.map(({ topic }) => topic)).toEqual([set?.topicPlain]);
  });

  it('the same watch set again changes no subscription', () => {
    const { channel, socket, receive } = ready();
    receive(packet(OP.SUB, '1000'));
    const { watch } = channel;
    receive(packet(OP.SUB, '1000'));
    expect([channel.watch, watch?.holderCount, watch?.plainCount, socket.topics.size]).toEqual([watch, 1, 1, 1]);
  });

  it('of every kind come several in one message', () => {
    const { socket, receive } = ready();
    receive(packet(OP.HEARTBEAT, '', 1), packet(OP.SUB, '1000', 2), packet(1000, 'x', 3));
    expect(socket.take().map((text) => text.split(' ').slice(0, 2).join(' '))).toEqual(['3 1', '15 2', '1000 3']);
  });
});

describe('bytes that are no packets', () => {
  it.each([
    ['nothing at all', new Uint8Array(0)],
    ['half a header', packet(OP.HEARTBEAT).subarray(0, 15)],
    ['a wrong header length', packet(OP.HEARTBEAT).with(5, 17)],
    // W1: goim answered with what lay behind the message in its buffer.
    ['a length beyond the message', packet(OP.SUB, '1000').with(3, 60)],
    ['a negative length', packet(OP.HEARTBEAT).with(0, 0x80)],
  ])('end the channel as malformed: %s', (_, bytes) => {
    const { channel, socket } = ready();
    bucket.packets.receive(channel, bytes);
    expect(socket.fate).toMatch(`ended ${CLOSE.MALFORMED.code}`);
    expect([bucket.events, socket.frames]).toEqual([['malformed'], []]);
  });

  it('behind a good packet are ignored as on goim, but end an extended channel', () => {
    const plain = ready();
    plain.receive(packet(OP.SEND_MSG), new Uint8Array([1, 2, 3]));
    expect([plain.socket.take(), plain.socket.fate]).toEqual([['4 1 '], 'open']);
    const extended = ready({ extended: true });
    extended.receive(packet(OP.SEND_MSG), new Uint8Array([1, 2, 3]));
    expect(extended.socket.fate).toMatch(`ended ${CLOSE.MALFORMED.code}`);
  });
});

describe('bodies above their limit', () => {
  it('end the channel and say which limit, one byte above it', () => {
    const { socket, receive } = ready();
    receive(packet(OP.SEND_MSG, 'x'.repeat(TEST_LIMITS.bodyBytes)));
    expect(socket.fate).toBe('open');
    receive(packet(OP.SEND_MSG, 'x'.repeat(TEST_LIMITS.bodyBytes + 1)));
    expect(socket.fate).toBe(`ended ${CLOSE.TOO_LARGE.code} the body of op 4 may have 64 bytes: bytes=65`);
    expect(bucket.events).toContain('oversized');
  });

  it('of requests may be larger; beyond that an IM request hears why before the end', () => {
    const { socket, receive } = ready({ extended: true });
    receive(packet(OP.IM_REQUEST, 'x'.repeat(TEST_LIMITS.requestBodyBytes)));
    expect(socket.take()).toEqual([`31 1 ${JSON.stringify({ error: CLIENT_ERROR.UNKNOWN_METHOD })}`]);
    receive(packet(OP.IM_REQUEST, 'x'.repeat(TEST_LIMITS.requestBodyBytes + 1)));
    expect(socket.take()).toEqual([`31 1 ${JSON.stringify({ error: CLIENT_ERROR.BODY_TOO_LARGE })}`]);
    expect(socket.fate).toMatch(`ended ${CLOSE.TOO_LARGE.code}`);
  });
});

describe('before auth', () => {
  it('everything but auth is ignored, and nothing counts as a sign of life', () => {
    const { socket, receive } = ready({ state: CHANNEL_STATE.OPEN });
    receive(packet(OP.HEARTBEAT), packet(1000, 'x'));
    expect([socket.frames, bucket.events, socket.fate]).toEqual([[], [], 'open']);
    receive(packet(OP.AUTH, '{}'));
    expect(bucket.events).toEqual(['auth']);
  });

  it('what follows auth waits, in order, and is handled when the channel is ready', () => {
    const { channel, socket, receive } = ready({ state: CHANNEL_STATE.OPEN });
    receive(packet(OP.AUTH, '{}'), packet(1000, 'a', 2));
    receive(packet(OP.HEARTBEAT, '', 3));
    expect(socket.frames).toEqual([]);
    channel.state = CHANNEL_STATE.READY;
    bucket.packets.resume(channel);
    expect(socket.take().map((text) => text.slice(0, 6))).toEqual(['1000 2', '3 3 \0\0']);
    expect([channel.backlog, channel.has(CHANNEL_FLAG.BUSY)]).toEqual([undefined, false]);
  });

  it('no more waits than limits.pre_auth_packets and limits.pre_auth_bytes say', () => {
    for (const [count, bytes] of [
      [TEST_LIMITS.preAuthPackets, 0],
      [2, 40],
    ] as const) {
      const { channel, socket, receive } = ready({ state: CHANNEL_STATE.CONNECTING });
      for (let i = 0; i < count; i++) receive(packet(1000, 'x'.repeat(bytes)));
      expect(socket.fate).toBe('open');
      receive(packet(1000, 'x'.repeat(bytes)));
      expect(socket.fate).toMatch(`ended ${CLOSE.PIPELINE_TOO_LONG.code}`);
      expect(channel.backlog).toBeUndefined();
    }
  });
});

describe('packets that follow one under way', () => {
  it('wait for it and are handled in order, over listeners, rooms and heartbeats', async () => {
    const { socket, receive } = ready({ extended: true });
    const { asked, answer } = slowListener();
    receive(packet(1000, 'a', 1), packet(1000, 'b', 2), packet(OP.CHANGE_ROOM, 'live://1', 3), packet(1001, 'c', 4));
    receive(packet(OP.HEARTBEAT, '', 5));
    expect([asked, socket.frames]).toEqual([['1000 1 a'], []]);
    await answer('A');
    expect([asked, socket.take()]).toEqual([['1000 1 a', '1000 2 b'], ['1000 1 A']]);
    await answer(new Uint8Array([66]));
    expect([asked.length, socket.take()]).toEqual([2, ['1000 2 B']]);
    bucket.answer();
    expect([asked.at(-1), socket.take()]).toEqual(['1001 4 c', ['13 3 live://1']]);
    await answer(undefined);
    expect(socket.take()).toEqual(['1001 4 ', '3 5 \0\0\0\u0001']);
  });

  it('may be sixteen times as many as before auth, and no more (goim: 7)', () => {
    const { channel, socket, receive } = ready();
    slowListener();
    receive(packet(1000, 'x'));
    for (let i = 0; i < TEST_LIMITS.preAuthPackets * 16; i++) receive(packet(1000, ''));
    expect([socket.fate, channel.backlog?.packets.length]).toEqual(['open', TEST_LIMITS.preAuthPackets * 16]);
    receive(packet(1000, ''));
    expect(socket.fate).toMatch(`ended ${CLOSE.PIPELINE_TOO_LONG.code}`);
  });

  it('free the backlog bytes as they go, so a long conversation never fills it up', async () => {
    const { socket, receive, channel } = ready();
    const { answer } = slowListener();
    // Something always waits, so the backlog is never made anew.
    for (let i = 0; i < 3; i++) receive(packet(1000, 'x'.repeat(60)));
    for (let round = 0; round < 200; round++) {
      receive(packet(1000, 'x'.repeat(60)));
      await answer(undefined);
    }
    expect([socket.fate, channel.backlog?.packets.length, channel.backlog?.bytes]).toEqual(['open', 2, 2 * 76]);
    for (let round = 0; round < 3; round++) await answer(undefined);
    expect([socket.frames.length, channel.backlog]).toEqual([203, undefined]);
  });

  it('are not handled any more when the channel has gone meanwhile', async () => {
    const { channel, socket, receive } = ready();
    const { asked, answer } = slowListener();
    receive(packet(1000, 'a'), packet(1000, 'b'));
    bucket.gone(channel);
    await answer('late');
    expect([asked, socket.frames]).toEqual([['1000 1 a'], []]);
  });

  // Answers of the control thread come inside a drain, and application code must not run while a ring is held.
  it('wait for the end of a drain, whoever ended the wait', () => {
    const { socket, receive } = ready();
    const asked: string[] = [];
    bucket.listener = { receive: (_, payload) => void asked.push(new TextDecoder().decode(payload)) };
    receive(packet(OP.CHANGE_ROOM, 'live://1', 1), packet(1000, 'a', 2));
    bucket.draining = true;
    bucket.answer();
    expect([asked, socket.take()]).toEqual([[], ['13 1 live://1']]);
    // Nothing may slip past what waits.
    receive(packet(1000, 'b', 3));
    bucket.draining = false;
    bucket.runDeferred();
    expect([asked, socket.take()]).toEqual([
      ['a', 'b'],
      ['1000 2 ', '1000 3 '],
    ]);
  });
});

describe("an application's listener", () => {
  it('gets bytes of its own, and its answer is the reply', () => {
    const { socket, receive } = ready({ key: 'device' });
    let kept: Uint8Array = new Uint8Array(0);
    bucket.listener = {
      receive: (agent, payload, info) => {
        kept = new Uint8Array(payload.buffer);
        return `${agent.id()} ${JSON.stringify(info)}`;
      },
    };
    const bytes = packet(OP.SEND_MSG, 'text', 9);
    receive(bytes);
    expect(new TextDecoder().decode(kept)).toBe('text');
    expect(socket.take()).toEqual(['4 9 device {"op":4,"seq":9,"ver":1}']);
  });

  it('hears extension operations of plain channels only', () => {
    const asked: number[] = [];
    bucket.listener = { receive: (_agent, _payload, { op }) => void asked.push(op) };
    ready().receive(packet(OP.JOIN_ROOMS), packet(OP.IM_REQUEST), packet(17, ''), packet(OP.AUTH));
    ready({ extended: true }).receive(packet(OP.RECOVER, '{}'), packet(1000));
    expect(asked).toEqual([OP.JOIN_ROOMS, OP.IM_REQUEST, 17, OP.AUTH, 1000]);
  });

  it.each([
    [
      'throws',
      () => {
        throw new Error('boom');
      },
    ],
    ['rejects', () => Promise.reject(new Error('boom'))],
    ['answers with a number', () => 5 as never],
    ['resolves with an object', () => Promise.resolve({} as never)],
  ])('that %s costs its channel, and only that', async (_, receiveOne) => {
    const other = ready();
    const { socket, receive } = ready();
    bucket.listener = { receive: receiveOne };
    receive(packet(1000, 'a'), packet(1000, 'b'));
    for (let i = 0; i < 4; i++) await Promise.resolve();
    expect(socket.fate).toBe(`ended ${CLOSE.LISTENER_FAILED.code} ${CLOSE.LISTENER_FAILED.reason}`);
    expect(socket.frames).toEqual([]);
    expect(bucket.events.filter((event) => event.startsWith('listener error'))).toHaveLength(1);
    expect(other.socket.fate).toBe('open');
  });

  it('may close the channel it is asked about', () => {
    const { socket, receive } = ready();
    bucket.listener = { receive: (agent) => (agent as Channel).close(3501, 'enough') };
    receive(packet(1000, 'a'), packet(1000, 'b'));
    expect([socket.fate, socket.frames]).toEqual(['ended 3501 enough', []]);
  });
});

describe('the extensions', () => {
  it('join and leave rooms with an answer per room', () => {
    const { channel, socket, receive } = ready({ extended: true });
    channel.allowsRoom = (room) => room !== 'live://3';
    receive(packet(OP.JOIN_ROOMS, '["live://1","","live://3"]', 4));
    bucket.answer();
    const { BAD_ROOM, ROOM_FORBIDDEN, NOT_MEMBER } = CLIENT_ERROR;
    expect(socket.take()).toEqual([
      `19 4 ${JSON.stringify([
        { room: 'live://1', epoch: 1_001, offset: 0 },
        { room: '', epoch: 0, offset: 0, error: BAD_ROOM },
        { room: 'live://3', epoch: 0, offset: 0, error: ROOM_FORBIDDEN },
      ])}`,
    ]);
    receive(packet(OP.LEAVE_ROOMS, '["live://1","live://1"]', 5));
    expect(socket.take()).toEqual([
      `21 5 ${JSON.stringify([
        { room: 'live://1', epoch: 1_001, offset: 0 },
        { room: 'live://1', epoch: 0, offset: 0, error: NOT_MEMBER },
      ])}`,
    ]);
  });

  it.each(['', '{}', '[]', '[1]', '["a://1","a://2","a://3","a://4"]', 'nonsense'])(
    'refuse a list of rooms that is none: %s',
    (body) => {
      const { channel, socket, receive } = ready({ extended: true });
      receive(packet(OP.JOIN_ROOMS, body), packet(OP.LEAVE_ROOMS, body));
      const replies = socket.take();
      expect(replies.map((reply) => reply.slice(0, 4))).toEqual(['19 1', '21 1']);
      for (const reply of replies) expect(reply).toContain(`"code":${CLIENT_ERROR.BAD_BODY.code}`);
      expect([socket.fate, channel.rooms()]).toEqual(['open', []]);
    },
  );

  it('answer recover and IM requests that nobody serves yet', () => {
    const { socket, receive } = ready({ extended: true });
    receive(packet(OP.RECOVER, '{}', 2), packet(OP.IM_REQUEST, '{}', 3));
    expect(socket.take()).toEqual([
      `24 2 ${JSON.stringify({ recovered: false, error: CLIENT_ERROR.BAD_BODY })}`,
      `31 3 ${JSON.stringify({ error: CLIENT_ERROR.UNKNOWN_METHOD })}`,
    ]);
  });
});

describe('a message that upstream', () => {
  const outcomes: Outcome[] = [];
  const seen: string[] = [];
  beforeEach(() => {
    outcomes.length = 0;
    seen.length = 0;
    bucket.toUpstream = (channel, op, seq, body) => {
      seen.push(`${channel.key} ${op} ${seq} ${new TextDecoder().decode(body)}`);
      return outcomes.shift() ?? OUTCOME.OK;
    };
  });

  it('takes goes to the listener too, whose answer the client gets; without one the answer is empty', () => {
    const { socket, receive } = ready({ key: 'k' });
    receive(packet(1000, 'one', 5));
    bucket.listener = { receive: () => 'heard' };
    receive(packet(OP.SEND_MSG, 'two', 6), packet(OP.HEARTBEAT, '', 7));
    expect(seen).toEqual(['k 1000 5 one', 'k 4 6 two']);
    expect(socket.take().slice(0, 2)).toEqual(['1000 5 ', '4 6 heard']);
  });

  it('has no room for is refused whole: no listener hears it, and an extended client may send it again', () => {
    const { socket, receive } = ready({ key: 'k', extended: true });
    const heard: string[] = [];
    bucket.listener = { receive: (_agent, payload) => void heard.push(new TextDecoder().decode(payload)) };
    outcomes.push(OUTCOME.FULL, OUTCOME.TOO_LARGE);
    receive(packet(1000, 'one', 5), packet(1000, 'two', 6), packet(1000, 'three', 7));
    const [first, second, third] = socket.take().map((line) => /^1000 (\d) (.*)$/.exec(line) ?? []);
    expect([first?.[1], JSON.parse(first?.[2] ?? '')]).toEqual(['5', { error: CLIENT_ERROR.OVERLOADED }]);
    expect([second?.[1], JSON.parse(second?.[2] ?? '')]).toEqual(['6', { error: CLIENT_ERROR.BODY_TOO_LARGE }]);
    expect([third?.[1], third?.[2], heard]).toEqual(['7', '', ['three']]);
  });

  it('has no room for gets no answer from a plain channel, whose next one does', () => {
    const { socket, receive } = ready({ key: 'k' });
    outcomes.push(OUTCOME.FULL);
    receive(packet(1000, 'one', 5));
    receive(packet(1000, 'two', 6));
    expect(socket.take()).toEqual(['1000 6 ']);
  });
});
