import { describe, expect, test } from 'vitest';
import { encodeHeartbeatBody, encodePacket, OP, writeBatch26Header, writeBatch26Message } from '../protocol/index.js';
import { HANDSHAKE_TIMEOUT_MS, HEARTBEAT_HIDDEN_MS, HEARTBEAT_VISIBLE_MS } from './connection.js';
import { ConnectionRig, SETTINGS } from './connection-rig.js';

const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text);

/** Body of op 26: one packet per text, with offsets from `firstOffset`. */
function batch26(room: string, epoch: number, firstOffset: number, ...texts: readonly string[]): Uint8Array {
  const bytes = new Uint8Array(4096);
  const view = new DataView(bytes.buffer);
  const start = writeBatch26Header(view, bytes, 0, 0, utf8(room), epoch, firstOffset);
  let end = start;
  for (const text of texts) end = writeBatch26Message(view, bytes, end, 0, 1, encodePacket(1000, 0, 1, utf8(text)));
  return bytes.slice(16, end);
}

function concat(...parts: readonly Uint8Array[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}

describe('connecting', () => {
  test('sends the auth packet when the socket opens and is online when op 8 comes', () => {
    const rig = new ConnectionRig();
    rig.connection.connect(SETTINGS);
    expect(rig.status).toEqual({ phase: 'connecting', url: SETTINGS.url });
    expect(rig.server.packets).toEqual([]);
    rig.server.events.onOpen();
    expect(rig.server.json(OP.AUTH)).toEqual({
      mid: 7,
      key: 'web-1',
      room_id: 'live://1000',
      platform: 'web',
      accepts: [1000, 1001],
      codec: 'json',
      halley: 1,
    });
    expect(rig.status.phase).toBe('connecting');
    rig.server.tell(OP.AUTH_REPLY);
    expect(rig.status).toEqual({ phase: 'online', sinceMs: rig.clock.nowMs() });
  });

  test('leaves out of the auth packet what the person left out', () => {
    const rig = new ConnectionRig();
    rig.online({ key: '', room: '', token: 'a.b.c', extended: false });
    expect(rig.server.json(OP.AUTH)).toEqual({
      mid: 7,
      platform: 'web',
      accepts: [1000, 1001],
      codec: 'json',
      token: 'a.b.c',
    });
  });

  test('gives a server up that does not answer the handshake, and tries again', () => {
    const rig = new ConnectionRig();
    rig.connection.connect(SETTINGS);
    rig.server.events.onOpen();
    rig.advance(HANDSHAKE_TIMEOUT_MS);
    expect(rig.servers).toHaveLength(1);
    expect(rig.server.closed?.reason).toBe('no answer to the handshake');
    expect(rig.status).toMatchObject({ phase: 'waiting', attemptCount: 1, delayMs: 250 });
    rig.advance(250);
    expect(rig.servers).toHaveLength(2);
  });

  test('says so and stays closed where the browser refuses the address', () => {
    const rig = new ConnectionRig();
    rig.openError = new Error('SecurityError');
    rig.connection.connect(SETTINGS);
    expect(rig.status).toMatchObject({ phase: 'closed', end: { reason: 'Error: SecurityError' } });
    expect(rig.timerCount).toBe(0);
  });

  test('closes the older connection and ignores what still comes from it', () => {
    const rig = new ConnectionRig();
    const first = rig.online();
    const second = rig.online({ room: 'live://2' });
    expect(first.closed?.code).toBe(1000);
    first.tell(OP.RAW, encodePacket(1000, 0, 1, utf8('late')));
    first.events.onClose(1000, '');
    expect(rig.messages).toEqual([]);
    expect(rig.status.phase).toBe('online');
    expect(rig.server).toBe(second);
    expect(rig.connection.rooms().map((row) => row.room)).toEqual(['live://2']);
  });
});

describe('coming back', () => {
  test('waits a random part of a bound that doubles, and starts over after a time online', () => {
    const rig = new ConnectionRig();
    rig.random = 0.999;
    rig.connection.connect(SETTINGS);
    const delays: number[] = [];
    for (let attempt = 0; attempt < 8; attempt++) {
      rig.server.events.onClose(1006, '');
      if (rig.status.phase !== 'waiting') throw new Error(`not waiting but ${rig.status.phase}`);
      delays.push(rig.status.delayMs);
      rig.advance(rig.status.delayMs);
    }
    expect(delays).toEqual([499, 999, 1998, 3996, 7992, 15984, 19980, 19980]);
    rig.server.accept();
    rig.advance(5_000);
    rig.server.events.onClose(1006, '');
    expect(rig.status).toMatchObject({ phase: 'waiting', delayMs: 499, attemptCount: 1 });
  });

  test('goes on counting failures where the server accepts and closes at once', () => {
    const rig = new ConnectionRig();
    rig.online();
    rig.server.events.onClose(1006, '');
    rig.advance(250);
    rig.server.accept();
    rig.server.events.onClose(1006, '');
    expect(rig.status).toMatchObject({ phase: 'waiting', attemptCount: 2, delayMs: 500 });
  });

  test('does not wait when told that the network is back', () => {
    const rig = new ConnectionRig();
    rig.online();
    rig.server.events.onClose(1006, '');
    rig.connection.retryNow();
    expect(rig.servers).toHaveLength(2);
    rig.server.accept();
    // The attempt that was scheduled is not made a second time.
    rig.advance(HEARTBEAT_VISIBLE_MS - 1);
    expect([rig.servers.length, rig.status.phase]).toEqual([2, 'online']);
  });

  test('stops at a close code of 3500 and up', () => {
    const rig = new ConnectionRig();
    rig.online();
    rig.server.events.onClose(3500, 'taken over');
    expect(rig.status).toEqual({ phase: 'closed', end: { code: 3500, reason: 'taken over' } });
    expect(rig.timerCount).toBe(0);
  });

  test('does what op 6 says: how long to wait, and whether to come back at all', () => {
    const rig = new ConnectionRig();
    rig.online();
    rig.server.tellJson(OP.DISCONNECT, {
      code: 3000,
      reason: 'shutdown',
      reconnect: true,
      retry_after_ms: 2000,
      nodes: [],
    });
    rig.server.events.onClose(3000, 'shutdown');
    expect(rig.status).toMatchObject({ phase: 'waiting', delayMs: 2250, end: { code: 3000, reason: 'shutdown' } });
    rig.advance(2250);
    rig.server.accept();
    rig.server.tellJson(OP.DISCONNECT, { code: 3100, reason: 'enough', reconnect: false, nodes: [] });
    rig.server.events.onClose(1006, '');
    expect(rig.status).toEqual({ phase: 'closed', end: { code: 3100, reason: 'enough' } });
  });

  test('stays closed after disconnect, whatever timer was running', () => {
    for (const prepare of [
      (rig: ConnectionRig) => rig.connection.connect(SETTINGS),
      (rig: ConnectionRig) => void rig.online(),
      (rig: ConnectionRig) => rig.online().events.onClose(1006, ''),
    ]) {
      const rig = new ConnectionRig();
      prepare(rig);
      rig.connection.disconnect();
      expect(rig.status).toEqual({ phase: 'idle' });
      expect(rig.timerCount).toBe(0);
      expect(rig.connection.rooms()).toEqual([]);
      rig.connection.retryNow();
      expect(rig.servers).toHaveLength(1);
    }
  });
});

describe('heartbeats', () => {
  test('go out at once and every 10 s, and bring the member count with its round trip', () => {
    const rig = new ConnectionRig();
    const server = rig.online();
    rig.clock.advance(12);
    server.tell(OP.HEARTBEAT_REPLY, encodeHeartbeatBody(42), server.last(OP.HEARTBEAT).seq);
    expect(rig.counts).toEqual([[42, 12]]);
    rig.advance(HEARTBEAT_VISIBLE_MS);
    expect(server.packets.filter((packet) => packet.op === OP.HEARTBEAT)).toHaveLength(2);
  });

  test('become rare while the page is hidden and start at once when it is shown again', () => {
    const rig = new ConnectionRig();
    const server = rig.online();
    const beats = () => server.packets.filter((packet) => packet.op === OP.HEARTBEAT).length;
    server.tell(OP.HEARTBEAT_REPLY, encodeHeartbeatBody(1), server.last(OP.HEARTBEAT).seq);
    rig.connection.setVisible(false);
    rig.advance(HEARTBEAT_HIDDEN_MS - 1);
    expect(beats()).toBe(1);
    rig.connection.setVisible(true);
    expect(beats()).toBe(2);
    // Twice in a moment, the answer still under way: no reason to give the server up.
    rig.connection.setVisible(false);
    rig.connection.setVisible(true);
    expect([beats(), rig.status.phase]).toEqual([3, 'online']);
  });

  test('that nothing answers end the connection without waiting for its close', () => {
    const rig = new ConnectionRig();
    rig.online();
    rig.advance(HEARTBEAT_VISIBLE_MS);
    expect(rig.server.closed?.reason).toBe('the server did not answer the heartbeat');
    expect(rig.status.phase).toBe('waiting');
  });

  test('are not missed as long as pushes come', () => {
    const rig = new ConnectionRig();
    const server = rig.online();
    for (let beat = 0; beat < 3; beat++) {
      server.tell(OP.RAW, encodePacket(1000, 0, 1, utf8('x')));
      rig.advance(HEARTBEAT_VISIBLE_MS);
    }
    expect(rig.status.phase).toBe('online');
  });
});

describe('pushes', () => {
  test('come out of op 9, all of them, with their operations', () => {
    const rig = new ConnectionRig();
    const server = rig.online({ extended: false });
    server.tell(OP.RAW, concat(encodePacket(1000, 0, 1, utf8('a')), encodePacket(1001, 0, 1, utf8('b'))));
    expect(rig.messages.map((message) => [message.op, new TextDecoder().decode(message.body), message.scope])).toEqual([
      [1000, 'a', 'unknown'],
      [1001, 'b', 'unknown'],
    ]);
  });

  test('come out of op 26 with room and offset, and move the room on', () => {
    const rig = new ConnectionRig();
    const server = rig.online();
    server.tellJson(OP.JOIN_ROOMS_REPLY, [{ room: 'live://1000', epoch: 5, offset: 10 }]);
    server.tell(OP.BATCH, batch26('live://1000', 5, 11, 'a', 'b'));
    expect(rig.messages.map((message) => [message.scope, message.room, message.offset])).toEqual([
      ['room', 'live://1000', 11],
      ['room', 'live://1000', 12],
    ]);
    expect(rig.connection.rooms()).toMatchObject([{ room: 'live://1000', epoch: 5, offset: 12, state: 'joined' }]);
    expect(rig.gaps).toEqual([]);
  });

  test('that are direct have no offset', () => {
    const rig = new ConnectionRig();
    rig.online().tell(OP.BATCH, batch26('', 0, 0, 'you'));
    expect(rig.messages).toMatchObject([{ scope: 'direct', room: '', offset: undefined }]);
  });

  test('that are malformed end the connection for good, with what was wrong', () => {
    const rig = new ConnectionRig();
    const server = rig.online();
    server.tell(OP.RAW, utf8('not a packet, though long enough'));
    expect(rig.status.phase).toBe('closed');
    expect(server.closed?.reason).toMatch(/op 9/);
  });
});

describe('rooms', () => {
  test('are asked for their offsets on an extended channel, the primary one too', () => {
    const rig = new ConnectionRig();
    const server = rig.online();
    expect(server.json(OP.JOIN_ROOMS)).toEqual(['live://1000']);
    expect(rig.connection.rooms()[0]?.state).toBe('joining');
  });

  test('are joined and left besides the primary one', () => {
    const rig = new ConnectionRig();
    const server = rig.online();
    server.tellJson(OP.JOIN_ROOMS_REPLY, [{ room: 'live://1000', epoch: 1, offset: 0 }]);
    rig.connection.join('live://2');
    expect(server.json(OP.JOIN_ROOMS)).toEqual(['live://2']);
    server.tellJson(OP.JOIN_ROOMS_REPLY, [{ room: 'live://2', epoch: 2, offset: 3 }]);
    expect(rig.connection.rooms().map((row) => [row.room, row.isPrimary, row.offset])).toEqual([
      ['live://1000', true, 0],
      ['live://2', false, 3],
    ]);
    rig.connection.leave('live://2');
    expect(server.json(OP.LEAVE_ROOMS)).toEqual(['live://2']);
    server.tellJson(OP.LEAVE_ROOMS_REPLY, [{ room: 'live://2', epoch: 2, offset: 3 }]);
    expect(rig.connection.rooms()).toHaveLength(1);
  });

  test('that are refused stay listed with the reason until they are taken off', () => {
    const rig = new ConnectionRig();
    const server = rig.online();
    rig.connection.join('vip://1');
    const error = { code: 200, message: 'the token does not allow this room', temporary: false };
    server.tellJson(OP.JOIN_ROOMS_REPLY, [{ room: 'vip://1', epoch: 0, offset: 0, error }]);
    expect(rig.connection.rooms()[1]).toMatchObject({
      state: 'refused',
      error: '200 the token does not allow this room',
    });
    const sentCount = server.packets.length;
    rig.connection.leave('vip://1');
    expect(rig.connection.rooms()).toHaveLength(1);
    expect(server.packets).toHaveLength(sentCount);
  });

  test('are one at a time without extensions: join moves, leave empties', () => {
    const rig = new ConnectionRig();
    const server = rig.online({ extended: false });
    rig.connection.join('live://2');
    expect(new TextDecoder().decode(server.last(OP.CHANGE_ROOM).body)).toBe('live://2');
    server.tell(OP.CHANGE_ROOM_REPLY, utf8('live://2'));
    expect(rig.connection.rooms()).toMatchObject([{ room: 'live://2', isPrimary: true, state: 'joined' }]);
    rig.connection.leave('live://2');
    expect(server.last(OP.CHANGE_ROOM).body).toHaveLength(0);
    server.tell(OP.CHANGE_ROOM_REPLY);
    expect(rig.connection.rooms()).toEqual([]);
  });

  test('are joined again after a reconnect, and what was sent meanwhile is one gap', () => {
    const rig = new ConnectionRig();
    const first = rig.online();
    first.tellJson(OP.JOIN_ROOMS_REPLY, [{ room: 'live://1000', epoch: 5, offset: 10 }]);
    rig.connection.join('live://2');
    first.tellJson(OP.JOIN_ROOMS_REPLY, [{ room: 'live://2', epoch: 6, offset: 1 }]);
    first.events.onClose(1006, '');
    rig.advance(250);
    rig.server.accept();
    expect(rig.server.json(OP.JOIN_ROOMS)).toEqual(['live://1000', 'live://2']);
    // A push overtakes the answer; together they still miss 11 to 14 once.
    rig.server.tell(OP.BATCH, batch26('live://1000', 5, 15, 'new'));
    rig.server.tellJson(OP.JOIN_ROOMS_REPLY, [
      { room: 'live://1000', epoch: 5, offset: 14 },
      { room: 'live://2', epoch: 6, offset: 1 },
    ]);
    expect(rig.gaps.map(([missedCount]) => missedCount)).toEqual([4]);
  });

  test('that begin a new roomEpoch have no gap: there is nothing to compare with', () => {
    const rig = new ConnectionRig();
    const server = rig.online();
    server.tellJson(OP.JOIN_ROOMS_REPLY, [{ room: 'live://1000', epoch: 5, offset: 10 }]);
    server.tell(OP.BATCH, batch26('live://1000', 6, 100, 'a'));
    expect(rig.gaps).toEqual([]);
    expect(rig.connection.rooms()[0]).toMatchObject({ epoch: 6, offset: 100 });
  });
});

describe('gaps', () => {
  test('that the server tells count once, with the number where it is known', () => {
    const rig = new ConnectionRig();
    const server = rig.online();
    server.tellJson(OP.JOIN_ROOMS_REPLY, [{ room: 'live://1000', epoch: 5, offset: 10 }]);
    server.tellJson(OP.GAP, { scope: 'room', room: 'live://1000', epoch: 5, to: 30 });
    server.tell(OP.BATCH, batch26('live://1000', 5, 31, 'a'));
    server.tellJson(OP.GAP, { scope: 'direct', epoch: 0, to: 0 });
    expect(rig.gaps.map(([missedCount]) => missedCount)).toEqual([20, 0]);
  });

  test('in the offsets of pushes to all are found too', () => {
    const rig = new ConnectionRig();
    const server = rig.online();
    server.tell(OP.BATCH, batch26('', 3, 5, 'a'));
    server.tell(OP.BATCH, batch26('', 3, 8, 'b'));
    expect(rig.gaps).toEqual([[2, '2 missed before offset 8 of the pushes to all']]);
  });
});
