import { describe, expect, it } from 'vitest';
import { FRAME_OP } from '../../push/index.js';
import { BucketParts } from '../fixtures/bucket-parts.js';
import { BytesFrame, HandshakeConn } from './handshake-conn.js';

const bytes = (...values: number[]) => new Uint8Array(values);

function setUp(maxBytes = 4) {
  const { channel, socket } = new BucketParts().channel({ state: 0 });
  return { conn: new HandshakeConn(channel, maxBytes), socket };
}

describe('the frames of a connection in its handshake', () => {
  it('are read in order, whether the reader or the frame comes first', async () => {
    const { conn } = setUp();
    conn.feed(bytes(1), true);
    conn.feed(bytes(2), false);
    const frames = [await conn.readFrame(), await conn.readFrame()];
    expect(frames.map((frame) => [frame.opCode(), ...frame.payload()])).toEqual([
      [FRAME_OP.BINARY, 1],
      [FRAME_OP.TEXT, 2],
    ]);
    const waiting = [conn.readFrame(), conn.readFrame()];
    conn.feed(bytes(3), true);
    conn.feed(bytes(4), true);
    expect((await Promise.all(waiting)).map((frame) => frame.payload()[0])).toEqual([3, 4]);
  });

  it('are bounded in bytes that nobody has read yet', async () => {
    const { conn } = setUp();
    expect(conn.feed(bytes(1, 2, 3, 4), true)).toBe(true);
    await conn.readFrame();
    expect(conn.feed(bytes(1, 2, 3, 4), true)).toBe(true);
    expect(conn.feed(bytes(5), true)).toBe(false);
    const waiting = setUp();
    void waiting.conn.readFrame();
    expect(waiting.conn.feed(new Uint8Array(100), true)).toBe(true);
  });

  it('end with the connection: who waits is told, who comes later too, and what was unread is given back', async () => {
    const { conn } = setUp();
    const waiting = [conn.readFrame(), conn.readFrame()];
    expect(conn.end()).toEqual([]);
    for (const each of waiting) await expect(each).rejects.toMatchObject({ code: 'CONN_CLOSED' });
    await expect(conn.readFrame()).rejects.toMatchObject({ code: 'CONN_CLOSED' });
    const other = setUp();
    other.conn.feed(bytes(7), true);
    expect(other.conn.end().map((frame) => frame.payload()[0])).toEqual([7]);
  });

  it('go out as they are, and the connection can be closed', () => {
    const { conn, socket } = setUp();
    conn.writeFrame(FRAME_OP.BINARY, bytes(9));
    conn.flush();
    expect([...socket.frames[0]!]).toEqual([9]);
    expect(conn.remoteAddress()).toBe('127.0.0.1');
    conn.close(3508, 'no');
    expect(socket.fate).toBe('ended 3508 no');
  });
});

it('a frame can be changed by whoever passes it on', () => {
  const frame = new BytesFrame(FRAME_OP.TEXT, bytes(1));
  frame.setOpCode(FRAME_OP.BINARY);
  frame.setPayload(bytes(2));
  expect([frame.opCode(), ...frame.payload()]).toEqual([FRAME_OP.BINARY, 2]);
});
