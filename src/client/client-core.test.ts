/** The client as a whole over a transport whose other end is the test, in time that passes when the test says so. */
import { Packr } from 'msgpackr/pack';
import { describe, expect, it } from 'vitest';
import { encodePacket, OP } from '../protocol/index.js';
import type { BodyCodec } from './body-codec.js';
import { ClientCore } from './client-core.js';
import type { ClientEvents } from './client-events.js';
import { type ClientOptions, settingsOf } from './client-options.js';
import { FakeTimers, settled } from './fixtures/fake-timers.js';
import { batchOf, type FakeLink, FakeTransport } from './fixtures/fake-transport.js';

const NAMES = ['open', 'close', 'message', 'gap', 'recovered', 'error', 'reconnecting'] as const;
type Entry = { [Name in (typeof NAMES)[number]]: readonly [Name, ClientEvents[Name]] }[(typeof NAMES)[number]];

/** A client on a fake transport, and everything it told. */
class Rig {
  readonly timers = new FakeTimers();
  readonly transport: FakeTransport;
  readonly client: ClientCore;
  readonly told: Entry[] = [];
  networkChanged = () => {};

  constructor(options: Partial<ClientOptions> = {}, transports?: readonly FakeTransport[]) {
    this.transport = transports?.[0] ?? new FakeTransport('fake', options.codec);
    const network = {
      id: () => 'wifi',
      listen: (changed: () => void) => {
        this.networkChanged = changed;
        return () => {};
      },
    };
    const settings = settingsOf(
      { nodes: ['ws://a/sub'], timers: this.timers, random: () => 0.5, network, ...options },
      transports ?? [this.transport],
    );
    this.client = new ClientCore(settings);
    for (const name of NAMES) this.client.on(name, (event) => void this.told.push([name, event] as Entry));
  }

  get link(): FakeLink {
    return this.transport.last;
  }

  /** What was told under one name. */
  of<Name extends Entry[0]>(name: Name): ClientEvents[Name][] {
    return this.told.flatMap(([one, event]) => (one === name ? [event as ClientEvents[Name]] : []));
  }

  async connect(welcome: object = {}): Promise<this> {
    const connecting = this.client.connect();
    await settled();
    this.link.welcome(welcome);
    await connecting;
    return this;
  }
}

const ROOM = 'live://1';
const placedAt = (offset: number, room = ROOM, epoch = 7) => ({ rooms: [{ room, epoch, offset }] });

describe('reconnecting', () => {
  it('spreads over the window of op 8 after a loss, and over that of op 6 where the node says one', async () => {
    const rig = await new Rig().connect({ reconnect_window_ms: 8_000 });
    rig.link.breaks();
    expect(rig.of('reconnecting')[0]).toMatchObject({ delayMs: 4_000, code: 1006 });
    await rig.timers.pass(4_000);
    rig.link.welcome({ reconnect_window_ms: 8_000 });
    rig.link.says(OP.DISCONNECT, 0, { code: 3000, reason: 'shutdown', reconnect: true, retry_after_ms: 20_000 });
    rig.link.breaks(3000);
    expect(rig.of('reconnecting')[1]).toMatchObject({ delayMs: 10_000, code: 3000, reason: 'shutdown' });
    await rig.timers.pass(9_999);
    expect(rig.transport.links).toHaveLength(2);
    await rig.timers.pass(1);
    expect(rig.transport.links).toHaveLength(3);
  });

  it('waits for a random part of what a rate limit says, every time, and is open in the end', async () => {
    const rig = new Rig();
    void rig.client.connect();
    await settled();
    const delays: number[] = [];
    for (let attempt = 0; attempt < 9; attempt++) {
      rig.link.says(OP.DISCONNECT, 0, { code: 3003, reason: 'too many', reconnect: true, retry_after_ms: 4_000 });
      rig.link.breaks(3003);
      const { delayMs } = rig.of('reconnecting').at(-1)!;
      delays.push(delayMs);
      await rig.timers.pass(delayMs);
    }
    expect(new Set(delays)).toEqual(new Set([2_000]));
    rig.link.welcome();
    expect(rig.client.state).toBe('open');
  });

  it('goes where op 6 says first, and comes back to its own nodes where those do not answer', async () => {
    const rig = await new Rig({ nodes: ['ws://a/sub', 'ws://b/sub'] }).connect();
    rig.link.says(OP.DISCONNECT, 0, {
      code: 3000,
      reason: '',
      reconnect: true,
      retry_after_ms: 0,
      nodes: ['ws://c/sub'],
    });
    rig.link.breaks(3000);
    await rig.timers.pass(1_000);
    expect(rig.link.address).toBe('ws://c/sub');
    rig.link.breaks();
    await rig.timers.pass(0);
    expect(rig.link.address).toBe('ws://a/sub');
  });

  it('tries at once when the device is online again, and asks whether an open line still lives', async () => {
    const rig = await new Rig().connect({ reconnect_window_ms: 60_000 });
    rig.link.breaks();
    expect(rig.client.state).toBe('waiting');
    rig.networkChanged();
    await settled();
    expect(rig.transport.links).toHaveLength(2);
    rig.link.welcome({ reconnect_window_ms: 60_000 });
    expect(rig.link.of(OP.HEARTBEAT)).toHaveLength(0);
    rig.networkChanged();
    expect(rig.link.of(OP.HEARTBEAT)).toHaveLength(1);
    await rig.timers.pass(10_000);
    expect(rig.of('close')).toMatchObject([{ code: 1006 }, { code: 4901, willReconnect: true }]);
  });

  it('gives up a node that says nothing within the deadline, and goes to the next at once', async () => {
    const rig = new Rig({ nodes: ['ws://a/sub', 'ws://b/sub'], handshakeTimeoutMs: 3_000 });
    void rig.client.connect();
    await rig.timers.pass(3_000);
    expect(rig.transport.links[0]!.closedWith).toBe(4901);
    await rig.timers.pass(0);
    expect(rig.link.address).toBe('ws://b/sub');
  });

  it('what an old link still says is ignored', async () => {
    const rig = await new Rig().connect();
    const old = rig.link;
    old.breaks();
    old.welcome();
    old.pushes('', 1, 1, 1);
    expect(rig.client.state).toBe('waiting');
    expect(rig.of('message')).toEqual([]);
  });
});

