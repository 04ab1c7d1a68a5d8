import { describe, expect, it } from 'vitest';
import { batch26HeaderBytes, writeBatch26Header } from './batch26.js';
import {
  decodeDisconnect,
  decodeGap,
  decodeRecover,
  decodeRecoverReply,
  decodeRoomList,
  decodeRoomReplies,
  encodeDisconnect,
  encodeGap,
  encodeRecover,
  encodeRecoverRefused,
  encodeRoomList,
  encodeRoomReplies,
} from './bodies.js';
import { CODECS, encodeBody } from './codec.js';
import type { Decoded } from './decoded.js';
import { concat, hex } from './fixtures/traffic.js';
import { encodePacket } from './packet.js';
import { decodeUtf8, encodeUtf8 } from './text.js';

const ERROR = { code: 101, message: 'a room id is a non-empty string', temporary: false };

function errorOf(result: Decoded<unknown>): string {
  return result.ok ? `accepted ${JSON.stringify(result.value)}` : result.error;
}

describe.each(CODECS)('control bodies in %s', (codec) => {
  it('come back as they were encoded', () => {
    const disconnect = {
      code: 3000,
      reason: 'shutdown',
      reconnect: true,
      retryAfterMs: 1500,
      nodes: ['a:3102', 'b:3102'],
    };
    expect(decodeDisconnect(codec, encodeDisconnect(codec, disconnect))).toEqual({ ok: true, value: disconnect });
    expect(decodeRoomList(codec, encodeRoomList(codec, ['a', 'b']))).toEqual({ ok: true, value: ['a', 'b'] });
    const replies = [
      { room: 'live://1', epoch: 5, offset: Number.MAX_SAFE_INTEGER },
      { room: '', epoch: 0, offset: 0, error: ERROR },
    ];
    expect(decodeRoomReplies(codec, encodeRoomReplies(codec, replies))).toEqual({ ok: true, value: replies });
    for (const gap of [
      { scope: 'room' as const, room: 'r', epoch: 1, to: 2 },
      { scope: 'room' as const, room: 'r', epoch: 1, to: 2, unplaced: true },
      { scope: 'direct' as const, room: '', epoch: 0, to: 0 },
      { scope: 'all' as const, room: '', epoch: 3, to: 4 },
    ]) {
      expect(decodeGap(codec, encodeGap(codec, gap))).toEqual({ ok: true, value: gap });
    }
    const recover = { room: 'r', epoch: 1, offset: 2 };
    expect(decodeRecover(codec, encodeRecover(codec, recover))).toEqual({ ok: true, value: recover });
    for (const refusal of [{ recovered: false as const }, { recovered: false as const, error: ERROR }]) {
      expect(decodeRecoverReply(codec, encodeRecoverRefused(codec, refusal.error))).toEqual({
        ok: true,
        value: refusal,
      });
    }
  });

  it('leave out what may be left out', () => {
    expect(decodeDisconnect(codec, encodeBody(codec, { code: 3500, reason: '', reconnect: false }))).toEqual({
      ok: true,
      value: { code: 3500, reason: '', reconnect: false, retryAfterMs: 0, nodes: [] },
    });
    expect(decodeRoomReplies(codec, encodeBody(codec, [{ room: 'r', error: { code: 1, message: '' } }]))).toEqual({
      ok: true,
      value: [{ room: 'r', epoch: 0, offset: 0, error: { code: 1, message: '', temporary: false } }],
    });
  });

  it('are refused with the name of the member that is wrong', () => {
    const say = (decode: (bytes: Uint8Array) => Decoded<unknown>, value: unknown) =>
      errorOf(decode(encodeBody(codec, value)));
    const recover = (value: unknown) => say((bytes) => decodeRecover(codec, bytes), value);
    expect(recover([])).toBe('the body must be an object: body=an array of 0');
    expect(recover({ epoch: 1, offset: 1 })).toBe('room must be a non-empty string: room=nothing');
    expect(recover({ room: 'r', epoch: -1, offset: 1 })).toBe(
      'epoch must be an integer from 0 to 9007199254740991: epoch=-1',
    );
    expect(recover({ room: 'r', epoch: 1, offset: 1.5 })).toMatch(/^offset must be an integer .*: offset=1\.5$/);
    expect(recover({ room: 'r', epoch: 1, offset: 2 ** 53 })).toMatch(/^offset must be/);
    expect(recover({ room: 'r'.repeat(300), epoch: 1, offset: 1 })).toMatch(/^room must be at most 256 bytes/);
    const gap = (value: unknown) => say((bytes) => decodeGap(codec, bytes), value);
    expect(gap({ scope: 'node', epoch: 1, to: 1 })).toBe('scope must be one of room, direct, all: scope="node"');
    expect(gap({ scope: 'room', epoch: 1, to: 1 })).toMatch(/^room must be/);
    const list = (value: unknown) => say((bytes) => decodeRoomList(codec, bytes, 2), value);
    expect(list({ rooms: [] })).toBe('the body must be an array of room ids: body=an object');
    expect(list(['a', 1])).toBe('a room id must be a string: body[1]=1');
    expect(list(['a', 'b', 'c'])).toBe('the body must hold at most 2 room ids: count=3');
    const replies = (value: unknown) => say((bytes) => decodeRoomReplies(codec, bytes), value);
    expect(replies([{ room: 'a' }, { room: 'b', error: { code: 'x' } }])).toMatch(/^\[1\]\.error\.code must be/);
    expect(replies([null])).toBe('[0] must be an object: [0]=null');
    const disconnect = (value: unknown) => say((bytes) => decodeDisconnect(codec, bytes), value);
    expect(disconnect({ code: 3000, reason: 'x', reconnect: 1 })).toBe('reconnect must be true or false: reconnect=1');
    expect(disconnect({ code: 3000, reason: 'x', reconnect: true, nodes: [7] })).toMatch(
      /^nodes must be an array of strings/,
    );
    expect(disconnect({ code: 3000, reason: 'x'.repeat(2000), reconnect: true })).toMatch(
      /^reason must be a string of at most 1024/,
    );
    const reply = (value: unknown) => say((bytes) => decodeRecoverReply(codec, bytes), value);
    expect(reply({ recovered: true })).toMatch(/^recovered must be false/);
    expect(reply({})).toMatch(/^recovered must be true or false/);
  });

  it('keep bad room ids of a list, so that each is answered for itself', () => {
    expect(decodeRoomList(codec, encodeRoomList(codec, ['', 'ok', 'a\0']))).toEqual({
      ok: true,
      value: ['', 'ok', 'a\0'],
    });
  });

  it('recover packets whole: an op-24 body of op-26 batches', () => {
    const batch = (room: string, epoch: number, offset: number) => {
      const roomUtf8 = encodeUtf8(room);
      const packet = encodePacket(1000, 0, 1, encodeUtf8('hi'));
      const headerBytes = batch26HeaderBytes(roomUtf8.length);
      const bytes = concat(new Uint8Array(headerBytes), hex('0000000000000009'), packet);
      writeBatch26Header(new DataView(bytes.buffer), bytes, 0, bytes.length, roomUtf8, epoch, offset);
      return bytes;
    };
    const body = concat(batch('r', 1, 5), batch('r', 1, 6));
    expect(decodeRecoverReply(codec, body)).toMatchObject({
      ok: true,
      value: {
        recovered: true,
        batches: [
          { room: 'r', firstOffset: 5, messages: [{ offset: 5, idLo: 9, op: 1000 }] },
          { room: 'r', firstOffset: 6, messages: [{ offset: 6, idLo: 9, op: 1000 }] },
        ],
      },
    });
    expect(decodeRecoverReply(codec, new Uint8Array(0))).toEqual({ ok: true, value: { recovered: true, batches: [] } });
    expect(errorOf(decodeRecoverReply(codec, body.subarray(0, body.length - 1)))).toMatch(
      /packet=1 outcome=BAD_LENGTH$/,
    );
    expect(errorOf(decodeRecoverReply(codec, encodePacket(1000, 0, 1)))).toBe(
      'a recovered packet must be a batch: op=1000',
    );
    expect(errorOf(decodeRecoverReply(codec, encodePacket(26, 0, 1)))).toMatch(/^an op-26 body must begin/);
  });
});

