import { describe, expect, it } from 'vitest';
import { makeMessage, readNumber } from '../wire/message.layout.js';
import { makeBatch, makePacket, OPERATION } from '../wire/packet.js';
import type { Dialect, DialectConnection } from './dialect.port.js';
import { goimDialect } from './goim-dialect.js';
import { socketioDialect } from './socketio-dialect.js';

const TEXT = 1;
const BINARY = 2;

/** Writes down what a dialect does to its connection. */
function recording(): DialectConnection & { readonly seen: string[] } {
  const seen: string[] = [];
  return {
    seen,
    authBody: '{"key":"k","room_id":"r"}',
    sendFrame: (frame) => void seen.push(`send ${payloadOf(frame)}`),
    onReady: () => void seen.push('ready'),
    onMessage: (bytes, start) => void seen.push(`message ${readNumber(bytes, start)}`),
    onHeartbeatReply: () => void seen.push('beat'),
    onRoomChanged: () => void seen.push('room'),
  };
}

/** Of a client frame: its mask is zero, so the payload stands in it as it is. */
function payloadOf(frame: Uint8Array): string {
  const headBytes = (frame[1]! & 0x7f) === 126 ? 8 : 6;
  return Buffer.from(frame.subarray(headBytes)).toString('latin1');
}

function readAll(dialect: Dialect, opcode: number, payloads: readonly (string | Uint8Array)[]): string[] {
  const connection = recording();
  for (const payload of payloads) {
    // In the middle of a larger read, as on a socket.
    const bytes = Buffer.concat([Buffer.from('xx'), Buffer.from(payload as string), Buffer.from('yy')]);
    dialect.read(connection, opcode, bytes, 2, bytes.length - 2);
  }
  return connection.seen;
}

describe('the goim dialect', () => {
  const dialect = goimDialect();

  it('reads replies and messages, those of a batch one by one', () => {
    const reply = (op: number): Uint8Array => makePacket(op, 1, new Uint8Array(0));
    const batch = makeBatch(OPERATION.PUSHED, [makeMessage(4, 0), makeMessage(5, 0)]);
    const packets = [reply(8), batch, reply(3), reply(13), makePacket(OPERATION.SEND, 1, makeMessage(9, 0))];
    expect(readAll(dialect, BINARY, packets)).toEqual(['ready', 'message 4', 'message 5', 'beat', 'room', 'message 9']);
  });

  it('refuses to count a message that is not its own', () => {
    expect(() => readAll(dialect, BINARY, [makeBatch(OPERATION.PUSHED, [Buffer.from('hello')])])).toThrow(/not our/);
  });

  it('speaks first, and its frames are whole packets', () => {
    const hello = dialect.hello('{"key":"k"}');
    expect(payloadOf(hello!).slice(16)).toBe('{"key":"k"}');
    expect(Buffer.from(payloadOf(dialect.changeRoom('live://1')), 'latin1').readInt32BE(8)).toBe(12);
    expect(Buffer.from(payloadOf(dialect.heartbeat()), 'latin1').readInt32BE(8)).toBe(2);
  });
});

describe('the Socket.IO dialect', () => {
  const dialect = socketioDialect();

  it('lets the server speak first, then connects, authenticates and answers pings', () => {
    expect(dialect.hello('{}')).toBeUndefined();
    expect(readAll(dialect, TEXT, ['0{"sid":"x","pingInterval":25000}', '40{"sid":"y"}', '42["ready"]', '2'])).toEqual([
      'send 40',
      'send 42["auth",{"key":"k","room_id":"r"}]',
      'ready',
      'send 3',
    ]);
  });

  it('reads messages in place and tells them from its other events', () => {
    const message = makeMessage(77, 1).toString('latin1');
    expect(readAll(dialect, TEXT, [`42["m","${message}"]`, '42["beat"]', '42["room"]'])).toEqual([
      'message 77',
      'beat',
      'room',
    ]);
    for (const bad of ['42["m","short"]', '42["other"]', '1', '44{"message":"no"}']) {
      expect(() => readAll(dialect, TEXT, [bad]), bad).toThrow(/not /);
    }
  });

  it('sends text frames', () => {
    const frame = dialect.echo(3, makeMessage(3, 1));
    expect(frame[0]).toBe(0x80 | TEXT);
    expect(payloadOf(frame)).toBe(`42["echo","${makeMessage(3, 1).toString('latin1')}"]`);
    expect(payloadOf(dialect.changeRoom(''))).toBe('42["room",""]');
  });
});