describe('tokens', () => {
  it('one that ends while the connection is open is fetched anew, at once, and only once in a row', async () => {
    let askedCount = 0;
    const token = async () => `token ${++askedCount}`;
    const rig = await new Rig({ token }).connect({ reconnect_window_ms: 60_000 });
    expect(rig.link.auth['token']).toBe('token 1');
    const expired = { code: 3505, reason: 'the token has expired', reconnect: false, retry_after_ms: 0 };
    rig.link.says(OP.DISCONNECT, 0, expired);
    rig.link.breaks(3505);
    expect(rig.of('close')).toMatchObject([{ code: 3505, willReconnect: true }]);
    await rig.timers.pass(0);
    expect(rig.link.auth['token']).toBe('token 2');
    rig.link.welcome();
    rig.link.says(OP.DISCONNECT, 0, expired);
    rig.link.breaks(3505);
    await rig.timers.pass(0);
    expect(rig.link.auth['token']).toBe('token 3');
    rig.link.says(OP.DISCONNECT, 0, expired);
    rig.link.breaks(3505);
    expect(rig.client.state).toBe('closed');
    expect(askedCount).toBe(3);
  });

  it('one that is a text is not tried again', async () => {
    const rig = await new Rig({ token: 'fixed' }).connect();
    rig.link.breaks(3505);
    expect(rig.client.state).toBe('closed');
  });
});