describe('control bodies on the wire', () => {
  it('have the members of the design, in snake case', () => {
    const text = (bytes: Uint8Array) => decodeUtf8(bytes);
    expect(
      text(
        encodeDisconnect('json', { code: 3000, reason: 'shutdown', reconnect: true, retryAfterMs: 5, nodes: ['a'] }),
      ),
    ).toBe('{"code":3000,"reason":"shutdown","reconnect":true,"retry_after_ms":5,"nodes":["a"]}');
    expect(text(encodeRoomReplies('json', [{ room: 'r', epoch: 1, offset: 2 }]))).toBe(
      '[{"room":"r","epoch":1,"offset":2}]',
    );
    expect(text(encodeGap('json', { scope: 'all', room: '', epoch: 1, to: 2 }))).toBe(
      '{"scope":"all","epoch":1,"to":2}',
    );
    expect(text(encodeGap('json', { scope: 'room', room: 'r', epoch: 1, to: 2 }))).toBe(
      '{"scope":"room","room":"r","epoch":1,"to":2}',
    );
    expect(text(encodeGap('json', { scope: 'room', room: 'r', epoch: 1, to: 2, unplaced: true }))).toBe(
      '{"scope":"room","room":"r","epoch":1,"to":2,"unplaced":true}',
    );
    expect(text(encodeRecover('json', { room: 'r', epoch: 1, offset: 2 }))).toBe('{"room":"r","epoch":1,"offset":2}');
    expect(text(encodeRecoverRefused('json'))).toBe('{"recovered":false}');
    const registryRow = { ...ERROR, doc: 'not for the wire' };
    expect(text(encodeRecoverRefused('json', registryRow))).toBe(
      '{"recovered":false,"error":{"code":101,"message":"a room id is a non-empty string","temporary":false}}',
    );
  });
});