describe('rooms', () => {
  it('FORBIDDEN for one of many: the next auth names none, op 18 says which it was, and the others are in', async () => {
    const rig = new Rig({ rooms: [ROOM, 'secret://1'] });
    const connecting = rig.client.connect();
    await settled();
    expect(rig.link.auth['rooms']).toEqual([ROOM, 'secret://1']);
    rig.link.says(OP.DISCONNECT, 0, { code: 3506, reason: 'forbidden', reconnect: false, retry_after_ms: 0 });
    rig.link.breaks(3506);
    await rig.timers.pass(0);
    expect(rig.link.auth['rooms']).toEqual([]);
    rig.link.welcome();
    await connecting;
    const [join] = rig.link.of(OP.JOIN_ROOMS);
    expect(rig.link.read(join!)).toEqual([ROOM, 'secret://1']);
    const error = { code: 104, message: 'forbidden', temporary: false };
    rig.link.says(OP.JOIN_ROOMS_REPLY, join!.seq, [
      { room: ROOM, epoch: 7, offset: 3 },
      { room: 'secret://1', epoch: 0, offset: 0, error },
    ]);
    expect(rig.client.rooms).toEqual([ROOM]);
    expect(rig.of('error')).toMatchObject([{ code: 'ROOM_REFUSED', details: { room: 'secret://1' } }]);
    rig.link.breaks();
    await rig.timers.pass(1_000);
    expect(rig.link.auth['rooms']).toEqual([ROOM]);
  });

  it('FORBIDDEN again without rooms in the auth ends it', async () => {
    const rig = new Rig({ rooms: [ROOM] });
    const connecting = rig.client.connect();
    await settled();
    rig.link.breaks(3506);
    await rig.timers.pass(0);
    rig.link.breaks(3506);
    await expect(connecting).rejects.toMatchObject({ code: 'CLOSED', details: { code: 3506 } });
  });

  it('one that is refused for now is joined again by itself, and misses nothing that it can recover', async () => {
    const rig = await new Rig({ rooms: [ROOM] }).connect(placedAt(4));
    rig.link.breaks();
    await rig.timers.pass(1_000);
    const error = { code: 106, message: 'overloaded', temporary: true };
    rig.link.welcome({ rooms: [{ room: ROOM, epoch: 0, offset: 0, error }] });
    expect(rig.link.of(OP.JOIN_ROOMS)).toHaveLength(0);
    await rig.timers.pass(4_500);
    const [join] = rig.link.of(OP.JOIN_ROOMS);
    expect(rig.link.read(join!)).toEqual([ROOM]);
    rig.link.says(OP.JOIN_ROOMS_REPLY, join!.seq, [{ room: ROOM, epoch: 7, offset: 6 }]);
    const [recover] = rig.link.of(OP.RECOVER);
    expect(rig.link.read(recover!)).toEqual({ room: ROOM, epoch: 7, offset: 4 });
    rig.link.arrives(encodePacket(OP.RECOVER_REPLY, recover!.seq, 1, batchOf(ROOM, 7, 5, 6)));
    expect(rig.of('message').map(({ offset }) => offset)).toEqual([5, 6]);
    expect(rig.of('gap')).toEqual([]);
  });

  it('a recovery that is refused for now is asked again, six times, and then told as a gap', async () => {
    const rig = await new Rig({ rooms: [ROOM] }).connect(placedAt(1));
    rig.link.says(OP.GAP, 0, { scope: 'room', room: ROOM, epoch: 7, to: 5 });
    const refusal = { recovered: false, error: { code: 106, message: 'overloaded', temporary: true } };
    for (let count = 1; count <= 7; count++) {
      expect(rig.link.of(OP.RECOVER)).toHaveLength(count);
      expect(rig.of('gap')).toEqual([]);
      rig.link.says(OP.RECOVER_REPLY, rig.link.of(OP.RECOVER).at(-1)!.seq, refusal);
      await rig.timers.pass(200 * 2 ** count);
    }
    expect(rig.link.of(OP.RECOVER)).toHaveLength(7);
    expect(rig.of('gap')).toMatchObject([{ scope: 'room', room: ROOM, epoch: 7, from: 2, to: 5 }]);
    rig.link.pushes(ROOM, 7, 6, 6);
    expect(rig.of('message').map(({ offset }) => offset)).toEqual([6]);
  });

  it('1,000 rooms behind are recovered sixteen at a time, in their order', async () => {
    const names = Array.from({ length: 1_000 }, (_, index) => `live://${index}`);
    const rig = await new Rig({ rooms: names }).connect({
      rooms: names.slice(0, 64).map((room) => ({ room, epoch: 7, offset: 1 })),
    });
    const answerJoins = (offset: number) => {
      for (let done = 0; ; done++) {
        const join = rig.link.of(OP.JOIN_ROOMS)[done];
        if (join === undefined) return;
        const rooms = rig.link.read(join) as string[];
        rig.link.says(
          OP.JOIN_ROOMS_REPLY,
          join.seq,
          rooms.map((room) => ({ room, epoch: 7, offset })),
        );
      }
    };
    answerJoins(1);
    rig.link.breaks();
    await rig.timers.pass(1_000);
    rig.link.welcome({ rooms: names.slice(0, 64).map((room) => ({ room, epoch: 7, offset: 3 })) });
    const answeredCount = () => rig.of('recovered').length;
    const unanswered = () => rig.link.of(OP.RECOVER).length + rig.link.of(OP.JOIN_ROOMS).length;
    expect(unanswered()).toBe(16);
    const order: string[] = [];
    let joinCount = 0;
    while (answeredCount() < names.length) {
      const join = rig.link.of(OP.JOIN_ROOMS)[joinCount];
      const recover = rig.link.of(OP.RECOVER)[order.length];
      // A node answers in the order asked.
      if (join !== undefined && (recover === undefined || join.seq < recover.seq)) {
        joinCount += 1;
        const rooms = rig.link.read(join) as string[];
        rig.link.says(
          OP.JOIN_ROOMS_REPLY,
          join.seq,
          rooms.map((room) => ({ room, epoch: 7, offset: 3 })),
        );
      } else {
        const { room } = rig.link.read(recover!) as { room: string };
        order.push(room);
        rig.link.arrives(encodePacket(OP.RECOVER_REPLY, recover!.seq, 1, batchOf(room, 7, 2, 3)));
      }
      expect(unanswered() - joinCount - order.length).toBeLessThanOrEqual(16);
    }
    expect(new Set(order).size).toBe(1_000);
    expect(rig.of('message')).toHaveLength(2_000);
    expect(rig.of('gap')).toEqual([]);
  });
});

describe('transports', () => {
  it('a node that is down at the start does not leave the session on a slower transport', async () => {
    const [fast, slow] = [new FakeTransport('fast'), new FakeTransport('slow')];
    const rig = new Rig({ nodes: ['ws://a/sub'] }, [fast, slow]);
    void rig.client.connect();
    await settled();
    for (let failed = 0; failed < 2; failed++) {
      fast.last.breaks();
      await rig.timers.pass(1_000);
    }
    slow.last.welcome();
    expect(rig.of('open')).toMatchObject([{ transport: 'slow' }]);
    await rig.timers.pass(30_000);
    expect(slow.last.closedWith).toBe(4904);
    expect(rig.of('reconnecting').at(-1)).toMatchObject({ delayMs: 0 });
    fast.last.welcome();
    expect(rig.of('open').at(-1)).toMatchObject({ transport: 'fast', isReconnect: true });
    // And there it stays: nothing is better.
    await rig.timers.pass(20_000);
    expect(rig.client.state).toBe('open');
  });

  it('one that still does not work has its node answer over the slower one at once, and its next turn later', async () => {
    const [fast, slow] = [new FakeTransport('fast'), new FakeTransport('slow')];
    const rig = new Rig({ nodes: ['ws://a/sub', 'ws://b/sub'] }, [fast, slow]);
    void rig.client.connect();
    for (let failed = 0; failed < 2; failed++) {
      await settled();
      fast.last.breaks();
      await rig.timers.pass(1_000);
    }
    slow.last.welcome();
    const { address } = slow.last;
    const beat = async (durationMs: number) => {
      const link = slow.last;
      for (let passedMs = 0; passedMs < durationMs; passedMs += 10_000) {
        await rig.timers.pass(10_000);
        for (const { seq } of link.of(OP.HEARTBEAT)) link.says(OP.HEARTBEAT_REPLY, seq, {});
      }
    };
    await beat(30_000);
    expect(fast.links).toHaveLength(3);
    expect(fast.last.address).toBe(address);
    fast.last.breaks();
    await rig.timers.pass(0);
    expect(slow.links).toHaveLength(2);
    expect(slow.last.address).toBe(address);
    slow.last.welcome();
    await beat(110_000);
    expect(fast.links).toHaveLength(3);
    await beat(10_000);
    expect(fast.links).toHaveLength(4);
  });
});

it('bodies are MessagePack where the codec is: auth says so, and every structured body is read and written in it', async () => {
  const packr = new Packr({ useRecords: false });
  const codec: BodyCodec = {
    name: 'msgpack',
    encode: (value) => packr.pack(value),
    decode: (bytes) => packr.unpack(bytes) as unknown,
  };
  const rig = await new Rig({ codec, rooms: [ROOM] }).connect({ ...placedAt(0), key: 'made up' });
  expect(rig.link.auth['codec']).toBe('msgpack');
  expect(rig.client.key).toBe('made up');
  const joining = rig.client.join('live://2');
  const [join] = rig.link.of(OP.JOIN_ROOMS);
  expect(rig.link.read(join!)).toEqual(['live://2']);
  rig.link.says(OP.JOIN_ROOMS_REPLY, join!.seq, [{ room: 'live://2', epoch: 9n, offset: 4n }]);
  expect(await joining).toEqual([{ room: 'live://2', epoch: 9, offset: 4 }]);
  rig.link.says(OP.GAP, 0, { scope: 'room', room: ROOM, epoch: 7, to: 2 });
  const [recover] = rig.link.of(OP.RECOVER);
  expect(rig.link.read(recover!)).toEqual({ room: ROOM, epoch: 7, offset: 0 });
  rig.link.says(OP.RECOVER_REPLY, recover!.seq, { recovered: false });
  expect(rig.of('gap')).toMatchObject([{ room: ROOM, from: 1, to: 2 }]);
  const asked = rig.client.request(30, { method: 'nothing', params: {} });
  const [request] = rig.link.of(30);
  expect(rig.link.read(request!)).toEqual({ method: 'nothing', params: {} });
  rig.link.says(31, request!.seq, { result: 1 });
  expect(codec.decode((await asked).body)).toEqual({ result: 1 });
  rig.link.says(OP.DISCONNECT, 0, { code: 3500, reason: 'taken over', reconnect: false, retry_after_ms: 0 });
  rig.link.breaks(3500);
  expect(rig.of('close')).toEqual([{ code: 3500, reason: 'taken over', willReconnect: false }]);
});
